"""The wire: how fields and findings travel between processes and machines.

``topic`` is the table of what travels where. ``codec`` turns messages into bytes and
refuses any bytes that are not such a message, by the bounds in ``rule``; both are pure.
``ring`` holds the pixels in shared memory on one machine, ``link`` moves everything else
and is the only file that imports zmq. ``keys`` reads and writes the folder of CURVE keys
that links between machines need, ``folder`` makes the private folder of the local ones.

A side that binds an address is ``fields``' answering side (capture), a publisher, or a
receiver; one that connects is an asking side, a subscriber or a sender. Nobody waits
for a peer that is gone: every call takes a time limit or returns at once, what could
not be sent or used is dropped, and ``Link.dropped`` counts it by topic and reason.
"""

"""The wire: how fields and findings travel between processes and machines.

``topic`` is the table of what travels where. ``codec`` turns messages into bytes and
refuses any bytes that are not such a message, by the bounds in ``rule``; both are pure.
``ring`` holds the pixels in shared memory on one machine, ``link`` moves everything
else and is the only file that imports zmq. ``keys`` reads and writes the folder of
CURVE keys that links between machines need, ``address`` says which addresses may be
used with and without them, ``clock`` makes sense of another machine's times.

=========  ==============================  =========================================
kind       binds                           connects
=========  ==============================  =========================================
``ask``    ``Answerer``                    ``Asker``, one question open at a time
``newest`` ``Publisher``                   ``Subscriber``, sees the newest and no other
``every``  ``Collector``                   ``Reporter``, a short queue, never waits
=========  ==============================  =========================================

Nobody waits for a peer that is gone: every call takes a time limit or returns at once.
What could not be sent or used is dropped, and counted by reason in ``dropped``.
"""

"""The session folder: what a run over one slide leaves behind.

Everything is made from the journal alone, so that a session that crashed, or one from
last year, gives the same files as one that just ended: ``record`` reads the journal,
``summary``, ``table`` and ``qupath`` put it into files for programs, ``page`` into one
for people (with ``chart`` and ``slide_map`` for its drawings), and ``output`` writes
them.
"""

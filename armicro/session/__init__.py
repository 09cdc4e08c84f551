"""The session folder: what a run over one slide leaves behind.

Everything is made from the journal alone, so that a session that crashed, or one from
last year, gives the same files as one that just ended: ``record`` reads the journal,
``page`` puts it into a report for people (with ``drawing``), ``output`` into files for
programs and writes all of them, ``slide_file`` stitches the slide from its fields.
"""

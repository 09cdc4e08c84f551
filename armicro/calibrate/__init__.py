"""From pictures to the numbers that tie pixels, stage and display to micrometres.

One file a question: ``scale``, ``stage``, ``display``, ``light``, ``colour``,
``latency``; ``certificate`` holds the answers. Solving only: pictures and readings
come in, frozen results go out; commands and guides move stages and read files.
"""

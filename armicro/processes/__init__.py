"""The processes, their parent, and how they live.

``job`` is what a session is about, with its folder; ``session`` runs it from there to
its files. ``supervisor`` holds the one table of processes, starts them and watches each
as a ``child``. ``capture``, ``infer``, ``display`` and, in live, ``keeper`` are the
processes' loops; ``life`` is what they share. ``reader`` is capture's thread at the
source and ``placing`` its registration, ``thread`` has infer's two.
"""

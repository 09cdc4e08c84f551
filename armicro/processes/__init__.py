"""The processes, their parent, and how they live.

``job`` is what a session is about. ``capture``, ``infer``, ``display`` and, in live,
``keeper`` are the processes' loops (``reader``, ``intake``, ``writer`` and ``feed`` are
their threads and inputs), ``life`` is what they share. ``supervisor`` starts and
watches them, ``begin`` and ``run`` are the session around it.
"""

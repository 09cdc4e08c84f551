"""What this machine has, and what to do about what it lacks.

``machine`` and ``package`` look with the standard library alone. ``device`` and
``network`` load drivers and vendor libraries, any of which may hang or end the process,
so ``child`` runs each probe of ``probe``'s table in a process of its own with a time
limit. ``examine`` gathers all, ``text`` prints it. A vendor library is imported in its
driver and, only to see whether it loads, here.
"""

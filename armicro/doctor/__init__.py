"""What this machine has, and what to do about what it lacks.

``machine`` looks at what needs no vendor library. ``probe`` loads drivers and vendor
libraries, any of which may hang or end the process, so ``examine`` runs each of its
probes in a process of its own with a time limit, and gathers all. ``check`` is one
thing that was looked at, and how it is printed.
"""

"""Slide space: what is known of the slide, whatever the path that was taken.

``track`` makes one finding of many observations, ``coverage`` knows what was seen,
``score`` turns the top findings into the slide's score, ``journal`` keeps all on disk.
Each is a function of the *set* of what was observed: neither order nor repetition
changes it.
"""

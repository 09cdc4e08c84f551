"""Slide space: what is known of the slide, whatever the path that was taken.

``track`` makes one finding of many observations, ``coverage`` knows what was seen and
how well, ``revisit`` what should be seen again, ``score`` turns the top findings into
the slide's score, ``journal`` keeps all on disk. Each is a function of the *set* of
what was observed: neither order nor repetition changes it. ``focus`` tells how sharp a
field is. ``increment`` leaves to the networks only what was not seen as well before, by
the tiles that ``plan`` lays out: what it observes does depend on the path.
"""

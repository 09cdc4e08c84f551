"""The cascade: from a field to findings.

``tile`` resamples and cuts, ``locate`` finds candidates on the location map, ``merge``
makes one of many, ``rank`` orders findings and fuses the slide's scores: free functions
on arrays. ``cut`` makes tiles of a field, ``screen`` runs all around the networks. The
numbers are those of Cheng et al. 2021 and of the authors' release; those that belong to
a trained network come from its manifest, the rest from ``choice``. Nothing here knows a
file or a clock.
"""

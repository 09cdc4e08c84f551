"""The cascade on one field, as free functions on arrays.

``tile`` resamples and cuts, ``locate`` finds candidates on the location map, ``merge``
makes one of many, ``rank`` orders findings and fuses the slide's scores. The numbers
are those of Cheng et al. 2021 and of the authors' release; those that belong to a
trained network come from its manifest. Nothing here knows an engine, a file or a clock.
"""

"""Finding a ruler in a picture, in the order of the flow.

``prepare`` evens out the light, ``direction`` says which ways lines run, ``comb``
finds equally spaced ones, ``tick`` measures each, ``graduation`` judges whether they
are the divisions of a ruler. ``armicro.calibrate.scale`` puts them together.
"""

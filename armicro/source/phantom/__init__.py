"""Slides with known truth: drawn ones, and ones built from annotated real fields.

``write_phantom`` draws a cytology slide of any size, ``paint_field`` one field for
tests and training. Neither is ever called real.
"""

from armicro.source.phantom.drawn import paint_field, write_phantom
from armicro.source.phantom.specification import (
    UM_PER_PX,
    Optics,
    PhantomSpec,
    size_px,
)
from armicro.source.phantom.stain import STAINS
from armicro.source.phantom.truth import Truth, truth_paths, write_truth

__all__ = [
    "STAINS",
    "UM_PER_PX",
    "Optics",
    "PhantomSpec",
    "Truth",
    "paint_field",
    "size_px",
    "truth_paths",
    "write_phantom",
    "write_truth",
]

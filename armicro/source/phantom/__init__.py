"""Slides with known truth: drawn ones, and ones built from annotated real fields.

``write_phantom`` draws a cytology slide of any size, ``paint_field`` one field for
tests and training; ``write_constructed`` lays real fields and cells out on a slide.
None of them is ever called a specimen.
"""

from armicro.source.phantom.constructed import (
    Account,
    ConstructedSpec,
    write_constructed,
)
from armicro.source.phantom.drawn import paint_field, write_phantom
from armicro.source.phantom.specification import (
    UM_PER_PX,
    Optics,
    PhantomSpec,
    lesions_that_fit,
    size_px,
)
from armicro.source.phantom.stain import STAINS
from armicro.source.phantom.truth import Truth, truth_paths, write_truth

__all__ = [
    "STAINS",
    "UM_PER_PX",
    "Account",
    "ConstructedSpec",
    "Optics",
    "PhantomSpec",
    "Truth",
    "lesions_that_fit",
    "paint_field",
    "size_px",
    "truth_paths",
    "write_constructed",
    "write_phantom",
    "write_truth",
]

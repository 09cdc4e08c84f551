"""Slides with known truth: drawn ones, and ones built from annotated real fields.

``write_phantom`` draws a cytology slide of any size, ``paint_field`` one field for
tests and training; ``write_constructed`` lays real fields and cells out on a slide.
None of them is ever called a specimen.
"""

from armicro.phantom.constructed import Composition, ConstructedSpec, write_constructed
from armicro.phantom.drawn import paint_field, write_phantom
from armicro.phantom.specification import (
    STAINS,
    UM_PER_PX,
    PhantomSpec,
    ScannerOptics,
    lesions_that_fit,
    size_px,
)
from armicro.phantom.truth import Truth, truth_paths, write_truth

__all__ = [
    "STAINS",
    "UM_PER_PX",
    "Composition",
    "ConstructedSpec",
    "PhantomSpec",
    "ScannerOptics",
    "Truth",
    "lesions_that_fit",
    "paint_field",
    "size_px",
    "truth_paths",
    "write_constructed",
    "write_phantom",
    "write_truth",
]

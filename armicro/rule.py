"""What each value of a field's report may be, as one table of bounds.

They bind a message on the wire both ways (``wire.rule`` adds its own) and a journal
that is read, which may be a stranger's. What keeps them needs no other look: counts fit
SQLite, sizes are those of a picture, places are numbers, probabilities lie between 0
and 1.
A bound is (lowest, highest), both allowed; NaN and infinities break every one of them.
``None`` keeps every rule: where it may stand, the message's type says so.
"""

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from armicro.field import Place, Sight
from armicro.report import CellBits, FieldReport, Finding, Revisit, SlideScore

COUNT = (0, 2**63 - 1)
SIZE_PX = (1, 65_535)
SHARE = (0.0, 1.0)
PLACE_UM = (-1e9, 1e9)
EXTENT_UM = (0.0, 1e9)
SIZE_UM = (sys.float_info.min, 1e9)
DURATION_MS = (0.0, 1e12)

Bounds = Mapping[type, Mapping[str, tuple[float, float]]]
Checks = Mapping[type, Callable[[Any], str]]

BOUNDS: Bounds = {
    Place: {"x_um": PLACE_UM, "y_um": PLACE_UM, "standard_error_um": EXTENT_UM},
    Sight: {"focus": SHARE, "smear_um": EXTENT_UM},
    Revisit: {
        "x_um": PLACE_UM,
        "y_um": PLACE_UM,
        "width_um": EXTENT_UM,
        "height_um": EXTENT_UM,
    },
    Finding: {
        "x_um": PLACE_UM,
        "y_um": PLACE_UM,
        "width_um": SIZE_UM,
        "height_um": SIZE_UM,
        "lr_probability": SHARE,
        "hr_probability": SHARE,
        "field_seq": COUNT,
    },
    CellBits: {"rows": SIZE_PX, "columns": SIZE_PX, "pitch_um": SIZE_UM},
    FieldReport: {
        "seq": COUNT,
        "width_um": EXTENT_UM,
        "height_um": EXTENT_UM,
        "cell_share": SHARE,
        "lr_tiles": COUNT,
        "lr_positive": COUNT,
        "hr_tiles": COUNT,
        "inference_ns": COUNT,
    },
    SlideScore: {
        "score": SHARE,
        "coverage": SHARE,
        "fields": COUNT,
        "fields_unreadable": COUNT,
        "findings": COUNT,
        "megapixels": (0.0, 1e15),
        "fields_unplaced": COUNT,
    },
}


def _sight(sight: Sight) -> str:
    velocity = sight.velocity_xy_um_per_s or (0.0, 0.0)
    fits = all(abs(value) <= PLACE_UM[1] for value in velocity)
    return "" if fits else f"velocity_xy_um_per_s is {velocity}"


def _slide_score(score: SlideScore) -> str:
    for name, pair in score.scores.items():
        if not all(0.0 <= value <= 1.0 for value in pair):
            return f"scores[{name!r}] is {pair}, allowed is 0.0 to 1.0"
    return ""


def _cell_bits(cells: CellBits) -> str:
    squares = cells.rows * cells.columns
    if len(cells.bits) != math.ceil(squares / 8):
        return f"bits has {len(cells.bits)} bytes for {squares} squares"
    return ""


def _field_report(report: FieldReport) -> str:
    values = [value for area in report.areas_xywh_um or () for value in area]
    fits = all(abs(value) <= PLACE_UM[1] for value in values)
    return "" if fits else "areas_xywh_um lie nowhere"


CHECKS: Checks = {
    Sight: _sight,
    SlideScore: _slide_score,
    CellBits: _cell_bits,
    FieldReport: _field_report,
}
"""What bounds cannot say; each returns what is broken, or nothing."""


def broken_rule(
    struct: msgspec.Struct,
    bounds: Bounds = BOUNDS,
    checks: Checks = CHECKS,
) -> str:
    """Name the first value that breaks its rule; empty when all keep them.

    >>> broken_rule(Place(1.0, float("nan"), 0.0, "slide_file"))
    'y_um is nan, allowed is -1000000000.0 to 1000000000.0'
    """
    return next(_broken(struct, bounds, checks), "")


def _broken(struct: msgspec.Struct, bounds: Bounds, checks: Checks) -> Iterator[str]:
    kind = type(struct)
    for name, (low, high) in bounds.get(kind, {}).items():
        value = getattr(struct, name)
        if value is not None and not low <= value <= high:
            yield f"{name} is {value!r}, allowed is {low} to {high}"
    check = checks.get(kind)
    if check is not None and (text := check(struct)):
        yield text
    for name in struct.__struct_fields__:
        for part in structs_of(getattr(struct, name)):
            for text in _broken(part, bounds, checks):
                yield f"{name}.{text}"


def structs_of(value: object) -> Iterator[msgspec.Struct]:
    """The structs that a value is or, as a tuple, holds."""
    if isinstance(value, msgspec.Struct):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from structs_of(item)

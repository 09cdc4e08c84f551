"""One move of a stage's calibration, and what was seen after it."""

from collections.abc import Generator
from typing import NamedTuple

import numpy as np

from armicro.calibrate.stage import Array
from armicro.errors import CalibrationError

Point = tuple[float, float]
Limits = tuple[float, float, float, float]
"""Least x, least y, greatest x, greatest y, in the stage's units."""


class Target(NamedTuple):
    """Where to go and look next."""

    xy: Point
    """In the stage's units."""
    via: Point | None
    """Go here first, so that the play lies on a known side."""
    purpose: str
    """For the progress line."""
    reference: bool = False
    """Compare later pictures with this one."""


class Seen(NamedTuple):
    """What was seen there."""

    at_xy: Point
    """The stage's reading."""
    shift_px: Point | None
    """Of the view against the reference; None where the pictures have nothing in
    common; of a reference (0, 0)."""


class Look(NamedTuple):
    """What was seen, as arrays of two."""

    at: Array
    shift_px: Array


Looks = Generator[Target, Seen, Look]


def look(
    at: Array, run_up: Array | None, purpose: str, *, reference: bool = False
) -> Looks:
    """Go there and look.

    Raises:
        CalibrationError: the pictures have nothing in common, though they should.
    """
    seen = yield target_of(at, run_up, purpose, reference=reference)
    if seen.shift_px is None:
        raise CalibrationError(
            f"stage: at ({at[0]:.6g}, {at[1]:.6g}) the picture was not recognised, "
            "though smaller steps were; choose a place with more cells, in focus"
        )
    return Look(np.array(seen.at_xy), np.array(seen.shift_px))


def target_of(
    at: Array, run_up: Array | None, purpose: str, *, reference: bool = False
) -> Target:
    """A place to be approached from a run-up away; None: straight."""
    via = None if run_up is None else _point(at - run_up)
    return Target(_point(at), via, purpose, reference)


def centre_of(start: Point, limits: Limits, room: Array) -> Array:
    """The place nearest to the start with room on all sides.

    Raises:
        CalibrationError: the limits leave no such place.
    """
    low, high = np.array(limits[:2]) + room, np.array(limits[2:]) - room
    if (low > high).any():
        need = ", ".join(
            f"{axis} {2 * r:.4g}" for axis, r in zip("xy", room, strict=True)
        )
        raise CalibrationError(
            f"stage: the soft limits {limits} leave too little room; expected at least "
            f"{need} (stage's units); widen stage.limits"
        )
    return np.asarray(np.clip(np.array(start), low, high))


def unit(index: int) -> Array:
    """Along x for 0, along y for 1."""
    return np.asarray(np.eye(2)[index])


def _point(at: Array) -> Point:
    return float(at[0]), float(at[1])

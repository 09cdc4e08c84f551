"""The incremental cascade: only what was not yet seen as well goes to the LR network.

Of a new field those tiles are run that show almost nothing but new cells, and those
whose new cells end before the field does. The rest waits while it stays in view, since
the next field may show a whole tile of it. It is run, from the pixels of the field that
is kept for it, when the stage rests, when it leaves the view, and at the session's end;
what is found then belongs to that earlier field. Nothing else is kept: what was seen is
the coverage's, and after a crash the part that waited is area that nobody analysed.
"""

from dataclasses import dataclass

import msgspec
import numpy as np

from armicro.cascade.screen import Screen
from armicro.cascade.tile import Prepared, pack_cells
from armicro.report import Account, Area, FieldReport
from armicro.slide.coverage import (
    BIN_UM,
    LEVEL,
    RIM,
    Box,
    Coverage,
    Mask,
    cell_bins,
    inner,
    level_of,
)
from armicro.slide.plan import Plan, Want, axis_of, closed_in


@dataclass(frozen=True, slots=True, eq=False)
class _Last:
    """The newest usable field and what was said of it."""

    prepared: Prepared
    report: FieldReport


class Increment:
    """Chooses the tiles of one field after the other, and runs them."""

    def __init__(self, screen: Screen, coverage: Coverage, *, tile_um: float) -> None:
        """Take the cascade, what was seen, and the side of an LR tile."""
        self._screen = screen
        self._coverage = coverage
        self._tile_um = tile_um
        self._last: _Last | None = None

    @property
    def in_work(self) -> Area | None:
        """The newest field, of which a part may still wait; None after the end."""
        return _area(self._last.prepared) if self._last else None

    def leave(self, into: Prepared | None) -> Account | None:
        """Look at what of the field before is not in view any more.

        Args:
            into: the field that comes; None at the session's end.

        Returns:
            The whole report of the field before, and the observations that are new;
            None where nothing had waited. Coverage must take it before ``look``.

        Raises:
            EngineError: the engine failed.
        """
        last = self._last
        if last is None or (into is not None and _rests(last.prepared, into)):
            return None
        area = _area(last.prepared)
        plan = self._plan(last.prepared)
        must = plan.want
        if into is not None and into.refusal is None:
            now = _area(into)
            must = must.part(
                ~_mask(Box.of(area), inner(now)), ~_mask(Box.of(area), now)
            )
        else:
            # Nothing that comes from here can show it: a moving stage has left it.
            self._last = None
        plan.cover(must)
        if not plan.corners_um:
            return None
        report, observations = self._screen.analyse(last.prepared, plan.corners_um)
        whole = _joined(last.report, report)
        if self._last is not None:
            # A blank field takes no part: more of this one may leave after it.
            self._last = _Last(last.prepared, whole)
        return Account(whole, observations)

    def look(self, prepared: Prepared) -> Account:
        """Look at what is new in a field and need not, or must not, wait.

        Raises:
            EngineError: the engine failed.
        """
        if prepared.refusal is not None or prepared.blank:
            return self._screen.analyse(prepared)
        plan = self._plan(prepared)
        if self._last is not None and _rests(self._last.prepared, prepared):
            plan.cover(plan.want)
        else:
            plan.cover(plan.want, full=True)
            area = _area(prepared)
            plan.cover(closed_in(plan.want, _mask(Box.of(area), inner(area))))
        account = self._screen.analyse(prepared, plan.corners_um)
        self._last = _Last(prepared, account.report)
        return account

    def _plan(self, prepared: Prepared) -> Plan:
        if prepared.cells is None:
            raise ValueError(f"field {prepared.field.seq} was not prepared")
        area = _area(prepared)
        box = Box.of(area)
        level = self._coverage.read(box)[LEVEL]
        cells = cell_bins(pack_cells(prepared.cells), area) > 0
        inside = _mask(box, inner(area))
        sight = prepared.field.sight
        best = level_of(sight.focus if sight else None)
        fresh = inside & (level < best)
        want = Want(fresh & cells, ~inside & cells & (level < RIM))
        left, top, width, height = area
        across = axis_of(left, width, self._tile_um)
        axes = across, axis_of(top, height, self._tile_um)
        return Plan(want, fresh=fresh, inside=inside, axes=axes)


def _area(prepared: Prepared) -> Area:
    place = prepared.field.place
    if place is None:
        raise ValueError(f"field {prepared.field.seq} has no place")
    return place.x_um, place.y_um, *prepared.field.size_um


def _rests(before: Prepared, now: Prepared) -> bool:
    if now.refusal is not None:
        return False
    steps_um = np.abs(np.subtract(_area(before), _area(now)))
    return bool((steps_um < BIN_UM / 2).all())


def _mask(box: Box, area: Area) -> Mask:
    """Which bins of a box lie in an area."""
    part = Box.of(area)
    rows, columns = np.arange(box.y0, box.y1), np.arange(box.x0, box.x1)
    down = (rows >= part.y0) & (rows < part.y1)
    across = (columns >= part.x0) & (columns < part.x1)
    return np.asarray(down[:, None] & across[None, :], np.bool_)


def _joined(before: FieldReport, more: FieldReport) -> FieldReport:
    """A field's report with what was found in it later."""
    return msgspec.structs.replace(
        before,
        lr_tiles=before.lr_tiles + more.lr_tiles,
        lr_positive=before.lr_positive + more.lr_positive,
        hr_tiles=before.hr_tiles + more.hr_tiles,
        findings=before.findings + more.findings,
        areas_xywh_um=(before.areas_xywh_um or ()) + (more.areas_xywh_um or ()),
    )

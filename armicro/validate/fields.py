"""The whole cascade on single fields: does it find each lesion cell, and what else?

Every field is taken for a slide of its own, so that findings of different fields do not
meet. One that the cascade refuses to look at is in no figure, since a score of 0 would
flatter normal fields; it is listed with its reason. A lesion is found when its nucleus
lies inside the HR tile (62 µm) of a finding with HR probability 0.5 or above
(DESIGN.md).
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from armicro.cascade.screen import Choice, Screen
from armicro.engine.registry import NetworkSet
from armicro.field import Field, Place
from armicro.metrics import (
    Judged,
    Range,
    basis_of,
    interval,
    rate_bounds,
    scaled_bounds,
    share_bounds,
    told,
    wider,
)
from armicro.phantom import STAINS, UM_PER_PX, paint_field
from armicro.picture import read_picture
from armicro.table import CellRow, FieldRow
from armicro.verdict import HR_TILE_UM, SUSPICIOUS

REACH_UM = HR_TILE_UM / 2
TOP = 10
LOOKED_AT = ("analysed", "blank")
"""States of a field that the cascade saw; the others are refusals."""


@dataclass(frozen=True, slots=True, eq=False)
class SeenField:
    """What the cascade found in a field, against what is there."""

    name: str
    group: str
    findings_xy_um: NDArray[np.float64]
    """(n, 2), highest HR probability first."""
    probability: NDArray[np.float64]
    """(n,) HR probability."""
    lesions_xy_um: NDArray[np.float64]
    """(m, 2)"""
    normals: int = 0
    """Nuclei of normal cells that the annotators marked."""
    area_mm2: float = 0.0
    refused: str = ""
    """Why the cascade did not look (scale, light, focus); empty: it did."""

    @property
    def found(self) -> NDArray[np.bool_]:
        """(m,) whether a lesion lies in the tile of a finding at 0.5 or above."""
        called = self.findings_xy_um[self.probability >= SUSPICIOUS]
        return within(self.lesions_xy_um, called)

    @property
    def reach(self) -> NDArray[np.float64]:
        """(m,) highest probability of a finding in whose tile a lesion lies, or -1."""
        if not len(self.probability):
            return np.full(len(self.lesions_xy_um), -1.0)
        near = _near(self.lesions_xy_um, self.findings_xy_um)
        best = np.where(near, self.probability, -1.0).max(axis=1)
        return np.asarray(best, np.float64)

    @property
    def false(self) -> NDArray[np.float64]:
        """Probabilities of the findings in whose tile no lesion lies."""
        return self.probability[~within(self.findings_xy_um, self.lesions_xy_um)]

    @property
    def score(self) -> float:
        """The field's own score: its highest HR probability, 0 without a finding."""
        return float(self.probability.max(initial=0.0))

    @property
    def top_rate(self) -> float | None:
        """Share of the k highest findings that hold a lesion, k = min(10, lesions)."""
        count = min(TOP, len(self.lesions_xy_um))
        if not count:
            return None
        best = self.findings_xy_um[:count]
        return float(within(best, self.lesions_xy_um).sum()) / count


def within(
    points_xy_um: NDArray[np.float64], centres_xy_um: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return for each point whether it lies in the HR tile of any centre.

    >>> within(np.array([[0.0, 0.0], [90.0, 0.0]]), np.array([[30.0, -30.0]])).tolist()
    [True, False]
    """
    return np.asarray(_near(points_xy_um, centres_xy_um).any(axis=1), np.bool_)


def _near(
    points_xy_um: NDArray[np.float64], centres_xy_um: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return (n, m): whether a point lies in the HR tile of a centre."""
    gaps = np.abs(points_xy_um[:, None] - centres_xy_um[None]).max(axis=2)
    return np.asarray(gaps <= REACH_UM, np.bool_)


def screen_field(
    networks: NetworkSet, choice: Choice, row: FieldRow, cells: Sequence[CellRow]
) -> SeenField:
    """Run the cascade on one field.

    Raises:
        SourceError: the picture cannot be read.
        EngineError: the engine failed.
    """
    screen = Screen(networks, choice)
    place = Place(0.0, 0.0, 0.0, "slide_file")
    field = Field(
        row.um_per_px, seq=0, taken_ns=0, place=place, pixels=read_picture(row.path)
    )
    points = [(cell.x_px, cell.y_px) for cell in cells if cell.lesion]
    lesions = np.array(points, float).reshape(-1, 2) * row.um_per_px
    normals = sum(not cell.lesion for cell in cells)
    return seen_picture(screen, field, (row.image, row.group), lesions, normals)


def seen_picture(
    screen: Screen,
    field: Field,
    name_group: tuple[str, str],
    lesions_xy_um: NDArray[np.float64],
    normals: int,
) -> SeenField:
    """Run the cascade on a field and put findings and truth side by side."""
    report, _ = screen.analyse(screen.prepare(field))
    ranked = sorted(report.findings, key=lambda finding: -finding.hr_probability)
    return SeenField(
        *name_group,
        np.array([(f.x_um, f.y_um) for f in ranked], float).reshape(-1, 2),
        np.array([f.hr_probability for f in ranked], float),
        lesions_xy_um,
        normals,
        field.pixels[..., 0].size * (field.um_per_px / 1e3) ** 2,
        refused="" if report.state in LOOKED_AT else report.reason or report.state,
    )


def judge_fields(seen: Sequence[SeenField]) -> Judged:
    """Return the fields as scored things: a lesion where any lesion point lies."""
    return Judged(
        np.array([field.score for field in seen]),
        np.array([len(field.lesions_xy_um) > 0 for field in seen], dtype=bool),
        np.array([field.name for field in seen]),
        np.array(["lesion" if len(f.lesions_xy_um) else "normal" for f in seen]),
    )


FALSE_PER_FIELD = (1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0)
"""Where a FROC curve is read (Setio et al., Med Image Anal 2017;42:1)."""
Rows = NDArray[np.int64]


def field_figures(seen: Sequence[SeenField]) -> dict[str, Any]:
    """Return the cascade's figures with intervals over the fields it looked at.

    A false box is a finding at 0.5 or above in whose tile no annotated lesion lies: of
    cells that the annotators left out it says nothing.
    """
    names = np.array([field.name for field in seen])
    found = [field.found for field in seen]
    called = np.array([(field.probability >= SUSPICIOUS).sum() for field in seen], int)
    false = np.array([(field.false >= SUSPICIOUS).sum() for field in seen], int)
    normals = np.array([field.normals for field in seen], int)
    area_mm2 = np.array([field.area_mm2 for field in seen])
    rates = [field.top_rate for field in seen]

    def ratio(over: NDArray[Any], under: NDArray[Any]) -> Callable[[Rows], float]:
        return lambda rows: (
            float(over[rows].sum() / under[rows].sum())
            if under[rows].sum() > 0
            else np.nan
        )

    def top_rate(rows: Rows) -> float:
        held = [rate for row in rows if (rate := rates[row]) is not None]
        return float(np.mean(held)) if held else np.nan

    hits = np.array([one.sum() for one in found], int)
    marked = np.array([len(one) for one in found], int)
    fields = np.ones(len(seen), int)
    field_mm2 = float(area_mm2.mean()) if area_mm2.any() else 1.0
    table: dict[str, Any] = {}
    for name, figure, bounds, counted in (
        ("lesion_recall", ratio(hits, marked), share_bounds, np.repeat(names, marked)),
        ("findings_per_field", ratio(called, fields), rate_bounds, names),
        ("false_per_field", ratio(false, fields), rate_bounds, names),
        (
            "false_per_mm2",
            ratio(false, area_mm2),
            partial(scaled_bounds, field_mm2),
            names,
        ),
        (
            "false_per_100_normals",
            ratio(100 * false, normals),
            partial(scaled_bounds, 0.01),
            np.repeat(names, normals),
        ),
        ("top10_tpr", top_rate, share_bounds, names[marked > 0]),
    ):
        table |= _told(name, figure, bounds, counted, names)
    table["froc"] = [_froc_row(seen, names, marked, rate) for rate in FALSE_PER_FIELD]
    table["lesions"] = int(marked.sum())
    table["normals"] = int(normals.sum())
    candidates = sum(len(field.probability) for field in seen)
    table["candidates_per_field"] = round(candidates / len(seen), 3) if seen else None
    return table


def _told(
    name: str,
    figure: Callable[[Rows], float],
    bounds: Callable[..., Range],
    counted: NDArray[np.str_],
    names: NDArray[np.str_],
) -> dict[str, Any]:
    """Return one figure with its interval over fields."""
    value = figure(np.arange(len(names)))
    basis = basis_of(counted, np.ones(len(counted), bool))
    return told(
        name, value, wider(interval(figure, names), value, basis, bounds), basis
    )


def _froc_row(
    seen: Sequence[SeenField],
    names: NDArray[np.str_],
    marked: NDArray[np.int64],
    rate: float,
) -> dict[str, Any]:
    """Return the recall where so many false boxes a field are allowed."""
    reach = [field.reach for field in seen]
    false = [field.false for field in seen]

    def limit(rows: Rows) -> float:
        """The probability that must be passed: no more false findings lie above."""
        ranked = np.sort(np.concatenate([false[row] for row in rows] or [[]]))[::-1]
        allowed = int(rate * len(rows))
        return float(ranked[allowed]) if allowed < len(ranked) else 0.0

    def recall(rows: Rows) -> float:
        every = np.concatenate([reach[row] for row in rows] or [np.zeros(0)])
        return float((every > limit(rows)).mean()) if every.size else np.nan

    lesions = np.repeat(names, marked)
    return {
        "false_per_field": rate,
        "from_probability": round(limit(np.arange(len(seen))), 3),
        **_told("recall", recall, share_bounds, lesions, names),
    }


# ---------------------------------------------------------------------------
# The cascade on drawn fields of seeds and stains that training never saw.
#
# They prove that the chain works from picture to finding; they say nothing of cytology.

SIDE_PX = 1024
FIRST_SEED = 9000
LESIONS = 6


def add_drawn_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of drawn fields."""
    parser.add_argument("--fields", type=int, default=16, metavar="N", help="how many")
    parser.add_argument("--seed", type=int, default=FIRST_SEED, help="of the first")
    parser.add_argument(
        "--stains",
        default="teal,warm",
        help="taken in turn (default: those that training leaves out); "
        f"of {', '.join(sorted(STAINS))}",
    )


def screen_drawn(networks: NetworkSet, args: argparse.Namespace) -> Iterator[SeenField]:
    """Draw fields and run the cascade on them; every fourth has no lesion."""
    stains = args.stains.split(",")
    screen = Screen(networks, Choice())
    place = Place(0.0, 0.0, 0.0, "slide_file")
    for number in range(args.fields):
        stain = stains[number % len(stains)]
        pixels, truth = paint_field(
            seed=args.seed + number,
            width_px=SIDE_PX,
            height_px=SIDE_PX,
            um_per_px=UM_PER_PX,
            lesions=0 if number % 4 == 3 else LESIONS,
            stain=stain,
        )
        lesions = np.column_stack([truth.x_um, truth.y_um])[truth.lesion]
        field = Field(UM_PER_PX, seq=number, taken_ns=0, place=place, pixels=pixels)
        name = f"{args.seed + number}-{stain}"
        normals = int((~truth.lesion).sum())
        yield seen_picture(screen, field, (name, stain), lesions, normals)

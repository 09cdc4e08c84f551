"""The whole cascade on single fields: does it find each lesion cell, and what else?

Every field is taken for a slide of its own, so that findings of different fields do not
meet. One that the cascade refuses to look at is in no figure, since a score of 0 would
flatter normal fields; it is listed with its reason. A lesion is found when its nucleus
lies inside the HR tile (62 µm) of a finding with HR probability 0.5 or above
(DESIGN.md).
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from armicro.cascade.screen import Choice, Screen
from armicro.engine.registry import NetworkSet
from armicro.field import Field, Place
from armicro.metrics import (
    Judged,
    basis_of,
    interval,
    rate_bounds,
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
    refused: str = ""
    """Why the cascade did not look (scale, light, focus); empty: it did."""

    @property
    def found(self) -> NDArray[np.bool_]:
        """(m,) whether a lesion lies in the tile of a finding at 0.5 or above."""
        called = self.findings_xy_um[self.probability >= SUSPICIOUS]
        return within(self.lesions_xy_um, called)

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
    if not len(points_xy_um) or not len(centres_xy_um):
        return np.zeros(len(points_xy_um), np.bool_)
    gaps = np.abs(points_xy_um[:, None] - centres_xy_um[None]).max(axis=2)
    return np.asarray((gaps <= REACH_UM).any(axis=1), np.bool_)


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
    return seen_picture(screen, field, (row.image, row.group), lesions)


def seen_picture(
    screen: Screen,
    field: Field,
    name_group: tuple[str, str],
    lesions_xy_um: NDArray[np.float64],
) -> SeenField:
    """Run the cascade on a field and put findings and truth side by side."""
    report, _ = screen.analyse(screen.prepare(field))
    ranked = sorted(report.findings, key=lambda finding: -finding.hr_probability)
    return SeenField(
        *name_group,
        np.array([(f.x_um, f.y_um) for f in ranked], float).reshape(-1, 2),
        np.array([f.hr_probability for f in ranked], float),
        lesions_xy_um,
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


def field_figures(seen: Sequence[SeenField]) -> dict[str, Any]:
    """Return the cascade's figures with intervals over the fields it looked at."""
    names = np.array([field.name for field in seen])
    found = [field.found for field in seen]
    called = [int((field.probability >= SUSPICIOUS).sum()) for field in seen]
    rates = [field.top_rate for field in seen]

    def recall(rows: NDArray[np.int64]) -> float:
        total = sum(len(found[row]) for row in rows)
        return sum(int(found[row].sum()) for row in rows) / total if total else np.nan

    def per_field(rows: NDArray[np.int64]) -> float:
        return float(np.mean([called[row] for row in rows])) if len(rows) else np.nan

    def top_rate(rows: NDArray[np.int64]) -> float:
        held = [rate for row in rows if (rate := rates[row]) is not None]
        return float(np.mean(held)) if held else np.nan

    table: dict[str, Any] = {}
    everything = np.arange(len(seen))
    positive = np.array([len(one) > 0 for one in found], bool)
    lesions = np.repeat(names, [len(one) for one in found])
    for name, figure, bounds, counted in (
        ("lesion_recall", recall, share_bounds, lesions),
        ("findings_per_field", per_field, rate_bounds, names),
        ("top10_tpr", top_rate, share_bounds, names[positive]),
    ):
        value = figure(everything)
        basis = basis_of(counted, np.ones(len(counted), bool))
        limits = wider(interval(figure, names), value, basis, bounds)
        table |= told(name, value, limits, basis)
    table["lesions"] = sum(len(field.lesions_xy_um) for field in seen)
    candidates = sum(len(field.probability) for field in seen)
    table["candidates_per_field"] = round(candidates / len(seen), 3) if seen else None
    return table


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
        yield seen_picture(screen, field, (name, stain), lesions)

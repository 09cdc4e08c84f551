"""``armicro train site``: a network set that has learned one laboratory.

    SESSION/session.sqlite ── decisions, features ──┐
    CELLS.csv ── crops ── HR ───────────────────────┴── correction.py ──► SET_OUT

The new set is the old one but for the end of HR's graph, so LR and the slide's RNNs
stay as they are: features do not change. Where HR is asked from several sides each
view's logit is corrected, and so is their mean, which is what a session keeps; the
features of a session and of crops are those of the plain view.
"""

import argparse
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from scipy.spatial import cKDTree
from tqdm import tqdm

from armicro.cascade.screen import confirming, look_at
from armicro.cascade.tile import tile_of_crop
from armicro.console import add_json, show
from armicro.engine.manifest import GOLDEN_NAME, MANIFEST_NAME, Opening, manifest_bytes
from armicro.engine.recorded import RECORDING_NAME
from armicro.engine.registry import DEFAULT_SET, open_set, read_set
from armicro.errors import EngineError, SourceError, one_line
from armicro.file import write_whole
from armicro.metrics import LEAST_GROUPS
from armicro.picture import read_picture
from armicro.report import Observation
from armicro.session.output import JOURNAL
from armicro.session.record import Facts, SlideCard, merge_um_of
from armicro.slide.decision import LONGEST_NAME, NORMAL, SAME_UM, Decision, standing
from armicro.slide.journal import FEATURES, Journal
from armicro.slide.track import FindingSet
from armicro.table import read_crops, require_scale
from armicro.train.construct import logit_of
from armicro.train.correction import (
    Correction,
    DecidedCells,
    choose,
    compare,
    digits,
    held_out,
    require_enough,
    require_help,
)
from armicro.train.export import correct_logit, write_arrays
from armicro.train.manifest import write_manifest

EXAMPLE = """examples:
  armicro train site out/slide1 out/slide2 --out engines/our-lab --by "Dr. A. First"
  armicro train site cells.csv --um-per-px 0.25 --out engines/our-lab
"""
NORMALS_BOXED = 0.15
"""Normal cells that HR draws a box at, for each lesion (both as shares of their class):
0.07 to 0.15 on the sources of the shipped set's card. Decisions are on boxes."""
PLACE_UM = 500.0
"""Cells of a slide that share such a square stay together: about a field, however many
views of it there were."""
NOBODY = "nobody"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``armicro train site``."""
    parser.add_argument(
        "cells",
        nargs="+",
        type=Path,
        metavar="SESSION|CELLS.csv",
        help="session folders with decisions, or one table of labelled crops "
        "(file,abnormal)",
    )
    parser.add_argument(
        "--engines",
        default=DEFAULT_SET,
        metavar="SET",
        help=f"the set that it starts from, which read the sessions ({DEFAULT_SET})",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the new set")
    parser.add_argument("--um-per-px", type=float, help="scale of the crops")
    parser.add_argument("--by", default="", metavar="NAME", help="who signs it off")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    add_json(parser, "print the table [training.site] of the new manifest")


def run(args: argparse.Namespace) -> int:
    """Fit, judge, and write the set; 0 where it helps.

    Raises:
        SourceError: the labels cannot be used, are too few, or the correction does not
            help; nothing is written then.
        EngineError: the set cannot be used, or is not the one that the sessions had.
    """
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        raise SourceError(
            f"{args.out}: is there already, expected a new folder; choose another --out"
        )
    base = read_set(args.engines)
    decided = read_decided(args, base)
    require_enough(decided.cells, decided.places, left_out_text(decided.left_out))
    figures = compare(decided.cells, held_out(decided.cells))
    require_help(figures)
    correction = choose(decided.cells)
    site = tell(decided, correction, base, figures) | {
        "signed_off_by": one_line(args.by.strip(), most=LONGEST_NAME) or NOBODY
    }
    write_site(args.out, base, correction, site)
    prove(args.out, threads=args.threads)
    show(site, summary(site, args.out), as_json=args.json)
    return 0


# ---------------------------------------------------------------------------
# Cells with a label: those of sessions that readers decided on, or crops.


@dataclass(frozen=True, slots=True, eq=False)
class Decided:
    """Labelled cells and what they come from."""

    cells: DecidedCells
    places: str
    """What stays together, in a word or two."""
    told: Mapping[str, int]
    """How many sessions, readers and crops."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Decided cells without a label or features, by the reason."""


def read_decided(args: argparse.Namespace, base: Opening) -> Decided:
    """Read what the arguments name.

    Raises:
        SourceError: it cannot be read, or sessions and tables are mixed.
    """
    tables = [path for path in args.cells if path.suffix.lower() == ".csv"]
    if not tables:
        return read_sessions(args.cells, base)
    if len(args.cells) > 1:
        raise SourceError(
            f"{tables[0]}: one table of {len(args.cells)} things named; expected "
            "session folders alone, or one table alone"
        )
    if args.um_per_px is None:
        raise SourceError(f"{tables[0]}: its scale is not known; give --um-per-px")
    return look_at_table(tables[0], args)


def look_at_table(path: Path, args: argparse.Namespace) -> Decided:
    """Run HR on labelled crops.

    Raises:
        SourceError: the table or a picture is bad.
        EngineError: the set cannot be used.
    """
    um_per_px, crops = require_scale(args.um_per_px, "--um-per-px"), read_crops(path)
    bar = tqdm(crops, desc="crops", disable=None)
    with open_set(args.engines, threads=args.threads) as networks:
        tiles = (tile_of_crop(read_picture(crop.path), um_per_px) for crop in bar)
        probability, features = look_at(confirming(networks), tiles)
    cells = DecidedCells(
        logit_of(probability.astype(np.float32)),
        features,
        np.array([crop.lesion for crop in crops]),
        np.array([crop.group for crop in crops]),
    )
    return Decided(cells, "cases or fields", {"crops": len(crops)})


@dataclass(slots=True)
class _Slide:
    """What sessions of one slide hold together."""

    findings: FindingSet
    said: list[Decision] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class _Label:
    seen: Observation
    lesion: bool
    slide: str


def read_sessions(paths: Sequence[Path], base: Opening) -> Decided:
    """Read the decisions that stand in sessions, with the features of their findings.

    Raises:
        SourceError: a session cannot be read, or another set read it.
    """
    slides: dict[str, _Slide] = {}
    journals = {(p if p.name == JOURNAL else p / JOURNAL).resolve(): p for p in paths}
    for path, named in journals.items():
        with Journal(path, must_exist=True) as journal:
            require_same_set(journal, named, base)
            card = journal.get("slide", SlideCard) or SlideCard()
            settings = journal.get("settings", Facts) or {}
            # Read twice, a slide is still one: its readers may disagree.
            slide = slides.setdefault(
                card.sha256 or str(path),
                _Slide(FindingSet(merge_um=merge_um_of(settings))),
            )
            slide.findings.update(journal.observations(crops=False))
            slide.said += standing(journal.decisions())
    left_out: Counter[str] = Counter()
    labels = [
        label for name in slides for label in label_cells(name, slides[name], left_out)
    ]
    readers = {one.reader for slide in slides.values() for one in slide.said}
    told = {"sessions": len(journals), "slides": len(slides), "readers": len(readers)}
    return Decided(*grouped(labels), told, dict(left_out))


def require_same_set(journal: Journal, named: Path, base: Opening) -> None:
    """Refuse a session whose features another set made.

    Raises:
        SourceError: it is one.
    """
    engine = journal.get("engine", Facts) or {}
    if engine.get("hash") == base.sha256:
        return
    seen = " ".join(str(engine[key])[:19] for key in ("set", "hash") if engine.get(key))
    raise SourceError(
        f"{named}: was read with {seen or 'an unknown network set'}, whose answers "
        f"are not those of {base.manifest.name} {base.sha256[:19]}; give that set as "
        "--engines, or replay the slide with this one"
    )


def label_cells(name: str, slide: _Slide, left_out: Counter[str]) -> list[_Label]:
    """Return the cells of a slide that have features and one label; count the others.

    Whoever is unsure says nothing; of the others all must say the same.
    """
    cells = slide.findings.merged()
    if not slide.said or not cells:
        left_out["not_found_by_the_machine"] += len(slide.said)
        return []
    tree = cKDTree([(seen.finding.x_um, seen.finding.y_um) for seen in cells])
    spots = [(one.x_um, one.y_um) for one in slide.said]
    away_um, nearest = tree.query(spots, p=np.inf)
    by_cell: dict[int, set[bool | None]] = {}
    for one, um, place in zip(slide.said, away_um, nearest, strict=True):
        if um > SAME_UM:
            left_out["not_found_by_the_machine"] += 1
        else:
            by_cell.setdefault(int(place), set()).add(lesion_of(one))
    labels = []
    for place, said in by_cell.items():
        sure = said - {None}
        if len(sure) == 1:
            labels.append(_Label(cells[place], True in sure, name))
        else:
            left_out["readers_disagree" if sure else "unsure"] += 1
    return labels


def lesion_of(decision: Decision) -> bool | None:
    """Whether a reader says lesion; None: unsure. A category outdoes the verdict."""
    if decision.verdict == "unsure":
        return None
    if decision.category:
        return decision.category != NORMAL
    return decision.verdict == "accept"


def grouped(labels: Sequence[_Label]) -> tuple[DecidedCells, str]:
    """Return cells and what stays together: slides, or places where slides are few."""
    by_slide = len({label.slide for label in labels}) >= LEAST_GROUPS
    findings = [label.seen.finding for label in labels]
    groups = [
        label.slide
        if by_slide
        else f"{label.slide}:{one.x_um // PLACE_UM:g},{one.y_um // PLACE_UM:g}"
        for label, one in zip(labels, findings, strict=True)
    ]
    features = [label.seen.features for label in labels]
    cells = DecidedCells(
        logit_of(np.array([one.hr_probability for one in findings], np.float32)),
        np.array(features, np.float32).reshape(len(labels), FEATURES),
        np.array([label.lesion for label in labels], bool),
        np.array(groups, str),
        NORMALS_BOXED,
    )
    return cells, "slides" if by_slide else f"places of {PLACE_UM:g} µm"


# ---------------------------------------------------------------------------
# The set.


def tell(
    decided: Decided,
    correction: Correction,
    base: Opening,
    figures: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the table ``[training.site]``, but for who signs it off."""
    cells = decided.cells
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "base": base.manifest.name,
        "base_sha256": base.sha256,
        **decided.told,
        "cells": len(cells.lesion),
        "lesions": int(cells.lesion.sum()),
        "groups": len(np.unique(cells.group)),
        "groups_are": decided.places,
        "normals_seen": cells.normals_seen,
        "left_out": dict(decided.left_out),
        "gain": correction.gain,
        "offset": correction.offset,
        "features_spread": correction.spread,
        "held_out": {k: v for k, v in figures.items() if v is not None},
    }


def write_site(
    folder: Path, base: Opening, correction: Correction, site: Mapping[str, Any]
) -> None:
    """Write the new set; ``manifest.toml`` last, so that half a set has none."""
    model = onnx.load_from_string(base.contents["hr.onnx"])
    corrected = correct_logit(
        model,
        gain=correction.gain,
        offset=correction.offset,
        weight=correction.weight,
        centre=correction.centre,
    )
    before, features = base.golden["hr_probability"], base.golden["hr_features"]
    logit = correction.logits(logit_of(np.asarray(before, np.float32)), features)
    golden = {
        **base.golden,
        "hr_probability": (1 / (1 + np.exp(-logit))).astype(np.float32),
    }
    # Recorded answers are those of the old HR.
    made = {"hr.onnx", GOLDEN_NAME, RECORDING_NAME}
    kept = {name: data for name, data in base.contents.items() if name not in made}
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in {**kept, "hr.onnx": corrected.SerializeToString()}.items():
        write_whole(folder / name, data)
    write_arrays(folder / GOLDEN_NAME, golden)
    files = [name for name in base.manifest.files if name != RECORDING_NAME]
    tables = tables_of(base, site)
    name = f"{base.manifest.name.removesuffix('-site')}-site"
    version = base.manifest.version
    write_manifest(folder, name=name, files=files, tables=tables, version=version)


def tables_of(base: Opening, site: Mapping[str, Any]) -> dict[str, Any]:
    """Return the old manifest's tables with what was learned.

    Its figures are of the old HR, so they stand under ``metrics.base``.
    """
    tables = tomllib.loads(manifest_bytes(base.folder).decode())
    for name in ("name", "version", "created", "files"):
        del tables[name]
    training = tables.get("training", {})
    older = {"before": training["site"]} if "site" in training else {}
    tables["training"] = {**training, "site": {**site, **older}}
    if "metrics" in tables:
        tables["metrics"] = {"base": tables["metrics"]}
    return tables


def prove(folder: Path, *, threads: int) -> None:
    """Open the new set as everybody will; one that is refused loses its manifest.

    Raises:
        EngineError: it does not say what its golden outputs say.
    """
    try:
        open_set(folder.absolute(), threads=threads).close()
    except EngineError:
        (folder / MANIFEST_NAME).unlink()
        raise


def left_out_text(left_out: Mapping[str, int]) -> str:
    """Return how many decided cells taught nothing and why; empty where all did.

    >>> left_out_text({"unsure": 2})
    ' (left out: 2 unsure)'
    """
    reasons = [f"{count} {why.replace('_', ' ')}" for why, count in left_out.items()]
    return f" (left out: {', '.join(reasons)})" if reasons else ""


def summary(site: Mapping[str, Any], out: Path) -> str:
    """Return what was learned, for people."""
    told = site["held_out"]
    rows = {
        "AUC": "auc",
        "log loss": "log_loss",
        "lesions called at 0.5": "sensitivity",
        "normals called of 100 at 0.5": "false_per_100_normals",
        "  at the old recall": "false_at_old_recall",
    }
    lines = [
        f"{site['cells']} cells ({site['lesions']} lesions) in {site['groups']} "
        f"{site['groups_are']}{left_out_text(site['left_out'])}",
        f"{'held out':32}{'before':>10}{'after':>10}",
        *(
            f"{words:32}{digits(told.get(f'{name}_old')):>10}"
            f"{digits(told.get(f'{name}_new')):>10}"
            for words, name in rows.items()
        ),
        f"signed off by {site['signed_off_by']} -> {out}",
    ]
    return "\n".join(lines)

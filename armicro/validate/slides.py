"""Whole slides: every slide read through the pipeline, then ROC and the top findings.

A slide's score is a function of its findings alone, so reading it here, in one process,
gives the score that a replay gives. A slide without a score (nothing or too little to
analyse, or unreadable) is in no figure: it is listed with its reason and counted, since
any number in its place would flatter one class. A finished slide leaves a JSON file
that says what it was made with, so a stopped run goes on with the next one, and another
network set, rig or scale reads it again; with ``--ray`` the slides spread over a
cluster.
"""

import argparse
import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from tqdm import tqdm

from armicro import __version__
from armicro.certificate import now
from armicro.console import json_text
from armicro.engine.manifest import manifest_bytes, sha256_of
from armicro.engine.registry import find_set, open_set
from armicro.errors import SourceError, missing_extra
from armicro.field import Pixels
from armicro.file import write_whole
from armicro.metrics import Judged, judge, judge_figure
from armicro.pipeline import Pipeline
from armicro.report import Account, Finding
from armicro.rig import Rig, read_rig
from armicro.slide.track import decode_crop, encode_crop
from armicro.source.identity import refuse_void, slide_sha256
from armicro.source.open import open_source
from armicro.table import read_rows
from armicro.validate.folder import write_folder
from armicro.verdict import SUSPICIOUS, coverage_text

TOP_SHOWN = 10
SHOWN_PX = 128


@dataclass(frozen=True, slots=True)
class SlideTask:
    """One slide to read, as it travels to another process."""

    slide: str
    positive: bool
    out: str
    rig: Rig
    backend: str
    precision: str
    threads: int
    um_per_px: float | None

    @property
    def result(self) -> Path:
        """Where the slide's figures lie when it is done."""
        return Path(self.out) / "slides" / f"{Path(self.slide).stem}.json"


def add_slide_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of slides."""
    parser.add_argument("slides", type=Path, metavar="SLIDES.csv", help="slide,label")
    parser.add_argument("--rig", type=Path, help="rig file (default: simulated)")
    parser.add_argument("--um-per-px", type=float, help="scale of the slide files")
    parser.add_argument("--ray", metavar="ADDRESS", help='Ray cluster, or "local"')


def run_slides(args: argparse.Namespace) -> dict[str, Any]:
    """Read every slide and judge the scores."""
    tasks = list_tasks(args)
    (args.out / "slides").mkdir(parents=True, exist_ok=True)
    todo = [task for task in tasks if not is_done(task)]
    done = run_on_ray(todo, args.ray) if args.ray else map(try_slide, todo)
    bar = tqdm(done, total=len(todo), desc="slides", disable=None)
    unread = {slide: error for slide, error in bar if error is not None}
    read = [task for task in tasks if task.slide not in unread]
    if not read:
        raise next(iter(unread.values()))
    results = [json.loads(task.result.read_text("utf-8")) for task in read]
    judged = judge_slides(read, results)
    missing = {slide: str(error) for slide, error in unread.items()} | {
        result["slide"]: result.get("score_withheld", "")
        for result in results
        if result["score"] is None
    }
    scored = [result for result in results if result["score"] is not None]
    coverages = [result["coverage"] for result in scored]
    figures = judge(judged) | judge_figure("specificity_at_full_sensitivity", judged)
    figures |= {
        "slides": len(tasks),
        "n_not_scored": len(missing),
        "not_scored": [{"slide": k, "reason": why} for k, why in missing.items()],
        "scored_over": scored_over(coverages),
    }
    names = [Path(result["slide"]).name for result in scored]
    columns = {"name": names, "coverage": coverages}
    plots, engine = ("roc", "histogram"), results[0]["engine"]
    return write_folder(args, engine, judged, columns, figures, plots=plots)


def scored_over(coverages: Sequence[float]) -> str:
    """Of how much the scores are, in words: none is told without it.

    >>> scored_over([1.0, 0.963])
    '2 slides scored, each over at least 96 % of the visited cell area analysed'
    """
    if not coverages:
        return "no slide scored"
    least = coverage_text(min(coverages), extent_known=False)
    count = len(coverages)
    return f"{count} slide{'s' * (count > 1)} scored, each over at least {least}"


def list_tasks(args: argparse.Namespace) -> list[SlideTask]:
    """Return a task for each row of SLIDES.csv.

    Raises:
        CalibrationError: the rig's certificate is not in force.
        SourceError: the table is bad, or two slides share a name.
    """
    rig = read_rig(args.rig) if args.rig else Rig()
    refuse_void(rig, None, now())
    replace = msgspec.structs.replace
    rig = replace(rig, network=replace(rig.network, set=str(args.engines)))
    tasks = []
    for row in read_rows(args.slides, ("slide", "label")):
        if row["label"] not in LABELS:
            raise SourceError(
                f"{args.slides}: label is {row['label']!r}; expected one of "
                f"{', '.join(LABELS)}"
            )
        path = Path(row["slide"])
        tasks.append(
            SlideTask(
                str(path if path.is_absolute() else args.slides.parent / path),
                LABELS[row["label"]],
                str(args.out),
                rig,
                args.backend,
                args.precision,
                args.threads,
                args.um_per_px,
            )
        )
    if len({task.result for task in tasks}) < len(tasks):
        raise SourceError(f"{args.slides}: two slides have the same name; rename one")
    return tasks


LABELS = {"1": True, "positive": True, "0": False, "negative": False}


def is_done(task: SlideTask) -> bool:
    """Return whether the slide's figures are there, made with what the task names."""
    try:
        content = json.loads(task.result.read_text("utf-8"))
        return bool(content.get("made_with") == made_with(task))
    except (OSError, ValueError, SourceError):
        # Reading it says what is the matter with the slide.
        return False


def made_with(task: SlideTask) -> dict[str, Any]:
    """Return what a slide's figures depend on; where it differs, they are made again.

    Raises:
        EngineError: there is no such network set.
    """
    slide = Path(task.slide)
    return {
        "version": __version__,
        "network_set": sha256_of(manifest_bytes(find_set(task.rig.network.set))),
        "backend": task.backend,
        "precision": task.precision,
        "rig": task.rig.sha256,
        "um_per_px": task.um_per_px,
        "slide": task.slide,
        # A slide that is gone has no content: reading it then says so.
        "content": slide_sha256(slide) if slide.exists() else "",
    }


def read_slide(task: SlideTask) -> str:
    """Read one slide and write its figures; return its path."""
    made = made_with(task)
    source = open_source(task.rig, slide=Path(task.slide), um_per_px=task.um_per_px)
    with open_set(
        task.rig.network.set,
        backend=task.backend,
        precision=task.precision,
        threads=task.threads,
    ) as networks:
        pipeline = Pipeline(networks, task.rig.cascade)
        crops: dict[Finding, bytes] = {}
        with contextlib.closing(source):
            for field in source.fields():
                step = pipeline.step(field)
                crops |= crops_of(step.account) | crops_of(step.late)
        crops |= crops_of(pipeline.flush())
        score = pipeline.score()
        engine = networks.provenance
    best = pipeline.top(TOP_SHOWN)
    shown = [decode_crop(crops[each]) for each in best if each in crops]
    write_sheet(shown, task.result.with_suffix(".jpg"))
    content = {
        "slide": task.slide,
        "score": score.score,
        "scores": score.scores,
        "score_withheld": score.withheld,
        "coverage": score.coverage,
        "findings": score.findings,
        "fields": score.fields,
        "fields_unreadable": score.fields_unreadable,
        "engine": engine,
        "made_with": made,
    }
    write_whole(task.result, json_text(content).encode())
    return task.slide


def crops_of(account: Account | None) -> dict[Finding, bytes]:
    """Encode the crops of what may be in a top list that somebody looks at."""
    return {
        one.finding: encode_crop(one.crop)
        for one in (account.observations if account else ())
        if one.finding.hr_probability >= SUSPICIOUS
    }


def write_sheet(best: Iterable[Pixels], path: Path) -> None:
    """Write the highest findings of a slide side by side."""
    side = (SHOWN_PX, SHOWN_PX)
    crops = [cv2.resize(crop, side, interpolation=cv2.INTER_AREA) for crop in best]
    crops += [np.full((*side, 3), 255, np.uint8)] * (TOP_SHOWN - len(crops))
    write_whole(path, cv2.imencode(".jpg", np.hstack(crops)[..., ::-1])[1].tobytes())


Outcome = tuple[str, SourceError | None]
"""A slide, and why it could not be read."""


def try_slide(task: SlideTask) -> Outcome:
    """Read one slide; one that is bad must not cost the others."""
    try:
        return read_slide(task), None
    except SourceError as error:
        return task.slide, error


def run_on_ray(tasks: Iterable[SlideTask], address: str) -> Iterator[Outcome]:
    """Read slides on a Ray cluster.

    Raises:
        SourceError: ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        said = missing_extra(error, "ray")
        raise SourceError(f"--ray: {said}, or leave it out") from error
    ray.init(address=None if address == "local" else address, include_dashboard=False)
    try:
        remote: Callable[..., Any] = ray.remote(try_slide).remote
        waiting = [remote(task) for task in tasks]
        while waiting:
            done, waiting = ray.wait(waiting)
            yield from ray.get(done)
    finally:
        ray.shutdown()


def judge_slides(tasks: list[SlideTask], results: list[Mapping[str, Any]]) -> Judged:
    """Return the slides that have a score as scored things."""
    scores = [result["score"] for result in results]
    known = [t for t, s in zip(tasks, scores, strict=True) if s is not None]
    classes = ["positive" if task.positive else "negative" for task in known]
    return Judged(
        np.array([score for score in scores if score is not None], np.float64),
        np.array([task.positive for task in known], bool),
        np.array([task.slide for task in known], np.str_),
        np.array(classes, np.str_),
    )

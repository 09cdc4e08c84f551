"""``armicro replay``: read whole slides through the very stream of a microscope."""

import argparse
import os
import sys
from collections import Counter
from pathlib import Path

import msgspec
from tqdm import tqdm

from armicro.console import add_json, json_text, name_up_to, number
from armicro.errors import ArmicroError, SourceError, one_line
from armicro.overlay import why_no_screen
from armicro.processes.job import Display, Job, folder_names, set_aside
from armicro.processes.life import set_up_logging
from armicro.processes.session import prove, run_job
from armicro.rig import Rig, read_rig
from armicro.session.output import summarise
from armicro.session.record import Session
from armicro.slide.decision import LONGEST_NAME
from armicro.source.slide import once_each

EXAMPLE = """\
examples:
  armicro replay slide.svs --out out --headless
  armicro replay a.mrxs b.ndpi --rig hardware/rigs/simulated.toml --pace realtime
  armicro replay slide.tif --region 0,0,20000,20000 --um-per-px 0.25 --resume
"""

SCALES_UM_PER_PX = (0.001, 100.0)
"""Of a slide file that somebody may have; the cascade accepts less, and says so."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.epilog = EXAMPLE
    parser.add_argument("slides", nargs="+", metavar="SLIDE", type=Path)
    parser.add_argument("--rig", type=Path, help="rig file (default: simulated)")
    add_session_arguments(parser, "print slide.json of each")
    add_reader(parser)
    parser.add_argument(
        "--map", action="store_true", help="also stitch the fields into slide.tif"
    )
    parser.add_argument("--pace", choices=("fast", "realtime"), default="fast")
    parser.add_argument("--scan", choices=("serpentine", "raster", "random"))
    parser.add_argument(
        "--region", type=_region, metavar="X,Y,W,H", help="part, in slide-file pixels"
    )
    scale = number(*SCALES_UM_PER_PX, "scale in µm/px that a microscope has", of=float)
    parser.add_argument(
        "--um-per-px", type=scale, metavar="X", help="scale of the slide file"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with the sessions in --out"
    )


def add_session_arguments(parser: argparse.ArgumentParser, what: str) -> None:
    """Declare what every run over a slide takes; ``what`` is said of ``--json``."""
    parser.add_argument("--out", type=Path, default=Path("out"), help="results folder")
    parser.add_argument("--headless", action="store_true", help="no window")
    parser.add_argument("--engines", metavar="SET", help="network set, name or folder")
    add_json(parser, what)


def run(args: argparse.Namespace) -> int:
    """Read each slide; 1 when one of them ended early."""
    set_up_logging("replay")
    rig = choose_rig(args.rig, scan=args.scan, engines=args.engines)
    failed: dict[Path, ArmicroError] = {}
    slides = _readable(args.slides, failed)
    status = 0
    for slide, name in zip(slides, folder_names(slides), strict=True):
        job = Job(
            session="",
            mode="replay",
            rig=rig,
            out=str(args.out / name),
            slide=str(slide),
            um_per_px=args.um_per_px,
            region_px=args.region,
            pace=args.pace,
            display=choose_display(headless=args.headless),
            map=args.map,
            reader=args.reader or "",
        )
        try:
            status = max(status, _read(job, args))
        except ArmicroError as error:
            if len(args.slides) == 1:
                raise
            # One bad slide must not cost a night's batch.
            tqdm.write(f"{one_line(str(slide))}: {error}", file=sys.stderr)
            failed[slide] = error
    return max(status, _tell_failed(failed, len(args.slides)))


def _readable(given: list[Path], failed: dict[Path, ArmicroError]) -> list[Path]:
    """Slides that are there, each once; of the others, why not."""
    there = []
    for slide in given:
        try:
            refuse_absent(slide)
            there.append(slide)
        except SourceError as error:
            if len(given) == 1:
                raise
            failed[slide] = error
    return once_each(there)


def refuse_absent(slide: Path) -> None:
    """Refuse a path that leads to no slide.

    Raises:
        SourceError: nothing is there, or its name cannot be passed on.
    """
    try:
        str(slide).encode()
        slide.stat()
    except UnicodeEncodeError as error:
        raise SourceError(f"{slide}: its name is no UTF-8; rename it") from error
    except (OSError, ValueError) as error:
        raise SourceError(f"{slide}: no such slide; check the path") from error


def _tell_failed(failed: dict[Path, ArmicroError], given: int) -> int:
    """List what could not be read, at the end; the exit status that it makes."""
    if not failed:
        return 0
    tqdm.write(f"{len(failed)} of {given} slides were not read:", file=sys.stderr)
    for slide, error in failed.items():
        tqdm.write(f"  {one_line(str(slide))}: {error}", file=sys.stderr)
    # The work failed in part; where nothing could be read, the input was bad.
    return 1 if len(failed) < given else max(e.exit_status for e in failed.values())


def _read(job: Job, args: argparse.Namespace) -> int:
    if not args.resume:
        # Earlier results are moved only for a slide that can be read.
        prove(job)
        set_aside(job.folder)
    session, ended = run_job(job, quiet=args.json)
    show(session, job.folder, as_json=args.json)
    if ended:
        tqdm.write(f"{job.folder}: {ended}; go on with --resume")
    return 1 if ended else 0


def choose_rig(
    path: Path | None, *, scan: str | None = None, engines: str | None = None
) -> Rig:
    """Read the rig and lay the command line's choices over it.

    Raises:
        RigError: the rig file is not usable.
    """
    rig = read_rig(path) if path else Rig()
    replace = msgspec.structs.replace
    if scan:
        rig = replace(rig, scan=replace(rig.scan, path=scan))
    if engines:
        rig = replace(rig, network=replace(rig.network, set=engines))
    return rig


def add_reader(parser: argparse.ArgumentParser) -> None:
    """Declare ``--reader``."""
    parser.add_argument(
        "--reader",
        type=name_up_to(LONGEST_NAME),
        metavar="NAME",
        help="who decides on cells in the window (default: the user)",
    )


def choose_display(*, headless: bool) -> Display:
    """A window where there is a screen, else none."""
    if headless:
        return "none"
    why = why_no_screen(os.environ)
    if why:
        tqdm.write(f"no window: {why}", file=sys.stderr)
    return "none" if why else "window"


def show(session: Session, folder: Path, *, as_json: bool) -> None:
    """Print what came out: a line to read, or slide.json."""
    if as_json:
        tqdm.write(json_text(summarise(session)))
        return
    score = session.score
    tqdm.write(
        f"{folder.name}: {session.verdict}, {score.findings} findings in "
        f"{score.fields} fields -> {folder}/report.html{_why_no_score(session)}"
    )


def _why_no_score(session: Session) -> str:
    """The most frequent reason why fields were not analysed, when none was."""
    reasons = Counter(report.reason for report in session.reports if report.reason)
    if session.score.score is not None or not reasons:
        return ""
    ((reason, count),) = reasons.most_common(1)
    return f"\n  no boxes in {count} of {session.score.fields} fields: {reason}"


def _region(text: str) -> tuple[int, int, int, int]:
    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not X,Y,W,H in whole pixels"
        ) from error
    if width <= 0 or height <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} has no area")
    return x, y, width, height

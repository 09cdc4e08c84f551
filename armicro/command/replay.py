"""``armicro replay``: read whole slides through the very stream of a microscope."""

import argparse
import os
import sys
from collections import Counter
from pathlib import Path

import msgspec
from tqdm import tqdm

from armicro.errors import ArmicroError, SourceError
from armicro.overlay.screen import why_no_screen
from armicro.processes.begin import prove
from armicro.processes.folder import set_aside
from armicro.processes.job import Display, Job
from armicro.processes.log import set_up_logging
from armicro.processes.run import run_job
from armicro.rig import Rig, read_rig
from armicro.session.record import Session
from armicro.session.summary import encode_summary, summarise
from armicro.source.dicom import once_each

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
    parser.add_argument("--out", type=Path, default=Path("out"), help="results folder")
    parser.add_argument("--headless", action="store_true", help="no window")
    parser.add_argument(
        "--map", action="store_true", help="also stitch the fields into slide.tif"
    )
    parser.add_argument("--pace", choices=("fast", "realtime"), default="fast")
    parser.add_argument("--scan", choices=("serpentine", "raster", "random"))
    parser.add_argument(
        "--region", type=_region, metavar="X,Y,W,H", help="part, in slide-file pixels"
    )
    parser.add_argument(
        "--um-per-px", type=_scale, metavar="X", help="scale of the slide file"
    )
    parser.add_argument("--engines", metavar="SET", help="network set, name or folder")
    parser.add_argument(
        "--resume", action="store_true", help="go on with the sessions in --out"
    )
    parser.add_argument("--json", action="store_true", help="print slide.json of each")


def run(args: argparse.Namespace) -> int:
    """Read each slide; 1 when one of them ended early."""
    set_up_logging("replay")
    rig = choose_rig(args.rig, scan=args.scan, engines=args.engines)
    for slide in args.slides:
        if not slide.exists():
            raise SourceError(f"{slide}: no such slide; check the path")
    slides = once_each(args.slides)
    status = 0
    for slide, folder in zip(slides, _folders(slides, args.out), strict=True):
        job = Job(
            session="",
            mode="replay",
            rig=rig,
            out=str(folder),
            slide=str(slide),
            um_per_px=args.um_per_px,
            region_px=args.region,
            pace=args.pace,
            display=choose_display(headless=args.headless),
            map=args.map,
        )
        try:
            status = max(status, _read(job, args))
        except ArmicroError as error:
            if len(slides) == 1:
                raise
            # One bad slide must not cost a night's batch.
            tqdm.write(f"{slide}: {error}", file=sys.stderr)
            status = max(status, error.exit_status)
    return status


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
        tqdm.write(encode_summary(summarise(session)).decode())
        return
    score = session.score
    reason = _why_no_score(session)
    tqdm.write(
        f"{folder.name}: {session.verdict}, {score.findings} findings in "
        f"{score.fields} fields -> {folder}/report.html"
        f"{reason}"
    )


def _why_no_score(session: Session) -> str:
    """The most frequent reason why fields were not analysed, when none was."""
    reasons = Counter(report.reason for report in session.reports if report.reason)
    if session.score.score is not None or not reasons:
        return ""
    ((reason, count),) = reasons.most_common(1)
    return f"\n  no boxes in {count} of {session.score.fields} fields: {reason}"


def _folders(slides: list[Path], out: Path) -> list[Path]:
    taken: dict[str, int] = {}
    folders = []
    for slide in slides:
        count = taken[slide.stem] = taken.get(slide.stem, 0) + 1
        folders.append(out / (slide.stem if count == 1 else f"{slide.stem}-{count}"))
    return folders


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


def _scale(text: str) -> float:
    low, high = SCALES_UM_PER_PX
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from error
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a scale above 0 that a microscope has: expected "
            f"{low:g} to {high:g} µm/px"
        )
    return value

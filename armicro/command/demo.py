"""``armicro demo``: draw a small slide with known truth and read it."""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from tqdm import tqdm

from armicro.command.replay import (
    add_session_arguments,
    choose_display,
    choose_rig,
    show,
)
from armicro.phantom import PhantomSpec, size_px, write_phantom
from armicro.processes.job import Job, make_folder, set_aside
from armicro.processes.life import set_up_logging
from armicro.processes.session import run_job
from armicro.session.record import Session
from armicro.verdict import SUSPICIOUS

MEGAPIXELS = 60.0
LESIONS = 24
SEED = 12

EXAMPLE = """\
examples:
  armicro demo
  armicro demo --out out --headless
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.epilog = EXAMPLE
    add_session_arguments(parser, "print slide.json")
    size = "size (default %(default)s)"
    parser.add_argument("--megapixels", type=float, default=MEGAPIXELS, help=size)
    parser.add_argument("--seed", type=int, default=SEED, help="another slide")


def run(args: argparse.Namespace) -> int:
    """Draw, read, and say how many of the drawn lesions were found."""
    set_up_logging("demo")
    folder = args.out / "demo"
    set_aside(folder)
    make_folder(folder)
    with tempfile.TemporaryDirectory(prefix="armicro-demo-") as scratch:
        slide = Path(scratch) / "demo.tif"
        spec = PhantomSpec(*size_px(args.megapixels), lesions=LESIONS, seed=args.seed)
        with tqdm(
            unit=" px", unit_scale=True, desc="drawing", disable=args.json
        ) as bar:
            truth = write_phantom(slide, spec, progress=bar.update)
        display = choose_display(headless=args.headless)
        job = Job(
            session="",
            mode="replay",
            rig=choose_rig(None, engines=args.engines),
            out=str(folder),
            slide=str(slide),
            # Without a screen the same window is painted for its picture alone.
            display="offscreen" if display == "none" else display,
        )
        session, ended = run_job(job, quiet=args.json)
    show(session, folder, as_json=args.json)
    if not args.json:
        lesions = np.column_stack([truth.x_um, truth.y_um])[truth.lesion].tolist()
        found = sum(_is_found(session, *lesion) for lesion in lesions)
        tqdm.write(
            f"{found} of {len(lesions)} drawn lesions lie inside a finding; a drawn "
            "slide shows that the stream works, not how good it is on real cells"
        )
    return 1 if ended else 0


def _is_found(session: Session, x_um: float, y_um: float) -> bool:
    return any(
        abs(f.x_um - x_um) <= f.width_um / 2
        and abs(f.y_um - y_um) <= f.height_um / 2
        and f.hr_probability >= SUSPICIOUS
        for f in session.findings
    )

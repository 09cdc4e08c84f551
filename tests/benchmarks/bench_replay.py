"""Replay of a drawn slide at full pace: how much of infer's time is the engine's.

python tests/benchmarks/bench_replay.py --megapixels 100
"""

import argparse
import tempfile
from pathlib import Path

from armicro.phantom import PhantomSpec, size_px, write_phantom
from armicro.processes.job import Job
from armicro.processes.session import run_job
from armicro.rig import Network, Rig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megapixels", type=float, default=100.0)
    parser.add_argument("--engines", default="cervical-r50")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="armicro-bench-") as folder:
        slide = Path(folder) / "drawn.tif"
        write_phantom(slide, PhantomSpec(*size_px(args.megapixels), lesions=40, seed=3))
        job = Job(
            session="",
            mode="replay",
            rig=Rig(network=Network(set=args.engines)),
            out=str(Path(folder) / "drawn"),
            slide=str(slide),
        )
        session, _ = run_job(job, quiet=True)
    wall_s = session.wall_s or float("nan")
    print(
        f"{session.score.fields} fields, {session.score.megapixels:.0f} Mpx in "
        f"{wall_s:.1f} s; in the engine {session.inference_s:.1f} s = "
        f"{session.inference_s / wall_s:.0%} of infer's wall time"
    )


if __name__ == "__main__":
    main()

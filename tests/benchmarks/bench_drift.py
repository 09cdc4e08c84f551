"""What the watch over a running camera costs, and how well it sees a wrong scale.

python tests/benchmarks/bench_drift.py
"""

import time

import cv2
import numpy as np

from armicro.calibrate.drift import LOOK_NS, DriftWatch
from armicro.field import Field, Place
from armicro.phantom import paint_field
from tests.calibrate.test_drift import glass_of

WIDTH, HEIGHT, UM_PER_PX = 2448, 2048, 0.243
STEPS, STEP_PX = 12, 300


def main() -> None:
    """Walk over a drawn slide with a stage that is wrong by known shares."""
    cv2.setNumThreads(1)
    slide, _ = paint_field(
        seed=4,
        width_px=WIDTH + STEPS * STEP_PX + 400,
        height_px=HEIGHT + 400,
        um_per_px=UM_PER_PX,
        lesions=40,
    )
    print("stretch   seen     error    look: median  longest")
    for stretch in (1.0, 1.01, 1.02, 1.03, 0.95):
        drift, spent_ms = DriftWatch(glass_of(slide)), []
        for step in range(STEPS):
            x = round(step * STEP_PX * stretch)
            pixels = np.ascontiguousarray(slide[100 : 100 + HEIGHT, x : x + WIDTH])
            place = Place(step * STEP_PX * UM_PER_PX, 0.0, 0.0, "stage_encoder")
            field = Field(UM_PER_PX, step, (step + 1) * LOOK_NS, place, pixels=pixels)
            begun = time.perf_counter()
            drift.update(field)
            spent_ms.append(1e3 * (time.perf_counter() - begun))
        seen = 1.0 + float(np.median([move.share for move in drift._moves]))
        print(
            f"{stretch:7.3f}  {seen:7.4f}  {seen - stretch:+8.4f}  "
            f"{np.median(spent_ms):9.1f} ms  {max(spent_ms):5.1f} ms   "
            f"{drift.verdict.void or 'boxes stay'}"
        )


if __name__ == "__main__":
    main()

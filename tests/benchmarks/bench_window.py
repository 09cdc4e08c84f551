"""What a frame costs: 2448×2048 pixels and 20 boxes into a 1280×1024 window.

    QT_QPA_PLATFORM=offscreen python tests/benchmarks/bench_window.py

Prints the median and the 95th percentile of a tick that shows a new field (cut, resize,
layout, paint), of one that finds nothing new, and the frames a second that the timer
reaches from a camera of 30 a second. Time on the core is what a busy machine cannot
blur.
"""

import os
import time
from collections.abc import Callable

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import cv2
import numpy as np
from PySide6.QtCore import Qt, QTimer

from armicro.field import Pixels, Place
from armicro.overlay.application import application
from armicro.overlay.snapshot import LiveField, SlideState, Snapshot
from armicro.overlay.view import cut_out
from armicro.overlay.window import Window
from armicro.report import Finding, SlideScore

WIDTH_PX, HEIGHT_PX, UM_PER_PX = 2448, 2048, 0.25
FRAMES, CAMERA_HZ, SECONDS = 200, 30, 5


class Camera:
    """A field that moves, with 20 findings in sight and 300 elsewhere."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._pixels: Pixels = rng.integers(
            0, 255, (HEIGHT_PX, WIDTH_PX, 3), dtype=np.uint8
        )
        near = rng.uniform((60, 60), (520, 420), (20, 2))
        far = rng.uniform(2000, 20000, (300, 2))
        findings = tuple(
            Finding(float(x), float(y), 62, 62, 0.9, float(rng.uniform(0.5, 1)), 0)
            for x, y in np.vstack([near, far])
        )
        now_ns = time.monotonic_ns()
        score = SlideScore(0.4, {"10": (0.4, 0.4)}, 0.5, 1, 0, len(findings), 1.0)
        self._slide = SlideState("bench", score, None, findings, heard_ns=now_ns)
        self.snapshot = Snapshot(slide=self._slide, finished=True)
        self.painted_ns: list[int] = []

    def expose(self) -> None:
        """Give another field, a little further on."""
        old = self.snapshot.field
        seq = old.seq + 1 if old else 0
        place = Place(float(seq % 100), 0.0, 0.3, "slide_file")
        pixels = self._pixels
        field = LiveField(
            UM_PER_PX,
            seq,
            time.monotonic_ns(),
            place,
            width_px=WIDTH_PX,
            height_px=HEIGHT_PX,
            render=lambda cut: cut_out(pixels, cut),
        )
        self.snapshot = Snapshot(field, self._slide, finished=True)

    def poll(self) -> Snapshot:
        """The newest state."""
        return self.snapshot

    def painted(self, seq: int, painted_ns: int) -> None:
        """Note when a field was painted."""
        self.painted_ns.append(painted_ns)


def main() -> None:
    """Measure and print."""
    cv2.setNumThreads(1)
    app = application()
    camera = Camera()
    window = Window(camera)
    window.resize(1280 + window.panel.width(), 1024 + 68)
    window.show()
    app.processEvents()
    canvas = window.canvas
    print(
        f"canvas {canvas.width()}x{canvas.height()} px, platform {app.platformName()}"
    )

    def frame() -> None:
        camera.expose()
        window.tick()
        app.processEvents()

    def idle() -> None:
        window.tick()
        app.processEvents()

    frame()
    print(f"boxes in sight     {len(canvas.shown_layout.boxes)}")
    print(f"tick, new field    {_time(frame)}")
    print(f"tick, nothing new  {_time(idle)}")
    rate = _rate(camera, window)
    print(f"painted            {rate:.1f} of {CAMERA_HZ} fields a second")


def _time(act: Callable[[], None]) -> str:
    wall_ms, cpu_ms = [], []
    for _ in range(FRAMES):
        start_ns, start_cpu_ns = time.perf_counter_ns(), time.thread_time_ns()
        act()
        wall_ms.append((time.perf_counter_ns() - start_ns) / 1e6)
        cpu_ms.append((time.thread_time_ns() - start_cpu_ns) / 1e6)
    median_ms, p95_ms = np.percentile(wall_ms, (50, 95))
    return (
        f"median {median_ms:.2f} ms  p95 {p95_ms:.2f} ms  "
        f"(on the core: median {np.median(cpu_ms):.2f} ms)"
    )


def _rate(camera: Camera, window: Window) -> float:
    app = application()
    exposures = QTimer()
    exposures.setTimerType(Qt.TimerType.PreciseTimer)
    exposures.timeout.connect(camera.expose)
    camera.painted_ns.clear()
    exposures.start(1000 // CAMERA_HZ)
    window.start()
    QTimer.singleShot(SECONDS * 1000, app.quit)
    app.exec()
    return len(camera.painted_ns) / SECONDS


if __name__ == "__main__":
    main()

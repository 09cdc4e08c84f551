"""The film of README: the real window during a pan over a drawn slide.

    QT_QPA_PLATFORM=offscreen python tests/benchmarks/film.py docs/film.gif

A hand pushes the slide, faster and slower and round a corner; the camera gives 30
fields a second and says nothing of where they lie: registration finds that. The cascade
(the default network set) takes whichever field is newest and answers a second later.
Every painted frame is compared with the truth: how far each box's middle lies from the
nucleus that it stands for, and how far that changes while the slide moves, which is
what a box that is locked to its cell must not do.
"""

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import cv2
import numpy as np
from msgspec import structs
from PIL import Image
from PySide6.QtGui import QImage

from armicro.cascade.screen import Choice
from armicro.engine.registry import open_set
from armicro.field import Field, Pixels
from armicro.overlay.application import application
from armicro.overlay.snapshot import LiveField, SlideState, Snapshot
from armicro.overlay.view import cut_out
from armicro.overlay.window import Window
from armicro.phantom import Truth, paint_field
from armicro.pipeline import Pipeline
from armicro.place.atlas import MemoryStore
from armicro.place.register import Register
from armicro.report import Finding
from armicro.slide.focus import with_focus

UM_PER_PX = 0.243
SIZE_PX = 1632, 1360
SLIDE_PX = 4200, 2600
WINDOW_PX = 900, 600
LESIONS = 40
CAMERA_HZ, SECONDS, SHOWN_EVERY = 30, 6, 6
ANSWER_FRAMES = 30


@dataclass(slots=True)
class Lock:
    """How well one finding's box kept to its cell."""

    cell_um: tuple[float, float]
    offsets_um: list[tuple[float, float]]


class Feed:
    """What the window is given."""

    def __init__(self) -> None:
        self.snapshot = Snapshot()
        self.now_ns = 1

    def poll(self) -> Snapshot:
        """The newest state."""
        return self.snapshot

    def painted(self, seq: int, painted_ns: int) -> None:
        """Nobody asks."""


def path_um(second: float) -> tuple[float, float]:
    """A hand's way: it starts, hurries, stops to look, and goes down and back."""
    x = np.interp(second, (0, 1.1, 2.8, 3.6, 4.3, 6), (10, 20, 300, 380, 380, 160))
    y = np.interp(second, (0, 1.1, 2.8, 3.6, 4.5, 6), (20, 20, 40, 110, 220, 270))
    shake = 1.2 * np.sin(9 * second), 0.9 * np.sin(13 * second + 1)
    return float(x + shake[0]), float(y + shake[1])


def view_of(slide: Pixels, corner_um: tuple[float, float]) -> Pixels:
    """What the camera sees, between the slide's pixels too."""
    x, y = (um / UM_PER_PX for um in corner_um)
    shift = np.array([[1.0, 0.0, x], [0.0, 1.0, y]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(slide, shift, SIZE_PX, flags=flags), np.uint8)


def fields(slide: Pixels) -> Iterator[Field]:
    """Every field that the camera takes, and where registration finds it."""
    register = Register(MemoryStore())
    for seq in range(CAMERA_HZ * SECONDS):
        taken_ns = 1 + seq * 1_000_000_000 // CAMERA_HZ
        pixels = view_of(slide, path_um(seq / CAMERA_HZ))
        yield with_focus(
            register.update(Field(UM_PER_PX, seq, taken_ns, pixels=pixels))
        )


def live_field(field: Field) -> LiveField:
    """A field as the window is given it."""
    told = structs.asdict(field.head)
    return LiveField(**told, render=lambda cut: cut_out(field.pixels, cut))


def shot_of(window: Window) -> Pixels:
    """The window as it stands."""
    image = window.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), -1)
    width = image.width()
    return rows[:, : 3 * width].reshape(image.height(), width, 3).copy()


class Locks:
    """Boxes on the screen against the truth."""

    def __init__(self, truth: Truth) -> None:
        # Registration counts from the first field.
        self._cells = np.stack([truth.x_um, truth.y_um], axis=1) - path_um(0)
        self.lost = 0
        self.places_um: list[float] = []
        self._locks: dict[Finding, Lock] = {}
        self.frames = 0

    def look(self, window: Window, field: Field) -> None:
        """Take the boxes that stand on the screen, and where the field truly lies."""
        self.frames += 1
        true_um = np.subtract(path_um(field.seq / CAMERA_HZ), path_um(0))
        if field.place is None:
            self.lost += 1
        else:
            off = true_um - (field.place.x_um, field.place.y_um)
            self.places_um.append(float(np.hypot(*off)))
        for box in window.canvas.shown_layout.boxes:
            x0, y0, x1, y1 = box.box_xyxy_px
            middle = true_um + np.array([x0 + x1, y0 + y1]) / 2 * UM_PER_PX
            lock = self._locks.setdefault(box.finding, self._lock(box.finding))
            x_um, y_um = (middle - lock.cell_um).tolist()
            lock.offsets_um.append((x_um, y_um))

    def _lock(self, finding: Finding) -> Lock:
        off = self._cells - (finding.x_um, finding.y_um)
        x_um, y_um = self._cells[int(np.argmin(np.hypot(*off.T)))].tolist()
        return Lock((x_um, y_um), [])

    def say(self) -> str:
        """The figures."""
        offsets = [np.array(lock.offsets_um) for lock in self._locks.values()]
        distance = np.concatenate([np.hypot(*off.T) for off in offsets])
        drift = max(float(np.hypot(*np.ptp(off, axis=0))) for off in offsets)
        return (
            f"{self.frames} frames, {self.lost} without a place; places off by RMS "
            f"{np.sqrt(np.mean(np.square(self.places_um))):.3f} µm, largest "
            f"{max(self.places_um):.3f} µm\n"
            f"{len(offsets)} findings, {distance.size} boxes\n"
            f"box middle to nucleus: mean {distance.mean():.2f} µm, "
            f"largest {distance.max():.2f} µm\n"
            f"change of it while the slide moves: largest {drift:.4f} µm"
        )


class Slow:
    """A cascade that answers a second later."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._asked: SlideState | None = None
        self._known: SlideState | None = None

    def update(self, field: Field, now_ns: int) -> SlideState | None:
        """What is known now; every second the newest field is taken."""
        if field.seq % ANSWER_FRAMES == 0:
            self._known = self._asked
            (report, _), _, score = self._pipeline.step(field)
            self._asked = SlideState(
                "drawn slide",
                score,
                report,
                self._pipeline.findings(),
                heard_ns=now_ns,
                inference_ms=1000.0 * ANSWER_FRAMES / CAMERA_HZ,
            )
        return self._known and structs.replace(self._known, heard_ns=now_ns)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the GIF to write")
    parser.add_argument("--engines", default="cervical-r50")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    slide, truth = paint_field(
        seed=21, width_px=SLIDE_PX[0], height_px=SLIDE_PX[1], lesions=LESIONS
    )
    feed, locks, frames = Feed(), Locks(truth), []
    app = application()
    window = Window(feed, clock=lambda: feed.now_ns)
    window.resize(*WINDOW_PX)
    window.show()
    with open_set(args.engines, threads=1) as networks:
        cascade = Slow(Pipeline(networks, Choice()))
        for field in fields(slide):
            feed.now_ns = field.taken_ns + 20_000_000
            known = cascade.update(field, feed.now_ns)
            feed.snapshot = Snapshot(live_field(field), known, heard_ns=feed.now_ns)
            window.tick()
            app.processEvents()
            locks.look(window, field)
            if field.seq % SHOWN_EVERY == 0:
                frames.append(Image.fromarray(shot_of(window)))
    print(locks.say())
    save(frames, args.out)


def save(frames: list[Image.Image], path: Path) -> None:
    """Write a GIF with one palette, so that what stands still costs nothing."""
    sheet = Image.new("RGB", (frames[0].width, 3 * frames[0].height))
    for row, frame in enumerate(frames[:: max(1, len(frames) // 3)][:3]):
        sheet.paste(frame, (0, row * frame.height))
    palette = sheet.quantize(48)
    reduced = [
        frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames
    ]
    reduced[0].save(
        path,
        save_all=True,
        append_images=reduced[1:],
        duration=1000 * SHOWN_EVERY // CAMERA_HZ,
        loop=0,
        optimize=False,
    )
    print(f"{path}: {len(frames)} frames, {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()

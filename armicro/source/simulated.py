"""A simulated microscope: what a camera sees at the true place of a simulated stage.

Play, scatter and rotation are the stage's; blur, vignetting and noise come from
``[scan]`` as for a slide that plays the camera. The slide is any picture at the scale
of the camera; its middle lies in the view's middle when the stage stands at (0, 0).
"""

import time
from collections.abc import Callable, Container, Iterator
from pathlib import Path

import cv2
import numpy as np

from armicro.calibrate.certificate import Stage as StageTable
from armicro.errors import SourceError
from armicro.field import Field, Pixels
from armicro.picture import read_picture
from armicro.rig import Rig
from armicro.source import Card
from armicro.source.degrade import Degrader, draw_chance
from armicro.source.drawn import DRAWN, paint_slide
from armicro.source.pan import pan_xy
from armicro.stage.place import Point, place_of
from armicro.stage.simulated import SimulatedStage


class SimulatedSource:
    """The camera of a microscope that is computed."""

    def __init__(
        self,
        rig: Rig,
        stage: SimulatedStage,
        *,
        slide: Pixels | None = None,
        calibration: StageTable | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Put a slide under the objective.

        Args:
            rig: its camera and the imperfections in its scan table.
            stage: whose true place is looked at.
            slide: (height, width, 3) RGB at the camera's scale; None: the picture that
                ``camera.emulated_image`` names.
            calibration: the stage's, from the certificate.
            clock: nanoseconds, monotonic.

        Raises:
            SourceError: there is no such picture, or it is smaller than a field.
        """
        self._camera, self._scan, self._stage = rig.camera, rig.scan, stage
        self._calibration, self._clock = calibration, clock
        self._slide = picture_of(rig) if slide is None else slide
        height_px, width_px = self._slide.shape[:2]
        camera = rig.camera
        if width_px < camera.width_px or height_px < camera.height_px:
            raise SourceError(
                f"simulated slide: {width_px}×{height_px} px, smaller than the "
                f"camera's {camera.width_px}×{camera.height_px}; give a larger picture"
            )
        self._room_wh_px = width_px - camera.width_px, height_px - camera.height_px
        self._degrader = Degrader(camera, rig.scan, um_per_px=camera.um_per_px)
        self._glass = [int(v) for v in np.median(self._slide[::16, ::16], axis=(0, 1))]
        self.card = Card(
            name="simulated microscope",
            um_per_px=camera.um_per_px,
            width_px=camera.width_px,
            height_px=camera.height_px,
            simulated=True,
        )

    def fields(self, *, done: Container[int] = ()) -> Iterator[Field]:
        """Yield what is seen where the stage is, at the rig's rate at most."""
        period_ns = round(1e9 / self._camera.frames_per_second)
        due_ns = started_ns = self._clock()
        first, seq = self._stage.position(), 0
        while True:
            due_ns = max(due_ns + period_ns, self._clock())
            self._pan(self._clock() - started_ns)
            if seq not in done:
                yield self._field(seq, first)
            seq += 1
            wait_ns = due_ns - self._clock()
            if wait_ns > 0:
                time.sleep(wait_ns / 1e9)

    def _pan(self, elapsed_ns: int) -> None:
        """Let the stage wander over the slide by itself, where the rig asks for it."""
        scale = self._camera.um_per_px
        speed = self._camera.emulated_pan_um_per_s / scale
        if speed:
            at = pan_xy(
                speed * elapsed_ns * 1e-9, self._room_wh_px, self._camera.height_px
            )
            way = [(at[i] - self._room_wh_px[i] / 2) * scale for i in (0, 1)]
            limits = self._stage.limits
            if limits is not None:
                way = [min(max(way[i], limits[i]), limits[i + 2]) for i in (0, 1)]
            self._stage.move_to(*way)

    def _field(self, seq: int, first: Point) -> Field:
        at = self._stage.position()
        pixels = self._degrader.apply(
            self._look(), draw_chance(self._scan, seq), direction=(0.0, 0.0)
        )
        return Field(
            um_per_px=self._camera.um_per_px,
            seq=seq,
            taken_ns=self._clock(),
            place=place_of(at, at, self._calibration, first=first),
            pixels=pixels,
        )

    def _look(self) -> Pixels:
        """The view at the stage's true place, between pixels where it lies there."""
        corner = [
            self._room_wh_px[i] / 2 + self._stage.true_xy_um[i] / self._camera.um_per_px
            for i in (0, 1)
        ]
        shift = np.array([[1.0, 0.0, corner[0]], [0.0, 1.0, corner[1]]])
        view = cv2.warpAffine(
            self._slide,
            shift,
            (self._camera.width_px, self._camera.height_px),
            # A bent interpolation, since a straight one blurs by where it falls.
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=self._glass,
        )
        return np.asarray(view, np.uint8)

    def close(self) -> None:
        """Nothing to give back; may be called twice."""


def picture_of(rig: Rig) -> Pixels:
    """Read the picture that plays the slide, or draw one.

    Raises:
        SourceError: it is missing or no picture.
    """
    if rig.camera.emulated_image == DRAWN:
        return paint_slide(rig.camera)
    path = Path(rig.camera.emulated_image)
    if not path.is_file():
        raise SourceError(
            f"simulated slide {rig.camera.emulated_image or '(none named)'}: missing; "
            'name a PNG, or "drawn", as camera.emulated_image of the rig'
        )
    return read_picture(path)

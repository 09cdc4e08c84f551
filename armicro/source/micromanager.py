"""Cameras through Micro-Manager's core, with the stage's encoder beside them.

Each field is snapped, not taken from a running sequence: only so the encoder can be
read before and after its exposure, and the place be of the field and not of a moment
near it. A camera that fails or is silent raises ``SourceLostError``; to come back,
close this source and open it again.
"""

import contextlib
import os
import re
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Container, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.calibrate.certificate import Stage as StageTable
from armicro.errors import SourceError, SourceLostError, missing_extra
from armicro.field import Field, Pixels, Place
from armicro.picture import apply_gains
from armicro.rig import Camera, MicroManager
from armicro.source import SourceCard
from armicro.source.stage import Limits, Point, StageDriver, place_of, require_inside
from armicro.verdict import state_text

# ---------------------------------------------------------------------------
# Stages through Micro-Manager's core, and the core itself.
#
# Micro-Manager has device adapters for the stages of all usual makers (Prior,
# Märzhäuser, ASI, Thorlabs, Zaber ...) and for many cameras. One core serves both,
# since a serial port or a microscope's controller cannot be opened twice. This is the
# only file that imports pymmcore.

CORE_ERRORS = (RuntimeError, ValueError, IndexError, OSError)
"""What the core raises, by the kind of C++ error."""
MOVE_TIMEOUT_MS = 30_000
"""A stage crosses a slide in less."""


def open_core(table: MicroManager) -> Any:
    """Load the devices of a rig; return a ``pymmcore.CMMCore``.

    Raises:
        SourceError: pymmcore, an adapter or a device is missing, or a line is wrong.
    """
    try:
        # Its SWIG types warn on import in Python 3.12.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            import pymmcore
    except (ImportError, OSError) as error:
        said = missing_extra(error, "pymmcore")
        raise SourceError(f"micromanager: {said}") from error
    if bool(table.config) == bool(table.lines):
        raise SourceError(
            "micromanager: the rig names "
            f"{'both config and lines' if table.config else 'no devices'}; "
            "expected either config, a .cfg file, or lines under [micromanager]"
        )
    core = pymmcore.CMMCore()
    core.setDeviceAdapterSearchPaths([_adapters(table)])
    core.setTimeoutMs(MOVE_TIMEOUT_MS)
    with _configuration(table) as path:
        try:
            core.loadSystemConfiguration(str(path))
        except CORE_ERRORS as error:
            close_core(core)
            raise SourceError(
                f"micromanager {table.config or 'lines of the rig'}: "
                f"{first_line(error)}; try the configuration in Micro-Manager, and "
                "use a pymmcore of the same device interface version"
            ) from error
    return core


def close_core(core: Any) -> None:
    """Give all devices back; may be called twice."""
    with contextlib.suppress(*CORE_ERRORS):
        core.reset()


def first_line(error: Exception) -> str:
    """What a core's error says, on one line."""
    return str(error).strip().splitlines()[0] if str(error).strip() else repr(error)


def _adapters(table: MicroManager) -> str:
    folder = table.adapters or os.environ.get("MICROMANAGER_PATH", "")
    if folder:
        return folder
    try:
        import mm_test_adapters
    except ImportError as error:
        raise SourceError(
            "micromanager: no folder of device adapters; expected micromanager.adapters"
            " in the rig or MICROMANAGER_PATH in the environment, or for the "
            "demonstration devices: pip install mm-test-adapters"
        ) from error
    return str(mm_test_adapters.device_adapter_path())


@contextlib.contextmanager
def _configuration(table: MicroManager) -> Iterator[Path]:
    if table.config:
        yield Path(table.config)
        return
    with tempfile.TemporaryDirectory(prefix="armicro-mm-") as folder:
        path = Path(folder) / "rig.cfg"
        path.write_text("\n".join((*table.lines, "")), encoding="utf-8")
        yield path


class MicroManagerStage:
    """The XY stage that a core's configuration names."""

    def __init__(self, core: Any, *, limits: Limits | None = None) -> None:
        """Take the stage of an open core, which stays the opener's to close.

        Raises:
            SourceError: the configuration names no XY stage.
        """
        self._core = core
        self.limits = limits
        self._device = str(core.getXYStageDevice())
        if not self._device:
            raise SourceError(
                "micromanager: the configuration names no XY stage; add the line "
                '"Property,Core,XYStage,NAME"'
            )

    def position(self) -> tuple[float, float]:
        """Where it stands, x and y in µm by its adapter's word.

        Raises:
            SourceLostError: it does not answer.
        """
        with self._lost_when_it_fails():
            x, y = self._core.getXYPosition(self._device)
        return float(x), float(y)

    def move_to(self, x: float, y: float) -> None:
        """Go there and return when it stands.

        Raises:
            CalibrationError: the place lies outside the soft limits.
            SourceLostError: it does not answer, or not in 30 s.
        """
        require_inside(x, y, self.limits)
        with self._lost_when_it_fails():
            self._core.setXYPosition(self._device, x, y)
            self._core.waitForDevice(self._device)

    @contextlib.contextmanager
    def _lost_when_it_fails(self) -> Iterator[None]:
        try:
            yield
        except CORE_ERRORS as error:
            raise SourceLostError(
                f"stage {self._device}: {first_line(error)}; check its power and cable"
            ) from error

    def close(self) -> None:
        """Nothing to give back: the core is the opener's."""


# ---------------------------------------------------------------------------
# The camera.

_LEAST_SILENCE_S = 0.8
_DEMONSTRATION = "DemoCamera"
"""Micro-Manager's adapter of devices that are drawn."""


class MicroManagerSource:
    """The camera that a core's configuration names."""

    def __init__(
        self,
        core: Any,
        camera: Camera,
        *,
        stage: StageDriver | None = None,
        calibration: StageTable | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Set the camera up; from here on the core is this source's to close.

        Args:
            core: from ``stage.micromanager.open_core``.
            camera: the rig's.
            stage: read before and after each exposure; None: fields have no place.
            calibration: the stage's, from the certificate.
            clock: nanoseconds, monotonic.

        Raises:
            SourceError: there is no camera, or it cannot do what the rig asks.
        """
        self._core, self._camera = core, camera
        self._stage, self._calibration = stage, calibration
        self._clock = clock
        self._first: Point | None = None
        self._stuck = False
        self._period_ns = round(1e9 / camera.frames_per_second)
        try:
            self.card = self._set_up()
        except CORE_ERRORS as error:
            self.close()
            raise SourceError(
                f"camera {camera.device}: {first_line(error)}; check the rig's camera "
                "settings against Micro-Manager's"
            ) from error
        except SourceError:
            self.close()
            raise

    def _set_up(self) -> SourceCard:
        core, camera = self._core, self._camera
        name = camera.device or str(core.getCameraDevice())
        if not name:
            raise SourceError(
                "micromanager: the configuration names no camera; add the line "
                '"Property,Core,Camera,NAME"'
            )
        core.setCameraDevice(name)
        if camera.exposure_us is not None:
            core.setExposure(camera.exposure_us / 1e3)
        core.clearROI()
        wanted = camera.width_px, camera.height_px
        full = int(core.getImageWidth()), int(core.getImageHeight())
        if full[0] < wanted[0] or full[1] < wanted[1]:
            raise SourceError(
                f"camera {name}: gives {full[0]}×{full[1]} px, smaller than the rig's "
                f"{wanted[0]}×{wanted[1]}; correct width_px and height_px, or the "
                "camera's binning"
            )
        if full != wanted:
            left, top = ((full[i] - wanted[i]) // 2 for i in (0, 1))
            core.setROI(left, top, *wanted)
        library = str(core.getDeviceLibrary(name))
        bins = core.hasProperty(name, "Binning")
        return SourceCard(
            name=f"{library} {core.getDeviceName(name)} {name}",
            um_per_px=camera.um_per_px,
            width_px=int(core.getImageWidth()),
            height_px=int(core.getImageHeight()),
            binning=_leading_int(core.getProperty(name, "Binning")) if bins else 1,
            simulated=library == _DEMONSTRATION,
        )

    def fields(self, *, done: Container[int] = ()) -> Iterator[Field]:
        """Snap a field each time, at the rig's rate at most.

        Raises:
            SourceLostError: the camera or the stage fails or is silent.
        """
        seq = 0
        due_ns = self._clock()
        while True:
            due_ns = max(due_ns + self._period_ns, self._clock())
            field = self._snap(seq)
            if seq not in done:
                yield field
            seq += 1
            wait_ns = due_ns - self._clock()
            if wait_ns > 0:
                time.sleep(wait_ns / 1e9)

    def _snap(self, seq: int) -> Field:
        before = self._stage.position() if self._stage else None
        raw, taken_ns = self._expose()
        place = self._place(before)
        pixels = to_rgb(raw, bits=int(self._core.getImageBitDepth()))
        if self._camera.white_balance is not None:
            pixels = apply_gains(pixels, self._camera.white_balance)
        return Field(
            um_per_px=self._camera.um_per_px,
            seq=seq,
            taken_ns=taken_ns,
            place=place,
            pixels=pixels,
        )

    def _place(self, before: Point | None) -> Place | None:
        if self._stage is None or before is None:
            return None
        self._first = self._first or before
        after = self._stage.position()
        return place_of(before, after, self._calibration, first=self._first)

    def _expose(self) -> tuple[NDArray[Any], int]:
        """Snap in a thread of its own, since an adapter may wait for ever."""
        taken: list[tuple[NDArray[Any], int]] = []
        failed: list[Exception] = []

        def snap() -> None:
            try:
                self._core.snapImage()
                now_ns = self._clock()
                taken.append((self._core.getImage(), now_ns))
            except CORE_ERRORS as error:
                failed.append(error)

        thread = threading.Thread(target=snap, name="snap", daemon=True)
        thread.start()
        limit_s = self._silence_s()
        thread.join(limit_s)
        if thread.is_alive():
            self._stuck = True
            raise self._lost(f"no frame for {limit_s:.1f} s")
        if failed:
            raise self._lost(first_line(failed[0])) from failed[0]
        return taken[0]

    def _silence_s(self) -> float:
        """How long a camera may give no frame before it counts as lost."""
        exposure_s = (self._camera.exposure_us or 0.0) * 1e-6
        return max(_LEAST_SILENCE_S, 3e-9 * self._period_ns + exposure_s)

    def _lost(self, what: str) -> SourceLostError:
        said = state_text("camera_lost", name=f"camera {self.card.name}", what=what)
        return SourceLostError(said)

    def close(self) -> None:
        """Give camera and stage back; may be called twice."""
        if self._stuck:
            # The core waits for its camera and would make us wait as well.
            return
        close_core(self._core)


def to_rgb(raw: NDArray[Any], *, bits: int) -> Pixels:
    """Convert what a core gives to RGB.

    Args:
        raw: (height, width) uint8 or uint16 grey, or uint32 that packs B, G, R, A.
        bits: depth of a grey pixel.

    Returns:
        (height, width, 3) RGB, a copy.
    """
    if raw.dtype == np.uint32:
        packed = np.ascontiguousarray(raw).view(np.uint8).reshape(*raw.shape, 4)
        return np.asarray(cv2.cvtColor(packed, cv2.COLOR_BGRA2RGB), np.uint8)
    if raw.dtype not in (np.uint8, np.uint16) or raw.ndim != 2:
        raise SourceError(
            f"camera: gives {raw.dtype} pixels; expected 8 or 16 bit grey or 32 bit "
            "RGB; set its PixelType in Micro-Manager"
        )
    grey = raw if raw.dtype == np.uint8 else raw >> max(0, bits - 8)
    return np.asarray(cv2.cvtColor(grey.astype(np.uint8), cv2.COLOR_GRAY2RGB), np.uint8)


def _leading_int(text: str) -> int:
    """The number that a binning begins with, 1 where it says none.

    >>> [_leading_int(text) for text in ("2", "2x2", "none")]
    [2, 2, 1]
    """
    found = re.match(r"\d+", text)
    return int(found[0]) if found else 1

"""Stages through Micro-Manager's core, and the core itself.

Micro-Manager has device adapters for the stages of all usual makers (Prior,
Märzhäuser, ASI, Thorlabs, Zaber ...) and for many cameras. One core serves both, since
a serial port or a microscope's controller cannot be opened twice. This is the only file
that imports pymmcore.
"""

import contextlib
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from armicro.errors import SourceError, SourceLostError, missing_extra
from armicro.rig import MicroManager
from armicro.stage.limit import Limits, require_inside

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

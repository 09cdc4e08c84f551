"""The virtual stage of pylon's emulated camera: a window that pans over a picture."""

from typing import Any

from armicro.errors import SourceLostError
from armicro.stage.limit import Limits, require_inside


class PylonStage:
    """Moves the window of an open emulated camera; its unit is µm, its step a pixel."""

    def __init__(
        self,
        device: Any,
        *,
        um_per_px: float,
        range_wh_px: tuple[int, int],
        limits: Limits | None = None,
    ) -> None:
        """Take the camera, which stays its source's to close.

        Args:
            device: a pylon ``InstantCamera``.
            um_per_px: of the picture.
            range_wh_px: how far the window can move to the right and down.
            limits: in µm; narrowed to the picture.
        """
        self._device = device
        self._um_per_px = um_per_px
        left, top, right, bottom = limits or (0.0, 0.0, 1e9, 1e9)
        most_x, most_y = (um_per_px * px for px in range_wh_px)
        self.limits: Limits | None = (
            max(left, 0.0), max(top, 0.0), min(right, most_x), min(bottom, most_y),
        )  # fmt: skip

    def position(self) -> tuple[float, float]:
        """Where the window's corner lies on the picture, in µm.

        Raises:
            SourceLostError: the camera is gone.
        """
        self._require_there()
        x_px, y_px = self._device.OffsetX.Value, self._device.OffsetY.Value
        return x_px * self._um_per_px, y_px * self._um_per_px

    def move_to(self, x: float, y: float) -> None:
        """Go to the nearest whole pixel.

        Raises:
            CalibrationError: the place lies outside the soft limits.
            SourceLostError: the camera is gone.
        """
        require_inside(x, y, self.limits)
        self._require_there()
        self._device.OffsetX.Value = round(x / self._um_per_px)
        self._device.OffsetY.Value = round(y / self._um_per_px)

    def _require_there(self) -> None:
        if self._device.IsCameraDeviceRemoved() or not self._device.IsOpen():
            raise SourceLostError("virtual stage: its camera is gone; open it again")

    def close(self) -> None:
        """Nothing to give back: the camera is its source's."""

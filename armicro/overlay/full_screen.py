"""A picture on a whole screen, pixel for pixel: what the camera is to look at."""

import time
from typing import Self

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QImage, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from armicro.errors import CalibrationError
from armicro.field import Pixels
from armicro.overlay.application import application

_PATIENCE_S = 2.0


class FullScreen(QWidget):
    """Fills a screen; ``with`` opens and closes it."""

    def __init__(self, screen: int = 0) -> None:
        """Choose a screen.

        Args:
            screen: its number; 0 is the main one.

        Raises:
            CalibrationError: there is no such screen.
        """
        application()
        screens = QGuiApplication.screens()
        if not 0 <= screen < len(screens):
            raise CalibrationError(
                f"screen {screen}: there are {len(screens)}, counted from 0; connect "
                "the display, or choose another with --screen"
            )
        super().__init__()
        self._chosen = screens[screen]
        self._image = QImage()
        self._painted_ns = 0
        self.setCursor(Qt.CursorShape.BlankCursor)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the screen in its own pixels."""
        size = self._chosen.size() * self._chosen.devicePixelRatio()
        return size.width(), size.height()

    def __enter__(self) -> Self:
        self.setGeometry(self._chosen.geometry())
        self.showFullScreen()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def show_picture(self, picture: Pixels) -> int:
        """Show a picture of the screen's size; return the monotonic ns of its painting.

        Raises:
            CalibrationError: the screen does not paint it.
        """
        height, width = picture.shape[:2]
        image = QImage(
            picture.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888
        )
        # A copy owns its bytes.
        self._image = image.copy()
        self._image.setDevicePixelRatio(self._chosen.devicePixelRatio())
        asked_ns = time.monotonic_ns()
        while self._painted_ns <= asked_ns:
            self.update()
            application().processEvents()
            if time.monotonic_ns() - asked_ns > _PATIENCE_S * 1e9:
                raise CalibrationError(
                    "the screen does not paint; expected one that is on and not locked"
                )
        return self._painted_ns

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """Paint the picture at the screen's corner."""
        del event
        with QPainter(self) as painter:
            painter.fillRect(self.rect(), Qt.GlobalColor.black)
            painter.drawImage(0, 0, self._image)
        self._painted_ns = time.monotonic_ns()

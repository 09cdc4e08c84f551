"""The Qt application, and the window run in it until it is closed."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

import cv2
from PySide6.QtCore import QSize, Qt, QTimer
from PySide6.QtGui import QGuiApplication, QImage, QPainter, QPaintEvent
from PySide6.QtWidgets import QApplication, QWidget

from armicro.errors import CalibrationError
from armicro.field import Pixels
from armicro.overlay import Feed, Notebook
from armicro.overlay.snapshot import DisplayOptics, OverlaySettings
from armicro.overlay.window import Window

_HEADLESS = QSize(1600, 1050)
_LARGEST = QSize(1920, 1200)


def application() -> QApplication:
    """The one Qt application of this process."""
    running = QApplication.instance()
    return running if isinstance(running, QApplication) else QApplication(["armicro"])


def _fill_display(window: Window, optics: DisplayOptics | None) -> None:
    """Fill the screen that has the optical display's size, or the first."""
    screens = QApplication.screens()
    size = QSize(*optics.size_px) if optics else QSize()
    fitting = [s for s in screens if s.size() * s.devicePixelRatio() == size]
    window.setGeometry((fitting or screens)[0].geometry())
    window.showFullScreen()


def run_window(  # noqa: PLR0913 (all by keyword, all with a default)
    feed: Feed,
    *,
    title: str = "armicro",
    setting: OverlaySettings | None = None,
    folder: Path | None = None,
    notebook: Notebook | None = None,
    on_close: Callable[[], None] | None = None,
    on_tick: Callable[[], bool] | None = None,
    picture: Path | None = None,
) -> None:
    """Show the window until it is closed.

    Headless (``QT_QPA_PLATFORM=offscreen`` in the environment) the same window is laid
    out, ticks and paints; only no screen shows it.

    Args:
        feed: brings the snapshots.
        title: first word of the heading.
        setting: limits.
        folder: where S saves pictures.
        notebook: keeps decisions; None: none are taken.
        on_close: called once, when the window closes.
        on_tick: called ten times a second (heartbeat, signals); False closes.
        picture: a screenshot is saved here before the window closes that way.
    """
    # A resize that gives half of its work away waits for a core that inference keeps.
    cv2.setNumThreads(1)
    app = application()
    window = Window(
        feed,
        title=title,
        setting=setting,
        folder=folder,
        notebook=notebook,
        on_close=on_close,
    )
    if setting is not None and setting.optical:
        _fill_display(window, setting.optics)
    else:
        room = _HEADLESS
        if app.platformName() != "offscreen":
            room = app.primaryScreen().availableSize()
        window.resize(room.boundedTo(_LARGEST))
        window.show()
    window.start()
    beat = QTimer()

    def look() -> None:
        if on_tick is None or on_tick():
            return
        try:
            if picture is not None:
                window.tick()
                window.screenshot(picture)
        finally:
            window.close()

    if on_tick is not None:
        beat.timeout.connect(look)
        beat.start(100)
    app.exec()
    beat.stop()


# ---------------------------------------------------------------------------
# A picture on a whole screen, pixel for pixel: what the camera is to look at.


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

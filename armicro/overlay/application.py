"""The Qt application, and the window run in it until it is closed."""

from collections.abc import Callable
from pathlib import Path

import cv2
from PySide6.QtCore import QSize, QTimer
from PySide6.QtWidgets import QApplication

from armicro.overlay import Feed
from armicro.overlay.setting import Optics, Setting
from armicro.overlay.window import Window

_HEADLESS = QSize(1600, 1050)
_LARGEST = QSize(1920, 1200)


def application() -> QApplication:
    """The one Qt application of this process."""
    running = QApplication.instance()
    return running if isinstance(running, QApplication) else QApplication(["armicro"])


def _fill_display(window: Window, optics: Optics | None) -> None:
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
    setting: Setting | None = None,
    folder: Path | None = None,
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

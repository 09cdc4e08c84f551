"""What the operator sees: the live field, boxes locked to cells, the running score.

``snapshot`` holds what comes in and ``Feed`` (below) brings it. Everything that decides
is free of Qt: ``words`` (may boxes be drawn, and every word and number), ``layout``
(which boxes, where, also in an eyepiece), ``view`` (which pixels, how large),
``guide`` (the way to what should be seen), ``known`` (what adds up over messages).
What paints is Qt: ``paint`` (colours, style sheet, what lies over the field),
``canvas``, ``minimap``, ``panel``, ``window``, ``procedure``, ``application``.
Nothing here waits: a tick takes the newest snapshot, draws it and returns.
"""

import ctypes
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from armicro.field import Pixels
from armicro.overlay.snapshot import Snapshot
from armicro.report import Finding
from armicro.slide.decision import Decision


class Feed(Protocol):
    """Brings the window what there is to show."""

    def poll(self) -> Snapshot:
        """The newest known state, at once; called about sixty times a second.

        An unchanged part is the same object as before: that is how the window knows
        that there is nothing to redraw.
        """

    def painted(self, seq: int, painted_ns: int) -> None:
        """The field ``seq`` stands in the window since ``painted_ns``."""


class Notebook(Protocol):
    """Keeps what a reader says of cells, at once."""

    reader: str

    def said(self) -> tuple[Decision, ...]:
        """All that was said of this slide, by any reader."""

    def crop(self, finding: Finding) -> Pixels | None:
        """The best view of a finding's cell; None where none is kept."""

    def keep(self, decision: Decision) -> None:
        """Keep one more; time and number are the notebook's.

        Raises:
            ArmicroError: it is not kept.
        """


# ---------------------------------------------------------------------------
# Is there a screen that a window can open on: asked before Qt, which would abort.
#
# Qt ends the whole process when a library of its X11 plugin is missing or the X server
# does not answer; a command would rather say so, or paint without a screen.


_PACKAGES = (
    "libxcb-cursor0 libxcb-icccm4 libxcb-image0 libxcb-keysyms1 libxcb-render-util0 "
    "libxcb-xinerama0 libxkbcommon-x11-0"
)


def why_no_screen(environment: Mapping[str, str]) -> str:
    """Why no window can open here, and what to do; empty when one can.

    Args:
        environment: the process's variables (``os.environ``).
    """
    if sys.platform != "linux" or environment.get("QT_QPA_PLATFORM"):
        # Named platforms are the caller's business; elsewhere Qt brings its own.
        return ""
    if environment.get("WAYLAND_DISPLAY"):
        return ""
    display = environment.get("DISPLAY", "")
    if not display:
        return "no screen: DISPLAY is not set; log in to a desktop, or use --headless"
    return _why_not_loaded() or _why_no_answer(display)


def _why_not_loaded() -> str:
    spec = importlib.util.find_spec("PySide6")
    if spec is None or spec.origin is None:
        return "PySide6 is not installed; install armicro again"
    plugin = Path(spec.origin).parent / "Qt" / "plugins" / "platforms" / "libqxcb.so"
    try:
        ctypes.CDLL(str(plugin))
    except OSError as error:
        missing = str(error).split(":", maxsplit=1)[0]
        return f"the window needs {missing}: apt-get install {_PACKAGES}"
    return ""


def _why_no_answer(display: str) -> str:
    xcb = ctypes.CDLL("libxcb.so.1")
    xcb.xcb_connect.restype = ctypes.c_void_p
    link = ctypes.c_void_p(xcb.xcb_connect(display.encode(), None))
    refused = xcb.xcb_connection_has_error(link)
    xcb.xcb_disconnect(link)
    if refused:
        return f"the X server of DISPLAY={display} does not answer; is it running?"
    return ""

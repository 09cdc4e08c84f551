"""Colours and letters of the window: dark, calm, the field the brightest thing.

No green: nothing here may say "all clear". The letters come with the package (Roboto,
Apache-2.0, cut down to Latin), so that text reads and measures alike on every machine,
also where Qt finds no fonts at all; letters that it lacks come from the system's.
"""

from functools import cache
from importlib import resources

from PySide6.QtGui import QColor, QFont, QFontDatabase

from armicro.overlay.colour import Rgb
from armicro.overlay.status import Tone

SURROUND = QColor(11, 14, 17)
"""Around the field."""
PANEL = QColor(20, 24, 29)
CARD = QColor(28, 33, 39)
LINE = QColor(48, 56, 65)
TEXT = QColor(232, 236, 240)
MUTED = QColor(142, 153, 165)
FAINT = QColor(92, 103, 115)
ACCENT = QColor(106, 178, 226)
WARN = QColor(242, 181, 68)
ALARM = QColor(255, 107, 74)
TONES: dict[Tone, QColor] = {
    "plain": TEXT,
    "muted": MUTED,
    "warn": WARN,
    "alarm": ALARM,
}


def colour(rgb: Rgb, opacity: float = 1.0) -> QColor:
    """A colour with an opacity of 0-1."""
    return QColor(*rgb, round(255 * opacity))


@cache
def _family() -> str:
    family = ""
    folder = resources.files("armicro.overlay") / "fonts"
    for name in ("Roboto-Bold.ttf", "Roboto-Regular.ttf"):
        data = (folder / name).read_bytes()
        number = QFontDatabase.addApplicationFontFromData(data)
        family = next(iter(QFontDatabase.applicationFontFamilies(number)), family)
    return family


@cache
def font(size_px: int, *, bold: bool = False) -> QFont:
    """A font by its height in logical pixels."""
    letters = QFont(_family())
    letters.setPixelSize(size_px)
    letters.setBold(bold)
    letters.setHintingPreference(QFont.HintingPreference.PreferNoHinting)
    return letters

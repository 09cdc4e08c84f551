"""A picture on a whole screen."""

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from armicro.errors import CalibrationError
from armicro.overlay.application import FullScreen


def test_picture_fills_the_screen_pixel_for_pixel(qtbot: QtBot) -> None:
    with FullScreen() as screen:
        qtbot.addWidget(screen)
        width, height = screen.size_px
        picture = np.random.default_rng(0).integers(
            0, 256, (height, width, 3), np.uint8
        )
        first_ns = screen.show_picture(picture)
        image = screen.grab().toImage()
        for x, y in ((0, 0), (width - 1, height - 1), (17, 5)):
            colour = image.pixelColor(x, y)
            assert [colour.red(), colour.green(), colour.blue()] == list(picture[y, x])
        assert screen.show_picture(picture) > first_ns


def test_screen_that_is_not_there_is_said(qtbot: QtBot) -> None:
    del qtbot
    with pytest.raises(CalibrationError, match="screen 7"):
        FullScreen(7)

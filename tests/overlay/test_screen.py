import sys

import pytest

from armicro.overlay import why_no_screen

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks X11 and Wayland")


def test_no_display_is_no_screen_and_says_what_to_do() -> None:
    assert "--headless" in why_no_screen({})


def test_a_display_without_a_server_is_no_screen() -> None:
    reason = why_no_screen({"DISPLAY": ":9753"})
    assert "does not answer" in reason or "apt-get install" in reason


@pytest.mark.parametrize(
    "environment",
    [{"QT_QPA_PLATFORM": "offscreen"}, {"WAYLAND_DISPLAY": "wayland-0"}],
)
def test_other_platforms_are_left_to_qt(environment: dict[str, str]) -> None:
    assert why_no_screen(environment) == ""

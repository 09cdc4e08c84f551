"""The display process without its wire: what it does about Qt and its settings."""

from typing import cast

import pytest
from PySide6.QtCore import QTimer
from pytestqt.qtbot import QtBot

from armicro import rig
from armicro.calibrate.certificate import Certificate, Display, Instrument, Latency
from armicro.cascade.screen import Choice
from armicro.field import FieldHead
from armicro.overlay.application import application
from armicro.overlay.snapshot import DisplayOptics
from armicro.processes.display import WireFeed, setting_of, slot_errors
from armicro.rig import Rig
from armicro.verdict import AnalysisState
from armicro.wire.link import Subscriber
from armicro.wire.ring import Ring
from armicro.wire.topic import Message, Shot, View


class FakeSubscriber:
    """Gives each message once, the oldest first."""

    def __init__(self, *messages: Message) -> None:
        self._messages = list(messages)

    def newest(self) -> Message | None:
        return self._messages.pop(0) if self._messages else None


def test_error_in_a_slot_ends_the_process_and_is_not_lost(qtbot: QtBot) -> None:
    def fail() -> None:
        raise ZeroDivisionError("in a tick")

    QTimer.singleShot(0, fail)
    QTimer.singleShot(5_000, application().quit)
    with pytest.raises(ZeroDivisionError, match="in a tick"), slot_errors():
        application().exec()


@pytest.mark.parametrize("limit_um", [0.5, 3.0, 10.0, 40.0])
def test_boxes_vanish_where_the_rig_says_the_place_is_too_unsure(
    limit_um: float,
) -> None:
    setting = setting_of(Rig(cascade=Choice(place_error_um=limit_um)))
    assert setting.largest_place_error_um == limit_um
    assert setting.fade_from_um < limit_um


def test_an_optical_display_is_as_its_certificate_says() -> None:
    mirrored = ((-1.0, 0.0, 99.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    certificate = Certificate(
        instrument=Instrument(width_px=100, height_px=80),
        made_at="",
        expires_at="",
        display=Display(
            measured_at="",
            homography=mirrored,
            distortion=(0.02,),
            width_px=1280,
            height_px=1024,
            residual_um=0.5,
        ),
        latency=Latency(measured_at="", median_ms=61.0, p95_ms=70, glass_to_glass=True),
    )
    shown = rig.DisplaySettings(mode="optical", latency_ms=12.0, least_coverage=0.6)
    setting = setting_of(Rig(display=shown, calibration=certificate))
    assert setting.optics == DisplayOptics(mirrored, (0.02,), (1280, 1024))
    assert (setting.latency_ms, setting.glass_to_glass_ms) == (12.0, 61.0)
    assert (setting.optical, setting.least_coverage) == (True, 0.6)
    void = Rig(display=shown, calibration=certificate, calibration_fault="expired")
    assert setting_of(void).optics is None


def test_field_of_a_capture_that_counts_anew_is_shown() -> None:
    def view(taken_ns: int) -> View:
        head = FieldHead(0.25, 3, taken_ns, width_px=16, height_px=8)
        return View(Shot(head, taken_ns, slot=0, stamp=2))

    feed = WireFeed(
        cast(Ring, None),
        cast(Subscriber, FakeSubscriber(view(1), view(1), view(2))),
        cast(Subscriber, FakeSubscriber()),
        overview=None,
    )
    first, again, anew = (feed.poll().field for _ in range(3))
    assert first is again
    assert anew is not None
    assert anew.taken_ns == 2


def test_the_snapshot_says_what_the_supervisor_knows_of_the_analysis() -> None:
    known: list[AnalysisState] = ["loading", "", "restarting"]
    feed = WireFeed(
        cast(Ring, None),
        cast(Subscriber, FakeSubscriber()),
        cast(Subscriber, FakeSubscriber()),
        overview=None,
        analysis=iter(known).__next__,
    )
    assert [feed.poll().analysis for _ in known] == known

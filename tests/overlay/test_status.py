from dataclasses import replace
from typing import get_args

import pytest
from msgspec import structs

from armicro.errors import RigError
from armicro.overlay.snapshot import OverlaySettings, Snapshot
from armicro.overlay.words import (
    RESEARCH_ONLY,
    Banner,
    Item,
    Pace,
    PaceReading,
    ScoreWords,
    banner,
    coverage_words,
    is_silent,
    is_stale,
    score_words,
    status_line,
)
from armicro.report import SlideScore
from armicro.verdict import STATES, AnalysisState, StateName, boxes_off_text, state_text
from tests.overlay.scene import SECOND_NS, field_at, overview, place_at, slide_with

SETTING = OverlaySettings()
READING = PaceReading(29.4, 21.0, 34.0)
FIELD = field_at(place_at(0, 0))


AT_FIRST = structs.replace(slide_with(), score=SlideScore(None, {}, 0.0, 0, 0, 0, 0.0))


NUMBERS = (
    "um_per_px low high error_um limit_um smear_um focus least seconds turn_deg "
    "limit_deg"
)
FACTS: dict[str, float | str] = dict.fromkeys(NUMBERS.split(" "), 0.3) | {
    "name": "camera acA2440-75uc 40012345",
    "what": "no frame for 0.8 s",
    "made_for": "2448x2048",
    "seen": "1224x1024",
    "expected": "2448x2048",
    "date": "2026-11-30",
    "share": "3.1 %",
    "limit": "2 %",
    "way": "further",
    "colour": "green",
}
"""Of the length that they have."""


def words_for(
    score: float | None, coverage: float, *, extent_known: bool = True
) -> ScoreWords:
    snapshot = Snapshot(
        FIELD,
        slide_with(score=score, coverage=coverage),
        overview=overview() if extent_known else None,
    )
    return score_words(snapshot, stale=False, setting=SETTING)


def test_a_low_score_at_low_coverage_is_only_so_far_and_grey() -> None:
    words = words_for(0.12, 0.94)
    assert (words.title, words.tone) == ("Score so far", "muted")
    assert "not a result" in words.note


def test_a_low_score_at_full_coverage_is_plain_and_never_coloured_as_all_clear() -> (
    None
):
    words = words_for(0.12, 0.95)
    assert (words.title, words.number, words.tone) == ("Slide score", "0.120", "plain")


def test_a_low_score_on_a_slide_of_unknown_extent_is_only_so_far() -> None:
    words = words_for(0.12, 1.0, extent_known=False)
    assert (words.title, words.tone) == ("Score so far", "muted")
    assert "unknown" in words.note


@pytest.mark.parametrize("coverage", [0.01, 0.99])
def test_a_high_score_is_shown_as_such_at_any_coverage(coverage: float) -> None:
    assert words_for(0.5, coverage).tone == "alarm"


def test_a_score_of_a_silent_analysis_is_grey() -> None:
    snapshot = Snapshot(FIELD, slide_with(score=0.9), overview=overview())
    assert score_words(snapshot, stale=True, setting=SETTING).tone == "muted"


def test_before_the_first_field_there_is_no_number() -> None:
    for snapshot in (Snapshot(), Snapshot(slide=slide_with(score=None))):
        words = score_words(snapshot, stale=False, setting=SETTING)
        assert words.number == "–"
        assert words.share is None


def test_the_six_scores_are_named() -> None:
    words = words_for(0.12, 0.9)
    assert words.rows[0] == ("top 10", "0.110", "0.130")
    assert [name for name, _, _ in words.rows] == ["top 10", "top 20", "top 30"]
    assert len(words.marks) == 6


def test_coverage_is_never_rounded_up_to_all() -> None:
    snapshot = Snapshot(FIELD, slide_with(coverage=0.9999), overview=overview())
    words = coverage_words(snapshot, SETTING)
    assert words.text == "99 % of the cell area analysed"
    assert words.enough


def test_coverage_of_a_silent_analysis_is_an_upper_bound() -> None:
    snapshot = Snapshot(FIELD, slide_with(coverage=0.96), overview=overview())
    words = coverage_words(snapshot, SETTING, stale=True)
    assert words.text == "at most 96 % of the cell area analysed"
    assert not words.enough


def test_coverage_of_an_unknown_extent_says_so() -> None:
    words = coverage_words(Snapshot(FIELD, slide_with(coverage=1.0)), SETTING)
    assert "visited" in words.text
    assert not words.enough


def test_the_status_line_holds_what_an_honest_instrument_says() -> None:
    snapshot = Snapshot(FIELD, slide_with(), heard_ns=SECOND_NS)
    line = status_line(snapshot, FIELD, READING, SECOND_NS, SETTING)
    assert {item.name: item.value for item in line} == {
        "place": "slide file",
        "expected error": "±0.3 µm",
        "fps": "29",
        "age": "21 ms, p95 34",
        "analysis": "61 ms",
        "findings": "0",
        "fields": "40",
        "area": "250 Mpx",
        "dropped": "3",
    }


def test_unreadable_fields_are_counted_in_the_status_line() -> None:
    slide = slide_with()
    score = type(slide.score)(0.1, {}, 0.5, 40, 2, 0, 1.0)
    snapshot = Snapshot(FIELD, structs.replace(slide, score=score))
    line = status_line(snapshot, FIELD, READING, SECOND_NS, SETTING)
    assert [item.value for item in line if item.name == "unreadable"] == ["2"]


@pytest.mark.parametrize(
    ("snapshot", "after_ms", "text"),
    [
        (Snapshot(FIELD, problem="camera unplugged"), 0, "camera unplugged"),
        (Snapshot(FIELD, slide_with(), heard_ns=SECOND_NS), 1500, "no picture for 2 s"),
        (Snapshot(FIELD, slide_with(problem="old certificate")), 0, "old certificate"),
        (Snapshot(FIELD, slide_with()), 2500, "no word of the analysis for 2 s"),
        (Snapshot(FIELD, slide_with(), analysis="restarting"), 0, "is started again"),
        (Snapshot(FIELD, analysis="restarting"), 0, "is started again"),
        (Snapshot(FIELD, slide_with(), analysis="slow"), 0, "the analysis is slow"),
        (Snapshot(FIELD, analysis="loading"), 0, "the networks are loading"),
        (Snapshot(FIELD), 0, "no word of the analysis yet"),
        (Snapshot(FIELD, AT_FIRST), 0, "the first field is being analysed"),
    ],
)
def test_trouble_is_said_over_the_picture(
    snapshot: Snapshot, after_ms: int, text: str
) -> None:
    said = banner(snapshot, FIELD, SECOND_NS + after_ms * 1_000_000, SETTING)
    assert said is not None
    assert text in said.text


@pytest.mark.parametrize("after_ms", [0, 100_000])
@pytest.mark.parametrize("analysis", get_args(AnalysisState))
def test_the_end_is_no_trouble_of_the_analysis(
    after_ms: int, analysis: AnalysisState
) -> None:
    ended = Snapshot(FIELD, slide_with(), finished=True, analysis=analysis)
    assert banner(ended, FIELD, SECOND_NS + after_ms * 1_000_000, SETTING) is None


def test_boxes_are_old_as_soon_as_the_analysis_is_known_to_have_ended() -> None:
    known = Snapshot(FIELD, slide_with(), analysis="restarting")
    assert is_stale(known, SECOND_NS, SETTING)
    assert not is_stale(replace(known, analysis=""), SECOND_NS, SETTING)


def test_only_an_analysis_that_ended_is_called_started_again() -> None:
    for snapshot in (
        Snapshot(FIELD),
        Snapshot(FIELD, slide_with()),
        Snapshot(FIELD, analysis="loading"),
    ):
        said = banner(snapshot, FIELD, 60 * SECOND_NS, SETTING)
        assert said is not None
        assert "again" not in said.text


def test_every_state_is_said_with_its_remedy_in_one_line() -> None:
    assert set(STATES) == set(get_args(StateName))
    for name, state in STATES.items():
        said = state_text(name, **FACTS)
        assert state.todo
        # So much the window shows over the picture; the rest is cut off.
        assert len(boxes_off_text(name, **FACTS)) <= 96
        assert said.endswith(state.todo)
        assert "{" not in said
        assert "\n" not in said


def test_fields_that_were_dropped_are_no_alarm() -> None:
    slide = structs.replace(slide_with(), fields_dropped=3_861)
    line = status_line(Snapshot(FIELD, slide), FIELD, READING, SECOND_NS, SETTING)
    (dropped,) = [item for item in line if item.name == "dropped"]
    assert dropped == Item("dropped", "3,861", "muted")


def test_all_well_says_nothing() -> None:
    snapshot = Snapshot(FIELD, slide_with(), heard_ns=SECOND_NS)
    assert banner(snapshot, FIELD, SECOND_NS + 10, SETTING) is None


def test_a_warning_is_shown_where_nothing_is_worse() -> None:
    snapshot = Snapshot(FIELD, slide_with(), warning="lamp is dim")
    assert banner(snapshot, FIELD, SECOND_NS, SETTING) == Banner("lamp is dim")
    worse = structs.replace(FIELD, voided="expired")
    said = banner(snapshot, worse, SECOND_NS, SETTING)
    assert said == Banner("expired; boxes off")


def test_a_scale_that_nobody_measured_is_said_all_the_time() -> None:
    setting = OverlaySettings(uncalibrated=True)
    for shown in (FIELD, None):
        line = status_line(Snapshot(shown), shown, READING, SECOND_NS, setting)
        assert line[0] == Item("scale", "not measured", "warn")


def test_silence_after_the_end_is_no_fault() -> None:
    ended = Snapshot(FIELD, slide_with(), heard_ns=SECOND_NS, finished=True)
    late_ns = 100 * SECOND_NS
    assert not is_stale(ended, late_ns, SETTING)
    assert not is_silent(ended, late_ns, SETTING)
    going_on = replace(ended, finished=False)
    assert is_stale(going_on, late_ns, SETTING)
    assert is_silent(going_on, late_ns, SETTING)


def test_pace_counts_frames_and_ages() -> None:
    pace = Pace()
    for frame in range(61):
        painted_ns = frame * SECOND_NS // 30
        pace.update(painted_ns, painted_ns - 20_000_000)
    reading = pace.read(2 * SECOND_NS)
    assert reading.frames_per_second == pytest.approx(30, abs=0.5)
    assert reading.age_median_ms == pytest.approx(20)
    assert reading.age_p95_ms == pytest.approx(20)


def test_pace_falls_to_nothing_when_the_camera_stops() -> None:
    pace = Pace()
    for frame in range(30):
        pace.update(frame * SECOND_NS // 30, 0)
    assert pace.read(10 * SECOND_NS) == PaceReading()


def test_limits_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(RigError, match="low < high"):
        OverlaySettings(scale_limits_um_per_px=(0.6, 0.1))
    with pytest.raises(RigError, match="vanish"):
        OverlaySettings(fade_from_um=12.0)


def test_the_constant_warning_says_what_it_must() -> None:
    assert RESEARCH_ONLY == "Research use only - not a diagnostic device"


def test_what_keeps_a_camera_waiting_is_nothing_once_the_slide_is_read() -> None:
    opening = Snapshot(problem="the source is being opened: wait")
    assert banner(opening, None, SECOND_NS, SETTING) is not None
    assert banner(replace(opening, finished=True), None, SECOND_NS, SETTING) is None

"""Every word and number that the window says beside the picture.

Rules: a score never stands without its coverage; a score at low coverage, or on a
slide whose extent nobody knows, is only "so far" and, where it is low, grey; a high one
is shown at any coverage; no colour in the window means "all clear".
"""

import math
from dataclasses import dataclass
from typing import Literal

from armicro.overlay.pace import Reading
from armicro.overlay.setting import Setting
from armicro.overlay.snapshot import LiveField, SlideState, Snapshot
from armicro.overlay.trust import (
    aim_of,
    analysis_state,
    is_silent,
    is_stale,
    why_no_boxes,
)
from armicro.verdict import coverage_text, probability_text, state_text, why_so_far

RESEARCH_ONLY = "Research use only - not a diagnostic device"
ORIGINS = {
    "slide_file": "slide file",
    "stage_encoder": "stage encoder",
    "image_registration": "image registration",
    "own_ground": "this picture alone",
}

Tone = Literal["plain", "muted", "warn", "alarm"]


@dataclass(frozen=True, slots=True)
class Item:
    """One figure of the status line."""

    name: str
    value: str
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True)
class Banner:
    """What the operator must know now."""

    text: str
    tone: Tone = "warn"


@dataclass(frozen=True, slots=True)
class ScoreWords:
    """The slide score as it may be shown."""

    title: str
    number: str
    share: float | None
    """0-1 for the bar; None without a score."""
    tone: Tone
    note: str
    rows: tuple[tuple[str, str, str], ...]
    """("top 10", "0.91", "0.88"), ... : the six scores."""
    marks: tuple[float, ...]
    """The six scores for the bar."""


@dataclass(frozen=True, slots=True)
class CoverageWords:
    """How much was analysed."""

    share: float
    text: str
    enough: bool


def banner(
    snapshot: Snapshot,
    shown: LiveField | None,
    now_ns: int,
    setting: Setting,
    *,
    was_placed: bool = False,
) -> Banner | None:
    """The most pressing thing to say over the picture; None when all is well.

    Args:
        snapshot: what is known.
        shown: the field whose picture stands there.
        now_ns: on the clock of ``taken_ns``.
        setting: limits.
        was_placed: an earlier field of this slide had a place.
    """
    if snapshot.problem:
        return Banner(snapshot.problem, "alarm")
    if is_silent(snapshot, now_ns, setting):
        seconds = (now_ns - snapshot.heard_ns) / 1e9
        return Banner(state_text("no_picture", seconds=seconds), "alarm")
    if shown is None:
        return None
    reason = why_no_boxes(
        shown, snapshot.slide, now_ns, setting, was_placed=was_placed
    ) or analysis_state(snapshot, now_ns, setting)
    if reason:
        return Banner(reason)
    return Banner(snapshot.warning) if snapshot.warning else None


def score_words(snapshot: Snapshot, *, stale: bool, setting: Setting) -> ScoreWords:
    """The slide score with what limits it."""
    slide = snapshot.slide
    score = slide.score if slide else None
    if slide is None or score is None or score.score is None:
        why = (score and score.withheld) or "no field analysed"
        return ScoreWords("Slide score", "–", None, "muted", why, (), ())
    high = score.score >= setting.suspicious_score
    partial = why_so_far(
        score.coverage,
        extent_known=snapshot.overview is not None,
        enough=setting.least_coverage,
    )
    rows = tuple(
        (f"top {k}", probability_text(first), probability_text(second))
        for k, (first, second) in sorted(
            score.scores.items(), key=lambda it: int(it[0])
        )
    )
    return ScoreWords(
        title="Score so far" if partial else "Slide score",
        number=probability_text(score.score),
        share=score.score,
        tone=_score_tone(high=high, partial=bool(partial), stale=stale),
        note=_score_note(high=high, partial=partial, stale=stale),
        rows=rows,
        marks=tuple(one for pair in score.scores.values() for one in pair),
    )


def _score_tone(*, high: bool, partial: bool, stale: bool) -> Tone:
    if stale:
        return "muted"
    if high:
        return "alarm"
    return "muted" if partial else "plain"


def _score_note(*, high: bool, partial: str, stale: bool) -> str:
    if stale:
        return "no word of the analysis: as of the last field"
    if high:
        return "suspicious cells found: see the list"
    return partial or "mean of six scores"


def coverage_words(
    snapshot: Snapshot, setting: Setting, *, stale: bool = False
) -> CoverageWords:
    """How much of the cell area was analysed, never rounded up to all of it.

    While infer is silent fields pass by that it does not know of: it is less by them.
    """
    slide = snapshot.slide
    share = slide.score.coverage if slide else 0.0
    known = snapshot.overview is not None
    return CoverageWords(
        share=share,
        text=(
            f"{'at most ' * stale}{coverage_text(share, extent_known=known)}"
            if slide
            else "nothing analysed yet"
        ),
        enough=not stale
        and not why_so_far(share, extent_known=known, enough=setting.least_coverage),
    )


def status_line(
    snapshot: Snapshot,
    shown: LiveField | None,
    reading: Reading,
    now_ns: int,
    setting: Setting,
) -> tuple[Item, ...]:
    """The figures at the foot of the window, in the order of their weight."""
    unmeasured = (Item("scale", "not measured", "warn"),) * setting.uncalibrated
    if shown is None:
        slide = _slide_items(snapshot.slide, stale=False)
        return (*unmeasured, _place_item(shown), *slide)
    slow = reading.age_p95_ms > setting.silent_after_ms
    stale = is_stale(snapshot, now_ns, setting)
    return (
        *unmeasured,
        _place_item(shown),
        *_error_items(shown, now_ns, setting),
        Item("fps", f"{reading.frames_per_second:.0f}"),
        Item(
            "age",
            f"{reading.age_median_ms:.0f} ms, p95 {reading.age_p95_ms:.0f}",
            "warn" if slow else "plain",
        ),
        *_slide_items(snapshot.slide, stale=stale),
    )


def _place_item(shown: LiveField | None) -> Item:
    if shown is None:
        return Item("place", "–", "muted")
    if shown.place is None:
        return Item("place", "unknown", "warn")
    return Item("place", ORIGINS[shown.place.origin])


def _error_items(shown: LiveField, now_ns: int, setting: Setting) -> tuple[Item, ...]:
    """How far boxes are expected to be off their cells as they are seen."""
    aim = aim_of(shown, now_ns, setting)
    if aim is None:
        return ()
    tone: Tone = "plain" if aim.error_um <= setting.fade_from_um else "warn"
    known = math.isfinite(aim.error_um)
    # Rounded up: no instrument is off by ±0.0.
    text = f"±{math.ceil(10 * aim.error_um - 1e-6) / 10:.1f} µm" if known else "unknown"
    return (Item("expected error", text, tone),)


def _slide_items(slide: SlideState | None, *, stale: bool) -> tuple[Item, ...]:
    if slide is None:
        return (Item("analysis", "starting", "muted"),)
    unreadable = slide.score.fields_unreadable
    unplaced = slide.score.fields_unplaced
    lost: tuple[Item, ...] = ()
    if unreadable:
        lost += (Item("unreadable", f"{unreadable:,}", "warn"),)
    if unplaced:
        lost += (Item("place unknown", f"{unplaced:,}", "warn"),)
    return (
        Item(
            "analysis",
            "no word" if stale else f"{slide.inference_ms:.0f} ms",
            "warn" if stale else "plain",
        ),
        Item("findings", f"{slide.score.findings:,}"),
        Item("fields", f"{slide.score.fields:,}"),
        Item("area", f"{slide.score.megapixels:,.0f} Mpx"),
        Item("dropped", f"{slide.fields_dropped:,}", "muted"),
        *lost,
    )

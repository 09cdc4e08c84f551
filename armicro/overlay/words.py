"""Every word and number that the window says beside the picture.

Rules: a score never stands without its coverage; a score at low coverage, or on a
slide whose extent nobody knows, is only "so far" and, where it is low, grey; a high one
is shown at any coverage; no colour in the window means "all clear".
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from armicro.field import Place
from armicro.overlay.snapshot import LiveField, OverlaySettings, SlideState, Snapshot
from armicro.report import Finding
from armicro.slide.decision import Decided
from armicro.verdict import (
    badge_text,
    boxes_off_text,
    coverage_text,
    new_map_state,
    probability_text,
    state_text,
    why_so_far,
    without_boxes,
)

# ---------------------------------------------------------------------------
# How often the window paints and how old the paint is, over the last seconds.


_SPAN_NS = 3_000_000_000


@dataclass(frozen=True, slots=True)
class PaceReading:
    """Frame rate and age of what is drawn; zeros before the first field."""

    frames_per_second: float = 0.0
    age_median_ms: float = 0.0
    age_p95_ms: float = 0.0


class Pace:
    """A window of three seconds over the painted fields."""

    def __init__(self) -> None:
        self._painted: deque[tuple[int, float]] = deque()

    def update(self, painted_ns: int, taken_ns: int) -> None:
        """A field that was exposed at ``taken_ns`` now stands in the window."""
        self._painted.append((painted_ns, (painted_ns - taken_ns) / 1e6))
        self._forget(painted_ns)

    def read(self, now_ns: int) -> PaceReading:
        """The figures at this moment; they fall to zero when nothing is painted."""
        self._forget(now_ns)
        if not self._painted:
            return PaceReading()
        ages_ms = [age_ms for _, age_ms in self._painted]
        median_ms, p95_ms = np.percentile(ages_ms, (50, 95))
        # From the first frame on to now, so that a stall shows at once.
        span_s = max(now_ns - self._painted[0][0], 1) / 1e9
        frames = len(self._painted) - 1
        return PaceReading(frames / max(span_s, 0.05), float(median_ms), float(p95_ms))

    def _forget(self, now_ns: int) -> None:
        while self._painted and now_ns - self._painted[0][0] > _SPAN_NS:
            self._painted.popleft()


# ---------------------------------------------------------------------------
# May boxes be drawn, and how boldly: the rules that keep the instrument honest.


_NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class Aim:
    """Where a field's boxes are drawn, and how far they are expected to be off."""

    place: Place
    error_um: float


def aim_of(field: LiveField, now_ns: int, setting: OverlaySettings) -> Aim | None:
    """The place by which a field's boxes are drawn; None where nobody knows it.

    On a monitor picture and boxes are of one moment. In the eyepiece the boxes meet the
    cells themselves, which went on since: they are drawn where the cells will be when
    the display lights up, and the whole of that way counts as error, since a hand may
    stop or turn within it.
    """
    place = field.place
    if place is None:
        return None
    if not setting.optical:
        return Aim(place, place.standard_error_um)
    if field.sight is not None and field.sight.velocity_xy_um_per_s is None:
        return Aim(place, math.inf)
    x, y = (field.sight and field.sight.velocity_xy_um_per_s) or (0.0, 0.0)
    age_ms = (now_ns - field.taken_ns) / _NS_PER_MS
    ahead_s = max(age_ms + setting.latency_ms, setting.glass_to_glass_ms) / 1e3
    then = Place(
        place.x_um + x * ahead_s,
        place.y_um + y * ahead_s,
        place.standard_error_um,
        place.origin,
    )
    return Aim(then, math.hypot(place.standard_error_um, math.hypot(x, y) * ahead_s))


def why_no_boxes(
    field: LiveField,
    slide: SlideState | None,
    now_ns: int,
    setting: OverlaySettings,
    *,
    was_placed: bool = False,
) -> str:
    """Why this field gets no box, in words for the operator; empty when it may.

    The order is the order of what the operator can do about it. ``was_placed``: an
    earlier field of this slide had a place.
    """
    low, high = setting.scale_limits_um_per_px
    if not low <= field.um_per_px <= high:
        scale = field.um_per_px
        return boxes_off_text("bad_scale", um_per_px=scale, low=low, high=high)
    if field.voided or field.fault:
        return without_boxes(field.voided or field.fault)
    if slide is not None and slide.problem:
        return without_boxes(slide.problem)
    if field.place is None:
        return boxes_off_text("place_lost" if was_placed else "place_unknown")
    limit_um = setting.largest_place_error_um
    if not field.place.standard_error_um <= limit_um:
        error_um = field.place.standard_error_um
        return boxes_off_text("place_rough", error_um=error_um, limit_um=limit_um)
    return _why_not_in_the_eyepiece(field, now_ns, setting) if setting.optical else ""


_ROUNDED_PX = 2
"""By so much a display's size may differ, where its scaling is no whole number."""


def size_text(wh_px: tuple[int, int]) -> str:
    """Width and height, as displays are named.

    >>> size_text((1920, 1080))
    '1920x1080'
    """
    return f"{wh_px[0]}x{wh_px[1]}"


def _why_not_in_the_eyepiece(
    field: LiveField, now_ns: int, setting: OverlaySettings
) -> str:
    if (now_ns - field.taken_ns) / _NS_PER_MS > setting.blind_after_ms:
        # No old picture stands there: the operator sees the slide itself.
        return boxes_off_text("eyepiece_blind")
    if setting.optics is None:
        return boxes_off_text("display_not_measured")
    if setting.shown_px is not None:
        made_for, seen = setting.optics.size_px, setting.shown_px
        if any(abs(made_for[i] - seen[i]) > _ROUNDED_PX for i in (0, 1)):
            sizes = {"seen": size_text(seen), "made_for": size_text(made_for)}
            return boxes_off_text("other_display", **sizes)
    aim = aim_of(field, now_ns, setting)
    if aim is None or math.isinf(aim.error_um):
        return boxes_off_text("motion_unknown")
    if aim.error_um > setting.largest_place_error_um:
        return boxes_off_text("too_fast", error_um=aim.error_um)
    return ""


def motion_words(field: LiveField, setting: OverlaySettings) -> str:
    """What keeps a field from being analysed, in a few words; empty when nothing."""
    sight = field.sight
    if sight is None:
        return ""
    if sight.smear_um > setting.most_smear_um:
        return badge_text("moving")
    if sight.focus is not None and sight.focus < setting.least_focus:
        return badge_text("out_of_focus")
    return ""


def opacity_of(error_um: float, setting: OverlaySettings) -> float:
    """1 where boxes stand surely on their cells, falling to 0.25 where they vanish.

    >>> [opacity_of(error, OverlaySettings()) for error in (0.5, 2, 6, 10)]
    [1.0, 1.0, 0.625, 0.25]
    """
    span_um = setting.largest_place_error_um - setting.fade_from_um
    beyond = (error_um - setting.fade_from_um) / span_um
    return 1.0 - 0.75 * min(1.0, max(0.0, beyond))


def analysis_state(snapshot: Snapshot, now_ns: int, setting: OverlaySettings) -> str:
    """What keeps new boxes away, in words for the operator; empty when nothing does."""
    if snapshot.finished:
        return ""
    if snapshot.analysis:
        return state_text(snapshot.analysis)
    if snapshot.slide is None:
        return state_text("no_word_yet")
    if is_stale(snapshot, now_ns, setting):
        seconds = (now_ns - snapshot.slide.heard_ns) / 1e9
        return state_text("no_word", seconds=seconds)
    nothing = snapshot.slide.score.fields == 0 and snapshot.slide.last is None
    return state_text("first_field") if nothing else ""


def is_stale(snapshot: Snapshot, now_ns: int, setting: OverlaySettings) -> bool:
    """True when infer is silent, so that what is drawn may be out of date."""
    if snapshot.slide is None or snapshot.finished:
        return False
    if snapshot.analysis in ("restarting", "slow"):
        return True
    silent_ms = (now_ns - snapshot.slide.heard_ns) / _NS_PER_MS
    return silent_ms > setting.stale_after_ms


def is_silent(snapshot: Snapshot, now_ns: int, setting: OverlaySettings) -> bool:
    """True when capture has not been heard of, so that the picture may be old."""
    if not snapshot.heard_ns or snapshot.finished:
        return False
    return (now_ns - snapshot.heard_ns) / _NS_PER_MS > setting.silent_after_ms


# ---------------------------------------------------------------------------
# Every word and number beside the picture.


RESEARCH_ONLY = "Research use only - not a diagnostic device"
ORIGINS = {
    "slide_file": "slide file",
    "stage_encoder": "stage encoder",
    "image_registration": "image registration",
    "own_ground": "this picture alone",
    "turned_camera": "picture, camera turned",
    "map_apart": "picture, on a map apart",
}

Tone = Literal["plain", "muted", "accent", "warn", "alarm"]


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
    setting: OverlaySettings,
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
    if snapshot.problem and not snapshot.finished:
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
    if snapshot.warning:
        return Banner(snapshot.warning)
    begun = new_map_state(shown.place)
    return Banner(state_text(begun)) if begun else None


def score_words(
    snapshot: Snapshot, *, stale: bool, setting: OverlaySettings
) -> ScoreWords:
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
    snapshot: Snapshot, setting: OverlaySettings, *, stale: bool = False
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
    reading: PaceReading,
    now_ns: int,
    setting: OverlaySettings,
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


def decided_item(findings: Sequence[Finding], decided: Decided) -> Item:
    """How many suspicious cells the reader has decided."""
    said = decided.on_suspicious(findings)
    done = len(said) - said.count(None)
    tone: Tone = "plain" if done < len(said) else "accent"
    return Item("decided", f"{done} of {len(said)}", tone)


def _place_item(shown: LiveField | None) -> Item:
    if shown is None:
        return Item("place", "–", "muted")
    if shown.place is None:
        return Item("place", "unknown", "warn")
    return Item("place", ORIGINS[shown.place.origin])


def _error_items(
    shown: LiveField, now_ns: int, setting: OverlaySettings
) -> tuple[Item, ...]:
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

"""May boxes be drawn, and how boldly: the rules that keep the instrument honest."""

import math
from dataclasses import dataclass

from armicro.field import Place
from armicro.overlay.setting import Setting
from armicro.overlay.snapshot import LiveField, SlideState, Snapshot
from armicro.verdict import badge_text, boxes_off_text, state_text, without_boxes

_NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class Aim:
    """Where a field's boxes are drawn, and how far they are expected to be off."""

    place: Place
    error_um: float


def aim_of(field: LiveField, now_ns: int, setting: Setting) -> Aim | None:
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
    setting: Setting,
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


def _why_not_in_the_eyepiece(field: LiveField, now_ns: int, setting: Setting) -> str:
    if (now_ns - field.taken_ns) / _NS_PER_MS > setting.blind_after_ms:
        # No old picture stands there: the operator sees the slide itself.
        return boxes_off_text("eyepiece_blind")
    aim = aim_of(field, now_ns, setting)
    if aim is None or math.isinf(aim.error_um):
        return boxes_off_text("motion_unknown")
    if aim.error_um > setting.largest_place_error_um:
        return boxes_off_text("too_fast", error_um=aim.error_um)
    return ""


def motion_words(field: LiveField, setting: Setting) -> str:
    """What keeps a field from being analysed, in a few words; empty when nothing."""
    sight = field.sight
    if sight is None:
        return ""
    if sight.smear_um > setting.most_smear_um:
        return badge_text("moving")
    if sight.focus is not None and sight.focus < setting.least_focus:
        return badge_text("out_of_focus")
    return ""


def opacity_of(error_um: float, setting: Setting) -> float:
    """1 where boxes stand surely on their cells, falling to 0.25 where they vanish.

    >>> [opacity_of(error, Setting()) for error in (0.5, 2, 6, 10)]
    [1.0, 1.0, 0.625, 0.25]
    """
    span_um = setting.largest_place_error_um - setting.fade_from_um
    beyond = (error_um - setting.fade_from_um) / span_um
    return 1.0 - 0.75 * min(1.0, max(0.0, beyond))


def analysis_state(snapshot: Snapshot, now_ns: int, setting: Setting) -> str:
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


def is_stale(snapshot: Snapshot, now_ns: int, setting: Setting) -> bool:
    """True when infer is silent, so that what is drawn may be out of date."""
    if snapshot.slide is None or snapshot.finished:
        return False
    if snapshot.analysis in ("restarting", "slow"):
        return True
    silent_ms = (now_ns - snapshot.slide.heard_ns) / _NS_PER_MS
    return silent_ms > setting.stale_after_ms


def is_silent(snapshot: Snapshot, now_ns: int, setting: Setting) -> bool:
    """True when capture has not been heard of, so that the picture may be old."""
    if not snapshot.heard_ns or snapshot.finished:
        return False
    return (now_ns - snapshot.heard_ns) / _NS_PER_MS > setting.silent_after_ms

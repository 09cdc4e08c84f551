"""May boxes be drawn, and how boldly: the rules that keep the instrument honest."""

from armicro.overlay.setting import Setting
from armicro.overlay.snapshot import LiveField, SlideState, Snapshot

_NS_PER_MS = 1e6


def why_no_boxes(field: LiveField, slide: SlideState | None, setting: Setting) -> str:
    """Why this field gets no box, in words for the operator; empty when it may.

    The order is the order of what the operator can do about it.
    """
    low, high = setting.scale_limits_um_per_px
    if not low <= field.um_per_px <= high:
        return f"scale {field.um_per_px:.2f} µm/px outside {low:g}–{high:g}: boxes off"
    if field.voided or field.fault:
        return f"{field.voided or field.fault}: boxes off"
    if slide is not None and slide.problem:
        return f"{slide.problem}: boxes off"
    if field.place is None:
        return "place unknown: boxes off"
    if not field.place.standard_error_um <= setting.largest_place_error_um:
        return (
            f"place known only to ±{field.place.standard_error_um:.0f} µm "
            f"(limit {setting.largest_place_error_um:g}): boxes off"
        )
    return ""


def opacity_of(standard_error_um: float, setting: Setting) -> float:
    """1 where the place is sure, falling to 0.25 where boxes vanish.

    >>> [opacity_of(error, Setting()) for error in (0.5, 2, 6, 10)]
    [1.0, 1.0, 0.625, 0.25]
    """
    span_um = setting.largest_place_error_um - setting.fade_from_um
    beyond = (standard_error_um - setting.fade_from_um) / span_um
    return 1.0 - 0.75 * min(1.0, max(0.0, beyond))


def is_stale(snapshot: Snapshot, now_ns: int, setting: Setting) -> bool:
    """True when infer is silent, so that what is drawn may be out of date."""
    if snapshot.slide is None or snapshot.finished:
        return False
    silent_ms = (now_ns - snapshot.slide.heard_ns) / _NS_PER_MS
    return silent_ms > setting.stale_after_ms


def is_silent(snapshot: Snapshot, now_ns: int, setting: Setting) -> bool:
    """True when capture has not been heard of, so that the picture may be old."""
    if not snapshot.heard_ns or snapshot.finished:
        return False
    return (now_ns - snapshot.heard_ns) / _NS_PER_MS > setting.silent_after_ms

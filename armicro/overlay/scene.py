"""What is painted over a field, besides its pixels."""

from dataclasses import dataclass

from armicro.overlay.guide import Goal
from armicro.overlay.layout import Shelf
from armicro.overlay.snapshot import SlideState
from armicro.overlay.status import Banner


@dataclass(frozen=True, slots=True)
class Scene:
    """All of it; equal scenes are not painted twice."""

    shelf: Shelf
    slide: SlideState | None = None
    stale: bool = False
    goal: Goal | None = None
    """What the operator picked."""
    back_xy: tuple[float, float] | None = None
    """The way back where the place is lost; None where it is not, or nobody knows."""
    badge: str = ""
    """What keeps the field from being analysed."""
    now_ns: int = 0
    """The moment of painting, where boxes depend on it (eyepiece); else 0."""
    banner: Banner | None = None
    waiting: str = ""
    """What to say before the first field."""
    boxes_on: bool = True
    help_on: bool = False

"""How the window looks at the field: zoom and centre, pure.

The field always keeps its aspect and never leaves the window: along an axis where it is
smaller than the window it stands in the middle, along one where it is larger no border
shows.
"""

from dataclasses import dataclass, replace

from armicro.overlay.picture import XyXy

Point = tuple[float, float]
Size = tuple[float, float]

_LARGEST_SCALE = 6.0
"""Screen pixels per pixel of the field; more shows nothing new."""


@dataclass(frozen=True, slots=True)
class Viewport:
    """A field in a window; screen coordinates are Qt's logical pixels."""

    field_px: Size
    screen_px: Size
    zoom: float = 1.0
    """1: the whole field fits."""
    centre_px: Point = (0.0, 0.0)
    """Where the window looks, as an offset from the field's middle, in its pixels."""

    @property
    def scale(self) -> float:
        """Screen pixels per pixel of the field."""
        return self.zoom * min(
            self.screen_px[0] / self.field_px[0], self.screen_px[1] / self.field_px[1]
        )

    @property
    def origin_px(self) -> Point:
        """The field's pixel in the window's top left corner; may lie outside."""
        x, y = (
            self.field_px[axis] / 2
            + self.centre_px[axis]
            - self.screen_px[axis] / self.scale / 2
            for axis in (0, 1)
        )
        return x, y

    @property
    def visible_xyxy_px(self) -> XyXy:
        """The part of the field that is in sight, within its edges."""
        x0, y0 = self.origin_px
        x1, y1 = (
            x0 + self.screen_px[0] / self.scale,
            y0 + self.screen_px[1] / self.scale,
        )
        return (
            max(0.0, x0),
            max(0.0, y0),
            min(self.field_px[0], x1),
            min(self.field_px[1], y1),
        )

    def to_screen(self, x_px: float, y_px: float) -> Point:
        """A point of the field in the window."""
        x0, y0 = self.origin_px
        return (x_px - x0) * self.scale, (y_px - y0) * self.scale

    def to_field(self, x: float, y: float) -> Point:
        """A point of the window on the field."""
        x0, y0 = self.origin_px
        return x0 + x / self.scale, y0 + y / self.scale


def zoomed(view: Viewport, factor: float, at: Point | None = None) -> Viewport:
    """Zoom so that the point of the field under ``at`` (default: middle) stays there.

    >>> zoomed(Viewport((200, 100), (100, 100)), 2.0).scale
    1.0
    """
    spot = at or (view.screen_px[0] / 2, view.screen_px[1] / 2)
    held = view.to_field(*spot)
    largest = max(1.0, _LARGEST_SCALE * view.zoom / view.scale)
    near = replace(view, zoom=min(largest, max(1.0, view.zoom * factor)))
    now = near.to_field(*spot)
    return panned_px(near, (held[0] - now[0], held[1] - now[1]))


def panned_px(view: Viewport, by_px: Point) -> Viewport:
    """Look elsewhere by so many pixels of the field, as far as it reaches."""
    centre = []
    for axis in (0, 1):
        slack = max(0.0, view.field_px[axis] - view.screen_px[axis] / view.scale) / 2
        centre.append(min(slack, max(-slack, view.centre_px[axis] + by_px[axis])))
    return replace(view, centre_px=(centre[0], centre[1]))


def refitted(view: Viewport, field_px: Size, screen_px: Size) -> Viewport:
    """The same look at another field or in another window size."""
    return panned_px(replace(view, field_px=field_px, screen_px=screen_px), (0.0, 0.0))

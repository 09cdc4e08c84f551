"""What the window knows of a slide between two messages: findings, map, trend, way."""

from armicro.field import Place
from armicro.overlay.guide import extent_um, pressing, top
from armicro.overlay.layout import Shelf
from armicro.overlay.seen import ANALYSED, UNREADABLE, VIEWED, Seen
from armicro.overlay.snapshot import LiveField, SlideState
from armicro.overlay.trail import Trail
from armicro.overlay.trend import Trend
from armicro.report import Finding, Revisit


class Known:
    """One slide, as told so far."""

    def __init__(self) -> None:
        self.shelf, self.seen, self.trend = Shelf(), Seen(), Trend()
        self.trail = Trail()
        self.top: tuple[Finding, ...] = ()
        self.revisits: tuple[Revisit, ...] = ()
        self.map_changed, self.trend_changed = True, False
        self._slide: SlideState | None = None

    def update(self, slide: SlideState) -> bool:
        """Take a newer state; True when it is of another slide than before."""
        old, self._slide = self._slide, slide
        another = old is not None and slide.name != old.name
        if another:
            self.seen, self.trend, self.map_changed = Seen(), Trend(), True
            self.trail = Trail()
        self.trend_changed = self.trend.update(slide.score) or self.trend_changed
        if old is None or slide.findings != old.findings:
            self.shelf, self.top = Shelf(slide.findings), top(slide.findings)
        self.revisits = pressing(slide.revisits)
        known = 0 if old is None or another else len(old.seen_rows())
        rows = slide.seen_rows()[known:].tolist()
        for x_um, y_um, width_um, height_um, readable in rows:
            place = Place(x_um, y_um, 0.0, "slide_file")
            self._mark(
                place, (width_um, height_um), ANALYSED if readable else UNREADABLE
            )
        return another

    def chosen_after(
        self, slide: SlideState, chosen: Finding | Revisit | None
    ) -> Finding | Revisit | None:
        """Take a newer state; return what stays picked of what was.

        A part that was seen again, and a finding of another slide, are let go; of a
        part that was seen in part the rest stays picked.
        """
        if self.update(slide):
            return None
        if not isinstance(chosen, Revisit) or chosen in self.revisits:
            return chosen
        return next((one for one in self.revisits if _are_one(one, chosen)), None)

    def view(self, field: LiveField) -> None:
        """Note that a field was shown."""
        self.trail.update(field)
        if field.place is not None:
            self._mark(field.place, field.size_um, VIEWED)

    def _mark(self, place: Place, size_um: tuple[float, float], mark: int) -> None:
        changed = self.seen.update(place, size_um, mark)
        self.map_changed = self.map_changed or changed


def _are_one(part: Revisit, other: Revisit) -> bool:
    """Whether two parts overlap and are to be seen for the same reason."""
    ax0, ay0, ax1, ay1 = extent_um(part)
    bx0, by0, bx1, by1 = extent_um(other)
    overlap = ax0 < bx1 and bx0 < ax1 and ay0 < by1 and by0 < ay1
    return overlap and part.reason == other.reason

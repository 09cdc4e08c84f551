"""What the window knows of a slide between two messages: findings, map, trend, way."""

from armicro.field import Place
from armicro.overlay.guide import pressing, top
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
        known = 0 if old is None or another else len(old.seen)
        for x_um, y_um, width_um, height_um, readable in slide.seen[known:].tolist():
            place = Place(x_um, y_um, 0.0, "slide_file")
            self._mark(
                place, (width_um, height_um), ANALYSED if readable else UNREADABLE
            )
        return another

    def chosen_after(
        self, slide: SlideState, chosen: Finding | Revisit | None
    ) -> Finding | Revisit | None:
        """Take a newer state; return what stays picked of what was.

        A part that was seen again, and a finding of another slide, are let go.
        """
        another = self.update(slide)
        if another or (isinstance(chosen, Revisit) and chosen not in self.revisits):
            return None
        return chosen

    def view(self, field: LiveField) -> None:
        """Note that a field was shown."""
        self.trail.update(field)
        if field.place is not None:
            self._mark(field.place, field.size_um, VIEWED)

    def _mark(self, place: Place, size_um: tuple[float, float], mark: int) -> None:
        changed = self.seen.update(place, size_um, mark)
        self.map_changed = self.map_changed or changed

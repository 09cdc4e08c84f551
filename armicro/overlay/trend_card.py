"""The side panel's plot of the running score; the only import of pyqtgraph."""

import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QPaintEvent
from PySide6.QtWidgets import QVBoxLayout

from armicro.overlay import theme
from armicro.overlay.card import Card
from armicro.overlay.trend import Trend

_BAND = QColor(106, 178, 226, 60)


class TrendCard(Card):
    """Score over fields seen, with the band of the six scores."""

    def __init__(self, suspicious_score: float) -> None:
        super().__init__(128)
        plot = pg.PlotWidget(background=theme.CARD)
        plot.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        plot.setMouseEnabled(x=False, y=False)
        plot.setMenuEnabled(False)
        plot.hideButtons()
        plot.setYRange(0, 1, padding=0.04)
        plot.setXRange(0, 10)
        plot.setLimits(xMin=0, minXRange=10)
        for side, ticks in (("left", [0, 0.5, 1]), ("bottom", None)):
            axis = plot.getAxis(side)
            axis.setTickFont(theme.font(10))
            axis.setTextPen(theme.FAINT)
            axis.setPen(theme.LINE)
            axis.setStyle(maxTickLevel=0, tickLength=-4)
            if ticks:
                axis.setTicks([[(tick, f"{tick:g}") for tick in ticks]])
        dashes = pg.mkPen(theme.FAINT, width=1, style=Qt.PenStyle.DashLine)
        plot.addItem(pg.InfiniteLine(suspicious_score, angle=0, pen=dashes))
        clear = pg.mkPen(None)
        self._low = plot.plot(pen=clear)
        self._high = plot.plot(pen=clear)
        plot.addItem(pg.FillBetweenItem(self._low, self._high, brush=_BAND))
        self._line = plot.plot(pen=pg.mkPen(theme.ACCENT, width=2), antialias=True)
        self._plot = plot
        room = QVBoxLayout(self)
        room.setContentsMargins(8, 28, 12, 4)
        room.addWidget(plot)

    def draw(self, trend: Trend) -> None:
        """Show a trend."""
        self._plot.enableAutoRange(axis="x")
        fields, score, low, high = trend.table.T
        for curve, values in (
            (self._low, low),
            (self._high, high),
            (self._line, score),
        ):
            curve.setData(fields, values)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        """Paint the card below the plot."""
        painter, _ = self.begin("Score over fields", "band: the six scores")
        painter.end()

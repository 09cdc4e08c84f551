"""What the operator sees: the live field, boxes locked to cells, the running score.

``snapshot`` holds what comes in and ``feed`` (below) brings it. Everything that decides
is pure and free of Qt: ``trust`` (may boxes be drawn, how boldly, where in the
eyepiece), ``layout`` (which boxes, where), ``optics`` (from field to eyepiece),
``label``, ``ruler``, ``guide`` (the way to what should be seen), ``trail`` (the way
back), ``status`` (every word and number), ``seen`` (the mini-map's raster), ``trend``,
``known`` (what adds up over messages), ``pace`` (frame rate, age), ``scene``,
``picture`` and ``viewport`` (which pixels, how large). Everything that paints is Qt:
``theme``, ``paint``, ``pointer``, ``canvas``, ``eyepiece``, the cards, ``strip``,
``window``, ``application``.
Nothing here waits: a tick takes the newest snapshot, draws it and returns.
"""

from typing import Protocol

from armicro.overlay.snapshot import Snapshot


class Feed(Protocol):
    """Brings the window what there is to show."""

    def poll(self) -> Snapshot:
        """The newest known state, at once; called about sixty times a second.

        An unchanged part is the same object as before: that is how the window knows
        that there is nothing to redraw.
        """

    def painted(self, seq: int, painted_ns: int) -> None:
        """The field ``seq`` stands in the window since ``painted_ns``."""

"""Where fields come from: one small protocol, one file a kind.

``slide`` plays a whole-slide file as if it were a camera, ``recording`` plays a saved
session, ``basler`` and ``video`` are cameras, ``phantom`` draws slides with known
truth. A vendor SDK is imported in its own driver file only.
"""

from collections.abc import Container, Iterator
from typing import Any, Protocol

import msgspec

from armicro.field import Field, Overview
from armicro.rule import PictureUmPerPx, SidePx, Text, UmPerPx


class CardHead(msgspec.Struct, frozen=True):
    """What of a card is kept with a recording as it is."""

    name: Text
    """Slide file's stem, or camera model and serial number."""
    um_per_px: UmPerPx
    width_px: SidePx
    height_px: SidePx
    """Size of its fields."""
    pixel_um: PictureUmPerPx | None = None
    """Scale of the slide file's own pixels (for QuPath); None without a file."""
    shown_xywh_px: tuple[int, int, int, int] | None = None
    """What viewers show of the slide file: they cut it to what was scanned."""
    pixel_xy_um: tuple[PictureUmPerPx, PictureUmPerPx] | None = None
    """``pixel_um`` along x and along y."""

    def told(self) -> dict[str, Any]:
        """The head's values by name, for what is made of it."""
        return {name: getattr(self, name) for name in CardHead.__struct_fields__}


class SourceCard(CardHead, frozen=True, kw_only=True, eq=False):
    """What a source says of itself before the first field."""

    fields_planned: int | None = None
    """Fields that will come; 0 of a film that does not say; None for a camera."""
    overview: Overview | None = None
    binning: int = 1
    simulated: bool = False
    """A file or an emulator plays the camera: its scale is given, not measured."""

    @property
    def ends(self) -> bool:
        """A file: infer sets the pace and nothing is lost.

        A camera goes on for ever, and only its newest field counts.
        """
        return self.fields_planned is not None


class Source(Protocol):
    """A stream of fields."""

    @property
    def card(self) -> SourceCard:
        """What this source is."""

    def fields(self, *, done: Container[int] = ()) -> Iterator[Field]:
        """Yield fields in the order of ``seq``, leaving out those in ``done``.

        Raises:
            SourceLostError: the source worked and has gone away.
        """

    def close(self) -> None:
        """Give back the file or camera; may be called twice."""

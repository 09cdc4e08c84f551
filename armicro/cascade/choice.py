"""What a rig may choose in the cascade; its other numbers are the manifest's."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rig's ``[cascade]`` table."""

    candidates: Literal["peaks", "release"] = "peaks"
    """Every local maximum of the location map, or the release's one a region."""
    fusion: Literal["mean", "release"] = "mean"
    lr_mode: Literal["tiles", "whole"] = "tiles"
    """``whole`` runs LR once over the whole field instead of tile by tile: less work,
    and allowed only for a network set whose manifest says that the answers agree."""
    merge_um: Annotated[float, Meta(gt=0)] = 15.0
    """Candidates and findings nearer than this are one cell."""
    most_per_field: Annotated[int, Meta(gt=0)] = 100
    """Candidates of one field that the HR network looks at, the best first."""
    place_error_um: Annotated[float, Meta(gt=0)] = 10.0
    """A field whose place is known worse than this gets no boxes."""

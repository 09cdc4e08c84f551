"""What a rig may choose in the cascade; its other numbers are the manifest's."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from armicro.verdict import LEAST_FOCUS, MERGE_UM, MOST_SMEAR_UM, PLACE_ERROR_UM

MergeUm = Annotated[float, Meta(ge=0.1, le=1000.0)]
"""From the resolution of light to more than a field: the bins of a slide are that wide,
and must be countable."""


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rig's ``[cascade]`` table."""

    mode: Literal["auto", "field", "incremental"] = "auto"
    """``incremental`` gives only what was not yet analysed to the LR network, which
    makes the answer depend a little on the path; ``auto``: incremental in live, field
    by field in a replay."""
    candidates: Literal["peaks", "crowd", "release"] = "crowd"
    """``peaks``: every local maximum of the location map; ``crowd``: also every other
    high cell of it; ``release``: one a region, as the authors' release does."""
    fusion: Literal["mean", "release"] = "mean"
    lr_mode: Literal["tiles", "whole"] = "tiles"
    """``whole`` runs LR once over the whole field instead of tile by tile: less work,
    and allowed only for a network set whose manifest says that the answers agree."""
    merge_um: MergeUm = MERGE_UM
    """Candidates and findings nearer than this are one cell."""
    most_per_field: Annotated[int, Meta(gt=0)] = 100
    """Findings that a field keeps, by HR probability, and all that HR calls suspicious
    beside them; HR looks at every candidate."""
    place_error_um: Annotated[float, Meta(gt=0)] = PLACE_ERROR_UM
    """A field whose place is known worse than this gets no boxes."""
    least_focus: Annotated[float, Meta(ge=0, le=1)] = LEAST_FOCUS
    """A field less sharp than this is out of focus."""
    most_smear_um: Annotated[float, Meta(gt=0)] = MOST_SMEAR_UM
    """A field during whose exposure the stage went further than this is moving."""

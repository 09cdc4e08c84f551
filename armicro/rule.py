"""What a value may be that crosses the wire or comes from a file: one table of bounds.

They stand in the types, so that msgspec checks them wherever it reads: a frame, a line
of a recording, a journal, which may all be a stranger's. Who writes reads back what it
wrote with the same types before it leaves. What keeps them needs no other look: counts
fit SQLite, sizes are those of a picture, places are numbers, probabilities lie between
0 and 1. NaN and infinities break every one of them. What bounds of one value cannot say
a struct's ``broken`` tells.
"""

import sys
from typing import Annotated, Any

import msgspec
from msgspec import Meta

MOST_TEXT = 2_000
"""Characters of any text: an error's words with the longest path there is do not fit,
and are cut."""
FURTHEST_UM = 1e9

Text = Annotated[str, Meta(max_length=MOST_TEXT)]
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
MOST_SEQ = 2**40
"""More fields than a camera gives in a thousand years, and sums of them still fit."""
Seq = Annotated[int, Meta(ge=0, le=MOST_SEQ)]
CameraSeq = Annotated[int, Meta(ge=0, le=2 * MOST_SEQ)]
"""A camera counts on from what an ask says, which so cannot stop it."""
TimeNs = Annotated[int, Meta(ge=0, le=2**62)]
"""Monotonic, 146 years: two may be added."""
DurationMs = Annotated[float, Meta(ge=0, le=1e12)]
SidePx = Annotated[int, Meta(ge=1, le=65_535)]
UmPerPx = Annotated[float, Meta(ge=1e-6, le=1e3)]
PictureUmPerPx = Annotated[float, Meta(gt=0, le=1e6)]
"""Of an overview or a map, which may be far coarser than a field."""
Share = Annotated[float, Meta(ge=0, le=1)]
PlaceUm = Annotated[float, Meta(ge=-FURTHEST_UM, le=FURTHEST_UM)]
ExtentUm = Annotated[float, Meta(ge=0, le=FURTHEST_UM)]
SizeUm = Annotated[float, Meta(ge=sys.float_info.min, le=FURTHEST_UM)]


def cut_texts(struct: Any) -> Any:
    """The struct with texts that are too long cut, so that the rest can be told.

    >>> class Word(msgspec.Struct):
    ...     text: Text
    >>> len(cut_texts(Word("x" * 9_000)).text)
    2000
    """
    cut: dict[str, object] = {}
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if isinstance(value, str) and len(value) > MOST_TEXT:
            cut[name] = f"{value[: MOST_TEXT - 1]}…"
        elif isinstance(value, msgspec.Struct) and (part := cut_texts(value)) != value:
            cut[name] = part
    return msgspec.structs.replace(struct, **cut) if cut else struct

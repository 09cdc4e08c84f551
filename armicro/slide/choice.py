"""What a rig may choose of registration: its ``[register]`` table."""

from typing import Annotated

import msgspec
from msgspec import Meta

NotNegative = Annotated[float, Meta(ge=0)]


class RegisterChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How fields without a sure place find theirs."""

    enabled: bool = True
    """False: only what the source says counts."""
    rotation_deg: Annotated[float, Meta(ge=-180, le=180)] = 0.0
    """Of the camera against the stage's x, clockwise on the screen. It turns what an
    encoder says; slide coordinates follow the camera's rows."""
    keyframe_overlap: Annotated[float, Meta(ge=0.2, le=0.9)] = 0.6
    """A field that shares less with every keyframe becomes one."""
    keyframe_smear_um: NotNegative = 2.0
    """A field blurred by a longer way of the stage never does."""
    keyframe_focus: Annotated[float, Meta(ge=0, le=1)] = 0.3
    """Nor does one less sharp, where sharpness is known."""
    keyframes: Annotated[int, Meta(ge=1, le=100_000)] = 20_000
    """At most so many; a slide of 25 by 50 mm seen with a 20x objective has as many."""
    encoder_error_um: Annotated[float, Meta(gt=0)] = 0.5
    """Of a reading, at least, whatever the stage claims."""
    encoder_error_share: NotNegative = 0.01
    """Of the way since the last picture that confirmed it."""
    backlash_um: NotNegative = 5.0
    """By so much an encoder may be off after the stage turned back."""

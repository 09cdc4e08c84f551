"""What a phantom shall be: everything that decides its pixels, and nothing else."""

import math
from dataclasses import dataclass

from armicro.errors import SourceError
from armicro.source.phantom.stain import stain_named
from armicro.verdict import HR_UM_PER_PX

UM_PER_PX = HR_UM_PER_PX
"""Scale of every phantom: that of the HR tile."""

LESION_ROOM_PX = 110
"""Two lesion nuclei lie at least this far apart."""

LEAST_WIDTH_PX = 64


@dataclass(frozen=True, slots=True)
class Optics:
    """What a scanner does to the picture."""

    defocus_px: float = 0.0
    """Largest blur (standard deviation); focus drifts over the slide from 0 to it."""
    vignetting: float = 0.0
    """Share of light lost in the corners of each of the scanner's fields, 0-0.9."""


@dataclass(frozen=True, slots=True)
class PhantomSpec:
    """A drawn slide; the same specification gives the same bytes."""

    width_px: int
    height_px: int
    seed: int = 0
    lesions: int = 20
    stain: str = "classic"
    optics: Optics = Optics()
    quality: int = 85
    """JPEG quality of the tiles, 1-100."""

    def __post_init__(self) -> None:
        stain_named(self.stain)
        if min(self.width_px, self.height_px) < LEAST_WIDTH_PX:
            raise SourceError(
                f"a phantom of {self.width_px} x {self.height_px} px: expected at "
                f"least {LEAST_WIDTH_PX} px each way; ask for more megapixels"
            )
        if self.seed < 0:
            raise SourceError(f"seed {self.seed}: expected 0 or more; choose another")
        room = lesions_that_fit(self.width_px, self.height_px)
        if not 0 <= self.lesions <= room:
            raise SourceError(
                f"{self.lesions} lesion cells: expected 0 to {room} on "
                f"{self.width_px} x {self.height_px} px; ask for fewer, or for more "
                "megapixels"
            )
        check_optics(self.optics)
        if not 1 <= self.quality <= 100:
            raise SourceError(
                f"JPEG quality {self.quality}: expected 1 to 100; 85 is usual"
            )


def lesions_that_fit(width_px: int, height_px: int) -> int:
    """Most lesion cells that a drawn slide may be asked for, loosely packed."""
    return width_px * height_px // (4 * LESION_ROOM_PX**2) + 1


def check_optics(optics: Optics) -> None:
    """Refuse optics that no scanner has.

    Raises:
        SourceError: a value is out of its range.
    """
    if not 0 <= optics.defocus_px <= 20:
        raise SourceError(
            f"defocus {optics.defocus_px} px: expected 0 to 20; choose a smaller one"
        )
    if not 0 <= optics.vignetting <= 0.9:
        raise SourceError(
            f"vignetting {optics.vignetting}: expected a share of 0 to 0.9"
        )


def size_px(megapixels: float) -> tuple[int, int]:
    """Width and height of a slide of that many pixels of 0.243 µm, about 4:3.

    Raises:
        SourceError: not a positive number, or too small to draw.

    >>> size_px(12)
    (4000, 3000)
    """
    if not (math.isfinite(megapixels) and megapixels > 0):
        raise SourceError(
            f"{megapixels} megapixels: expected a number above 0; 100 is a small slide"
        )
    pixels = megapixels * 1e6
    width_px = round(math.sqrt(pixels * 4 / 3))
    return max(width_px, 1), max(round(pixels / max(width_px, 1)), 1)

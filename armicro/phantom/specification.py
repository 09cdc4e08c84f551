"""What a phantom shall be: everything that decides its pixels, and nothing else."""

import math
from dataclasses import dataclass

from armicro.errors import SourceError
from armicro.verdict import HR_UM_PER_PX

# ---------------------------------------------------------------------------
# The classes of epithelial cells, each as the ranges that it is drawn from.
#
# Sizes are those of the textbook: superficial and intermediate cells 40-60 µm with
# nuclei of 5 and 8 µm, parabasal cells 15-25 µm; abnormal nuclei of 12-20 µm, dark, of
# irregular outline and coarse chromatin; koilocytes with a cleared zone round the
# nucleus.

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class CellPlan:
    """The ranges that one class of cell is drawn from; lengths in µm."""

    eosinophilic: float
    """Share of cells with eosin-coloured cytoplasm."""
    radius_um: Range
    nucleus_um: Range
    """Radius of the nucleus."""
    nucleus_depth: Range
    """Thickness in terms of the stain's nucleus dye."""
    chromatin: Range
    """Contrast of the chromatin's texture."""
    cytoplasm: Range
    """Thickness in terms of the cytoplasm's dye."""
    chromatin_grain_um: float = 0.9
    irregularity: float = 0.02
    """Relative amplitude of the nuclear outline's waves."""
    membrane: float = 0.25
    sides: tuple[int, int] = (5, 8)
    """Corners of the outline; many of them make it round."""
    fold_share: float = 0.0
    halo: float = 0.0
    """Radius of the cleared zone in nuclear radii; 0 for none."""
    binucleate: float = 0.0


PLANS: dict[str, CellPlan] = {
    "superficial": CellPlan(
        eosinophilic=0.88,
        radius_um=(19, 28),
        nucleus_um=(2.3, 3.1),
        nucleus_depth=(0.85, 1.15),
        chromatin=(0.05, 0.12),
        cytoplasm=(0.55, 1.05),
        fold_share=0.30,
    ),
    "intermediate": CellPlan(
        eosinophilic=0.14,
        radius_um=(17, 26),
        nucleus_um=(3.5, 4.6),
        nucleus_depth=(0.45, 0.75),
        chromatin=(0.14, 0.28),
        cytoplasm=(0.50, 1.05),
        membrane=0.35,
        fold_share=0.38,
        binucleate=0.04,
    ),
    "parabasal": CellPlan(
        eosinophilic=0.12,
        radius_um=(8.5, 12.5),
        nucleus_um=(3.7, 4.9),
        nucleus_depth=(0.60, 0.85),
        chromatin=(0.15, 0.28),
        cytoplasm=(0.9, 1.5),
        membrane=0.30,
        sides=(10, 14),
    ),
    "enlarged": CellPlan(
        eosinophilic=0.35,
        radius_um=(17, 25),
        nucleus_um=(6.0, 9.0),
        nucleus_depth=(0.70, 1.05),
        chromatin=(0.28, 0.50),
        cytoplasm=(0.6, 1.1),
        chromatin_grain_um=1.1,
        irregularity=0.055,
        membrane=0.30,
        fold_share=0.1,
        binucleate=0.15,
    ),
    "high_nc": CellPlan(
        eosinophilic=0.22,
        radius_um=(9.5, 14.5),
        nucleus_um=(6.0, 8.6),
        nucleus_depth=(0.72, 1.05),
        chromatin=(0.30, 0.52),
        cytoplasm=(0.9, 1.5),
        chromatin_grain_um=1.2,
        irregularity=0.085,
        membrane=0.35,
        sides=(7, 11),
    ),
    "koilocyte": CellPlan(
        eosinophilic=0.45,
        radius_um=(18, 25),
        nucleus_um=(6.0, 7.8),
        nucleus_depth=(0.75, 1.10),
        chromatin=(0.25, 0.45),
        cytoplasm=(0.85, 1.35),
        chromatin_grain_um=1.1,
        irregularity=0.07,
        halo=2.05,
        binucleate=0.25,
    ),
}

LESION_CLASSES = ("enlarged", "high_nc", "koilocyte")
NORMAL_CLASSES = ("superficial", "intermediate", "parabasal")


# ---------------------------------------------------------------------------
# Papanicolaou stains: what each structure absorbs, and the glass behind it.
#
# A ``Dye`` is the optical density of red, green and blue at full thickness; cells lying
# on each other add densities, as transmitted light does. The numbers were set by eye so
# that the pictures resemble Pap smears; they are not measured dye spectra.

Dye = tuple[float, float, float]
"""Optical density (decadic) of red, green, blue at full thickness."""


@dataclass(frozen=True, slots=True)
class LaboratoryStain:
    """One laboratory's colours."""

    glass_rgb: tuple[int, int, int]
    eosin: tuple[Dye, Dye]
    """Cytoplasm of superficial cells varies between these two."""
    cyan: tuple[Dye, Dye]
    """Cytoplasm of intermediate and parabasal cells varies between these two."""
    nucleus: Dye
    leucocyte: Dye
    erythrocyte: Dye
    mucus: Dye
    dust: Dye


STAINS: dict[str, LaboratoryStain] = {
    "classic": LaboratoryStain(
        glass_rgb=(248, 250, 251),
        eosin=((0.03, 0.21, 0.40), (0.05, 0.20, 0.24)),
        cyan=((0.30, 0.14, 0.13), (0.20, 0.14, 0.10)),
        nucleus=(0.66, 0.84, 0.52),
        leucocyte=(0.84, 0.92, 0.54),
        erythrocyte=(0.03, 0.18, 0.40),
        mucus=(0.10, 0.07, 0.05),
        dust=(0.40, 0.38, 0.30),
    ),
    "blue": LaboratoryStain(
        glass_rgb=(238, 244, 250),
        eosin=((0.08, 0.22, 0.18), (0.12, 0.21, 0.13)),
        cyan=((0.29, 0.19, 0.08), (0.22, 0.19, 0.07)),
        nucleus=(0.80, 0.78, 0.40),
        leucocyte=(0.95, 0.90, 0.46),
        erythrocyte=(0.08, 0.20, 0.22),
        mucus=(0.12, 0.10, 0.04),
        dust=(0.42, 0.40, 0.24),
    ),
    "warm": LaboratoryStain(
        glass_rgb=(251, 246, 226),
        eosin=((0.04, 0.15, 0.42), (0.06, 0.19, 0.27)),
        cyan=((0.19, 0.13, 0.08), (0.15, 0.13, 0.12)),
        nucleus=(0.52, 0.74, 0.56),
        leucocyte=(0.66, 0.78, 0.48),
        erythrocyte=(0.04, 0.22, 0.36),
        mucus=(0.10, 0.07, 0.04),
        dust=(0.34, 0.38, 0.38),
    ),
    "pale": LaboratoryStain(
        glass_rgb=(246, 243, 247),
        eosin=((0.04, 0.13, 0.12), (0.06, 0.12, 0.08)),
        cyan=((0.12, 0.11, 0.07), (0.10, 0.11, 0.05)),
        nucleus=(0.44, 0.58, 0.32),
        leucocyte=(0.58, 0.66, 0.36),
        erythrocyte=(0.03, 0.12, 0.14),
        mucus=(0.05, 0.05, 0.03),
        dust=(0.30, 0.32, 0.22),
    ),
    "teal": LaboratoryStain(
        glass_rgb=(240, 249, 248),
        eosin=((0.04, 0.24, 0.46), (0.10, 0.26, 0.36)),
        cyan=((0.42, 0.17, 0.17), (0.34, 0.16, 0.14)),
        nucleus=(0.74, 0.76, 0.54),
        leucocyte=(0.90, 0.84, 0.56),
        erythrocyte=(0.04, 0.22, 0.46),
        mucus=(0.14, 0.06, 0.05),
        dust=(0.44, 0.36, 0.30),
    ),
}


def stain_named(name: str) -> LaboratoryStain:
    """Look a stain up.

    Raises:
        SourceError: there is no stain of that name.
    """
    if name not in STAINS:
        known = ", ".join(STAINS)
        raise SourceError(
            f"unknown stain {name!r}: expected one of {known}; choose one"
        )
    return STAINS[name]


# ---------------------------------------------------------------------------
# The specification.

UM_PER_PX = HR_UM_PER_PX
"""Scale of every phantom: that of the HR tile."""

LESION_ROOM_PX = 110
"""Two lesion nuclei lie at least this far apart."""

LEAST_WIDTH_PX = 64


@dataclass(frozen=True, slots=True)
class ScannerOptics:
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
    optics: ScannerOptics = ScannerOptics()
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


def check_optics(optics: ScannerOptics) -> None:
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

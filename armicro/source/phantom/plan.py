"""The classes of epithelial cells, each as the ranges that it is drawn from.

Sizes are those of the textbook: superficial and intermediate cells 40-60 µm with nuclei
of 5 and 8 µm, parabasal cells 15-25 µm; abnormal nuclei of 12-20 µm, dark, of irregular
outline and coarse chromatin; koilocytes with a cleared zone round the nucleus.
"""

from dataclasses import dataclass

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

"""Phantom fields as one more source, so that drawn lesions are found as real ones are.

They join with a small share, and figures on them stand apart: a network that knows the
drawings proves that the machinery works, nothing about cytology. Two stains stay out of
training, to show an unseen one.
"""

from collections.abc import Sequence

import numpy as np

from armicro.source.phantom import STAINS, UM_PER_PX, Optics, paint_field
from armicro.source.table import Split
from armicro.train.data import AnnotatedField

SOURCE = "phantom"
UNSEEN_STAINS = tuple(sorted(STAINS))[-2:]
FIELD_PX = 1024


def draw_fields(
    seeds: Sequence[int], *, split: Split, lesions: int = 6
) -> list[AnnotatedField]:
    """Return a drawn field a seed; every fourth has no lesion.

    Training seeds take the stains that training may see, validation seeds the others.
    """
    known = [stain for stain in sorted(STAINS) if stain not in UNSEEN_STAINS]
    stains = known if split == "train" else list(UNSEEN_STAINS)
    fields = []
    for index, seed in enumerate(seeds):
        stain = stains[index % len(stains)]
        pixels, truth = paint_field(
            seed=seed,
            width_px=FIELD_PX,
            height_px=FIELD_PX,
            um_per_px=UM_PER_PX,
            lesions=0 if index % 4 == 3 else lesions,
            stain=stain,
            optics=Optics(defocus_px=1.0 * (index % 3 == 2)),
        )
        points = np.column_stack([truth.x_um, truth.y_um]) / UM_PER_PX
        classes = tuple(
            name if lesion else "NILM"
            for name, lesion in zip(truth.names, truth.lesion, strict=True)
        )
        fields.append(
            AnnotatedField(
                name=f"phantom-{seed}-{stain}",
                source=SOURCE,
                group=stain,
                split=split,
                pixels=pixels,
                um_per_px=UM_PER_PX,
                points_px=points,
                classes=classes,
            )
        )
    return fields

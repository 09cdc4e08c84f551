"""Drawn slides and fields: the way in to the procedural phantom."""

import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from armicro.errors import SourceError
from armicro.field import Pixels
from armicro.slide.pyramid import Sheet, write_pyramid
from armicro.source.phantom.canvas import Canvas
from armicro.source.phantom.library import KINDS, Library, library_of
from armicro.source.phantom.output import slide_file
from armicro.source.phantom.plan import LESION_CLASSES, NORMAL_CLASSES
from armicro.source.phantom.specification import UM_PER_PX, Optics, PhantomSpec
from armicro.source.phantom.truth import Truth, write_truth

BYTES_PER_PX = 0.25
"""More than a phantom's JPEG pyramid has been seen to take."""

FIRST_CELL = KINDS.index(NORMAL_CLASSES[0])


def write_phantom(
    path: Path, spec: PhantomSpec, *, progress: Callable[[int], None] | None = None
) -> Truth:
    """Write a drawn slide and its truth beside it.

    Args:
        path: The TIFF to write; ``.truth.csv`` and ``.truth.geojson`` go beside it.
        spec: What to draw; equal specifications give equal bytes.
        progress: Called with the number of pixels just finished.

    Raises:
        SourceError: the file cannot be written there.
    """
    canvas = Canvas(spec, Library(spec.seed, spec.stain))
    sheet = Sheet(
        width_px=spec.width_px,
        height_px=spec.height_px,
        description=(
            "armicro phantom: drawn, not a real specimen. "
            f"seed={spec.seed} lesions={spec.lesions} stain={spec.stain}"
        ),
        quality=spec.quality,
        paper_rgb=canvas.glass_rgb,
        um_per_px=UM_PER_PX,
    )
    room_bytes = math.ceil(spec.width_px * spec.height_px * BYTES_PER_PX)
    with slide_file(path, room_bytes) as file:
        write_pyramid(file, sheet, canvas.draw, progress)
        truth = truth_of(spec, canvas)
        write_truth(truth, path)
    return truth


def paint_field(  # noqa: PLR0913 (all by keyword, most with a default)
    *,
    seed: int,
    width_px: int,
    height_px: int,
    um_per_px: float = UM_PER_PX,
    lesions: int = 1,
    stain: str = "classic",
    optics: Optics = Optics(),  # noqa: B008 (frozen)
    library_seed: int | None = None,
) -> tuple[Pixels, Truth]:
    """Paint one field with known cells, for tests and for training.

    Args:
        seed: Decides where everything lies.
        width_px: Width of the result.
        height_px: Height of the result.
        um_per_px: Scale of the result; drawn at 0.243 and resampled.
        lesions: Exactly so many lesion cells lie in the field.
        stain: One of ``STAINS``.
        optics: Defocus and fall-off of light.
        library_seed: Decides the look of the cells; ``seed`` when None. Fields of one
            library seed are painted faster, because its sprites are kept.

    Returns:
        (height_px, width_px, 3) uint8 RGB, and the truth in µm from the field's corner.

    Raises:
        SourceError: something asked for cannot be drawn.
    """
    if not 0.05 <= um_per_px <= 5:
        raise SourceError(
            f"a field at {um_per_px} µm/px: expected 0.05 to 5; choose another scale"
        )
    scale = um_per_px / UM_PER_PX
    spec = PhantomSpec(
        width_px=max(1, round(width_px * scale)),
        height_px=max(1, round(height_px * scale)),
        seed=seed,
        lesions=lesions,
        stain=stain,
        optics=optics,
    )
    library = library_of(seed if library_seed is None else library_seed, stain)
    canvas = Canvas(spec, library)
    pixels = canvas.draw(0, 0, spec.width_px, spec.height_px)
    if (spec.width_px, spec.height_px) != (width_px, height_px):
        way = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
        pixels = np.asarray(
            cv2.resize(pixels, (width_px, height_px), interpolation=way), np.uint8
        )
    return pixels, truth_of(spec, canvas)


def truth_of(spec: PhantomSpec, canvas: Canvas) -> Truth:
    """Every epithelial cell whose nucleus lies on the slide."""
    parts = []
    across, down = canvas.layout.blocks()
    for by in range(down):
        for bx in range(across):
            stamps = canvas.layout.stamps(bx, by)
            x, y = stamps["x_px"], stamps["y_px"]
            on_slide = (x < spec.width_px) & (y < spec.height_px)
            parts.append(stamps[(stamps["kind"] >= FIRST_CELL) & on_slide])
    cells = np.concatenate(parts)
    return Truth(
        x_um=cells["x_px"] * UM_PER_PX,
        y_um=cells["y_px"] * UM_PER_PX,
        class_index=(cells["kind"] - FIRST_CELL).astype(np.uint8),
        classes=KINDS[FIRST_CELL:],
        lesion_classes=frozenset(LESION_CLASSES),
    )

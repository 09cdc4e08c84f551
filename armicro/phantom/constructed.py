"""Slides built from annotated real fields: the way in to the constructed phantom.

Such a slide has real cells at known places, but no patient ever had it: every figure
from one says that it is constructed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from armicro.errors import SourceError
from armicro.field import Pixels
from armicro.phantom.cutout import Collage, Placed, Workshop
from armicro.phantom.glass import (
    Rgb,
    Surface,
    glass_rgb_of,
    hue_distances,
    patch_glass,
    stain_of,
    surface_of,
    texture_patches,
)
from armicro.phantom.material import Piece, PieceCutter, RealField, Size, read_material
from armicro.phantom.noise import Floats
from armicro.phantom.optics import Scanner
from armicro.phantom.specification import (
    LEAST_WIDTH_PX,
    UM_PER_PX,
    ScannerOptics,
    check_optics,
)
from armicro.phantom.truth import Truth, slide_file, write_truth
from armicro.pyramid import Sheet, write_pyramid
from armicro.table import NORMAL_CLASS

GLASS_FIELDS = 12
"""So many fields are looked at for the glass of a slide."""
HUE_LIMIT = 0.30
"""Fields further from the first one's hue are taken for another stain."""
LESION_SHARE = 0.30
"""Share of the slide that lesion cells may take with what is round them."""
LARGE_SHARE = 0.55
"""Share of the slide that whole fields may take before the lesion cells are laid."""
BYTES_PER_PX = 0.5


@dataclass(frozen=True, slots=True)
class ConstructedSpec:
    """A slide of real material; the same specification gives the same bytes."""

    fields_csv: Path
    cells_csv: Path
    width_px: int
    height_px: int
    seed: int = 0
    lesions: int = 20
    split: str = ""
    """Take only fields of this split; all when empty."""
    group: str = ""
    """Take fields of this slide group; one with enough lesions when empty."""
    optics: ScannerOptics = ScannerOptics()  # noqa: RUF009 (frozen)
    quality: int = 88

    def __post_init__(self) -> None:
        check_optics(self.optics)
        if min(self.width_px, self.height_px) < LEAST_WIDTH_PX:
            raise SourceError(
                f"a slide of {self.width_px} x {self.height_px} px: expected at least "
                f"{LEAST_WIDTH_PX} px each way; ask for more megapixels"
            )
        if min(self.lesions, self.seed) < 0:
            raise SourceError(
                f"{self.lesions} lesion cells, seed {self.seed}: expected 0 or more"
            )


@dataclass(frozen=True, slots=True)
class Composition:
    """What a constructed slide was made of."""

    group: str
    whole_fields: int
    cutouts: int
    lesions: int
    material_megapixels: float
    """Area of all pieces."""
    background_share: float
    """Share of the slide's area that is glass between the pieces, 0-1."""


def write_constructed(
    path: Path, spec: ConstructedSpec, *, progress: Callable[[int], None] | None = None
) -> tuple[Truth, Composition]:
    """Write a slide of real fields and cells, and its truth beside it.

    Args:
        path: The TIFF to write; ``.truth.csv`` and ``.truth.geojson`` go beside it.
        spec: What to build; equal specifications and material give equal bytes.
        progress: Called with the number of pixels just finished.

    Raises:
        SourceError: the material cannot be used, or the file cannot be written there.
    """
    material = read_material(spec.fields_csv, spec.cells_csv, spec.split)
    fields = _of_one_stain(material, spec)
    room_bytes = math.ceil(spec.width_px * spec.height_px * BYTES_PER_PX)
    with slide_file(path, room_bytes) as file:
        slide = ConstructedSlide(spec, fields)
        sheet = Sheet(
            width_px=spec.width_px,
            height_px=spec.height_px,
            description=(
                "armicro constructed slide: real fields and cells laid out by program, "
                f"not a specimen. seed={spec.seed} lesions={spec.lesions} "
                f"group={fields[0].group}"
            ),
            quality=spec.quality,
            paper_rgb=slide.glass_rgb,
            um_per_px=UM_PER_PX,
        )
        write_pyramid(file, sheet, slide.draw, progress)
        truth = slide.truth()
        write_truth(truth, path)
    return truth, slide.account()


def _of_one_stain(
    material: Sequence[RealField], spec: ConstructedSpec
) -> list[RealField]:
    """The fields of one slide group, which stands for one stain.

    Raises:
        SourceError: no such group, or none has enough lesion cells.
    """
    groups: dict[str, list[RealField]] = {}
    for field in material:
        groups.setdefault(field.group, []).append(field)
    if spec.group and spec.group not in groups:
        raise SourceError(
            f"no field of slide group {spec.group!r}: expected one of "
            f"{', '.join(sorted(groups))}; choose one of them"
        )
    lesions = {name: sum(int(f.lesion.sum()) for f in groups[name]) for name in groups}
    able = [n for n in sorted(groups) if lesions[n] >= spec.lesions]
    if spec.group:
        able = [name for name in able if name == spec.group]
    if not able:
        most = lesions[spec.group] if spec.group else max(lesions.values())
        raise SourceError(
            f"{spec.lesions} lesion cells: expected at most {most}, all that the "
            "fields of one stain have; ask for fewer, or give more fields"
        )
    weights = np.array([len(groups[name]) for name in able], float)
    rng = np.random.default_rng([spec.seed, 21])
    chosen = groups[able[int(rng.choice(len(able), p=weights / weights.sum()))]]
    return _alike(chosen, spec.lesions, rng)


def _alike(
    fields: Sequence[RealField], lesions: int, rng: np.random.Generator
) -> list[RealField]:
    """One field and those stained like it, the likest first.

    A group is only roughly one stain. Fields of quite another hue are left out, unless
    their lesion cells are needed.
    """
    anchors = [i for i, f in enumerate(fields) if f.lesion.any() == (lesions > 0)]
    anchor = int(rng.choice(anchors or len(fields)))
    stains = [stain_of(field.thumbnail()) for field in fields]
    distances = hue_distances(stains, anchor)
    kept: list[RealField] = []
    found = 0
    for index in np.argsort(distances, kind="stable").tolist():
        # Not every lesion cell can be cut out: have twice as many at hand.
        if distances[index] > HUE_LIMIT and found >= 2 * lesions:
            break
        kept.append(fields[index])
        found += int(fields[index].lesion.sum())
    return kept


class ConstructedSlide:
    """Draws any rectangle of one constructed slide."""

    def __init__(self, spec: ConstructedSpec, fields: Sequence[RealField]) -> None:
        """Look at the fields' glass, cut them up and lay the pieces out.

        Raises:
            SourceError: too few lesion cells can be cut out or laid out.
        """
        self._spec, self._fields = spec, fields
        rng = np.random.default_rng([spec.seed, 22])
        thumbnails = [field.thumbnail() for field in fields]
        surfaces: list[Surface] = [surface_of(small) for small in thumbnails]
        self.glass_rgb = _glass_colour(thumbnails)
        self._glass = patch_glass(
            self.glass_rgb, _glass_texture(fields, thumbnails), rng
        )
        self._workshop = Workshop(fields, surfaces, self.glass_rgb, spec.seed)
        self._placed = self._lay_out(rng)
        self._cells = [self._workshop.cutout(p.piece).cells for p in self._placed]
        self._scanner = Scanner(spec.optics, spec.seed)

    def draw(self, x_px: int, y_px: int, width_px: int, height_px: int) -> Pixels:
        """Draw a rectangle of the slide: (height_px, width_px, 3) uint8 RGB."""
        halo = self._scanner.halo_px
        left, top = x_px - halo, y_px - halo
        size = (width_px + 2 * halo, height_px + 2 * halo)
        picture = self._glass.window(left, top, *size)
        for placed in self._placed:
            self._lay(picture, placed.piece, placed.x_px - left, placed.y_px - top)
        return self._scanner.photograph(picture, x_px, y_px)

    def truth(self) -> Truth:
        """Annotated cells that are shown."""
        cells = [
            (placed.x_px + x, placed.y_px + y, name)
            for placed, shown in zip(self._placed, self._cells, strict=True)
            for x, y, name in shown
        ]
        names = sorted({NORMAL_CLASS} | {name for _, _, name in cells})
        return Truth(
            x_um=np.array([x for x, _, _ in cells], float) * UM_PER_PX,
            y_um=np.array([y for _, y, _ in cells], float) * UM_PER_PX,
            class_index=np.array([names.index(n) for _, _, n in cells], np.uint8),
            classes=tuple(names),
            lesion_classes=frozenset(names) - {NORMAL_CLASS},
        )

    def account(self) -> Composition:
        """What the slide was made of."""
        pieces = [placed.piece for placed in self._placed]
        area_px = _area_px(pieces)
        return Composition(
            group=self._fields[0].group,
            whole_fields=sum(piece.whole for piece in pieces),
            cutouts=sum(not piece.whole for piece in pieces),
            lesions=sum(piece.lesions for piece in pieces),
            material_megapixels=area_px / 1e6,
            background_share=1 - area_px / (self._spec.width_px * self._spec.height_px),
        )

    def _lay(self, picture: Pixels, piece: Piece, x0: int, y0: int) -> None:
        """Blend the part of a piece that falls into a picture."""
        u0, u1 = max(x0, 0), min(x0 + piece.width_px, picture.shape[1])
        v0, v1 = max(y0, 0), min(y0 + piece.height_px, picture.shape[0])
        if u1 <= u0 or v1 <= v0:
            return
        cutout = self._workshop.cutout(piece)
        part = (slice(v0 - y0, v1 - y0), slice(u0 - x0, u1 - x0))
        above = np.ascontiguousarray(cutout.pixels[part])
        weight = cutout.share[part].astype(np.float32) / 255
        under = np.ascontiguousarray(picture[v0:v1, u0:u1])
        picture[v0:v1, u0:u1] = cv2.blendLinear(above, under, weight, 1 - weight)

    def _lay_out(self, rng: np.random.Generator) -> list[Placed]:
        """Whole fields, then lesions, then whatever else there is and fits.

        Raises:
            SourceError: the lesion cells find no room.
        """
        spec = self._spec
        sizes: list[Size] = [field.size_px() for field in self._fields]
        cutter = PieceCutter(self._fields, sizes, rng)
        area_px = spec.width_px * spec.height_px
        lesions = cutter.lesion_pieces(
            spec.lesions,
            largest_px=math.sqrt(LESION_SHARE * area_px / max(spec.lesions, 1)),
        )
        whole = cutter.whole_pieces()
        first = _within_area(whole, LARGE_SHARE * area_px - _area_px(lesions))
        for large in (first, []):
            collage = Collage(spec.width_px, spec.height_px, rng)
            collage.fill(large, misses=3)
            # Without the large pieces when these leave too little room.
            if all(collage.place(piece) for piece in lesions):
                break
        else:
            raise SourceError(
                f"{spec.lesions} lesion cells find no room on {spec.width_px} x "
                f"{spec.height_px} px: expected fewer; ask for more megapixels"
            )
        placed = {there.piece for there in collage.placed}
        collage.fill((p for p in whole if p not in placed), misses=3)
        # A window of which no known cell would be shown is not worth its room.
        worth = (p for p in cutter.normal_pieces() if self._workshop.cutout(p).cells)
        collage.fill(worth, misses=25)
        return collage.placed


def _area_px(pieces: Sequence[Piece]) -> int:
    return sum(piece.width_px * piece.height_px for piece in pieces)


def _within_area(pieces: Sequence[Piece], area_px: float) -> list[Piece]:
    """The first pieces that together take no more than an area."""
    areas = np.cumsum([piece.width_px * piece.height_px for piece in pieces])
    return list(pieces[: int(np.searchsorted(areas, area_px, side="right"))])


def _glass_colour(thumbnails: Sequence[Pixels]) -> Rgb:
    """Colour of the clear glass of one stain: the median of its fields."""
    colours = [glass_rgb_of(small) for small in thumbnails]
    red, green, blue = np.rint(np.median(colours, axis=0)).astype(int).tolist()
    return red, green, blue


def _glass_texture(
    fields: Sequence[RealField], thumbnails: Sequence[Pixels]
) -> list[Floats]:
    """Texture of the clear glass of one stain, from its first fields."""
    return [
        patch
        for field, small in list(zip(fields, thumbnails, strict=True))[:GLASS_FIELDS]
        for patch in texture_patches(field.read(), glass_rgb_of(small))
    ]

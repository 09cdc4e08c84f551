"""The LR network's two thresholds, set on whole tiles of validation fields.

The gate stays at 0.5 and the head's offset moves, so that the probability of a tile can
be read as it is; the height of a peak that makes a candidate goes into the manifest.
Both are set for recall: what LR drops nobody sees again, what it lets through HR still
judges.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from tqdm import tqdm

from armicro.cascade.locate import find_peaks
from armicro.cascade.tile import find_cells, pad
from armicro.errors import SourceError
from armicro.field import Pixels
from armicro.train.calibrate import fit_platt, recall_offset, set_calibration
from armicro.train.data import AnnotatedField
from armicro.train.networks import LowResolution
from armicro.train.sample import LR_UM_PER_PX

NO_LESION = (
    "no validation field shows a lesion; the LR gate is set on such fields: give "
    "--data a source of fields whose split column says val"
)
TILE_PX = 512
GATE_RECALL = 0.98
PEAK_RECALL = 0.95
HIT_PX = 50.0
"""24 µm: such a nucleus still lies well inside the HR tile (31 µm from its centre)."""


@dataclass(frozen=True, slots=True, eq=False)
class FieldTile:
    """A tile of a field as the cascade cuts it."""

    pixels: Pixels
    lesions_px: NDArray[np.float64]
    """(n, 2) inside the tile."""

    @property
    def lesion(self) -> bool:
        """Whether any lesion lies in the tile."""
        return len(self.lesions_px) > 0


def cut_field_tiles(
    fields: Sequence[AnnotatedField], *, per_field: int
) -> list[FieldTile]:
    """Return tiles at the corners of each field, those with a lesion at the rim out."""
    tiles = []
    for field in fields:
        zoom = field.um_per_px / LR_UM_PER_PX
        small = cv2.resize(
            field.pixels, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA
        )
        ground = find_cells(field.pixels, field.um_per_px).background
        image = pad(np.asarray(small, np.uint8), (TILE_PX, TILE_PX), ground)
        bottom, right = image.shape[0] - TILE_PX, image.shape[1] - TILE_PX
        corners = [(0, 0), (bottom, right), (0, right), (bottom, 0)][:per_field]
        lesions = field.points_px[field.lesion] * zoom
        for top, left in corners:
            places = lesions - (left, top)
            inside = ((places >= 0) & (places < TILE_PX)).all(axis=1)
            deep = ((places >= 16) & (places < TILE_PX - 16)).all(axis=1)
            if inside.any() and not deep.any():
                continue
            pixels = np.ascontiguousarray(
                image[top : top + TILE_PX, left : left + TILE_PX]
            )
            tiles.append(FieldTile(pixels, places[deep]))
    return tiles


@torch.no_grad()
def set_gate(network: LowResolution, tiles: Sequence[FieldTile]) -> dict[str, float]:
    """Calibrate the head in place; return the figures and the peak threshold.

    Only tiles enter, as a field gives them: the network is run once on each.

    Raises:
        SourceError: no tile shows a lesion.
    """
    set_calibration(network.head, 1.0, 0.0)
    network.eval()
    logits, maps = [], []
    for tile in tqdm(tiles, desc="LR gate", mininterval=10):
        batch = torch.from_numpy(tile.pixels[None])
        features = network.backbone(network.normalise(batch))
        logits.append(float(network.head(functional.max_pool2d(features, 16, 12))))
        maps.append(torch.softmax(network.location(features), 1)[0, 1].numpy())
    wanted = np.array([tile.lesion for tile in tiles], bool)
    if not wanted.any():
        raise SourceError(NO_LESION)
    values = np.array(logits)
    with torch.enable_grad():
        temperature, _ = fit_platt(values, wanted)
    offset = recall_offset(values, wanted, temperature, recall=GATE_RECALL)
    set_calibration(network.head, temperature, offset)
    passed = values / temperature + offset > 0
    threshold, recall, peaks = set_peak(maps, tiles)
    return {
        "peak_threshold": threshold,
        "lr_tile_sensitivity": float(passed[wanted].mean()),
        "lr_tile_specificity": float((~passed[~wanted]).mean())
        if not wanted.all()
        else float("nan"),
        "lr_peak_recall": recall,
        "lr_peaks_per_tile": peaks,
    }


def set_peak(
    maps: Sequence[NDArray[np.float32]], tiles: Sequence[FieldTile]
) -> tuple[float, float, float]:
    """Return the highest threshold with the wanted recall, its recall, peaks a tile."""
    best = (0.1, *peak_recall(maps, tiles, threshold=0.1))
    for threshold in np.arange(0.15, 0.75, 0.05):
        recall, peaks = peak_recall(maps, tiles, threshold=float(threshold))
        if recall >= min(PEAK_RECALL, best[1]):
            best = (round(float(threshold), 2), recall, peaks)
    return best


def peak_recall(
    maps: Sequence[NDArray[np.float32]], tiles: Sequence[FieldTile], *, threshold: float
) -> tuple[float, float]:
    """Return the share of lesions near a peak, and peaks a tile."""
    hits: list[bool] = []
    count = 0
    for heat, tile in zip(maps, tiles, strict=True):
        peaks = find_peaks(heat, threshold=threshold)[:, :2] * 32
        count += len(peaks)
        for lesion in tile.lesions_px:
            gaps = np.abs(peaks - lesion).max(axis=1) if len(peaks) else [np.inf]
            hits.append(bool(np.min(gaps) <= HIT_PX))
    return float(np.mean(hits)) if hits else 0.0, count / max(len(tiles), 1)

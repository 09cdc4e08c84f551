"""What makes a classifier of tiles look at fields: places, thresholds, borders."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from armicro.cascade.locate import find_peaks
from armicro.cascade.tile import find_cells, pad, whole_size
from armicro.errors import SourceError
from armicro.field import Pixels
from armicro.train.construct import fit_platt, recall_offset, set_calibration
from armicro.train.data import AnnotatedField
from armicro.train.fit import fast_arithmetic
from armicro.train.networks import LowResolution
from armicro.train.sample import LR_UM_PER_PX, BalancedSampler, TilePlan, draw_batch

# ---------------------------------------------------------------------------
# The location branch: trained after the LR classifier, whose backbone stays frozen.
#
# Since the backbone does not move, its stride-32 maps are computed once and kept (half
# precision); an epoch over them takes seconds. The target is soft: a cell of the map
# counts by its distance from the nearest lesion nucleus, so that the peak lies on the
# nucleus and a nucleus on a border between cells pulls both.

STRIDE_PX = 32
SIGMA_PX = 16.0
"""7.8 µm: about a nucleus."""
LESION_WEIGHT = 4.0
"""Of lesion cells in the loss: they are few."""


@dataclass(frozen=True, slots=True)
class LocationSettings:
    """How the branch is trained."""

    tiles: int = 2400
    tile_px: int = 256
    mosaic: float = 0.25
    epochs: int = 12
    batch: int = 32
    rate: float = 1e-3
    seed: int = 20213


def location_target(
    lesions_px: NDArray[np.float64], tile_px: int
) -> NDArray[np.float32]:
    """Return (h, w) 0-1: how surely a cell of the map holds a lesion nucleus.

    The cell nearest to a nucleus gets 1, its neighbours fall off as a Gaussian.

    >>> location_target(np.array([[48.0, 16.0]]), 96).argmax()
    np.int64(1)
    """
    cells = tile_px // STRIDE_PX
    centres = (np.arange(cells) + 0.5) * STRIDE_PX - 0.5
    target = np.zeros((cells, cells), np.float32)
    inside = ((lesions_px >= 0) & (lesions_px < tile_px)).all(axis=1)
    for x, y in lesions_px[inside]:
        squared = (centres[None, :] - x) ** 2 + (centres[:, None] - y) ** 2
        near = np.exp(-(squared - squared.min()) / (2 * SIGMA_PX**2))
        target = np.maximum(target, near.astype(np.float32))
    return target


@torch.no_grad()
def collect_maps(
    network: LowResolution,
    sampler: BalancedSampler,
    settings: LocationSettings,
    *,
    bfloat16: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """Return features (n, 2048, h, w) half precision and targets (n, h, w)."""
    network.eval()
    shift_um = settings.tile_px * LR_UM_PER_PX / 3
    mosaic, side = settings.mosaic, settings.tile_px
    plan = TilePlan(side, LR_UM_PER_PX, shift_um, by_cell=not mosaic, mosaic=mosaic)
    maps, targets = [], []
    starts = range(0, settings.tiles, 8)
    for start in tqdm(starts, desc="location maps", mininterval=10):
        rng = np.random.default_rng((settings.seed, start))
        batch = draw_batch(sampler, plan, 8, rng)
        tiles = torch.from_numpy(batch.tiles)
        with fast_arithmetic(tiles.device.type, bfloat16=bfloat16):
            maps.append(network.backbone(network.normalise(tiles)).half())
        targets += [location_target(places, plan.tile_px) for places in batch.places]
    return torch.cat(maps), torch.from_numpy(np.stack(targets))


def fit_location(
    network: LowResolution, maps: Tensor, targets: Tensor, settings: LocationSettings
) -> list[float]:
    """Train the branch in place; return the loss of each epoch."""
    torch.manual_seed(settings.seed)
    branch: nn.Module = network.location
    branch.train()
    optimiser = torch.optim.AdamW(branch.parameters(), settings.rate, weight_decay=1e-3)
    steps = settings.epochs * -(-len(maps) // settings.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.rate, total_steps=steps
    )
    history = []
    for _ in tqdm(range(settings.epochs), desc="location branch", mininterval=10):
        losses = []
        for part in torch.split(torch.randperm(len(maps)), settings.batch):
            loss = location_loss(branch(maps[part].float()), targets[part])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            losses.append(float(loss.detach()))
        history.append(float(np.mean(losses)))
    branch.eval()
    return history


def location_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of (n, 2, h, w) logits with soft targets (n, h, w)."""
    weight = 1 + targets * (LESION_WEIGHT - 1)
    return functional.binary_cross_entropy_with_logits(
        logits[:, 1] - logits[:, 0], targets, weight=weight
    )


# ---------------------------------------------------------------------------
# The LR network's two thresholds, set on whole tiles of validation fields.
#
# The gate stays at 0.5 and the head's offset moves, so that the probability of a tile
# can be read as it is; the height of a peak that makes a candidate goes into the
# manifest. Both are set for recall: what LR drops nobody sees again, what it lets
# through HR still judges.

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


def shrunk(field: AnnotatedField) -> tuple[Pixels, float, tuple[int, int, int]]:
    """Return a field at LR's scale, by how much it shrank, and its glass."""
    zoom = field.um_per_px / LR_UM_PER_PX
    area = cv2.INTER_AREA
    small = cv2.resize(field.pixels, None, fx=zoom, fy=zoom, interpolation=area)
    ground = find_cells(field.pixels, field.um_per_px).background
    return np.asarray(small, np.uint8), zoom, ground


def cut_field_tiles(
    fields: Sequence[AnnotatedField], *, per_field: int
) -> list[FieldTile]:
    """Return tiles at the corners of each field, those with a lesion at the rim out."""
    tiles = []
    for field in fields:
        small, zoom, ground = shrunk(field)
        image = pad(small, (TILE_PX, TILE_PX), ground)
        bottom, right = image.shape[0] - TILE_PX, image.shape[1] - TILE_PX
        corners = [(0, 0), (bottom, right), (0, right), (bottom, 0)][:per_field]
        lesions = field.points_px[field.lesion] * zoom
        for top, left in corners:
            places = lesions - (left, top)
            inside = ((places >= 0) & (places < TILE_PX)).all(axis=1)
            deep = ((places >= 16) & (places < TILE_PX - 16)).all(axis=1)
            if inside.any() and not deep.any():
                continue
            pixels = image[top : top + TILE_PX, left : left + TILE_PX]
            tiles.append(FieldTile(np.ascontiguousarray(pixels), places[deep]))
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
        "lr_tile_specificity": (
            float("nan") if wanted.all() else float((~passed[~wanted]).mean())
        ),
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


# ---------------------------------------------------------------------------
# Does the LR network say of a whole field what it says of its tiles?
#
# A convolution pads a tile's border with zeros where a whole field has neighbours, so
# the two can differ. The largest difference of the gate goes into the manifest: the
# cascade refuses ``lr_mode = "whole"`` where it is too large.

Gate = Callable[[Pixels], NDArray[np.float32]]
"""Pixels (n, h, w, 3) to the gate's probability (n, rows, columns)."""
_TILE_STRIDE_PX = 384


def gate_differences(
    gate: Gate, fields: Sequence[AnnotatedField]
) -> NDArray[np.float64]:
    """Return how far each window of the fields lies from its own tile."""
    gaps: list[float] = []
    for field in tqdm(fields, desc="whole fields", mininterval=10):
        small, _, ground = shrunk(field)
        height, width = (
            whole_size(n, tile_px=TILE_PX, stride_px=_TILE_STRIDE_PX)
            for n in small.shape[:2]
        )
        image = pad(small, (height, width), ground)
        whole = gate(image[None])[0]
        for row, column in np.ndindex(*whole.shape):
            y, x = row * _TILE_STRIDE_PX, column * _TILE_STRIDE_PX
            tile = np.ascontiguousarray(image[y : y + TILE_PX, x : x + TILE_PX])
            alone = float(gate(tile[None])[0, 0, 0])
            gaps.append(abs(alone - float(whole[row, column])))
    return np.array(gaps)

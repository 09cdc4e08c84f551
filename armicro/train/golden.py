"""Golden inputs and outputs of a set: phantom pictures and what the fp32 graphs say.

Drawn pictures only: no image of a data set enters the repository.
"""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray

from armicro.field import Pixels
from armicro.source.phantom import UM_PER_PX, paint_field
from armicro.train.export import run_onnx
from armicro.verdict import HR_TILE_PX

GOLDEN_SEEDS = (90210, 90211)
LR_TILE_PX, ROWS = 512, 30


def draw_golden() -> tuple[Pixels, Pixels, Pixels]:
    """Return 2 LR tiles, 4 HR tiles and the HR tiles of a slide's cells."""
    lr, cells = [], []
    for seed, stain in zip(GOLDEN_SEEDS, ("classic", "warm"), strict=True):
        side = 2 * LR_TILE_PX
        pixels, truth = paint_field(
            seed=seed, width_px=side, height_px=side, lesions=5, stain=stain
        )
        half = (LR_TILE_PX, LR_TILE_PX)
        lr.append(cv2.resize(pixels, half, interpolation=cv2.INTER_AREA))
        order = np.argsort(~truth.lesion, kind="stable")
        for index in order[:17]:
            centre = (truth.x_um[index] / UM_PER_PX, truth.y_um[index] / UM_PER_PX)
            square = (HR_TILE_PX, HR_TILE_PX)
            cells.append(cv2.getRectSubPix(pixels, square, centre))
    tiles = np.stack(cells).astype(np.uint8)
    chosen = tiles[[0, 16, 17, len(tiles) - 1]]
    return np.stack(lr).astype(np.uint8), chosen, tiles


def golden_arrays(models: Mapping[str, onnx.ModelProto]) -> dict[str, NDArray[Any]]:
    """Return the arrays of ``golden.npz``: inputs, and outputs of the fp32 graphs."""
    lr_tiles, hr_tiles, cells = draw_golden()
    lr = run_onnx(models["lr"], {"tiles": lr_tiles})
    hr = run_onnx(models["hr"], {"tiles": hr_tiles})
    slide = run_onnx(models["hr"], {"tiles": cells})
    order = np.argsort(-slide["probability"])
    features = np.zeros((2, ROWS, slide["features"].shape[1]), np.float32)
    full, short = order[:ROWS], order[len(order) // 2 :][:6]
    features[0, : len(full)] = slide["features"][full]
    features[1, : len(short)] = slide["features"][short]
    # Features keep three digits: they are inputs here, and the file stays small.
    features = features.astype(np.float16).astype(np.float32)
    rnn = run_onnx(models["rnn"], {"features": features})
    return {
        "lr_tiles": lr_tiles,
        "hr_tiles": hr_tiles,
        "rnn_features": features,
        "lr_probability": lr["probability"],
        "lr_location": lr["location"],
        "hr_probability": hr["probability"],
        "hr_features": hr["features"],
        "rnn_scores": rnn["scores"],
    }

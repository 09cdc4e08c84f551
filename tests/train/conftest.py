"""A tiny data folder of drawn cells: dark discs are lesions, light ones are not."""

import csv
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

# Several threads on cores that others use too wait for one another.
torch.set_num_threads(1)

FIELD_COLUMNS = ("image", "width", "height", "um_per_px", "slide_group", "split")
CELL_COLUMNS = ("image", "cell_id", "bethesda", "x_px", "y_px")


def paint(centres: list[tuple[int, int, bool]], size: tuple[int, int]) -> np.ndarray:
    image = np.full((size[1], size[0], 3), 235, np.uint8)
    for x, y, lesion in centres:
        cv2.circle(image, (x, y), 22, (190, 200, 180), -1)
        cv2.circle(image, (x, y), 12 if lesion else 5, (60, 40, 70), -1)
    return image


def write_csv(
    path: Path, columns: tuple[str, ...], rows: Sequence[tuple[object, ...]]
) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(rows)


@pytest.fixture(scope="session")
def lab_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    fields, cells = [], []
    (root / "lab" / "images").mkdir(parents=True)
    for number in range(6):
        name = f"field{number}.png"
        centres = [(60, 60, True), (180, 70, False), (70, 170, False), (190, 180, True)]
        image = paint(centres, (256, 240))
        cv2.imwrite(str(root / "lab" / "images" / name), image)
        split = "val" if number > 3 else "train"
        fields.append((name, 256, 240, 0.27, f"group{number}", split))
        cells += [
            (name, i, "HSIL" if lesion else "NILM", x, y)
            for i, (x, y, lesion) in enumerate(centres)
        ]
    write_csv(root / "lab" / "fields.csv", FIELD_COLUMNS, fields)
    write_csv(root / "lab" / "cells.csv", CELL_COLUMNS, cells)
    (root / "crops").mkdir()
    crops = []
    for number in range(24):
        lesion = number % 2 == 0
        file = f"crop{number}.png"
        cv2.imwrite(str(root / "crops" / file), paint([(30, 30, lesion)], (60, 64)))
        crops.append((file, "big" if lesion else "small", int(lesion), f"case{number}"))
    write_csv(
        root / "crops" / "cells.csv", ("file", "class", "abnormal", "case_id"), crops
    )
    return root

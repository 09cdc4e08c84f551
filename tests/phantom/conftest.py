"""Synthetic annotated fields: each cell a disc whose colour says which one it is."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

GLASS = 240
UM_PER_PX = 0.27
"""Not the slides' scale, so that resampling shows."""

Material = tuple[Path, Path]
"""FIELDS.csv and CELLS.csv."""


def colour_of(field: int, cell: int, *, lesion: bool) -> tuple[int, int, int]:
    """RGB of a cell's disc: red says lesion, green and blue which one."""
    return (200 if lesion else 20, 20 + 12 * field, 20 + 40 * cell)


@pytest.fixture
def make_material(tmp_path: Path) -> Callable[..., Material]:
    """Write fields of 700 x 620 px: ``lesions`` says how many of six cells are."""

    def make(lesions: tuple[int, ...] = (0, 2, 3, 0, 1, 6)) -> Material:
        (tmp_path / "images").mkdir()
        fields, cells = [], []
        for index, count in enumerate(lesions):
            name = f"field{index}.bmp"
            shape = (620, 700, 3)
            noise = np.random.default_rng(index).integers(-1, 2, shape)
            picture = (GLASS + noise).astype(np.uint8)
            for cell in range(6):
                x, y = 110 + 240 * (cell % 3), 150 + 320 * (cell // 3)
                lesion = cell < count
                colour = colour_of(index, cell, lesion=lesion)
                cv2.circle(picture, (x, y), 20, colour[::-1], -1)
                kind = "HSIL" if lesion else "NILM"
                cells.append((name, kind, x, y))
            cv2.imwrite(str(tmp_path / "images" / name), picture)
            split = "val" if index == 5 else "train"
            fields.append((name, UM_PER_PX, "pink", split))
        tables = (tmp_path / "fields.csv", tmp_path / "cells.csv")
        _write(tables[0], ("image", "um_per_px", "slide_group", "split"), fields)
        _write(tables[1], ("image", "bethesda", "x_px", "y_px"), cells)
        return tables

    return make


def _write(
    path: Path, header: tuple[str, ...], rows: Sequence[tuple[object, ...]]
) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])

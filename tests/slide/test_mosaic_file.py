"""Tiles on disk come back as they were, and a foreign file is refused."""

import sqlite3
from pathlib import Path

import numpy as np
import pytest

from armicro.errors import SourceError
from armicro.mosaic import MosaicFile, Tile
from armicro.pyramid import TILE_PX
from tests.slide.world import colours_at


def tile_of(x_um: float) -> Tile:
    rank = np.arange(TILE_PX, dtype=np.uint16)[:, None] + np.zeros(TILE_PX, np.uint16)
    return Tile(colours_at(x_um, 0.0, (TILE_PX, TILE_PX)), rank + np.uint16(30_720))


def test_a_tile_comes_back_its_ranks_exactly(tmp_path: Path) -> None:
    spots = [(3, -7), (-1, 0), (0, 0)]
    with MosaicFile(tmp_path / "m.sqlite") as mosaic:
        for at, spot in enumerate(spots):
            mosaic.write(spot, tile_of(at))
    with MosaicFile(tmp_path / "m.sqlite") as mosaic:
        assert mosaic.spots() == spots
        for at, spot in enumerate(spots):
            tile = mosaic.read(spot)
            assert tile is not None
            assert np.array_equal(tile.rank, tile_of(at).rank)
            wrong = tile.pixels.astype(int) - tile_of(at).pixels
            assert np.sqrt(np.mean(wrong**2)) < 1.5
        assert mosaic.read((9, 9)) is None


def test_writing_a_tile_many_times_hardly_changes_it(tmp_path: Path) -> None:
    with MosaicFile(tmp_path / "m.sqlite") as mosaic:
        tile = tile_of(0)
        for _ in range(10):
            mosaic.write((0, 0), tile)
            again = mosaic.read((0, 0))
            assert again is not None
            tile = again
    wrong = tile.pixels.astype(int) - tile_of(0).pixels
    assert np.sqrt(np.mean(wrong**2)) < 2


def test_the_scale_is_fixed_by_the_first(tmp_path: Path) -> None:
    with MosaicFile(tmp_path / "m.sqlite") as mosaic:
        assert mosaic.um_per_px is None
        assert mosaic.fix_scale(0.25) == 0.25
        assert mosaic.fix_scale(0.5) == 0.25


def test_a_foreign_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "m.sqlite"
    path.write_bytes(b"no database" * 99)
    with pytest.raises(SourceError, match=r"damaged or not a mosaic .* move it away"):
        MosaicFile(path)
    assert path.read_bytes() == b"no database" * 99


def test_a_damaged_tile_is_told(tmp_path: Path) -> None:
    with MosaicFile(tmp_path / "m.sqlite") as mosaic:
        mosaic.write((0, 0), tile_of(0))
    with sqlite3.connect(tmp_path / "m.sqlite") as database:
        database.execute("UPDATE tiles SET jpeg = x'00'")
    database.close()
    with (
        MosaicFile(tmp_path / "m.sqlite") as mosaic,
        pytest.raises(SourceError, match="tile"),
    ):
        mosaic.read((0, 0))

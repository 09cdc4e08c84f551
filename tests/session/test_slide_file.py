"""A session's fields become a slide file that OpenSlide opens, in bounded memory."""

import json
import tracemalloc
from pathlib import Path

import numpy as np
import openslide
import pytest

from armicro.mosaic import MOSAIC
from armicro.report import Finding
from armicro.session.output import findings_geojson
from armicro.session.record import MapCard
from armicro.session.slide_file import Stitcher, write_slide
from armicro.slide.journal import Journal
from tests.slide.world import UM_PER_PX, colours_at, field_at, walk


def kept(folder: Path) -> MapCard | None:
    with Journal(folder / "session.sqlite") as journal:
        return write_slide(folder, journal)


def test_openslide_shows_the_slide_that_the_fields_were_cut_from(
    tmp_path: Path,
) -> None:
    stitcher = Stitcher(tmp_path / MOSAIC)
    for field in walk(4, 3, size_px=(640, 512)):
        stitcher.update(field)
    stitcher.close()
    card = kept(tmp_path)
    assert card is not None
    assert (card.x_um, card.y_um, card.um_per_px) == (0.0, 0.0, UM_PER_PX)
    with openslide.OpenSlide(str(tmp_path / card.file)) as slide:
        assert slide.level_count >= 2
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(UM_PER_PX)
        size = 3 * 512 + 630, 2 * 409 + 500
        seen = np.asarray(slide.read_region((0, 0), 0, size).convert("RGB"), int)
        beyond = np.subtract(slide.dimensions, size)
    wrong = seen[2:, 2:] - colours_at(0.0, 0.0, size)[2:, 2:]
    assert 10 * np.log10(255**2 / np.mean(wrong**2)) > 33
    # The last field reaches a little further; what nobody saw is not there.
    assert (beyond >= 0).all()
    assert (beyond <= 16).all()


def test_a_slide_may_begin_left_of_the_first_field(tmp_path: Path) -> None:
    stitcher = Stitcher(tmp_path / MOSAIC)
    stitcher.update(field_at(0.0, 0.0))
    stitcher.update(field_at(-300.0, -200.0, seq=1))
    stitcher.close()
    card = kept(tmp_path)
    assert card is not None
    x_um, y_um = -250.0, -150.0
    place = (
        round((x_um - card.x_um) / card.um_per_px),
        round((y_um - card.y_um) / card.um_per_px),
    )
    with openslide.OpenSlide(str(tmp_path / card.file)) as slide:
        seen = np.asarray(slide.read_region(place, 0, (64, 64)).convert("RGB"), int)
        beside = round((50.0 - card.x_um) / card.um_per_px), place[1]
        unseen = np.asarray(slide.read_region(beside, 0, (1, 1)))[0, 0]
    assert unseen[:3] == pytest.approx(card.background_rgb, abs=3)
    assert np.abs(seen - colours_at(x_um, y_um, (64, 64))).mean() < 6
    finding = Finding(x_um + 8, y_um + 8, 16.0, 16.0, 0.9, 0.9, 1)
    shapes = json.loads(
        findings_geojson(
            [finding],
            slide="live",
            pixel_xy_um=(card.um_per_px, card.um_per_px),
            corner_xy_um=(card.x_um, card.y_um),
        )
    )
    ring = shapes["features"][0]["geometry"]["coordinates"][0]
    assert ring[0] == [place[0], place[1]]
    assert ring[2] == [place[0] + 64, place[1] + 64]


def test_a_long_way_needs_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    peaks = []
    for columns in (8, 24):
        folder = tmp_path / str(columns)
        folder.mkdir()
        tracemalloc.start()
        stitcher = Stitcher(folder / MOSAIC, held=8)
        for field in walk(columns, 1, size_px=(512, 512)):
            stitcher.update(field)
            stitcher.write(4)
        stitcher.close()
        kept(folder)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]
    assert peaks[1] < 40e6


def test_what_fell_out_of_memory_is_gone_on_with(tmp_path: Path) -> None:
    results = []
    for held in (1, 64):
        path = tmp_path / str(held)
        path.mkdir()
        stitcher = Stitcher(path / MOSAIC, held=held)
        for field in walk(3, 2, size_px=(640, 512)):
            stitcher.update(field)
        stitcher.close()
        card = kept(path)
        assert card is not None
        with openslide.OpenSlide(str(path / card.file)) as slide:
            size = slide.dimensions
            seen = slide.read_region((0, 0), 0, size).convert("RGB")
        results.append(np.asarray(seen, int))
    assert np.abs(results[0] - results[1]).mean() < 1.0


def test_a_slide_is_assembled_anew_only_when_more_was_stitched(tmp_path: Path) -> None:
    stitcher = Stitcher(tmp_path / MOSAIC)
    stitcher.update(field_at(0.0, 0.0))
    stitcher.close()
    assert kept(tmp_path) is not None
    first = (tmp_path / "slide.tif").stat()
    assert kept(tmp_path) is not None
    assert (tmp_path / "slide.tif").stat().st_mtime_ns == first.st_mtime_ns
    stitcher = Stitcher(tmp_path / MOSAIC)
    stitcher.update(field_at(300.0, 0.0, seq=1))
    stitcher.close()
    assert kept(tmp_path) is not None
    assert (tmp_path / "slide.tif").stat().st_size > first.st_size


def test_a_session_without_a_mosaic_has_no_slide(tmp_path: Path) -> None:
    assert kept(tmp_path) is None
    Stitcher(tmp_path / MOSAIC).close()
    assert kept(tmp_path) is None

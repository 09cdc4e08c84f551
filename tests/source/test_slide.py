"""The slide source on slides whose pixels say where they lie."""

import contextlib
import math
from collections.abc import Callable, Container
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from armicro.errors import SourceError
from armicro.field import Field, Pixels
from armicro.rig import Camera, Rig, Scan
from armicro.source.scan import count_fields
from armicro.source.slide import SlideSource

Draw = Callable[[int, int], Pixels]
Write = Callable[..., Path]
CAMERA = Camera(width_px=300, height_px=200, um_per_px=0.25)
RIG = Rig(camera=CAMERA)


def read_all(
    path: Path,
    rig: Rig = RIG,
    *,
    um_per_px: float | None = None,
    region_px: tuple[int, int, int, int] | None = None,
    done: Container[int] = (),
) -> list[Field]:
    with contextlib.closing(
        SlideSource(path, rig, um_per_px=um_per_px, region_px=region_px)
    ) as source:
        return list(source.fields(done=done))


def place_px(field: Field, um_per_px: float = 0.25) -> tuple[int, int]:
    assert field.place is not None
    return round(field.place.x_um / um_per_px), round(field.place.y_um / um_per_px)


@pytest.mark.parametrize("path", ["serpentine", "raster", "random"])
def test_every_field_shows_what_lies_at_its_place(
    write_slide: Write, coordinate_pixels: Draw, path: str
) -> None:
    pixels = coordinate_pixels(900, 700)
    rig = Rig(camera=CAMERA, scan=Scan(path=path))  # type: ignore[arg-type]
    fields = read_all(write_slide(pixels), rig)
    assert len(fields) == count_fields((900, 700), (300, 200), overlap=0.1) == 16
    seen = np.zeros((700, 900), bool)
    for field in fields:
        x, y = place_px(field)
        np.testing.assert_array_equal(field.pixels, pixels[y : y + 200, x : x + 300])
        seen[y : y + 200, x : x + 300] = True
    assert seen.all()
    assert [field.seq for field in fields] == list(range(16))


def test_hidden_place_changes_nothing_else(
    write_slide: Write, coordinate_pixels: Draw
) -> None:
    path = write_slide(coordinate_pixels(900, 700))
    known = read_all(path, Rig(camera=CAMERA))
    hidden = read_all(path, Rig(camera=CAMERA, scan=Scan(hide_place=True)))
    assert [field.place for field in hidden] == [None] * len(known)
    for a, b in zip(known, hidden, strict=True):
        np.testing.assert_array_equal(a.pixels, b.pixels)


def test_done_fields_are_left_out_and_the_others_do_not_change(
    write_slide: Write, coordinate_pixels: Draw
) -> None:
    path = write_slide(coordinate_pixels(900, 700))
    rig = Rig(camera=CAMERA, scan=Scan(noise=0.02, defocus_um=2, path="random"))
    whole = {field.seq: field for field in read_all(path, rig)}
    rest = read_all(path, rig, done={0, 1, 5, 9})
    assert {field.seq for field in rest} == set(whole) - {0, 1, 5, 9}
    for field in rest:
        np.testing.assert_array_equal(field.pixels, whole[field.seq].pixels)


def test_dropped_fields_do_not_arrive_and_keep_their_numbers(
    write_slide: Write, coordinate_pixels: Draw
) -> None:
    path = write_slide(coordinate_pixels(900, 700))
    rig = Rig(camera=CAMERA, scan=Scan(dropped=0.5, seed=3))
    seqs = [field.seq for field in read_all(path, rig)]
    assert 3 <= len(seqs) <= 13
    assert seqs == sorted(seqs)
    assert seqs == [field.seq for field in read_all(path, rig)]
    with contextlib.closing(SlideSource(path, rig)) as source:
        # What never comes is not waited for: a replay compares planned with kept.
        assert source.card.fields_planned == len(seqs)


@pytest.mark.parametrize("um_per_px", [0.3, 0.5, 0.6, 0.97])
def test_coarser_field_is_the_area_mean_at_exactly_its_place(
    write_slide: Write, um_per_px: float
) -> None:
    # A slide that is a plane: the mean over any area is the value at its middle. The
    # noise makes rounding unbiased.
    y, x = np.mgrid[:700, :1000]
    noise = np.random.default_rng(0).uniform(-4, 4, (700, 1000, 3))
    plane = np.stack((x / 5, y / 5, (x + y) / 10), axis=-1) + 10 + noise
    path = write_slide(np.rint(plane).astype(np.uint8), levels=2)
    camera = Camera(width_px=200, height_px=150, um_per_px=um_per_px)
    for field in read_all(path, Rig(camera=camera))[::3]:
        assert field.place is not None
        assert field.um_per_px == um_per_px
        height, width = field.pixels.shape[:2]
        left = field.place.x_um + (np.arange(width) + 0.5) * um_per_px
        top = field.place.y_um + (np.arange(height) + 0.5) * um_per_px
        # The middle of a slide pixel i is at (i + 0.5) · 0.25 µm.
        across = field.pixels[..., 0].mean(axis=0) - (left / 0.25 - 0.5) / 5 - 10
        down = field.pixels[..., 1].mean(axis=1) - (top / 0.25 - 0.5) / 5 - 10
        for error in (across, down):
            # A level is five slide pixels: within half a pixel at either end. The
            # coarser level was rounded up once more.
            first, last = (part.mean() for part in np.array_split(error, 2))
            assert -0.1 < first < 0.15
            assert abs(first - last) < 0.1


def test_finer_field_than_the_slide_is_enlarged_in_place(write_slide: Write) -> None:
    y, x = np.mgrid[:400, :600]
    plane = np.rint(np.stack((x / 3, y / 3, x * 0), axis=-1)).astype(np.uint8)
    field = read_all(write_slide(plane, um_per_px=0.5), Rig(camera=CAMERA))[5]
    assert field.place is not None
    assert field.um_per_px == 0.25
    middle = field.place.x_um + (np.arange(300) + 0.5) * 0.25
    error = field.pixels[5, :, 0] - (middle / 0.5 - 0.5) / 3
    assert np.abs(error[1:-1]).max() < 0.8


def test_slide_too_coarse_for_the_cascade_keeps_its_scale(
    write_slide: Write, coordinate_pixels: Draw
) -> None:
    path = write_slide(coordinate_pixels(400, 300), um_per_px=1.5)
    assert read_all(path)[0].um_per_px == pytest.approx(1.5)


def test_pixels_that_are_not_square_come_out_square(write_slide: Write) -> None:
    picture = np.full((400, 400, 3), 255, np.uint8)
    # 100 µm wide, 50 µm high: drawn 200 px by 200 px.
    picture[100:300, 100:300] = 0
    path = write_slide(picture, um_per_px=(0.5, 0.25))
    camera = Camera(width_px=800, height_px=400, um_per_px=0.25)
    (field,) = read_all(path, Rig(camera=camera))
    assert field.pixels.shape == (400, 800, 3)
    dark = field.pixels[..., 0] < 128
    assert dark[200].sum() * 0.25 == pytest.approx(100, abs=0.3)
    assert dark[:, 400].sum() * 0.25 == pytest.approx(50, abs=0.3)


def test_region_is_in_slide_pixels_and_nothing_beyond_it_is_read(
    write_slide: Write, coordinate_pixels: Draw
) -> None:
    path = write_slide(coordinate_pixels(900, 700))
    places = np.array(
        [place_px(field) for field in read_all(path, region_px=(100, 200, 500, 400))]
    )
    assert places.min(axis=0).tolist() == [100, 200]
    assert places.max(axis=0).tolist() == [600 - 300, 600 - 200]


def test_slide_smaller_than_a_field_gives_one_field_of_its_size(
    write_slide: Write, coordinate_pixels: Draw
) -> None:
    (field,) = read_all(write_slide(coordinate_pixels(250, 150)))
    assert field.pixels.shape == (150, 250, 3)
    with contextlib.closing(
        SlideSource(write_slide(coordinate_pixels(250, 150)), RIG)
    ) as source:
        assert (source.card.width_px, source.card.height_px) == (250, 150)


def test_region_outside_the_slide_is_refused(
    write_slide: Write, coordinate_pixels: Draw
) -> None:
    path = write_slide(coordinate_pixels(400, 300))
    with pytest.raises(SourceError, match="outside"):
        read_all(path, region_px=(400, 0, 50, 50))


def test_slide_without_a_scale_is_refused_and_the_option_named(
    write_slide: Write, coordinate_pixels: Draw
) -> None:
    path = write_slide(coordinate_pixels(400, 300), um_per_px=None)
    with pytest.raises(SourceError, match="--um-per-px"):
        read_all(path)
    assert read_all(path, um_per_px=0.25)[0].um_per_px == 0.25


def test_unreadable_tile_marks_its_fields_and_the_run_goes_on(
    write_slide: Write, coordinate_pixels: Draw
) -> None:
    pixels = coordinate_pixels(1600, 600)
    path = write_slide(pixels, compression="deflate")
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        at, count = page.dataoffsets[0], page.databytecounts[0]
    data = bytearray(path.read_bytes())
    data[at : at + count] = b"\xa5" * count
    path.write_bytes(data)
    fields = read_all(path)
    bad = [field for field in fields if field.fault]
    assert len(fields) == count_fields((1600, 600), (300, 200), overlap=0.1)
    assert 0 < len(bad) < len(fields) / 2
    assert all(field.fault.startswith("unreadable: ") for field in bad)
    for field in set(fields) - set(bad):
        x, y = place_px(field)
        np.testing.assert_array_equal(field.pixels, pixels[y : y + 200, x : x + 300])


def test_stamp_of_a_field_is_the_injected_clock(
    write_slide: Write, coordinate_pixels: Draw
) -> None:
    path = write_slide(coordinate_pixels(400, 300))
    times = iter(range(1000))
    with contextlib.closing(SlideSource(path, RIG, clock=lambda: next(times))) as s:
        assert [f.taken_ns for f in s.fields()] == list(range(4))


def test_turned_field_shows_the_slide_turned_about_its_middle(
    write_slide: Write,
) -> None:
    pixels = np.full((900, 1200, 3), 255, np.uint8)
    cv2.circle(pixels, (700, 450), 6, (0, 0, 0), -1)
    path = write_slide(pixels)
    camera = Camera(width_px=601, height_px=401, um_per_px=0.25)
    # One field, centred at (600, 450), which the spot lies 100 px to the right of.
    region = (300, 250, 601, 401)
    rig = Rig(camera=camera, scan=Scan(rotation_deg=30))
    (field,) = read_all(path, rig, region_px=region)
    y, x = (v.mean() for v in np.nonzero(field.pixels[..., 0] < 128))
    angle = np.deg2rad(30)
    assert x - 300 == pytest.approx(100 * np.cos(angle), abs=0.3)
    assert y - 200 == pytest.approx(-100 * np.sin(angle), abs=0.3)
    assert place_px(field) == (300, 250)


def test_overview_shows_the_region_small(write_slide: Write) -> None:
    pixels = np.full((1600, 2400, 3), 255, np.uint8)
    pixels[800:, 1200:] = (200, 40, 90)
    path = write_slide(pixels, levels=4)
    with contextlib.closing(
        SlideSource(path, RIG, region_px=(800, 0, 1600, 1600))
    ) as source:
        overview = source.card.overview
    assert overview is not None
    assert 4 <= overview.um_per_px <= 16
    assert (overview.x_um, overview.y_um) == (200.0, 0.0)
    height, width = overview.pixels.shape[:2]
    assert width * overview.um_per_px == pytest.approx(400, abs=10)
    assert height * overview.um_per_px == pytest.approx(400, abs=10)
    assert overview.pixels[-2, -2].tolist() == pytest.approx([200, 40, 90], abs=2)
    assert overview.pixels[2, 2].tolist() == [255, 255, 255]


@pytest.mark.data
def test_real_slide_is_read_as_openslide_reads_it(data: Path) -> None:
    path = data / "wsi" / "cmu-1-small-region.svs"
    openslide = pytest.importorskip("openslide")
    camera = Camera(width_px=600, height_px=500, um_per_px=0.499)
    fields = read_all(path, Rig(camera=camera))
    assert len(fields) == count_fields((2220, 2967), (600, 500), overlap=0.1)
    with openslide.OpenSlide(path) as slide:
        for field in fields[::7]:
            x, y = place_px(field, 0.499)
            expected = np.asarray(slide.read_region((x, y), 0, (600, 500)))[..., :3]
            assert np.abs(field.pixels.astype(int) - expected).max() <= 4


@pytest.mark.parametrize(
    ("um_per_px", "given", "says"),
    [
        (0.025, None, "0.025 µm by the file"),
        (0.00025, None, "by the file"),
        (1e-5, None, "by the file"),
        (250.0, None, "by the file"),
        ((0.25, 0.025), None, "by the file"),
        ((0.25, 0.59), None, "0.25×0.59 µm by the file"),
        (0.25, 0.025, "0.025 µm by --um-per-px"),
        (0.25, math.nan, "by --um-per-px"),
        (0.25, -0.25, "does not say its scale"),
        (0.25, math.inf, "by --um-per-px"),
    ],
)
def test_scale_that_no_objective_gives_is_refused_and_the_option_named(
    write_slide: Write,
    coordinate_pixels: Draw,
    um_per_px: float | tuple[float, float],
    given: float | None,
    says: str,
) -> None:
    path = write_slide(coordinate_pixels(400, 300), um_per_px=um_per_px)
    with pytest.raises(SourceError, match=says) as refused:
        read_all(path, um_per_px=given)
    assert "--um-per-px" in str(refused.value)
    assert read_all(path, um_per_px=0.25)[0].um_per_px == 0.25


def test_scanned_part_is_what_viewers_show(write_slide: Write) -> None:
    """Tiles that are not in the file, as scanners leave out empty glass."""
    path = write_slide(np.full((768, 1024, 3), 200, np.uint8))
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tiff:
        counts = tiff.pages.first.tags["TileByteCounts"]
        offsets = tiff.pages.first.tags["TileOffsets"]
        for tag in (offsets, counts):
            size = {3: 2, 4: 4}[int(tag.dtype)]
            for row in range(6):
                for column in range(8):
                    if row < 1 or column < 2:
                        at = tag.valueoffset + (row * 8 + column) * size
                        content[at : at + size] = bytes(size)
    path.write_bytes(content)
    with contextlib.closing(SlideSource(path, RIG)) as source:
        assert source.card.shown_xywh_px == (256, 128, 768, 640)
        assert source.card.pixel_xy_um == pytest.approx((0.25, 0.25))

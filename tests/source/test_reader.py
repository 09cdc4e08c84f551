"""Opening slide files: formats, plug-ins, and what is not a slide."""

import contextlib
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from armicro.errors import SourceError
from armicro.field import Pixels
from armicro.rig import Camera, Rig
from armicro.source.reader import missing_bytes, open_reader
from armicro.source.slide import SlideSource
from tests.mutants import mutant

Draw = Callable[[int, int], Pixels]
Write = Callable[..., Path]
RIG = Rig(camera=Camera(width_px=200, height_px=100, um_per_px=0.25))

PLUG_IN = """
from PIL import Image

class Reader:
    level_dimensions = ((600, 400),)
    level_downsamples = (1.0,)
    properties = {
        "openslide.mpp-x": "0.25", "openslide.mpp-y": "0.25",
        "openslide.bounds-x": "100", "openslide.bounds-y": "50",
        "openslide.bounds-width": "400", "openslide.bounds-height": "200",
        "openslide.background-color": "0A141E",
    }

    def __init__(self, path):
        if "bad" in path:
            raise RuntimeError("wrong magic number")

    def read_region(self, location, level, size):
        image = Image.new("RGBA", size, (200, 100, 50, 255))
        # The left half of the slide was not scanned.
        x = max(0, min(size[0], 300 - location[0]))
        image.paste((0, 0, 0, 0), (0, 0, x, size[1]))
        return image

    def close(self):
        pass
"""


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package that reads files ending in .zzz."""
    site = tmp_path / "site"
    info = site / "zzz_reader-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "zzz_reader.py").write_text(PLUG_IN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: zzz-reader\n")
    (info / "entry_points.txt").write_text(
        "[armicro.slide_reader]\nzzz = zzz_reader:Reader\n"
    )
    monkeypatch.syspath_prepend(site)


def test_plugged_in_reader_is_found_by_suffix_and_its_bounds_are_scanned(
    plug_in: None, tmp_path: Path
) -> None:
    path = tmp_path / "slide.zzz"
    path.touch()
    with contextlib.closing(SlideSource(path, RIG)) as source:
        fields = list(source.fields())
    places = [field.place for field in fields]
    assert all(place is not None for place in places)
    corners = [(p.x_um / 0.25, p.y_um / 0.25) for p in places if p is not None]
    assert min(x for x, _ in corners) == 100
    assert max(x for x, _ in corners) + 200 == 500
    assert (min(y for _, y in corners), max(y for _, y in corners) + 100) == (50, 250)
    # Transparent pixels show the background that the slide names.
    assert fields[0].pixels[0, 0].tolist() == [10, 20, 30]
    right = max(fields, key=lambda f: f.place.x_um if f.place else 0)
    assert right.pixels[0, -1].tolist() == [200, 100, 50]


def test_failing_plug_in_is_a_source_error(plug_in: None, tmp_path: Path) -> None:
    path = tmp_path / "bad.zzz"
    path.touch()
    with pytest.raises(SourceError, match="wrong magic number"):
        open_reader(path)


def write_kfb(path: Path, pixels: Pixels) -> None:
    """Write the KFB file that kfbslide reads: header, macro, tiles, index."""
    height, width = pixels.shape[:2]

    def jpeg(part: Pixels) -> bytes:
        quality = [cv2.IMWRITE_JPEG_QUALITY, 98]
        return cv2.imencode(".jpg", part[..., ::-1], quality)[1].tobytes()

    corners = [(x, y) for y in range(0, height, 256) for x in range(0, width, 256)]
    tiles = [jpeg(pixels[y : y + 256, x : x + 256]) for x, y in corners]
    macro = jpeg(pixels[::8, ::8])
    header_at, section_at = 4, 4 + 96 + 4
    macro_at = section_at + 4 + 44 + 4
    tiles_at = macro_at + len(macro)
    index_at = tiles_at + sum(map(len, tiles))
    header, section = bytearray(96), bytearray(44)
    for code, at, value in (
        ("4s", 0, b"KFB"),
        ("f", 8, 1.6),
        ("I", 12, len(tiles)),
        ("I", 16, height),
        ("I", 20, width),
        ("I", 24, 40),
        ("4s", 28, b"JPEG"),
        ("I", 48, section_at),
        ("Q", 56, index_at + 64 * len(tiles)),
        ("Q", 64, index_at),
        ("f", 72, 0.25),
        ("I", 84, 256),
    ):
        struct.pack_into("<" + code, header, at, value)
    for at, value in ((16, len(macro)), (20, macro_at - section_at)):
        struct.pack_into("<I", section, at, value)
    index = b"".join(
        struct.pack(
            "<4xIIIIf8xI28x",
            *(x, y, min(256, width - x), min(256, height - y), 40.0, len(tile)),
        )
        for (x, y), tile in zip(corners, tiles, strict=True)
    )
    assert header_at + len(header) + 4 == section_at
    path.write_bytes(
        b"\xf1\x01\xee\xee" + header + b"\xff\x01\xee\xee"
        b"\xf1\x02\xee\xee"
        + section
        + b"\xff\x02\xee\xee"
        + macro
        + b"".join(tiles)
        + index
    )


def test_kfb_slide_is_read(tmp_path: Path) -> None:
    pytest.importorskip("kfbslide", reason="kfbslide is not installed")
    y, x = np.mgrid[:500, :700]
    pixels = np.stack((x / 3, y / 3, (x + y) / 6), axis=-1).astype(np.uint8)
    path = tmp_path / "slide.kfb"
    write_kfb(path, pixels)
    with contextlib.closing(SlideSource(path, RIG)) as source:
        fields = list(source.fields())
    assert len(fields) == 4 * 6
    for field in fields:
        assert field.place is not None
        assert not field.fault
        left, top = round(field.place.x_um / 0.25), round(field.place.y_um / 0.25)
        expected = pixels[top : top + 100, left : left + 200].astype(int)
        assert np.abs(field.pixels - expected).max() <= 4


def test_damaged_kfb_is_a_source_error(tmp_path: Path) -> None:
    pytest.importorskip("kfbslide", reason="kfbslide is not installed")
    path = tmp_path / "slide.kfb"
    path.write_bytes(b"not a slide" * 200)
    with pytest.raises(SourceError, match="KFB"):
        open_reader(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        (b"", "not a slide"),
        (b"hello, this is no slide" * 99, "not a slide"),
    ],
)
def test_what_is_not_a_slide_is_refused(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "slide.svs"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=message):
        open_reader(path)
    with pytest.raises(SourceError, match="a folder"):
        open_reader(tmp_path)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_truncated_slide_is_refused(
    write_slide: Write, coordinate_pixels: Draw, share: float
) -> None:
    path = write_slide(coordinate_pixels(900, 700), levels=2)
    assert missing_bytes(path) == 0
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(SourceError, match=r"truncated|damaged|not a slide"):
        open_reader(path)


@pytest.mark.data
@pytest.mark.parametrize("share", [0.1, 0.6, 0.99])
def test_truncated_real_slide_is_refused(
    data: Path, tmp_path: Path, share: float
) -> None:
    whole = (data / "wsi" / "cmu-1-small-region.svs").read_bytes()
    path = tmp_path / "slide.svs"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(SourceError, match=r"truncated|damaged|not a slide"):
        open_reader(path)


def deep(pixels: Pixels, bits: int) -> NDArray[np.uint16]:
    """Bits of light in pixels of 16."""
    return np.asarray(pixels.astype(np.uint16) << np.uint16(bits - 8), np.uint16)


def write_tiled(path: Path, data: NDArray[np.generic], **how: Any) -> None:
    """Write one tiled page at 0.25 µm/px."""
    options = {"tile": (128, 128), "photometric": "rgb", "metadata": None, **how}
    tifffile.imwrite(
        path, data, resolution=(4e4, 4e4), resolutionunit="CENTIMETER", **options
    )


def planes(pixels: Pixels) -> Pixels:
    """(3, height, width): each colour a plane."""
    return np.ascontiguousarray(np.moveaxis(pixels, 2, 0))


GLASS = np.full((300, 420, 3), (230, 235, 240), np.uint8)
GLASS[60:140, 90:200] = (120, 60, 150)
FOUR = np.dstack([GLASS, np.full((300, 420, 1), 255, np.uint8)])
TELLING: dict[str, tuple[NDArray[np.generic], dict[str, Any], str]] = {
    "three grey pages": (
        planes(GLASS),
        {"photometric": "minisblack", "ome": True, "metadata": {"axes": "CYX"}},
        "3 grey pages",
    ),
    "one grey page": (GLASS[..., 0], {"photometric": "minisblack"}, "grey"),
    "10 bits in 16": (deep(GLASS, 10), {}, "10 of its 16 bits"),
    "12 bits in 16": (deep(GLASS, 12), {}, "12 of its 16 bits"),
    "14 bits in 16": (deep(GLASS, 14), {}, "14 of its 16 bits"),
    "floats": (GLASS.astype(np.float32) / 255, {}, "floating-point"),
    "signed": (GLASS.astype(np.int16), {}, "signed"),
    "32 bits": (GLASS.astype(np.uint32), {}, "32 bits"),
    "1 bit": (GLASS[..., 0] > 128, {"photometric": "minisblack"}, "1 bit"),
    "CMYK": (FOUR, {"photometric": "separated"}, "inks"),
    "a fourth colour": (FOUR, {"extrasamples": ["unspecified"]}, "4 channels"),
    "no tiles": (GLASS, {"tile": None}, "without tiles"),
    "WebP": (GLASS, {"compression": "webp"}, "compressed with WebP"),
    "JPEG 2000": (GLASS, {"compression": "jpeg2000"}, "compressed with JPEG 2000"),
    "JPEG XL": (GLASS, {"compression": "jpegxl"}, "compressed with JPEG XL"),
    "LERC": (GLASS, {"compression": "lerc"}, "compressed with LERC"),
}


@pytest.mark.parametrize("kind", TELLING)
def test_what_would_be_read_wrongly_is_refused_by_name(
    kind: str, tmp_path: Path
) -> None:
    data, how, says = TELLING[kind]
    path = tmp_path / "slide.tif"
    write_tiled(path, data, **how)
    with pytest.raises(SourceError, match=says) as refused:
        SlideSource(path, RIG)
    assert "8-bit RGB pyramid" in str(refused.value)
    assert "damaged" not in str(refused.value)


@pytest.mark.parametrize(
    ("data", "how"),
    [
        (planes(GLASS), {"planarconfig": "separate"}),
        (deep(GLASS, 16), {}),
        (FOUR, {"extrasamples": ["unassalpha"]}),
        (FOUR, {"extrasamples": ["assocalpha"]}),
        (GLASS, {"compression": "lzw"}),
        (GLASS, {"compression": "zstd"}),
        (GLASS, {"bigtiff": True, "byteorder": ">"}),
    ],
)
def test_other_forms_of_a_slide_are_read_in_their_colours(
    data: NDArray[np.generic], how: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "slide.tif"
    write_tiled(path, data, **how)
    rig = Rig(camera=Camera(width_px=420, height_px=300, um_per_px=0.25))
    with contextlib.closing(SlideSource(path, rig)) as source:
        (field,) = source.fields()
    assert np.abs(field.pixels.astype(int) - GLASS).max() <= 1


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"ImageWidth": 60_000_000, "ImageLength": 60_000_000}, "claims 60000000×"),
        ({"ImageWidth": 2_000_000_000}, "claims 2000000000×300"),
        ({"ImageLength": 0}, "claims 420×0 px"),
        ({"TileWidth": 65_536, "TileLength": 65_536}, "tiles of 65536×65536"),
        ({"TileWidth": 3, "TileLength": 10_000_000}, "tiles of 3×10000000"),
        ({"TileWidth": 0}, "tiles of 0×128"),
        ({"ImageWidth": 65_535}, "lists 12"),
    ],
)
def test_header_that_claims_what_the_file_cannot_hold_is_refused(
    values: dict[str, int], says: str, tmp_path: Path
) -> None:
    path = tmp_path / "slide.tif"
    write_tiled(path, GLASS, compression="jpeg")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as opened:
        for name, value in values.items():
            at = opened.pages.first.tags[name].offset
            struct.pack_into("<HII", content, at + 2, 4, 1, value)
    path.write_bytes(content)
    with pytest.raises(SourceError, match=says):
        SlideSource(path, RIG)


def test_levels_that_are_no_pyramid_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    with tifffile.TiffWriter(path) as tiff:
        for level, pixels in enumerate((GLASS, GLASS[:20, ::2])):
            tiff.write(
                np.ascontiguousarray(pixels),
                tile=(128, 128),
                photometric="rgb",
                subfiletype=int(level > 0),
                resolution=(4e4, 4e4),
                resolutionunit="CENTIMETER",
            )
    with pytest.raises(SourceError, match="no smaller"):
        SlideSource(path, RIG)


def test_jpeg_tile_that_claims_another_size_is_an_unreadable_field(
    tmp_path: Path,
) -> None:
    path = tmp_path / "slide.tif"
    write_tiled(path, GLASS, compression="jpeg")
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as opened:
        start = opened.pages.first.dataoffsets[0]
    frame = content.index(b"\xff\xc0", start)
    content[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    with contextlib.closing(SlideSource(path, RIG)) as source:
        faults = [field.fault for field in source.fields()]
    assert faults[0].startswith("unreadable")
    assert not all(faults)


@pytest.mark.parametrize(
    ("kind", "seed"),
    [
        ("jpeg.tif", 22),
        ("jpeg.tif", 26),
        ("jpeg.tif", 29),
        ("jpeg.tif", 53),
        ("plain.tif", 12),
        ("big.tif", 27),
        ("aperio.svs", 52),
    ],
)
def test_mutants_that_once_failed_are_read_or_refused(
    kind: str, seed: int, tmp_path: Path
) -> None:
    """Tracebacks, an abort and tiles of gigabytes; found by bench_mutants.py."""
    path = tmp_path / kind
    path.write_bytes(mutant(kind, seed))
    # Refused in one line, or read; any other error fails.
    with (
        contextlib.suppress(SourceError),
        contextlib.closing(SlideSource(path, RIG)) as source,
    ):
        for field in source.fields():
            assert field.pixels.shape == (100, 200, 3)

"""What one picture is: read rightly in every form, or refused with its reason."""

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from armicro.errors import SourceError
from armicro.field import Pixels
from armicro.picture import decode_picture, picture_size, picture_sizes, read_picture


def draw() -> Pixels:
    """A bright field, (60, 80, 3) RGB: red, green and blue cannot be confused."""
    pixels = np.full((60, 80, 3), (230, 235, 240), np.uint8)
    pixels[10:30, 10:40] = (120, 60, 150)
    pixels[40:50, 50:70] = (200, 140, 90)
    return pixels


def deep(bits: int) -> NDArray[np.uint16]:
    """The same with this many bits of light in pixels of 16."""
    low = np.uint16((1 << (bits - 8)) - 1)
    return np.asarray(draw().astype(np.uint16) * (low + 1) + low, np.uint16)


def tif(data: NDArray[np.generic], **how: object) -> bytes:
    """Write a TIFF."""
    file = io.BytesIO()
    tifffile.imwrite(file, data, **how)  # type: ignore[arg-type]
    return file.getvalue()


def png(pixels: NDArray[np.generic]) -> bytes:
    """Write a PNG of RGB or RGBA, 8 or 16 bits."""
    order = [2, 1, 0, 3][: pixels.shape[2]]
    return cv2.imencode(".png", np.ascontiguousarray(pixels[..., order]))[1].tobytes()


def saved(kind: str, mode: str, **how: object) -> bytes:
    """Write with Pillow."""
    file = io.BytesIO()
    picture = Image.fromarray(draw())
    picture = picture.quantize(8) if mode == "P" else picture.convert(mode)
    picture.save(file, kind, **how)
    return file.getvalue()


def clear(edge: int) -> NDArray[np.uint8]:
    """RGBA whose upper rows are clear glass."""
    alpha = np.full((60, 80, 1), 255, np.uint8)
    alpha[:edge] = 0
    return np.dstack([draw(), alpha])


def planes(**metadata: object) -> bytes:
    """Red, green and blue as three grey pages of an OME-TIFF."""
    data = np.moveaxis(draw(), 2, 0)
    return tif(data, ome=True, metadata={"axes": "CYX", **metadata})


READ: dict[str, Callable[[], bytes]] = {
    "8-bit TIFF": lambda: tif(draw(), photometric="rgb"),
    "tiled, deflate": lambda: tif(
        draw(), photometric="rgb", tile=(32, 32), compression="zlib"
    ),
    "LZW": lambda: tif(draw(), photometric="rgb", compression="lzw"),
    "BigTIFF": lambda: tif(draw(), photometric="rgb", bigtiff=True),
    "big-endian": lambda: tif(draw(), photometric="rgb", byteorder=">"),
    "planes apart": lambda: tif(
        np.moveaxis(draw(), 2, 0), photometric="rgb", planarconfig="separate"
    ),
    "10 bits in 16": lambda: tif(deep(10), photometric="rgb"),
    "12 bits in 16": lambda: tif(deep(12), photometric="rgb"),
    "12 bits in 16, tiled": lambda: tif(
        deep(12), photometric="rgb", tile=(32, 32), compression="zlib"
    ),
    "14 bits in 16": lambda: tif(deep(14), photometric="rgb"),
    "16 bits": lambda: tif(deep(16), photometric="rgb"),
    "12 bits, as OME says": lambda: tif(
        deep(12), photometric="rgb", ome=True, metadata={"SignificantBits": 12}
    ),
    "three grey pages": planes,
    "three grey pages, named": lambda: planes(
        Channel={"Name": ["Red", "Green", "Blue"]}
    ),
    "RGBA": lambda: tif(clear(0), photometric="rgb", extrasamples=["unassalpha"]),
    "PNG": lambda: png(draw()),
    "PNG of 16 bits": lambda: png(deep(16)),
    "PNG of 12 bits in 16": lambda: png(deep(12)),
    "PNG with alpha": lambda: png(clear(0)),
    "PNG with a palette": lambda: saved("PNG", "P"),
    "BMP": lambda: saved("BMP", "RGB"),
    "WebP": lambda: saved("WEBP", "RGB", lossless=True),
}


@pytest.mark.parametrize("kind", READ)
def test_every_form_of_a_picture_gives_its_colours(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(READ[kind]())
    read = read_picture(path)
    assert read.dtype == np.uint8
    assert np.abs(read.astype(int) - draw()).max() <= 1
    assert picture_size(path) == (80, 60)
    assert picture_sizes(path) == [(80, 60)]


def test_pages_in_another_order_are_put_in_theirs(tmp_path: Path) -> None:
    path = tmp_path / "picture.ome.tif"
    data = np.moveaxis(draw()[..., ::-1], 2, 0)
    names = {"Name": ["Blue", "Green", "Red"]}
    tifffile.imwrite(path, data, ome=True, metadata={"axes": "CYX", "Channel": names})
    np.testing.assert_array_equal(read_picture(path), draw())


def test_alpha_is_laid_on_white() -> None:
    read = decode_picture(png(clear(20)), "clear")
    assert (read[:20] == 255).all()
    np.testing.assert_array_equal(read[20:], draw()[20:])


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_grey_picture_is_grey(photometric: str, tmp_path: Path) -> None:
    grey = draw()[..., 0]
    path = tmp_path / "grey.tif"
    stored = grey if photometric == "minisblack" else 255 - grey
    tifffile.imwrite(path, stored, photometric=photometric)
    np.testing.assert_array_equal(read_picture(path), np.dstack([grey] * 3))


def test_each_page_of_a_stack_is_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "stack.tif"
    stack = np.stack([np.roll(draw(), 5 * i, axis=1) for i in range(5)])
    tifffile.imwrite(path, stack, photometric="rgb", compression="jpeg", metadata=None)
    assert len(picture_sizes(path)) == 5
    for index, drawn in enumerate(stack):
        found = read_picture(path, index).astype(int)
        assert np.abs(found - drawn).mean() < 8
    with pytest.raises(SourceError, match="has 5 pictures"):
        read_picture(path, 5)


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "dark in 16 bits": (
        lambda: tif(deep(16) // 400, photometric="rgb"),
        "how many bits",
    ),
    "floats": (
        lambda: tif(draw().astype(np.float32) / 255, photometric="rgb"),
        "floating-point",
    ),
    "signed": (lambda: tif(deep(15).astype(np.int16), photometric="rgb"), "signed"),
    "32 bits": (lambda: tif(draw().astype(np.uint32), photometric="rgb"), "32 bits"),
    "1 bit": (lambda: tif(draw()[..., 0] > 128), "1 bit"),
    "PNG of 1 bit": (lambda: saved("PNG", "1"), "1 bit"),
    "CMYK": (
        lambda: tif(np.dstack([draw(), draw()[..., 0]]), photometric="separated"),
        "inks",
    ),
    "CMYK JPEG": (lambda: saved("JPEG", "CMYK"), "inks"),
    "a fourth colour": (
        lambda: tif(
            np.dstack([draw(), draw()[..., 0]]),
            photometric="rgb",
            extrasamples=["unspecified"],
        ),
        "4 channels",
    ),
    "fluorescence": (
        lambda: planes(Channel={"Name": ["DAPI", "FITC", "Cy5"]}),
        "3 grey pages",
    ),
    "three grey pages that say nothing": (
        lambda: tif(np.moveaxis(draw(), 2, 0), photometric="minisblack"),
        "3 grey pages",
    ),
    "two channels": (
        lambda: tif(
            np.moveaxis(draw()[..., :2], 2, 0), ome=True, metadata={"axes": "CYX"}
        ),
        "2 grey pages",
    ),
    "JPEG XL": (lambda: b"\xff\x0a" + bytes(100), "JPEG XL"),
    "HEIC": (lambda: b"\0\0\0\x18ftypheic" + bytes(100), "HEIC"),
    "nothing": (lambda: b"", "empty"),
    "text": (lambda: b"no picture at all", "not a picture"),
    "half a PNG": (lambda: png(draw())[:-40], "end is missing"),
    "half a JPEG": (lambda: saved("JPEG", "RGB")[:-300], "end is missing"),
    "half a TIFF": (lambda: tif(draw(), photometric="rgb")[:-300], "missing"),
}
for _name, _says in {
    "zstd": "Zstandard",
    "webp": "WebP",
    "jpeg2000": "JPEG 2000",
    "jpegxl": "JPEG XL",
    "lerc": "LERC",
    "lzma": "LZMA",
    "png": "PNG",
}.items():
    REFUSED[f"a TIFF compressed with {_says}"] = (
        lambda name=_name: tif(  # type: ignore[misc]
            draw(), photometric="rgb", compression=name, tile=(32, 32)
        ),
        f"compressed with {_says}",
    )


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_read_rightly_is_refused_by_name(kind: str, tmp_path: Path) -> None:
    make, says = REFUSED[kind]
    path = tmp_path / "picture"
    path.write_bytes(make())
    with pytest.raises(SourceError, match=says) as refused:
        read_picture(path)
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize(
    ("width", "height"), [(60_000, 60_000), (2**31 - 1, 2), (0, 60)]
)
def test_picture_that_claims_too_much_is_refused_by_its_header(
    width: int, height: int, tmp_path: Path
) -> None:
    content = bytearray(tif(draw(), photometric="rgb"))
    with tifffile.TiffFile(io.BytesIO(content)) as opened:
        tags = opened.pages.first.tags
        for name, value in (("ImageWidth", width), ("ImageLength", height)):
            at = tags[name].offset
            content[at + 2 : at + 12] = (
                (4).to_bytes(2, "little")
                + (1).to_bytes(4, "little")
                + value.to_bytes(4, "little")
            )
    path = tmp_path / "bomb.tif"
    path.write_bytes(content)
    with pytest.raises(SourceError, match="claims"):
        read_picture(path)


def test_png_bomb_is_refused_by_its_header() -> None:
    content = bytearray(png(draw()))
    content[16:24] = (50_000).to_bytes(4, "big") * 2
    with pytest.raises(SourceError, match=r"claims|not a picture"):
        decode_picture(bytes(content), "bomb.png")


def test_missing_picture_is_named(tmp_path: Path) -> None:
    for look in (read_picture, picture_size, picture_sizes):
        with pytest.raises(SourceError, match="No such file"):
            look(tmp_path / "nothing.png")

"""The slide file appears whole or not at all."""

import errno
from pathlib import Path

import pytest

from armicro.errors import SourceError
from armicro.phantom.specification import size_px
from armicro.phantom.truth import slide_file


def test_a_finished_slide_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    path.write_bytes(b"old")
    with slide_file(path, 10) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["slide.tif"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (OSError(errno.ENOSPC, "No space left"), "the disk ran full"),
        (PermissionError(errno.EACCES, "Permission denied"), "cannot be written"),
    ],
)
def test_a_failed_slide_leaves_the_old_one(
    tmp_path: Path, fault: OSError, words: str
) -> None:
    path = tmp_path / "slide.tif"
    path.write_bytes(b"old")

    def fail() -> None:
        with slide_file(path, 10) as file:
            file.write(b"half")
            raise fault

    with pytest.raises(SourceError, match=words):
        fail()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["slide.tif"]


@pytest.mark.parametrize(
    ("name", "room_bytes", "words"),
    [
        ("missing/slide.tif", 10, "is no folder"),
        ("slide.jpg", 10, "ends in .tif"),
        ("slide.tif", 10**18, "MB free"),
        ("folder.tif", 10, "is a folder"),
    ],
)
def test_a_place_that_cannot_take_a_slide_is_refused(
    tmp_path: Path, name: str, room_bytes: int, words: str
) -> None:
    (tmp_path / "folder.tif").mkdir()
    with (
        pytest.raises(SourceError, match=words),
        slide_file(tmp_path / name, room_bytes),
    ):
        pass


@pytest.mark.parametrize("megapixels", [0, -3, float("nan"), float("inf")])
def test_a_size_that_is_none_is_refused(megapixels: float) -> None:
    with pytest.raises(SourceError, match="expected a number above 0"):
        size_px(megapixels)


@pytest.mark.parametrize("megapixels", [0.5, 12, 1000, 20000])
def test_a_size_is_what_was_asked_for(megapixels: float) -> None:
    width_px, height_px = size_px(megapixels)
    assert width_px * height_px / 1e6 == pytest.approx(megapixels, rel=1e-3)

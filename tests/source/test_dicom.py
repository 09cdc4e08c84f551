"""DICOM slides: one a series, however it is named."""

from pathlib import Path

import pytest

from armicro.errors import SourceError
from armicro.source.slide import once_each, series_of, slide_file


def write_instance(
    path: Path, uid: str, *, size: int = 100, explicit: bool = True
) -> Path:
    """The head of a DICOM file, and room for pixels."""
    value = uid.encode() + b"\0" * (len(uid) % 2)
    length = len(value).to_bytes(2 if explicit else 4, "little")
    element = b"\x20\x00\x0e\x00" + (b"UI" if explicit else b"") + length + value
    path.write_bytes(bytes(128) + b"DICM" + bytes(30) + element + bytes(size))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A slide of three levels, its thumbnail, and a note beside them."""
    (tmp_path / "slide").mkdir()
    for level, size in enumerate((9000, 3000, 900)):
        write_instance(tmp_path / "slide" / f"{level}.dcm", "1.2.3", size=size)
    write_instance(tmp_path / "slide" / "noname", "1.2.3", explicit=False)
    (tmp_path / "slide" / "note.txt").write_text("no DICOM")
    return tmp_path / "slide"


def test_folder_is_opened_by_its_largest_file(folder: Path) -> None:
    assert slide_file(folder) == folder / "0.dcm"
    assert slide_file(folder / "2.dcm") == folder / "2.dcm"
    assert series_of(folder / "noname") == "1.2.3"
    assert series_of(folder / "note.txt") is None


def test_each_slide_is_read_once_however_it_is_named(folder: Path) -> None:
    files = sorted(folder.glob("*.dcm"))
    other = folder.parent / "other"
    other.mkdir()
    copy = write_instance(other / "0.dcm", "1.2.3")
    plain = folder.parent / "slide.svs"
    plain.write_bytes(b"")
    assert once_each(files) == files[:1]
    assert once_each([folder, *files]) == [folder]
    assert once_each([*files, folder]) == files[:1]
    # Another folder is another copy, and what is no DICOM is never left out.
    assert once_each([*files, copy, plain, plain]) == [files[0], copy, plain, plain]


def test_two_slides_in_one_folder_are_told(folder: Path) -> None:
    write_instance(folder / "second.dcm", "1.2.4")
    with pytest.raises(SourceError, match=r"2 DICOM slides.*0\.dcm, second\.dcm"):
        slide_file(folder)
    files = sorted(folder.glob("*.dcm"))
    assert once_each(files) == [folder / "0.dcm", folder / "second.dcm"]


def test_folder_without_a_slide_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="a folder, expected"):
        slide_file(tmp_path)

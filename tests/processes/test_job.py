import fcntl
import os
from pathlib import Path

import pytest

from armicro.errors import SourceError
from armicro.processes.job import alone, folder_names, make_folder, set_aside


def test_results_that_are_there_are_set_aside_each_under_its_number(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "slide"
    for text in ("first", "second"):
        set_aside(folder)
        make_folder(folder)
        (folder / "slide.json").write_text(text)
    set_aside(folder)
    assert not folder.exists()
    assert (tmp_path / "slide.1" / "slide.json").read_text() == "first"
    assert (tmp_path / "slide.2" / "slide.json").read_text() == "second"


def test_folder_of_a_session_that_runs_is_neither_moved_nor_shared(
    tmp_path: Path,
) -> None:
    with alone(tmp_path):
        with pytest.raises(SourceError, match="another armicro is running"):
            set_aside(tmp_path)
        with pytest.raises(SourceError, match="another armicro is running"):
            alone(tmp_path).__enter__()
    with alone(tmp_path):
        assert tmp_path.exists()


def test_folder_that_another_session_renames_in_this_moment_is_not_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, lock = make(tmp_path / "slide"), fcntl.flock

    def late(descriptor: int, how: int) -> None:
        # Between opening and locking: the name is another folder's now.
        monkeypatch.setattr(fcntl, "flock", lock)
        set_aside(folder)
        make(folder)
        lock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with (
        pytest.raises(SourceError, match="another armicro is running"),
        alone(folder),
    ):
        pass
    with alone(folder):
        assert (tmp_path / "slide.1" / "slide.json").exists()


def test_folder_that_another_session_sets_aside_first_is_gone_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, opens = make(tmp_path / "slide"), os.open

    def late(path: Path, flags: int) -> int:
        monkeypatch.setattr(os, "open", opens)
        folder.rename(tmp_path / "slide.1")
        return opens(path, flags)

    monkeypatch.setattr(os, "open", late)
    set_aside(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["slide.1"]


def test_an_empty_folder_is_that_of_a_session_that_begins(tmp_path: Path) -> None:
    make_folder(tmp_path / "slide")
    set_aside(tmp_path / "slide")
    assert [path.name for path in tmp_path.iterdir()] == ["slide"]


def make(folder: Path) -> Path:
    """A session's folder with something in it."""
    make_folder(folder)
    (folder / "slide.json").touch()
    return folder


def test_folder_that_is_a_file_is_a_source_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "slide"):
        with pytest.raises(SourceError, match="expected a folder"):
            make_folder(folder)


@pytest.mark.parametrize(
    "slides",
    [
        ("x/s.tif", "x/s-2.tif", "y/s.tif"),
        ("x/s.tif", "y/s.tif", "x/s-2.tif", "z/s.tif"),
        ("x/s.tif", "x/s.svs", "y/S.TIF"),
        ("x/caf\u00e9.tif", "y/cafe\u0301.tif"),
        ("..tif", "...tif", ".tif", "x/..tif"),
        ("x/" + "n" * 200 + "1.tif", "x/" + "n" * 200 + "2.tif"),
        ("x/a\nb.tif", "x/a_b.tif"),
        ("s.tif", "s.tif"),
    ],
)
def test_two_slides_never_share_a_folder(slides: tuple[str, ...]) -> None:
    names = folder_names(map(Path, slides))
    assert len({name.casefold() for name in names}) == len(slides)
    for name in names:
        assert (Path("out") / name).parent == Path("out")
        assert name not in ("", ".", "..")

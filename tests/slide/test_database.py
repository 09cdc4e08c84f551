"""What is no file of ours is refused, left as it was, and let go."""

import contextlib
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from armicro.database import Database
from armicro.errors import SourceError
from armicro.mosaic import MosaicFile
from armicro.place.atlas import MapFile
from armicro.slide.journal import Journal

OPENERS: list[Callable[[Path], Database]] = [Journal, MapFile, MosaicFile]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    """Every connection that is opened from now on."""
    connections: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def record(*args: object, **settings: object) -> sqlite3.Connection:
        made: sqlite3.Connection = connect(*args, **settings)  # type: ignore[call-overload]
        connections.append(made)
        return made

    monkeypatch.setattr(sqlite3, "connect", record)
    return connections


def no_database(path: Path) -> None:
    path.write_bytes(b"no database" * 100)


def foreign(path: Path) -> None:
    database = sqlite3.connect(path)
    database.execute("PRAGMA application_id = 77")
    database.execute("CREATE TABLE shopping (item)")
    database.close()


def later_version(path: Path) -> None:
    for opener in OPENERS:
        if opener.__name__ in path.name:
            opener(path).close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (no_database, r"damaged or not a \w+ \(file is not a database\); move it away"),
        (foreign, r"of another program, not a \w+; (move it|choose another)"),
        (later_version, r"of schema 99, this armicro reads \d; use the version"),
    ],
)
def test_a_refused_file_is_left_as_it_was_and_closed(
    tmp_path: Path,
    opened: list[sqlite3.Connection],
    opener: Callable[[Path], Database],
    spoil: Callable[[Path], None],
    what: str,
) -> None:
    path = tmp_path / f"{opener.__name__}.sqlite"
    spoil(path)
    before = path.read_bytes()
    with pytest.raises(SourceError, match=what) as refused:
        opener(path)
    assert "\n" not in str(refused.value)
    assert path.read_bytes() == before
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[-1].execute("SELECT 1")


@pytest.mark.parametrize("opener", OPENERS)
def test_a_file_is_opened_again_and_closed_twice(
    tmp_path: Path, opener: Callable[[Path], Database]
) -> None:
    path = tmp_path / "a.sqlite"
    opener(path).close()
    with opener(path) as database:
        database.close()


@pytest.mark.parametrize("opener", OPENERS)
def test_a_folder_that_is_not_there_is_told(
    tmp_path: Path, opener: Callable[[Path], Database]
) -> None:
    with pytest.raises(SourceError, match="check that its folder exists"):
        opener(tmp_path / "nowhere" / "a.sqlite")


def open_by_two(opener: Callable[[Path], Database], paths: list[Path]) -> None:
    """Each file by both in the same moment."""
    both = threading.Barrier(2)

    def run(path: Path) -> None:
        both.wait()
        opener(path).close()

    with ThreadPoolExecutor(2) as two:
        for path in paths:
            for opened in [two.submit(run, path) for _ in range(2)]:
                opened.result()
            opener(path).close()


@pytest.mark.parametrize("opener", OPENERS)
def test_two_may_make_the_same_file_at_once(
    tmp_path: Path, opener: Callable[[Path], Database]
) -> None:
    open_by_two(opener, [tmp_path / f"{number}.sqlite" for number in range(20)])


def test_two_may_bring_the_same_file_up_to_date_at_once(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.sqlite" for number in range(10)]
    for path in paths:
        Journal(path).close()
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("DROP TABLE decisions")
            database.execute("PRAGMA user_version = 2")
    open_by_two(Journal, paths)

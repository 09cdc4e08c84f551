"""Keyframes on disk."""

import contextlib
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from armicro.errors import SourceError
from armicro.place.atlas import Begun, Keyframe, MapFile, find_landmarks
from armicro.place.look import look_at
from armicro.place.register import Register
from armicro.place.turn import Doubt
from tests.cells import cut, draw_cells, field_at

SCENE = draw_cells(7)


def test_what_was_added_is_there_after_a_crash(tmp_path: Path) -> None:
    store = MapFile(tmp_path / "map.sqlite")
    look = look_at(cut(SCENE, 100, 100), 1.0)
    store.add(
        Keyframe(1.5, -2.0, (0.1, 0.1), (400.0, 320.0), find_landmarks(look)), look
    )
    # The first is still open, as it would be in a process that was killed.
    again = MapFile(tmp_path / "map.sqlite")
    (kept,) = again.keyframes()
    assert (kept.x_um, kept.y_um, kept.size_um) == (1.5, -2.0, (400.0, 320.0))
    np.testing.assert_allclose(kept.landmarks.xy_um, find_landmarks(look).xy_um)
    assert np.abs(again.look(0).fine - look.fine).mean() < 0.05
    store.close()
    again.close()


def test_register_that_starts_again_finds_its_map(tmp_path: Path) -> None:
    path = [(100, 100), (250, 100), (400, 100), (400, 250)]
    store = MapFile(tmp_path / "map.sqlite")
    before = Register(store, timed=False)
    for seq, at in enumerate(path):
        before.update(field_at(SCENE, *at, seq))
    store.close()
    store = MapFile(tmp_path / "map.sqlite")
    place = Register(store, timed=False).update(field_at(SCENE, 380, 230, 9)).place
    store.close()
    assert place is not None
    assert (place.x_um, place.y_um) == pytest.approx((280, 130), abs=0.5)


def test_what_a_keyframe_knows_nothing_of_and_its_doubt_are_kept(
    tmp_path: Path,
) -> None:
    look = look_at(cut(SCENE, 100, 100), 1.0)
    clean = np.ones_like(look.fine)
    clean[:, :90] = 0
    doubt = Doubt(0.5, (10.0, 20.0))
    marks, size_um = find_landmarks(look), (400.0, 320.0)
    with MapFile(tmp_path / "map.sqlite") as store:
        frame = Keyframe(0.0, 0.0, (0.1, 0.1), size_um, marks, doubt)
        store.add(frame, look.masked(clean))
        store.begin(Begun(5000.0, "turned_camera"))
    with MapFile(tmp_path / "map.sqlite") as store:
        kept = store.look(0)
        assert kept.clean is not None
        np.testing.assert_array_equal(kept.clean, clean)
        assert not kept.fine[:, :90].any()
        assert next(store.keyframes()).doubt == doubt
        assert store.maps() == [Begun(5000.0, "turned_camera")]


def test_map_of_version_1_is_read(tmp_path: Path) -> None:
    path = tmp_path / "map.sqlite"
    look = look_at(cut(SCENE, 100, 100), 1.0)
    marks = find_landmarks(look)
    with MapFile(path) as store:
        store.add(Keyframe(1.5, 0.0, (0.1, 0.1), (400.0, 320.0), marks), look)
    with contextlib.closing(sqlite3.connect(path)) as database:
        for column in ("clean", "turn_error_deg", "about_x_um", "about_y_um"):
            database.execute(f"ALTER TABLE keyframes DROP COLUMN {column}")
        database.executescript("DROP TABLE maps; PRAGMA user_version = 1;")
    with MapFile(path) as store:
        (kept,) = store.keyframes()
        assert (kept.x_um, kept.doubt, store.maps()) == (1.5, Doubt(), [])
        assert store.look(0).clean is None


def test_foreign_file_is_a_source_error(tmp_path: Path) -> None:
    path = tmp_path / "map.sqlite"
    path.write_bytes(b"no database" * 100)
    with pytest.raises(SourceError, match="move it away"):
        MapFile(path)

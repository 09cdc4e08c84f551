"""Recordings play what was recorded, whatever happened meanwhile."""

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from armicro.errors import SourceError
from armicro.field import Field, Overview, Pixels, Place, Sight
from armicro.rule import MOST_TEXT
from armicro.source import SourceCard
from armicro.source.recording import (
    RecordingSource,
    RecordingWriter,
    encode_png,
    is_recording,
)

CARD = SourceCard(name="Emulation 0815-0000", um_per_px=0.25, width_px=64, height_px=48)


def noisy_field(seq: int) -> Field:
    rng = np.random.default_rng(seq)
    place = Place(seq * 10.5, -3.25, 0.1, "image_registration") if seq % 3 else None
    return Field(
        um_per_px=0.25 + seq * 1e-9,
        seq=seq,
        taken_ns=10**18 + seq,
        place=place,
        fault="unreadable: test" if seq == 4 else "",
        pixels=rng.integers(0, 256, (48, 64, 3), np.uint8),
    )


def assert_same(played: Field, recorded: Field) -> None:
    np.testing.assert_array_equal(played.pixels, recorded.pixels)
    assert played.head == recorded.head


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "session" / "recording"
    with RecordingWriter(path, CARD) as writer:
        for seq in (0, 1, 2, 4, 7):
            writer.write(noisy_field(seq))
    return path


def test_fields_come_back_exactly(folder: Path) -> None:
    source = RecordingSource(folder)
    fields = list(source.fields())
    assert [field.seq for field in fields] == [0, 1, 2, 4, 7]
    for field in fields:
        assert_same(field, noisy_field(field.seq))
    assert source.card.name == CARD.name
    assert source.card.fields_planned == 5
    assert [field.seq for field in source.fields(done={1, 4})] == [0, 2, 7]
    source.close()
    source.close()


def test_overview_comes_back(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    seen = Overview(pixels, 8.0, 100.0, 50.5)
    card = SourceCard("slide", 0.25, 64, 48, 0.243, fields_planned=9, overview=seen)
    RecordingWriter(tmp_path / "r", card).close()
    played = RecordingSource(tmp_path / "r").card
    assert played.overview is not None
    np.testing.assert_array_equal(played.overview.pixels, pixels)
    assert (played.overview.um_per_px, played.overview.x_um) == (8.0, 100.0)
    assert (played.overview.y_um, played.pixel_um) == (50.5, 0.243)


OLD_HEADER = """{
  "armicro_recording": 1,
  "name": "Emulation 0815-0000",
  "um_per_px": 0.25,
  "width_px": 6,
  "height_px": 4,
  "pixel_um": 0.243,
  "shown_xywh_px": [0, 0, 600, 400],
  "pixel_xy_um": [0.243, 0.244],
  "overview": {"um_per_px": 8.0, "x_um": 100.0, "y_um": 50.5}
}"""
OLD_LINES = (
    '{"seq":0,"taken_ns":1000000000000000000,"um_per_px":0.25,"width_px":6,'
    '"height_px":4,"place":{"x_um":10.5,"y_um":-3.25,"standard_error_um":0.1,'
    '"origin":"image_registration"},"fault":"","sight":{"focus":0.7,'
    '"velocity_xy_um_per_s":[60.0,-5.0],"smear_um":1.5},"voided":""}',
    '{"seq":4,"taken_ns":1000000000000000001,"um_per_px":0.25,"width_px":6,'
    '"height_px":4,"place":null,"fault":"unreadable: tile 7","sight":null,'
    '"voided":"certificate expired on 2020-06-29"}',
)
"""What version 1 wrote: its writer's own bytes."""


def small(seq: int) -> Pixels:
    return np.random.default_rng(seq).integers(0, 256, (4, 6, 3), np.uint8)


@pytest.fixture
def old_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "old"
    (folder / "pixels").mkdir(parents=True)
    (folder / "recording.json").write_text(OLD_HEADER)
    (folder / "fields.jsonl").write_text("".join(f"{line}\n" for line in OLD_LINES))
    (folder / "overview.png").write_bytes(encode_png(small(9)))
    for index in range(2):
        file = folder / "pixels" / f"{index:06d}.png"
        file.write_bytes(encode_png(small(index)))
    return folder


OLD_FIELDS = (
    Field(
        0.25,
        seq=0,
        taken_ns=10**18,
        place=Place(10.5, -3.25, 0.1, "image_registration"),
        sight=Sight(0.7, (60.0, -5.0), 1.5),
        pixels=small(0),
    ),
    Field(
        0.25,
        seq=4,
        taken_ns=10**18 + 1,
        fault="unreadable: tile 7",
        voided="certificate expired on 2020-06-29",
        pixels=small(1),
    ),
)


def test_a_recording_of_version_1_plays_and_goes_on(old_folder: Path) -> None:
    source = RecordingSource(old_folder)
    for played, recorded in zip(source.fields(), OLD_FIELDS, strict=True):
        assert_same(played, recorded)
    assert source.card.overview is not None
    assert (source.card.overview.y_um, source.card.pixel_xy_um) == (
        50.5,
        (0.243, 0.244),
    )
    card = SourceCard("Emulation 0815-0000", 0.25, 6, 4)
    with RecordingWriter(old_folder, card) as writer:
        writer.write(noisy_field(9))
    assert [field.seq for field in RecordingSource(old_folder).fields()] == [0, 4, 9]


def test_a_line_is_that_of_version_1(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "new", CARD) as writer:
        for field in OLD_FIELDS:
            writer.write(field)
    lines = (tmp_path / "new" / "fields.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [*map(json.loads, OLD_LINES)]


@pytest.mark.parametrize(
    "change",
    [
        {"place": Place(float("nan"), 0.0, 0.1, "slide_file")},
        {"um_per_px": 0.0},
        {"um_per_px": 1e4},
        {"seq": -1},
        {"taken_ns": 2**63},
        {"sight": Sight(focus=1.5)},
    ],
)
def test_what_would_not_play_again_is_not_recorded(
    folder: Path, change: dict[str, object]
) -> None:
    bad = replace(noisy_field(5), **change)
    with RecordingWriter(folder, CARD) as writer:
        with pytest.raises(SourceError, match=r"field -?\d+: Expected"):
            writer.write(bad)
        writer.write(noisy_field(6))
    assert [f.seq for f in RecordingSource(folder).fields()] == [0, 1, 2, 4, 7, 6]


def test_a_fault_that_is_too_long_is_cut(folder: Path) -> None:
    with RecordingWriter(folder, CARD) as writer:
        writer.write(replace(noisy_field(5), fault="x" * 9_000))
        writer.write(noisy_field(6))
    *_, long, last = RecordingSource(folder).fields()
    assert (len(long.fault), long.fault[-2:], last.seq) == (MOST_TEXT, "x…", 6)


def cut_line(folder: Path) -> None:
    index = folder / "fields.jsonl"
    index.write_bytes(index.read_bytes()[:-20])


def keep_line_but_its_end(folder: Path) -> None:
    index = folder / "fields.jsonl"
    index.write_bytes(index.read_bytes()[:-1])


def leave_pixels_without_a_line(folder: Path) -> None:
    cut_line(folder)
    pixels = folder / "pixels" / "000004.png"
    pixels.write_bytes(pixels.read_bytes()[:500])


@pytest.mark.parametrize(
    "kill", [cut_line, keep_line_but_its_end, leave_pixels_without_a_line]
)
def test_record_that_a_kill_cut_short_is_dropped_and_the_rest_goes_on(
    folder: Path, kill: Callable[[Path], None]
) -> None:
    kill(folder)
    assert [f.seq for f in RecordingSource(folder).fields()] == [0, 1, 2, 4]
    with RecordingWriter(folder, CARD) as writer:
        writer.write(noisy_field(9))
    fields = list(RecordingSource(folder).fields())
    assert [field.seq for field in fields] == [0, 1, 2, 4, 9]
    for field in fields:
        assert_same(field, noisy_field(field.seq))


def claims(width_px: int, height_px: int) -> bytes:
    """A PNG of a few bytes whose header claims so many pixels."""
    png = bytearray(encode_png(np.zeros((2, 2, 3), np.uint8)))
    png[16:24] = width_px.to_bytes(4, "big") + height_px.to_bytes(4, "big")
    png[29:33] = zlib.crc32(png[12:29]).to_bytes(4, "big")
    return bytes(png)


@pytest.mark.parametrize(
    "damage", [b"", b"no picture", claims(65, 48), claims(40_000, 40_000), None]
)
def test_damaged_pixels_are_an_unreadable_field(
    folder: Path, damage: bytes | None
) -> None:
    file = folder / "pixels" / "000001.png"
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage)
    fields = list(RecordingSource(folder).fields())
    assert fields[1].fault.startswith("unreadable: 000001.png")
    assert fields[1].pixels.shape == (48, 64, 3)
    assert_same(fields[2], noisy_field(2))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, "recording.json"),
        (b"{", "damaged"),
        (b'{"armicro_recording": 9}', "damaged"),
        (
            b'{"armicro_recording":9,"name":"","um_per_px":1,"width_px":1,"height_px":1}',
            "version 9, expected 1 or 2",
        ),
    ],
)
def test_what_is_not_a_recording_is_refused(
    folder: Path, header: bytes | None, message: str
) -> None:
    assert is_recording(folder)
    if header is None:
        (folder / "recording.json").unlink()
        assert not is_recording(folder)
    else:
        (folder / "recording.json").write_bytes(header)
    with pytest.raises(SourceError, match=message):
        RecordingSource(folder)


def test_a_field_that_claims_gigabytes_ends_the_recording(folder: Path) -> None:
    index = folder / "fields.jsonl"
    lines = index.read_text().splitlines(keepends=True)
    lines[2] = lines[2].replace('"width_px":64', '"width_px":60000')
    lines[2] = lines[2].replace('"height_px":48', '"height_px":60000')
    index.write_text("".join(lines))
    assert [field.seq for field in RecordingSource(folder).fields()] == [0, 1]


def test_another_camera_does_not_write_into_it(folder: Path) -> None:
    with pytest.raises(SourceError, match="another folder"):
        RecordingWriter(folder, SourceCard("other", 0.25, 64, 48))


def test_folder_that_cannot_be_written_is_a_source_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SourceError, match="file"):
        RecordingWriter(tmp_path / "file" / "recording", CARD)


def test_pixels_are_plain_png(folder: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    with image.open(folder / "pixels" / "000002.png") as picture:
        pixels: Pixels = np.asarray(picture)
    np.testing.assert_array_equal(pixels, noisy_field(2).pixels)


@pytest.mark.parametrize("name", ["pixels", "fields.jsonl"])
def test_a_link_in_a_recording_is_never_written_through(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "recording").mkdir()
    (tmp_path / "recording" / name).symlink_to(tmp_path / "elsewhere")
    card = SourceCard(name="cam", um_per_px=0.25, width_px=8, height_px=6)
    with pytest.raises(SourceError, match=r"^[^\n]*a link[^\n]*$"):
        RecordingWriter(tmp_path / "recording", card)
    assert not list((tmp_path / "elsewhere").iterdir())


HEADERS = {
    "nothing": b"",
    "a negative width": b'{"armicro_recording":1,"name":"a","um_per_px":0.25,'
    b'"width_px":-4,"height_px":4}',
    "an absurd height": b'{"armicro_recording":1,"name":"a","um_per_px":0.25,'
    b'"width_px":4,"height_px":4000000000}',
    "lists without an end": b'{"x":' + b"[" * 60_000,
    "100 kB": b" " * 100_000,
}


@pytest.mark.parametrize("what", HEADERS)
def test_a_header_of_a_stranger_is_one_line(tmp_path: Path, what: str) -> None:
    (tmp_path / "recording.json").write_bytes(HEADERS[what])
    with pytest.raises(SourceError, match=r"^[^\n]{1,400}$"):
        RecordingSource(tmp_path)

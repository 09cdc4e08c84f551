"""A reader gets a field whole or not at all, and nothing outlives its processes."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from msgspec.structs import replace

from armicro.errors import RigError, WireError
from armicro.field import Field, FieldHead
from armicro.wire.ring import PAGE, Ring
from armicro.wire.topic import Shot

FieldMaker = Callable[..., Field]
SLOT_BYTES = 64 * 48 * 3
NANOSECONDS = 1


def put(ring: Ring, field: Field, keep: tuple[int, ...] = ()) -> Shot:
    spot = ring.put(field, keep=keep)
    assert spot is not None
    return Shot(field.head, NANOSECONDS, *spot)


def head_of(seq: int) -> FieldHead:
    return FieldHead(0.25, seq, 0, width_px=6, height_px=4)


def test_a_field_is_read_back_until_its_slot_is_used_again(
    make_field: FieldMaker,
) -> None:
    with Ring.create(3, slot_bytes=SLOT_BYTES) as ring:
        fields = [make_field(seq, 64, 48) for seq in range(4)]
        shots = [put(ring, field) for field in fields]
        assert ring.read(shots[0]) is None
        for field, shot in zip(fields[1:], shots[1:], strict=True):
            pixels = ring.read(shot)
            assert pixels is not None
            np.testing.assert_array_equal(pixels, field.pixels)


def test_slots_are_kept_by_who_must_not_lose_them(make_field: FieldMaker) -> None:
    with Ring.create(3, slot_bytes=SLOT_BYTES) as ring:
        kept = put(ring, make_field(0))
        for seq in range(1, 9):
            put(ring, make_field(seq), keep=(kept.slot,))
        assert ring.read(kept) is not None
        assert ring.put(make_field(9), keep=range(3)) is None
        assert ring.read(kept) is not None


def test_the_oldest_free_slot_is_taken(make_field: FieldMaker) -> None:
    with Ring.create(3, slot_bytes=SLOT_BYTES) as ring:
        shots = [put(ring, make_field(seq)) for seq in range(3)]
        assert put(ring, make_field(3), keep=(shots[0].slot,)).slot == shots[1].slot
        assert put(ring, make_field(4)).slot == shots[0].slot


def test_fields_of_any_size_up_to_the_slot_go_in(make_field: FieldMaker) -> None:
    with Ring.create(2, slot_bytes=SLOT_BYTES) as ring:
        for width_px, height_px in ((64, 48), (1, 1), (48, 64), (7, 5)):
            field = make_field(1, width_px, height_px)
            pixels = ring.read(put(ring, field))
            assert pixels is not None
            np.testing.assert_array_equal(pixels, field.pixels)


def test_a_field_that_does_not_fit_is_refused(make_field: FieldMaker) -> None:
    with Ring.create(2, slot_bytes=SLOT_BYTES) as ring:
        with pytest.raises(WireError, match="does not fit a slot"):
            ring.put(make_field(0, 65, 48))
        grey = Field(0.25, 0, 0, pixels=np.zeros((4, 6), np.uint8))
        with pytest.raises(WireError, match=r"expected \(height, width, 3\)"):
            ring.put(grey)


@pytest.mark.parametrize(
    ("slot", "width_px", "stamp"),
    [
        (-1, 64, 2),
        (2, 64, 2),
        (0, 65, 2),
        (60_000, 64, 2),
        (-(2**63), 64, 2),
        (2**63 - 1, 64, 2),
        (0, 65_535, 2**63 - 1),
        (1, -64, 2),
    ],
)
def test_a_shot_from_elsewhere_is_counted_and_reads_as_not_there(
    slot: int, width_px: int, stamp: int
) -> None:
    with Ring.create(2, slot_bytes=SLOT_BYTES) as ring:
        head = FieldHead(0.25, 0, 0, width_px=width_px, height_px=48)
        shot = Shot(head, 0, slot=slot, stamp=stamp)
        assert ring.read(shot) is None
        assert ring.look(shot, lambda pixels: pixels.sum()) is None
        assert ring.dropped == 2


@pytest.mark.parametrize("stamp", [0, 1, 2**63 - 1])
@pytest.mark.parametrize("seq", [0, 2**41, 2**63 - 1])
def test_a_stamp_that_no_field_has_reads_as_overwritten(seq: int, stamp: int) -> None:
    with Ring.create(2, slot_bytes=SLOT_BYTES) as ring:
        assert ring.read(Shot(head_of(seq), 0, slot=1, stamp=stamp)) is None
        assert ring.dropped == 0


def test_a_shot_that_nobody_wrote_reads_as_overwritten(make_field: FieldMaker) -> None:
    with Ring.create(2, slot_bytes=SLOT_BYTES) as ring:
        assert ring.read(Shot(head_of(0), 0, slot=1, stamp=0)) is None
        shot = put(ring, make_field(3))
        for told in (
            replace(shot, head=replace(shot.head, seq=4)),
            replace(shot, stamp=shot.stamp + 2),
            replace(shot, head=replace(shot.head, width_px=5)),
        ):
            assert ring.read(told) is None


def test_work_on_a_slot_that_is_overwritten_meanwhile_is_thrown_away(
    make_field: FieldMaker,
) -> None:
    with Ring.create(1, slot_bytes=SLOT_BYTES) as ring:
        shot = put(ring, make_field(0))
        assert ring.look(shot, lambda pixels: int(pixels.sum())) is not None

        def work(pixels: np.ndarray) -> int:
            put(ring, make_field(1))
            return int(pixels.sum())

        assert ring.look(shot, work) is None


def test_work_sees_the_slot_itself_and_cannot_write_there(
    make_field: FieldMaker,
) -> None:
    with Ring.create(2, slot_bytes=SLOT_BYTES) as ring:
        field = make_field(0, 64, 48)
        shot = put(ring, field)

        def spoil(pixels: np.ndarray) -> None:
            pixels[0, 0] = 0

        with pytest.raises(ValueError, match="read-only"):
            ring.look(shot, spoil)
        small = ring.look(
            shot, lambda p: cv2.resize(p, (32, 24), interpolation=cv2.INTER_AREA)
        )
        expected = cv2.resize(field.pixels, (32, 24), interpolation=cv2.INTER_AREA)
        assert small is not None
        np.testing.assert_array_equal(small, expected)


def test_a_view_that_work_returns_is_made_a_copy(make_field: FieldMaker) -> None:
    with Ring.create(1, slot_bytes=SLOT_BYTES) as ring:
        field = make_field(0, 64, 48)
        corner = ring.look(put(ring, field), lambda pixels: pixels[:4, :4])
        put(ring, make_field(1, 64, 48))
        assert corner is not None
        np.testing.assert_array_equal(corner, field.pixels[:4, :4])


def test_a_new_writer_goes_on_where_one_died_in_mid_copy(
    make_field: FieldMaker,
) -> None:
    with Ring.create(2, slot_bytes=SLOT_BYTES) as ring:
        before = put(ring, make_field(0))
        dead = Ring.attach(ring.handle, write=True)
        lost = put(dead, make_field(1))
        # As kill -9 in mid-copy leaves it: the stamp is odd.
        dead._rows[lost.slot, 0] = lost.stamp - 1
        dead.close()
        with Ring.attach(ring.handle, write=True) as writer:
            assert ring.read(lost) is None
            assert ring.read(before) is not None
            stamps = {before.stamp, lost.stamp - 1}
            for seq in range(2, 8):
                shot = put(writer, make_field(seq))
                assert shot.stamp % 2 == 0
                assert shot.stamp > max(stamps)
                stamps.add(shot.stamp)
                pixels = ring.read(shot)
                assert pixels is not None
                np.testing.assert_array_equal(pixels, make_field(seq).pixels)


def test_a_new_writer_finds_the_slots_that_were_given_out(
    make_field: FieldMaker,
) -> None:
    with Ring.create(4, slot_bytes=SLOT_BYTES) as ring:
        shots = {seq: put(ring, make_field(seq)) for seq in (4, 5, 6)}
        with Ring.attach(ring.handle, write=True) as writer:
            keep = writer.holding({5, 6, 99})
            assert keep == {shots[5].slot, shots[6].slot}
            for seq in range(7, 20):
                spot = writer.put(make_field(seq), keep=keep)
                assert spot is not None
            assert ring.read(shots[5]) is not None
            assert ring.read(shots[6]) is not None


def test_readers_cannot_write(make_field: FieldMaker) -> None:
    with (
        Ring.create(2, slot_bytes=SLOT_BYTES) as ring,
        Ring.attach(ring.handle) as reader,
        pytest.raises(WireError, match="opened for reading"),
    ):
        reader.put(make_field(0))


@pytest.mark.parametrize("handle", ["", "x", "99999", "-1", "1:2:3"])
def test_a_handle_that_names_no_ring_is_a_wire_error(handle: str) -> None:
    with pytest.raises(WireError, match="shared memory"):
        Ring.attach(handle)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX descriptors")
def test_a_descriptor_of_something_else_is_a_wire_error() -> None:
    for size in (0, 5, 3 * PAGE):
        descriptor = os.memfd_create("not-a-ring")
        os.ftruncate(descriptor, size)
        try:
            with pytest.raises(WireError, match="shared memory"):
                Ring.attach(str(descriptor))
        finally:
            os.close(descriptor)


@pytest.mark.parametrize(("slots", "slot_bytes"), [(0, 10), (9_999, 10), (4, 0)])
def test_senseless_sizes_are_refused(slots: int, slot_bytes: int) -> None:
    with pytest.raises(RigError, match="expected 1 to"):
        Ring.create(slots, slot_bytes=slot_bytes)


def test_more_memory_than_there_is_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Never ask for it in earnest here: Linux would grant it and kill processes then.
    monkeypatch.setattr("armicro.wire.ring._available_bytes", lambda: 1 << 20)
    with pytest.raises(RigError, match="set a smaller camera"):
        Ring.create(4, slot_bytes=1 << 18)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_a_closed_ring_leaves_no_descriptor_behind(make_field: FieldMaker) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    for _ in range(3):
        with Ring.create(2, slot_bytes=SLOT_BYTES) as ring:
            reader = Ring.attach(ring.handle)
            put(ring, make_field(0))
            reader.close()
            reader.close()
        ring.close()
    assert descriptors() == before

"""Pixels between processes of one machine: a ring of slots in shared memory.

The memory is an anonymous file: on Linux a memfd, on other POSIX systems a temporary
file that has already lost its name. The supervisor creates it and its children inherit
the descriptor, so the system frees it with the last process that has it, however that
process ends: there is no name that could be left behind. On Windows it is a named
mapping of the paging file, which goes with its last handle in the same way (not run on
Windows so far).

    page 0     magic, layout, and a row of four numbers for each slot
    then       the slots, each starting on a page

A slot's row is (stamp, seq, width, height). The writer makes the stamp odd, copies the
pixels and makes it even: the odd stamp is never used again. A reader knows the even
stamp from the descriptor; when the slot has it before *and* after the reader's work,
the work saw this field and no other. Stamps rise over the whole ring, so a writer that
is killed in mid-copy leaves one odd stamp which no descriptor names, and the next
writer goes on from the highest.
"""

import contextlib
import mmap
import os
import secrets
import sys
import tempfile
import threading
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from armicro.errors import RigError, WireError
from armicro.field import Field, Pixels
from armicro.wire.topic import Shot

MAGIC = 0x31474E4952434D41
"""``AMCRING1`` in little-endian."""
PAGE = max(mmap.ALLOCATIONGRANULARITY, mmap.PAGESIZE)
MOST_SLOTS = (PAGE - 32) // 32

Result = TypeVar("Result")


class Spot(NamedTuple):
    """Where a field's pixels lie: the two numbers that its ``Shot`` carries."""

    slot: int
    stamp: int


class Ring:
    """Slots of shared memory with one writer and any number of readers.

    Make it with ``create`` in the parent, pass ``handle`` on the command line and
    ``pass_fds`` to ``subprocess.Popen``, and open it with ``attach`` in the child.
    """

    def __init__(
        self, memory: mmap.mmap, handle: str, descriptor: int, *, owner: bool
    ) -> None:
        """Use ``create`` or ``attach``."""
        self.handle = handle
        """Names the ring on a child's command line."""
        self.dropped = 0
        """Shots that cannot have come from this ring: of another, or forged."""
        self._memory = memory
        self._descriptor = descriptor
        self._owner = owner
        head = np.frombuffer(memory, np.uint64, PAGE // 8)
        self.slots, self.slot_bytes = int(head[1]), int(head[2])
        self._rows: NDArray[np.uint64] = head[4 : 4 + 4 * self.slots].reshape(-1, 4)
        self._last: int | None = None
        self._lock = threading.Lock()

    @classmethod
    def create(cls, slots: int = 4, *, slot_bytes: int) -> Self:
        """Allocate a ring; its memory is taken now, so that it cannot run short later.

        Raises:
            RigError: the sizes make no sense, or the machine lacks the memory.
        """
        if not 1 <= slots <= MOST_SLOTS or slot_bytes < 1:
            raise RigError(
                f"ring of {slots} slots of {slot_bytes} bytes; expected 1 to "
                f"{MOST_SLOTS} slots of at least one byte"
            )
        size = PAGE + slots * _pages(slot_bytes)
        try:
            _check_available(size)
            memory, handle, descriptor = _allocate(size)
        except (OSError, ValueError, OverflowError) as error:
            raise RigError(
                f"no {size / 1e6:.0f} MB of shared memory for {slots} fields: {error}; "
                "free memory or set a smaller camera.width_px and height_px"
            ) from error
        np.frombuffer(memory, np.uint64, 3)[:] = (MAGIC, slots, slot_bytes)
        return cls(memory, handle, descriptor, owner=True)

    @classmethod
    def attach(cls, handle: str, *, write: bool = False) -> Self:
        """Open a ring that the parent made; only its writer needs ``write``.

        Raises:
            WireError: the handle does not name a ring of this version.
        """
        try:
            memory, descriptor = _open(handle, write=write)
        except (OSError, ValueError, OverflowError) as error:
            raise WireError(
                f"shared memory {handle!r}: {error}; expected a handle that the "
                "supervisor passed on to this process"
            ) from error
        magic, slots, slot_bytes = np.frombuffer(memory, np.uint64, 3).tolist()
        size = PAGE + slots * _pages(slot_bytes)
        if magic != MAGIC or not 1 <= slots <= MOST_SLOTS or size > len(memory):
            memory.close()
            raise WireError(f"shared memory {handle!r} is not a ring of this version")
        return cls(memory, handle, descriptor, owner=False)

    @property
    def pass_fds(self) -> tuple[int, ...]:
        """Descriptors for ``subprocess.Popen(pass_fds=...)``; none on Windows."""
        return () if self._descriptor < 0 else (self._descriptor,)

    def put(self, field: Field, *, keep: Collection[int] = ()) -> Spot | None:
        """Copy a field's pixels into the oldest slot that is not in ``keep``.

        Returns None when every slot is to be kept: then nothing is written.

        Raises:
            WireError: the field does not fit a slot, the ring was opened for reading,
                or another process is its writer.
        """
        if self._last is None:
            self._last = self._become_writer()
        height_px, width_px = _checked(field.pixels, self.slot_bytes)
        free = [slot for slot in range(self.slots) if slot not in keep]
        if not free:
            return None
        slot = min(free, key=lambda slot: int(self._rows[slot, 0]))
        row, stamp = self._rows[slot], self._last + 2
        row[0] = stamp - 1
        self._fence()
        np.copyto(self._slot(slot, height_px, width_px), field.pixels)
        row[1:] = field.seq, width_px, height_px
        self._fence()
        row[0] = self._last = stamp
        return Spot(slot, stamp)

    def look(self, shot: Shot, work: Callable[[Pixels], Result]) -> Result | None:
        """Work on a field where it lies, without a copy; None when it is not there.

        ``work`` gets (height, width, 3) read-only RGB that may change under its hands:
        what it makes of that is thrown away. Its result must not be a view of the slot;
        an array that is one is copied before the last check. A shot that cannot have
        come from this ring is counted in ``dropped``.
        """
        if not self._fits(shot):
            self.dropped += 1
            return None
        if not self._holds(shot):
            return None
        pixels = self._slot(shot.slot, shot.head.height_px, shot.head.width_px)
        pixels.flags.writeable = False
        result = work(pixels)
        if isinstance(result, np.ndarray) and np.may_share_memory(result, pixels):
            result = result.copy()
        self._fence()
        return result if self._holds(shot) else None

    def read(self, shot: Shot) -> Pixels | None:
        """Copy a field's pixels out; None when they are not there, as in ``look``."""
        return self.look(shot, np.copy)

    def holding(self, seqs: Collection[int]) -> frozenset[int]:
        """Slots that hold one of these fields, also those of a writer before: ``keep``.

        So a writer keeps what was given out and not acknowledged.
        """
        return frozenset(
            slot
            for slot, (stamp, seq, _, _) in enumerate(self._rows.tolist())
            if stamp and stamp % 2 == 0 and seq in seqs
        )

    def close(self) -> None:
        """Let go of the memory; may be called twice."""
        self._rows = np.empty((0, 4), np.uint64)
        # Somebody may have kept a view against the rules: it goes with that view then.
        with contextlib.suppress(BufferError):
            self._memory.close()
        if self._owner and self._descriptor >= 0:
            os.close(self._descriptor)
            self._owner = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _become_writer(self) -> int:
        """Lock out other writers and find the last even stamp to go on from."""
        if not self._rows.flags.writeable:
            raise WireError("this ring was opened for reading; attach with write=True")
        if self._descriptor >= 0 and not _lock_alone(self._descriptor):
            raise WireError(
                "another process still writes to this ring; end it before a new "
                "capture starts"
            )
        return (int(self._rows[:, 0].max()) + 1) // 2 * 2

    def _slot(self, slot: int, height_px: int, width_px: int) -> Pixels:
        start = PAGE + slot * _pages(self.slot_bytes)
        flat = np.frombuffer(self._memory, np.uint8, height_px * width_px * 3, start)
        return flat.reshape(height_px, width_px, 3)

    def _fits(self, shot: Shot) -> bool:
        needed = shot.head.height_px * shot.head.width_px * 3
        return 0 <= shot.slot < self.slots and 0 < needed <= self.slot_bytes

    def _holds(self, shot: Shot) -> bool:
        head = shot.head
        row = (shot.stamp, head.seq, head.width_px, head.height_px)
        return shot.stamp > 0 and tuple(self._rows[shot.slot].tolist()) == row

    def _fence(self) -> None:
        # Writes must not pass each other. x86 sees to that; on ARM a lock that is let
        # go and another that is taken after it do (0.2 µs).
        with self._lock:
            pass
        with self._lock:
            pass


def _checked(pixels: Pixels, slot_bytes: int) -> tuple[int, int]:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise WireError(
            f"pixels are {pixels.shape} {pixels.dtype}, expected (height, width, 3) "
            "uint8"
        )
    if not 0 < pixels.size <= slot_bytes:
        raise WireError(
            f"field of {pixels.shape[1]}×{pixels.shape[0]} px does not fit a slot of "
            f"{slot_bytes} bytes; set camera.width_px and height_px to its size"
        )
    return pixels.shape[0], pixels.shape[1]


def _check_available(size: int) -> None:
    # Linux would grant more than there is and then kill processes, anybody's, for it.
    most = _available_bytes() // 2
    if size > most:
        raise ValueError(f"half of the memory that is free is {most / 1e6:.0f} MB")


def _available_bytes() -> int:
    """Memory that can be had without swapping; where unknown, a generous 4 GiB."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    except OSError:
        return 1 << 32
    known = dict(line.split(":", 1) for line in lines)
    return int(known["MemAvailable"].split()[0]) * 1024


def _pages(size: int) -> int:
    return -(-size // PAGE) * PAGE


if sys.platform == "win32":

    def _allocate(size: int) -> tuple[mmap.mmap, str, int]:
        name = f"armicro-{secrets.token_hex(16)}"
        return mmap.mmap(-1, size, tagname=name), f"{name}:{size}", -1

    def _open(handle: str, *, write: bool) -> tuple[mmap.mmap, int]:
        name, size = handle.split(":")
        access = mmap.ACCESS_WRITE if write else mmap.ACCESS_READ
        return mmap.mmap(-1, int(size), tagname=name, access=access), -1

    def _lock_alone(descriptor: int) -> bool:
        return descriptor < 0

else:
    import fcntl

    def _allocate(size: int) -> tuple[mmap.mmap, str, int]:
        descriptor = _anonymous_file()
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, size)
            else:
                os.ftruncate(descriptor, size)
            return _map(descriptor, size, write=True), str(descriptor), descriptor
        except BaseException:
            os.close(descriptor)
            raise

    def _anonymous_file() -> int:
        if hasattr(os, "memfd_create"):
            return os.memfd_create(f"armicro-ring-{os.getpid()}")
        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())

    def _open(handle: str, *, write: bool) -> tuple[mmap.mmap, int]:
        descriptor = int(handle)
        size = os.fstat(descriptor).st_size
        if size < PAGE:
            raise ValueError(f"{size} bytes, too small for a ring")
        return _map(descriptor, size, write=write), descriptor

    def _map(descriptor: int, size: int, *, write: bool) -> mmap.mmap:
        # Mapped page by page on first use, the first fields would take 10 ms each.
        flags = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)
        prot = mmap.PROT_READ | (mmap.PROT_WRITE if write else 0)
        return mmap.mmap(descriptor, size, flags=flags, prot=prot)

    def _lock_alone(descriptor: int) -> bool:
        """Lock the file for this process until it ends; False when another has it."""
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

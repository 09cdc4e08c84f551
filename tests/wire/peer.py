"""The other process of ``test_two_processes``: a writer, a reader, or a supervisor.

Every pixel of a field is its ``seq`` modulo 256, so a torn field shows.
"""

import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

from armicro.field import Field
from armicro.wire.link import Answerer, Asker
from armicro.wire.ring import Ring
from armicro.wire.topic import Ask, Shot

SIZE_PX = (1_024, 1_224)
LIFE_S = 600.0
"""Should the test die, its children end by themselves."""
END = time.monotonic() + LIFE_S


def field(seq: int) -> Field:
    return Field(0.25, seq, 0, pixels=np.full((*SIZE_PX, 3), seq % 256, np.uint8))


def write(handle: str, address: str) -> None:
    """Put without a pause, so that a kill mostly comes in mid-copy."""
    say("started")
    with (
        Ring.attach(handle, write=True) as ring,
        Answerer(address, "fields") as answerer,
    ):
        seq = 0
        while time.monotonic() < END:
            spot = ring.put(field(seq))
            assert spot is not None
            for peer, _ in answerer.receive():
                answerer.reply(peer, Shot(field(seq).head, 0, *spot))
            seq += 1


def read(handle: str, address: str) -> None:
    """Say for every field whether it was whole, torn, or overwritten in time."""
    asked = 0
    with Ring.attach(handle) as ring, Asker(address, "fields") as asker:
        say("started")
        while time.monotonic() < END:
            parcel = asker.ask(Ask("run", asked), timeout_ms=120_000)
            asked += 1
            if parcel is None or not isinstance(parcel.message, Shot):
                say("silence")
                continue
            pixels = ring.read(parcel.message)
            if pixels is None:
                say("overwritten")
            else:
                whole = bool((pixels == parcel.message.head.seq % 256).all())
                say("whole" if whole else "torn")


def supervise(address: str) -> None:
    """Hold a ring and have a writer and a reader; say their process ids."""
    with Ring.create(2, slot_bytes=SIZE_PX[0] * SIZE_PX[1] * 3) as ring:
        children = [
            subprocess.Popen(
                [sys.executable, __file__, role, ring.handle, address],
                pass_fds=ring.pass_fds,
                stdout=subprocess.DEVNULL,
            )
            for role in ("write", "read")
        ]
        say(" ".join(str(child.pid) for child in children))
        time.sleep(LIFE_S)


def say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


ROLES: dict[str, Callable[..., None]] = {
    "write": write,
    "read": read,
    "supervise": supervise,
}


if __name__ == "__main__":
    ROLES[sys.argv[1]](*sys.argv[2:])

"""The machine's numbers are judged against what armicro needs."""

from pathlib import Path

import pytest

from armicro.doctor.machine import (
    check_cpu,
    check_disk,
    check_memory,
    check_shared_memory,
    machine_checks,
)

CPUINFO = """\
processor\t: 0
model name\t: Test CPU 3000
flags\t\t: fpu avx avx2 avx512f amx_int8

processor\t: 1
model name\t: another
flags\t\t: fpu
"""
GIB = 1 << 30


def test_processor_tells_name_cores_and_extensions() -> None:
    check = check_cpu(CPUINFO, 2)
    assert check.found == "Test CPU 3000, 2 cores usable (avx2, avx512f, amx_int8)"
    assert check.state == "ok"


def test_processor_without_avx2_is_slow() -> None:
    check = check_cpu("model name: Old\nflags: fpu sse2\n", 1)
    assert (check.state, check.found) == ("missing", "Old, 1 core usable, no AVX2")
    assert check.todo


def test_processor_of_another_system_is_not_judged() -> None:
    assert check_cpu("", 8).state == "ok"


@pytest.mark.parametrize(
    ("total", "state", "found"),
    [
        (2 * GIB, "missing", "1.0 GiB free of 2.0 GiB"),
        (16 * GIB, "ok", "1.0 GiB free of 16.0 GiB"),
        (0, "ok", "unknown"),
    ],
)
def test_memory(total: int, state: str, found: str) -> None:
    check = check_memory(total, GIB)
    assert (check.state, check.found, bool(check.todo)) == (
        state, found, state != "ok",
    )  # fmt: skip


def test_little_disk_is_told() -> None:
    assert check_disk(Path("out"), 100 << 20).found == "100 MiB free in out"
    assert check_disk(Path("out"), 100 << 20).state == "missing"
    assert check_disk(Path("out"), 100 * GIB).state == "ok"


def test_a_containers_default_shared_memory_breaks_the_ring() -> None:
    check = check_shared_memory(64 << 20)
    assert check.state == "broken"
    assert "--shm-size" in check.todo


def test_this_machine_can_be_looked_at(tmp_path: Path) -> None:
    names = [check.name for check in machine_checks(tmp_path)]
    assert names == [
        "system", "processor", "memory", "disk", "shared memory", "journal",
    ]  # fmt: skip

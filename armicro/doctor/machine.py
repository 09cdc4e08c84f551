"""Processor, memory, disk and shared memory."""

import os
import platform
import shutil
import sqlite3
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

from armicro.doctor.check import Check

GROUP = "machine"
LEAST_MEMORY = 4 << 30
LEAST_DISK = 2 << 30
RING = 128 << 20
"""Room for the ring of fields: four slots of a large camera's."""
LEAST_SQLITE = (3, 25, 0)
"""Window functions; the journal finds its gaps with them."""

_EXTENSIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8")


def machine_checks(folder: Path) -> list[Check]:
    """Look at the machine; ``folder`` is where results would go."""
    return [
        Check(GROUP, "system", "ok", f"{_system()}, {platform.machine()}"),
        check_cpu(_read(Path("/proc/cpuinfo")), usable_cores()),
        check_memory(*_memory_bytes()),
        check_disk(folder, shutil.disk_usage(folder).free),
        _shared_memory(),
        _sqlite(),
    ]


def check_cpu(cpuinfo: str, cores: int) -> Check:
    """Say which processor it is and which extensions the networks can use.

    Args:
        cpuinfo: text of ``/proc/cpuinfo``; empty where there is none.
        cores: those that this process may use.
    """
    facts = _facts(cpuinfo)
    name = facts.get("model name") or platform.processor() or "unknown processor"
    flags = facts.get("flags", "").split()
    has = ", ".join(flag for flag in _EXTENSIONS if flag in flags)
    found = f"{name}, {cores} core{'s' if cores > 1 else ''} usable"
    if flags and "avx2" not in flags:
        todo = "the networks run slowly without AVX2; use a newer processor or a GPU"
        return Check(GROUP, "processor", "missing", f"{found}, no AVX2", todo)
    return Check(GROUP, "processor", "ok", f"{found} ({has})" if has else found)


def check_memory(total: int, available: int) -> Check:
    """Judge the memory, in bytes; 0 is unknown."""
    found = f"{_gib(available)} free of {_gib(total)}" if total else "unknown"
    if 0 < total < LEAST_MEMORY:
        todo = f"armicro is comfortable with {_gib(LEAST_MEMORY)}; close other programs"
        return Check(GROUP, "memory", "missing", found, todo)
    return Check(GROUP, "memory", "ok", found)


def check_disk(folder: Path, free: int) -> Check:
    """Judge the room for results, in bytes."""
    found = f"{_gib(free)} free in {folder}"
    if free < LEAST_DISK:
        todo = "free some space, or name a folder on another disk with --out"
        return Check(GROUP, "disk", "missing", found, todo)
    return Check(GROUP, "disk", "ok", found)


def check_shared_memory(free: int) -> Check:
    """Judge the room for the ring of fields, in bytes."""
    found = f"{_gib(free)} free"
    if free < RING:
        # A ring that does not fit is made without complaint, and its first writer dies.
        todo = (
            f"the processes share {RING >> 20} MB of pixels; give /dev/shm more (a "
            "container takes --shm-size=512m)"
        )
        return Check(GROUP, "shared memory", "broken", found, todo)
    return Check(GROUP, "shared memory", "ok", found)


def usable_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _shared_memory() -> Check:
    try:
        segment = SharedMemory(create=True, size=4096)
    except OSError as error:
        todo = "allow shared memory (mount /dev/shm) or loosen the sandbox"
        return Check(GROUP, "shared memory", "broken", str(error), todo)
    segment.close()
    segment.unlink()
    mount = Path("/dev/shm")
    if not mount.is_dir():
        return Check(GROUP, "shared memory", "ok", "works")
    return check_shared_memory(shutil.disk_usage(mount).free)


def _sqlite() -> Check:
    found = f"SQLite {sqlite3.sqlite_version}"
    if sqlite3.sqlite_version_info < LEAST_SQLITE:
        todo = "the journal needs SQLite 3.25; use a newer Python"
        return Check(GROUP, "journal", "broken", found, todo)
    return Check(GROUP, "journal", "ok", found)


def _system() -> str:
    if hasattr(platform, "freedesktop_os_release"):
        try:
            name = platform.freedesktop_os_release().get("PRETTY_NAME", "")
        except OSError:
            name = ""
        if name:
            return f"{name} ({platform.system()} {platform.release()})"
    return f"{platform.system()} {platform.release()}"


def _memory_bytes() -> tuple[int, int]:
    """Total and available; a container's limit counts as the total."""
    facts = _facts(_read(Path("/proc/meminfo")))
    total, free = (
        int(facts.get(name, "0 kB").split()[0]) << 10
        for name in ("MemTotal", "MemAvailable")
    )
    limit = _read(Path("/sys/fs/cgroup/memory.max")).strip()
    if limit.isdigit() and 0 < int(limit) < total:
        total, free = int(limit), min(free, int(limit))
    return total, free


def _facts(text: str) -> dict[str, str]:
    """Lines of "name: value"; of several processors the first one counts."""
    facts: dict[str, str] = {}
    for line in text.splitlines():
        name, found, value = line.partition(":")
        if found:
            facts.setdefault(name.strip(), value.strip())
    return facts


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _gib(size: int) -> str:
    return f"{size / (1 << 30):.1f} GiB" if size >= 1 << 30 else f"{size >> 20} MiB"

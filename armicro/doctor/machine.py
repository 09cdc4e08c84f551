"""What can be looked at without loading a vendor library: machine, packages, rigs."""

import contextlib
import os
import platform
import re
import shutil
import sqlite3
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path

from armicro import __version__
from armicro.calibrate.certificate import SCALE_NOT_MEASURED, days_left
from armicro.certificate import now
from armicro.doctor import Check, check_of
from armicro.errors import RigError
from armicro.rig import Rig, read_rig
from armicro.wire.address import check_wire

MACHINE, PACKAGES, RIG = "machine", "packages", "rig"
LEAST_MEMORY = 4 << 30
LEAST_DISK = 2 << 30
RING = 128 << 20
"""Room for the ring of fields: four slots of a large camera's."""
LEAST_SQLITE = (3, 25, 0)
"""Window functions; the journal finds its gaps with them."""

_EXTENSIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8")
LEAST_PYTHON = (3, 11)
PURPOSES: Mapping[str, str] = {
    "camera": "Basler cameras",
    "micromanager": "cameras and stages through Micro-Manager",
    "kfb": "KFB slides",
    "gpu": "networks on an NVIDIA GPU",
    "train": "training, export and validation plots",
    "cluster": "many slides on many machines",
}
"""What an extra is for. Which packages it has is told by armicro's own metadata."""
_REQUIRED = re.compile(r"""([\w.-]+).*?(?:extra == ['"]([\w-]+)['"])?\s*$""")
SOON_DAYS = 30
_PLAYED = frozenset({"slide", "recording", "simulated"})
"""Drivers whose scale is as given."""


def machine_checks(folder: Path) -> list[Check]:
    """Look at the machine; ``folder`` is where results would go."""
    return [
        check_of(MACHINE, "system", f"{_system()}, {platform.machine()}"),
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
        return check_of(MACHINE, "processor", f"{found}, no AVX2", todo)
    return check_of(MACHINE, "processor", f"{found} ({has})" if has else found)


def check_memory(total: int, available: int) -> Check:
    """Judge the memory, in bytes; 0 is unknown."""
    found = f"{_gib(available)} free of {_gib(total)}" if total else "unknown"
    todo = f"armicro is comfortable with {_gib(LEAST_MEMORY)}; close other programs"
    return check_of(MACHINE, "memory", found, todo * (0 < total < LEAST_MEMORY))


def check_disk(folder: Path, free: int) -> Check:
    """Judge the room for results, in bytes."""
    found = f"{_gib(free)} free in {folder}"
    todo = "free some space, or name a folder on another disk with --out"
    return check_of(MACHINE, "disk", found, todo * (free < LEAST_DISK))


def check_shared_memory(free: int) -> Check:
    """Judge the room for the ring of fields, in bytes."""
    found = f"{_gib(free)} free"
    # A ring that does not fit is made without complaint, and its first writer dies.
    todo = (
        f"the processes share {RING >> 20} MB of pixels; give /dev/shm more (a "
        "container takes --shm-size=512m)"
    ) * (free < RING)
    return check_of(MACHINE, "shared memory", found, todo, broken=True)


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
        return check_of(MACHINE, "shared memory", str(error), todo, broken=True)
    segment.close()
    segment.unlink()
    mount = Path("/dev/shm")
    if not mount.is_dir():
        return check_of(MACHINE, "shared memory", "works")
    return check_shared_memory(shutil.disk_usage(mount).free)


def _sqlite() -> Check:
    old = sqlite3.sqlite_version_info < LEAST_SQLITE
    todo = "the journal needs SQLite 3.25; use a newer Python" if old else ""
    found = f"SQLite {sqlite3.sqlite_version}"
    return check_of(MACHINE, "journal", found, todo, broken=True)


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


VersionOf = Callable[[str], str | None]


def version_of(package: str) -> str | None:
    """Version of an installed package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def package_checks(
    version_of: VersionOf = version_of, requires: Sequence[str] | None = None
) -> list[Check]:
    """Look at Python, and at what armicro requires (or ``requires``) and its extras."""
    with contextlib.suppress(metadata.PackageNotFoundError):
        # Run from its sources: nobody has asked for its packages either.
        requires = metadata.requires("armicro") if requires is None else requires
    needed = packages(requires or ())
    return [
        _python(),
        check_base({name: version_of(name) for name in needed.get("", ())}),
        *_known_trouble(version_of),
        *(
            check_extra(extra, {name: version_of(name) for name in needed[extra]})
            for extra in PURPOSES
            if extra in needed
        ),
    ]


def packages(requires: Sequence[str]) -> dict[str, list[str]]:
    """Packages by the extra that brings them, the base under "".

    >>> packages(["numpy>=2.0", "onnx>=1.17; extra == 'train'"])
    {'': ['numpy'], 'train': ['onnx']}
    """
    found: dict[str, list[str]] = {}
    for name, extra in (_REQUIRED.findall(line)[0] for line in requires):
        found.setdefault(extra, []).append(name)
    return found


def check_base(versions: Mapping[str, str | None]) -> Check:
    """Judge the packages without which nothing works; none are known of no install."""
    if not versions:
        todo = "install armicro where this Python finds it: pip install armicro"
        return check_of(PACKAGES, "base", "armicro is not installed", todo)
    lacking = [name for name, version in versions.items() if version is None]
    if lacking:
        todo = "install armicro with its requirements: pip install armicro"
        found = f"lacks {', '.join(lacking)}"
        return check_of(PACKAGES, "base", found, todo, broken=True)
    return check_of(PACKAGES, "base", _list(versions))


def check_extra(extra: str, versions: Mapping[str, str | None]) -> Check:
    """Judge the packages of an extra."""
    lacking = [name for name, version in versions.items() if version is None]
    if not lacking:
        return check_of(PACKAGES, extra, _list(versions))
    none = len(lacking) == len(versions)
    found = "not installed" if none else f"lacks {', '.join(lacking)}"
    todo = f"for {PURPOSES[extra]}: pip install 'armicro[{extra}]'"
    return check_of(PACKAGES, extra, found, todo)


def _python() -> Check:
    old = sys.version_info < LEAST_PYTHON
    todo = "armicro needs Python 3.11 or later" if old else ""
    found = f"{platform.python_version()}, armicro {__version__}"
    return check_of(PACKAGES, "python", found, todo, broken=True)


def _known_trouble(version_of: VersionOf) -> list[Check]:
    """Combinations that are known to fail in ways hard to understand."""
    checks = []
    qt = version_of("PySide6-Essentials") or ""
    if qt.startswith("6.12.") and sys.version_info < (3, 12):
        todo = "pip install 'PySide6-Essentials!=6.12.*'"
        found = f"PySide6 {qt} ends Python 3.11 at its start"
        checks.append(check_of(PACKAGES, "window", found, todo, broken=True))
    if version_of("opencv-python") or version_of("opencv-contrib-python"):
        found = "OpenCV's full wheel is installed; its Qt plugins break the window"
        todo = (
            "pip uninstall opencv-python opencv-contrib-python, then "
            "pip install --force-reinstall opencv-python-headless"
        )
        checks.append(check_of(PACKAGES, "opencv", found, todo))
    return checks


def _list(versions: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def rig_checks(path: Path, at: str = "") -> list[Check]:
    """Look at a rig file and what its certificate is worth today (or ``at``)."""
    try:
        rig = read_rig(path)
        check_wire(rig.wire)
    except RigError as error:
        todo = "correct the rig file"
        return [check_of(RIG, path.stem, str(error), todo, broken=True)]
    camera = rig.camera
    found = f"{camera.driver}, {camera.um_per_px:.4g} µm/px, {rig.objective or '–'}"
    said = _certificate(rig, path, at or now())
    return [check_of(RIG, path.stem, found), check_of(RIG, "certificate", *said)]


def _certificate(rig: Rig, path: Path, at: str) -> tuple[str, str]:
    """What its certificate is worth, and what to do; empty: nothing."""
    again = f"measure the instrument: armicro calibrate guide --rig {path}"
    if rig.calibration_fault:
        return f"{rig.calibration_fault}; boxes off", again
    if rig.camera.uncalibrated:
        return "boxes at a scale that nobody measured", again
    if rig.calibration is None:
        if rig.camera.driver in _PLAYED or rig.camera.emulated_image:
            return "none, and none is needed: nothing real is measured", ""
        return f"none; {SCALE_NOT_MEASURED}", again
    days = days_left(rig.calibration, at)
    found = f"{Path(rig.certificate).name}, expires in {days:.0f} days"
    return found, "" if days > SOON_DAYS else again

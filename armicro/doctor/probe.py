"""Probes of what may hang or end the process: drivers, vendor libraries, networks.

A probe says what it found. It need not protect itself: each runs in a process of its
own (``python -m armicro.doctor.probe NAME``), and an exception, a crash and a silence
are all reported by ``examine`` with the probe's own advice. A vendor library is
imported in its driver and, only to see whether it loads, here.
"""

import importlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import msgspec

from armicro.doctor import Check, check_of
from armicro.engine.manifest import MANIFEST_NAME, read_manifest, verify
from armicro.engine.registry import DEFAULT_SET, find_set, list_sets, open_set
from armicro.errors import EngineError
from armicro.source.reader import ENTRY_POINT_GROUP

NETWORKS = "networks"
FORMATS = "SVS, TIFF, NDPI, MRXS, SCN, VMS, BIF, CZI, DICOM"
"""What OpenSlide reads, by its usual suffixes."""


def load(name: str) -> Any:
    """Import a module by name.

    Raises:
        ImportError: it is not installed or does not fit.
        OSError: a library that it needs cannot be loaded.
    """
    return importlib.import_module(name)


def say_why(error: Exception) -> str:
    """Return why a library did not load, in one line."""
    if isinstance(error, ModuleNotFoundError):
        return f"{error.name} is not installed"
    return first_line(str(error))


def first_line(text: str) -> str:
    """Return the first line that says something."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def look_at_pylon() -> list[Check]:
    """List Basler cameras."""
    try:
        pylon = load("pypylon.pylon")
    except (ImportError, OSError) as error:
        todo = "for Basler cameras: pip install 'armicro[camera]'"
        return [check_of("cameras", "Basler", say_why(error), todo)]
    devices = pylon.TlFactory.GetInstance().EnumerateDevices()
    if not devices:
        todo = "check cable, power and USB 3 port; another program may hold the camera"
        return [check_of("cameras", "Basler", "no camera seen", todo)]
    names = [
        f"{d.GetModelName()}, serial number {d.GetSerialNumber()}" for d in devices
    ]
    return [check_of("cameras", "Basler", name) for name in names]


def look_at_video(
    devices: Path = Path("/dev"), names: Path = Path("/sys/class/video4linux")
) -> list[Check]:
    """List video cameras without opening them: opening lights their lamp."""
    if sys.platform != "linux":
        found = "not looked for on this system"
        todo = 'try it: a rig with camera.driver "video" and camera.device "0"'
        return [check_of("cameras", "video", found, todo)]
    checks = []
    for path in sorted(devices.glob("video*")):
        name = names / path.name / "name"
        label = name.read_text().strip() if name.is_file() else "unnamed"
        found, todo = f"{path}: {label}", ""
        if not os.access(path, os.R_OK | os.W_OK):
            found += ", not allowed to open it"
            todo = "add yourself to the group that owns it (usually video); log in anew"
        checks.append(check_of("cameras", "video", found, todo))
    todo = "plug in a UVC camera, if one is to be used"
    return checks or [check_of("cameras", "video", "no video device", todo)]


def look_at_screen() -> list[Check]:
    """Start Qt and list its screens."""
    displays = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    seen = sys.platform != "linux" or any(os.environ.get(name) for name in displays)
    if not seen:
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    application = load("PySide6.QtGui").QGuiApplication([])
    platform = application.platformName()
    if platform in ("offscreen", "minimal"):
        found = f"none; Qt draws {platform}"
        todo = (
            "for the window log in to a desktop or set DISPLAY; --headless needs none"
        )
        return [check_of("screens", "screen", found, todo)]
    return [
        check_of(
            "screens",
            screen.name() or f"screen {number}",
            f"{screen.size().width()} × {screen.size().height()}, "
            f"{screen.refreshRate():.0f} Hz, scaled {screen.devicePixelRatio():g}, "
            f"Qt platform {platform}",
        )
        for number, screen in enumerate(application.screens())
    ]


def look_at_slide_formats() -> list[Check]:
    """Load every reader of slides."""
    openslide = load("openslide")
    version = f"OpenSlide {openslide.__library_version__}"
    checks = [check_of("slides", "OpenSlide", f"{version}: {FORMATS}")]
    try:
        load("kfbslide")
        checks.append(check_of("slides", "KFB", "kfbslide"))
    except (ImportError, OSError) as error:
        todo = "for KFB slides: pip install 'armicro[kfb]'"
        checks.append(check_of("slides", "KFB", say_why(error), todo))
    readers = sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda one: one.name)
    return checks + [_look_at_reader(entry) for entry in readers]


def look_at_wire() -> list[Check]:
    """Look at ZeroMQ and its encryption."""
    zmq = load("zmq")
    found = f"ZeroMQ {zmq.zmq_version()}"
    if zmq.has("curve"):
        return [check_of("wire", "ZeroMQ", f"{found} with CURVE")]
    todo = "only for parts on other machines: install a pyzmq wheel with libsodium"
    return [check_of("wire", "ZeroMQ", f"{found} without CURVE", todo)]


def _look_at_reader(entry: EntryPoint) -> Check:
    name = entry.name.upper()
    # A plug-in raises what it likes.
    try:
        entry.load()
    except Exception as error:  # noqa: BLE001
        todo = f"install the package that provides {entry.value} again"
        return check_of("slides", name, say_why(error), todo)
    return check_of("slides", name, entry.value)


def look_at_openvino() -> list[Check]:
    """List OpenVINO's devices."""
    core = load("openvino").Core()
    devices = {
        device: core.get_property(device, "FULL_DEVICE_NAME").strip()
        for device in core.available_devices
    }
    kinds = set(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    fast = ", ".join(kind for kind in ("INT8", "BF16", "FP16") if kind in kinds)
    found = "; ".join(f"{device}: {name}" for device, name in devices.items())
    return [check_of(NETWORKS, "OpenVINO", f"{found} ({fast or 'FP32 only'})")]


def look_at_gpu() -> list[Check]:
    """Ask NVIDIA's driver for its GPUs."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total"]
    try:
        said = subprocess.run(
            [*query, "--format=csv,noheader"],
            capture_output=True, text=True, timeout=15, check=True,
        ).stdout  # fmt: skip
    except FileNotFoundError:
        todo = (
            "nothing, unless there is one: then install its driver (OpenVINO is used)"
        )
        return [check_of(NETWORKS, "NVIDIA GPU", "no driver found", todo)]
    except subprocess.CalledProcessError as error:
        found = first_line(error.stdout or error.stderr) or "nvidia-smi fails"
        todo = "install the driver again, or restart after an update of it"
        return [check_of(NETWORKS, "NVIDIA GPU", found, todo)]
    gpus = [line.strip() for line in said.splitlines() if line.strip()]
    if not gpus:
        todo = "check that it is plugged in and powered; OpenVINO is used meanwhile"
        return [check_of(NETWORKS, "NVIDIA GPU", "the driver sees no GPU", todo)]
    return [check_of(NETWORKS, "NVIDIA GPU", gpu) for gpu in gpus]


def look_at_tensorrt() -> list[Check]:
    """Load TensorRT and a way to its memory."""
    todo = "for networks on an NVIDIA GPU: pip install 'armicro[gpu]'"
    try:
        found = f"TensorRT {load('tensorrt').__version__}"
    except (ImportError, OSError) as error:
        return [check_of(NETWORKS, "TensorRT", say_why(error), todo)]
    bindings = []
    for name, module in (("pycuda", "pycuda.driver"), ("cuda-python", "cuda.bindings")):
        try:
            load(module)
        except (ImportError, OSError):
            continue
        bindings.append(name)
    if not bindings:
        found += ", but neither pycuda nor cuda-python"
        return [check_of(NETWORKS, "TensorRT", found, todo)]
    return [check_of(NETWORKS, "TensorRT", f"{found}, {' and '.join(bindings)}")]


def look_at_sets() -> list[Check]:
    """Hash the files of every network set."""
    folders: dict[str, Path] = {}
    for folder in list_sets():
        folders.setdefault(folder.name, folder)
    checks = [_look_at_set(folder) for folder in folders.values()]
    if DEFAULT_SET not in folders:
        found = f"{DEFAULT_SET}: no folder with a {MANIFEST_NAME}"
        todo = "install armicro's wheel, or name your own set with --engines"
        checks.append(check_of(NETWORKS, "set", found, todo, broken=True))
    return checks


def look_at_outputs() -> list[Check]:
    """Run the default set and compare it with its golden outputs."""
    try:
        find_set(DEFAULT_SET)
    except EngineError:
        # ``look_at_sets`` has said so.
        return []
    try:
        with open_set(DEFAULT_SET) as networks:
            rows, backend = networks.agreement, networks.backend
    except EngineError as error:
        todo = "it will not be run; see `armicro engine check`"
        return [check_of(NETWORKS, "outputs", str(error), todo, broken=True)]
    worst = max(row.difference / row.tolerance for row in rows)
    found = (
        f"{DEFAULT_SET} on {backend} reproduces its golden outputs "
        f"(worst at {worst:.0%} of the tolerance)"
    )
    return [check_of(NETWORKS, "outputs", found)]


def _look_at_set(folder: Path) -> Check:
    try:
        manifest = read_manifest(folder)
        contents = verify(folder, manifest)
    except EngineError as error:
        todo = "copy or export the set again; it will not be run as it is"
        is_needed = folder.name == DEFAULT_SET
        return check_of(NETWORKS, "set", str(error), todo, broken=is_needed)
    size = sum(map(len, contents.values())) >> 20
    found = f"{manifest.name} {manifest.version}, {size} MB, files as in its manifest"
    return check_of(NETWORKS, "set", found)


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe, and what to say when it fails."""

    group: str
    name: str
    look: Callable[[], list[Check]]
    todo: str
    base: bool = False
    """Its failure makes armicro unusable."""
    seconds: float = 20.0


PROBES: Mapping[str, Probe] = {
    "openvino": Probe(
        NETWORKS, "OpenVINO", look_at_openvino, base=True,
        todo="pip install --force-reinstall openvino",
    ),
    "gpu": Probe(NETWORKS, "NVIDIA GPU", look_at_gpu, "restart the GPU's driver"),
    "tensorrt": Probe(
        NETWORKS, "TensorRT", look_at_tensorrt,
        "install TensorRT and CUDA bindings that fit the driver",
    ),
    "sets": Probe(
        NETWORKS, "set", look_at_sets, base=True,
        todo="install armicro again",
    ),
    "outputs": Probe(
        NETWORKS, "outputs", look_at_outputs, base=True, seconds=90,
        todo="install armicro again, or see `armicro engine check`",
    ),
    "pylon": Probe(
        "cameras", "Basler", look_at_pylon,
        "reconnect the camera, then pip install --force-reinstall pypylon",
    ),
    "video": Probe("cameras", "video", look_at_video, "reconnect the camera"),
    "screen": Probe(
        "screens", "screen", look_at_screen,
        "on Debian or Ubuntu: apt install libgl1 libegl1 libxkbcommon-x11-0 "
        "libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1; or use --headless",
    ),
    "slides": Probe(
        "slides", "OpenSlide", look_at_slide_formats, base=True,
        todo="pip install --force-reinstall openslide-bin openslide-python",
    ),
    "wire": Probe(
        "wire", "ZeroMQ", look_at_wire, base=True,
        todo="pip install --force-reinstall pyzmq",
    ),
}  # fmt: skip
"""In the order of the answer."""


def answer(key: str) -> None:
    """Be the process of one probe: run it and write what it found."""
    # Libraries print to standard output what they like; it is not the answer.
    with os.fdopen(os.dup(1), "wb") as channel:
        os.dup2(2, 1)
        found = PROBES[key].look()
        channel.write(msgspec.json.encode(found))
        channel.flush()
    # Qt and vendor libraries may crash while they are torn down: all is said.
    os._exit(0)


if __name__ == "__main__":
    answer(sys.argv[1])

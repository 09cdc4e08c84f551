"""Probes of cameras, screens, slide readers and the wire.

A probe says what it found. It need not protect itself: an exception, a crash and a
silence are all reported by ``child`` with the probe's own advice.
"""

import os
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from armicro.doctor.check import Check
from armicro.doctor.load import load, say_why
from armicro.source.reader import ENTRY_POINT_GROUP

FORMATS = "SVS, TIFF, NDPI, MRXS, SCN, VMS, BIF, CZI, DICOM"
"""What OpenSlide reads, by its usual suffixes."""


def look_at_pylon() -> list[Check]:
    """List Basler cameras."""
    try:
        pylon = load("pypylon.pylon")
    except (ImportError, OSError) as error:
        todo = "for Basler cameras: pip install 'armicro[camera]'"
        return [Check("cameras", "Basler", "missing", say_why(error), todo)]
    devices = pylon.TlFactory.GetInstance().EnumerateDevices()
    if not devices:
        todo = "check cable, power and USB 3 port; another program may hold the camera"
        return [Check("cameras", "Basler", "missing", "no camera seen", todo)]
    return [
        Check(
            "cameras", "Basler", "ok",
            f"{device.GetModelName()}, serial number {device.GetSerialNumber()}",
        )
        for device in devices
    ]  # fmt: skip


def look_at_video(
    devices: Path = Path("/dev"), names: Path = Path("/sys/class/video4linux")
) -> list[Check]:
    """List video cameras without opening them: opening lights their lamp."""
    if sys.platform != "linux":
        found = "not looked for on this system"
        todo = 'try it: a rig with camera.driver "video" and camera.device "0"'
        return [Check("cameras", "video", "missing", found, todo)]
    checks = []
    for path in sorted(devices.glob("video*")):
        name = names / path.name / "name"
        label = name.read_text().strip() if name.is_file() else "unnamed"
        if os.access(path, os.R_OK | os.W_OK):
            checks.append(Check("cameras", "video", "ok", f"{path}: {label}"))
        else:
            found = f"{path}: {label}, not allowed to open it"
            todo = "add yourself to the group that owns it (usually video); log in anew"
            checks.append(Check("cameras", "video", "missing", found, todo))
    if checks:
        return checks
    todo = "plug in a UVC camera, if one is to be used"
    return [Check("cameras", "video", "missing", "no video device", todo)]


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
        return [Check("screens", "screen", "missing", found, todo)]
    return [
        Check("screens", screen.name() or f"screen {number}", "ok", (
            f"{screen.size().width()} × {screen.size().height()}, "
            f"{screen.refreshRate():.0f} Hz, scaled {screen.devicePixelRatio():g}, "
            f"Qt platform {platform}"
        ))
        for number, screen in enumerate(application.screens())
    ]  # fmt: skip


def look_at_slide_formats() -> list[Check]:
    """Load every reader of slides."""
    openslide = load("openslide")
    version = f"OpenSlide {openslide.__library_version__}"
    checks = [Check("slides", "OpenSlide", "ok", f"{version}: {FORMATS}")]
    try:
        load("kfbslide")
        checks.append(Check("slides", "KFB", "ok", "kfbslide"))
    except (ImportError, OSError) as error:
        todo = "for KFB slides: pip install 'armicro[kfb]'"
        checks.append(Check("slides", "KFB", "missing", say_why(error), todo))
    return checks + [_look_at_reader(entry) for entry in _readers()]


def look_at_wire() -> list[Check]:
    """Look at ZeroMQ and its encryption."""
    zmq = load("zmq")
    found = f"ZeroMQ {zmq.zmq_version()}"
    if not zmq.has("curve"):
        todo = "only for parts on other machines: install a pyzmq wheel with libsodium"
        return [Check("wire", "ZeroMQ", "missing", f"{found} without CURVE", todo)]
    return [Check("wire", "ZeroMQ", "ok", f"{found} with CURVE")]


def _readers() -> list[EntryPoint]:
    return sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda entry: entry.name)


def _look_at_reader(entry: EntryPoint) -> Check:
    name = entry.name.upper()
    # A plug-in raises what it likes.
    try:
        entry.load()
    except Exception as error:  # noqa: BLE001
        todo = f"install the package that provides {entry.value} again"
        return Check("slides", name, "missing", say_why(error), todo)
    return Check("slides", name, "ok", entry.value)

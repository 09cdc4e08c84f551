"""Python and the packages that armicro builds on, by their recorded versions."""

import platform
import sys
from collections.abc import Callable, Mapping
from importlib import metadata

from armicro import __version__
from armicro.doctor.check import Check

GROUP = "packages"
LEAST_PYTHON = (3, 11)
BASE = (
    "jinja2", "msgspec", "numpy", "opencv-python-headless", "openslide-bin",
    "openslide-python", "openvino", "PySide6-Essentials", "pyqtgraph", "pyzmq",
    "structlog", "tifffile", "tqdm",
)  # fmt: skip
EXTRAS: Mapping[str, tuple[tuple[str, ...], str]] = {
    "camera": (("pypylon",), "Basler cameras"),
    "kfb": (("kfbslide",), "KFB slides"),
    "gpu": (("tensorrt", "cuda-python"), "networks on an NVIDIA GPU"),
    "train": (
        ("torch", "onnx", "onnxscript", "onnxruntime", "nncf", "safetensors",
         "scikit-learn", "matplotlib"),
        "training, export and validation plots",
    ),
    "cluster": (("ray",), "many slides on many machines"),
}  # fmt: skip
"""Extra, its packages, and what they are for."""

VersionOf = Callable[[str], str | None]


def version_of(package: str) -> str | None:
    """Version of an installed package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def package_checks(version_of: VersionOf = version_of) -> list[Check]:
    """Look at Python, the base packages and the extras."""
    return [
        _python(),
        check_base({name: version_of(name) for name in BASE}),
        *_known_trouble(version_of),
        *(
            check_extra(extra, {name: version_of(name) for name in names}, purpose)
            for extra, (names, purpose) in EXTRAS.items()
        ),
    ]


def check_base(versions: Mapping[str, str | None]) -> Check:
    """Judge the packages without which nothing works."""
    lacking = [name for name, version in versions.items() if version is None]
    if lacking:
        todo = "install armicro with its requirements: pip install armicro"
        return Check(GROUP, "base", "broken", f"lacks {', '.join(lacking)}", todo)
    return Check(GROUP, "base", "ok", _list(versions))


def check_extra(extra: str, versions: Mapping[str, str | None], purpose: str) -> Check:
    """Judge the packages of an extra."""
    lacking = [name for name, version in versions.items() if version is None]
    if not lacking:
        return Check(GROUP, extra, "ok", _list(versions))
    found = "not installed" if len(lacking) == len(versions) else (
        f"lacks {', '.join(lacking)}"
    )  # fmt: skip
    todo = f"for {purpose}: pip install 'armicro[{extra}]'"
    return Check(GROUP, extra, "missing", found, todo)


def _python() -> Check:
    found = f"{platform.python_version()}, armicro {__version__}"
    if sys.version_info < LEAST_PYTHON:
        todo = "armicro needs Python 3.11 or later"
        return Check(GROUP, "python", "broken", found, todo)
    return Check(GROUP, "python", "ok", found)


def _known_trouble(version_of: VersionOf) -> list[Check]:
    """Combinations that are known to fail in ways hard to understand."""
    checks = []
    qt = version_of("PySide6-Essentials") or ""
    if qt.startswith("6.12.") and sys.version_info < (3, 12):
        todo = "pip install 'PySide6-Essentials!=6.12.*'"
        found = f"PySide6 {qt} ends Python 3.11 at its start"
        checks.append(Check(GROUP, "window", "broken", found, todo))
    if version_of("opencv-python") or version_of("opencv-contrib-python"):
        found = "OpenCV's full wheel is installed; its Qt plugins break the window"
        todo = (
            "pip uninstall opencv-python opencv-contrib-python, then "
            "pip install --force-reinstall opencv-python-headless"
        )
        checks.append(Check(GROUP, "opencv", "missing", found, todo))
    return checks


def _list(versions: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())

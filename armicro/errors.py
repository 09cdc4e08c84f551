"""What can go wrong, said so that its reader can act.

An error is raised at the edge where it is seen, names what was seen, what was expected
and what to do, and is caught only in ``processes`` and ``__main__``. ``exit_status`` is
what a command returns for it: 2 for wrong use or bad input, 1 for work that failed.
"""

import re

EXTRAS = {
    "train": "matplotlib nncf onnx onnxruntime onnxscript safetensors sklearn torch",
    "camera": "pypylon",
    "micromanager": "pymmcore",
    "kfb": "kfbslide",
    "gpu": "cuda tensorrt",
    "cluster": "ray",
}
"""What each extra of the installation brings, by the names that are imported."""

DISK_REMEDY = (
    "expected a disk with room and permission to write; free some space, or choose "
    "another place for what is written"
)

_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def one_line(text: str, *, most: int | None = None) -> str:
    r"""Text that is one line and can be encoded, whatever a file's name holds.

    Args:
        text: of any origin.
        most: letters of it that are kept; None: all.

    >>> print(one_line("a\nb\udcff.tif"))
    a\nb\xff.tif
    """
    # A byte of a name that is no UTF-8 comes as a surrogate: shown as that byte.
    return _BREAKS.sub(
        lambda found: found[0].encode("unicode_escape").decode(), text[:most]
    ).replace("\\udc", "\\x")


class ArmicroError(Exception):
    """The base of every error that armicro raises on purpose."""

    exit_status = 2

    def __str__(self) -> str:
        """The message in one line: a name in it may hold anything."""
        return one_line(super().__str__())


class SourceError(ArmicroError):
    """A slide, recording, camera or data set cannot be used as it is."""


class SourceLostError(SourceError):
    """A source that worked has gone away (camera unplugged); it may come back."""

    exit_status = 1


class DiskError(SourceError):
    """What was to be kept could not be written: nothing may tell it as kept."""

    exit_status = 1


class WireError(ArmicroError):
    """A message is malformed, foreign, oversized or of another version."""

    exit_status = 1


class EngineError(ArmicroError):
    """A network set is missing, changed, or does not reproduce its golden outputs."""


class CalibrationError(ArmicroError):
    """A measurement or certificate does not fit the instrument."""


class RigError(ArmicroError):
    """A rig file is missing, malformed or names something that does not exist."""


def missing_extra(error: Exception, module: str = "") -> str:
    """Return what to install for a module that an extra brings; empty for another.

    Args:
        error: of the import.
        module: that was to be imported, where its error may name another or none.

    >>> missing_extra(ModuleNotFoundError(name="sklearn.manifold"))
    "sklearn is not installed; expected the extra train: pip install 'armicro[train]'"
    """
    named = (error.name or "") if isinstance(error, ImportError) else ""
    top = named.partition(".")[0]
    name = top if any(top in modules.split() for modules in EXTRAS.values()) else module
    gone = isinstance(error, ModuleNotFoundError) and name == top
    why = "is not installed" if gone else f"cannot be loaded ({error})"
    for extra, modules in EXTRAS.items():
        if name in modules.split():
            return (
                f"{name} {why}; expected the extra {extra}: "
                f"pip install 'armicro[{extra}]'"
            )
    return ""

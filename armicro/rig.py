"""One TOML file describes an instrument: read once, checked, frozen.

Every table has defaults that suit a simulated microscope, so the shortest rig is an
empty file; unknown keys are errors, since a misspelt setting must not pass in silence.
"""

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from armicro.cascade.choice import Choice
from armicro.errors import RigError
from armicro.slide.choice import RegisterChoice

Pixels = Annotated[int, Meta(gt=0, le=65_535)]
"""The most that a message on the wire may state."""
PositiveFloat = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]

Driver = Literal["basler", "video", "slide", "recording"]
Trigger = Literal["continuous", "software"]
Precision = Literal["native", "bf16", "fp32"]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Camera(_Table, frozen=True):
    """The camera, or the slide that plays one."""

    driver: Driver = "slide"
    width_px: Pixels = 2448
    height_px: Pixels = 2048
    um_per_px: Annotated[float, Meta(ge=0.001, le=100.0)] = 0.243
    """At the slide. A calibration certificate, when there is one, overrides it."""
    frames_per_second: PositiveFloat = 30.0
    device: str = ""
    """Serial number or user name (basler), number or path (video); empty: the first."""
    trigger: Trigger = "continuous"
    exposure_us: PositiveFloat | None = None
    gain_db: float | None = None
    white_balance: tuple[float, float, float] | None = None
    """Gains of red, green and blue; None leaves the camera's own."""
    emulated_image: str = ""
    """Image that pylon's emulated camera pans over (PNG or BMP, larger than a field);
    "drawn" draws one; empty: a real camera."""
    emulated_pan_um_per_s: float = 0.0
    """Speed of the emulated stage, which reports its place as an encoder."""


class Scan(_Table, frozen=True):
    """How a slide is walked over when it plays the camera."""

    path: Literal["serpentine", "raster", "random", "freehand"] = "serpentine"
    """``freehand`` wanders like a hand on a manual stage, and comes by again."""
    fields: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    """Length of a free-hand path; 0: as long as a serpentine over the region."""
    overlap: Annotated[float, Meta(ge=0, lt=0.95)] = 0.1
    """Share of a field's width and height that the next one sees again."""
    seed: int = 0
    stage_um_per_s: NotNegative = 0.0
    """Blurs each field by this speed times the exposure; 0: the stage stands."""
    blur_um: NotNegative = 0.0
    """Standard deviation of an optical blur."""
    defocus_um: NotNegative = 0.0
    """Standard deviation of a random focus error per field."""
    vignetting: Share = 0.0
    """Loss of light at the corners."""
    noise: Share = 0.0
    """Standard deviation of sensor noise, as a share of full scale."""
    rotation_deg: float = 0.0
    dropped: Share = 0.0
    """Share of fields that never arrive."""
    hide_place: bool = False
    """The source keeps to itself where its fields lie: registration has to find it."""


class Network(_Table, frozen=True):
    """Which network set runs, and on what."""

    set: str = "cervical-r50"
    """Name or folder."""
    backend: Literal["auto", "openvino", "tensorrt", "recorded"] = "auto"
    precision: Precision = "native"
    threads: Annotated[int, Meta(ge=0, le=1024)] = 0
    """0: all cores in replay, all but one in live."""


class Wire(_Table, frozen=True):
    """Addresses for parts on other machines; empty means this machine."""

    capture: str = ""
    """Where capture answers, "tcp://HOST:PORT"; fields then carry their pixels."""
    infer: str = ""
    """Where infer publishes the slide's state, "tcp://HOST:PORT"."""
    keys: str = ""
    """Folder with CURVE keys (``armicro keys``); required for tcp to another host."""


class Rig(_Table, frozen=True):
    """An instrument and its settings."""

    name: str = "simulated"
    objective: str = ""
    """For example "UPLXAPO 20x/0.8"."""
    camera: Camera = Camera()
    scan: Scan = Scan()
    network: Network = Network()
    cascade: Choice = Choice()
    wire: Wire = Wire()
    register: RegisterChoice = RegisterChoice()

    @property
    def sha256(self) -> str:
        """Digest of the settings, independent of how the file is laid out."""
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()


def read_rig(path: Path) -> Rig:
    """Read and check a rig file.

    Raises:
        RigError: the file is missing, is not TOML, or a value is not what it must be.
    """
    try:
        rig = msgspec.toml.decode(path.read_bytes(), type=Rig)
    except OSError as error:
        raise RigError(
            f"rig {path}: {error.strerror or error}; expected a TOML file such as "
            "those in hardware/rigs"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RigError(f"rig {path}: {error}; correct that line and try again") from (
            error
        )
    for name, value in _numbers(msgspec.to_builtins(rig)):
        # TOML knows inf and nan; no instrument has them.
        if not math.isfinite(value):
            raise RigError(f"rig {path}: {name} is {value}; expected a finite number")
    return rig


def _numbers(value: object, name: str = "") -> Iterator[tuple[str, float]]:
    """Every number of nested tables with its name, such as "camera.um_per_px"."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, f"{name}.{key}".lstrip("."))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _numbers(inner, name)
    elif isinstance(value, float):
        yield name, value

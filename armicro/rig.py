"""One TOML file describes an instrument: read once, checked, frozen.

Every table has defaults that suit a simulated microscope, so the shortest rig is an
empty file; unknown keys are errors, since a misspelt setting must not pass in silence.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from armicro.calibrate.certificate import Certificate, Instrument, why_not
from armicro.calibrate.reading import nominal_um_per_px
from armicro.cascade.screen import Choice
from armicro.certificate import now, read_certificate
from armicro.errors import CalibrationError, RigError
from armicro.file import MOST_TOML_BYTES, decode_toml, read_bounded
from armicro.flat import read_flat
from armicro.place.claim import RegisterChoice
from armicro.verdict import ENOUGH_COVERAGE, HR_UM_PER_PX

Pixels = Annotated[int, Meta(gt=0, le=65_535)]
"""The most that a message on the wire may state."""
PositiveFloat = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]
Matrix = tuple[tuple[float, float], tuple[float, float]]

Driver = Literal["basler", "micromanager", "simulated", "video", "slide", "recording"]
StageDriver = Literal["none", "micromanager", "pylon", "simulated"]
Trigger = Literal["continuous", "software"]
Precision = Literal["native", "bf16", "fp32"]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Camera(_Table, frozen=True):
    """The camera, or the slide that plays one."""

    driver: Driver = "slide"
    width_px: Pixels = 2448
    height_px: Pixels = 2048
    um_per_px: Annotated[float, Meta(ge=0.001, le=100.0)] = HR_UM_PER_PX
    """At the slide, by arithmetic. A certificate that is in force overrides it, and is
    refused where it differs by more than 25 %."""
    uncalibrated: bool = False
    """Draw boxes at that arithmetic scale, and say so everywhere. Without it a real
    camera that no certificate covers gets none."""
    pixel_um: PositiveFloat | None = None
    """Side of a sensor pixel: with the objective's power, the scale to expect."""
    frames_per_second: PositiveFloat = 30.0
    device: str = ""
    """Serial number or user name (basler); of ``video`` a camera (number, device path,
    link or URL) or a file (video, folder of pictures, TIFF of several pages); empty:
    the first camera, or the one that Micro-Manager's configuration names."""
    trigger: Trigger = "continuous"
    exposure_us: PositiveFloat | None = None
    gain_db: float | None = None
    white_balance: tuple[float, float, float] | None = None
    """Gains of red, green and blue; None leaves the camera's own."""
    emulated_image: str = ""
    """Image that an emulated or simulated camera pans over (PNG or BMP, larger than a
    field); "drawn" draws one; empty: a real camera."""
    emulated_pan_um_per_s: float = 0.0
    """Speed of the emulated stage, which reports its place as an encoder."""


class MicroManager(_Table, frozen=True):
    """Devices behind Micro-Manager's core, which camera and stage share."""

    config: str = ""
    """A configuration file (.cfg) that Micro-Manager wrote; or else:"""
    lines: tuple[str, ...] = ()
    """The lines of such a file, for example "Device,XY,DemoCamera,DXYStage"."""
    adapters: str = ""
    """Folder of the device adapters; empty: that of MICROMANAGER_PATH in the
    environment, or the test devices of the package mm-test-adapters."""


class Mechanics(_Table, frozen=True):
    """What a simulated stage really does when it is told to move."""

    um_per_step: Matrix = ((1.0, 0.0), (0.0, 1.0))
    """((a, b), (c, d)): step (x, y) moves the view a x + b y µm right, c x + d y µm
    down."""
    backlash: tuple[NotNegative, NotNegative] = (0.0, 0.0)
    """Play of x and y: way that is lost when they turn, in the stage's units."""
    repeatability: NotNegative = 0.0
    """Standard deviation of where an axis stops, in the stage's units."""
    seed: int = 0


class StageSettings(_Table, frozen=True):
    """The motorised stage, where there is one."""

    driver: StageDriver = "none"
    limits: tuple[float, float, float, float] | None = None
    """Soft limits in the stage's units: least x, least y, greatest x, greatest y."""
    settle_s: Annotated[float, Meta(ge=0, le=10)] = 0.0
    """Pause after a move, for a stage that says too early that it stands."""
    mechanics: Mechanics = Mechanics()
    """Of the simulated stage."""


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
    """Folder with CURVE keys (``armicro keys``); tcp is refused without them."""


class Map(_Table, frozen=True):
    """The slide stitched from a session's fields, kept as ``slide.tif``."""

    keep: bool = True
    """Of sessions without a slide file, and where ``--map`` asks for it."""


class DisplaySettings(_Table, frozen=True):
    """What the operator sees the boxes on, and from when on a score counts."""

    mode: Literal["monitor", "optical"] = "monitor"
    """``monitor`` shows the camera's picture with its boxes; ``optical`` only boxes on
    black, for a display that is mixed into the eyepiece."""
    latency_ms: NotNegative = 20.0
    """Of the optical display alone, from painting to light; where a certificate says
    what the whole way takes, boxes are drawn at least that far ahead."""
    least_coverage: Share = ENOUGH_COVERAGE
    """Below this share of the cell area a score is only "so far"."""


class Rig(_Table, frozen=True):
    """An instrument and its settings."""

    name: str = "simulated"
    objective: str = ""
    """For example "UPLXAPO 20x/0.8"."""
    certificate: str = ""
    """File with what was measured, relative to the rig's; ``read_rig`` makes the path
    absolute. Empty: nothing was."""
    calibration: Certificate | None = None
    """What stands in that file: filled by ``read_rig``, no key of a rig file."""
    calibration_fault: str = ""
    """Why it is not in force: edited, expired, of another objective..."""
    camera: Camera = Camera()
    stage: StageSettings = StageSettings()
    micromanager: MicroManager = MicroManager()
    scan: Scan = Scan()
    network: Network = Network()
    cascade: Choice = Choice()
    wire: Wire = Wire()
    map: Map = Map()
    display: DisplaySettings = DisplaySettings()
    register: RegisterChoice = RegisterChoice()

    def expected_um_per_px(self, binning: int = 1) -> float:
        """What a measured scale is held against: by the names, else as typed."""
        named = self.named_um_per_px
        return self.camera.um_per_px if named is None else named * binning

    @property
    def named_um_per_px(self) -> float | None:
        """Scale by the names on objective and sensor; None: they do not say."""
        pixel_um = self.camera.pixel_um
        return nominal_um_per_px(self.objective, pixel_um) if pixel_um else None

    @property
    def sha256(self) -> str:
        """Digest of settings and certificate, wherever their files lie."""
        rig = msgspec.structs.replace(self, certificate="", calibration_fault="")
        return hashlib.sha256(msgspec.json.encode(rig, order="sorted")).hexdigest()


def read_rig(path: Path) -> Rig:
    """Read and check a rig file, and bring its certificate into force.

    A certificate that cannot be in force leaves its reason in ``calibration_fault``:
    a live session shows fields without boxes, a batch refuses.

    Raises:
        RigError: the file is missing, is not TOML, or a value is not what it must be.
    """
    try:
        rig = decode_toml(read_bounded(path, MOST_TOML_BYTES), Rig)
    except OSError as error:
        raise RigError(
            f"rig {path}: {error.strerror or error}; expected a TOML file such as "
            "those in hardware/rigs"
        ) from error
    except msgspec.DecodeError as error:
        raise RigError(f"rig {path}: {error}; correct that line and try again") from (
            error
        )
    if rig.calibration is not None or rig.calibration_fault:
        raise RigError(
            f"rig {path}: calibration is no key of a rig; name the file that armicro "
            'calibrate writes, certificate = "FILE"'
        )
    if not rig.certificate:
        return rig
    return _calibrated(rig, (path.parent / rig.certificate).resolve())


def _calibrated(rig: Rig, path: Path) -> Rig:
    """Take what was measured over what was typed in, where it is in force."""
    replace = msgspec.structs.replace
    try:
        certificate = read_certificate(path)
        if certificate.light is not None:
            # Proved here, where its fault can be told; the source reads it again.
            read_flat(path.parent, certificate.light)
    except CalibrationError as error:
        # Shown in the window and kept in reports: short, and without folders. What to
        # do is the same for every fault, and said by whoever refuses.
        why = str(error).replace(str(path), path.name).partition("; measure")[0]
        if not path.exists():
            why = f"no certificate {path.name} yet"
        return replace(rig, certificate=str(path), calibration_fault=why)
    fault = why_not(
        certificate,
        # The camera is not open yet: whose certificate it is, is asked again then.
        Instrument(width_px=0, height_px=0, binning=0, objective=rig.objective),
        now(),
        nominal_um_per_px=rig.expected_um_per_px(certificate.instrument.binning),
    )
    camera = rig.camera
    if certificate.scale is not None and not fault:
        camera = replace(camera, um_per_px=certificate.scale.um_per_px)
    return replace(
        rig,
        camera=camera,
        certificate=str(path),
        calibration=certificate,
        calibration_fault=fault,
    )

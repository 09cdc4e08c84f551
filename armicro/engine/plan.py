"""GPU engines ("plans"): built from ONNX, kept on disk, loaded from there."""

import hashlib
import json
import os
import stat
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from armicro.engine.cuda import Device
from armicro.engine.manifest import Opening, sha256_of
from armicro.errors import EngineError
from armicro.file import beside, create

FORMAT = 1
"""Raised when plans are built differently by armicro itself."""
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """Shapes that a plan is built for, batch first."""

    least: Shape
    usual: Shape
    """Shape that the kernels are chosen for."""
    most: Shape

    def takes(self, sample: Shape) -> bool:
        """Whether one sample (no batch axis) lies within it."""
        sides = zip(self.least[1:], sample, self.most[1:], strict=False)
        return len(sample) + 1 == len(self.most) and all(
            low <= side <= high for low, side, high in sides
        )


@dataclass(frozen=True, slots=True)
class PlanKey:
    """All that a plan depends on."""

    network: str
    onnx_sha256: str
    gpu: str
    capability: str
    driver: str
    tensorrt: str
    precision: str
    profiles: tuple[Profile, ...]

    @property
    def file_name(self) -> str:
        """Name of the plan's file, readable in front, certain behind."""
        text = json.dumps(asdict(self) | {"format": FORMAT}, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:32]
        return f"{self.network}-{self.precision}-{digest}.plan"


def cache_folder() -> Path:
    """Folder of this user's plans."""
    root = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(root) if root else Path.home() / ".cache") / "armicro" / "tensorrt"


def has_plan(key: PlanKey) -> bool:
    """Whether a plan was built; ``read_plan`` says whether it may be used."""
    return (cache_folder() / key.file_name).is_file()


def read_plan(key: PlanKey) -> bytes:
    """Read a plan that this user built on this machine.

    Raises:
        EngineError: there is none, somebody else could have written it, or its digest
            is not right.
    """
    path = cache_folder() / key.file_name
    try:
        _require_private(path.parent)
        _require_private(path)
        digest, _, plan = path.read_bytes().partition(b"\n")
    except OSError as error:
        raise EngineError(
            f"TensorRT engine of {key.network} ({key.precision}) is not built for "
            f"{key.gpu} with TensorRT {key.tensorrt}; run `armicro engine build`"
        ) from error
    if hashlib.sha256(plan).hexdigest().encode() != digest:
        raise EngineError(
            f"{path} is damaged; run `armicro engine build --force` to make it again"
        )
    return plan


def write_plan(key: PlanKey, plan: bytes) -> Path:
    """Keep a plan; readers see the whole of it or nothing.

    Raises:
        EngineError: the cache cannot be written, or is open to others.
    """
    folder = cache_folder()
    path = folder / key.file_name
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _require_private(folder)
        with beside(path) as part, create(part, mode=0o600) as file:
            file.write(hashlib.sha256(plan).hexdigest().encode() + b"\n" + plan)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise EngineError(
            f"TensorRT cache {folder}: {error.strerror or error}; "
            "set XDG_CACHE_HOME to a folder of your own"
        ) from error
    return path


def _require_private(path: Path) -> None:
    """Refuse what another user owns or may write to."""
    said = path.stat()
    foreign = hasattr(os, "getuid") and said.st_uid != os.getuid()
    if foreign or said.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise EngineError(
            f"{path} belongs to or can be written by somebody else, and a GPU engine "
            f"runs native code; expected your own (chmod go-w {path})"
        )


# ---------------------------------------------------------------------------
# Building a GPU engine from ONNX: shapes, precision, and what TensorRT says to it.
#
# ``trt`` is the module that ``tensorrt.load`` imported. Precision: ``native`` is what
# the ONNX says: Q/DQ nodes run in INT8, and on TensorRT 10 the rest may run in FP16 (11
# is strongly typed and has no such flags: there the file's own types hold). ``bf16``
# exists on 10 only. ``fp32`` forbids TF32 and sets no other flag.

PRECISIONS = ("native", "bf16", "fp32")
_WORKSPACE_BYTES = 2 << 30
_WHOLE_STRIDES = 6
"""Tiles beside the first that a whole field may have each way (2816 px)."""
_BATCHES = {"lr": (4, 8), "hr": (8, 16), "rnn": (1, 4)}
"""Usual and largest batch of each network."""


@dataclass(slots=True)
class TrtLog:
    """What TensorRT's logger last complained of, for error messages."""

    lines: list[str] = field(default_factory=list)

    def take(self) -> str:
        """Return and forget it."""
        text = "; ".join(self.lines[-3:]) or "no reason given"
        self.lines.clear()
        return text


def profiles_of(opening: Opening) -> dict[str, tuple[Profile, ...]]:
    """Shapes that each network is built for."""
    profiles: dict[str, tuple[Profile, ...]] = {}
    for network, sample in opening.samples.items():
        profiles[network] = (
            Profile(*((batch, *sample) for batch in (1, *_BATCHES[network]))),
        )
    lr = opening.manifest.lr
    stride = round(lr.tile_px * (1 - lr.overlap))
    sides = [lr.tile_px + stride * count for count in (0, 2, _WHOLE_STRIDES)]
    whole = Profile(*((1, side, side, 3) for side in sides))
    profiles["lr"] += (whole,)
    return profiles


def plan_keys(trt: Any, device: Device, opening: Opening) -> dict[str, PlanKey]:
    """Name the plan of each network of a set on this device."""
    return {
        network: PlanKey(
            network=network,
            onnx_sha256=sha256_of(opening.contents[f"{network}.onnx"]),
            gpu=device.name,
            capability=device.capability,
            driver=device.driver,
            tensorrt=trt.__version__,
            precision=opening.precision,
            profiles=profiles,
        )
        for network, profiles in profiles_of(opening).items()
    }


def build_plan(trt: Any, network: str, onnx: bytes, key: PlanKey) -> bytes:
    """Build one engine; minutes.

    Raises:
        EngineError: TensorRT refused; its own words are in the message.
    """
    said = TrtLog()
    try:
        logger = make_logger(trt, said)
        builder = trt.Builder(logger)
        definition = builder.create_network(0)
        parser = trt.OnnxParser(definition, logger)
        if not parser.parse(onnx):
            errors = [parser.get_error(i).desc() for i in range(parser.num_errors)]
            raise EngineError(
                f"{network}: TensorRT {trt.__version__} cannot read the ONNX: "
                f"{'; '.join(errors) or said.take()}"
            )
        config = builder.create_builder_config()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, _WORKSPACE_BYTES)
        _set_precision(trt, config, key.precision, quantised=b"uantizeLinear" in onnx)
        tensor = definition.get_input(0).name
        for profile in key.profiles:
            made = builder.create_optimization_profile()
            made.set_shape(tensor, profile.least, profile.usual, profile.most)
            if config.add_optimization_profile(made) < 0:
                raise EngineError(f"TensorRT refuses the shapes {profile} of {tensor}")
        plan = builder.build_serialized_network(definition, config)
    except (TypeError, RuntimeError) as error:
        # pybind11 raises TypeError from trt.Builder(...) where there is no GPU.
        raise EngineError(
            f"{network}: TensorRT failed: {error} ({said.take()})"
        ) from error
    if plan is None:
        raise EngineError(f"{network}: TensorRT could not build it: {said.take()}")
    return bytes(plan)


def _set_precision(trt: Any, config: Any, precision: str, *, quantised: bool) -> None:
    """Set what this version has flags for; 11 takes types from the ONNX alone."""
    flags = trt.BuilderFlag
    weakly_typed = hasattr(flags, "FP16")
    if precision not in PRECISIONS or (precision == "bf16" and not weakly_typed):
        raise EngineError(
            f"precision {precision!r} is not one of TensorRT {trt.__version__}: "
            "expected native or fp32"
        )
    if precision == "fp32":
        config.clear_flag(flags.TF32)
    if not weakly_typed:
        return
    if precision != "fp32":
        config.set_flag(flags.FP16 if precision == "native" else flags.BF16)
    if quantised:
        config.set_flag(flags.INT8)


def make_logger(trt: Any, said: TrtLog) -> Any:
    """Return a logger that keeps TensorRT's errors in ``said``."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        """Keeps errors for our own messages and prints nothing."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            """Take a message; warnings and notes are nobody's business here."""
            worst = trt.ILogger.Severity
            if severity in (worst.ERROR, worst.INTERNAL_ERROR):
                said.lines.append(message)

    return Logger()

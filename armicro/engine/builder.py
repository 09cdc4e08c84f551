"""Building a GPU engine from ONNX: shapes, precision, and what TensorRT says to it.

``trt`` is the module that ``tensorrt.load`` imported. Precision: ``native`` is what the
ONNX says: Q/DQ nodes run in INT8, and on TensorRT 10 the rest may run in FP16 (11 is
strongly typed and has no such flags: there the file's own types hold). ``bf16`` exists
on 10 only. ``fp32`` forbids TF32 and sets no other flag.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from armicro.engine.cuda import Device
from armicro.engine.manifest import Manifest, sha256_of
from armicro.engine.plan import PlanKey, Profile
from armicro.errors import EngineError

PRECISIONS = ("native", "bf16", "fp32")
_WORKSPACE_BYTES = 2 << 30
_WHOLE_STRIDES = 6
"""Tiles beside the first that a whole field may have each way (2816 px)."""
_BATCHES = {"lr": (4, 8), "hr": (8, 16), "rnn": (1, 4)}
"""Usual and largest batch of each network."""


class Opening(Protocol):
    """What of ``registry.Opening`` is needed here."""

    @property
    def manifest(self) -> Manifest:
        """Numbers of the set."""

    @property
    def contents(self) -> Mapping[str, bytes]:
        """Files that were hashed."""

    @property
    def precision(self) -> str:
        """One of PRECISIONS."""

    @property
    def samples(self) -> dict[str, tuple[int, ...]]:
        """Shape of one sample of each network's input."""


@dataclass(slots=True)
class Said:
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
        usual, most = _BATCHES[network]
        tiles = Profile((1, *sample), (usual, *sample), (most, *sample))
        profiles[network] = (tiles,)
    lr = opening.manifest.lr
    stride = round(lr.tile_px * (1 - lr.overlap))
    sides = [lr.tile_px + stride * count for count in (0, 2, _WHOLE_STRIDES)]
    whole = Profile(*((1, side, side, 3) for side in sides))
    profiles["lr"] += (whole,)
    return profiles


def plan_keys(trt: Any, device: Device, opening: Opening) -> dict[str, PlanKey]:
    """Name the plan of each network of a set on this device."""
    return {network: _key(trt, device, opening, network) for network in opening.samples}


def _key(trt: Any, device: Device, opening: Opening, network: str) -> PlanKey:
    return PlanKey(
        network=network,
        onnx_sha256=sha256_of(opening.contents[f"{network}.onnx"]),
        gpu=device.name,
        capability=device.capability,
        driver=device.driver,
        tensorrt=trt.__version__,
        precision=opening.precision,
        profiles=profiles_of(opening)[network],
    )


def build_plan(trt: Any, network: str, onnx: bytes, key: PlanKey) -> bytes:
    """Build one engine; minutes.

    Raises:
        EngineError: TensorRT refused; its own words are in the message.
    """
    said = Said()
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
        for profile in key.profiles:
            _add_profile(builder, config, definition.get_input(0).name, profile)
        plan = builder.build_serialized_network(definition, config)
    except (TypeError, RuntimeError) as error:
        # pybind11 raises TypeError from trt.Builder(...) where there is no GPU.
        raise EngineError(
            f"{network}: TensorRT failed: {error} ({said.take()})"
        ) from error
    if plan is None:
        raise EngineError(f"{network}: TensorRT could not build it: {said.take()}")
    return bytes(plan)


def _add_profile(builder: Any, config: Any, tensor: str, profile: Profile) -> None:
    made = builder.create_optimization_profile()
    made.set_shape(tensor, profile.least, profile.usual, profile.most)
    if config.add_optimization_profile(made) < 0:
        raise EngineError(f"TensorRT refuses the shapes {profile} of {tensor}")


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


def make_logger(trt: Any, said: Said) -> Any:
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

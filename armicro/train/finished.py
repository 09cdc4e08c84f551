"""A network ready to ship, and how it is kept between the steps of ``train all``."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import onnx

from armicro.errors import EngineError

FIGURES = "figures.json"
"""Written last: without it there is no finished network."""


@dataclass(frozen=True, slots=True, eq=False)
class Finished:
    """The two graphs of a network and the figures of its calibration."""

    fp32: onnx.ModelProto
    shipped: onnx.ModelProto
    figures: Mapping[str, float]


def keep_finished(folder: Path, done: Finished) -> None:
    """Write a finished network; its figures last, so that half a one has none."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FIGURES).unlink(missing_ok=True)
    (folder / "fp32.onnx").write_bytes(done.fp32.SerializeToString())
    (folder / "shipped.onnx").write_bytes(done.shipped.SerializeToString())
    (folder / FIGURES).write_text(json.dumps(dict(done.figures)), "utf-8")


def is_finished(folder: Path, trained: Path) -> bool:
    """Whether the network of a checkpoint was finished there, and not an older one."""
    figures = folder / FIGURES
    return figures.exists() and figures.stat().st_mtime >= trained.stat().st_mtime


def read_finished(folder: Path) -> Finished:
    """Read a finished network.

    Raises:
        EngineError: it is not there.
    """
    try:
        figures = json.loads((folder / FIGURES).read_text("utf-8"))
        graphs = [onnx.load(folder / f"{name}.onnx") for name in ("fp32", "shipped")]
    except OSError as error:
        raise EngineError(
            f"{folder}: no finished network ({error.strerror}); run armicro train "
            "lr, hr and rnn first"
        ) from error
    return Finished(graphs[0], graphs[1], figures)

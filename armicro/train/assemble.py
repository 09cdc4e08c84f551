"""From trained networks to a set in its folder: calibrate, export, quantise, write.

The order matters: the heads are calibrated on validation data first and the temperature
becomes part of the graph; the fp32 graphs give the golden outputs; the RNNs learn from
features as the shipped (INT8) HR network gives them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from armicro.engine.openvino import OpenVinoEngine, place
from armicro.field import Pixels
from armicro.train.calibrate import fit_platt, set_calibration
from armicro.train.construct import (
    Look,
    SlideSettings,
    build_pool,
    fit_rnn,
    score_constructed,
)
from armicro.train.data import Dataset
from armicro.train.drawn import SOURCE as DRAWN
from armicro.train.export import export_onnx, quantise, store_weights_int8
from armicro.train.finished import Finished
from armicro.train.gate import cut_field_tiles, set_gate
from armicro.train.golden import golden_arrays
from armicro.train.manifest import write_set
from armicro.train.networks import HighResolution, LowResolution, SlideRnn
from armicro.train.sample import (
    HR_UM_PER_PX,
    LR_UM_PER_PX,
    BalancedSampler,
    Sample,
    TilePlan,
    cut_tile,
    list_samples,
)
from armicro.train.whole import Gate, gate_differences

HR_PLAN = TilePlan(256, HR_UM_PER_PX, 0.0, augmented=False)
HR_CALIBRATION = TilePlan(256, HR_UM_PER_PX, 6.0)
LR_CALIBRATION = TilePlan(256, LR_UM_PER_PX, 40.0)
CALIBRATION_WEIGHTS = {"cric": 0.6, "sipakmed": 0.2, "herlev": 0.1, "phantom": 0.1}
POOL_PLAN = TilePlan(256, HR_UM_PER_PX, 6.0)

TOLERANCE = {
    "lr_probability": 0.10,
    "lr_location": 0.30,
    "hr_probability": 0.15,
    "hr_features": 0.20,
    "rnn_scores": 0.05,
}
"""INT8 on any CPU or GPU against fp32, on drawn pictures; see the card for the figures
that it costs on real cells, which are what matters."""


@dataclass(frozen=True, slots=True)
class AssembleSettings:
    """How much data each step looks at; a quick set takes less."""

    name: str = "cervical-r50"
    version: int = 1
    calibration_tiles: int = 64
    gate_tiles_per_field: int = 1
    hr_cells: int = 480
    pool_cells: int = 1200
    constructed: int = 400
    """Slides that the RNNs are judged on."""
    whole_stride: int = 4
    """Every so many validation fields is looked at whole and tile by tile."""
    int8: bool = True
    weights_7_bit: bool = True
    slides: SlideSettings = SlideSettings()  # noqa: RUF009 (frozen)


@torch.no_grad()
def calibrate_hr(
    network: HighResolution, samples: Sequence[Sample]
) -> dict[str, float]:
    """Fit and bake the HR head's temperature; return it."""
    set_calibration(network.head, 1.0, 0.0)
    network.eval()
    rng = np.random.default_rng(0)
    logits = []
    for start in tqdm(range(0, len(samples), 8), desc="HR calibration", mininterval=10):
        part = samples[start : start + 8]
        tiles = np.stack([cut_tile(sample, HR_PLAN, rng) for sample in part])
        middle = network.middle(torch.from_numpy(tiles))
        logits.append(network.logits(middle)[0].double().numpy())
    wanted = np.array([sample.lesion for sample in samples])
    with torch.enable_grad():
        temperature, offset = fit_platt(np.concatenate(logits), wanted)
    set_calibration(network.head, temperature, offset)
    return {"hr_temperature": temperature, "hr_offset": offset}


def calibration_tiles(
    sampler: BalancedSampler, plan: TilePlan, count: int, *, seed: int
) -> list[Pixels]:
    """Return augmented training tiles, so that other stains' ranges are seen too."""
    rng = np.random.default_rng(seed)
    return [
        cut_tile(sampler.samples[index], plan, rng)
        for index in sampler.draw(count, rng)
    ]


def open_graph(name: str, model: onnx.ModelProto) -> OpenVinoEngine:
    """Return a graph as an engine, on OpenVINO."""
    return OpenVinoEngine(
        name,
        model.SerializeToString(),
        precision="native",
        placement=place(threads=torch.get_num_threads(), latency=False),
    )


def lr_gate(model: onnx.ModelProto) -> Gate:
    """Return the gate of the LR graph as a function of tiles or whole fields."""
    engine = open_graph("lr", model)
    return lambda pixels: engine.infer({"tiles": pixels})["probability"]


def look_through(model: onnx.ModelProto) -> Look:
    """Return the HR graph as a function of tiles."""
    engine = open_graph("hr", model)

    def look(tiles: Pixels) -> tuple[Any, Any]:
        outputs = engine.infer({"tiles": tiles})
        return outputs["probability"], outputs["features"]

    return look


def pool_samples(dataset: Dataset, count: int, seed: int) -> list[Sample]:
    """Return finds for constructed slides: half lesions at most, areas repeated."""
    rng = np.random.default_rng(seed)
    samples = list_samples(dataset)
    lesions = [sample for sample in samples if sample.lesion]
    normals = [sample for sample in samples if not sample.lesion]
    areas = [sample for sample in normals if sample.category == "area"]
    normals += areas * 2
    few = min(len(lesions), count * 2 // 5)
    chosen = [lesions[i] for i in rng.choice(len(lesions), few, replace=False)]
    rest = min(count - few, len(normals))
    return chosen + [normals[i] for i in rng.choice(len(normals), rest, replace=False)]


def finish_lr(
    lr: LowResolution, dataset: Dataset, settings: AssembleSettings
) -> Finished:
    """Set the gate on validation fields, export, quantise."""
    val = dataset.split("val")
    tiles = cut_field_tiles(val.fields, per_field=settings.gate_tiles_per_field)
    figures = set_gate(lr, tiles)
    done = ship(export_onnx(lr), figures, LR_CALIBRATION, dataset, settings)
    gaps = gate_differences(lr_gate(done.shipped), val.fields[:: settings.whole_stride])
    whole = {"whole_mean": float(gaps.mean()), "whole_max": float(gaps.max())}
    return replace(done, figures={**figures, **whole})


def finish_hr(
    hr: HighResolution, dataset: Dataset, settings: AssembleSettings
) -> Finished:
    """Calibrate the probability on real validation cells, export, quantise."""
    cells = pool_real_cells(dataset.split("val"), settings.hr_cells)
    figures = calibrate_hr(hr, cells)
    return ship(export_onnx(hr), figures, HR_CALIBRATION, dataset, settings)


def ship(
    fp32: onnx.ModelProto,
    figures: Mapping[str, float],
    plan: TilePlan,
    dataset: Dataset,
    settings: AssembleSettings,
) -> Finished:
    """Quantise a graph on training tiles, or leave it as it is."""
    if not settings.int8:
        return Finished(fp32, fp32, figures)
    sampler = BalancedSampler(
        list_samples(dataset.split("train")), source_weights=CALIBRATION_WEIGHTS
    )
    shown = calibration_tiles(sampler, plan, settings.calibration_tiles, seed=20215)
    int8 = quantise(fp32, shown, weights_7_bit=settings.weights_7_bit)
    return Finished(fp32, int8, figures)


def finish_rnn(
    hr: onnx.ModelProto, dataset: Dataset, settings: AssembleSettings
) -> Finished:
    """Train the slide RNNs on the shipped HR network's features, export."""
    rnn, figures = train_rnn(hr, dataset.split("train"), dataset.split("val"), settings)
    plain = export_onnx(rnn)
    if not settings.int8:
        return Finished(plain, plain, figures)
    copy = onnx.load_from_string(plain.SerializeToString())
    return Finished(plain, store_weights_int8(copy), figures)


def finish_set(
    folder: Path,
    networks: Mapping[str, Finished],
    settings: AssembleSettings,
    training: Mapping[str, Any],
    kept: Mapping[str, NDArray[Any]],
) -> None:
    """Write the set; ``kept`` are golden arrays that stay as they were.

    The fp32 graphs are written beside an INT8 set, as ``FOLDER-fp32``, so that the two
    can be measured side by side; only an INT8 set is ever small enough to be committed.
    """
    plain = {name: one.fp32 for name, one in networks.items()}
    shipped = {name: one.shipped for name, one in networks.items()}
    golden = golden_arrays(plain) | dict(kept)
    metrics = {key: v for one in networks.values() for key, v in one.figures.items()}
    facts = {"training": dict(training), "metrics": metrics}
    beside = folder.with_name(f"{folder.name}-fp32") if settings.int8 else folder
    tables = set_tables(metrics, "fp32") | facts
    write = partial(write_set, name=settings.name, version=settings.version)
    write(beside, plain, golden, tables=tables)
    if settings.int8:
        write(folder, shipped, golden, tables=set_tables(metrics, "int8") | facts)


def pool_real_cells(val: Dataset, count: int) -> list[Sample]:
    """Return an even choice of real validation cells, each source a like share."""
    samples = [s for s in list_samples(val, areas=False) if s.source != DRAWN]
    sources = sorted({sample.source for sample in samples})
    chosen = []
    for source in sources:
        own = [sample for sample in samples if sample.source == source]
        chosen += own[:: max(1, len(own) * len(sources) // count)]
    return chosen


def train_rnn(
    hr: onnx.ModelProto, train: Dataset, val: Dataset, settings: AssembleSettings
) -> tuple[SlideRnn, dict[str, float]]:
    """Train the RNNs on the training split's pool, score them on the other's."""
    look = look_through(hr)
    seed = settings.slides.seed
    pool = build_pool(
        pool_samples(train, settings.pool_cells, seed), look, POOL_PLAN, seed
    )
    rnn = fit_rnn(pool, settings.slides)
    still = TilePlan(256, HR_UM_PER_PX, 3.0, augmented=False)
    # Drawn cells are easier than real ones: no figure is made of them.
    real = replace(val, fields=tuple(f for f in val.fields if f.source != DRAWN))
    samples = pool_samples(real, settings.pool_cells // 3, seed)
    unseen = build_pool(samples, look, still, seed)
    return rnn, score_constructed(rnn, unseen, settings.constructed, settings.slides)


def set_tables(
    lr_figures: Mapping[str, float], precision: str
) -> dict[str, dict[str, Any]]:
    """Return the tables that engines and the cascade read."""
    normalisation = "in graph: RGB / 255, ImageNet mean and std"
    return {
        "lr": {
            "um_per_px": LR_UM_PER_PX,
            "tile_px": 512,
            "overlap": 0.25,
            "gate": 0.5,
            "peak_threshold": lr_figures["peak_threshold"],
            "whole_field_max_difference": lr_figures["whole_max"],
            "normalisation": normalisation,
            "precision": precision,
        },
        "hr": {
            "um_per_px": HR_UM_PER_PX,
            "tile_px": 256,
            "normalisation": normalisation,
            "precision": precision,
        },
        "rnn": {
            "top": [10, 20, 30],
            "precision": "int8 weights, float computation"
            if precision == "int8"
            else precision,
        },
        "tolerance": TOLERANCE,
        "gpu": {"run_on_gpu": False},
    }

"""From trained networks to a set in its folder: calibrate, export, quantise, write.

The order matters. LR is finished first, since HR learns from what LR hands over;
the heads are calibrated on validation data and the temperature becomes part of the
graph; the fp32 graphs give the golden outputs; the RNNs learn from features as the
shipped (INT8) HR network gives them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import torch
from numpy.typing import NDArray

from armicro.engine import Engine
from armicro.engine.manifest import INPUTS, OUTPUTS, VIEWS, Familiar, Manifest, View
from armicro.engine.openvino import OpenVinoEngine, place
from armicro.engine.registry import read_set
from armicro.errors import EngineError
from armicro.field import Pixels
from armicro.train.checkpoint import Checkpoint
from armicro.train.construct import (
    SlideSettings,
    calibrate_hr,
    calibrate_rnn,
    fit_familiar,
    fit_rnn,
    still_tiles,
)
from armicro.train.data import SOURCE as DRAWN
from armicro.train.data import AnnotatedField, Crop, Dataset
from armicro.train.export import (
    Finished,
    export_onnx,
    golden_arrays,
    quantise,
    store_weights_int8,
)
from armicro.train.finds import (
    TURNS,
    Candidates,
    Finds,
    Look,
    MineSettings,
    cut_samples,
    find_in_fields,
    fit_head,
    join,
    look_at,
)
from armicro.train.locate import cut_field_tiles, gate_differences, set_gate
from armicro.train.manifest import write_set
from armicro.train.networks import HighResolution, LowResolution
from armicro.train.sample import (
    LR_UM_PER_PX,
    BalancedSampler,
    Sample,
    TilePlan,
    cut_tile,
    even_part,
    groups_of,
    list_samples,
    spread,
)
from armicro.verdict import HR_UM_PER_PX

CALIBRATION_PLANS = {
    "hr": TilePlan(256, HR_UM_PER_PX, 6.0),
    "lr": TilePlan(256, LR_UM_PER_PX, 40.0),
}
CALIBRATION_SEEDS = (20215, 20217, 20218)
"""Ranges of INT8 follow the tiles' extremes, so the draw matters: of several, the one
that comes nearest to fp32 on other training tiles is shipped."""
JUDGED_PLANS = {
    "hr": TilePlan(256, HR_UM_PER_PX, 6.0),
    "lr": TilePlan(512, LR_UM_PER_PX, 80.0),
}
JUDGED_SEED = 20219
CALIBRATION_WEIGHTS = {"cric": 0.6, "sipakmed": 0.2, "herlev": 0.1, "phantom": 0.1}

RNN_PRECISIONS = {"int8": "int8 weights, float computation", "fp32": "fp32"}
TOLERANCE = {
    "lr_probability": 0.10,
    "lr_location": 0.30,
    "hr_probability": 0.15,
    "hr_features": 0.20,
    "rnn_scores": 0.05,
}
"""INT8 on any CPU or GPU against fp32, on drawn pictures; see the card for the figures
that it costs on real cells, which are what matters."""

KNOWN_CELLS = 80
"""Of each laboratory or slide group and class, among what the networks know."""

Outputs = Mapping[str, NDArray[Any]]
"""What a graph says of tiles, by output."""


@dataclass(frozen=True, slots=True)
class AssembleSettings:
    """How much data each step looks at; a quick set takes less."""

    name: str = "cervical-r50"
    version: int = 1
    calibration_tiles: int = 64
    draws: int = len(CALIBRATION_SEEDS)
    """Sets of calibration tiles that INT8 is tried with."""
    gate_tiles_per_field: int = 2
    hr_cells: int = 480
    rounds: int = 1
    """Other stains in which the fields are searched."""
    pool_crops: int = 800
    """Crops that constructed slides are made of, besides the fields' finds."""
    mined_cells: int = 1200
    """Annotated cells that HR's head sees beside the finds."""
    constructed: int = 200
    """Slides from each half of the fields that the RNNs are judged on."""
    whole_stride: int = 4
    """Every so many validation fields is looked at whole and tile by tile."""
    more_views: tuple[View, ...] = VIEWS
    """What HR is shown of a tile that may be a lesion, besides the tile as it is."""
    turns: int = len(TURNS)
    """Ways in which finds lie, for slides as large as a specimen's."""
    int8: bool = True
    slides: SlideSettings = SlideSettings()  # noqa: RUF009 (frozen)
    mine: MineSettings = MineSettings()  # noqa: RUF009 (frozen)


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What HR's head and the RNNs learn from and are calibrated on."""

    train: Finds
    val: Finds
    """Of real fields alone: what a figure is made of."""
    crops: Finds
    cells: Finds
    """Annotated cells of every source."""


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


def look_through(model: onnx.ModelProto) -> Look:
    """Return the HR graph as a function of tiles."""
    return partial(look_with, open_graph("hr", model))


def look_with(hr: Engine, tiles: Pixels) -> tuple[Any, Any]:
    """Return an HR engine's probability and features of tiles."""
    outputs = hr.infer({"tiles": tiles})
    return outputs["probability"], outputs["features"]


def features_of(samples: Sequence[Sample], look: Look) -> NDArray[np.float32]:
    """Return the pooled features (n, channels) of unaugmented tiles."""
    tiles = still_tiles(samples, 16, "features")
    return np.concatenate([look(part)[1] for part in tiles])


def finish_lr(
    lr: LowResolution, dataset: Dataset, settings: AssembleSettings
) -> Finished:
    """Set the gate on real validation fields, export, quantise."""
    val = real_fields(dataset.split("val"))
    tiles = cut_field_tiles(val, per_field=settings.gate_tiles_per_field)
    figures = set_gate(lr, tiles)
    done = ship("lr", export_onnx(lr), figures, dataset, settings)
    engine, fields = open_graph("lr", done.shipped), val[:: settings.whole_stride]
    gaps = gate_differences(
        lambda pixels: engine.infer({"tiles": pixels})["probability"], fields
    )
    whole = {"whole_mean": float(gaps.mean()), "whole_max": float(gaps.max())}
    return replace(done, figures={**figures, **whole})


def take_lr(name: Path) -> tuple[Finished, Checkpoint]:
    """Return the LR network of a set, and what its manifest says of its training.

    Raises:
        EngineError: there is no such set, or its files are not those of its manifest.
    """
    opening = read_set(name)
    manifest = opening.manifest
    graph = onnx.load_from_string(opening.contents["lr.onnx"])
    said = [array for array, (network, _) in OUTPUTS.items() if network == "lr"]
    golden = {array: opening.golden[array] for array in (INPUTS["lr"][1], *said)}
    figures = {
        key: value
        for key, value in manifest.metrics.items()
        if key.startswith(("lr_", "peak_", "whole_"))
    }
    told = manifest.training
    facts = {
        "step": told["steps_done"]["lr"],
        "origin": told["start_weights"]["lr"],
        "bfloat16": told["bfloat16"]["lr"],
        "stages": [*told["stages"]["lr"], f"{manifest.name} {manifest.version}"],
    }
    return Finished(graph, graph, figures, golden), Checkpoint({}, facts)


def search(
    lr: Finished, pictures: Sequence[AnnotatedField], settings: AssembleSettings
) -> Finds:
    """Let the LR network search fields."""
    tables = set_tables(dict(lr.figures), "int8" if settings.int8 else "fp32")
    head = {"name": settings.name, "version": "0", "created": "", "files": {}}
    manifest = msgspec.convert(head | tables, Manifest)
    networks = Candidates(manifest, open_graph("lr", lr.shipped))
    return find_in_fields(
        networks, pictures, rounds=settings.rounds, seed=settings.slides.seed
    )


def gather(lr: Finished, dataset: Dataset, settings: AssembleSettings) -> Material:
    """Let the LR network search the fields, cut the crops and the annotated cells."""
    train, val = dataset.split("train"), dataset.split("val")
    rounds, seed = settings.rounds, settings.slides.seed
    real = real_fields(val)
    every = list_samples(train, areas=False)
    crops = [one for one in every if isinstance(one.picture, Crop)]
    return Material(
        search(lr, train.fields, settings),
        search(lr, real, settings),
        cut_samples(even_part(crops, settings.pool_crops), rounds=rounds, seed=seed),
        cut_samples(even_part(every, settings.mined_cells), rounds=1, seed=seed + 1),
    )


def finish_hr(
    hr: HighResolution, material: Material, dataset: Dataset, settings: AssembleSettings
) -> Finished:
    """Fit the head again, calibrate on real validation cells, export, quantise."""
    look = look_through(export_onnx(hr))
    finds = look_at(material.train, look)
    fit_head(hr.head, finds, look_at(material.cells, look), settings.mine)
    cells = list_samples(dataset.split("val"), areas=False)
    real = [cell for cell in cells if cell.source != DRAWN]
    part = even_part(real, settings.hr_cells)
    figures = calibrate_hr(hr, part, settings.more_views)
    return ship("hr", export_onnx(hr), figures, dataset, settings)


def ship(
    name: str,
    fp32: onnx.ModelProto,
    figures: Mapping[str, float],
    dataset: Dataset,
    settings: AssembleSettings,
) -> Finished:
    """Quantise a graph on training tiles, or leave it as it is."""
    if not settings.int8:
        return Finished(fp32, fp32, figures)
    sampler = BalancedSampler(
        list_samples(dataset.split("train")), source_weights=CALIBRATION_WEIGHTS
    )
    draw = partial(calibration_tiles, sampler, count=settings.calibration_tiles)
    others = draw(JUDGED_PLANS[name], seed=JUDGED_SEED)
    plain, tried = outputs_of(fp32, others), []
    for seed in CALIBRATION_SEEDS[: settings.draws]:
        shown = draw(CALIBRATION_PLANS[name], seed=seed)
        int8 = quantise(fp32, shown)
        tried.append((difference(plain, outputs_of(int8, others)), int8))
    least, int8 = min(tried, key=lambda one: one[0])
    return Finished(fp32, int8, {**figures, f"{name}_int8_difference": least})


def outputs_of(model: onnx.ModelProto, tiles: Sequence[Pixels]) -> Outputs:
    """Return what a graph says of each tile, by output."""
    engine = open_graph("one", model)
    said = [engine.infer({"tiles": tile[None]}) for tile in tiles]
    return {name: np.stack([one[name] for one in said]) for name in said[0]}


def difference(plain: Outputs, coarse: Outputs) -> float:
    """Return how far INT8 lies from fp32: each output's mean difference by its mean."""
    gaps = [
        np.abs(plain[name] - coarse[name]).mean() / np.abs(plain[name]).mean()
        for name in plain
    ]
    return float(np.mean(gaps))


def finish_rnn(
    hr: onnx.ModelProto, material: Material, settings: AssembleSettings
) -> Finished:
    """Train the slide RNNs on the shipped HR network's features, export."""
    look, ways = look_through(hr), TURNS[: settings.turns]
    parts = [look_at(material.train, look, ways), look_at(material.crops, look)]
    rnn = fit_rnn(join(parts), settings.slides)
    unseen = look_at(material.val, look, ways)
    figures = calibrate_rnn(rnn, unseen, settings.constructed, settings.slides)
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
) -> None:
    """Write the set.

    The fp32 graphs are written beside an INT8 set, as ``FOLDER-fp32``, so that the two
    can be measured side by side; only an INT8 set is ever small enough to be committed.
    With an LR network of another set there is no fp32 one.

    Raises:
        EngineError: a network was finished with ``--fp32`` and the others were not.
    """
    for name in ("lr", "hr"):
        kinds = {node.op_type for node in networks[name].shipped.graph.node}
        if ("QuantizeLinear" in kinds) != settings.int8:
            raise EngineError(
                f"{name} was finished {'without' if settings.int8 else 'as INT8, not'} "
                f"{'INT8' if settings.int8 else 'with --fp32'}; run armicro train lr "
                "and rnn again with the same options"
            )
    plain = {name: one.fp32 for name, one in networks.items()}
    shipped = {name: one.shipped for name, one in networks.items()}
    golden = golden_arrays(plain)
    for one in networks.values():
        golden |= one.golden
    metrics = {key: v for one in networks.values() for key, v in one.figures.items()}
    facts = {"training": dict(training), "metrics": metrics}
    beside = folder.with_name(f"{folder.name}-fp32") if settings.int8 else folder
    tables = partial(set_tables, metrics, more_views=settings.more_views)
    write = partial(write_set, name=settings.name, version=settings.version)
    if not (settings.int8 and networks["lr"].golden):
        write(beside, plain, golden, tables=tables("fp32") | facts)
    if settings.int8:
        write(folder, shipped, golden, tables=tables("int8") | facts)


def know(look: Look, dataset: Dataset) -> Familiar | None:
    """Return what HR's features of the training cells have in common, None of few.

    Drawn cells are known too, but are no laboratory.

    Raises:
        EngineError: the engine failed.
    """
    kinds: dict[tuple[str, bool], list[Sample]] = {}
    for one in list_samples(dataset.split("train"), areas=False):
        name = one.source if one.source == DRAWN else groups_of(one)[-1]
        kinds.setdefault((name, one.lesion), []).append(one)
    chosen = {kind: spread(own, KNOWN_CELLS) for kind, own in sorted(kinds.items())}
    cells = [cell for own in chosen.values() for cell in own]
    return fit_familiar(
        features_of(cells, look),
        np.array([name for (name, _), own in chosen.items() for _ in own]),
        np.array([cell.lesion for cell in cells]),
        left_out=sorted({name for name, _ in kinds} - {DRAWN}),
    )


def real_fields(val: Dataset) -> list[AnnotatedField]:
    """Return the fields that nobody drew: drawn cells are easier than real ones."""
    return [field for field in val.fields if field.source != DRAWN]


def set_tables(
    figures: Mapping[str, float], precision: str, more_views: Sequence[View] = ()
) -> dict[str, dict[str, Any]]:
    """Return the tables that engines and the cascade read."""
    normalisation = "in graph: RGB / 255, ImageNet mean and std"
    return {
        "lr": {
            "um_per_px": LR_UM_PER_PX,
            "tile_px": 512,
            "overlap": 0.25,
            "gate": 0.5,
            "peak_threshold": figures["peak_threshold"],
            "whole_field_max_difference": figures["whole_max"],
            "normalisation": normalisation,
            "precision": precision,
        },
        "hr": {
            "um_per_px": HR_UM_PER_PX,
            "tile_px": 256,
            "more_views": list(more_views),
            "normalisation": normalisation,
            "precision": precision,
        },
        "rnn": {
            "top": [10, 20, 30],
            "size_slopes": [
                value
                for key, value in figures.items()
                if key.startswith("rnn_size_slope_")
            ],
            "precision": RNN_PRECISIONS[precision],
        },
        "tolerance": TOLERANCE,
        "gpu": {"run_on_gpu": False},
    }

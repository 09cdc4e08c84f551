"""``armicro train KIND``: a network set from a data folder, resumable.

    DATA/*/cells.csv ── lr ──► OUT/lr/, OUT/done/lr/, OUT/found.csv ── hr ──► OUT/hr/
                    ── rnn ──► OUT/done/hr/, OUT/done/rnn/ ── set ──► OUT/set/

``lr`` trains LR and then its location branch, sets the gate, exports it, and lets it
search the training fields. ``hr`` trains HR on annotated cells and on what was found.
``rnn`` fits HR's head again, calibrates and exports it, and trains the slide RNNs on
its features of what was found. ``set`` writes the set, and ``familiar`` into it what
HR knows, so that other stains and tissues get no score; ``all`` is the five in turn.
``baseline``, ``ablation`` and ``fovea`` make tables of the model card; ``record``
writes OUT/val/*/metrics.json (of ``armicro validate``) into the set. ``site`` makes
another set of a finished one (``armicro/train/site.py``).
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import torch

from armicro import file
from armicro.console import add_kind, json_text
from armicro.engine.manifest import sha256_of
from armicro.engine.registry import open_set
from armicro.errors import EngineError, SourceError
from armicro.train import site
from armicro.train.assemble import (
    AssembleSettings,
    finish_hr,
    finish_lr,
    finish_rnn,
    finish_set,
    gather,
    know,
    look_with,
    real_fields,
    search,
    take_lr,
)
from armicro.train.checkpoint import (
    BEST,
    CHECKPOINT,
    fill,
    read_checkpoint,
    write_checkpoint,
)
from armicro.train.construct import SlideSettings
from armicro.train.data import Dataset, draw_fields, read_dataset
from armicro.train.experiment import (
    ROWS,
    Study,
    measure_baseline,
    measure_fovea,
    run_ablation,
)
from armicro.train.export import (
    FIGURES,
    Finished,
    is_finished,
    keep_finished,
    read_finished,
)
from armicro.train.finds import read_found, samples_of, write_found
from armicro.train.fit import TileNetwork, fit
from armicro.train.locate import NO_LESION, LocationSettings, collect_maps, fit_location
from armicro.train.manifest import add_familiar, describe, record_folder
from armicro.train.networks import (
    BACKBONES,
    HighResolution,
    LowResolution,
    load_backbone,
)
from armicro.train.recipe import (
    FOVEA_PX,
    MINED_WEIGHTS,
    PHANTOM_TRAIN_SEEDS,
    PHANTOM_VAL_SEEDS,
    settings_of,
    training_sampler,
    validation_samples,
)
from armicro.train.sample import BalancedSampler

# ---------------------------------------------------------------------------
# Arguments of ``armicro train``.

EXAMPLES = """examples:
  armicro train all --data ../shared/data --out .train \\
      --init ../shared/data/weights/resnet50_imagenet_v1_fp16_nofc.safetensors
  armicro train hr --data DATA --out .train --resume
"""


def seeds(text: str) -> list[int]:
    """Read whole numbers with commas between them."""
    return [int(part) for part in text.split(",")]


def names(text: str) -> list[str]:
    """Read names with commas between them."""
    return [part.strip() for part in text.split(",") if part.strip()]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``armicro train``."""
    parser.epilog = EXAMPLES + site.EXAMPLE.removeprefix("examples:\n")
    kinds = parser.add_subparsers(dest="network", required=True, metavar="KIND")
    for name in (*STEPS, "record"):
        add_training(add_kind(kinds, name, SUMMARIES[name], epilog=EXAMPLES))
    text = "the end of HR again, on what a laboratory decided of its cells"
    site.add_arguments(add_kind(kinds, "site", text, epilog=site.EXAMPLE))


def add_training(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of every kind that learns from a data folder."""
    parser.add_argument("--data", type=Path, required=True, help="folder of sources")
    parser.add_argument(
        "--out", type=Path, required=True, help="checkpoints, logs, set"
    )
    parser.add_argument("--init", type=Path, help="start weights of the backbone")
    parser.add_argument(
        "--lr-of", type=Path, metavar="SET", help="take LR from a set: train HR alone"
    )
    parser.add_argument("--resume", action="store_true", help="go on from checkpoints")
    parser.add_argument("--backbone", choices=sorted(BACKBONES), default="resnet50")
    parser.add_argument("--sources", default="", help="names, with commas; default all")
    parser.add_argument("--no-phantom", action="store_true", help="real cells only")
    parser.add_argument("--steps", type=int, help="stop a network after so many steps")
    parser.add_argument(
        "--patience",
        type=int,
        default=0,
        help="stop early after so many checks without a better AUC; 0: never",
    )
    parser.add_argument(
        "--seeds", type=seeds, default=[20211], help="of the ablation, with commas"
    )
    parser.add_argument(
        "--rows", type=names, help="of the ablation, with commas; default all"
    )
    parser.add_argument(
        "--left-out",
        type=names,
        help="laboratories or slide groups that the ablation leaves out, each in turn",
    )
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--name", default="cervical-r50", help="name of the set")
    parser.add_argument("--version", type=int, default=1, help="version of the set")
    parser.add_argument(
        "--quick", action="store_true", help="few tiles everywhere: a trial, no network"
    )
    parser.add_argument("--fp32", action="store_true", help="export without INT8")


# ---------------------------------------------------------------------------
# The command.

KINDS: Mapping[str, type[HighResolution | LowResolution]] = {
    "hr": HighResolution,
    "lr": LowResolution,
}
INITIAL_SEED = 1
QUICK_LOCATION = LocationSettings(tiles=16, epochs=2)
QUICK_ASSEMBLY = AssembleSettings(
    calibration_tiles=8,
    draws=1,
    hr_cells=24,
    rounds=0,
    pool_crops=24,
    mined_cells=24,
    constructed=20,
    turns=2,
    slides=SlideSettings(steps=3, batch=4),
)
ABLATION_STEPS = 300
LEFT_OUT = ("cric-1", "cric-2", "cric-3", "cric-5", "herlev", "sipakmed")
"""Groups that the ablation leaves out, each in turn."""


def run(args: argparse.Namespace) -> int:
    """Train what was asked for; return 0.

    Raises:
        SourceError: the data folder or what a laboratory decided cannot be used.
        EngineError: start weights or a checkpoint cannot be used.
    """
    if args.network == "site":
        return site.run(args)
    if args.threads:
        torch.set_num_threads(args.threads)
        cv2.setNumThreads(args.threads)
    if args.network == "record":
        record_folder(args.out / "set", args.out / "val", args.data)
        return 0
    dataset = read_sources(args)
    for step in STEPS[args.network]:
        step(dataset, args)
    return 0


def read_sources(args: argparse.Namespace) -> Dataset:
    """Read the data folder and draw the phantom fields."""
    sources = tuple(name for name in args.sources.split(",") if name)
    dataset = read_dataset(args.data, sources=sources)
    if args.no_phantom:
        return dataset
    drawn = draw_fields(PHANTOM_TRAIN_SEEDS, split="train")
    drawn += draw_fields(PHANTOM_VAL_SEEDS, split="val")
    return replace(dataset, fields=dataset.fields + tuple(drawn))


def write_ablation(dataset: Dataset, args: argparse.Namespace) -> None:
    """Train the rows of the ablation table, each without each group."""
    args.out.mkdir(parents=True, exist_ok=True)
    rows, groups = args.rows or tuple(ROWS), args.left_out or LEFT_OUT
    study = Study(rows, groups, args.steps or ABLATION_STEPS, args.seeds)
    start = partial(start_network, HighResolution, args)
    table = run_ablation(dataset, start, args.out, study)
    sys.stdout.write(json_text(table))


def write_baseline(dataset: Dataset, args: argparse.Namespace) -> None:
    """Measure ImageNet features with a logistic regression.

    Raises:
        EngineError: no start weights are given.
    """
    if args.init is None:
        raise EngineError("baseline needs --init: the ImageNet weights")
    table = measure_baseline(dataset, args.init, backbone=args.backbone)
    args.out.mkdir(parents=True, exist_ok=True)
    file.write_whole(args.out / "baseline.json", json_text(table).encode())
    sys.stdout.write(json_text(table))


def write_fovea(dataset: Dataset, args: argparse.Namespace) -> None:
    """Measure how much of a tile the HR network should look at."""
    hr = trained_network("hr", args)
    table = measure_fovea(hr, validation_samples(dataset), args.out)
    sys.stdout.write(json_text(table))


def train_lr(dataset: Dataset, args: argparse.Namespace) -> None:
    """Train LR, finish it, and let it search the training fields.

    A fresh training removes what an older one's LR led to; a resumed one keeps what it
    found, so that HR goes on with the samples that it began with.

    Raises:
        SourceError: no real validation field shows a lesion.
    """
    found = args.out / "found.csv"
    # Said now, not after an hour: its gate is set on such fields.
    if not any(one.lesion.any() for one in real_fields(dataset.split("val"))):
        raise SourceError(NO_LESION)
    if args.init is not None:  # Before anything of an older training is removed.
        digest_of(args.init)
    if not args.resume:
        remove_later(args.out)
    settings, folder = assembly_of(args), args.out / "done" / "lr"
    trained = args.out / "lr" / CHECKPOINT
    if not args.lr_of:
        train_network("lr", training_sampler(dataset), dataset, args)
    if args.resume and is_finished(folder, trained):
        if found.exists():
            return
        lr = read_finished(folder)
    else:
        lr = take(args) if args.lr_of else locate(dataset, args)
        found.unlink(missing_ok=True)
        keep_finished(folder, lr)
    pictures = dataset.split("train").fields
    finds = search(lr, pictures, settings)
    write_found(found, samples_of(finds, pictures))


def locate(dataset: Dataset, args: argparse.Namespace) -> Finished:
    """Train the location branch of a trained LR; set its gate, export it."""
    network = trained_network("lr", args)
    location = QUICK_LOCATION if args.quick else LocationSettings()
    facts = read_checkpoint(args.out / "lr" / CHECKPOINT).facts
    sampler, bfloat16 = training_sampler(dataset), bool(facts["bfloat16"])
    maps, targets = collect_maps(network, sampler, location, bfloat16=bfloat16)
    fit_location(network, maps, targets, location)
    return finish_lr(network, dataset, assembly_of(args))


def take(args: argparse.Namespace) -> Finished:
    """Take LR from another set, with what is known of its training."""
    lr, told = take_lr(args.lr_of)
    write_checkpoint(args.out / "lr" / CHECKPOINT, told)
    return lr


def remove_later(out: Path) -> None:
    """Remove what HR, the RNNs and the finds of an older LR left in a folder."""
    for path in (
        out / "found.csv",
        *(out / "hr" / name for name in (CHECKPOINT, BEST)),
        *(out / "done" / name / FIGURES for name in ("lr", "hr", "rnn")),
    ):
        path.unlink(missing_ok=True)


def train_hr(dataset: Dataset, args: argparse.Namespace) -> None:
    """Train HR on annotated cells and on what LR found."""
    found = read_found(args.out / "found.csv", dataset.split("train").fields)
    train_network("hr", training_sampler(dataset, found), dataset, args)


def train_network(
    name: str, sampler: BalancedSampler, dataset: Dataset, args: argparse.Namespace
) -> None:
    """Train one tile network into its folder."""
    settings = settings_of(name, stop_at=args.steps)
    origin = digest_of(args.init) if args.init else "random"
    folder = args.out / name
    folder.mkdir(parents=True, exist_ok=True)
    fit(
        start_network(KINDS[name], args),
        sampler,
        validation_samples(dataset),
        replace(settings, threads=args.threads, patience=args.patience, origin=origin),
        folder,
        resume=args.resume,
    )


def digest_of(weights: Path) -> str:
    """Return the digest of start weights.

    Raises:
        EngineError: they cannot be read.
    """
    try:
        return sha256_of(weights.read_bytes())
    except OSError as error:
        raise EngineError(
            f"{weights}: cannot be read ({error.strerror}); --init names the file of "
            "start weights"
        ) from error


def start_network(kind: Callable[[str], TileNetwork], args: argparse.Namespace) -> Any:
    """Return a new network with the start weights that ``--init`` names."""
    torch.manual_seed(INITIAL_SEED)
    network = kind(args.backbone)
    if args.init is not None:
        load_backbone(network.backbone, read_checkpoint(args.init).tensors)
    elif not args.resume:
        sys.stderr.write(
            "armicro train: no --init: the backbone starts from random weights\n"
        )
    return network


def assembly_of(args: argparse.Namespace) -> AssembleSettings:
    """Return how much data the last steps look at."""
    settings = QUICK_ASSEMBLY if args.quick else AssembleSettings()
    return replace(
        settings,
        name=args.name,
        version=args.version,
        int8=not args.fp32,
        mine=replace(settings.mine, weights=MINED_WEIGHTS),
    )


def finish(dataset: Dataset, args: argparse.Namespace) -> None:
    """Finish HR; train the RNNs on its features of what LR finds."""
    settings, done = assembly_of(args), args.out / "done"
    material = gather(read_finished(done / "lr"), dataset, settings)
    network = trained_network("hr", args, fovea_px=FOVEA_PX)
    hr = finish_hr(network, material, dataset, settings)
    # RNNs of an older HR must not be taken for this one's.
    (done / "rnn" / FIGURES).unlink(missing_ok=True)
    keep_finished(done / "hr", hr)
    keep_finished(done / "rnn", finish_rnn(hr.shipped, material, settings))


def write_whole(dataset: Dataset, args: argparse.Namespace) -> None:
    """Write the set of what is finished."""
    networks = {n: read_finished(args.out / "done" / n) for n in ("lr", "hr", "rnn")}
    trained = {n: read_checkpoint(args.out / n / CHECKPOINT) for n in ("lr", "hr")}
    told = describe(dataset, command_of(args), trained)
    finish_set(args.out / "set", networks, assembly_of(args), told)


def write_familiar(dataset: Dataset, args: argparse.Namespace) -> None:
    """Write into the set what its HR network knows."""
    folder = args.out / "set"
    with open_set(folder, threads=args.threads) as networks:
        known = know(partial(look_with, networks.hr), dataset)
    if known is None:
        sys.stderr.write(
            "armicro train: too few cells to say what the networks know; slides of any "
            "kind get a score from this set\n"
        )
        return
    add_familiar(folder, known)


def command_of(args: argparse.Namespace) -> str:
    """Return the command that makes such a set, without anybody's paths."""
    options = {
        "init": "WEIGHTS" if args.init is not None else "",
        "lr-of": "SET" if args.lr_of is not None else "",
        "steps": args.steps,
        "backbone": args.backbone if args.backbone != "resnet50" else "",
        "sources": args.sources,
        "patience": args.patience or "",
    }
    words = [
        f"--{name} {said}" for name, said in options.items() if said not in (None, "")
    ]
    switches = ("no_phantom", "quick", "fp32")
    words += [f"--{n.replace('_', '-')}" for n in switches if getattr(args, n)]
    return " ".join(["train all --data DATA --out OUT", *words])


def trained_network(name: str, args: argparse.Namespace, **options: int) -> Any:
    """Return a network with the best running mean of its training, or the last.

    Raises:
        EngineError: the checkpoint is missing or is of another network.
    """
    network = KINDS[name](args.backbone, **options)
    best = args.out / name / BEST
    path = best if best.exists() else args.out / name / CHECKPOINT
    remedy = "train it with the same --backbone"
    fill(network, read_checkpoint(path).part("mean"), f"{path}", remedy)
    return network


STEPS: Mapping[str, Sequence[Callable[[Dataset, argparse.Namespace], None]]] = {
    "lr": (train_lr,),
    "hr": (train_hr,),
    "rnn": (finish,),
    "set": (write_whole,),
    "familiar": (write_familiar,),
    "all": (train_lr, train_hr, finish, write_whole, write_familiar),
    "baseline": (write_baseline,),
    "ablation": (write_ablation,),
    "fovea": (write_fovea,),
}
SUMMARIES: Mapping[str, str] = {
    "lr": "LR and its location branch; lets LR search the training fields",
    "hr": "HR on annotated cells and on what LR found",
    "rnn": "HR's head again, its calibration, and the slide RNNs",
    "set": "write the set of what is finished",
    "familiar": "write into the set what HR knows",
    "all": "the above in turn",
    "baseline": "a table of the card: ImageNet features and a logistic regression",
    "ablation": "a table of the card: what each part of the recipe is worth",
    "fovea": "a table of the card: how much of a tile HR should look at",
    "record": "write figures of `armicro validate` into the set",
}

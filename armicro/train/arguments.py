"""Arguments of ``armicro train``."""

import argparse
from pathlib import Path

from armicro.train.backbone import BACKBONES

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


def add_train_arguments(
    parser: argparse.ArgumentParser, kinds: tuple[str, ...]
) -> None:
    """Add the arguments; ``kinds`` are what can be trained or made."""
    parser.epilog = EXAMPLES
    parser.add_argument(
        "network",
        choices=kinds,
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of sources")
    parser.add_argument(
        "--out", type=Path, required=True, help="checkpoints, logs, set"
    )
    parser.add_argument("--init", type=Path, help="start weights of the backbone")
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

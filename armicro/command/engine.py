"""``armicro engine``: which network sets there are, if they are right, how fast."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from armicro.command.engine_bench import bench_set
from armicro.command.engine_check import check_set
from armicro.console import add_json, add_kind, json_text, number, show
from armicro.engine import tensorrt
from armicro.engine.manifest import read_manifest, verify
from armicro.engine.registry import DEFAULT_SET, find_set, list_sets, read_set
from armicro.errors import EngineError

EXAMPLE = """\
examples:
  armicro engine list
  armicro engine check cervical-r50
  armicro engine check --backend tensorrt      the first thing to run on a GPU,
  armicro engine bench --backend tensorrt      after: armicro engine build
  armicro engine bench --precision native fp32 --runs 20 --json
"""
EXAMPLES = {
    "list": "example:\n  armicro engine list --json",
    "check": "example:\n  armicro engine check cervical-r50 --precision native fp32",
    "build": "example:\n  armicro engine build cervical-r50 --precision native",
    "bench": "example:\n  armicro engine bench --batch 1 8 --runs 20 --threads 2",
}
BACKENDS = ("auto", "openvino", "tensorrt")
PRECISIONS = ("native", "bf16", "fp32")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.epilog = EXAMPLE
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    summaries = {
        "list": "network sets found, and whether their files are what they say",
        "check": "run the golden inputs, compare with the fp32 reference",
        "build": "build TensorRT engines for this machine's GPU",
        "bench": "time each network, side by side",
    }
    for action, summary in summaries.items():
        sub = add_kind(actions, action, summary, epilog=EXAMPLES[action])
        add_json(sub)
        if action != "list":
            _add_set(sub, several=action != "build")
        if action == "build":
            sub.add_argument("--force", action="store_true", help="build again")
        if action == "bench":
            count = number(1, 1e6, "count", of=int)
            sub.add_argument("--runs", type=count, default=10, metavar="N")
            sub.add_argument("--batch", type=count, nargs="+", default=[1, 8])
            sub.add_argument("--threads", type=int, default=0, help="0: all cores")
            three = ("lr", "hr", "rnn")
            sub.add_argument("--networks", nargs="+", choices=three, default=three)


def run(args: argparse.Namespace) -> int:
    """Do it; 0 done, 1 failed, 2 a set that must not be used."""
    return ACTIONS[args.action](args)


def _add_set(parser: argparse.ArgumentParser, *, several: bool) -> None:
    parser.add_argument(
        "set", nargs="?", default=DEFAULT_SET, help=f"name or folder ({DEFAULT_SET})"
    )
    if several:
        parser.add_argument("--backend", nargs="+", choices=BACKENDS, default=["auto"])
    count = "+" if several else None
    default = ["native"] if several else "native"
    parser.add_argument("--precision", nargs=count, choices=PRECISIONS, default=default)


def _list(args: argparse.Namespace) -> int:
    rows = [_describe(path) for path in list_sets()]
    gpu = tensorrt.missing() or "ready"
    lines = []
    for row in rows:
        lines += [
            f"{row['name']} {row['version']}  {row['megabytes']:.1f} MB",
            f"  {row['folder']}",
            f"  files: {row['state']}",
            *(f"  {key}: {value}" for key, value in row["metrics"].items()),
        ]
    lines = lines or ["no network set found; train one with `armicro train all`"]
    lines.append(f"TensorRT: {gpu} ({tensorrt.NOTE})")
    answer = {"sets": rows, "tensorrt": gpu, "tensorrt_note": tensorrt.NOTE}
    show(answer, "\n".join(lines), as_json=args.json)
    return 0


def _describe(folder: Path) -> dict[str, Any]:
    """Say what a set is; one that is broken is listed with the reason."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    row = {
        "name": folder.name,
        "version": "?",
        "folder": str(folder),
        "megabytes": size / 1e6,
        "valid": False,
        "metrics": {},
    }
    try:
        manifest = read_manifest(folder)
        row |= {"version": manifest.version, "metrics": _flat(manifest.metrics)}
        verify(folder, manifest)
    except EngineError as error:
        return row | {"state": str(error)}
    return row | {"state": "as the manifest says", "valid": True}


def _flat(table: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    """Nested figures as rows: "crops.auc": 0.97."""
    rows: dict[str, Any] = {}
    for key, value in table.items():
        rows |= (
            _flat(value, f"{path}{key}.")
            if isinstance(value, dict)
            else {f"{path}{key}": value}
        )
    return rows


def _check(args: argparse.Namespace) -> int:
    results = [
        check_set(args.set, backend=backend, precision=precision)
        for backend in args.backend
        for precision in args.precision
    ]
    answer = {"checks": [result.as_dict() for result in results]}
    show(answer, "\n".join(map(str, results)), as_json=args.json)
    return 0 if all(result.holds for result in results) else EngineError.exit_status


def _build(args: argparse.Namespace) -> int:
    find_set(args.set)
    reason = tensorrt.missing()
    if reason:
        if args.json:
            sys.stdout.write(json_text({"built": [], "missing": reason}))
        sys.stderr.write(
            f"armicro engine build: {reason}; without a GPU the set runs on OpenVINO, "
            "which needs no build\n"
        )
        return 1

    def progress(text: str) -> None:
        if not args.json:
            sys.stderr.write(f"{text}\n")

    opening = read_set(args.set, precision=args.precision)
    built = tensorrt.build_set(opening, force=args.force, progress=progress)
    lines = [
        f"{plan.network}: {'built' if plan.fresh else 'was built before'}, "
        f"{plan.megabytes:.1f} MB, {plan.path}"
        for plan in built
    ]
    lines.append("now run: armicro engine check --backend tensorrt")
    show({"built": built}, "\n".join(lines), as_json=args.json)
    return 0


def _bench(args: argparse.Namespace) -> int:
    if args.backend == ["auto"]:
        args.backend = ["openvino"] + ([] if tensorrt.missing() else ["tensorrt"])
    result = bench_set(
        args.set,
        ways=[(b, p) for b in args.backend for p in args.precision],
        batches=args.batch,
        runs=args.runs,
        threads=args.threads,
        networks=args.networks,
    )
    show(result, str(result), as_json=args.json)
    return 0 if result.rows else 1


ACTIONS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "list": _list,
    "check": _check,
    "build": _build,
    "bench": _bench,
}

"""``armicro engine``: which network sets there are, if they are right, how fast."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from armicro.command.engine_bench import bench_set
from armicro.command.engine_check import check_set
from armicro.engine import tensorrt
from armicro.engine.manifest import Manifest, read_manifest, verify
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
        sub = actions.add_parser(
            action,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=EXAMPLES[action],
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.add_argument("--json", action="store_true", help="print the result as JSON")
        if action != "list":
            _add_set(sub, several=action != "build")
        if action == "build":
            sub.add_argument("--force", action="store_true", help="build again")
        if action == "bench":
            sub.add_argument("--runs", type=_count, default=10, metavar="N")
            sub.add_argument("--batch", type=_count, nargs="+", default=[1, 8])
            sub.add_argument("--threads", type=int, default=0, help="0: all cores")
            sub.add_argument(
                "--networks", nargs="+", choices=("lr", "hr", "rnn"), default=None
            )


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
    if args.json:
        _print_json({"sets": rows, "tensorrt": gpu, "tensorrt_note": tensorrt.NOTE})
        return 0
    for row in rows:
        _write(f"{row['name']} {row['version']}  {row['megabytes']:.1f} MB")
        _write(f"  {row['folder']}")
        _write(f"  files: {row['state']}")
        for key, value in row["metrics"].items():
            _write(f"  {key}: {value}")
    if not rows:
        _write("no network set found; train one with `armicro train all`")
    _write(f"TensorRT: {gpu} ({tensorrt.NOTE})")
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
        row |= {"version": manifest.version, "metrics": _metrics(manifest)}
        verify(folder, manifest)
    except EngineError as error:
        return row | {"state": str(error)}
    return row | {"state": "as the manifest says", "valid": True}


def _metrics(manifest: Manifest) -> dict[str, Any]:
    """Free table as flat rows: "crops.auc": 0.97."""
    flat: dict[str, Any] = {}

    def walk(table: Mapping[str, Any], path: str) -> None:
        for key, value in table.items():
            name = f"{path}.{key}" if path else key
            if isinstance(value, dict):
                walk(value, name)
            else:
                flat[name] = value

    walk(manifest.metrics, "")
    return flat


def _check(args: argparse.Namespace) -> int:
    results = [
        check_set(args.set, backend=backend, precision=precision)
        for backend in args.backend
        for precision in args.precision
    ]
    if args.json:
        _print_json({"checks": [result.as_dict() for result in results]})
    else:
        for result in results:
            _write(result.as_text())
    return 0 if all(result.holds for result in results) else EngineError.exit_status


def _build(args: argparse.Namespace) -> int:
    find_set(args.set)
    reason = tensorrt.missing()
    if reason:
        if args.json:
            _print_json({"built": [], "missing": reason})
        sys.stderr.write(
            f"armicro engine build: {reason}; without a GPU the set runs on OpenVINO, "
            "which needs no build\n"
        )
        return 1
    opening = read_set(args.set, precision=args.precision)
    built = tensorrt.build_set(opening, force=args.force, progress=_progress(args))
    if args.json:
        _print_json({"built": [plan.as_dict() for plan in built]})
    else:
        for plan in built:
            _write(plan.as_text())
        _write("now run: armicro engine check --backend tensorrt")
    return 0


def _bench(args: argparse.Namespace) -> int:
    if len(args.backend) == 1 and args.backend[0] == "auto":
        args.backend = ["openvino"] + ([] if tensorrt.missing() else ["tensorrt"])
    result = bench_set(
        args.set,
        ways=[(b, p) for b in args.backend for p in args.precision],
        batches=args.batch,
        runs=args.runs,
        threads=args.threads,
        networks=args.networks or ("lr", "hr", "rnn"),
    )
    if args.json:
        _print_json(result.as_dict())
    else:
        _write(result.as_text())
    return 0 if result.rows else 1


def _progress(args: argparse.Namespace) -> Callable[[str], None]:
    def say(text: str) -> None:
        if not args.json:
            sys.stderr.write(f"{text}\n")

    return say


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected 1 or more")
    return value


def _print_json(value: object) -> None:
    _write(json.dumps(value, indent=2, default=str))


def _write(text: str) -> None:
    sys.stdout.write(f"{text}\n")


ACTIONS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "list": _list,
    "check": _check,
    "build": _build,
    "bench": _bench,
}

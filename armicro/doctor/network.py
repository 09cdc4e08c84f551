"""Probes of what networks run on, and of the network sets themselves."""

import subprocess
from pathlib import Path

from armicro.doctor.check import Check, State
from armicro.doctor.load import first_line, load, say_why
from armicro.engine.manifest import MANIFEST_NAME, read_manifest, verify
from armicro.engine.registry import DEFAULT_SET, find_set, list_sets, open_set
from armicro.errors import EngineError

GROUP = "networks"


def look_at_openvino() -> list[Check]:
    """List OpenVINO's devices."""
    core = load("openvino").Core()
    devices = {
        device: core.get_property(device, "FULL_DEVICE_NAME").strip()
        for device in core.available_devices
    }
    kinds = set(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
    fast = ", ".join(kind for kind in ("INT8", "BF16", "FP16") if kind in kinds)
    found = "; ".join(f"{device}: {name}" for device, name in devices.items())
    return [Check(GROUP, "OpenVINO", "ok", f"{found} ({fast or 'FP32 only'})")]


def look_at_gpu() -> list[Check]:
    """Ask NVIDIA's driver for its GPUs."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total"]
    try:
        said = subprocess.run(
            [*query, "--format=csv,noheader"],
            capture_output=True, text=True, timeout=15, check=True,
        ).stdout  # fmt: skip
    except FileNotFoundError:
        todo = (
            "nothing, unless there is one: then install its driver (OpenVINO is used)"
        )
        return [Check(GROUP, "NVIDIA GPU", "missing", "no driver found", todo)]
    except subprocess.CalledProcessError as error:
        found = first_line(error.stdout or error.stderr) or "nvidia-smi fails"
        todo = "install the driver again, or restart after an update of it"
        return [Check(GROUP, "NVIDIA GPU", "missing", found, todo)]
    gpus = [line.strip() for line in said.splitlines() if line.strip()]
    if not gpus:
        todo = "check that it is plugged in and powered; OpenVINO is used meanwhile"
        return [Check(GROUP, "NVIDIA GPU", "missing", "the driver sees no GPU", todo)]
    return [Check(GROUP, "NVIDIA GPU", "ok", gpu) for gpu in gpus]


def look_at_tensorrt() -> list[Check]:
    """Load TensorRT and a way to its memory."""
    todo = "for networks on an NVIDIA GPU: pip install 'armicro[gpu]'"
    try:
        found = f"TensorRT {load('tensorrt').__version__}"
    except (ImportError, OSError) as error:
        return [Check(GROUP, "TensorRT", "missing", say_why(error), todo)]
    bindings = []
    for name, module in (("pycuda", "pycuda.driver"), ("cuda-python", "cuda.bindings")):
        try:
            load(module)
        except (ImportError, OSError):
            continue
        bindings.append(name)
    if not bindings:
        found += ", but neither pycuda nor cuda-python"
        return [Check(GROUP, "TensorRT", "missing", found, todo)]
    return [Check(GROUP, "TensorRT", "ok", f"{found}, {' and '.join(bindings)}")]


def look_at_sets() -> list[Check]:
    """Hash the files of every network set."""
    checks, seen = [], set[str]()
    for folder in list_sets():
        if folder.name in seen:
            continue
        seen.add(folder.name)
        checks.append(_look_at_set(folder))
    if DEFAULT_SET not in seen:
        found = f"{DEFAULT_SET}: no folder with a {MANIFEST_NAME}"
        todo = "install armicro's wheel, or name your own set with --engines"
        checks.append(Check(GROUP, "set", "broken", found, todo))
    return checks


def look_at_outputs() -> list[Check]:
    """Run the default set and compare it with its golden outputs."""
    try:
        find_set(DEFAULT_SET)
    except EngineError:
        # ``look_at_sets`` has said so.
        return []
    try:
        with open_set(DEFAULT_SET) as networks:
            rows, backend = networks.agreement, networks.backend
    except EngineError as error:
        todo = "it will not be run; see `armicro engine check`"
        return [Check(GROUP, "outputs", "broken", str(error), todo)]
    worst = max(row.difference / row.tolerance for row in rows)
    found = (
        f"{DEFAULT_SET} on {backend} reproduces its golden outputs "
        f"(worst at {worst:.0%} of the tolerance)"
    )
    return [Check(GROUP, "outputs", "ok", found)]


def _look_at_set(folder: Path) -> Check:
    try:
        manifest = read_manifest(folder)
        contents = verify(folder, manifest)
    except EngineError as error:
        state: State = "broken" if folder.name == DEFAULT_SET else "missing"
        todo = "copy or export the set again; it will not be run as it is"
        return Check(GROUP, "set", state, str(error), todo)
    size = sum(map(len, contents.values())) >> 20
    found = f"{manifest.name} {manifest.version}, {size} MB, files as in its manifest"
    return Check(GROUP, "set", "ok", found)

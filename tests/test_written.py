"""What every command writes: whole or not at all, and never through a link."""

import argparse
import contextlib
import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from armicro import __main__
from armicro.__main__ import main
from armicro.command.calibrate.picture import write_picture
from armicro.engine.plan import PlanKey, cache_folder, write_plan
from armicro.errors import ArmicroError
from armicro.metrics import Judged
from armicro.phantom.truth import Truth, slide_file, truth_paths, write_truth
from armicro.validate.folder import figure_in, write_folder
from armicro.validate.slides import write_sheet
from tests.calibrate.micrometer import Design, View, draw
from tests.processes.test_full_disk import APART, skip_without_mounts

NOISE = np.random.default_rng(0).integers(0, 255, (160, 160, 3)).astype(np.uint8)
CELLS = 4000


def phantom(folder: Path) -> Path:
    with slide_file(folder / "slide.tif", 0) as file:
        file.write(NOISE.tobytes())
    return folder / "slide.tif"


def truth(folder: Path) -> list[Path]:
    places = np.arange(CELLS, dtype=float)
    kinds = np.zeros(CELLS, np.uint8)
    write_truth(
        Truth(places, places, kinds, ("NILM",), frozenset()), folder / "slide.tif"
    )
    return list(truth_paths(folder / "slide.tif"))


def picture(folder: Path) -> Path:
    write_picture(folder / "marked.png", NOISE)
    return folder / "marked.png"


def sheet(folder: Path) -> Path:
    write_sheet([NOISE], folder / "top.jpg")
    return folder / "top.jpg"


def validation(folder: Path) -> list[Path]:
    judged = Judged(
        np.linspace(0, 1, CELLS),
        np.arange(CELLS) % 2 > 0,
        np.full(CELLS, "g"),
        np.full(CELLS, "NILM"),
    )
    args = argparse.Namespace(out=folder, kind="cells", no_plots=True)
    figures = {"rows": [*range(CELLS)]}
    write_folder(args, {}, judged, {"name": ["a"] * CELLS}, figures)
    return [folder / "metrics.json", folder / "scores.csv"]


def plots(folder: Path) -> Path:
    pytest.importorskip("matplotlib")
    with figure_in(folder / "roc.png", "title") as (_, axes):
        axes.imshow(NOISE)
    return folder / "roc.png"


def checkpoint(folder: Path) -> Path:
    pytest.importorskip("torch")
    import torch

    from armicro.train.checkpoint import Checkpoint, write_checkpoint

    content = Checkpoint({"model.a": torch.zeros(50_000)}, {"step": 1})
    write_checkpoint(folder / "checkpoint.safetensors", content)
    return folder / "checkpoint.safetensors"


WRITERS: dict[str, Callable[[Path], Path | list[Path]]] = {
    one.__name__: one
    for one in (
        phantom,
        truth,
        picture,
        sheet,
        validation,
        plots,
        checkpoint,
    )
}


def written_by(name: str, folder: Path) -> list[Path]:
    paths = WRITERS[name](folder)
    return paths if isinstance(paths, list) else [paths]


@contextlib.contextmanager
def files_end_at(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", WRITERS)
def test_a_link_in_the_place_of_an_output_is_replaced(
    name: str, tmp_path: Path
) -> None:
    folder, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    folder.mkdir()
    paths = written_by(name, folder)
    for path in paths:
        part = path.with_name(f".{path.name}.part")
        for place in (path, part):
            place.unlink(missing_ok=True)
            place.symlink_to(elsewhere)
    elsewhere.write_text("theirs")
    written_by(name, folder)
    assert elsewhere.read_text() == "theirs"
    assert all(path.is_file() and not path.is_symlink() for path in paths)
    assert not list(folder.glob("*.part"))


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("size", [0, 1000])
def test_a_disk_that_is_full_leaves_what_was_there(
    name: str, size: int, tmp_path: Path
) -> None:
    paths = written_by(name, tmp_path)
    before = [path.read_bytes() for path in paths]
    with files_end_at(size), pytest.raises((OSError, ArmicroError)) as caught:
        written_by(name, tmp_path)
    assert any(path.name in str(caught.value) for path in paths)
    assert getattr(caught.value, "exit_status", 1) in (1, 2)
    assert [path.read_bytes() for path in paths] == before
    assert not list(tmp_path.glob(".*"))


def test_a_plan_is_written_whole_and_for_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    words: dict[str, Any] = dict.fromkeys(PlanKey.__dataclass_fields__, "a")
    key = PlanKey(**words)
    path = write_plan(key, b"plan")
    assert path.stat().st_mode & 0o777 == 0o600
    with files_end_at(10), pytest.raises(ArmicroError, match="TensorRT cache"):
        write_plan(key, b"longer")
    assert path.read_bytes().endswith(b"\nplan")
    assert [*cache_folder().iterdir()] == [path]


@pytest.mark.parametrize("name", ["demo", "phantom", "validate", "train", "calibrate"])
def test_a_write_that_fails_anywhere_is_one_line_and_status_1(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device", "out/a\nb.json")

    monkeypatch.setattr(__main__, "_run", full)
    assert main([name]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert r"out/a\nb.json: No space left on device; expected" in said
    assert "free some space" in said


COMMANDS = {
    "phantom": ["phantom", "OUT/slide.tif", "--megapixels", "1"],
    "calibrate": [
        *("calibrate", "scale", "RULER", "--division-um", "10"),
        *("--picture", "OUT/ticks.png"),
    ],
    "validate": [
        *("validate", "drawn", "--fields", "1", "--engines", "SET", "--no-plots"),
        *("--out", "OUT/figures"),
    ],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_on_a_full_file_system_is_one_line(
    name: str, tmp_path: Path, tiny_set: Path
) -> None:
    skip_without_mounts()
    ruler = tmp_path / "ruler.png"
    cv2.imwrite(str(ruler), draw(Design(), View(width_px=640, height_px=320)))
    out = tmp_path / "out"
    out.mkdir()
    given = {"OUT": str(out), "RULER": str(ruler), "SET": str(tiny_set)}
    command = [sys.executable, "-m", "armicro"]
    for word in COMMANDS[name]:
        first, slash, rest = word.partition("/")
        command.append(given.get(first, first) + slash + rest)
    # Its only page is taken by a file, and a folder takes none.
    script = (
        'mount -t tmpfs -o size=4k tmpfs "$1" && head -c 4096 /dev/zero > "$1/full"; '
        'shift; "$@"'
    )
    done = subprocess.run(
        [*APART, "sh", "-c", script, "sh", str(out), *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode in (1, 2), done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"armicro {name}: ")
    assert str(out) in last
    assert json.dumps(last)

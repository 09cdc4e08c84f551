"""What an installed wheel carries, so that `armicro demo` runs from any folder."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from armicro.__main__ import COMMANDS
from armicro.engine.registry import DEFAULT_SET
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.mark.parametrize(
    "name",
    [
        "armicro/py.typed",
        "armicro/session/page.html.j2",
        f"armicro/networks/{DEFAULT_SET}/manifest.toml",
        f"armicro/networks/{DEFAULT_SET}/lr.onnx",
        f"armicro/networks/{DEFAULT_SET}/hr.onnx",
        f"armicro/networks/{DEFAULT_SET}/rnn.onnx",
        f"armicro/networks/{DEFAULT_SET}/golden.npz",
    ],
)
def test_wheel_carries_what_the_demo_needs(wheel_names: set[str], name: str) -> None:
    assert name in wheel_names


def test_wheel_carries_the_window_fonts(wheel_names: set[str]) -> None:
    assert any(name.endswith(".ttf") for name in wheel_names)


def test_wheel_carries_no_tests_and_no_data(wheel_names: set[str]) -> None:
    assert not [name for name in wheel_names if name.startswith(("tests/", "docs/"))]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_has_an_example(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "armicro", name, "--help"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0
    assert f"armicro {name}" in done.stdout.split("example", 1)[1]

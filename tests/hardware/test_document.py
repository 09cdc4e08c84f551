"""What hardware/ and calibration/ tell people to type works; their sums are right."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from armicro.__main__ import parser_of
from armicro.certificate import read_certificate
from armicro.flat import read_flat
from armicro.rig import read_rig

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("hardware/*.md"), *ROOT.glob("calibration/**/*.md")]


def commands() -> Iterator[tuple[str, str]]:
    """Every line of a page's code block that calls armicro, with the page's name."""
    for page in [*PAGES, ROOT / "README.md"]:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL):
            joined = re.sub(r"\\\n\s*", "", block)
            for line in joined.splitlines():
                if line.startswith("armicro "):
                    yield page.name, line


@pytest.mark.parametrize(("page", "line"), sorted(set(commands())))
def test_every_command_of_the_pages_parses(page: str, line: str) -> None:
    name, *given = shlex.split(line, comments=True)[1:]
    parser_of(name).parse_args(given)


def test_every_file_that_a_page_links_to_exists() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_pixel_table_is_right_and_bold_where_the_cascade_accepts() -> None:
    rows = re.findall(
        r"^\| ([\d.]+) µm \(.*?\) \| ([\d.]+)× \| (.+?) \| [\d.]+ mm \|$",
        (ROOT / "hardware" / "README.md").read_text(),
        re.MULTILINE,
    )
    assert len(rows) == 6
    for pitch, adapter, cells in rows:
        for objective, cell in zip((10, 20, 40), cells.split(" | "), strict=True):
            um_per_px = float(pitch) / (objective * float(adapter))
            assert float(cell.strip("*")) == pytest.approx(um_per_px, abs=5.1e-4)
            assert cell.startswith("**") is (0.1 <= um_per_px <= 0.6)


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("hardware/rigs/*.toml")), ids=lambda path: path.stem
)
def test_every_rig_reads_and_its_scale_is_one_that_the_cascade_accepts(
    path: Path,
) -> None:
    rig = read_rig(path)
    camera = rig.camera
    assert camera.um_per_px == pytest.approx(rig.expected_um_per_px(), rel=2e-3)
    # Micro-Manager's drawn beads are no cells, and get no boxes.
    assert 0.1 <= camera.um_per_px <= 0.6 or camera.driver == "micromanager"


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("calibration/profiles/*.toml")), ids=lambda path: path.stem
)
def test_every_example_profile_is_as_it_was_measured(path: Path) -> None:
    held = read_certificate(path)
    assert held.scale is not None
    assert held.light is not None
    # Proves its digest.
    assert read_flat(path.parent, held.light).shape[2] == 3

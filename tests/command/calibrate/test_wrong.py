"""Wrong, empty and hostile input to every procedure: one line, status 2, no traceback.

One table: the command, what it must say. All pictures are drawn here, small.
"""

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from armicro.__main__ import main
from armicro.calibrate.certificate import Instrument, Scale
from armicro.calibrate.display import draw_pattern
from armicro.certificate import now, record
from armicro.source.specimen import draw_specimen

SIZE = 160, 128
RIG = (
    'objective = "20x"\ncertificate = "held.toml"\n[camera]\ndriver = "simulated"\n'
    'width_px = 160\nheight_px = 128\num_per_px = 0.6\nemulated_image = "drawn"\n'
)


def _write(name: str, pixels: np.ndarray) -> None:
    cv2.imwrite(name, pixels[..., ::-1] if pixels.ndim == 3 else pixels)


def _draw_dots() -> np.ndarray:
    dots = np.full((SIZE[1], SIZE[0], 3), 220, np.uint8)
    for y in range(12, SIZE[1], 20):
        for x in range(12, SIZE[0], 20):
            cv2.circle(dots, (x, y), 5, (30, 30, 30), -1, cv2.LINE_AA)
    return dots


def _write_session(name: str, painted: str, stations: str | None = None) -> None:
    Path(name).mkdir()
    Path(name, "painted.csv").write_text("seq,grab_to_painted_ms\n" + painted)
    if stations is not None:
        Path(name, "latency.csv").write_text(stations)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the table names."""
    folder = tmp_path_factory.mktemp("wrong")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        _fill()
    return folder


def _fill() -> None:
    glass = draw_specimen("glass", SIZE, 0.6)
    for name, level in (("black", 0), ("white", 255), ("grey", 128)):
        _write(f"{name}.png", np.full((SIZE[1], SIZE[0], 3), level, np.uint8))
    _write("small.png", np.full((20, 30, 3), 200, np.uint8))
    _write("line.png", np.full((1, 300, 3), 200, np.uint8))
    _write("glass.png", glass)
    _write("other.png", draw_specimen("glass", (100, 80), 0.6))
    _write("cells.png", draw_specimen("cells", SIZE, 0.6))
    _write("dots.png", _draw_dots())
    _write("16.png", glass.astype(np.uint16) * 257)
    _write("faint16.png", glass // 8 * np.uint16(3))
    _write("pattern.png", draw_pattern(320, 200))
    Path("text.png").write_text("no picture")
    Path("zero.png").touch()
    for folder, files in {
        "empty": (),
        "two": ("glass.png", "cells.png"),
        "notes": ("text.png",),
    }.items():
        Path(folder).mkdir()
        for file in files:
            shutil.copy(file, folder)
    Path("rig.toml").write_text(RIG)
    Path("bad.toml").write_text("x = [")
    Path("none.toml").write_text(RIG.replace("held", "missing"))
    width, height = SIZE
    instrument = Instrument(
        camera="simulated microscope",
        width_px=width,
        height_px=height,
        objective="20x",
    )
    scale = Scale(measured_at=now(), um_per_px=0.6, standard_error=0.001)
    record(Path("held.toml"), instrument, scale)
    Path("edited.toml").write_text(Path("held.toml").read_text().replace("0.6", "0.7"))
    _fill_tables()


def _fill_tables() -> None:
    rows = "".join(f"{seq},{20 + seq % 3}\n" for seq in range(30))
    _write_session("few", "0,20\n")
    _write_session("nan", rows + "30,nan\n")
    _write_session("early", rows.replace(",2", ",-2"))
    _write_session("cut", rows + "30\n")
    _write_session("wide", '"' + "x" * 200_000 + '"\n')
    _write_session("words", rows, "seq,grab_ns\nx,y\n")
    _write_session("columns", rows, "a,b\n1,2\n")
    _write_session("long", rows, "seq,a_ns\n1,2,3,4\n")
    _write_session("good", rows, "seq,a_ns,b_ns\n1,1000000,2000000\n")
    patches = [f"{20 + 3 * k},{k % 5},{k % 7}" for k in range(24)]
    for name, lines in (
        ("24.csv", patches),
        ("3.csv", patches[:3]),
        ("nan.csv", ["nan,nan,nan"] * 24),
        ("columns.csv", []),
    ):
        Path(name).write_text("\n".join(["L,a,b" if lines else "x,y", *lines]))


PICTURES = {
    "missing.png": "No such file",
    "empty": "no picture in this folder",
    "notes": "not a picture",
    "text.png": "not a picture",
    "zero.png": "the file is empty",
    "small.png": "30x20 px; expected",
    "line.png": "300x1 px; expected",
    "faint16.png": "how many bits",
    "text.png/x": "Not a directory",
}
"""What no procedure can measure."""
TAKE = {
    "scale": "scale {}",
    "scale --json": "scale {} --json",
    "dots": "scale {} --pattern dots",
    "flatfield": "flatfield {}",
    "dark": "flatfield glass.png --dark {}",
    "fields": "flatfield --fields {}",
    "colour": "colour {} --json",
    "target": "colour glass.png --target {} --reference 24.csv --corners "
    "9,9 150,9 150,110 9,110",
    "slide": "colour glass.png --slide {} --stain new.json",
    "display": "display --pictures {} --display 320x200 --um-per-px 0.3",
    "background": "display --pictures pattern.png --background {} --display 320x200 "
    "--um-per-px 0.3",
    "overlap": "overlap {} cells.png",
    "overlap --json": "overlap cells.png {} --json",
    "verify": "verify --rig rig.toml {} --json",
}
"""How each procedure is given a picture."""
TARGET = "colour glass.png --target cells.png --corners 9,9 150,9 150,110 9,110"
SEEN = "display --pictures pattern.png --display 320x200"

WRONG: dict[str, str] = {
    "scale": "no picture",
    "scale black.png": "no ruler found",
    "scale black.png --pattern grid": "no grid found",
    "scale cells.png --pattern dots": "dots",
    "scale dots.png --pattern charuco": "ChArUco: 0 corners",
    "scale glass.png other.png": "other.png: 100x80 px, the first was 160x128",
    "scale dots.png --division-um nan": "expected 0.001",
    "scale dots.png --division-um -1": "expected 0.001",
    "scale dots.png --pixel-um 0": "expected 0.1",
    "scale dots.png --pattern dots --division-um 9999": "implausible scale",
    "scale dots.png --pattern dots --division-um 0.01": "implausible scale",
    "scale dots.png --pattern dots --rig none.toml --division-um 30": "implausible",
    "scale dots.png --pattern dots --certificate empty": "Is a directory",
    "scale dots.png --pattern dots --certificate text.png": "certificate text.png",
    "scale dots.png --pattern dots --certificate text.png/c.toml": "may be written",
    "scale dots.png --pattern dots --certificate edited.toml": "was edited",
    "scale dots.png --pattern dots --picture empty": "Is a directory",
    "scale dots.png --rig missing.toml": "No such file",
    "scale dots.png --rig bad.toml": "correct that line",
    "scale dots.png --rig empty": "Is a directory",
    "flatfield": "no picture",
    "flatfield black.png": "turn the lamp up",
    "flatfield white.png": "turn the lamp down",
    "flatfield dots.png": "uneven",
    "flatfield glass.png other.png": "the first was 160x128",
    "flatfield --fields cells.png": "1 fields, expected at least 12",
    "flatfield --fields" + 12 * " black.png": "the glass reads 0 of 255",
    "flatfield --fields" + 12 * " white.png": "the glass reads 255 of 255",
    "flatfield --fields" + 12 * " cells.png": "of one place",
    "flatfield glass.png --dark glass.png": "expected at most 32",
    "flatfield glass.png --certificate empty": "Is a directory",
    "flatfield glass.png --certificate text.png/c.toml": "may be written",
    "flatfield glass.png --before-after empty": "Is a directory",
    "flatfield other.png --certificate held.toml": "pictures are 100x80",
    "flatfield --rig rig.toml --count 0": "expected 1 to 1000",
    "colour": "no picture of empty glass",
    "flatfield glass.png --before-after glass.png": "is the picture that is measured",
    "flatfield glass.png --before-after .": "Is a directory; name the picture",
    "scale glass.png --picture ./glass.png": "is the picture that is measured",
    "colour black.png": "turn the lamp up",
    "colour white.png": "reads 255 of 255",
    "colour cells.png": "uneven",
    "colour glass.png other.png": "the first was 160x128",
    "colour glass.png --certificate empty": "Is a directory",
    "colour glass.png --slide glass.png --stain new.json": "is stained, expected",
    "colour glass.png --slide black.png --stain text.png": "what this command wrote",
    "colour glass.png --slide black.png --stain empty": "Is a directory",
    "colour glass.png --slide black.png --stain no/s.json": "No such file",
    "colour --rig rig.toml --count -1": "expected 1 to 1000",
    TARGET: "needs all of",
    f"{TARGET} --reference 24.csv --grid 6x": "expected ACROSSxDOWN",
    f"{TARGET} --reference 24.csv --grid 9999999x1": "expected at most",
    f"{TARGET} --reference 3.csv --grid 3x1": "expected as many of each",
    f"{TARGET} --reference nan.csv": "infs or NaNs",
    f"{TARGET} --reference columns.csv": "expected a CSV",
    f"{TARGET} --reference missing.csv": "No such file",
    f"{TARGET} --reference 16.png": "expected a CSV",
    f"{TARGET[:-28]} 9,9 9,9 9,9 9,9 --reference 24.csv": "corners",
    f"{TARGET[:-28]} 9,9 nan,9 9,9 9,9 --reference 24.csv": "corner",
    f"{TARGET[:-28]} 9,9 x 9,9 9,9 --reference 24.csv": "expected four of X,Y",
    "colour glass.png --target grey.png --corners 9,9 150,9 150,110 9,110 "
    "--reference 24.csv": "all look alike",
    "display": "give --rig, --pictures or --simulated",
    SEEN: "scale is not known",
    "display --um-per-px 0.3": "give --rig, --pictures or --simulated",
    f"{SEEN} --um-per-px nan": "expected 0.001",
    f"{SEEN} --um-per-px 0": "expected 0.001",
    f"{SEEN} --um-per-px 0.3": "verification pattern was not found",
    f"{SEEN} --um-per-px 0.3 --background other.png": "another size",
    f"{SEEN} --um-per-px 0.3 --background two": "name one",
    "display --pictures black.png --display 0x0 --um-per-px 0.3": "expected WIDTHxHEI",
    "display --pattern-out p.png --display 9999999x9999999": "expected WIDTHxHEIGHT",
    "display --pattern-out empty --display 320x200": "director",
    "display --pictures black.png --display 320x200 --um-per-px 1": "0 corners",
    "display --simulated -1": "expected 0",
    f"{SEEN} --um-per-px 0.3 --pattern-out p.png": "give it without --pictures",
    f"{SEEN} --um-per-px 0.3 --found pattern.png": "is the picture that is measured",
    f"{SEEN} --um-per-px 0.3 --background glass.png --found ./glass.png": "is the pic",
    "display --pictures two --um-per-px 0.3 --found two/cells.png": "is the picture",
    "display --pictures two --um-per-px 0.3 --found two/new.png": "is the picture",
    f"{SEEN} --um-per-px 0.3 --found found.jpg": "a PNG is written",
    f"{SEEN} --um-per-px 0.3 --found empty": "Is a directory; name the picture",
    f"{SEEN} --um-per-px 0.3 --found no/found.png": "No such file",
    f"{SEEN} --um-per-px 0.3 --certificate glass.png --background glass.png": "is the",
    f"{SEEN} --um-per-px 0.3 --certificate glass.png": "no text in UTF-8",
    "display --pattern-out p --display 640x400": "a PNG is written",
    "display --pattern-out no/p.png --display 640x400": "No such file",
    "display --simulated 1 --certificate new.toml": "leave --certificate away",
    "display --simulated 1 --pictures pattern.png": "leave --pictures away",
    "flatfield glass.png --dark black.png --before-after black.png": "is the picture",
    "flatfield two --before-after two/out.png": "is the picture that is measured",
    "colour glass.png --slide cells.png --stain cells.png": "is the picture",
    "colour glass.png --slide cells.png --stain s.json --before-after s.json": "is the",
    "scale dots.png --pattern dots --rig rig.toml --picture rig.toml": "is the picture",
    "scale dots.png --pattern dots --certificate c.toml --picture c.toml": "is the pic",
    "scale dots.png --pattern dots --rig rig.toml --certificate rig.toml": "is the pic",
    "stage --rig rig.toml --picture rig.toml": "is the picture",
    "stage --rig rig.toml --picture empty": "Is a directory",
    "stage --rig rig.toml --picture text.png/s.png": "Not a directory",
    "stage --rig rig.toml --certificate empty": "Is a directory",
    "latency": "give --session",
    "latency --session missing": "No such file",
    "latency --session text.png": "Not a directory",
    "latency --session few": "1 fields were painted",
    "latency --session nan": "line 32: nan ms",
    "latency --session early": "expected 0",
    "latency --session cut": "another length",
    "latency --session wide": "field larger",
    "latency --session words": "line 2",
    "latency --session columns": "seq",
    "latency --session long": "another length",
    "latency --session good --certificate missing.toml": "No such file",
    "latency --session good --certificate empty": "Is a directory",
    "latency --simulated 7 --changes 0": "expected 20",
    "latency --simulated -1": "expected 0",
    "latency --simulated 1 --session good": "leave --session away",
    "latency --simulated 1 --certificate held.toml": "leave --certificate away",
    "latency --rig rig.toml --certificate held.toml": "needs the software's part",
    "overlap two cells.png": "name one",
    "verify --rig missing.toml": "No such file",
    "verify --rig rig.toml glass.png cells.png": "cells.png: neither a micrometer",
    "verify --rig none.toml": "no certificate missing.toml yet",
    "verify --rig rig.toml other.png": "pictures are 100x80",
    "verify --rig rig.toml glass.png": "holds nothing",
    "verify --rig rig.toml cells.png": "neither a micrometer nor empty glass",
    "verify --rig rig.toml glass.png --division-um nan": "expected 0.001",
    "guide --text --rig missing.toml": "No such file",
    "guide --text --rig bad.toml": "correct that line",
    "guide --text --rig rig.toml": "nobody answers",
    "guide --yes --rig rig.toml --division-um 0": "expected 0.001",
    "stage --rig missing.toml": "No such file",
    "stage --rig rig.toml": "stage",
    "show missing.toml": "No such file",
    "show empty": "Is a directory",
    "show 16.png": "certificate 16.png",
    "show edited.toml": "was edited",
    "show rig.toml": "certificate rig.toml",
}

NO_NUMBER = (
    "overlap cells.png cells.png --expect-px nan 0",
    "overlap cells.png cells.png --expect-px 0 inf",
    "overlap cells.png cells.png --expect-px 1e9 0",
)
NO_NAME = ("", "  ", "a\nb", "x\udcff", "n" * 65)
"""Who nobody is; the bytes of a name may be no text."""


@pytest.fixture
def calibrate(
    drawn: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], tuple[int, str, str]]:
    """Runs a procedure in that folder: its status, and what it said."""
    monkeypatch.chdir(drawn)
    monkeypatch.setattr("sys.stdin", io.StringIO())

    def call(words: str) -> tuple[int, str, str]:
        status = main(["calibrate", *words.split()])
        out, err = capsys.readouterr()
        return status, out, err

    return call


Call = Callable[[str], tuple[int, str, str]]


def _is_refused(calibrate: Call, words: str, says: str) -> None:
    status, out, err = calibrate(words)
    # A bar of progress may stand before it.
    line = next(line for line in err.splitlines() if line.startswith("armicro"))
    assert says in line
    assert status == 2
    assert err.endswith(f"{line}\n")
    assert "{" not in out
    assert "ambiguous" not in line


@pytest.mark.parametrize("take", TAKE)
@pytest.mark.parametrize("picture", PICTURES)
def test_what_is_no_measurable_picture_is_refused_by_every_procedure(
    calibrate: Call, take: str, picture: str
) -> None:
    _is_refused(calibrate, TAKE[take].format(picture), PICTURES[picture])


@pytest.mark.parametrize("words", WRONG)
def test_wrong_input_is_refused_in_one_line_that_says_why(
    calibrate: Call, words: str
) -> None:
    _is_refused(calibrate, words, WRONG[words])


def _contents(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files}


def test_nothing_was_written_by_all_that_was_refused(
    calibrate: Call, drawn: Path
) -> None:
    before = _contents(drawn)
    for words in WRONG:
        if words.startswith(("display", "stage", "colour", "latency")):
            calibrate(words)
    assert _contents(drawn) == before


@pytest.mark.parametrize("words", NO_NUMBER)
def test_a_place_is_a_number_of_pixels(calibrate: Call, words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        calibrate(words)
    assert ended.value.code == 2


@pytest.mark.parametrize("option", ["--by", "--objective"])
@pytest.mark.parametrize("name", NO_NAME)
def test_a_name_is_printable_and_short(
    drawn: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
    name: str,
) -> None:
    monkeypatch.chdir(drawn)
    if option == "--objective" and name.isalpha():
        name *= 4
    with pytest.raises(SystemExit) as ended:
        main(["calibrate", "scale", "dots.png", f"{option}={name}"])
    assert ended.value.code == 2
    assert "is no name" in capsys.readouterr().err


def test_a_drawing_that_nobody_named_takes_no_picture_s_place(
    calibrate: Call, drawn: Path
) -> None:
    for name in ("d.png", "d.ticks.png"):
        shutil.copy(drawn / "dots.png", drawn / name)
    status, _, _ = calibrate("scale d.png d.ticks.png --pattern dots")
    assert status == 0
    dots = (drawn / "dots.png").read_bytes()
    assert (drawn / "d.ticks.png").read_bytes() == dots


def test_a_stretch_that_one_field_went_has_no_percentile(calibrate: Call) -> None:
    status, out, _ = calibrate("latency --session good --json")
    assert status == 0
    assert json.loads(out)["stations"] == []


def test_an_overlap_without_error_is_never_told(calibrate: Call) -> None:
    status, out, _ = calibrate("overlap cells.png cells.png")
    assert status == 0
    assert "± 0.00" not in out


def test_light_judged_on_its_own_picture_is_said_to_prove_nothing(
    calibrate: Call,
) -> None:
    status, out, _ = calibrate("flatfield glass.png")
    assert status == 0
    assert "proves nothing" in out

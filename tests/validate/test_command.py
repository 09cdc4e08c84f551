import csv
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from armicro import verdict
from armicro.__main__ import main
from armicro.phantom import PhantomSpec, paint_field, write_phantom
from armicro.table import VAL_SHARE_PERCENT


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two drawn fields with their cells, in CRIC's form."""
    folder = tmp_path_factory.mktemp("drawn")
    (folder / "images").mkdir()
    fields = [("image", "um_per_px", "split", "slide_group")]
    cells = [("image", "bethesda", "x_px", "y_px")]
    for seed, lesions in ((3, 4), (7, 0)):
        name = f"{seed}.png"
        pixels, truth = paint_field(
            seed=seed, width_px=900, height_px=700, lesions=lesions
        )
        cv2.imwrite(str(folder / "images" / name), pixels[..., ::-1])
        fields.append((name, "0.243", "val", name))
        for x, y, kind, lesion in zip(
            truth.x_um, truth.y_um, truth.names, truth.lesion, strict=True
        ):
            place = (f"{x / 0.243:.1f}", f"{y / 0.243:.1f}")
            cells.append((name, kind if lesion else "NILM", *place))
    for name, rows in (("fields.csv", fields), ("cells.csv", cells)):
        with (folder / name).open("w", newline="") as stream:
            csv.writer(stream).writerows(rows)
    return folder


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """The table of four crops of four cases, dark ones lesions."""
    rows = ["file,abnormal,case_id"]
    for number in range(4):
        pixels = np.full((40, 40, 3), 30 if number % 2 else 220, np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), pixels)
        rows.append(f"{number}.png,{number % 2},case{number}")
    path = tmp_path / "cells.csv"
    path.write_text("\n".join(rows))
    return path


@pytest.mark.parametrize("kind", ["cells", "fields"])
def test_validate_writes_figures_intervals_and_scores(
    kind: str, drawn: Path, tiny_set: Path, tmp_path: Path
) -> None:
    arguments = [str(drawn / "cells.csv"), "--fields", str(drawn / "fields.csv")]
    options = ["--out", str(tmp_path), "--engines", str(tiny_set), "--no-plots"]
    options += ["--split", "val"]
    assert main(["validate", kind, *arguments, *options]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["auc"] > 0.8
    assert metrics["split"] == "val"
    assert {"auc_low", "auc_high", "n_positive", "n_negative"} <= set(metrics)
    assert metrics["engine"]["set"] == "tiny"
    rows = (tmp_path / "scores.csv").read_text().splitlines()
    assert len(rows) - 1 == metrics["n_positive"] + metrics["n_negative"]
    if kind == "fields":
        assert metrics["lesion_recall"] > 0.5
        assert {"findings_per_field", "field_auc", "top10_tpr"} <= set(metrics)


def test_drawn_fields_are_drawn_and_judged(tiny_set: Path, tmp_path: Path) -> None:
    options = ["--out", str(tmp_path), "--engines", str(tiny_set), "--no-plots"]
    assert main(["validate", "drawn", "--fields", "4", *options]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["fields"] == 4
    assert metrics["lesions"] == 18
    assert metrics["lesion_recall"] > 0.5


def test_fields_that_the_cascade_refuses_are_listed_and_in_no_figure(
    drawn: Path, tiny_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(drawn, tmp_path / "data")
    cv2.imwrite(str(tmp_path / "data" / "images" / "dark.png"), np.zeros((700, 900, 3)))
    fields = tmp_path / "data" / "fields.csv"
    far = "7.png,2.0,far,7.png"
    dark = "dark.png,0.243,dark,dark.png,NILM"
    header, first = fields.read_text().splitlines()[:2]
    fields.write_text("\n".join([f"{header},bethesda", first, far, dark]))
    options = ["--out", str(tmp_path), "--engines", str(tiny_set), "--no-plots"]
    arguments = [str(tmp_path / "data" / "cells.csv"), "--fields", str(fields)]
    assert main(["validate", "fields", *arguments, *options]) == 1
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["fields"] == 3
    assert metrics["n_not_scored"] == 2
    assert {each["field"] for each in metrics["not_scored"]} == {"7.png", "dark.png"}
    assert all(each["reason"] for each in metrics["not_scored"])
    assert (metrics["n_positive"], metrics["n_negative"]) == (1, 0)
    assert len((tmp_path / "scores.csv").read_text().splitlines()) == 2
    assert "2 not scored, and in no figure" in capsys.readouterr().out


def test_fields_that_are_all_refused_have_no_figure(
    drawn: Path, tiny_set: Path, tmp_path: Path
) -> None:
    far = tmp_path / "fields.csv"
    far.write_text("image,um_per_px,split,slide_group\n3.png,2.0,val,3.png\n")
    shutil.copytree(drawn / "images", tmp_path / "images")
    arguments = [str(drawn / "cells.csv"), "--fields", str(far), "--no-plots"]
    options = ["--out", str(tmp_path / "out"), "--engines", str(tiny_set)]
    assert main(["validate", "fields", *arguments, *options]) == 1
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (metrics["n_not_scored"], metrics["auc"]) == (1, None)
    assert metrics["findings_per_field"] is None


@pytest.mark.parametrize(
    ("kind", "blocked", "options"),
    [
        ("fields", "matplotlib", []),
        ("cells", "sklearn", ["--tsne"]),
        ("cells", "sklearn", ["--tsne", "--no-plots"]),
    ],
)
def test_plots_that_cannot_be_drawn_are_told_before_the_work(
    kind: str,
    blocked: str,
    options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == blocked]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, blocked, None)
    tables = ["absent.csv", "--fields", "absent.csv"]
    assert main(["validate", kind, *tables, "--out", str(tmp_path), *options]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"plots: {blocked} is not installed; expected the extra train" in said


@pytest.mark.parametrize("kind", ["cells", "fields", "drawn", "sources"])
@pytest.mark.parametrize("inside", ["", "deeper"])
def test_a_folder_that_cannot_be_made_is_told_before_the_work(
    kind: str, inside: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "cells.csv"
    file.write_text("kept")
    tables = {
        "drawn": [],
        "sources": ["absent"],
        "cells": ["absent.csv", "--fields", "absent.csv"],
    }
    given = tables.get(kind, tables["cells"])
    out = str(file / inside)
    assert main(["validate", kind, *given, "--out", out, "--no-plots"]) == 2
    said = capsys.readouterr().err
    assert f"--out {out}: {file}: Not a directory; expected a folder" in said
    assert said.count("\n") == 1
    assert file.read_text() == "kept"


@pytest.mark.parametrize("kind", ["cells", "fields"])
def test_a_field_that_nobody_annotated_counts_neither_way(
    kind: str, drawn: Path, tiny_set: Path, tmp_path: Path
) -> None:
    fields, cells = tmp_path / "fields.csv", tmp_path / "cells.csv"
    shutil.copytree(drawn / "images", tmp_path / "images")
    for name in ("u.png", "lost.png"):
        shutil.copy(tmp_path / "images" / "3.png", tmp_path / "images" / name)
    more = "u.png,0.243,unlabelled,u.png\nlost.png,0.243,val,lost.png\n"
    fields.write_text((drawn / "fields.csv").read_text() + more)
    cells.write_text((drawn / "cells.csv").read_text() + "u.png,NILM,300,300\n")
    told = []
    for place in (drawn, tmp_path):
        out = tmp_path / place.name
        options = ["--out", str(out), "--engines", str(tiny_set), "--no-plots"]
        tables = [str(place / "cells.csv"), "--fields", str(place / "fields.csv")]
        assert main(["validate", kind, *tables, *options]) == 0
        told.append(json.loads((out / "metrics.json").read_text()))
    assert told[0]["n_negative"] == told[1]["n_negative"]
    assert told[0]["auc"] == told[1]["auc"]


def test_cells_of_other_pictures_end_with_status_two(
    drawn: Path, tiny_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = tmp_path / "cells.csv"
    cells.write_text("image,bethesda,x_px,y_px\nother.png,HSIL,10,10\n")
    options = ["--fields", str(drawn / "fields.csv"), "--out", str(tmp_path)]
    status = main(
        ["validate", "cells", str(cells), *options, "--engines", str(tiny_set)]
    )
    assert status == 2
    assert "no cell of CELLS.csv" in capsys.readouterr().err


@pytest.fixture
def a_few_cells_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """A score from 0.003 mm² of cells on, so that drawn slides may be small."""
    monkeypatch.setattr(verdict, "LEAST_CELL_UM2", 3_000.0)


def white(path: Path) -> None:
    """Write a slide of empty glass."""
    pixels = np.full((900, 1100, 3), 245, np.uint8)
    tifffile.imwrite(
        path,
        pixels,
        tile=(256, 256),
        photometric="rgb",
        resolution=(1e4 / 0.243, 1e4 / 0.243),
        resolutionunit="CENTIMETER",
    )


NOT_SCORED: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty glass": (white, "no cells analysed"),
    "too few cells": (
        lambda path: write_phantom(path, PhantomSpec(200, 200, seed=3, lesions=0)),
        "mm² of cells analysed, a score needs 0.003 mm²",
    ),
    "no slide": (lambda path: path.write_bytes(b"II*\0 and no more"), "slide"),
    "no file": (lambda path: None, "no such"),
}


@pytest.mark.usefixtures("a_few_cells_are_enough")
@pytest.mark.parametrize("label", ["0", "1"])
@pytest.mark.parametrize("kind", NOT_SCORED)
def test_a_slide_without_a_score_is_listed_and_in_no_figure(
    kind: str,
    label: str,
    tiny_set: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write, reason = NOT_SCORED[kind]
    write(tmp_path / "bad.tif")
    write_phantom(tmp_path / "good.tif", PhantomSpec(1100, 900, seed=1, lesions=2))
    table, out = tmp_path / "slides.csv", tmp_path / "out"
    table.write_text(f"slide,label\nbad.tif,{label}\ngood.tif,1\n")
    options = ["--out", str(out), "--engines", str(tiny_set), "--no-plots"]
    # The second run goes on with what the first has kept.
    for _ in range(2):
        assert main(["validate", "slides", str(table), *options]) == 1
        said = capsys.readouterr().out
        metrics = json.loads((out / "metrics.json").read_text())
        assert (metrics["n_positive"], metrics["n_negative"]) == (1, 0)
        assert metrics["n_not_scored"] == 1
        (missing,) = metrics["not_scored"]
        assert missing["slide"].endswith("bad.tif")
        assert reason in missing["reason"]
        assert metrics["specificity"] is None
        assert "1 not scored" in said
        assert reason in said
        rows = list(csv.DictReader((out / "scores.csv").read_text().splitlines()))
        assert [row["name"] for row in rows] == ["good.tif"]
        # Never a score without of how much it is.
        assert float(rows[0]["coverage"]) == 1.0
        assert "1 slide scored, each over at least 100 %" in said


def test_slides_of_which_none_has_a_score_make_no_figure(
    tiny_set: Path, tmp_path: Path
) -> None:
    for name in ("a.tif", "b.tif"):
        white(tmp_path / name)
    table, out = tmp_path / "slides.csv", tmp_path / "out"
    table.write_text("slide,label\na.tif,0\nb.tif,1\n")
    options = ["--out", str(out), "--engines", str(tiny_set)]
    assert main(["validate", "slides", str(table), *options]) == 1
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["n_not_scored"], metrics["auc"]) == (2, None)
    assert metrics["scored_over"] == "no slide scored"


@pytest.mark.usefixtures("a_few_cells_are_enough")
def test_slides_are_judged_and_a_second_run_reads_none_again(
    tiny_set: Path, tmp_path: Path
) -> None:
    rows = ["slide,label"]
    for seed, lesions in ((1, 5), (2, 0)):
        path = tmp_path / f"s{seed}.tif"
        write_phantom(path, PhantomSpec(1500, 1200, seed=seed, lesions=lesions))
        rows.append(f"{path.name},{int(lesions > 0)}")
    table = tmp_path / "slides.csv"
    table.write_text("\n".join(rows))
    options = ["--out", str(tmp_path / "out"), "--engines", str(tiny_set), "--no-plots"]
    assert main(["validate", "slides", str(table), *options]) == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["n_positive"] == metrics["n_negative"] == 1
    assert "specificity_at_full_sensitivity" in metrics
    assert metrics["command"].startswith("armicro validate")
    scores = (tmp_path / "out" / "scores.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in scores] == ["name", "s1.tif", "s2.tif"]
    results = sorted((tmp_path / "out" / "slides").glob("*.json"))
    assert [path.stem for path in results] == ["s1", "s2"]
    assert json.loads(results[0].read_text())["findings"] >= 3
    assert (tmp_path / "out" / "slides" / "s1.jpg").stat().st_size > 2000
    before = [path.stat().st_mtime_ns for path in results]
    assert main(["validate", "slides", str(table), *options]) == 0
    assert [path.stat().st_mtime_ns for path in results] == before


def other_set(tiny_set: Path, folder: Path) -> Path:
    """Copy the set under another name."""
    shutil.copytree(tiny_set, folder / "other")
    manifest = folder / "other" / "manifest.toml"
    text = manifest.read_text("utf-8").replace('name = "tiny"', 'name = "other"')
    manifest.write_text(text, "utf-8")
    return folder / "other"


@pytest.mark.usefixtures("a_few_cells_are_enough")
def test_a_slide_is_read_again_when_what_made_its_figures_has_changed(
    tiny_set: Path, tmp_path: Path
) -> None:
    slide = tmp_path / "s1.tif"
    write_phantom(slide, PhantomSpec(900, 800, seed=1, lesions=2))
    table, out = tmp_path / "slides.csv", tmp_path / "out"
    table.write_text("slide,label\ns1.tif,1\n")
    rig = tmp_path / "rig.toml"
    rig.write_text("[camera]\nwidth_px = 1200\nheight_px = 1000\n")
    other = other_set(tiny_set, tmp_path)

    def result(*options: str, engines: Path = tiny_set) -> tuple[str, int]:
        arguments = ["--out", str(out), "--engines", str(engines), "--no-plots"]
        assert main(["validate", "slides", str(table), *arguments, *options]) == 0
        path = out / "slides" / "s1.json"
        name = json.loads((out / "metrics.json").read_text())["engine"]["set"]
        return name, path.stat().st_mtime_ns

    made = [result(), result(engines=other)]
    assert [name for name, _ in made] == ["tiny", "other"]
    for options in (
        ["--precision", "fp32"],
        ["--um-per-px", "0.26"],
        ["--rig", str(rig)],
        [],
    ):
        made.append(result(*options))
        assert made[-1][1] > made[-2][1]
        assert result(*options) == made[-1]
    # By its content, not by its date: a copy is the same slide, another seed is not.
    last = result()
    slide.touch()
    assert result() == last
    write_phantom(slide, PhantomSpec(900, 800, seed=2, lesions=2))
    assert result()[1] > last[1]


@pytest.mark.usefixtures("a_few_cells_are_enough")
def test_a_slide_whose_figures_are_cut_short_is_read_again(
    tiny_set: Path, tmp_path: Path
) -> None:
    write_phantom(tmp_path / "s1.tif", PhantomSpec(700, 600, seed=1, lesions=0))
    table, path = tmp_path / "slides.csv", tmp_path / "out" / "slides" / "s1.json"
    table.write_text("slide,label\ns1.tif,0\n")
    path.parent.mkdir(parents=True)
    path.write_text("{")
    options = ["--out", str(tmp_path / "out"), "--engines", str(tiny_set), "--no-plots"]
    assert main(["validate", "slides", str(table), *options]) == 0
    assert json.loads(path.read_text())["fields"] > 0


def test_a_slide_label_that_is_none_is_refused(
    tiny_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "slides.csv"
    table.write_text("slide,label\na.tif,maybe\n")
    options = ["--out", str(tmp_path), "--engines", str(tiny_set)]
    assert main(["validate", "slides", str(table), *options]) == 2
    assert "label is 'maybe'" in capsys.readouterr().err


@pytest.mark.parametrize("scale", ["0", "-0.2", "nan", "inf"])
def test_crops_at_a_scale_that_no_picture_has_are_refused(
    crops: Path, tiny_set: Path, capsys: pytest.CaptureFixture[str], scale: str
) -> None:
    options = ["--out", str(crops.parent / "out"), "--engines", str(tiny_set)]
    arguments = ["validate", "crops", str(crops), f"--um-per-px={scale}"]
    assert main([*arguments, *options]) == 2
    assert f"--um-per-px is {scale}; expected" in capsys.readouterr().err


def test_no_crop_held_out_is_one_line_and_status_two(
    crops: Path, tiny_set: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--out", str(crops.parent / "out"), "--engines", str(tiny_set)]
    arguments = ["validate", "crops", str(crops), "--um-per-px", "0.2"]
    assert main([*arguments, "--held-out-percent", "1", *options]) == 2
    said = capsys.readouterr().err
    assert f"{crops}: no crop is of the 1 % of groups held out; expected" in said


@pytest.mark.parametrize("percent", [0, 100])
def test_the_share_held_out_stands_beside_the_figures(
    crops: Path, tiny_set: Path, percent: int
) -> None:
    out = crops.parent / "out"
    options = ["--out", str(out), "--engines", str(tiny_set), "--no-plots"]
    arguments = ["validate", "crops", str(crops), "--um-per-px", "0.2"]
    assert main([*arguments, "--held-out-percent", str(percent), *options]) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["held_out_percent"] == percent
    assert metrics["n_negative"] == 2
    assert "split" not in metrics


def test_the_example_of_crops_judges_only_what_training_held_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        main(["validate", "crops", "--help"])
    example = capsys.readouterr().out.split("validate crops data/herlev")[1]
    assert f"--held-out-percent {VAL_SHARE_PERCENT['herlev']}" in example

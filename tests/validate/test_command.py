import csv
import json
from pathlib import Path

import cv2
import pytest

from armicro.__main__ import main
from armicro.source.phantom import paint_field


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two drawn fields with their cells, in CRIC's form."""
    folder = tmp_path_factory.mktemp("drawn")
    (folder / "images").mkdir()
    fields = [("image", "um_per_px", "split", "slide_group")]
    cells = [("image", "bethesda", "x_px", "y_px")]
    for seed, lesions in ((3, 4), (4, 0)):
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


@pytest.mark.parametrize("kind", ["cells", "fields"])
def test_validate_writes_figures_intervals_and_scores(
    kind: str, drawn: Path, tiny_set: Path, tmp_path: Path
) -> None:
    arguments = [str(drawn / "cells.csv"), "--fields", str(drawn / "fields.csv")]
    options = ["--out", str(tmp_path), "--engines", str(tiny_set), "--no-plots"]
    assert main(["validate", kind, *arguments, *options]) == 0
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["auc"] > 0.8
    assert {"auc_low", "auc_high", "n_positive", "n_negative"} <= set(metrics)
    assert metrics["engine"]["set"] == "tiny"
    rows = (tmp_path / "scores.csv").read_text().splitlines()
    assert len(rows) - 1 == metrics["n_positive"] + metrics["n_negative"]
    if kind == "fields":
        assert metrics["lesion_recall"] > 0.5
        assert {"findings_per_field", "field_auc", "top10_tpr"} <= set(metrics)


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

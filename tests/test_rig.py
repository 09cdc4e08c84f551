from pathlib import Path

import pytest

from armicro.errors import RigError
from armicro.rig import Rig, read_rig


def rig_of(folder: Path, text: str) -> Rig:
    path = folder / "rig.toml"
    path.write_text(text)
    return read_rig(path)


def test_shortest_rig_is_an_empty_file(tmp_path: Path) -> None:
    assert rig_of(tmp_path, "") == Rig()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("[camera]\nwidth_px = -5", "width_px"),
        ("[camera]\nwidth_px = 70000", "width_px"),
        ("[camera]\nwidht_px = 5", "widht_px"),
        ("[camera]\num_per_px = nan", "um_per_px"),
        ("[camera]\num_per_px = inf", "um_per_px"),
        ("[camera]\num_per_px = 1e-12", "um_per_px"),
        ("[camera]\nwhite_balance = [1.0, nan, 1.0]", "camera.white_balance"),
        ("[scan]\nrotation_deg = nan", "scan.rotation_deg"),
        ("[scan]\nblur_um = -3.0", "blur_um"),
        ("[scan]\nstage_um_per_s = inf", "scan.stage_um_per_s"),
        ("[cascade]\nplace_error_um = inf", "cascade.place_error_um"),
        ("[network]\nthreads = 99999999999", "threads"),
        ("x = =", "line 1"),
    ],
)
def test_absurd_value_is_a_rig_error_that_names_it(
    tmp_path: Path, text: str, word: str
) -> None:
    with pytest.raises(RigError, match=word):
        rig_of(tmp_path, text)

"""The virtual stage of pylon's emulated camera."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("pypylon", reason="pypylon is not installed")

from armicro.errors import CalibrationError, RigError, SourceError, SourceLostError
from armicro.field import Pixels
from armicro.rig import Camera, Rig, StageSettings
from armicro.source.open import OpenInstrument, open_instrument


@pytest.fixture(autouse=True)
def emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYLON_CAMEMU", "1")


@pytest.fixture
def slide() -> Pixels:
    rows, columns = np.mgrid[:900, :1000]
    return np.stack((columns % 251, rows % 251, 0 * rows), axis=-1).astype(np.uint8)


def rig_over(image: str, **stage: object) -> Rig:
    camera = Camera(
        driver="basler", width_px=320, height_px=240, um_per_px=0.5,
        emulated_image=image, emulated_pan_um_per_s=500.0, frames_per_second=100.0,
    )  # fmt: skip
    return Rig(camera=camera, stage=StageSettings(driver="pylon", **stage))  # type: ignore[arg-type]


@pytest.fixture
def instrument(tmp_path: Path, slide: Pixels) -> Iterator[OpenInstrument]:
    path = tmp_path / "slide.bmp"
    cv2.imwrite(str(path), slide[..., ::-1])
    limits = (10.0, 0.0, 1e6, 1e6)
    with open_instrument(rig_over(str(path), limits=limits)) as opened:
        yield opened


def test_view_is_where_the_stage_was_told_to_go(
    instrument: OpenInstrument, slide: Pixels
) -> None:
    fields = instrument.source.fields()
    for x, y in ((10.0, 0.0), (100.5, 30.0), (340.0, 330.0)):
        instrument.stage.move_to(x, y)
        for _ in range(instrument.stale_fields):
            next(fields)
        pixels = next(fields).pixels
        assert instrument.stage.position() == (x, y)
        assert pixels[0, 0].tolist() == slide[round(2 * y), round(2 * x)].tolist()


@pytest.mark.parametrize(("x", "y"), [(9.0, 0.0), (341.0, 0.0), (100.0, 331.0)])
def test_neither_limits_nor_the_picture_are_left(
    instrument: OpenInstrument, x: float, y: float
) -> None:
    before = instrument.stage.position()
    with pytest.raises(CalibrationError, match="soft limits are x 10 to 340"):
        instrument.stage.move_to(x, y)
    assert instrument.stage.position() == before


def test_stage_whose_camera_is_closed_is_lost(instrument: OpenInstrument) -> None:
    instrument.source.close()
    with pytest.raises(SourceLostError, match="gone"):
        instrument.stage.position()


def test_camera_without_a_picture_has_no_stage() -> None:
    with (
        pytest.raises(SourceError, match="emulated_image"),
        open_instrument(rig_over("")),
    ):
        pass


def test_stage_of_another_maker_than_the_camera_is_refused() -> None:
    rig = Rig(
        camera=Camera(driver="basler"), stage=StageSettings(driver="micromanager")
    )
    with (
        pytest.raises(RigError, match="expected micromanager with micromanager"),
        open_instrument(rig),
    ):
        pass

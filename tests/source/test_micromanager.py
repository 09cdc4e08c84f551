"""Micro-Manager's demonstration camera and stage."""

import contextlib
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("pymmcore", reason="pymmcore is not installed")
pytest.importorskip("mm_test_adapters", reason="mm-test-adapters is not installed")

from armicro.calibrate.certificate import Certificate, Instrument
from armicro.calibrate.certificate import Stage as StageTable
from armicro.calibrate.shift import measure_shift
from armicro.errors import CalibrationError, SourceError, SourceLostError
from armicro.field import Field
from armicro.rig import Camera, MicroManager, Rig, StageSettings, read_rig
from armicro.source.micromanager import (
    MicroManagerSource,
    MicroManagerStage,
    close_core,
    open_core,
    to_rgb,
)
from armicro.source.open import open_micromanager, open_source
from tests.patience import PATIENCE_S, is_quicker

DEMO = Path(__file__).parents[2] / "hardware/rigs/micromanager-demo.toml"


def demo(**camera: Any) -> Rig:
    """The shipped rig with a smaller picture and no pause between fields."""
    rig = read_rig(DEMO)
    settings: dict[str, Any] = {
        "driver": "micromanager", "width_px": 512, "height_px": 400, "um_per_px": 1.0,
        "frames_per_second": 200.0, "exposure_us": 5000.0,
    }  # fmt: skip
    return Rig(
        camera=Camera(**(settings | camera)),
        stage=rig.stage,
        micromanager=rig.micromanager,
    )


def test_shipped_rig_gives_fields_with_the_encoders_place() -> None:
    with contextlib.closing(open_source(read_rig(DEMO))) as source:
        first, second = islice(source.fields(), 2)
    assert first.pixels.shape == (768, 1024, 3)
    assert first.pixels.max() > 100
    assert source.card.simulated
    assert source.card.binning == 1
    assert (first.seq, second.seq) == (0, 1)
    assert first.taken_ns < second.taken_ns
    assert first.place is not None
    assert first.place.origin == "stage_encoder"
    assert first.place.standard_error_um == 0.0


def test_view_moves_as_the_encoder_says() -> None:
    source, stage = open_micromanager(demo())
    assert stage is not None
    with contextlib.closing(source):
        fields = source.fields()
        seen: list[Field] = []
        for x, y in ((0.0, 0.0), (40.0, -25.0)):
            stage.move_to(x, y)
            seen.append(next(fields))
    shift = measure_shift(seen[0].pixels, seen[1].pixels)
    before, after = seen[0].place, seen[1].place
    assert shift is not None
    assert before is not None
    assert after is not None
    moved = after.x_um - before.x_um, after.y_um - before.y_um
    assert moved == pytest.approx((40.0, -25.0), abs=0.02)
    assert (shift.x_px, shift.y_px) == pytest.approx(moved, abs=0.05)


def test_encoder_readings_go_through_the_certificates_matrix() -> None:
    table = StageTable(
        measured_at="", um_per_step=((0.0, -0.5), (0.5, 0.0)), standard_error=0.01,
        repeatability_um=0.3,
    )  # fmt: skip
    seen = Instrument(width_px=512, height_px=400)
    certificate = Certificate(instrument=seen, made_at="", expires_at="", stage=table)
    rig = msgspec.structs.replace(demo(), calibration=certificate)
    source, stage = open_micromanager(rig)
    assert stage is not None
    with contextlib.closing(source):
        fields = source.fields()
        next(fields)
        stage.move_to(60.0, 0.0)
        place = next(fields).place
    assert place is not None
    assert (place.x_um, place.y_um) == pytest.approx((0.0, 30.0), abs=0.01)
    assert place.standard_error_um == pytest.approx(0.3 * 2**0.5, rel=0.01)


class Rolling:
    """A stage that has gone 3 µm further each time it is asked."""

    limits = None

    def __init__(self) -> None:
        self._x = 0.0

    def position(self) -> tuple[float, float]:
        self._x += 3.0
        return self._x, 0.0

    def move_to(self, x: float, y: float) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


def test_stage_that_moves_during_exposure_widens_the_standard_error() -> None:
    rig = demo()
    table = StageTable(
        measured_at="", um_per_step=((1.0, 0.0), (0.0, 1.0)), standard_error=0.0
    )
    source = MicroManagerSource(
        open_core(rig.micromanager), rig.camera, stage=Rolling(), calibration=table
    )
    with contextlib.closing(source):
        place = next(iter(source.fields())).place
    assert place is not None
    assert place.x_um == pytest.approx(4.5)
    assert place.standard_error_um == pytest.approx(3 / 12**0.5)


def test_soft_limits_hold_before_anything_moves() -> None:
    core = open_core(demo().micromanager)
    stage = MicroManagerStage(core, limits=(-10.0, -10.0, 10.0, 10.0))
    with pytest.raises(CalibrationError, match="soft limits"):
        stage.move_to(11.0, 0.0)
    assert stage.position() == pytest.approx((0.0, 0.0))
    close_core(core)
    with pytest.raises(SourceLostError, match="power and cable"):
        stage.position()


def test_camera_that_is_gone_is_lost() -> None:
    rig = demo()
    core = open_core(rig.micromanager)
    with contextlib.closing(MicroManagerSource(core, rig.camera)) as source:
        fields = source.fields()
        assert next(fields).place is None
        core.unloadDevice("Camera")
        with pytest.raises(SourceLostError, match="it comes back"):
            next(fields)


SILENT = """
import os, sys, time
from armicro.errors import SourceLostError
from armicro.rig import read_rig
from armicro.source.micromanager import MicroManagerSource
from armicro.source.micromanager import open_core
from pathlib import Path
rig = read_rig(Path(sys.argv[1]))
core = open_core(rig.micromanager)
source = MicroManagerSource(core, rig.camera)
fields = source.fields()
next(fields)
core.setExposure(6000)
begun = time.monotonic()
try:
    next(fields)
except SourceLostError as error:
    print(f"{time.monotonic() - begun:.2f} {error}")
source.close()
print(f"{time.monotonic() - begun:.2f} closed")
"""


def test_silent_camera_is_lost_within_a_second() -> None:
    # In a process of its own, since the core holds on to its camera until it answers.
    def lose_and_close() -> float:
        ran = subprocess.run(
            [sys.executable, "-c", SILENT, str(DEMO)],
            capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr
        lost, closed = ran.stdout.splitlines()
        assert "no frame for 0.8 s" in lost
        return max(float(line.split()[0]) for line in (lost, closed))

    assert is_quicker(1.5, lose_and_close)


@pytest.mark.parametrize(
    ("rig", "says"),
    [
        (demo(width_px=2000), "smaller than the rig's"),
        (demo(device="Nikon"), "Nikon"),
        (Rig(camera=Camera(driver="micromanager")), "no devices"),
        (
            Rig(
                camera=Camera(driver="micromanager"),
                micromanager=MicroManager(config="/nowhere.cfg"),
            ),
            "nowhere.cfg",
        ),
        (
            Rig(
                camera=Camera(driver="micromanager"),
                micromanager=MicroManager(lines=("Device,XY,DemoCamera,Nothing",)),
            ),
            "lines of the rig",
        ),
        (
            Rig(
                camera=Camera(driver="micromanager"),
                stage=StageSettings(driver="micromanager"),
                micromanager=MicroManager(lines=("Device,Camera,DemoCamera,DCam",)),
            ),
            "no XY stage",
        ),
    ],
)
def test_devices_that_cannot_be_used_are_said(rig: Rig, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        open_source(rig)


def test_configuration_file_of_micro_manager_is_read(tmp_path: Path) -> None:
    rig = demo()
    path = tmp_path / "demo.cfg"
    path.write_text("\n".join(rig.micromanager.lines), encoding="utf-8")
    core = open_core(MicroManager(config=str(path)))
    assert core.getCameraDevice() == "Camera"
    close_core(core)


@pytest.mark.parametrize(
    ("raw", "bits", "rgb"),
    [
        (np.full((2, 3), 77, np.uint8), 8, (77, 77, 77)),
        (np.full((2, 3), 4095, np.uint16), 12, (255, 255, 255)),
        (np.full((2, 3), 0x00FF8010, np.uint32), 8, (255, 128, 16)),
    ],
)
def test_what_cores_give_becomes_rgb(
    raw: Any, bits: int, rgb: tuple[int, int, int]
) -> None:
    pixels = to_rgb(raw, bits=bits)
    assert pixels.shape == (2, 3, 3)
    assert pixels[1, 2].tolist() == list(rgb)


def test_float_pixels_are_refused() -> None:
    with pytest.raises(SourceError, match="PixelType"):
        to_rgb(np.zeros((2, 3), np.float32), bits=32)

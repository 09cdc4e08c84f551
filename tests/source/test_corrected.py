"""Fields made even and white as they come."""

from collections.abc import Container, Iterator
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from armicro.calibrate.certificate import Colour, Instrument, Light
from armicro.calibrate.light import Correction, gains_of
from armicro.certificate import record
from armicro.errors import CalibrationError
from armicro.field import Field, Pixels
from armicro.flat import read_flat, write_flat
from armicro.rig import read_rig
from armicro.source import SourceCard
from armicro.source.open import CorrectedSource, open_source

NOW = "2026-11-24T10:00:00+00:00"


def falloff(height: int, width: int) -> np.ndarray:
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in (height, width))
    light = 1 - 0.4 * (x[None] ** 2 + y[:, None] ** 2) / 2
    return np.repeat(light[..., None], 3, axis=2)


def test_vignetted_coloured_glass_comes_out_even_and_white() -> None:
    light, white = falloff(200, 240), np.array([230.0, 215.0, 190.0])
    pixels = np.rint(light * white + 6).astype(np.uint8)
    kept = pixels.copy()
    gains = gains_of(light, (1.0, 230 / 215, 230 / 190))
    even = Correction(gains, dark_rgb=(6.0, 6.0, 6.0)).apply(pixels)
    assert np.abs(even.astype(int) - 230).max() <= 3
    assert abs(even[:20, :20].mean() / even[90:110, 110:130].mean() - 1) < 0.003
    np.testing.assert_array_equal(pixels, kept)


def test_correction_saturates_and_repeats_itself() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (70, 64, 3), np.uint8)
    gains = np.full(pixels.shape, 2.0, np.float32)
    once, again = (Correction(gains).apply(pixels) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    assert (once[pixels >= 128] == 255).all()
    np.testing.assert_allclose(once, np.minimum(2.0 * pixels, 255), atol=1)


def test_gain_of_one_changes_nothing() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 64, 3), np.uint8)
    even = Correction(np.ones(pixels.shape, np.float32)).apply(pixels)
    np.testing.assert_array_equal(even, pixels)


def test_dark_is_taken_off_in_every_strip_and_never_below_zero() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (75, 64, 3), np.uint8)
    even = Correction(np.ones(pixels.shape, np.float32), dark_rgb=(3.0, 4.2, 0.0))
    expected = np.maximum(pixels.astype(int) - (3, 4, 0), 0)
    np.testing.assert_array_equal(even.apply(pixels), expected)


@pytest.mark.parametrize("gain", [0.5, 9.0])
def test_gains_out_of_range_are_refused(gain: float) -> None:
    with pytest.raises(CalibrationError, match="centre the lamp"):
        Correction(np.full((4, 4, 3), gain, np.float32))


class Two:
    """A source of a good and an unreadable field."""

    def __init__(self) -> None:
        self.card = SourceCard("camera", 0.25, 48, 40)
        self.closed = False

    def fields(self, *, done: Container[int] = ()) -> Iterator[Field]:
        pixels = np.full((40, 48, 3), 100, np.uint8)
        for field in (
            Field(0.25, 0, 5, pixels=pixels),
            Field(0.25, 1, 6, fault="unreadable: gone", pixels=pixels),
        ):
            if field.seq not in done:
                yield field

    def close(self) -> None:
        self.closed = True


def test_source_gives_corrected_fields_and_leaves_unreadable_ones() -> None:
    inner = Two()
    source = CorrectedSource(inner, np.full((2, 2, 3), 1.5, np.float32))
    good, bad = source.fields()
    assert (good.pixels == 150).all()
    assert (good.seq, good.taken_ns) == (0, 5)
    assert (bad.pixels == 100).all()
    assert [field.seq for field in source.fields(done={0})] == [1]
    source.close()
    assert inner.closed


def test_field_of_another_size_is_left_as_it_is() -> None:
    # A camera that was set anew in mid-session: its fields get no box, and are shown.
    inner = Two()
    inner.card = replace(inner.card, width_px=64)
    source = CorrectedSource(inner, np.ones((2, 2, 3), np.float32))
    seen, own = next(iter(source.fields())), next(iter(inner.fields()))
    np.testing.assert_array_equal(seen.pixels, own.pixels)


@pytest.fixture
def rig_file(tmp_path: Path) -> Path:
    """A folder of pictures plays a camera whose certificate has light and colour."""
    import cv2

    (tmp_path / "pictures").mkdir()
    light = falloff(40, 48)
    pixels: Pixels = np.rint(light * (220, 210, 200)).astype(np.uint8)
    picture = tmp_path / "pictures" / "0.png"
    cv2.imwrite(str(picture), np.ascontiguousarray(pixels[..., ::-1]))
    name, digest = write_flat(tmp_path / "20x.toml", light)
    instrument = Instrument(width_px=48, height_px=40)
    measured = Light(
        measured_at=NOW,
        flat=name,
        flat_sha256=digest,
        corner_before=0.6,
        corner_after=1.0,
    )
    record(tmp_path / "20x.toml", instrument, measured)
    colour = Colour(
        measured_at=NOW,
        white_rgb=(220.0, 210.0, 200.0),
        gains_rgb=(1.0, 220 / 210, 1.1),
    )
    record(tmp_path / "20x.toml", instrument, colour)
    rig = tmp_path / "rig.toml"
    rig.write_text(
        f'certificate = "20x.toml"\n[camera]\ndriver = "video"\n'
        f'device = "{tmp_path / "pictures"}"\nwidth_px = 48\nheight_px = 40\n'
    )
    return rig


def test_rig_with_a_certificate_gives_even_white_fields(rig_file: Path) -> None:
    rig = read_rig(rig_file)
    source = open_source(rig)
    field = next(iter(source.fields()))
    assert np.abs(field.pixels.astype(int) - 220).max() <= 3
    raw = next(iter(open_source(rig, raw=True).fields()))
    assert raw.pixels[0, 0].tolist() == [132, 126, 120]


def test_changed_map_of_the_light_puts_the_certificate_out_of_force(
    rig_file: Path,
) -> None:
    certificate = read_rig(rig_file).calibration
    assert certificate is not None
    assert certificate.light is not None
    flat = rig_file.parent / certificate.light.flat
    share = read_flat(rig_file.parent, certificate.light)
    np.testing.assert_allclose(share, falloff(40, 48), atol=1e-4)
    flat.write_bytes(flat.read_bytes() + b"x")
    assert "not the one" in read_rig(rig_file).calibration_fault
    flat.unlink()
    assert "No such file" in read_rig(rig_file).calibration_fault

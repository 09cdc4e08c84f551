"""From a rig to its source."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import cv2
import pytest

from armicro.errors import SourceError
from armicro.field import Pixels
from armicro.rig import Camera, Driver, Rig
from armicro.source import SourceCard
from armicro.source.open import _OPENERS, open_source
from armicro.source.photograph import PhotographSource
from armicro.source.recording import RecordingSource, RecordingWriter
from armicro.source.slide import SlideSource

Draw = Callable[[int, int], Pixels]
Write = Callable[..., Path]


def test_every_driver_of_a_rig_has_an_opener() -> None:
    assert set(_OPENERS) == set(get_args(Driver))


def test_slide_on_the_command_line_plays_whatever_the_rig_s_driver(
    write_slide: Write, coordinate_pixels: Draw
) -> None:
    path = write_slide(coordinate_pixels(400, 300))
    rig = Rig(camera=Camera(driver="basler", width_px=200, height_px=100))
    with contextlib.closing(open_source(rig, slide=path, um_per_px=0.5)) as source:
        assert isinstance(source, SlideSource)
        assert source.card.pixel_um == 0.5
    with contextlib.closing(
        open_source(Rig(camera=Camera(device=str(path))))
    ) as source:
        assert isinstance(source, SlideSource)


def test_folder_is_a_recording_or_images_by_what_is_in_it(tmp_path: Path) -> None:
    RecordingWriter(tmp_path / "recording", SourceCard("camera", 0.25, 64, 48)).close()
    source = open_source(Rig(), slide=tmp_path / "recording")
    assert isinstance(source, RecordingSource)
    camera = Camera(driver="recording", device=str(tmp_path / "recording"))
    assert isinstance(open_source(Rig(camera=camera)), RecordingSource)
    cv2.imwrite(str(tmp_path / "a.png"), cv2.UMat(9, 9, cv2.CV_8UC3).get())
    camera = Camera(driver="video", device=str(tmp_path))
    assert isinstance(open_source(Rig(camera=camera)), PhotographSource)


@pytest.mark.parametrize(
    ("camera", "message"),
    [
        (Camera(), "name a slide"),
        (Camera(driver="recording", device="/nowhere"), "recording.json"),
        (Camera(device="/nowhere/slide.svs"), "no such file"),
    ],
)
def test_source_that_is_not_there_is_said(camera: Camera, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(Rig(camera=camera))

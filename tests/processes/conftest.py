import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from armicro.phantom import PhantomSpec, write_phantom
from armicro.processes.job import Job
from armicro.rig import Camera, Network, Rig


@pytest.fixture(scope="session")
def drawn_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn slide of 6 megapixels with 12 lesion cells."""
    path = tmp_path_factory.mktemp("slide") / "drawn.tif"
    write_phantom(path, PhantomSpec(2800, 2100, seed=11, lesions=12))
    return path


@pytest.fixture
def small_rig(tiny_set: Path) -> Rig:
    """A rig whose fields are small and whose networks are hand-made."""
    return Rig(
        camera=Camera(width_px=640, height_px=512, um_per_px=0.4, frames_per_second=10),
        network=Network(set=str(tiny_set), threads=1),
    )


@pytest.fixture
def replay_job(small_rig: Rig, drawn_slide: Path, tmp_path: Path) -> Job:
    """A headless replay of the drawn slide."""
    return Job(
        session="",
        mode="replay",
        rig=small_rig,
        out=str(tmp_path / "drawn"),
        slide=str(drawn_slide),
    )


@pytest.fixture
def slow_job(replay_job: Job) -> Job:
    """The same at two fields a second: there is time to do something to it."""
    camera = msgspec.structs.replace(replay_job.rig.camera, frames_per_second=2)
    rig = msgspec.structs.replace(replay_job.rig, camera=camera)
    return msgspec.structs.replace(replay_job, rig=rig, pace="realtime")


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder for sockets, whose path must be short."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)

"""The table of probes that run in a process of their own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from armicro.doctor.check import Check
from armicro.doctor.device import (
    look_at_pylon,
    look_at_screen,
    look_at_slide_formats,
    look_at_video,
    look_at_wire,
)
from armicro.doctor.network import (
    look_at_gpu,
    look_at_openvino,
    look_at_outputs,
    look_at_sets,
    look_at_tensorrt,
)


@dataclass(frozen=True, slots=True)
class Probe:
    """A probe, and what to say when it fails."""

    group: str
    name: str
    look: Callable[[], list[Check]]
    todo: str
    base: bool = False
    """Its failure makes armicro unusable."""
    seconds: float = 20.0


PROBES: Mapping[str, Probe] = {
    "openvino": Probe(
        "networks", "OpenVINO", look_at_openvino, base=True,
        todo="pip install --force-reinstall openvino",
    ),
    "gpu": Probe("networks", "NVIDIA GPU", look_at_gpu, "restart the GPU's driver"),
    "tensorrt": Probe(
        "networks", "TensorRT", look_at_tensorrt,
        "install TensorRT and CUDA bindings that fit the driver",
    ),
    "sets": Probe(
        "networks", "set", look_at_sets, base=True,
        todo="install armicro again",
    ),
    "outputs": Probe(
        "networks", "outputs", look_at_outputs, base=True, seconds=90,
        todo="install armicro again, or see `armicro engine check`",
    ),
    "pylon": Probe(
        "cameras", "Basler", look_at_pylon,
        "reconnect the camera, then pip install --force-reinstall pypylon",
    ),
    "video": Probe("cameras", "video", look_at_video, "reconnect the camera"),
    "screen": Probe(
        "screens", "screen", look_at_screen,
        "on Debian or Ubuntu: apt install libgl1 libegl1 libxkbcommon-x11-0 "
        "libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1; or use --headless",
    ),
    "slides": Probe(
        "slides", "OpenSlide", look_at_slide_formats, base=True,
        todo="pip install --force-reinstall openslide-bin openslide-python",
    ),
    "wire": Probe(
        "wire", "ZeroMQ", look_at_wire, base=True,
        todo="pip install --force-reinstall pyzmq",
    ),
}  # fmt: skip
"""In the order of the answer."""

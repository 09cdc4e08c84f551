"""On a machine with an NVIDIA GPU: ``pytest -m gpu``. Nothing here has run yet."""

from pathlib import Path

import numpy as np
import pytest

from armicro.engine.gpu import TensorRtEngine
from armicro.engine.registry import open_set, read_set
from armicro.engine.tensorrt import build_set, missing, ready
from tests.engine.test_openvino import CROP, noise

pytestmark = [pytest.mark.gpu, pytest.mark.slow]


@pytest.fixture(autouse=True)
def gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = missing()
    if reason:
        pytest.skip(reason)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_a_real_gpu_says_what_the_reference_said_with_and_without_graphs(
    tiny_set: Path,
) -> None:
    opening = read_set(tiny_set)
    build_set(opening, force=False, progress=lambda _: None)
    assert ready(opening)
    tiles = noise(21, CROP)
    with (
        open_set(tiny_set, backend="openvino") as cpu,
        open_set(tiny_set, backend="tensorrt") as networks,
    ):
        wanted = cpu.hr.infer({"tiles": tiles})["probability"]
        for _ in range(4):
            said = networks.hr.infer({"tiles": tiles})["probability"]
            np.testing.assert_allclose(said, wanted, atol=0.02)
        assert isinstance(networks.hr, TensorRtEngine)
        # Two with cuda-python, none with pycuda.
        assert networks.hr.graphs in (0, 2)

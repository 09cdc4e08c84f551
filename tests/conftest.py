"""What all tests share: no screen, a small network set, the real data where it is."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from tests.tiny import write_tiny_set

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")


@pytest.fixture(autouse=True)
def _own_logs() -> Iterator[None]:
    """A command sets up logs on the stderr of its test, which ends with the test."""
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture(scope="session")
def tiny_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small network set that finds large dark nuclei."""
    return write_tiny_set(tmp_path_factory.mktemp("engines"))


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """Folder of the real data, named by ARMICRO_DATA."""
    named = os.environ.get("ARMICRO_DATA", "")
    if not named or not Path(named).is_dir():
        pytest.skip("ARMICRO_DATA does not name the folder with the real data")
    return Path(named)


@pytest.fixture
def data() -> Path:
    """The folder of real data."""
    folder = os.environ.get("ARMICRO_DATA")
    if not folder:
        pytest.skip("ARMICRO_DATA does not name the folder of real data")
    return Path(folder)

"""Devices and network sets are found where they are, and told when they are not."""

import os
import sys
from pathlib import Path

import pytest

from armicro.doctor.probe import (
    look_at_gpu,
    look_at_outputs,
    look_at_sets,
    look_at_slide_formats,
    look_at_video,
)
from armicro.engine import registry
from armicro.engine.registry import DEFAULT_SET, SEARCH_PATH

linux = pytest.mark.skipif(sys.platform != "linux", reason="video4linux is Linux's")


@linux
def test_video_devices_are_listed_by_name(tmp_path: Path) -> None:
    devices, names = tmp_path / "dev", tmp_path / "names"
    devices.mkdir()
    for number, name in ((0, "Microscope eyepiece"), (1, "")):
        (devices / f"video{number}").touch()
        if name:
            (names / f"video{number}").mkdir(parents=True)
            (names / f"video{number}" / "name").write_text(f"{name}\n")
    checks = look_at_video(devices, names)
    assert [check.found for check in checks] == [
        f"{devices}/video0: Microscope eyepiece", f"{devices}/video1: unnamed",
    ]  # fmt: skip
    assert {check.state for check in checks} == {"ok"}


@linux
@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_a_camera_that_may_not_be_opened_says_whom_to_ask(tmp_path: Path) -> None:
    (tmp_path / "video0").touch(mode=0)
    (check,) = look_at_video(tmp_path, tmp_path)
    assert check.state == "missing"
    assert "group" in check.todo


@linux
def test_no_video_device_is_no_fault(tmp_path: Path) -> None:
    (check,) = look_at_video(tmp_path, tmp_path)
    assert (check.state, check.found) == ("missing", "no video device")


def test_openslide_reads_on_this_machine() -> None:
    assert look_at_slide_formats()[0].state == "ok"


@pytest.mark.parametrize(
    ("script", "state", "found"),
    [
        (
            "echo 'NVIDIA T1, 580.1, 4096 MiB'; echo 'NVIDIA T2, 580.1, 8192 MiB'",
            "ok",
            ["NVIDIA T1, 580.1, 4096 MiB", "NVIDIA T2, 580.1, 8192 MiB"],
        ),
        ("echo 'Driver/library version mismatch'; exit 18", "missing",
         ["Driver/library version mismatch"]),
        ("exit 0", "missing", ["the driver sees no GPU"]),
    ],
)  # fmt: skip
def test_gpus_are_those_of_the_driver(
    script: str, state: str, found: list[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    driver = tmp_path / "nvidia-smi"
    driver.write_text(f"#!/bin/sh\n{script}\n")
    driver.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    checks = look_at_gpu()
    assert [check.found for check in checks] == found
    assert {check.state for check in checks} == {state}


def test_no_driver_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    (check,) = look_at_gpu()
    assert (check.state, check.found) == ("missing", "no driver found")


def test_a_spoilt_default_set_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only where it is shipped: a folder of its name elsewhere is another set.
    folder = tmp_path / "networks" / DEFAULT_SET
    folder.mkdir(parents=True)
    (folder / "manifest.toml").write_text("name = 3\n")
    monkeypatch.setattr(registry, "_PACKAGE", tmp_path)
    spoilt = look_at_sets()[0]
    assert spoilt.state == "broken"
    assert "manifest.toml" in spoilt.found
    assert look_at_outputs()[0].state == "broken"


def test_a_spoilt_set_of_another_name_is_optional(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "manifest.toml").write_text("")
    monkeypatch.setenv(SEARCH_PATH, str(tmp_path))
    # The shipped sets come first.
    assert look_at_sets()[-1].state == "missing"

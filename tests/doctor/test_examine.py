"""No probe, whatever it does, can hang or end the one who asks."""

import sys
from pathlib import Path

import psutil
import pytest

from armicro.doctor import Check
from armicro.doctor.examine import ask
from armicro.doctor.probe import PROBES
from tests.patience import PATIENCE_S, wait_until


def child(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that waits for its parent's glance does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_a_hanging_probe_is_given_up_with_its_children(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    # A shell has its child in milliseconds, another Python may need the whole limit.
    script = 'sleep 600 & echo $! > "$0"; wait'
    (check,) = ask("pylon", command=["sh", "-c", script, str(pid_file)], seconds=1.5)
    todo = PROBES["pylon"].todo
    found = "did not answer within 1.5 s"
    assert check == Check("cameras", "Basler", "missing", found, todo)
    pid = int(pid_file.read_text())
    wait_until(lambda: not is_alive(pid))


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (
            "import os, sys; print('no xcb\\nplugins: a', file=sys.stderr); "
            "sys.stderr.flush(); "
            "os.abort()",
            "crashed with SIGABRT: no xcb",
        ),
        (
            "import os; os.kill(os.getpid(), 11)",
            "crashed with SIGSEGV: no reason given",
        ),
        ("raise OSError('libfoo.so: cannot open')", "OSError: libfoo.so: cannot open"),
        ("print('hello')", "gave no answer that can be read"),
        ("pass", "gave no answer that can be read"),
    ],
)
def test_a_failing_probe_is_told_with_its_advice(code: str, found: str) -> None:
    (check,) = ask("screen", command=child(code), seconds=PATIENCE_S)
    assert (check.state, check.found) == ("missing", found)
    assert "apt install" in check.todo


def test_failure_of_a_base_need_is_broken() -> None:
    (check,) = ask(
        "openvino", command=child("raise ImportError('libtbb')"), seconds=PATIENCE_S
    )
    assert (check.state, check.found) == ("broken", "ImportError: libtbb")


def test_a_real_probe_answers_although_it_chatters() -> None:
    code = """
import sys
from armicro.doctor import probe
loud = probe.PROBES["wire"]
def look():
    print("a library's banner", flush=True)
    return loud.look()
table = {"wire": probe.Probe(loud.group, loud.name, look, loud.todo)}
probe.PROBES = table
probe.answer("wire")
"""
    (check,) = ask("wire", command=child(code), seconds=PATIENCE_S)
    assert (check.name, check.state) == ("ZeroMQ", "ok")

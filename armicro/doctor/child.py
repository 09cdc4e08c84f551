"""Runs a probe in a process of its own, so that nothing it does can hurt the asker.

The child (``python -m armicro.doctor.child NAME``) answers with JSON on the standard
output that it was given; whatever libraries print goes to standard error, where the
explanation of a crash is looked for.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

import armicro
from armicro.doctor.check import Check, State
from armicro.doctor.probe import PROBES, Probe


def ask(
    key: str, *, command: Sequence[str] | None = None, seconds: float | None = None
) -> list[Check]:
    """Run a probe and return what it found, or how it failed.

    Args:
        key: of ``probe.PROBES``.
        command: what to run instead of the probe's own child.
        seconds: how long to wait, instead of the probe's own limit.
    """
    probe = PROBES[key]
    limit = probe.seconds if seconds is None else seconds
    child = subprocess.Popen(
        command or [sys.executable, "-m", "armicro.doctor.child", key],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(),
        # Its own group: what it starts is ended with it.
        start_new_session=True,
    )
    with child:
        try:
            answer, words = child.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            _end(child)
            return [_failed(probe, f"did not answer within {limit:.3g} s")]
    if child.returncode == 0:
        try:
            return msgspec.json.decode(answer, type=list[Check])
        except msgspec.MsgspecError:
            return [_failed(probe, "gave no answer that can be read")]
    return [_failed(probe, _reason(child.returncode, words.decode(errors="replace")))]


def answer(key: str) -> None:
    """Be the child: run the probe and write what it found."""
    # Libraries print to standard output what they like; it is not the answer.
    with os.fdopen(os.dup(1), "wb") as channel:
        os.dup2(2, 1)
        found = PROBES[key].look()
        channel.write(msgspec.json.encode(found))
        channel.flush()
    # Qt and vendor libraries may crash while they are torn down: all is said.
    os._exit(0)


def _environment() -> dict[str, str]:
    """Ours, with this armicro first where the child looks for it."""
    here = str(Path(armicro.__file__).parent.parent)
    paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _end(child: subprocess.Popen[bytes]) -> None:
    if hasattr(os, "killpg"):
        os.killpg(child.pid, signal.SIGKILL)
    else:
        child.kill()
    child.communicate()


def _reason(status: int, words: str) -> str:
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    if status < 0:
        # A library that gives up names its trouble first and its consequences after.
        first = lines[0] if lines else "no reason given"
        return f"crashed with {signal.Signals(-status).name}: {first}"
    return lines[-1] if lines else f"ended with status {status}"


def _failed(probe: Probe, found: str) -> Check:
    state: State = "broken" if probe.base else "missing"
    return Check(probe.group, probe.name, state, found, probe.todo)


if __name__ == "__main__":
    answer(sys.argv[1])

"""The whole examination of a machine.

A probe runs in a process of its own, so that nothing it does can hurt the asker. It
answers with JSON on the standard output that it was given; whatever libraries print
goes to standard error, where the explanation of a crash is looked for.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

import armicro
from armicro.doctor import Check, check_of
from armicro.doctor.machine import machine_checks, package_checks, rig_checks
from armicro.doctor.probe import PROBES, Probe

WORKERS = 4
"""Children at a time: most of a probe is waiting for files and drivers."""
SLOW = "outputs"
"""Runs the networks; left out where time matters."""


def examine(
    folder: Path, *, quick: bool = False, rigs: Sequence[Path] = ()
) -> list[Check]:
    """Look at everything; takes seconds, never hangs.

    Args:
        folder: where results would go.
        quick: do not run the networks.
        rigs: rig files whose certificates are looked at.
    """
    keys = [key for key in PROBES if not (quick and key == SLOW)]
    with ThreadPoolExecutor(WORKERS) as pool:
        answers = list(pool.map(ask, keys))
    return [
        *machine_checks(folder),
        *package_checks(),
        *(check for found in answers for check in found),
        *(check for rig in rigs for check in rig_checks(rig)),
    ]


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
        command or [sys.executable, "-m", "armicro.doctor.probe", key],
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
    return check_of(probe.group, probe.name, found, probe.todo, broken=probe.base)

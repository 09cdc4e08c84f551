"""The whole examination of a machine."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from armicro.doctor.check import Check
from armicro.doctor.child import ask
from armicro.doctor.machine import machine_checks
from armicro.doctor.package import package_checks
from armicro.doctor.probe import PROBES
from armicro.doctor.rig import rig_checks

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


def is_usable(checks: list[Check]) -> bool:
    """Whether armicro can do its base work here."""
    return not any(check.state == "broken" for check in checks)

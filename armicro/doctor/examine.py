"""The whole examination of a machine."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from armicro.doctor.check import Check
from armicro.doctor.child import ask
from armicro.doctor.machine import machine_checks
from armicro.doctor.package import package_checks
from armicro.doctor.probe import PROBES

WORKERS = 4
"""Children at a time: most of a probe is waiting for files and drivers."""
SLOW = "outputs"
"""Runs the networks; left out where time matters."""


def examine(folder: Path, *, quick: bool = False) -> list[Check]:
    """Look at everything; takes seconds, never hangs.

    Args:
        folder: where results would go.
        quick: do not run the networks.
    """
    keys = [key for key in PROBES if not (quick and key == SLOW)]
    with ThreadPoolExecutor(WORKERS) as pool:
        answers = list(pool.map(ask, keys))
    return [
        *machine_checks(folder),
        *package_checks(),
        *(check for found in answers for check in found),
    ]


def is_usable(checks: list[Check]) -> bool:
    """Whether armicro can do its base work here."""
    return not any(check.state == "broken" for check in checks)

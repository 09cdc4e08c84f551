"""A certificate in words and numbers, as ``calibrate show`` and the guide print it."""

from typing import NamedTuple

from armicro.calibrate.certificate import MEASUREMENTS, Certificate, Measurement

NOT_MEASURED = "not measured"


class Line(NamedTuple):
    """One measurement."""

    name: str
    value: str
    """With its error, where it has one."""
    how: str
    """From what, and how well it fitted."""
    measured_at: str
    """ISO 8601; empty when nobody did."""


def lines_of(certificate: Certificate) -> list[Line]:
    """Every measurement that a certificate may hold, made or not.

    >>> from armicro.calibrate.certificate import Instrument, Scale
    >>> scale = Scale(measured_at="", um_per_px=0.34321, standard_error=0.0002)
    >>> held = Certificate(
    ...     instrument=Instrument(width_px=4, height_px=3),
    ...     made_at="", expires_at="", scale=scale,
    ... )
    >>> [(line.name, line.value) for line in lines_of(held)][:2]
    [('scale', '0.3432 ± 0.0002 µm/px'), ('stage', 'not measured')]
    """
    lines = []
    for name in MEASUREMENTS:
        table: Measurement | None = getattr(certificate, name)
        if table is None:
            lines.append(Line(name, NOT_MEASURED, "", ""))
        else:
            lines.append(Line(name, *table.words(), table.measured_at))
    return lines

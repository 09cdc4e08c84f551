"""A certificate in words and numbers, as ``calibrate show`` and the guide print it."""

from typing import NamedTuple

from armicro.calibrate.certificate import (
    Certificate,
    Colour,
    Display,
    Latency,
    Light,
    Scale,
    Stage,
)

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

    >>> from armicro.calibrate.certificate import Instrument
    >>> scale = Scale(measured_at="", um_per_px=0.34321, standard_error=0.0002)
    >>> held = Certificate(
    ...     instrument=Instrument(width_px=4, height_px=3),
    ...     made_at="", expires_at="", scale=scale,
    ... )
    >>> [(line.name, line.value) for line in lines_of(held)][:2]
    [('scale', '0.3432 ± 0.0002 µm/px'), ('stage', 'not measured')]
    """
    made = {
        "scale": certificate.scale and _scale(certificate.scale),
        "stage": certificate.stage and _stage(certificate.stage),
        "display": certificate.display and _display(certificate.display),
        "light": certificate.light and _light(certificate.light),
        "colour": certificate.colour and _colour(certificate.colour),
        "latency": certificate.latency and _latency(certificate.latency),
    }
    return [
        Line(name, *words) if words else Line(name, NOT_MEASURED, "", "")
        for name, words in made.items()
    ]


_Words = tuple[str, str, str]


def _scale(scale: Scale) -> _Words:
    count = f", {scale.divisions} divisions of {scale.division_um:g} µm"
    return (
        f"{scale.um_per_px:.4f} ± {scale.standard_error:.4f} µm/px",
        f"{scale.method}{count if scale.divisions else ''}, turned by "
        f"{scale.rotation_deg:.1f}°, residual {scale.residual_um:.2f} µm",
        scale.measured_at,
    )


def _stage(stage: Stage) -> _Words:
    x_um, y_um = stage.backlash_um
    return (
        f"turned by {stage.rotation_deg:.2f}°, backlash {x_um:.1f} and {y_um:.1f} µm",
        f"{stage.moves} moves, held-out ones off by {stage.held_out_rms_um:.2f} µm, "
        f"repeats to {stage.repeatability_um:.2f} µm",
        stage.measured_at,
    )


def _display(display: Display) -> _Words:
    return (
        f"{display.width_px}x{display.height_px} px, residual "
        f"{display.residual_um:.2f} µm at the slide",
        f"{display.points} points{', with lens term' if display.distortion else ''}",
        display.measured_at,
    )


def _light(light: Light) -> _Words:
    return (
        f"corners {light.corner_before:.2f} of the centre, "
        f"{light.corner_after:.2f} after correction",
        f"{light.fields} fields, {'with' if any(light.dark_rgb) else 'no'} dark field",
        light.measured_at,
    )


def _colour(colour: Colour) -> _Words:
    white = "/".join(f"{level:.0f}" for level in colour.white_rgb)
    gains = "/".join(f"{gain:.3f}" for gain in colour.gains_rgb)
    target = f", target off by {colour.residual:.1f} ΔE00" if colour.matrix else ""
    return f"white {white}", f"gains {gains}{target}", colour.measured_at


def _latency(latency: Latency) -> _Words:
    how = "glass to glass" if latency.glass_to_glass else "software alone"
    return (
        f"{latency.median_ms:.0f} ms, 95th percentile {latency.p95_ms:.0f} ms",
        f"{how}, {latency.trials} trials",
        latency.measured_at,
    )

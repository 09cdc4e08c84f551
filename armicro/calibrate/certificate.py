"""The certificate: what was measured on an instrument, when, by whom, how surely.

One TOML file a rig and objective, made to be read and compared by people. ``digest``
is the SHA-256 of all the rest, so that a number typed in is told from one measured; it
has no key, so it finds accidents and not intent.
Each measurement is a table that may be absent; each has its own date, since they are
made on different days. Expired, edited or of another instrument means boxes off.
"""

import hashlib
from datetime import UTC, datetime
from typing import Annotated, NamedTuple, get_args

import msgspec
from msgspec import Meta

from armicro.verdict import said_text

FORMAT = 1
LARGEST_SHARE_OFF = 0.25
"""Of the scale that objective, adapter and sensor make: more is another objective."""
SCALE_NOT_MEASURED = said_text("scale_not_measured")

Side = Annotated[int, Meta(ge=1, le=65_535)]
UmPerPx = Annotated[float, Meta(ge=0.001, le=100.0)]
NotNegative = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0, le=2**31)]
FileName = Annotated[str, Meta(pattern=r"^[^/\\\x00-\x1f]{1,255}$")]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Instrument(_Table, frozen=True, kw_only=True):
    """What a certificate is valid for; any difference voids it."""

    camera: str = ""
    """Model and serial number, as the source's card names it."""
    width_px: Side
    height_px: Side
    binning: Annotated[int, Meta(ge=1, le=64)] = 1
    objective: str = ""
    """As the rig names it."""


class Scale(_Table, frozen=True, kw_only=True):
    """Micrometres a pixel, measured on a stage micrometer or target."""

    measured_at: str
    """ISO 8601, UTC."""
    um_per_px: UmPerPx
    standard_error: NotNegative
    """Of ``um_per_px``, in µm/px."""
    rotation_deg: float = 0.0
    """Of the ruler against the picture's rows, clockwise on the screen."""
    divisions: Count = 0
    division_um: NotNegative = 0.0
    residual_um: NotNegative = 0.0
    """RMS distance of a tick from the fitted ruler."""
    method: str = "ruler"
    """ruler, grid, dots, charuco or stage."""

    def words(self) -> tuple[str, str]:
        """Its value, and how it was found."""
        count = f", {self.divisions} divisions of {self.division_um:g} µm"
        return (
            f"{self.um_per_px:.4f} ± {self.standard_error:.4f} µm/px",
            f"{self.method}{count if self.divisions else ''}, turned by "
            f"{self.rotation_deg:.1f}°, residual {self.residual_um:.2f} µm",
        )


class Stage(_Table, frozen=True, kw_only=True):
    """How pictures move when the stage does."""

    measured_at: str
    um_per_step: tuple[tuple[float, float], tuple[float, float]]
    """((a, b), (c, d)): step (x, y) moves the view a x + b y right, c x + d y down."""
    standard_error: NotNegative
    """Of its entries, as a share of their size."""
    rotation_deg: float = 0.0
    """Of the stage's x against the picture's rows, clockwise on the screen."""
    backlash_um: tuple[float, float] = (0.0, 0.0)
    backlash_error_um: tuple[float, float] = (0.0, 0.0)
    repeatability_um: NotNegative = 0.0
    held_out_rms_um: NotNegative = 0.0
    """Error of moves that took no part in the fit."""
    moves: Count = 0

    def words(self) -> tuple[str, str]:
        """Its value, and how it was found."""
        x_um, y_um = self.backlash_um
        return (
            f"turned by {self.rotation_deg:.2f}°, backlash {x_um:.1f} and "
            f"{y_um:.1f} µm",
            f"{self.moves} moves, held-out ones off by {self.held_out_rms_um:.2f} µm, "
            f"repeats to {self.repeatability_um:.2f} µm",
        )


class Display(_Table, frozen=True, kw_only=True):
    """From camera pixels to pixels of the eyepiece's microdisplay or a monitor."""

    measured_at: str
    homography: tuple[tuple[float, float, float], ...]
    """3x3: display pixel ~ homography @ (undistorted camera pixel, 1)."""
    distortion: tuple[float, ...] = ()
    """Radial terms of r², r⁴... about the field's centre, where r is 1 in its corners;
    empty where the residual needs none."""
    width_px: Side
    height_px: Side
    """Of the display."""
    residual_um: NotNegative
    """RMS at the slide."""
    points: Count = 0

    def words(self) -> tuple[str, str]:
        """Its value, and how it was found."""
        return (
            f"{self.width_px}x{self.height_px} px, residual {self.residual_um:.2f} µm "
            "at the slide",
            f"{self.points} points{', with lens term' if self.distortion else ''}",
        )


class Light(_Table, frozen=True, kw_only=True):
    """Flat field, kept as a small picture beside the certificate, and dark level."""

    measured_at: str
    flat: FileName
    """File name of the map of the light, in the certificate's folder."""
    flat_sha256: str
    dark_rgb: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """What the camera reads without light, 0-255."""
    corner_before: float
    corner_after: float
    """Light in the corners over that in the centre."""
    fields: Count = 1

    def words(self) -> tuple[str, str]:
        """Its value, and how it was found."""
        dark = "with" if any(self.dark_rgb) else "no"
        return (
            f"corners {self.corner_before:.2f} of the centre, "
            f"{self.corner_after:.2f} after correction",
            f"{self.fields} fields, {dark} dark field",
        )


class Colour(_Table, frozen=True, kw_only=True):
    """White point, and the stain of a reference slide."""

    measured_at: str
    white_rgb: tuple[float, float, float]
    """Mean of empty glass before balance, 0-255."""
    gains_rgb: tuple[float, float, float]
    matrix: tuple[tuple[float, float, float], ...] = ()
    """3x3 on linear RGB, from a colour target; empty: none."""
    residual: float = 0.0
    """Mean CIEDE2000 on the target after correction."""

    def words(self) -> tuple[str, str]:
        """Its value, and how it was found."""
        gains = "/".join(f"{gain:.3f}" for gain in self.gains_rgb)
        target = f", target off by {self.residual:.1f} ΔE00" if self.matrix else ""
        return f"white {self.level}", f"gains {gains}{target}"

    @property
    def level(self) -> str:
        """Of empty glass, in words."""
        return "/".join(f"{level:.0f}" for level in self.white_rgb)


class Latency(_Table, frozen=True, kw_only=True):
    """From the end of exposure to light on the display."""

    measured_at: str
    median_ms: NotNegative
    p95_ms: NotNegative
    glass_to_glass: bool
    """False: summed over the stations of the software, the display's own unknown."""
    trials: Count = 0

    def words(self) -> tuple[str, str]:
        """Its value, and how it was found."""
        how = "glass to glass" if self.glass_to_glass else "software alone"
        return (
            f"{self.median_ms:.0f} ms, 95th percentile {self.p95_ms:.0f} ms",
            f"{how}, {self.trials} trials",
        )


Measurement = Scale | Stage | Display | Light | Colour | Latency
MEASUREMENTS = tuple(kind.__name__.lower() for kind in get_args(Measurement))
"""A certificate's entry of each is named as its table."""


class Certificate(_Table, frozen=True, kw_only=True):
    """All that was measured on one instrument."""

    instrument: Instrument
    made_at: str
    """ISO 8601, UTC; of the newest measurement."""
    made_by: str = ""
    expires_at: str
    scale: Scale | None = None
    stage: Stage | None = None
    display: Display | None = None
    light: Light | None = None
    colour: Colour | None = None
    latency: Latency | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of every value, however the file is laid out.

        Without a key: it finds a slip, not somebody who makes a new digest too.
        """
        return hashlib.sha256(msgspec.json.encode(self, order="sorted")).hexdigest()


def why_not(
    certificate: Certificate,
    instrument: Instrument,
    now: str,
    *,
    nominal_um_per_px: float | None = None,
) -> str:
    """Why a certificate is not valid for an instrument; empty when it is.

    Args:
        certificate: as it was read; whether somebody edited it is the reader's to say.
        instrument: as it is now. An empty camera and sizes or a binning of 0 are not
            known yet and are not compared.
        now: ISO 8601 with an offset.
        nominal_um_per_px: scale by arithmetic from objective, adapter and sensor; a
            measured one that is further from it than 25 % is of another objective.

    >>> seen = Instrument(width_px=64, height_px=48, objective="20x")
    >>> held = Certificate(
    ...     instrument=seen, made_at="", expires_at="2026-11-30T00:00:00+00:00"
    ... )
    >>> why_not(held, seen, "2026-12-01T00:00:00+00:00")
    'certificate expired on 2026-11-30'
    """
    made_for = certificate.instrument
    if instrument.objective != made_for.objective:
        return said_text(
            "other_objective",
            made_for=made_for.objective or "not named",
            seen=instrument.objective or "not named",
        )
    if instrument.camera and instrument.camera != made_for.camera:
        return said_text(
            "other_camera",
            made_for=made_for.camera or "not named",
            seen=instrument.camera,
        )
    if instrument.binning and instrument.binning != made_for.binning:
        return said_text(
            "other_binning", made_for=made_for.binning, seen=instrument.binning
        )
    seen_px = instrument.width_px, instrument.height_px
    made_px = made_for.width_px, made_for.height_px
    if all(seen_px) and seen_px != made_px:
        return said_text(
            "other_field_size",
            made_for=f"{made_px[0]}x{made_px[1]}",
            seen=f"{seen_px[0]}x{seen_px[1]}",
        )
    return _why_not_now(certificate, now) or _implausible(
        certificate.scale, nominal_um_per_px
    )


def days_left(certificate: Certificate, now: str) -> float:
    """Days until a certificate expires; negative afterwards."""
    left = _moment(certificate.expires_at) - _moment(now)
    return left.total_seconds() / 86_400


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _why_not_now(certificate: Certificate, now: str) -> str:
    if days_left(certificate, now) > 0:
        return ""
    return said_text("certificate_expired", date=certificate.expires_at[:10])


def _implausible(scale: Scale | None, nominal_um_per_px: float | None) -> str:
    if scale is None or nominal_um_per_px is None:
        return ""
    low, high = (nominal_um_per_px * (1 + sign * LARGEST_SHARE_OFF) for sign in (-1, 1))
    if low <= scale.um_per_px <= high:
        return ""
    return said_text("scale_implausible", um_per_px=scale.um_per_px, low=low, high=high)


# ---------------------------------------------------------------------------
# A certificate in words and numbers, as ``calibrate show`` and the guide print it.


NOT_MEASURED = "not measured"


class CertificateLine(NamedTuple):
    """One measurement."""

    name: str
    value: str
    """With its error, where it has one."""
    how: str
    """From what, and how well it fitted."""
    measured_at: str
    """ISO 8601; empty when nobody did."""


def lines_of(certificate: Certificate) -> list[CertificateLine]:
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
            lines.append(CertificateLine(name, NOT_MEASURED, "", ""))
        else:
            lines.append(CertificateLine(name, *table.words(), table.measured_at))
    return lines

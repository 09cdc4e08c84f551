"""Certificates on disk: read and proved, written and dated.

``armicro.calibrate.certificate`` says what a certificate holds; this file is the only
one that reads or writes one.
"""

import getpass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import tomli_w

from armicro.calibrate.certificate import (
    FORMAT,
    MEASUREMENTS,
    Certificate,
    Instrument,
    Measurement,
)
from armicro.errors import CalibrationError
from armicro.file import MOST_TOML_BYTES, decode_toml, read_bounded, write_whole

VALID_DAYS = 180


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    digest: str
    certificate: Certificate


def now() -> str:
    """The time as certificates write it: ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_certificate(path: Path) -> Certificate:
    """Read a certificate and prove that nobody edited it.

    Raises:
        CalibrationError: it is missing, not a certificate, or was edited.
    """
    try:
        file = decode_toml(read_bounded(path, MOST_TOML_BYTES), _File)
    except OSError as error:
        remedy = "make one with `armicro calibrate scale ... --certificate FILE`"
        if path.exists():
            remedy = "expected what armicro calibrate wrote; name another file"
        raise CalibrationError(
            f"certificate {path}: {error.strerror or error}; {remedy}"
        ) from error
    except msgspec.DecodeError as error:
        raise CalibrationError(
            f"certificate {path}: {error}; measure the instrument again"
        ) from error
    if file.format != FORMAT:
        raise CalibrationError(
            f"certificate {path}: format {file.format}, expected {FORMAT}; "
            "measure the instrument again"
        )
    if file.digest != file.certificate.digest:
        raise CalibrationError(
            f"certificate {path}: was edited or cut short after it was made (its "
            "digest does not fit); measure the instrument again"
        )
    if _moment(file.certificate.expires_at) is None:
        raise CalibrationError(
            f"certificate {path}: expires at {file.certificate.expires_at!r}, expected "
            "a date and time; measure the instrument again"
        )
    return file.certificate


def write_certificate(path: Path, certificate: Certificate) -> None:
    """Write a certificate, whole or not at all.

    Raises:
        CalibrationError: the file cannot be written.
    """
    file = _File(FORMAT, certificate.digest, certificate)
    content = tomli_w.dumps({k: _without_none(v) for k, v in _built(file).items()})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, content.encode())
    except OSError as error:
        raise CalibrationError(
            f"certificate {path}: {error.strerror or error}; choose a folder that may "
            "be written"
        ) from error


def read_begun(path: Path) -> Certificate:
    """Read a certificate that is to hold a further measurement; raises as reading."""
    try:
        return read_certificate(path)
    except CalibrationError as error:
        where = ", into another file" if str(error).endswith("again") else ""
        raise CalibrationError(f"{error}{where}") from error


def begun_for(path: Path, instrument: Instrument) -> Certificate:
    """The certificate at ``path``, or an empty one where there is none.

    Raises:
        CalibrationError: the certificate is of another instrument, or was edited.
    """
    if not path.exists():
        return Certificate(instrument=instrument, made_at="", expires_at="")
    before = read_begun(path)
    if before.instrument != instrument:
        raise CalibrationError(
            f"certificate {path}: is for {describe(before.instrument)}, measured "
            f"is {describe(instrument)}; give each its own certificate"
        )
    return before


def record(
    path: Path, instrument: Instrument, measurement: Measurement, *, by: str = ""
) -> Certificate:
    """Put a measurement into the certificate at ``path``, made where there is none.

    Args:
        path: the certificate.
        instrument: what was measured; must be what the certificate is for.
        measurement: replaces an earlier one of its kind.
        by: who measured; empty: the user of this machine.

    Raises:
        CalibrationError: the certificate is of another instrument, or was edited.
    """
    before = begun_for(path, instrument)
    kept = msgspec.structs.replace(
        before,
        made_by=by or getpass.getuser(),
        **{type(measurement).__name__.lower(): measurement},
    )
    dates = [
        moment
        for name in MEASUREMENTS
        if (table := getattr(kept, name)) is not None
        and (moment := _moment(table.measured_at)) is not None
    ]
    if _moment(measurement.measured_at) is None:
        raise CalibrationError(
            f"measured at {measurement.measured_at!r}; expected ISO 8601, such as "
            f"{now()}"
        )
    certificate = msgspec.structs.replace(
        kept,
        made_at=max(dates).isoformat(timespec="seconds"),
        # The oldest measurement expires first, and the certificate with it.
        expires_at=(min(dates) + timedelta(days=VALID_DAYS)).isoformat(
            timespec="seconds"
        ),
    )
    write_certificate(path, certificate)
    return certificate


def describe(instrument: Instrument) -> str:
    """An instrument in words.

    >>> describe(Instrument(camera="acA2440", width_px=64, height_px=48))
    'acA2440, 64x48, binning 1, objective not named'
    """
    camera = instrument.camera or "camera not named"
    objective = instrument.objective or "not named"
    return (
        f"{camera}, {instrument.width_px}x{instrument.height_px}, binning "
        f"{instrument.binning}, objective {objective}"
    )


def _moment(text: str) -> datetime | None:
    """A date and time, of UTC where it does not say; None where it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _built(file: _File) -> dict[str, object]:
    built: dict[str, object] = msgspec.to_builtins(file)
    return built


def _without_none(value: object) -> object:
    """TOML has no null: an absent table is left out."""
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, (list, tuple)):
        return [_without_none(v) for v in value]
    return value

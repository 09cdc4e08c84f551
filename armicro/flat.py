"""The map of the light on disk: a small 16-bit picture beside the certificate."""

import hashlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from armicro.calibrate.certificate import Light
from armicro.errors import CalibrationError
from armicro.file import read_bounded, write_whole

_FULL = 65_535
_MOST_BYTES = 1 << 24
"""A map of the light is small: it has no detail."""


def write_flat(certificate: Path, share: NDArray[np.float32]) -> tuple[str, str]:
    """Write the light's map beside a certificate.

    Args:
        certificate: its file, which need not exist yet.
        share: (height, width, 3) of the light, 0-1.

    Returns:
        File name and SHA-256, as a Light table holds them.

    Raises:
        CalibrationError: the file cannot be written.
    """
    levels = np.clip(np.rint(share * _FULL), 1, _FULL).astype(np.uint16)
    encoded = cv2.imencode(".png", np.ascontiguousarray(levels[..., ::-1]))[1].tobytes()
    digest = hashlib.sha256(encoded).hexdigest()
    # Named after its content: the map of the certificate before stays whole until the
    # new certificate stands.
    path = certificate.with_name(f"{certificate.stem}.flat-{digest[:8]}.png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, encoded)
    except OSError as error:
        raise CalibrationError(
            f"light map {path}: {error.strerror or error}; choose a folder that may be "
            "written"
        ) from error
    return path.name, digest


def read_flat(folder: Path, light: Light) -> NDArray[np.float32]:
    """Read a certificate's map of the light, proved to be the one that was measured.

    Args:
        folder: of the certificate.
        light: the certificate's table.

    Returns:
        (height, width, 3) share of the light, above 0.

    Raises:
        CalibrationError: it is missing, was changed, or is no such map.
    """
    path = folder / light.flat
    try:
        encoded = read_bounded(path, _MOST_BYTES)
    except OSError as error:
        raise CalibrationError(
            f"light map {path}: {error.strerror or error}; expected it beside the "
            "certificate; copy it there, or run `armicro calibrate flatfield` again"
        ) from error
    if hashlib.sha256(encoded).hexdigest() != light.flat_sha256:
        raise CalibrationError(
            f"light map {path}: is not the one that the certificate was made with; run "
            "`armicro calibrate flatfield` again"
        )
    levels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    if levels is None or levels.dtype != np.uint16 or levels.ndim != 3:
        raise CalibrationError(
            f"light map {path}: expected a 16-bit colour PNG; run `armicro calibrate "
            "flatfield` again"
        )
    share = np.ascontiguousarray(levels[..., ::-1]).astype(np.float32) / _FULL
    return np.asarray(np.maximum(share, 1 / _FULL), np.float32)

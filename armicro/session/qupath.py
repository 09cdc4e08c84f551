"""``findings.geojson``: findings as annotations that QuPath imports onto the slide."""

import uuid
from collections.abc import Iterable
from typing import Any

import msgspec

from armicro.report import Finding
from armicro.verdict import SUSPICIOUS

_CLASSES = {
    True: {"name": "Suspicious", "color": [164, 19, 60]},
    False: {"name": "Candidate", "color": [226, 149, 38]},
}
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "armicro/findings")


def findings_geojson(
    findings: Iterable[Finding],
    *,
    slide: str,
    pixel_um: float,
    corner_xy_um: tuple[float, float] = (0.0, 0.0),
) -> bytes:
    """Return the findings as a GeoJSON FeatureCollection (QuPath 0.4 and later).

    Args:
        findings: most suspicious first.
        slide: its name; with a finding's place it makes the object's identity, so that
            importing twice leaves one object.
        pixel_um: scale of the pixels that QuPath counts in, those of the slide file.
        corner_xy_um: where pixel (0, 0) of that file lies on the slide.
    """
    features = [
        _feature(rank, finding, slide, _ring(finding, pixel_um, corner_xy_um))
        for rank, finding in enumerate(findings, start=1)
    ]
    return msgspec.json.encode({"type": "FeatureCollection", "features": features})


def _feature(
    rank: int, finding: Finding, slide: str, ring: list[list[float]]
) -> dict[str, Any]:
    place = f"{slide}|{finding.field_seq}|{finding.x_um!r}|{finding.y_um!r}"
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(_NAMESPACE, place)),
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {
            "objectType": "annotation",
            "name": f"#{rank}  {finding.hr_probability:.3f}",
            "classification": _CLASSES[finding.hr_probability >= SUSPICIOUS],
            "isLocked": True,
            "measurements": {
                "Rank": rank,
                "HR probability": finding.hr_probability,
                "LR probability": finding.lr_probability,
                "Field": finding.field_seq,
            },
        },
    }


def _ring(
    finding: Finding, pixel_um: float, corner_xy_um: tuple[float, float]
) -> list[list[float]]:
    """Corners of the box in pixels, clockwise on the screen and closed."""
    left_um, top_um = corner_xy_um
    left, right = (
        round((finding.x_um - left_um + side * finding.width_um / 2) / pixel_um, 2)
        for side in (-1, 1)
    )
    top, bottom = (
        round((finding.y_um - top_um + side * finding.height_um / 2) / pixel_um, 2)
        for side in (-1, 1)
    )
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]

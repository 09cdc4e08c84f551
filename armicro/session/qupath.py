"""``findings.geojson``: findings as annotations that QuPath imports onto the slide."""

import math
import uuid
from collections.abc import Iterable
from typing import Any

import msgspec

from armicro.report import Finding
from armicro.verdict import SUSPICIOUS, probability_text

_CLASSES = {
    True: {"name": "Suspicious", "color": [164, 19, 60]},
    False: {"name": "Candidate", "color": [226, 149, 38]},
}
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "armicro/findings")


def findings_geojson(
    findings: Iterable[Finding],
    *,
    slide: str,
    pixel_um: float | tuple[float, float],
    corner_xy_um: tuple[float, float] = (0.0, 0.0),
    size_px: tuple[int, int] | None = None,
) -> bytes:
    """Return the findings as a GeoJSON FeatureCollection (QuPath 0.4 and later).

    Args:
        findings: most suspicious first.
        slide: its name; with a finding's place it makes the object's identity, so that
            importing twice leaves one object.
        pixel_um: scale of the slide file's pixels, along x and y where they differ.
        corner_xy_um: where the picture that QuPath shows begins on the slide: it cuts
            a slide to the part that was scanned (``openslide.bounds-x``).
        size_px: width and height of that picture; a box ends at its edge, and a finding
            beside it is left out.
    """
    pixel_xy_um = pixel_um if isinstance(pixel_um, tuple) else (pixel_um, pixel_um)
    rings = (
        (rank, finding, _ring(finding, pixel_xy_um, corner_xy_um, size_px))
        for rank, finding in enumerate(findings, start=1)
    )
    features = [
        _feature(rank, finding, slide, ring) for rank, finding, ring in rings if ring
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
            "name": f"#{rank}  {probability_text(finding.hr_probability)}",
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
    finding: Finding,
    pixel_xy_um: tuple[float, float],
    corner_xy_um: tuple[float, float],
    size_px: tuple[int, int] | None,
) -> list[list[float]]:
    """Corners of the box in pixels, clockwise on the screen and closed; or none."""
    ends = []
    for axis, (at_um, long_um) in enumerate(
        ((finding.x_um, finding.width_um), (finding.y_um, finding.height_um))
    ):
        most = size_px[axis] if size_px else math.inf
        least = 0.0 if size_px else -math.inf
        near, far = (
            (at_um - corner_xy_um[axis] + side * long_um / 2) / pixel_xy_um[axis]
            for side in (-1, 1)
        )
        if far <= least or near >= most:
            return []
        ends.append([round(min(max(v, least), most), 2) for v in (near, far)])
    (left, right), (top, bottom) = ends
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]

"""What LR takes for lesions in the training fields, as samples for HR.

An annotated normal cell is mostly an easy one. What HR must tell apart are the places
that LR hands over: lesions, seldom centred, and whatever looked like one. So LR is
trained first and searches the training fields; HR's last stage draws from what it
found, hard ones more often (the paper's hard-sample mining, a large share for HR).
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from armicro.errors import EngineError
from armicro.train.data import AnnotatedField
from armicro.train.finds import Finds
from armicro.train.sample import Sample

FOUND = "found"
"""Their source: beside those of annotated cells."""
SEEN_UM = 14.0
"""A lesion so near a find stays in the part of the tile that HR looks at, also when the
tile is shifted and enlarged."""
COLUMNS = ("source", "image", "x_px", "y_px", "lesion")


def samples_of(finds: Finds, pictures: Sequence[AnnotatedField]) -> list[Sample]:
    """Return finds in ``pictures``; lesions at the rim of HR's view are left out."""
    samples = []
    for lesion, number, xy_um in zip(
        finds.lesion, finds.picture, finds.xy_um, strict=True
    ):
        picture = pictures[number]
        place = xy_um / picture.um_per_px
        gaps = np.abs(picture.points_px[picture.lesion] - place).max(axis=1)
        near = gaps.min(initial=np.inf) * picture.um_per_px < SEEN_UM
        if lesion and not near:
            continue
        x_px, y_px = place.tolist()
        samples.append(_sample(picture, x_px, y_px, lesion=bool(lesion)))
    return samples


def write_found(path: Path, samples: Sequence[Sample]) -> None:
    """Write the samples, so that a resumed training draws the same ones."""
    part = path.with_suffix(".part")
    with part.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for one in samples:
            x, y = one.point_px or (0.0, 0.0)
            source = one.picture.source
            row = (source, one.picture.name, f"{x:.1f}", f"{y:.1f}", int(one.lesion))
            writer.writerow(row)
    part.replace(path)


def read_found(path: Path, pictures: Sequence[AnnotatedField]) -> list[Sample]:
    """Read the samples of a search, those of sources that are not read left out.

    Raises:
        EngineError: there is none, or it is of other fields.
    """
    by_name = {(one.source, one.name): one for one in pictures}
    sources = {source for source, _ in by_name}
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            return [
                _sample(
                    by_name[row["source"], row["image"]],
                    float(row["x_px"]),
                    float(row["y_px"]),
                    lesion=row["lesion"] == "1",
                )
                for row in csv.DictReader(stream)
                if row["source"] in sources
            ]
    except OSError as error:
        raise EngineError(
            f"{path}: no search of the training fields ({error.strerror}); run armicro "
            "train lr first"
        ) from error
    except (KeyError, ValueError) as error:
        raise EngineError(
            f"{path}: is not of these sources ({error}); run armicro train lr again "
            "with the same --data and --sources"
        ) from error


def _sample(
    picture: AnnotatedField, x_px: float, y_px: float, *, lesion: bool
) -> Sample:
    return Sample(FOUND, FOUND, lesion, picture.name, picture, (x_px, y_px))

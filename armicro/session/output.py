"""Writing the session folder, each file whole or not at all, never through a link."""

import re
from pathlib import Path

from armicro.errors import DiskError
from armicro.file import make_own_folder, write_whole
from armicro.session.page import render_page
from armicro.session.qupath import findings_geojson
from armicro.session.record import Session, read_session
from armicro.session.summary import encode_summary, summarise
from armicro.session.table import findings_csv, latency_csv
from armicro.slide.journal import Journal
from armicro.verdict import probability_digits

JOURNAL = "session.sqlite"
"""The journal's name in a session folder."""
_CROP_NAME = re.compile(r"\d{2,3}_\d{4}\.jpg")


def write_outputs(folder: Path, journal: Journal) -> Session:
    """Write every file of the session folder from the journal.

    May be called at any time, also while the run goes on; files of an earlier call are
    replaced.

    Args:
        folder: exists already, since the journal lies there.
        journal: open; it is only read.

    Returns:
        The session that was written.

    Raises:
        DiskError: a file cannot be written; the journal still holds what is kept.
        SourceError: the journal is damaged.
    """
    session = read_session(journal)
    try:
        _write_crops(folder / "top", session)
        _write_files(folder, session)
    except OSError as error:
        raise DiskError(
            f"{error.filename or folder}: {error.strerror or error}; check free space "
            f"and write permission, then write it with `armicro report {folder}`"
        ) from error
    return session


def _write_files(folder: Path, session: Session) -> None:
    slide, kept = session.slide, session.map
    # A camera has no file of its own: its fields' pixels are the nearest thing.
    pixel_um = slide.pixel_um or slide.um_per_px or 1.0
    pixel_xy_um = slide.pixel_xy_um or (pixel_um, pixel_um)
    corner_xy_um, size_px = (0.0, 0.0), None
    if kept is not None:
        pixel_xy_um = kept.um_per_px, kept.um_per_px
        corner_xy_um = kept.x_um, kept.y_um
        size_px = kept.width_px, kept.height_px
    elif slide.shown_xywh_px is not None:
        x, y, *wh_px = slide.shown_xywh_px
        corner_xy_um = x * pixel_xy_um[0], y * pixel_xy_um[1]
        size_px = wh_px[0], wh_px[1]
    files = {
        "findings.csv": findings_csv(session.findings).encode(),
        "findings.geojson": findings_geojson(
            session.findings,
            slide=slide.name,
            pixel_um=pixel_xy_um,
            corner_xy_um=corner_xy_um,
            size_px=size_px,
        ),
        "latency.csv": latency_csv(session.stations).encode(),
        "report.html": render_page(session).encode(),
        # Last: what reads a folder by it finds the others there.
        "slide.json": encode_summary(summarise(session)),
    }
    for name, content in files.items():
        write_whole(folder / name, content)


def _write_crops(folder: Path, session: Session) -> None:
    make_own_folder(folder)
    names = set()
    for rank, (finding, jpeg) in enumerate(
        zip(session.top, session.crops, strict=True), start=1
    ):
        name = f"{rank:02d}_{probability_digits(finding.hr_probability, 4)}.jpg"
        names.add(name)
        write_whole(folder / name, jpeg)
    for path in folder.iterdir():
        if _CROP_NAME.fullmatch(path.name) and path.name not in names:
            path.unlink()

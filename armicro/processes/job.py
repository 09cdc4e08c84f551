"""What one session is about: written once by the supervisor, read by its children."""

import os
from pathlib import Path
from typing import Literal

import msgspec

from armicro.rig import Rig

Mode = Literal["replay", "live"]
Display = Literal["window", "offscreen", "none"]
Pace = Literal["fast", "realtime"]
Part = Literal["all", "microscope", "inference"]
"""Which processes run here; the rig's ``[wire]`` says where the others are."""


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One slide through the stream."""

    session: str
    """Identity of the run on the wire."""
    mode: Mode
    rig: Rig
    out: str
    """The session's folder."""
    slide: str = ""
    """Path of the slide file or recording; empty for a camera."""
    um_per_px: float | None = None
    """Scale for a slide file that does not say its own."""
    region_px: tuple[int, int, int, int] | None = None
    """x, y, width, height in pixels of the slide file; None: all of it."""
    pace: Pace = "fast"
    display: Display = "none"
    part: Part = "all"
    record: bool = False
    """Save the fields that infer takes, losslessly, beside the journal."""
    map: bool = False
    """Stitch the fields of a slide file too."""
    field_bytes: int = 0
    """Size of a field's pixels; 0: that of the rig's camera."""
    ring: str = ""
    """Handle of the shared-memory ring."""
    addresses: dict[str, str] = {}
    """Topic to ZeroMQ address."""
    supervisor_pid: int = 0

    @property
    def folder(self) -> Path:
        """The session's folder."""
        return Path(self.out)

    @property
    def journal(self) -> Path:
        """The session's journal."""
        return self.folder / "session.sqlite"


def write_job(job: Job, path: Path) -> None:
    """Write a job where only its owner can read it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(job))


def read_job(path: Path) -> Job:
    """Read the job that the supervisor wrote."""
    return msgspec.json.decode(path.read_bytes(), type=Job)

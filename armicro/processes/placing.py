"""capture's registration: opened when a field first needs it, its map on disk.

The map lies beside the journal, so that a capture that was killed, or a session that is
resumed, finds its way again.
"""

from armicro.field import Field
from armicro.processes.job import Job, make_folder
from armicro.slide.map_file import MapFile
from armicro.slide.register import Register

_EXPOSURE_US = 5000.0
"""Where the rig names none: usual for a colour camera on a bright-field stand."""
MAP_NAME = "map.sqlite"
_SURE = ("slide_file", "own_ground")
"""Origins of a place that no registration can better."""


class Placing:
    """Gives fields their place where their source does not."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._file: MapFile | None = None
        self._register: Register | None = None

    def place(self, field: Field) -> Field:
        """Return the field with its place, or with none where it is lost.

        Raises:
            SourceError: the map cannot be written.
        """
        known = field.place is not None and field.place.origin in _SURE
        if known or not self._job.rig.register.enabled:
            return field
        if self._register is None:
            self._register = self._open()
        return self._register.update(field)

    def close(self) -> None:
        """Close the map; may be called twice."""
        if self._file is not None:
            self._file.close()
            self._file = self._register = None

    def _open(self) -> Register:
        job = self._job
        # At a microscope whose slide is kept elsewhere nobody made it.
        make_folder(job.folder)
        self._file = MapFile(job.folder / MAP_NAME)
        return Register(
            self._file,
            job.rig.register,
            exposure_us=job.rig.camera.exposure_us or _EXPOSURE_US,
            # A file that plays the camera stands still for each of its fields.
            timed=job.mode == "live",
        )

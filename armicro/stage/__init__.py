"""Stages that move the slide: one small protocol, one file a driver."""

from typing import Protocol

from armicro.stage.limit import Limits


class Stage(Protocol):
    """A motorised stage, in its own units (micrometres by its maker's word)."""

    @property
    def limits(self) -> Limits | None:
        """Where it may go; None where the rig names no soft limits."""

    def position(self) -> tuple[float, float]:
        """Where it stands, x and y, from its encoder or step counter.

        Raises:
            SourceLostError: the stage does not answer any more.
        """

    def move_to(self, x: float, y: float) -> None:
        """Go there and return when it stands.

        Raises:
            CalibrationError: the place lies outside the soft limits.
            SourceLostError: the stage does not answer any more.
        """

    def close(self) -> None:
        """Give it back; may be called twice."""

"""A stage with known faults: play, scatter, a turned camera, soft limits.

Its step counter says what it was told; ``true_xy_um`` says where the view really is,
which a real stage keeps to itself. ``source.simulated`` renders what is seen there.
"""

import numpy as np

from armicro.rig import Mechanics
from armicro.stage.limit import Limits, require_inside


class SimulatedStage:
    """A stage that is computed; it moves at once."""

    def __init__(self, mechanics: Mechanics, *, limits: Limits | None = None) -> None:
        """Stand at (0, 0), in the middle of the play of both axes."""
        self._mechanics = mechanics
        self.limits = limits
        self._rng = np.random.default_rng(mechanics.seed)
        self._told = np.zeros(2)
        self._pulled = np.zeros(2)
        """Where the table was pulled to, before scatter."""
        self._scatter = np.zeros(2)

    def position(self) -> tuple[float, float]:
        """What the step counter says: where it was told to go."""
        return float(self._told[0]), float(self._told[1])

    def move_to(self, x: float, y: float) -> None:
        """Turn the spindles; the table follows once the play is used up.

        Raises:
            CalibrationError: the place lies outside the soft limits.
        """
        require_inside(x, y, self.limits)
        told = np.array((x, y), float)
        turned = told != self._told
        half = np.asarray(self._mechanics.backlash) / 2
        self._told = told
        self._pulled = np.clip(self._pulled, told - half, told + half)
        scatter = self._rng.normal(0.0, self._mechanics.repeatability, 2)
        # An axis that was not moved stays where it stopped.
        self._scatter = np.where(turned, scatter, self._scatter)

    @property
    def true_xy_um(self) -> tuple[float, float]:
        """How far the view truly is from where it was at (0, 0), right and down."""
        matrix = np.asarray(self._mechanics.um_per_step)
        x, y = matrix @ (self._pulled + self._scatter)
        return float(x), float(y)

    def close(self) -> None:
        """Nothing to give back."""

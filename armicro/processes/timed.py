"""An engine around another that says how long it worked, and that it still does."""

import time
from collections.abc import Callable, Mapping

import numpy as np

from armicro.engine import Array, Engine


class TimedEngine:
    """An engine that counts the time spent in it, and works in parts.

    A large field on a slow machine takes a minute: between its parts there is a moment
    to say that nobody hangs. A sample's answer does not depend on the others.
    """

    def __init__(
        self, engine: Engine, *, part: int, on_part: Callable[[], None]
    ) -> None:
        self._engine, self._part, self._on_part = engine, part, on_part
        self.spent_ns = 0

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the engine's ``infer`` part by part and count its wall time."""
        count = max((len(array) for array in inputs.values()), default=0)
        answers = [
            self._timed({k: v[first : first + self._part] for k, v in inputs.items()})
            for first in range(0, max(1, count), self._part)
        ]
        if len(answers) == 1:
            return answers[0]
        return {
            name: np.concatenate([answer[name] for answer in answers])
            for name in answers[0]
        }

    def _timed(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        begun = time.monotonic_ns()
        try:
            return self._engine.infer(inputs)
        finally:
            self.spent_ns += time.monotonic_ns() - begun
            self._on_part()

    def close(self) -> None:
        """Close the engine."""
        self._engine.close()

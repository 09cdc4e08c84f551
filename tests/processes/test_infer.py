"""infer's engine, which must not fall silent over a large field."""

from collections.abc import Mapping

import numpy as np
import pytest

from armicro.engine import Array
from armicro.processes.infer import TimedEngine


class Doubling:
    """Answers each sample with twice its first value."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        tiles = inputs["tiles"]
        self.batches.append(len(tiles))
        return {"twice": tiles[:, 0].astype(np.float32) * 2}

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("count", "batches"), [(1, [1]), (8, [8]), (20, [8, 8, 4]), (0, [0])]
)
def test_large_batch_runs_in_parts_with_a_word_between_them(
    count: int, batches: list[int]
) -> None:
    inner, said = Doubling(), list[int]()
    engine = TimedEngine(inner, part=8, on_part=lambda: said.append(1))
    tiles = np.arange(count * 3, dtype=np.uint8).reshape(count, 3)
    answer = engine.infer({"tiles": tiles})["twice"]
    assert answer.tolist() == (tiles[:, 0].astype(float) * 2).tolist()
    assert inner.batches == batches
    assert len(said) == len(batches)
    assert engine.spent_ns > 0

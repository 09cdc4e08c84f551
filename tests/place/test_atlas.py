"""The map's landmarks: found again wherever in the map they lie."""

import numpy as np
import pytest

from armicro.place import atlas as module
from armicro.place.atlas import WORDS, Atlas, Keyframe, Landmarks, MemoryStore
from armicro.place.look import Texture

LOOK = Texture(np.zeros((8, 8), np.float32))


def landmarks(seed: int) -> Landmarks:
    rng = np.random.default_rng(seed)
    words = rng.normal(size=(16, WORDS))
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    spots = rng.uniform(0, 500, (16, 2))
    return Landmarks(spots.astype(np.float32), words.astype(np.float32))


@pytest.mark.parametrize("seen", [0, 3, 6])
def test_field_is_recognised_in_whatever_part_of_the_map_it_lies(
    seen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Not a multiple of a keyframe's landmarks: one of them lies across two parts.
    monkeypatch.setattr(module, "_AT_ONCE", 40)
    atlas = Atlas(MemoryStore())
    for number in range(7):
        place = 1000.0 * number, 500.0
        atlas.add(Keyframe(*place, (0.1, 0.1), (600.0, 500.0), landmarks(number)), LOOK)
    (found, *_) = atlas.recognise(landmarks(seen), count=3)
    assert found == pytest.approx((1000.0 * seen, 500.0), abs=0.01)


def test_landmarks_that_nobody_saw_are_recognised_nowhere() -> None:
    atlas = Atlas(MemoryStore())
    assert atlas.recognise(landmarks(1), count=3) == []
    atlas.add(Keyframe(0.0, 0.0, (0.1, 0.1), (600.0, 500.0), landmarks(1)), LOOK)
    assert atlas.recognise(landmarks(2), count=3) == []

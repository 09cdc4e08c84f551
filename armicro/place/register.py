"""Where each field lies on the slide, from its picture: placed, or lost.

``finder`` places a field on the slide's map. Here are what goes before (the picture's
texture, without the dirt on the sensor) and after (an encoder's word, the velocity),
and the islands on which fields are tracked while the way is lost.
"""

import math

import cv2
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from armicro.field import Field, Place, PlaceOrigin, Sight
from armicro.place.agree import is_rich, textured_blocks, without_still
from armicro.place.atlas import KeyframeStore
from armicro.place.claim import Encoder, Estimate, RegisterChoice, way
from armicro.place.finder import LEAST_BLOCKS, Finder, Steps, UnplacedField
from armicro.place.island import Islands
from armicro.place.look import (
    Plane,
    Texture,
    band_pass,
    lit_part,
    noise_power,
    normalise,
    reduce_light,
)

# ---------------------------------------------------------------------------
# Dirt on the sensor: texture that stays in the picture while the slide moves.
#
# Dirt is what has the same sign in nearly every field of another place; cells come and
# go. Where it lies nothing is known of the slide: it is left out of the texture, of the
# contrast around it and of what is asked to agree (``align.agree``), in the fields that
# were kept before it was known too. To take its mean away is not enough: a mean of few
# fields is a ghost of them, which would register on itself, and what dark dirt leaves
# of the light is noise.


_LEAST_FIELDS = 12
_MEMORY_FIELDS = 60
"""The mean follows dirt that moves on the sensor within about so many fields."""
_EVERY_FIELDS = 6
"""Known dirt is looked at again after so many: each time kept pictures change."""
_CONSTANT = 0.7
"""Share of fields, less those of the other sign, from which texture is dirt."""
_VISIBLE = 0.01
"""Of the logarithm of light: less is noise."""
_LEAST_PX = 3
"""A speck that is smaller is chance."""
_AROUND_PX = 5
"""Dirt's own edge is blurred, and less constant than its middle."""


class Dirt:
    """The still part of a camera's picture, in its own coordinates."""

    def __init__(self) -> None:
        self._sign: Plane | None = None
        """Mean of -1, 0, 1."""
        self._fields = 0
        self._learnt = 0
        self._clean: Plane | None = None

    def clean(self, texture: Plane) -> Plane | None:
        """Return 0 where dirt is known, 1 elsewhere; None where none is.

        Args:
            texture: (height, width), as the camera shows it.
        """
        clean = self._clean
        return None if clean is None or clean.shape != texture.shape else clean

    def update(self, texture: Plane) -> Plane | None:
        """Learn from a field with its dirt, that lies elsewhere.

        Returns:
            What ``clean`` returns from now on, when that changes; else None.
        """
        if self._sign is None or self._sign.shape != texture.shape:
            # Another camera or another objective.
            self._sign = np.zeros_like(texture)
            self._fields, self._learnt, self._clean = 0, 0, None
        self._fields = min(self._fields + 1, _MEMORY_FIELDS)
        self._learnt += 1
        sign = np.sign(texture) * (np.abs(texture) > _VISIBLE)
        self._sign[...] += np.float32(1.0 / self._fields) * (sign - self._sign)
        if self._fields < _LEAST_FIELDS or self._learnt % _EVERY_FIELDS:
            return None
        constant = (np.abs(self._sign) > _CONSTANT).astype(np.uint8)
        specks = cv2.morphologyEx(constant, cv2.MORPH_OPEN, _square(_LEAST_PX))
        known = bool(specks.any())
        if not known and self._clean is None:
            return None
        dirt = cv2.dilate(specks, _square(_AROUND_PX))
        clean = np.asarray(1 - dirt, np.float32)
        self._clean = clean if known else None
        return clean


def _square(side_px: int) -> NDArray[np.uint8]:
    return np.ones((side_px, side_px), np.uint8)


# ---------------------------------------------------------------------------
# The register.


_LONGEST_GAP_S = 1.0
"""Over a longer time a velocity says nothing."""
_LOOKS_FOR_TURN, _LOOK_AGAIN = 3, 5
"""Of lost fields in a row, a turn of the camera is looked for in the first so many and
in each so-many-th after them: it takes some 25 ms, and one that overlaps shows it."""
_TOLD_DEG, _SAME_DEG = 0.75, 0.15
"""A smaller turn, which chance leaves between few cells, is told when two fields in a
row say the same."""
_DIRT_STEP_UM = 30.0
_DIRT_STEP_BLOCKS = 2 * LEAST_BLOCKS
"""Of texture that is elsewhere, where a field has no place for the dirt."""


class Register:
    """Gives fields their place; see the head of this file.

    Args:
        store: keyframes of this slide, those of an earlier run too.
        choice: the rig's.
        exposure_us: of the camera, for the smear of a moving field.
        timed: whether ``taken_ns`` is the time of a stage that moves all the while; a
            slide that plays the camera stands still for every field.
    """

    def __init__(
        self,
        store: KeyframeStore,
        choice: RegisterChoice | None = None,
        *,
        exposure_us: float = 5000.0,
        timed: bool = True,
    ) -> None:
        self._choice = choice or RegisterChoice()
        longest_gap_s = _LONGEST_GAP_S if timed else 0.0
        steps = Steps()
        self._finder = Finder(store, self._choice, longest_gap_s, steps)
        self._islands = Islands(self._choice, longest_gap_s, steps, self._finder)
        self._encoder = Encoder(self._choice, mapped=not self._finder.is_empty)
        self._dirt = Dirt()
        self._dirt_at: Estimate | None = None
        """Where dirt was learnt last; None where that had no place."""
        self._dirt_look: Texture | None = None
        self._exposure_s = exposure_us * 1e-6
        self.last: Estimate | None = None
        """Of the last field that was looked at; None where it is lost."""
        self._lost_fields = 0
        """Since the last one that had a place."""
        self._small_turn_deg: float | None = None
        """Of the last lost field, where it is not told yet."""

    def update(self, field: Field) -> Field:
        """Return the field with its place and motion; place None where it is lost."""
        if field.place is not None and field.place.origin == "slide_file":
            return field
        if field.fault:
            return field
        texture, view = self._look_at(field)
        at, by_picture = self._locate(view)
        if at is None:
            self._finder.lose()
            worthy = self._is_worthy(field.sight or Sight())
            at, by_picture = self._islands.track(view, worthy=worthy), True
        # An encoder that says the same leaves no turn open.
        told = at if at is None or view.told else self._finder.told(view, at)
        self.last = told
        if at is None or told is None:
            self._learn_dirt(texture, view.look, at)
            return replace(field, place=None)
        self._lost_fields, self._small_turn_deg = 0, None
        sight = self._sight(field, view, at)
        new = self._finder.keep(view, at, worthy=self._is_worthy(sight))
        self._islands.join(view, at, new=new)
        self._learn_dirt(texture, view.look, at)
        origin = self._origin(at, by_picture=by_picture)
        place = Place(*at[:2], told.standard_error_um, origin)
        return replace(field, place=place, sight=sight)

    def _look_at(self, field: Field) -> tuple[Plane, UnplacedField]:
        """Texture of a field with its dirt, and what is known of it without."""
        light = reduce_light(field.pixels, field.um_per_px)
        texture = band_pass(light)
        noise = noise_power(light, field.um_per_px)
        clean, lit = self._dirt.clean(texture), lit_part(light)
        if lit is not None:
            clean = lit if clean is None else clean * lit
        bare = texture if clean is None else band_pass(light, clean)
        look = normalise(bare, noise, clean)
        told = None
        if field.place is not None and not self._finder.was_turned:
            told = self._encoder.guess(field.place)
        return texture, UnplacedField(
            look, field.size_um, field.taken_ns, told, is_rich(bare)
        )

    def _locate(self, view: UnplacedField) -> tuple[Estimate | None, bool]:
        """Place of a field, and whether its picture tells it or the encoder alone."""
        seen = None if self._finder.is_empty else self._finder.find(view)
        if seen is None and self._is_turned(view):
            return self._begin_beside(), True
        if view.told is None:
            return seen, True
        if seen is not None:
            return self._encoder.learn(view.told, seen), True
        if self._finder.is_turned:
            # Its word would be right of the middle only.
            return None, False
        return self._begun(view.look, view.told), False

    def _is_turned(self, view: UnplacedField) -> bool:
        """Whether the camera was turned since the last field that had a place."""
        if self._finder.is_empty:
            return False
        self._lost_fields += 1
        seldom = self._lost_fields > _LOOKS_FOR_TURN
        if seldom and self._lost_fields % _LOOK_AGAIN and not self._finder.is_turned:
            return False
        turn_deg, before = self._finder.turn_of(view), self._small_turn_deg
        if turn_deg is None:
            return False
        self._small_turn_deg = turn_deg
        again = before is not None and abs(turn_deg - before) <= _SAME_DEG
        return again or abs(turn_deg) >= _TOLD_DEG

    def _begin_beside(self) -> Estimate:
        """A new map: what the camera shows is turned against the one before.

        The encoder's axes are no longer the picture's, and by how much the stage's
        own error hides: its word is not heard again.
        """
        at = self._finder.begin_beside("turned_camera")
        self._finder.lose()
        return at

    def _origin(self, at: Estimate, *, by_picture: bool) -> PlaceOrigin:
        if not by_picture:
            return "stage_encoder"
        return self._finder.begun_at(at) or "image_registration"

    def _begun(self, look: Texture, told: Estimate) -> Estimate:
        """Where only the stage knows a place: it, and no error where the map begins.

        The first field with texture defines the slide's coordinates, and what the
        stage's play leaves open there is no error between a finding and its field.
        """
        begins = self._finder.is_empty and textured_blocks(look) >= LEAST_BLOCKS
        return told._replace(standard_error_xy_um=(0.0, 0.0)) if begins else told

    def _sight(self, field: Field, view: UnplacedField, at: Estimate) -> Sight:
        sight = field.sight or Sight()
        velocity = self._finder.velocity(view, at)
        if velocity is None:
            return replace(sight, velocity_xy_um_per_s=None)
        return replace(
            sight,
            velocity_xy_um_per_s=velocity,
            smear_um=math.hypot(*velocity) * self._exposure_s,
        )

    def _is_worthy(self, sight: Sight) -> bool:
        """Whether a field is sharp enough to be known again by."""
        choice = self._choice
        if sight.smear_um > choice.keyframe_smear_um:
            return False
        return sight.focus is None or sight.focus >= choice.keyframe_focus

    def _learn_dirt(self, texture: Plane, look: Texture, at: Estimate | None) -> None:
        """Learn from a field that lies elsewhere, though it be lost for the dirt."""
        before, known_at = self._dirt_look, self._dirt_at
        if before is not None:
            if at is not None and known_at is not None:
                moved = way(at, known_at) >= _DIRT_STEP_UM
            else:
                moved = _shows_another_place(before, look)
            if not moved:
                return
        clean = self._dirt.update(texture)
        self._dirt_look, self._dirt_at = look, at
        if clean is not None:
            self._islands.mask(clean)


def _shows_another_place(before: Texture, look: Texture) -> bool:
    """Whether more than chance differs between two fields, however much is dirt."""
    if before.fine.shape != look.fine.shape:
        return True
    _, rest = without_still(before, look)
    return textured_blocks(rest) >= _DIRT_STEP_BLOCKS

"""One field through the two networks: LR finds where to look, HR says what is there.

``prepare`` needs no engine, so that a process may do it for the next field while the
engine works on this one; ``analyse`` is the engine's part, over the whole field or over
tiles that the caller has chosen. A field that cannot be trusted leaves early with a
report that says why, in words, and has no boxes.

Coordinates inside are micrometres from the field's corner; ``_Candidate`` holds them,
and only a ``Finding`` is in slide coordinates.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Literal, NamedTuple, Protocol

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from scipy.special import expit

from armicro.cascade.locate import (
    CANDIDATE_RULES,
    Point,
    finite_logit,
    keep_apart,
    kept_of,
    order,
)
from armicro.cascade.tile import (
    CellMask,
    LrTileCutter,
    LrTiles,
    Origins,
    Prepared,
    cut_centred,
    find_cells,
    pack_cells,
    resample,
    scale_reason,
    view_of,
)
from armicro.engine import Array, Engine
from armicro.engine.manifest import Manifest, View
from armicro.errors import EngineError
from armicro.field import Field, Pixels
from armicro.report import (
    Account,
    FieldReport,
    FieldState,
    Finding,
    Observation,
)
from armicro.verdict import (
    LEAST_FOCUS,
    MERGE_UM,
    MOST_SMEAR_UM,
    PLACE_ERROR_UM,
    state_text,
)

# ---------------------------------------------------------------------------
# What a rig may choose in the cascade; its other numbers are the manifest's.

MergeUm = Annotated[float, Meta(ge=0.1, le=1000.0)]
"""From the resolution of light to more than a field: the bins of a slide are that wide,
and must be countable."""


class Choice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rig's ``[cascade]`` table."""

    mode: Literal["auto", "field", "incremental"] = "auto"
    """``incremental`` gives only what was not yet analysed to the LR network, which
    makes the answer depend a little on the path; ``auto``: incremental in live, field
    by field in a replay."""
    candidates: Literal["peaks", "crowd", "release"] = "crowd"
    """``peaks``: every local maximum of the location map; ``crowd``: also every other
    high cell of it; ``release``: one a region, as the authors' release does."""
    fusion: Literal["mean", "release"] = "mean"
    lr_mode: Literal["tiles", "whole"] = "tiles"
    """``whole`` runs LR once over the whole field instead of tile by tile: less work,
    and allowed only for a network set whose manifest says that the answers agree."""
    merge_um: MergeUm = MERGE_UM
    """Candidates and findings nearer than this are one cell."""
    most_per_field: Annotated[int, Meta(gt=0)] = 100
    """Findings that a field keeps, by HR probability, and all that HR calls suspicious
    beside them; HR looks at every candidate."""
    place_error_um: Annotated[float, Meta(gt=0)] = PLACE_ERROR_UM
    """A field whose place is known worse than this gets no boxes."""
    least_focus: Annotated[float, Meta(ge=0, le=1)] = LEAST_FOCUS
    """A field less sharp than this is out of focus."""
    most_smear_um: Annotated[float, Meta(gt=0)] = MOST_SMEAR_UM
    """A field during whose exposure the stage went further than this is moving."""


# ---------------------------------------------------------------------------
# The cascade on one field.

WHOLE_TOLERANCE = 0.05
"""Largest difference of the gate's probability that whole fields may make."""
LR_STRIDE_PX = 32
"""LR pixels a cell of the location map (ResNet50's last stage)."""
HR_TILES_AT_ONCE = 128
"""A tile takes 200 kB, and a crowded field has a thousand."""
DARKEST_GLASS = 32
"""Level of 255 that empty glass has at least in some channel when the lamp is on."""


class Networks(Protocol):
    """What of a network set the cascade needs."""

    @property
    def manifest(self) -> Manifest:
        """Scales, tile sizes and thresholds."""

    @property
    def lr(self) -> Engine:
        """Finds where to look."""

    @property
    def hr(self) -> Engine:
        """Says what is there."""


LEAST_LOOKED_AGAIN = 0.1
"""Probability from which on more views of a tile may change what is said of it."""


@dataclass(frozen=True, slots=True, eq=False)
class SeveralViews:
    """An HR engine that looks again, from other sides, at what may be a lesion.

    The probability is that of the mean logit of all views; features are of the tile as
    it is, since the slide's networks learned from such.
    """

    hr: Engine
    views: tuple[View, ...]

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Return the network's outputs for ``tiles``."""
        outputs = dict(self.hr.infer(inputs))
        plain = np.asarray(outputs["probability"], np.float32)
        again = np.flatnonzero(plain >= LEAST_LOOKED_AGAIN)
        if not len(again):
            return outputs
        tiles = inputs["tiles"][again]
        shown = (self.hr.infer({"tiles": view_of(tiles, one)}) for one in self.views)
        said = [plain[again], *(one["probability"] for one in shown)]
        probability = plain.copy()
        probability[again] = expit(finite_logit(np.array(said)).mean(axis=0))
        return {**outputs, "probability": probability}

    def close(self) -> None:
        """Free the engine."""
        self.hr.close()


def confirming(networks: Networks) -> Engine:
    """Return the HR network as its set wants it asked."""
    views = networks.manifest.hr.more_views
    return SeveralViews(networks.hr, views) if views else networks.hr


HR_BATCH = 16


def look_at(
    hr: Engine, tiles: Iterable[Pixels]
) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Run HR over a stream of tiles; return probabilities (n,), features (n, 2048).

    Raises:
        EngineError: the engine failed.
    """
    left, scores = iter(tiles), [np.zeros(0)]
    features = [np.zeros((0, 2048), np.float32)]
    while batch := list(islice(left, HR_BATCH)):
        outputs = hr.infer({"tiles": np.stack(batch)})
        scores.append(outputs["probability"])
        features.append(outputs["features"])
    return np.concatenate(scores), np.concatenate(features)


class _Candidate(NamedTuple):
    x_um: float
    y_um: float
    lr_probability: float
    height: float


class Screen:
    """The cascade with its networks; it keeps nothing between fields."""

    def __init__(self, networks: Networks, choice: Choice) -> None:
        """Take the networks.

        Raises:
            EngineError: whole fields are asked for, and give other answers than tiles.
        """
        _refuse_whole(networks, choice)
        self._networks = networks
        self._choice = choice
        self._lr = networks.manifest.lr
        self._hr = networks.manifest.hr
        self._confirming = confirming(networks)
        self._cutter = LrTileCutter(self._lr, whole=choice.lr_mode == "whole")

    def prepare(self, field: Field) -> Prepared:
        """Check a field and resample it for the LR network."""
        refusal = self._refuse(field)
        if refusal is not None:
            return Prepared(field, refusal)
        cells = find_cells(field.pixels, field.um_per_px)
        if max(cells.background) < DARKEST_GLASS:
            # Without light all is as even as empty glass, and nothing was seen.
            return Prepared(field, ("unreadable", state_text("no_light")))
        refusal = self._refuse_sight(field)
        if refusal is not None:
            return Prepared(field, refusal, cells)
        nominal = self._lr.um_per_px
        pixels = resample(
            field.pixels, from_um_per_px=field.um_per_px, to_um_per_px=nominal
        )
        # The longer side, rounded to whole pixels, gives the more exact scale.
        longer = int(np.argmax(field.pixels.shape[:2]))
        exact = field.um_per_px * field.pixels.shape[longer] / pixels.shape[longer]
        return Prepared(field, None, cells, pixels, exact)

    def analyse(
        self, prepared: Prepared, corners_um: Sequence[Point] | None = None
    ) -> Account:
        """Run LR over tiles and HR over their candidates.

        Args:
            prepared: the field.
            corners_um: of the tiles to run, from the field's corner; None: all that
                the rig's ``lr_mode`` makes of the field.

        Raises:
            EngineError: the engine failed.
        """
        if prepared.refusal is not None:
            state, reason = prepared.refusal
            return Account(_report(prepared, state, reason=reason), [])
        cut = self._cutter.cut(prepared, corners_um)
        if not len(cut.tiles):
            # Whether it holds cells only matters where all of it was asked for.
            blank = corners_um is None or prepared.blank
            return Account(_report(prepared, "blank" if blank else "analysed", cut), [])
        outputs = self._networks.lr.infer({"tiles": cut.tiles})
        gates = outputs["probability"]
        candidates = self._candidates(
            prepared, cut.origins_px, gates, outputs["location"]
        )
        # HR looks at all; only then, by what it says, are there too many.
        observations: list[Observation] = []
        for first in range(0, len(candidates), HR_TILES_AT_ONCE):
            part = candidates[first : first + HR_TILES_AT_ONCE]
            observations += self._confirm(prepared, part)
            observations = self._strongest(observations)
        report = _report(
            prepared,
            "analysed",
            cut,
            lr_positive=int(np.count_nonzero(gates > self._lr.gate)),
            observations=observations,
        )
        report = msgspec.structs.replace(report, hr_tiles=len(candidates))
        return Account(report, observations)

    def _refuse(self, field: Field) -> tuple[FieldState, str] | None:
        if field.fault:
            return "unreadable", field.fault
        reason = field.voided or scale_reason(field.um_per_px)
        if reason:
            return "bad_scale", reason
        if field.place is None:
            return "no_place", state_text("place_unknown")
        error_um = field.place.standard_error_um
        # A place error that is not a number must refuse too, hence the negation.
        limit_um = self._choice.place_error_um
        if not error_um <= limit_um:
            return "no_place", state_text(
                "place_rough", error_um=error_um, limit_um=limit_um
            )
        return None

    def _refuse_sight(self, field: Field) -> tuple[FieldState, str] | None:
        sight, choice = field.sight, self._choice
        if sight is None:
            return None
        if not sight.smear_um <= choice.most_smear_um:
            return "moving", state_text("moving", smear_um=sight.smear_um)
        if sight.focus is not None and sight.focus < choice.least_focus:
            return "out_of_focus", state_text(
                "out_of_focus", focus=sight.focus, least=choice.least_focus
            )
        return None

    def _candidates(
        self,
        prepared: Prepared,
        origins_px: Origins,
        gates: NDArray[np.float32],
        heat: NDArray[np.float32],
    ) -> list[_Candidate]:
        """Candidates of all tiles above the gate, one a place, the highest first."""
        found: list[_Candidate] = []
        for tile, row, column in np.argwhere(gates > self._lr.gate).tolist():
            found += self._peaks(
                prepared,
                origins_px[tile],
                (row * self._cutter.stride_px, column * self._cutter.stride_px),
                (float(gates[tile, row, column]), heat[tile]),
            )
        found.sort(key=lambda c: (-c.height, -c.lr_probability, c.y_um, c.x_um))
        kept = keep_apart(
            [(c.x_um, c.y_um) for c in found],
            apart_um=self._choice.merge_um,
        )
        return [found[i] for i in kept]

    def _peaks(
        self,
        prepared: Prepared,
        origin_xy_px: tuple[int, int],
        window_yx_px: tuple[int, int],
        answer: tuple[float, NDArray[np.float32]],
    ) -> list[_Candidate]:
        """Peaks of one tile's window of the location map, those off the field out."""
        gate, heat = answer
        side = self._lr.tile_px // LR_STRIDE_PX
        top, left = (n // LR_STRIDE_PX for n in window_yx_px)
        peaks = CANDIDATE_RULES[self._choice.candidates](
            heat[top : top + side, left : left + side],
            threshold=self._lr.peak_threshold,
        )
        width_um, height_um = prepared.field.size_um
        candidates = (
            _Candidate(
                (origin_xy_px[0] + (left + x) * LR_STRIDE_PX) * prepared.lr_um_per_px,
                (origin_xy_px[1] + (top + y) * LR_STRIDE_PX) * prepared.lr_um_per_px,
                gate,
                height,
            )
            for x, y, height in peaks.tolist()
        )
        return [c for c in candidates if c.x_um < width_um and c.y_um < height_um]

    def _strongest(self, observations: list[Observation]) -> list[Observation]:
        most = self._choice.most_per_field
        if len(observations) <= most:
            return observations
        ranked = sorted(observations, key=lambda seen: order(seen.finding))
        shares = (seen.finding.hr_probability for seen in ranked)
        return ranked[: kept_of(shares, most)]

    def _confirm(
        self, prepared: Prepared, candidates: Sequence[_Candidate]
    ) -> list[Observation]:
        """Look at each candidate with the HR network."""
        field, cells = prepared.field, prepared.cells
        if not candidates or field.place is None or cells is None:
            return []
        crops = np.stack([self._crop(field, cells, c) for c in candidates])
        outputs = self._confirming.infer({"tiles": crops})
        side_um = self._hr.tile_px * self._hr.um_per_px
        return [
            Observation(
                Finding(
                    field.place.x_um + candidate.x_um,
                    field.place.y_um + candidate.y_um,
                    side_um,
                    side_um,
                    candidate.lr_probability,
                    float(outputs["probability"][i]),
                    field.seq,
                ),
                outputs["features"][i],
                crops[i],
                field.place.standard_error_um,
                field.sight.focus if field.sight else None,
            )
            for i, candidate in enumerate(candidates)
        ]

    def _crop(self, field: Field, cells: CellMask, candidate: _Candidate) -> Pixels:
        side_px = self._hr.tile_px
        source_px = round(side_px * self._hr.um_per_px / field.um_per_px)
        centre = candidate.x_um / field.um_per_px, candidate.y_um / field.um_per_px
        crop = cut_centred(field.pixels, centre, source_px, cells.background)
        return resample(crop, from_um_per_px=side_px, to_um_per_px=source_px)


def _refuse_whole(networks: Networks, choice: Choice) -> None:
    differs = networks.manifest.lr.whole_field_max_difference
    if choice.lr_mode != "whole" or (
        differs is not None and differs <= WHOLE_TOLERANCE
    ):
        return
    seen = "was not measured" if differs is None else f"is {differs:.2f}"
    raise EngineError(
        f'lr_mode = "whole": network set {networks.manifest.name} answers otherwise '
        f"than tile by tile (the difference {seen}, allowed is {WHOLE_TOLERANCE}); set "
        'lr_mode = "tiles" under [cascade] in the rig'
    )


def _report(
    prepared: Prepared,
    state: FieldState,
    cut: LrTiles | None = None,
    *,
    reason: str = "",
    lr_positive: int = 0,
    observations: Sequence[Observation] = (),
) -> FieldReport:
    field, cells = prepared.field, prepared.cells
    width_um, height_um = field.size_um
    return FieldReport(
        seq=field.seq,
        state=state,
        reason=reason,
        place=field.place,
        width_um=width_um,
        height_um=height_um,
        cell_share=cells.share if cells else 0.0,
        cells=pack_cells(cells) if cells else None,
        lr_tiles=len(cut.origins_px) if cut else 0,
        lr_positive=lr_positive,
        hr_tiles=len(observations),
        findings=tuple(seen.finding for seen in observations),
        sight=field.sight,
        areas_xywh_um=cut.areas_xywh_um if cut else None,
    )

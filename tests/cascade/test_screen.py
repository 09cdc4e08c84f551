"""The cascade around fake networks whose answers are known."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, cast

import cv2
import numpy as np
import pytest
from msgspec import structs
from scipy.special import logit

from armicro import verdict
from armicro.cascade.screen import Choice, Screen, SeveralViews, confirming
from armicro.engine import Array
from armicro.engine.manifest import (
    Familiar,
    HrTable,
    LrTable,
    Manifest,
    RnnTable,
    Tolerance,
)
from armicro.engine.registry import NetworkSet
from armicro.errors import EngineError
from armicro.field import Field, Place, Sight
from armicro.pipeline import Pipeline
from armicro.report import FieldReport, Observation

GLASS = (236, 238, 240)
LESION = (60, 30, 90)
MANIFEST = Manifest(
    name="fake",
    version="1",
    created="2026-01-01",
    files={},
    lr=LrTable(um_per_px=0.486, tile_px=512, whole_field_max_difference=0.0),
    hr=HrTable(um_per_px=0.243, tile_px=256),
    rnn=RnnTable(),
    tolerance=Tolerance(1, 1, 1, 1, 1),
)


@dataclass
class FakeLr:
    """Sees dark discs: the map is the share of dark pixels in each 32-pixel cell."""

    given: list[Array] = field(default_factory=list)

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        return [tiles.shape for tiles in self.given]

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        tiles = inputs["tiles"]
        self.given.append(tiles)
        count, height, width, _ = tiles.shape
        dark = (tiles[..., 0] < 100).reshape(count, height // 32, 32, width // 32, 32)
        heat = np.minimum(1.0, dark.mean(axis=(2, 4)) * 3).astype(np.float32)
        rows, columns = (1 + (n - 512) // 384 for n in (height, width))
        gates = np.zeros((count, rows, columns), np.float32)
        for row, column in np.ndindex(rows, columns):
            part = heat[:, row * 12 : row * 12 + 16, column * 12 : column * 12 + 16]
            gates[:, row, column] = part.max(axis=(1, 2))
        return {"probability": gates, "location": heat}

    def close(self) -> None:
        pass


@dataclass
class FakeHr:
    """Sure when the middle of its tile is dark."""

    tiles: list[Array] = field(default_factory=list)

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        tiles = inputs["tiles"]
        self.tiles.extend(tiles)
        share = (tiles[:, 96:160, 96:160, 0] < 100).mean(axis=(1, 2)).astype(np.float32)
        return {
            "probability": share,
            "features": np.repeat(share[:, None], 2048, axis=1),
        }

    def close(self) -> None:
        pass


@dataclass
class FakeRnn:
    calls: int = 0

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self.calls += 1
        tops = [inputs["features"][:, :k, 0].mean(axis=1) for k in (10, 20, 30)]
        return {"scores": np.stack([tops[i // 2] for i in range(6)], axis=1)}

    def close(self) -> None:
        pass


HERE = Place(1000.0, 2000.0, 0.1, "slide_file")


def networks() -> NetworkSet:
    return NetworkSet(
        MANIFEST, FakeLr(), FakeHr(), FakeRnn(), "recorded", "fp32", "0", ()
    )


def field_with(
    *discs_um: tuple[float, float],
    um_per_px: float = 0.25,
    size_um: tuple[float, float] = (612.0, 512.0),
    place: Place | None = HERE,
    seq: int = 0,
) -> Field:
    width, height = (round(n / um_per_px) for n in size_um)
    pixels = np.full((height, width, 3), GLASS, np.uint8)
    for x_um, y_um in discs_um:
        centre = (round(x_um / um_per_px), round(y_um / um_per_px))
        cv2.circle(pixels, centre, round(8.0 / um_per_px), LESION, cv2.FILLED)
    return Field(um_per_px, seq, 1, place, pixels=pixels)


def run(screen: Screen, seen: Field) -> tuple[FieldReport, list[Observation]]:
    return screen.analyse(screen.prepare(seen))


@dataclass
class SidedHr:
    """Sure of what it sees in a tile's first pixel, but for its colour."""

    given: list[int] = field(default_factory=list)

    def infer(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        first = inputs["tiles"][:, 0, 0, 0].astype(np.float32)
        self.given.append(len(first))
        return {"probability": first / 100, "features": first[:, None]}

    def close(self) -> None:
        pass


def test_what_may_be_a_lesion_is_looked_at_from_more_sides() -> None:
    hr, tiles = SidedHr(), np.full((3, 4, 4, 3), 90, np.uint8)
    tiles[:, 0, 0], tiles[:, -1, 0] = [[5] * 3, [50] * 3, [100] * 3], 90
    said = SeveralViews(hr, ("upside_down", "mirrored")).infer({"tiles": tiles})
    # What is surely none is looked at once; of the others the mean logit counts.
    assert hr.given == [3, 2, 2]
    assert said["probability"][0] == np.float32(0.05)
    odds = np.array([50 / 50, 90 / 10, 90 / 10])
    mean = odds.prod() ** (1 / 3)
    assert said["probability"][1] == pytest.approx(mean / (1 + mean), rel=1e-5)
    assert 0.9 < said["probability"][2] < 1.0
    assert said["features"][:, 0].tolist() == [5, 50, 100]


def test_a_set_says_how_its_hr_network_is_asked() -> None:
    plain = networks()
    assert confirming(plain) is plain.hr
    table = structs.replace(MANIFEST.hr, more_views=("grey",))
    several = replace(plain, manifest=structs.replace(MANIFEST, hr=table))
    report, _ = run(Screen(several, Choice()), field_with((306.0, 256.0)))
    hr = cast("FakeHr", several.hr)
    assert len(hr.tiles) > report.hr_tiles > 0


PLACES_UM = [(40.0, 40.0), (306.0, 256.0), (580.0, 480.0), (306.0, 310.0)]


@pytest.mark.parametrize("lr_mode", ["tiles", "whole"])
@pytest.mark.parametrize("um_per_px", [0.1, 0.18, 0.243, 0.25, 0.293, 0.486, 0.6])
def test_findings_lie_on_their_cells_at_every_scale(
    um_per_px: float, lr_mode: Literal["tiles", "whole"]
) -> None:
    screen = Screen(networks(), Choice(lr_mode=lr_mode, candidates="peaks"))
    report, observations = run(screen, field_with(*PLACES_UM, um_per_px=um_per_px))
    assert report.state == "analysed"
    found = [(s.finding.x_um - 1000, s.finding.y_um - 2000) for s in observations]
    assert len(found) == len(PLACES_UM)
    for place in PLACES_UM:
        nearest = min(np.hypot(*np.subtract(place, at)) for at in found)
        # A cell of the location map is 15.6 µm; its middle is at most this far.
        assert nearest < 8.0


def test_finding_in_several_tiles_is_one_candidate() -> None:
    screen = Screen(networks(), Choice())
    report, observations = run(screen, field_with((215.0, 190.0)))
    assert report.lr_positive > 1
    assert len(observations) == 1


def test_hr_tile_is_256_px_at_its_own_scale_centred_on_the_candidate() -> None:
    made = networks()
    ((seen,)) = run(Screen(made, Choice()), field_with((300.0, 250.0)))[1]
    assert seen.crop.shape == (256, 256, 3)
    assert seen.finding.width_um == pytest.approx(256 * 0.243)
    dark = np.argwhere(seen.crop[..., 0] < 100)
    # The disc is 16 µm wide: 66 pixels at 0.243 µm.
    assert np.ptp(dark[:, 0]) == pytest.approx(66, abs=3)
    offset_um = (dark.mean(axis=0)[::-1] - 127.5) * 0.243
    centre = np.array([seen.finding.x_um - 1000, seen.finding.y_um - 2000])
    assert np.allclose(centre + offset_um, (300.0, 250.0), atol=0.5)


def test_candidate_at_the_edge_is_padded_with_background() -> None:
    ((seen,)) = run(Screen(networks(), Choice()), field_with((4.0, 4.0)))[1]
    assert tuple(seen.crop[2, 2]) == GLASS


def test_field_smaller_than_a_tile_is_padded_with_its_background() -> None:
    made = networks()
    small = field_with((50.0, 50.0), size_um=(100.0, 90.0))
    run(Screen(made, Choice()), small)
    (tiles,) = cast(FakeLr, made.lr).given
    assert tiles.shape == (1, 512, 512, 3)
    assert tuple(tiles[0, -1, -1]) == GLASS


def test_blank_field_costs_no_inference() -> None:
    made = networks()
    report, observations = run(Screen(made, Choice()), field_with())
    assert report.state == "blank"
    assert observations == []
    assert cast(FakeLr, made.lr).shapes == []


def test_field_without_light_was_not_seen() -> None:
    dark = np.full((512, 612, 3), 6, np.uint8)
    pipeline = Pipeline(networks(), Choice())
    (report, _), _, score = pipeline.step(Field(0.5, 0, 1, HERE, pixels=dark))
    assert report.state == "unreadable"
    assert "lamp" in report.reason
    assert score.score is None
    assert score.fields_unreadable == 1
    assert score.megapixels == 0.0


def test_tiles_of_empty_glass_are_left_out() -> None:
    made = networks()
    report, _ = run(Screen(made, Choice()), field_with((40.0, 40.0)))
    assert report.lr_tiles == 1
    assert cast(FakeLr, made.lr).shapes == [(1, 512, 512, 3)]


def test_whole_mode_pads_to_whole_tiles() -> None:
    made = networks()
    run(Screen(made, Choice(lr_mode="whole")), field_with((40.0, 40.0)))
    assert cast(FakeLr, made.lr).shapes == [(1, 1280, 1280, 3)]


REFUSALS = [
    # field, state, word of the reason
    (field_with((50, 50), um_per_px=0.083), "bad_scale", "0.083"),
    (field_with((50, 50), um_per_px=0.7), "bad_scale", "0.7"),
    (field_with((50, 50), place=None), "no_place", "unknown"),
    (
        field_with((50, 50), place=Place(0, 0, 12.0, "stage_encoder")),
        "no_place",
        "12 µm",
    ),
    (
        field_with((50, 50), place=Place(0, 0, float("nan"), "stage_encoder")),
        "no_place",
        "nan",
    ),
    (
        structs.replace(field_with((50, 50)), sight=Sight(0.9, None, 7.4)),
        "moving",
        "moved 7.4 µm",
    ),
    (
        structs.replace(field_with((50, 50)), sight=Sight(0.31)),
        "out_of_focus",
        "sharpness 0.31 is below 0.50",
    ),
    (
        Field(
            0.25, 0, 1, None, "unreadable: tile 7", pixels=np.zeros((4, 4, 3), np.uint8)
        ),
        "unreadable",
        "tile 7",
    ),
]


@pytest.mark.parametrize(("seen", "state", "word"), REFUSALS)
def test_field_that_cannot_be_trusted_has_no_boxes_and_a_reason(
    seen: Field, state: str, word: str
) -> None:
    made = networks()
    report, observations = run(Screen(made, Choice()), seen)
    assert report.state == state
    assert word in report.reason
    assert observations == []
    assert report.findings == ()
    assert cast(FakeLr, made.lr).shapes == []


def test_hr_looks_at_every_candidate_and_only_then_is_a_field_limited() -> None:
    made = networks()
    report, observations = run(
        Screen(made, Choice(most_per_field=2)), field_with(*PLACES_UM)
    )
    # Nothing that HR calls suspicious is dropped for a limit.
    sure = [one for one in observations if one.finding.hr_probability >= 0.5]
    whole, everything = run(Screen(networks(), Choice()), field_with(*PLACES_UM))
    assert len(sure) == sum(one.finding.hr_probability >= 0.5 for one in everything)
    assert len(observations) == max(2, len(sure))
    assert report.hr_tiles == whole.hr_tiles == len(cast(FakeHr, made.hr).tiles)


def overlapping_fields(count: int) -> list[Field]:
    rng = np.random.default_rng(4)
    cells = rng.uniform((0, 0), (1500, 900), (60, 2))
    fields = []
    for seq in range(count):
        x, y = rng.uniform((0, 0), (900, 400))
        place = Place(float(x), float(y), 0.1, "slide_file")
        inside = [tuple(c) for c in cells - (x, y) if (c > 0).all() and (c < 600).all()]
        fields.append(field_with(*inside, place=place, seq=seq))
    return fields


@pytest.fixture
def few_cells_score(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handful of drawn cells is scored."""
    monkeypatch.setattr(verdict, "LEAST_CELL_UM2", 1.0)


@pytest.mark.usefixtures("few_cells_score")
def test_score_and_findings_are_functions_of_the_set_of_fields() -> None:
    fields = overlapping_fields(8)
    rng = np.random.default_rng(8)
    answers = []
    for order in (range(8), [*rng.permutation(8), *rng.integers(0, 8, 4)]):
        pipeline = Pipeline(networks(), Choice())
        for index in order:
            pipeline.step(fields[index])
        answers.append((pipeline.score(), pipeline.findings()))
    assert answers[0] == answers[1]
    assert answers[0][0].fields == 8
    assert answers[0][0].score is not None
    assert len(answers[0][1]) > 10


def test_slide_of_which_nothing_was_seen_has_no_score() -> None:
    pipeline = Pipeline(networks(), Choice())
    score = pipeline.step(field_with((50, 50), place=None)).score
    assert score.score is None
    assert score.fields == 1
    assert score.coverage == 0.0


@pytest.mark.parametrize(
    ("cells_um2", "withheld"),
    [
        (0.0, "no cells analysed"),
        (2_000.0, "< 0.01 mm² of cells analysed, a score needs 0.1 mm²"),
        (99_999.0, "0.09 mm² of cells analysed, a score needs 0.1 mm²"),
        (100_000.0, ""),
    ],
)
def test_score_is_withheld_below_a_hundred_cells(
    cells_um2: float, withheld: str
) -> None:
    assert verdict.why_withheld(cells_um2) == withheld


def test_few_cells_give_findings_and_the_reason_why_there_is_no_score() -> None:
    pipeline = Pipeline(networks(), Choice())
    score = pipeline.step(field_with(*PLACES_UM)).score
    assert (score.score, score.scores) == (None, {})
    assert score.findings > 0
    assert "a score needs 0.1 mm²" in score.withheld


@pytest.mark.usefixtures("few_cells_score")
def test_rnns_run_only_when_the_top_list_changes() -> None:
    made = networks()
    pipeline = Pipeline(made, Choice())
    seen = field_with((300, 300))
    for _ in range(5):
        pipeline.step(seen)
    assert cast(FakeRnn, made.rnn).calls == 1


def test_resumed_pipeline_knows_what_the_journal_kept() -> None:
    fields = overlapping_fields(6)
    whole, resumed = Pipeline(networks(), Choice()), Pipeline(networks(), Choice())
    for index, seen in enumerate(fields):
        account = whole.step(seen).account
        if index < 3:
            resumed.keep(*account)
    for seen in fields[3:]:
        resumed.step(seen)
    assert resumed.findings() == whole.findings()
    assert resumed.score() == whole.score()


@pytest.mark.usefixtures("few_cells_score")
@pytest.mark.parametrize(
    ("axes", "cells", "said"),
    [
        (0, 12, "look like none that the networks know"),
        (1, 12, ""),
        # Too few to say what the slide is.
        (0, 4, ""),
    ],
)
def test_a_slide_that_looks_like_none_that_the_networks_know_has_no_score(
    axes: int, cells: int, said: str
) -> None:
    # The 2,048 features of a finding of these networks are all the same number.
    plane = np.full((axes, 2048), 2048**-0.5, np.float32)
    known = Familiar(np.zeros(2048, np.float32), plane, 1.0, 5.0)
    pipeline = Pipeline(replace(networks(), familiar=known), Choice())
    places = [Place(5000.0 * seq, 0.0, 0.1, "slide_file") for seq in range(cells)]
    score = [
        pipeline.step(field_with((306.0, 256.0), place=place, seq=seq)).score
        for seq, place in enumerate(places)
    ][-1]
    assert said in score.withheld
    assert bool(score.withheld) == bool(said)
    assert (score.score is None) == bool(said)
    assert score.findings >= cells


@pytest.mark.usefixtures("few_cells_score")
def test_more_cells_take_from_the_score_what_chance_gives_them() -> None:
    table = RnnTable(size_slopes=(1.0,) * 6)
    made = replace(networks(), manifest=structs.replace(MANIFEST, rnn=table))
    plain, sized = Pipeline(networks(), Choice()), Pipeline(made, Choice())
    gaps = []
    for seq in range(3):
        place = Place(5000.0 * seq, 0.0, 0.1, "slide_file")
        seen = field_with((306.0, 256.0), place=place, seq=seq)
        one, other = plain.step(seen).score.score, sized.step(seen).score.score
        assert one is not None
        assert other is not None
        gaps.append(float(logit(one) - logit(other)))
    # One cell is far less than the square millimetre at which nothing is taken off.
    assert gaps[0] < 0
    assert gaps[0] < gaps[1] < gaps[2]


def test_slide_of_empty_glass_has_no_score() -> None:
    pipeline = Pipeline(networks(), Choice())
    (report, _), _, score = pipeline.step(field_with())
    assert report.state == "blank"
    assert score.score is None


@pytest.mark.parametrize(("differs", "said"), [(None, "not measured"), (0.71, "0.71")])
def test_whole_fields_are_refused_where_they_answer_otherwise(
    differs: float | None, said: str
) -> None:
    lr = LrTable(um_per_px=0.486, tile_px=512, whole_field_max_difference=differs)
    made = replace(networks(), manifest=structs.replace(MANIFEST, lr=lr))
    with pytest.raises(EngineError, match=said):
        Screen(made, Choice(lr_mode="whole"))


def test_blurred_field_is_refused_and_does_not_count_as_seen() -> None:
    sharp = field_with(*PLACES_UM)
    soft = np.asarray(cv2.GaussianBlur(sharp.pixels, (0, 0), 3.0 / 0.25), np.uint8)
    pipeline = Pipeline(networks(), Choice())
    (report, _), _, score = pipeline.step(structs.replace(sharp, pixels=soft))
    assert report.state == "out_of_focus"
    assert "fine focus" in report.reason
    assert score.coverage == 0.0
    (report, _), _, score = pipeline.step(structs.replace(sharp, seq=1))
    assert report.state == "analysed"
    assert score.coverage == 1.0

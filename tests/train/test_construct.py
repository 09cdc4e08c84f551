"""Constructed slides: what they hold, and the networks that are trained on them."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from armicro.errors import SourceError
from armicro.train import construct as construction
from armicro.train.construct import (
    Slides,
    SlideSettings,
    calibrate_rnn,
    construct_slide,
    construct_slides,
    fit_familiar,
    fit_rnn,
    logit_of,
)
from armicro.train.finds import MineSettings, Pool, even_chances, fit_head, join
from armicro.train.networks import Head

SETTINGS = SlideSettings(lesions=(3, 20), steps=12, batch=6, rate=3e-3)


@pytest.fixture(autouse=True)
def few_halvings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(construction, "HALVINGS", 4)


def pool_of(count: int, seed: int = 0, *, shift: float = 2.0) -> Pool:
    """Two finds a field, every third one a lesion that looks different."""
    rng = np.random.default_rng(seed)
    lesion = np.arange(count) % 3 == 0
    features = rng.normal(1, 0.3, (count, 16)).astype(np.float32)
    features[lesion, :4] += shift
    spot = np.arange(count) // 2
    xy_um = np.column_stack([np.arange(count) % 2 * 300.0, np.zeros(count)])
    chance = np.where(lesion, 0.9, 0.2).astype(np.float32)
    group = np.full(count, "lab/0")
    area = np.full(count, 0.1)
    return Pool(lesion, group, spot, spot, xy_um, area, features, chance)


def test_the_rnns_tell_slides_of_unseen_fields_apart_at_one_half() -> None:
    network = fit_rnn(pool_of(200), SETTINGS)
    figures = calibrate_rnn(network, pool_of(120, 1), 60, SETTINGS)
    assert figures["constructed_slides"] == 2 * 60 * construction.HALVINGS
    assert figures["constructed_auc"] > 0.95
    assert figures["constructed_sensitivity"] > 0.9
    assert figures["constructed_specificity"] > 0.9
    # What the figures promise is what the network that is shipped does.
    slides = construct_slides(pool_of(120, 2), 2, SETTINGS, np.random.default_rng(9))
    scores = network(torch.from_numpy(slides.features)).detach().mean(dim=1)
    assert (scores >= 0.5).tolist() == slides.positive.tolist() == [True, False]
    assert figures["constructed_auc_top5"] > 0.95
    assert slides.plain[0] > slides.plain[1]


def test_calibration_moves_one_half_to_where_unseen_slides_part() -> None:
    network = fit_rnn(pool_of(200), SETTINGS)
    # Another laboratory, whose normal cells look half like lesions.
    other = pool_of(120, 1)
    other.features[~other.lesion, :4] += 1.0
    figures = calibrate_rnn(network, other, 60, SETTINGS)
    assert figures["constructed_sensitivity"] > 0.85
    assert figures["constructed_specificity"] > 0.85
    assert (network.offset.numpy() < 0).all()


def test_a_slide_holds_no_find_within_200_um_of_a_higher_one_of_its_field() -> None:
    pool = pool_of(40)
    near = replace(pool, xy_um=pool.xy_um / 3)
    rng = np.random.default_rng(0)
    settings = replace(SETTINGS, fewest_spots=20)
    shown = [
        construct_slide(one, "lab/0", positive=False, settings=settings, rng=rng)[0]
        for one in (pool, near)
    ]
    # 26 normal cells in 20 fields; those that share one lie 300 or 100 um apart.
    assert [len(rows) for rows in shown] == [26, 20]


def test_slides_need_lesions_and_normal_cells_of_one_laboratory() -> None:
    pool = pool_of(30)
    with pytest.raises(SourceError, match="both lesions and normal"):
        fit_rnn(pool.part(pool.lesion), SETTINGS)


def test_joined_pools_keep_their_fields_apart() -> None:
    both = join([pool_of(6), pool_of(4)])
    assert both.spot.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert both.picture.tolist() == both.spot.tolist()


def test_a_field_lies_in_one_half_with_all_its_stains(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = pool_of(40)
    pool = replace(pool, picture=pool.spot % 10)
    halves: list[set[int]] = []

    def construct(
        part: Pool, count: int, settings: SlideSettings, rng: np.random.Generator
    ) -> Slides:
        halves.append(set(part.picture.tolist()))
        return construct_slides(part, count, settings, rng)

    monkeypatch.setattr(construction, "construct_slides", construct)
    calibrate_rnn(fit_rnn(pool, SETTINGS), pool, 8, SETTINGS)
    one, other = halves[-2:]
    assert one
    assert not one & other
    assert len(one | other) == 10


def test_figures_are_of_halves_and_their_intervals_of_how_halves_differ() -> None:
    # Lesions of some fields are told apart, those of others are not.
    pool, dull = pool_of(120, 1), pool_of(120, 1, shift=0.0)
    pool.features[60:] = dull.features[60:]
    network = fit_rnn(pool_of(200), SETTINGS)
    figures = calibrate_rnn(network, pool, 30, SETTINGS)
    for name in ("auc", "auc_top5", "auc_over_top5", "sensitivity", "specificity"):
        low, middle, high = (
            figures[f"constructed_{name}{end}"] for end in ("_low", "", "_high")
        )
        assert low <= middle <= high
    same = calibrate_rnn(network, pool_of(120, 1), 30, SETTINGS)
    widths = [
        one["constructed_auc_high"] - one["constructed_auc_low"]
        for one in (figures, same)
    ]
    assert widths[0] > widths[1]
    # The plain score knows every lesion of this pool, whatever its features.
    assert figures["constructed_auc_top5"] == 1.0
    assert figures["constructed_auc_over_top5"] < 0


def test_fields_of_which_one_alone_shows_lesions_cannot_be_halved() -> None:
    pool = pool_of(40)
    single = pool.part(~pool.lesion | (pool.spot == 0))
    network = fit_rnn(pool, SETTINGS)
    with pytest.raises(SourceError, match="cannot be halved"):
        calibrate_rnn(network, single, 8, SETTINGS)


def test_a_mined_head_learns_the_finds_and_keeps_the_cells() -> None:
    torch.manual_seed(0)
    head = Head(16)
    cells = pool_of(200)
    # What LR hands over: normal finds with a look that no annotated cell has.
    finds = pool_of(200, 3)
    finds.features[~finds.lesion, 8:12] += 2.0
    finds.features[~finds.lesion, :4] += 1.5
    settings = MineSettings(steps=150, rate=5e-3, noise=0.02)
    fit_head(head, finds, cells, settings)
    for pool in (finds, cells):
        with torch.no_grad():
            shown = torch.from_numpy(pool.features)[:, :, None, None]
            called = head(shown)[:, 0, 0].numpy() > 0
        assert (called == pool.lesion).mean() > 0.95


def test_each_class_and_source_gets_its_share_of_the_draws() -> None:
    pool = pool_of(30)
    group = np.where(np.arange(30) < 24, "one/0", "two/1")
    chance = even_chances(replace(pool, group=group), {"one": 1.0, "two": 3.0})
    assert chance.sum() == pytest.approx(1.0)
    assert chance[pool.lesion].sum() == pytest.approx(0.5)
    two = chance[group == "two/1"]
    assert two.sum() == pytest.approx(0.75)


def test_logits_of_certain_finds_are_finite() -> None:
    assert np.isfinite(logit_of(np.array([0.0, 1.0], np.float32))).all()


def test_a_laboratory_is_let_pass_and_what_lies_farther_is_not() -> None:
    rng = np.random.default_rng(0)
    laboratory = np.repeat(list("abcd"), 80)
    lesion = np.arange(320) % 2 == 0
    features = rng.normal(0, 0.3, (320, 64)).astype(np.float32)
    for number, name in enumerate("abcd"):
        # Each has a look of its own beside what lesions have in common.
        features[laboratory == name, 40 + number] += 2.0
    features[lesion, :4] += 3.0
    known = fit_familiar(features, laboratory, lesion, left_out="abcd")
    assert known is not None
    assert known.distance(features) == pytest.approx(1.0)
    few = slice(0, 100)
    left_out = "abcd"
    assert (
        fit_familiar(features[few], laboratory[few], lesion[few], left_out=left_out)
        is None
    )
    fifth = rng.normal(0, 0.3, (30, 64)).astype(np.float32)
    fifth[:, 50] += 2.0
    tissue = fifth.copy()
    tissue[:, 51:60] += 2.0
    assert known.distance(fifth) < known.farthest * 1.1
    assert known.distance(tissue) > 2 * known.farthest

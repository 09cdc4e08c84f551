"""A set learns a laboratory: labels, the fit, its refusals, and the set written."""

import json
import tomllib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import onnx
import pytest

from armicro.__main__ import main
from armicro.engine.manifest import sha256_of
from armicro.engine.registry import open_set, read_set
from armicro.errors import EngineError, SourceError
from armicro.metrics import auc
from armicro.report import FieldReport, Finding, Observation
from armicro.session.record import SlideCard
from armicro.slide.decision import Category, Decision, Verdict, standing
from armicro.slide.journal import Journal
from armicro.slide.track import FindingSet
from armicro.train.construct import logit_of
from armicro.train.correction import (
    DecidedCells,
    auc_within,
    choose,
    compare,
    fit_corrections,
    folds_of,
    held_out,
    require_enough,
    require_help,
)
from armicro.train.export import correct_logit
from armicro.train.site import NORMALS_BOXED, _Slide, label_cells

FEATURES = 2048


def draw_cells(
    count: int, *, off: float = 0.0, told: float = 0.0, groups: int = 12, seed: int = 1
) -> DecidedCells:
    """Cells, a third of them lesions, whose true logit is the old one less ``off``.

    ``told`` is how far every tenth feature parts the classes, beside the logit.
    """
    rng = np.random.default_rng(seed)
    lesion = np.arange(count) % 3 == 0
    seen = rng.normal(np.where(lesion, 1.0, -1.0), 1.0)
    features = rng.normal(5.0, 1.0, (count, FEATURES)).astype(np.float32)
    features[:, ::10] += np.where(lesion, told, -told)[:, None]
    # Even classes, a lesion as dear as four normals: the odds are four times e^2x.
    logit = 2 * seen + np.log(4) + off
    group = np.array([f"field{number // 3 % groups}" for number in range(count)])
    return DecidedCells(logit, features, lesion, group)


# ---------------------------------------------------------------------------
# The fit.


@pytest.mark.parametrize("off", [-3.0, 0.0, 2.0])
def test_a_known_shift_is_found_again(off: float) -> None:
    (plain,) = fit_corrections(draw_cells(900, off=off), [0.0])
    assert plain.gain == pytest.approx(1.0, abs=0.15)
    assert plain.offset == pytest.approx(-off, abs=0.35)
    assert not plain.weight.any()


def test_boxes_alone_do_not_shift_a_set_that_is_right() -> None:
    cells = draw_cells(6000)
    boxed = cells.logit >= 0
    ratio = boxed[~cells.lesion].mean() / boxed[cells.lesion].mean()
    shown = cells.take(boxed)
    naive, known = (
        fit_corrections(
            DecidedCells(
                shown.logit, shown.features[:, :4], shown.lesion, shown.group, seen
            ),
            [0.0],
        )[0]
        for seen in (1.0, float(ratio))
    )
    at_half = np.zeros(1), np.full((1, 4), 5.0, np.float32)
    assert known.logits(*at_half)[0] == pytest.approx(0.0, abs=0.25)
    assert naive.logits(*at_half)[0] < -0.6


def test_what_the_features_tell_is_learned() -> None:
    cells = draw_cells(240, told=0.3)
    assert choose(cells).spread > 0
    figures = compare(cells, held_out(cells))
    assert figures["auc_gain_low"] > 0
    assert figures["false_at_old_recall_new"] < figures["false_at_old_recall_old"]
    require_help(figures)


def test_features_that_tell_nothing_are_left_alone() -> None:
    correction, unseen = choose(draw_cells(240)), draw_cells(600, seed=2)
    new = correction.logits(unseen.logit, unseen.features)
    assert auc(new, unseen.lesion) > auc(unseen.logit, unseen.lesion) - 0.01


def test_groups_stay_whole_and_each_fold_sees_lesions() -> None:
    cells = draw_cells(120)
    fold = folds_of(cells)
    for name in np.unique(cells.group):
        assert len(set(fold[cells.group == name])) == 1
    assert set(fold[cells.lesion]) == set(range(5))


def test_pairs_count_within_a_fold() -> None:
    lesion = np.array([True, False, True, False])
    logit, fold = np.array([1.0, 0.0, 11.0, 10.0]), np.array([0, 0, 1, 1])
    assert auc_within(logit, lesion, fold) == 1.0
    assert np.isnan(auc_within(logit[:1], lesion[:1], fold[:1]))


def test_features_that_never_differ_do_no_harm() -> None:
    cells = draw_cells(60, off=2.0)
    blank = DecidedCells(
        cells.logit, np.zeros((60, FEATURES), np.float32), cells.lesion, cells.group
    )
    assert np.isfinite(held_out(blank)).all()


FEW = [
    (draw_cells(27), "27 cells, expected 30"),
    (draw_cells(300).take(np.arange(300) % 3 != 0), "0 of them lesion, expected 8"),
    (draw_cells(300).take(np.arange(300) % 3 == 0), "0 of them normal, expected 8"),
    (draw_cells(60, groups=3), "3 fields, expected 5"),
]


@pytest.mark.parametrize(("cells", "said"), FEW)
def test_too_little_is_refused(cells: DecidedCells, said: str) -> None:
    with pytest.raises(SourceError, match=said):
        require_enough(cells, "fields")


def test_lesions_of_one_field_cannot_be_held_out() -> None:
    cells = draw_cells(90)
    group = np.where(cells.lesion, "field0", cells.group)
    one = DecidedCells(cells.logit, cells.features, cells.lesion, group)
    with pytest.raises(SourceError, match="the lesion ones from 1 of the fields"):
        require_enough(one, "fields")


@pytest.mark.parametrize("count", [36, 90])
def test_a_set_that_is_right_is_not_corrected(count: int) -> None:
    cells = draw_cells(count)
    with pytest.raises(SourceError, match=r"nothing was written: .* log loss 0"):
        require_help(compare(cells, held_out(cells)))


def test_a_fold_without_which_a_class_is_missing_keeps_its_logits() -> None:
    lesion = np.arange(60) < 50
    group = np.array([f"f{i // 12}" for i in range(50)] + ["a"] * 9 + ["b"])
    cells = draw_cells(60)
    odd = DecidedCells(cells.logit, cells.features, lesion, group)
    fold = folds_of(odd)
    (only,) = set(fold[~lesion])
    new = held_out(odd)
    assert (new[fold == only] == odd.logit[fold == only]).all()
    assert (new[fold != only] != odd.logit[fold != only]).all()


# ---------------------------------------------------------------------------
# Labels.


class Said(NamedTuple):
    """What a reader says of a cell."""

    verdict: Verdict
    reader: str = "ada"
    category: Category = ""
    undoes: int = 0
    away_um: float = 0.0


LABELS: dict[str, tuple[list[Said], bool | str]] = {
    "accepted": ([Said("accept")], True),
    "rejected": ([Said("reject")], False),
    "NILM outdoes a verdict": ([Said("accept", category="NILM")], False),
    "any other category is a lesion": ([Said("accept", category="ASC-US")], True),
    "the newest word counts": ([Said("accept"), Said("reject")], False),
    "two agree": ([Said("accept"), Said("accept", "bob")], True),
    "two disagree": ([Said("accept"), Said("reject", "bob")], "readers_disagree"),
    "unsure": ([Said("unsure")], "unsure"),
    "one is unsure": ([Said("unsure"), Said("reject", "bob")], False),
    "taken back": ([Said("accept"), Said("undo", undoes=1)], ""),
    "taken back to": (
        [Said("reject"), Said("accept"), Said("undo", undoes=2)],
        False,
    ),
    "near enough": ([Said("accept", away_um=8.0)], True),
    "marked elsewhere": ([Said("accept", away_um=40.0)], "not_found_by_the_machine"),
}


def observe(place: int, probability: float, features: np.ndarray) -> Observation:
    finding = Finding(
        100.0 + 60 * (place % 8),
        100.0 + 600 * (place // 8),
        62.2,
        62.2,
        0.9,
        probability,
        place // 8,
    )
    return Observation(finding, features, np.full((8, 8, 3), 200, np.uint8))


def decide(number: int, said: Said, finding: Finding) -> Decision:
    return Decision(
        at="2026-01-01T09:00:00+00:00", reader=said.reader, number=number,
        x_um=finding.x_um + said.away_um, y_um=finding.y_um, verdict=said.verdict,
        category=said.category, undoes=said.undoes, hr_probability=0.9,
    )  # fmt: skip


@pytest.mark.parametrize("case", LABELS)
def test_labels_are_what_readers_say(case: str) -> None:
    words, wanted = LABELS[case]
    seen = observe(0, 0.9, np.ones(FEATURES, np.float32))
    said = [decide(i, one, seen.finding) for i, one in enumerate(words, start=1)]
    found = FindingSet(merge_um=18.0)
    found.update([seen])
    left_out: Counter[str] = Counter()
    slide = _Slide(found, list(standing(said)))
    labels = [label.lesion for label in label_cells("a", slide, left_out)]
    assert labels == ([wanted] if isinstance(wanted, bool) else [])
    assert left_out == (Counter([wanted]) if wanted and not labels else Counter())


def write_session(
    folder: Path,
    digest: str,
    *,
    seed: int = 0,
    told: float = 0.3,
    readers: Sequence[str] = ("ada",),
    sha256: str = "",
) -> Path:
    """A session of 120 findings, of which a third are lesions and all are decided."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    with Journal(folder / "session.sqlite") as journal:
        journal.set("engine", {"set": "tiny", "hash": digest})
        journal.set("slide", SlideCard(name=folder.name, sha256=sha256))
        for seq in range(15):
            seen = []
            for place in range(8 * seq, 8 * seq + 8):
                features = rng.normal(5, 1, FEATURES).astype(np.float32)
                features[::10] += told if place % 3 == 0 else -told
                seen.append(observe(place, float(rng.uniform(0.5, 0.95)), features))
            findings = tuple(one.finding for one in seen)
            report = FieldReport(seq=seq, state="analysed", findings=findings)
            journal.write(report, seen, {"taken": seq})
            for number, one in enumerate(findings):
                lesion = (8 * seq + number) % 3 == 0
                for reader in readers:
                    word = Said("accept" if lesion else "reject", reader)
                    journal.decide(decide(0, word, one))
        odd = observe(1, 0.7, np.zeros(FEATURES, np.float32)).finding
        journal.decide(decide(0, Said("accept", "eve"), odd))
        journal.decide(decide(0, Said("unsure", away_um=2000.0), odd))
    return folder


# ---------------------------------------------------------------------------
# The command.


@pytest.fixture(scope="module")
def session(tiny_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    digest = sha256_of((tiny_set / "manifest.toml").read_bytes())
    return write_session(tmp_path_factory.mktemp("lab") / "slide", digest)


@pytest.fixture(scope="module")
def learned(
    session: Path, tiny_set: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("sets") / "our-lab"
    given = ["train", "site", str(session), "--engines", str(tiny_set), "--by", "Dr. A"]
    assert main([*given, "--out", str(out), "--threads", "1"]) == 0
    return out


def test_a_set_learns_from_a_session(learned: Path, tiny_set: Path) -> None:
    manifest = tomllib.loads((learned / "manifest.toml").read_text())
    site = manifest["training"]["site"]
    assert manifest["name"] == "tiny-site"
    assert manifest["metrics"] == {"base": {"none": "made by hand"}}
    assert site["base_sha256"] == read_set(tiny_set).sha256
    assert (site["cells"], site["lesions"], site["readers"]) == (119, 40, 2)
    assert (site["sessions"], site["groups"]) == (1, 30)
    assert site["left_out"] == {"readers_disagree": 1, "not_found_by_the_machine": 1}
    assert site["normals_seen"] == NORMALS_BOXED
    assert site["signed_off_by"] == "Dr. A"
    held = site["held_out"]
    assert held["auc_new"] > held["auc_old"] + 0.2
    assert held["log_loss_gain_low"] > 0
    assert main(["engine", "check", str(learned)]) == 0
    old, new = read_set(tiny_set), read_set(learned)
    changed = {k for k in old.contents if old.contents[k] != new.contents[k]}
    assert changed == {"hr.onnx", "golden.npz"}


def test_the_new_set_says_the_new_probability(
    session: Path, learned: Path, tiny_set: Path
) -> None:
    tiles = np.random.default_rng(3).integers(0, 255, (3, 256, 256, 3), np.uint8)
    with open_set(tiny_set, threads=1) as old, open_set(learned, threads=1) as new:
        before, after = (each.hr.infer({"tiles": tiles}) for each in (old, new))
    np.testing.assert_allclose(before["features"], after["features"], atol=1e-5)
    site = tomllib.loads((learned / "manifest.toml").read_text())["training"]["site"]
    graph = onnx.load(learned / "hr.onnx").graph
    held = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
    assert float(held["site0.gain"]) == pytest.approx(site["gain"], abs=1e-5)
    logit = (
        held["site0.gain"] * logit_of(before["probability"])
        + held["site0.offset"]
        + (before["features"] - held["site0.centre"]) @ held["site0.weight"][:, 0]
    )
    wanted = 1 / (1 + np.exp(-logit))
    np.testing.assert_allclose(after["probability"], wanted, atol=2e-3)


def test_a_set_that_has_learned_learns_again(learned: Path, tmp_path: Path) -> None:
    digest = read_set(learned).sha256
    slides = [write_session(tmp_path / f"s{n}", digest, seed=n) for n in range(5)]
    out = tmp_path / "again"
    given = ["train", "site", *map(str, slides), "--engines", str(learned)]
    assert main([*given, "--out", str(out), "--threads", "1"]) == 0
    manifest = tomllib.loads((out / "manifest.toml").read_text())
    site = manifest["training"]["site"]
    assert manifest["name"] == "tiny-site"
    assert (site["groups"], site["groups_are"]) == (5, "slides")
    assert site["before"]["signed_off_by"] == "Dr. A"
    assert site["signed_off_by"] == "nobody"


def test_a_slide_read_twice_is_one(
    tiny_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = read_set(tiny_set).sha256
    twice = [
        write_session(tmp_path / name, digest, readers=[name], sha256="ab" * 32)
        for name in ("bob", "carl")
    ]
    given = ["train", "site", *map(str, twice), "--engines", str(tiny_set), "--json"]
    assert main([*given, "--out", str(tmp_path / "set"), "--threads", "1"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["sessions"], told["slides"], told["readers"]) == (2, 1, 4)
    assert told["cells"] == 119


def write_crops(folder: Path, count: int = 45) -> Path:
    """Crops whose nuclei this laboratory calls lesions only where they are small."""
    folder.mkdir()
    rows = ["file,abnormal,case_id"]
    for number in range(count):
        picture = np.full((200, 200, 3), (236, 238, 240), np.uint8)
        radius = 8 if number % 3 == 0 else 24
        cv2.circle(picture, (100, 100), radius, (62, 48, 96 + number), -1)
        cv2.imwrite(str(folder / f"{number}.png"), picture[..., ::-1])
        rows.append(f"{number}.png,{int(number % 3 == 0)},case{number % 9}")
    (folder / "cells.csv").write_text("\n".join(rows))
    return folder / "cells.csv"


def test_a_set_learns_from_labelled_crops(tiny_set: Path, tmp_path: Path) -> None:
    table, out = write_crops(tmp_path / "crops"), tmp_path / "set"
    given = ["train", "site", str(table), "--engines", str(tiny_set), "--threads", "1"]
    assert main([*given, "--um-per-px", "0.25", "--out", str(out)]) == 0
    site = tomllib.loads((out / "manifest.toml").read_text())["training"]["site"]
    assert (site["crops"], site["cells"], site["groups"]) == (45, 45, 9)
    assert site["normals_seen"] == 1.0


def other_session(folder: Path, session: Path) -> list[str]:
    return [str(write_session(folder / "other", "sha256:" + "0" * 64))]


def blind_session(folder: Path, session: Path) -> list[str]:
    digest = _digest_of(session)
    return [str(write_session(folder / "blind", digest, told=0.0))]


def _digest_of(session: Path) -> str:
    with Journal(session / "session.sqlite") as journal:
        return str((journal.get("engine", dict[str, Any]) or {})["hash"])


def full_folder(folder: Path, session: Path) -> list[str]:
    (folder / "set").mkdir()
    (folder / "set" / "mine.txt").write_text("keep")
    return [str(session)]


def silent_session(folder: Path, session: Path) -> list[str]:
    digest, silent = _digest_of(session), folder / "silent"
    write_session(silent, digest, readers=())
    return [str(silent)]


REFUSED = {
    "two words in all": (silent_session, "1 cells, expected 30"),
    "what is left out is told": (
        silent_session,
        "left out: 1 not found by the machine",
    ),
    "decided on what another set said": (other_session, "whose answers are not those"),
    "features that tell nothing": (blind_session, "does not surely help"),
    "a folder that holds something": (full_folder, "is there already"),
    "no session": (lambda folder, _: [str(folder / "none")], "no journal there"),
    "a table without its scale": (
        lambda folder, _: [str(write_crops(folder / "crops"))],
        "give --um-per-px",
    ),
    "a table beside a session": (
        lambda folder, session: [str(session), str(write_crops(folder / "crops"))],
        "one table of 2 things",
    ),
    "too few crops": (
        lambda folder, _: [
            *(str(write_crops(folder / "crops", 12)), "--um-per-px", "0.25")
        ],
        "12 cells, expected 30",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_teaches_nothing_is_refused_in_one_line(
    case: str,
    session: Path,
    tiny_set: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make, said = REFUSED[case]
    given = ["train", "site", *make(tmp_path, session), "--engines", str(tiny_set)]
    assert main([*given, "--out", str(tmp_path / "set"), "--threads", "1"]) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert said in told
    assert not (tmp_path / "set" / "manifest.toml").exists()


def test_a_network_that_ends_otherwise_is_refused(tiny_set: Path) -> None:
    model = onnx.load(tiny_set / "hr.onnx")
    model.graph.node.append(onnx.helper.make_node("Clip", ["probability"], ["clipped"]))
    model.graph.output[0].name = "clipped"
    for node in model.graph.node:
        for names in (node.input, node.output):
            for place, name in enumerate(names):
                names[place] = {"probability": "x", "clipped": "probability"}.get(
                    name, name
                )
    model.graph.output[0].name = "probability"
    blank = np.zeros(FEATURES)
    with pytest.raises(EngineError, match="comes of Clip, expected a Sigmoid"):
        correct_logit(model, gain=1.0, offset=0.0, weight=blank, centre=blank)

"""The report opens offline, tells the truth about a session and trusts no name."""

import base64
import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pytest

from armicro.report import FieldReport
from armicro.session.page import CROP_BYTES, render_page
from armicro.session.record import SlideCard, read_session
from armicro.slide.journal import Journal
from armicro.slide.track import encode_crop

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects tags and text, and fails on tags that do not nest."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(source)
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    def all(self, tag: str, style: str = "") -> list[dict[str, str | None]]:
        return [a for t, a in self.tags if t == tag and style in (a.get("class") or "")]


def page_of(journal: Journal) -> Page:
    return Page(render_page(read_session(journal)))


def test_the_page_needs_nothing_from_outside(finished: Journal) -> None:
    page = page_of(finished)
    references = [
        value
        for _, attributes in page.tags
        for name, value in attributes.items()
        if name in ("src", "href", "xlink:href", "srcset", "action")
    ]
    assert len(references) > 3
    assert all(v and v.startswith(("data:image/", "#")) for v in references)
    assert not page.all("script")
    assert not re.search(r"url\((?!#)", render_page(read_session(finished)))


def test_hostile_names_stay_text(finished: Journal) -> None:
    page = page_of(finished)
    assert "<script>alert('name')</script>" in page.text
    assert "infer came <b>back</b>" in page.text
    assert "slide & co.svs" in page.text


def test_the_page_says_research_use_only(finished: Journal) -> None:
    assert page_of(finished).text.count("Research use only – not a diagnostic") == 2


def test_a_whole_session_shows_its_score_without_doubt(finished: Journal) -> None:
    text = page_of(finished).text
    assert "Slide score 0.650 0 1" in text
    assert "so far" not in text
    assert "not finished" not in text
    assert "1 field could not be read" in text


def test_a_score_over_part_of_the_slide_is_called_so_far(finished: Journal) -> None:
    score = read_session(finished).score
    finished.set("score", {**msgspec.structs.asdict(score), "coverage": 0.4})
    text = page_of(finished).text
    assert "0.650 so far" in text
    assert "40 % of the cell area analysed; too little analysed: not a result." in text


def test_a_crashed_session_says_that_it_is_not_finished(journal: Journal) -> None:
    text = page_of(journal).text
    assert "Session not finished" in text
    assert "No score: no field has been analysed" in text


def test_missing_fields_are_told(finished: Journal) -> None:
    finished.set("slide", SlideCard(name="s", fields_planned=9))
    assert "3 of 9 planned fields were not read." in page_of(finished).text


def test_the_gallery_shows_the_top_list_in_order(finished: Journal) -> None:
    page = page_of(finished)
    assert [a["id"] for a in page.all("figure")] == [
        "finding-1", "finding-2", "finding-3",
    ]  # fmt: skip
    assert re.search(r"> 0\.999 LR 0\.800 .* 0\.750 LR 0\.800 .* 0\.200 LR", page.text)
    session = read_session(finished)
    shown = [a["src"] or "" for a in page.all("img")]
    kept = [base64.b64decode(source.partition(",")[2]) for source in shown]
    assert kept == list(session.crops)


def test_large_crops_are_made_smaller(finished: Journal) -> None:
    session = read_session(finished)
    noise = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    jpeg = encode_crop(noise)
    assert len(jpeg) > CROP_BYTES
    heavy = dataclasses.replace(session, crops=(jpeg,) * 3)
    page = Page(render_page(heavy))
    sizes = [len(a["src"] or "") * 3 / 4 for a in page.all("img")]
    assert max(sizes) < 0.6 * len(jpeg)


def test_the_map_shows_fields_and_findings_in_place(finished: Journal) -> None:
    page = page_of(finished)
    # The slide is 1800 × 1200 µm and drawn 900 wide: two µm a unit.
    tops = page.all("circle", "top")
    assert [(a["cx"], a["cy"]) for a in tops] == [
        ("450.0", "450.0"), ("297.5", "151.0"), ("50.0", "150.0"),
    ]  # fmt: skip
    (other,) = page.all("circle", "finding high")
    assert (other["cx"], other["cy"]) == ("330.0", "155.0")
    (hatched,) = page.all("path", "hatched")
    assert hatched["d"] == (
        "M0.0 300.0h300.0v300.0h-300.0zM600.0 300.0h300.0v300.0h-300.0z"
    )
    assert len(page.all("image")) == 1
    assert len(page.all("path", "outline")) == 1


def test_a_cameras_overlapping_fields_are_not_outlined(finished: Journal) -> None:
    finished.set("slide", SlideCard(name="live"))
    assert not page_of(finished).all("path", "outline")


def test_without_places_there_is_no_map_and_it_is_told(tmp_path: Path) -> None:
    with Journal(tmp_path / "session.sqlite") as journal:
        journal.write(FieldReport(0, "no_place", "no place known"), [], {})
        text = page_of(journal).text
    assert "No map: neither an overview nor the place of any field is known" in text
    assert "No times were kept" in text


def test_a_broken_overview_costs_the_picture_only(finished: Journal) -> None:
    finished.set("overview", {"png": "AAAA", "um_per_px": 20.0})
    page = page_of(finished)
    assert not page.all("image")
    assert len(page.all("circle", "top")) == 3


def test_provenance_names_networks_rig_and_versions(finished: Journal) -> None:
    text = page_of(finished).text
    for words in ("set test-net", "hash abc", "name bench", "armicro, run 0.0.7",
                  "inside the networks 12.0 s (30 % of wall time)", "0.5 Mpx/s",
                  "Dropped before analysis 3", "reason of blank 1"):  # fmt: skip
        assert words in text


def test_latency_gives_median_and_95th_percentile(finished: Journal) -> None:
    # 10, 20, ... 60 ms: median 35, 95th percentile 57.5.
    assert "taken received 6 35.0 ms 57.5 ms" in page_of(finished).text


@pytest.mark.parametrize(("share", "said"), [(0.0, "< 0.001"), (1.0, "> 0.999")])
def test_no_score_claims_certainty(finished: Journal, share: float, said: str) -> None:
    finished.set("score", {"score": share, "scores": {"10": [share, share]}})
    assert f"Slide score {said}" in page_of(finished).text

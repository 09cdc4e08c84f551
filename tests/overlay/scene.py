"""Synthetic fields and slide states with known answers."""

from collections.abc import Sequence

import numpy as np

from armicro.field import Overview, Pixels, Place
from armicro.overlay.snapshot import LiveField, SlideState, Snapshot
from armicro.overlay.view import Cut, cut_out
from armicro.report import Finding, SlideScore

SECOND_NS = 1_000_000_000
SIX = {"10": (0.11, 0.13), "20": (0.12, 0.12), "30": (0.10, 0.14)}


def pixels_of(width_px: int, height_px: int) -> Pixels:
    """Red grows to the right, green downwards, blue is 128."""
    pixels = np.full((height_px, width_px, 3), 128, np.uint8)
    pixels[..., 0] = np.linspace(0, 255, width_px)[None, :]
    pixels[..., 1] = np.linspace(0, 255, height_px)[:, None]
    return pixels


class Slot:
    """A ring's slot: its pixels can be overwritten."""

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels
        self.overwritten = False
        self.cuts: list[Cut] = []

    def render(self, cut: Cut) -> Pixels | None:
        self.cuts.append(cut)
        return None if self.overwritten else cut_out(self.pixels, cut)


def place_at(x_um: float, y_um: float, standard_error_um: float = 0.3) -> Place:
    return Place(x_um, y_um, standard_error_um, "slide_file")


def field_at(
    place: Place | None,
    *,
    seq: int = 0,
    um_per_px: float = 0.25,
    size_px: tuple[int, int] = (400, 300),
    slot: Slot | None = None,
) -> LiveField:
    slot = slot or Slot(pixels_of(*size_px))
    return LiveField(
        seq=seq,
        taken_ns=SECOND_NS,
        um_per_px=um_per_px,
        width_px=size_px[0],
        height_px=size_px[1],
        render=slot.render,
        place=place,
    )


def finding_at(x_um: float, y_um: float, probability: float = 0.9) -> Finding:
    return Finding(x_um, y_um, 10.0, 8.0, 0.9, probability, 0)


def slide_with(
    findings: Sequence[Finding] = (),
    *,
    score: float | None = 0.12,
    coverage: float = 0.95,
    heard_ns: int = SECOND_NS,
    problem: str = "",
) -> SlideState:
    return SlideState(
        name="slide-7",
        heard_ns=heard_ns,
        score=SlideScore(score, SIX, coverage, 40, 0, len(findings), 250.0),
        findings=tuple(findings),
        fields_dropped=3,
        inference_ms=61.0,
        problem=problem,
    )


def overview() -> Overview:
    return Overview(np.full((30, 40, 3), 220, np.uint8), 25.0, 0.0, 0.0)


class Played:
    """A feed that gives what it was last told, and notes what was painted."""

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self.snapshot = snapshot or Snapshot()
        self.seqs: list[int] = []

    def poll(self) -> Snapshot:
        return self.snapshot

    def painted(self, seq: int, painted_ns: int) -> None:
        self.seqs.append(seq)


class Clock:
    """Time that passes only when told to."""

    def __init__(self) -> None:
        self.now_ns = SECOND_NS

    def __call__(self) -> int:
        return self.now_ns

    def pass_ms(self, ms: float) -> None:
        self.now_ns += round(ms * 1e6)

"""What may be said of a slide, and from which number on: every threshold told once.

Window, terminal, report and ``slide.json`` call the functions here, so that they say
the same of the same slide, in the same words. A rig may set some of the numbers; what
stands here is then only their default.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from armicro.field import Place, PlaceOrigin
from armicro.report import FieldState, SlideScore

SCALES_UM_PER_PX = (0.1, 0.6)
"""Accepted scales of a field, around the 0.180-0.293 of the paper's scanners (Cheng et
al. 2021); outside, no boxes."""
HR_UM_PER_PX = 0.243
"""Scale of the HR network's input (Cheng et al. 2021), in which areas are counted."""
HR_TILE_PX = 256
"""Side of the HR network's input."""
HR_TILE_UM = HR_TILE_PX * HR_UM_PER_PX
"""What a finding stands for: a lesion within its HR tile is found."""
SUSPICIOUS = 0.5
"""From here on a cell's HR probability, or a slide's score, is suspicious."""
MERGE_UM = 18.0
"""Candidates and findings nearer than this are one cell: more than the 15.6 µm of a
cell of the location map, less than its diagonal."""
LEAST_FOCUS = 0.5
"""A field less sharp than this is out of focus: its edges are blurred by more than
1 µm, where recall begins to fall fast (bench_focus.py)."""
MOST_SMEAR_UM = 2.0
"""A field during whose exposure the stage went further than this is moving."""
PLACE_ERROR_UM = 10.0
"""A field whose place is known worse than this gets no boxes."""
ENOUGH_COVERAGE = 0.95
"""With less of the cell area analysed, a score is only "so far". One cluster of lesion
cells is missed with a chance of the share that was not analysed: 1 in 20 is what this
house's intervals allow; the 1 in 5 of 0.80, which the window once took, is no result.
"""
LEAST_CELL_UM2 = 100_000.0
"""With less cell area analysed there is no score, only findings: a hundred squamous
cells of 35 µm (intermediate ones), or fifty of 50 µm, cover as much. Adequacy by
Bethesda asks for thousands; with fewer than these the top lists of the slide networks,
10 to 30 cells, hold whatever is there, and what they say (0.38 for nothing at all) is
no score of a slide."""

PICTURES_APART = (
    "Nobody knows how they lie to each other: each picture was analysed on a ground of "
    "its own, distances between two mean nothing, and a cell in two counts twice."
)
"""Of photographs: a folder, a stack of pages, a film that does not hang together."""


FEWEST_JUDGED = 10
"""Findings from which on their look tells whether the networks know such a slide."""


def strange_text(distance: float, farthest: float) -> str:
    """Why a slide whose cells are like none that the networks know has no score.

    >>> strange_text(2.21, 1.9)
    'its cells look like none that the networks know (2.2, known are up to 1.9)'
    >>> strange_text(1.9, 1.9)
    ''
    """
    if not distance > farthest:
        return ""
    return (
        f"its cells look like none that the networks know ({distance:.1f}, known are "
        f"up to {farthest:.1f})"
    )


def why_withheld(analysed_cell_um2: float) -> str:
    """Why there is no score; empty where enough was analysed.

    >>> why_withheld(0.0)
    'no cells analysed'
    >>> why_withheld(50_000.0)
    '0.05 mm² of cells analysed, a score needs 0.1 mm²'
    >>> why_withheld(900.0).partition(" of")[0]
    '< 0.01 mm²'
    """
    if analysed_cell_um2 <= 0:
        return "no cells analysed"
    if analysed_cell_um2 >= LEAST_CELL_UM2:
        return ""
    # Rounded down: "0.20 mm², needs 0.2" would explain nothing.
    analysed_mm2 = int(analysed_cell_um2 / 1e4) / 100
    analysed = f"{analysed_mm2:.2g}" if analysed_mm2 else "< 0.01"
    return (
        f"{analysed} mm² of cells analysed, a score needs {LEAST_CELL_UM2 / 1e6:g} mm²"
    )


def percent_text(share: float) -> str:
    """A share in whole per cent, rounded down: never all where something is left.

    >>> percent_text(0.9999), percent_text(1.0), percent_text(0.29)
    ('99 %', '100 %', '29 %')
    """
    return f"{int(100 * share + 1e-9)} %"


def probability_text(probability: float) -> str:
    """A probability with three decimals, rounded down, and never a certainty.

    >>> [probability_text(p) for p in (0.00002, 0.5, 0.9978, 0.99996)]
    ['< 0.001', '0.500', '0.997', '> 0.999']
    """
    if probability > 0.9995:
        return "> 0.999"
    return (
        "< 0.001" if probability < 0.001 else f"0.{probability_digits(probability, 3)}"
    )


def probability_digits(probability: float, count: int) -> str:
    """The decimals of a probability: fewer are the beginning of more, certainty is 9s.

    >>> [probability_digits(p, 4) for p in (0.0, 0.29, 0.99789, 1.0)]
    ['0000', '2900', '9978', '9999']
    """
    # As written: 0.57 is less than 57 hundredths in binary.
    written = f"{min(max(probability, 0.0), 1.0):.9f}"
    return written[2 : 2 + count] if written[0] == "0" else "9" * count


def coverage_text(coverage: float, *, extent_known: bool) -> str:
    """How much was analysed, and of what.

    Args:
        coverage: share of the cell area, 0-1.
        extent_known: an overview told where the slide's cells are; else only the area
            that was visited counts.

    >>> coverage_text(0.963, extent_known=False)
    '96 % of the visited cell area analysed'
    """
    of = "cell area" if extent_known else "visited cell area"
    return f"{percent_text(coverage)} of the {of} analysed"


def why_so_far(
    coverage: float,
    *,
    extent_known: bool,
    finished: bool = True,
    enough: float = ENOUGH_COVERAGE,
) -> str:
    """Why a score is only "so far", and no result; empty where it is the slide's.

    Args:
        coverage: share of the cell area analysed, 0-1.
        extent_known: an overview told where the slide's cells are.
        finished: the session came to its end.
        enough: the rig's ``[display] least_coverage``.
    """
    if not finished:
        return "session not finished: not a result"
    if not extent_known:
        return "extent of the slide unknown: not a result"
    return "" if coverage >= enough else "too little analysed: not a result"


def score_text(score: SlideScore, *, extent_known: bool, so_far: bool) -> str:
    """The score, never without what it is a score of.

    >>> score_text(SlideScore(0.25, coverage=0.4), extent_known=True, so_far=True)
    'score so far 0.250 over 40 % of the cell area analysed'
    """
    if score.score is None:
        said = f"no score ({score.withheld})" if score.withheld else "no score"
    else:
        said = f"score{' so far' if so_far else ''} {probability_text(score.score)}"
    return f"{said} over {coverage_text(score.coverage, extent_known=extent_known)}"


@dataclass(frozen=True, slots=True)
class State:
    """A state in which a field gets no box, or none that is new."""

    said: str
    """What is so, with the facts that the caller knows in braces."""
    todo: str
    """What mends it."""


StateName = Literal[
    "loading",
    "no_word_yet",
    "first_field",
    "no_word",
    "restarting",
    "no_picture",
    "bad_scale",
    "place_unknown",
    "place_lost",
    "place_rough",
    "moving",
    "out_of_focus",
    "no_light",
    "eyepiece_blind",
    "display_not_measured",
    "other_display",
    "motion_unknown",
    "too_fast",
    "slow",
    "source_opening",
    "camera_lost",
    "another_size",
    "unreadable",
    "scale_not_measured",
    "other_objective",
    "other_camera",
    "other_binning",
    "other_field_size",
    "certificate_expired",
    "scale_implausible",
    "scale_drifted",
    "stage_angle_drifted",
    "light_drifted",
    "white_drifted",
    "camera_turned",
    "map_apart",
]
AnalysisState = Literal["", "loading", "restarting", "slow"]
"""What a supervisor knows of infer: it runs, is started, is started again, or works
without a word."""
MEASURE_AGAIN = "calibrate it"
STATES: Mapping[StateName, State] = {
    "loading": State(
        "the networks are loading: no cell is judged yet", "boxes come by themselves"
    ),
    "no_word_yet": State(
        "no word of the analysis yet: no cell is judged",
        "wait, and see to it that it runs",
    ),
    "first_field": State(
        "the first field is being analysed: no cell is judged yet",
        "hold still",
    ),
    "no_word": State(
        "no word of the analysis for {seconds:.0f} s: boxes show what was known",
        "wait until it is back",
    ),
    "restarting": State(
        "the analysis is started again: no new cell is judged",
        "wait, findings are kept",
    ),
    "no_picture": State(
        "no picture for {seconds:.0f} s: what stands here is old",
        "wait, or check the camera and its cable",
    ),
    "bad_scale": State(
        "scale {um_per_px:.3g} µm/px is outside {low:g}-{high:g} µm/px",
        "correct the rig or --um-per-px",
    ),
    "place_unknown": State("place unknown", "move to where cells are, and slowly"),
    "place_lost": State("place lost", "move back to a part already seen"),
    "place_rough": State(
        "place known only to ±{error_um:.0f} µm (limit {limit_um:g})",
        "move to where more cells are",
    ),
    "moving": State(
        "the stage moved {smear_um:.1f} µm during the exposure",
        "hold it still, or expose shorter",
    ),
    "out_of_focus": State(
        "sharpness {focus:.2f} is below {least:.2f}", "turn the fine focus"
    ),
    "no_light": State("no light", "check the lamp, the shutter and the exposure"),
    "eyepiece_blind": State("no picture", "wait, or check the camera and its cable"),
    "display_not_measured": State(
        "nobody measured where the display lies", "run armicro calibrate display"
    ),
    "other_display": State(
        "display of {seen} px, measured was {made_for}",
        f"use that one, or {MEASURE_AGAIN}",
    ),
    "motion_unknown": State("motion unknown", "hold the stage still"),
    "too_fast": State(
        "moving fast, boxes would be off by {error_um:.0f} µm", "move slower"
    ),
    "slow": State(
        "the analysis is slow: boxes show what was known",
        "wait, or close other programs",
    ),
    "source_opening": State(
        "the source is being opened", "wait, or check the camera and its cable"
    ),
    "camera_lost": State("{name}: {what}", "check its cable, it comes back"),
    "another_size": State(
        "the camera gives {seen} px, the rig says {expected}",
        "set camera or rig right",
    ),
    "unreadable": State("unreadable: {what}", "look there yourself"),
    "scale_not_measured": State("scale not measured", MEASURE_AGAIN),
    "other_objective": State(
        "certificate is for objective {made_for}, the rig has {seen}", MEASURE_AGAIN
    ),
    "other_camera": State(
        "certificate is for camera {made_for}, connected is {seen}", MEASURE_AGAIN
    ),
    "other_binning": State(
        "certificate is for binning {made_for}, the camera has {seen}", MEASURE_AGAIN
    ),
    "other_field_size": State(
        "certificate is for fields of {made_for} px, the camera gives {seen}",
        MEASURE_AGAIN,
    ),
    "certificate_expired": State("certificate expired on {date}", MEASURE_AGAIN),
    "scale_implausible": State(
        "certificate says {um_per_px:.3f} µm/px, objective and camera allow "
        "{low:.3f}-{high:.3f}",
        MEASURE_AGAIN,
    ),
    "scale_drifted": State(
        "scale drifted: pictures go {share} {way} than the stage (limit {limit})",
        MEASURE_AGAIN,
    ),
    "stage_angle_drifted": State(
        "camera turned by {turn_deg:.1f}° against the stage (limit {limit_deg:g}°)",
        MEASURE_AGAIN,
    ),
    "light_drifted": State(
        "glass has {share} of the light of the calibration",
        "check lamp, condenser and exposure",
    ),
    "white_drifted": State(
        "glass has {share} {way} {colour} than at the calibration",
        "check lamp voltage and filters",
    ),
    "camera_turned": State(
        "the camera was turned: a new map began", "turn it back for the old one"
    ),
    "map_apart": State(
        "nothing tied these fields to the first: a new map began",
        "let fields share more cells",
    ),
}
"""Every state in which boxes are missing or old, or may soon be, for window, terminal
and report."""
FIELD_STATES: Mapping[FieldState, str] = {
    "analysed": "Analysed",
    "blank": "Blank background",
    "unreadable": "Unreadable",
    "bad_scale": "Scale not to be trusted",
    "no_place": "Place not known",
    "moving": "Moving",
    "out_of_focus": "Out of focus",
}
"""What became of fields, by name."""


NEW_MAPS: Mapping[PlaceOrigin, StateName] = {
    "turned_camera": "camera_turned",
    "map_apart": "map_apart",
}
"""What is said of a field on a map that began beside another, by its place's origin."""


def new_map_state(place: Place | None) -> StateName | None:
    """What is said of the map that a place lies on; None of a slide's first."""
    return NEW_MAPS.get(place.origin) if place is not None else None


def said_text(name: StateName, /, **facts: float | str) -> str:
    """What is so, for one who tells the remedy of several states at once.

    >>> said_text("certificate_expired", date="2026-11-30")
    'certificate expired on 2026-11-30'
    """
    return STATES[name].said.format(**facts)


def state_text(name: StateName, /, **facts: float | str) -> str:
    """What is so, and what mends it.

    >>> state_text("out_of_focus", focus=0.2, least=0.5)
    'sharpness 0.20 is below 0.50: turn the fine focus'
    >>> state_text("no_word", seconds=3.2).rpartition(": ")[2]
    'boxes show what was known; wait until it is back'
    """
    return mended(said_text(name, **facts), STATES[name].todo)


def mended(said: str, todo: str) -> str:
    """What is so and what mends it, as one sentence with at most one colon."""
    return f"{said}{';' if ': ' in said else ':'} {todo}"


def badge_text(name: Literal["moving", "out_of_focus"]) -> str:
    """Why a field that has boxes is not analysed itself.

    >>> badge_text("out_of_focus")
    'Out of focus, known findings only: turn the fine focus'
    """
    return f"{FIELD_STATES[name]}, known findings only: {STATES[name].todo}"


def boxes_off_text(name: StateName, /, **facts: float | str) -> str:
    """Why a field gets no box at all, and what mends it.

    >>> boxes_off_text("place_lost")
    'place lost: move back to a part already seen; boxes off'
    """
    return without_boxes(state_text(name, **facts))


def without_boxes(said: str) -> str:
    """Any sentence that says why, and that there are no boxes for it."""
    return f"{said}; boxes off"

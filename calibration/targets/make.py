"""Targets to scale, to print or to have engraved: ruler, dots, ChArUco; SVG and PDF.

Run:  python calibration/targets/make.py OUT_FOLDER
      python calibration/targets/make.py OUT_FOLDER --only ruler --division-um 10

The files beside this script are its output. Print at 100 %, never "fit to page", and
check the 100 mm line with a steel ruler. A printer's own scale is off by up to 1 %:
print is for low magnification and for practice; for a certificate use a micrometer, or
have the SVG engraved (chrome on glass) and written with its own measured pitch.
"""

import argparse
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from armicro.calibrate.lattice import COLUMNS, MARKER_SHARE, ROWS, board

PT_PER_MM = 72 / 25.4
PAGE_MM = (297.0, 210.0)
SQUARE_CELLS = 20
"""A marker of 7 cells of 2 takes 0.7 of a square, in whole cells."""


@dataclass
class Page:
    """Black shapes on white; millimetres, y down."""

    width: float = PAGE_MM[0]
    height: float = PAGE_MM[1]
    rects: list[tuple[float, float, float, float]] = field(default_factory=list)
    dots: list[tuple[float, float]] = field(default_factory=list)
    dot_diameter: float = 0.0
    words: list[tuple[float, float, float, str]] = field(default_factory=list)
    """x of the left end, y of the foot, height of the letters, text."""

    def svg(self) -> str:
        """The page as SVG, in millimetres."""
        area = "".join(f"M{x:g} {y:g}h{w:g}v{h:g}h{-w:g}z" for x, y, w, h in self.rects)
        r = self.dot_diameter / 2
        half = f"a{r:g} {r:g} 0 1 0"
        area += "".join(
            f"M{x - r:g} {y:g}{half} {2 * r:g} 0{half} {-2 * r:g} 0z"
            for x, y in self.dots
        )
        texts = "".join(
            f'<text x="{x:g}" y="{y:g}" font-size="{size:g}">{text}</text>\n'
            for x, y, size, text in self.words
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{self.width:g}mm" '
            f'height="{self.height:g}mm" viewBox="0 0 {self.width:g} {self.height:g}" '
            'font-family="Helvetica, Arial, sans-serif">\n'
            f'<rect width="{self.width:g}" height="{self.height:g}" fill="#fff"/>\n'
            f'<path d="{area}"/>\n'
            f"{texts}</svg>\n"
        )

    def pdf(self) -> bytes:
        """The page as PDF 1.4."""
        unit = PT_PER_MM
        # PDF's y goes up: the page is turned over, its letters back again.
        lines = [f"{unit:.8f} 0 0 {-unit:.8f} 0 {self.height * unit:.6f} cm"]
        lines += [f"{x:g} {y:g} {w:g} {h:g} re" for x, y, w, h in self.rects]
        lines += ["f", f"1 J {self.dot_diameter:g} w"]
        lines += [f"{x:g} {y:g} m {x:g} {y:g} l S" for x, y in self.dots]
        for x, y, size, text in self.words:
            lines.append(f"BT /F {size:g} Tf 1 0 0 -1 {x:g} {y:g} Tm ({text}) Tj ET")
        content = zlib.compress("\n".join(lines).encode("cp1252"), 9)
        size_pt = f"{self.width * unit:.4f} {self.height * unit:.4f}"
        objects = [
            b"<</Type/Catalog/Pages 2 0 R>>",
            b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
            f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 {size_pt}]/Contents 4 0 R"
            "/Resources<</Font<</F 5 0 R>>>>>>".encode(),
            b"<</Length %d/Filter/FlateDecode>>stream\n%b\nendstream"
            % (len(content), content),
            b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
        ]
        out, places = b"%PDF-1.4\n", []
        for number, content in enumerate(objects, 1):
            places.append(len(out))
            out += b"%d 0 obj\n%b\nendobj\n" % (number, content)
        table = b"".join(b"%010d 00000 n \n" % place for place in places)
        return (
            out
            + b"xref\n0 6\n0000000000 65535 f \n%btrailer\n" % table
            + (b"<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % len(out))
        )


def ruler(division_um: float, divisions: int) -> Page:
    """Ticks with a longer one every fifth and tenth, numbered, and one across."""
    step = division_um / 1000
    small = divisions * step < 50
    page = Page(*((divisions + 30) * step, 40 * step) if small else PAGE_MM)
    left, foot = (page.width - divisions * step) / 2, page.height / 2
    for tick in range(divisions + 1):
        length = (8.0 if tick % 10 == 0 else 5.5 if tick % 5 == 0 else 3.0) * step
        x = left + tick * step
        page.rects.append((x - 0.1 * step, foot - length, 0.2 * step, length))
        if tick % 10 == 0:
            size, text = 2.5 * step, str(tick)
            page.words.append(
                (x - 0.28 * size * len(text), foot - length - step, size, text)
            )
    note = f"{division_um:g} µm a division"
    page.words.append((left, foot + 6 * step, 2.5 * step, note))
    if not small:
        _say(
            page,
            f"armicro ruler: {note}; calibrate scale --division-um {division_um:g}",
        )
    return page


def dots(pitch_um: float) -> Page:
    """Round dots on a square lattice, half as wide as they are apart."""
    pitch = pitch_um / 1000
    page = Page(dot_diameter=pitch / 2)
    columns, rows = int(260 // pitch), int(160 // pitch)
    left, top = (page.width - (columns - 1) * pitch) / 2, 18.0
    page.dots = [
        (round(left + i * pitch, 4), round(top + j * pitch, 4))
        for j in range(rows)
        for i in range(columns)
    ]
    _say(page, f"armicro dots: pitch {pitch_um:g} µm; calibrate scale --pattern dots "
         f"--division-um {pitch_um:g}")  # fmt: skip
    return page


def charuco(square_um: float) -> Page:
    """The ChArUco board that ``calibrate scale --pattern charuco`` knows."""
    square = square_um / 1000
    page = Page()
    size = (COLUMNS * SQUARE_CELLS, ROWS * SQUARE_CELLS)
    black = np.asarray(board(1.0).generateImage(size)) < 128
    left, top = (page.width - COLUMNS * square) / 2, 10.0
    cell = square / SQUARE_CELLS
    for row, (start, end) in _runs(black):
        page.rects.append((
            round(left + start * cell, 4), round(top + row[0] * cell, 4),
            round((end - start) * cell, 4), round((row[1] - row[0]) * cell, 4),
        ))  # fmt: skip
    _say(
        page,
        f"armicro ChArUco {COLUMNS}x{ROWS}, DICT_5X5_250: square {square_um:g} µm, "
        f"marker {MARKER_SHARE * square_um:g} µm; calibrate scale --pattern charuco "
        f"--division-um {square_um:g}",
    )
    return page


def _runs(
    black: np.ndarray,
) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Black rectangles: (first row, end row), (first column, end column)."""
    grown: dict[tuple[int, int], int] = {}
    done = []
    for row in range(len(black) + 1):
        line = black[row] if row < len(black) else np.zeros(black.shape[1], bool)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], line, [0]]).astype(int)))
        runs = set(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
        ended = [run for run in grown if run not in runs]
        done += [((grown.pop(run), row), run) for run in ended]
        for run in runs - grown.keys():
            grown[run] = row
    return done


def _say(page: Page, text: str) -> None:
    """What it is, and a line to check the print with."""
    foot = page.height - 12
    page.rects.append((20, foot, 100, 0.3))
    for x in (20.0, 120.0):
        page.rects.append((x - 0.1, foot - 2, 0.2, 4))
    page.words.append(
        (125, foot + 1, 3, "100 mm: check with a steel ruler; print at 100 %")
    )
    page.words.append((20, page.height - 5, 3, text))


def main() -> None:
    """Write the targets that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", choices=("ruler", "dots", "charuco"))
    parser.add_argument("--division-um", type=float, help="of the one asked for")
    parser.add_argument("--divisions", type=int, default=100, help="of the ruler")
    args = parser.parse_args()
    um = args.division_um
    pages = {
        "ruler": (um or 1000, lambda um: ruler(um, args.divisions)),
        "dots": (um or 5000, dots),
        "charuco": (um or 18_000, charuco),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    for name, (pitch_um, make) in pages.items():
        if args.only in (None, name):
            page = make(pitch_um)
            stem = args.out / f"{name}-{pitch_um:g}um"
            stem.with_suffix(".svg").write_text(page.svg(), encoding="utf-8")
            stem.with_suffix(".pdf").write_bytes(page.pdf())


if __name__ == "__main__":
    main()

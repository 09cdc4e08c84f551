"""``findings.csv`` and ``latency.csv``: a session's tables, as text."""

import csv
import io
from collections.abc import Iterable, Sequence

from armicro.report import Finding
from armicro.verdict import probability_digits

FINDING_COLUMNS = (
    "rank",
    "x_um",
    "y_um",
    "width_um",
    "height_um",
    "lr_probability",
    "hr_probability",
    "field_seq",
)


def findings_csv(findings: Iterable[Finding]) -> str:
    """Return the findings, most suspicious first, ranked from 1.

    Lengths are rounded to nanometres, probabilities down to millionths.
    """
    return _csv(
        FINDING_COLUMNS,
        (
            (
                rank,
                *(f"{um:.3f}" for um in (f.x_um, f.y_um, f.width_um, f.height_um)),
                *(
                    f"0.{probability_digits(share, 6)}"
                    for share in (f.lr_probability, f.hr_probability)
                ),
                f.field_seq,
            )
            for rank, f in enumerate(findings, start=1)
        ),
    )


def latency_csv(stations: Sequence[tuple[int, dict[str, int]]]) -> str:
    """Return a row a field with the monotonic clock in ns at each station.

    A station that a field did not pass stays empty.

    >>> print(latency_csv([(0, {"taken": 5, "inferred": 9}), (1, {"taken": 7})]))
    seq,taken_ns,inferred_ns
    0,5,9
    1,7,
    <BLANKLINE>
    """
    names = list(dict.fromkeys(name for _, passed in stations for name in passed))
    header = ("seq", *(f"{name.removesuffix('_ns')}_ns" for name in names))
    rows = ((seq, *(passed.get(n, "") for n in names)) for seq, passed in stations)
    return _csv(header, rows)


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()

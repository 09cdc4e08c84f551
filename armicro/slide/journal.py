"""The journal: every field, finding and event of a slide, written as it happens.

One SQLite file in WAL mode. A field is one transaction, so that after any crash the
file holds whole fields only and ``done()`` tells which. Three rules keep a resumed run
equal to an undisturbed one:

- A field is kept once. Written again (capture repeats what was not acknowledged), it
  changes nothing: the first account stands.
- What is found in a field later (its rim, when it leaves the view) grows its report and
  is written in one transaction with the field that caused it.
- Nothing is read in the order of writing. Reports come by ``seq``, observations in the
  order of suspicion, so that no result depends on which field came first.

No clock is read here: times are passed in. One thread at a time may use a journal.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

import msgspec
import numpy as np

from armicro.database import SAID, Database, Schema
from armicro.errors import SourceError, one_line
from armicro.report import Account, FieldReport, Finding, Observation, Shown
from armicro.rule import Count, ExtentUm, Share, cut_texts
from armicro.slide.coverage import Ground, broken_ground
from armicro.slide.decision import MOST_DECISIONS, Decision
from armicro.slide.track import check_crop, decode_crop, encode_crop

# ---------------------------------------------------------------------------
# The journal's tables.
#
# A journal of schema 1 knew neither focus nor place error of an observation: it is
# given the columns, and its observations count as sharp and surely placed, as they did
# then. One of schema 2 knew no decisions.


_DECISIONS = """
CREATE TABLE decisions (number INTEGER PRIMARY KEY, said TEXT NOT NULL);
"""
JOURNAL = Schema(
    noun="journal",
    # ``ARMC``
    application_id=0x41524D43,
    version=3,
    tables="""
CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE fields (
    seq INTEGER PRIMARY KEY, state TEXT NOT NULL, report TEXT NOT NULL,
    stations TEXT NOT NULL);
CREATE TABLE observations (
    field_seq INTEGER NOT NULL REFERENCES fields (seq),
    x_um REAL NOT NULL, y_um REAL NOT NULL,
    width_um REAL NOT NULL, height_um REAL NOT NULL,
    lr_probability REAL NOT NULL, hr_probability REAL NOT NULL,
    place_error_um REAL NOT NULL DEFAULT 0.0, focus REAL,
    features BLOB NOT NULL, crop BLOB NOT NULL,
    UNIQUE (field_seq, x_um, y_um, width_um, height_um));
CREATE TABLE events (
    id INTEGER PRIMARY KEY, time_ns INTEGER NOT NULL, kind TEXT NOT NULL,
    text TEXT NOT NULL);
"""
    + _DECISIONS,
    upgrades={
        1: """
ALTER TABLE observations ADD COLUMN place_error_um REAL NOT NULL DEFAULT 0.0;
ALTER TABLE observations ADD COLUMN focus REAL;
"""
        + _DECISIONS,
        2: _DECISIONS,
    },
    refused="choose another output folder",
    damaged="move it away to start afresh, or restore it from a copy",
    checked=True,
)


# ---------------------------------------------------------------------------
# The journal.


Kind = TypeVar("Kind")

FEATURES = 2048
MOST_STATIONS = 32
"""Different ones in a journal."""
DEEPEST = 32
"""A fact within a fact within..."""

_FINDING_COLUMNS = (
    "x_um, y_um, width_um, height_um, lr_probability, hr_probability, field_seq"
)
_FINDING_FIELDS = tuple(_FINDING_COLUMNS.split(", "))
_OBSERVATION_COLUMNS = f"{_FINDING_COLUMNS}, place_error_um, focus"
_CANONICAL = "hr_probability DESC, lr_probability DESC, y_um, x_um, field_seq"
_SET = """
INSERT INTO meta VALUES (?,?) ON CONFLICT (key) DO UPDATE SET value = excluded.value
"""
_GROUND, _UNPLACED = "shown", "unplaced"
_GROW = "UPDATE fields SET report = ? WHERE seq = ?"
_OBSERVE = f"""
INSERT INTO observations ({_OBSERVATION_COLUMNS}, features, crop)
VALUES (?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO NOTHING
"""
_ISLANDS = """
SELECT min(seq), max(seq)
FROM (SELECT seq, seq - row_number() OVER (ORDER BY seq) AS island FROM fields)
GROUP BY island ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened besides fields: a restart, a lost camera, a fault."""

    time_ns: int
    kind: str
    text: str


class Journal(Database):
    """One slide's journal, open for writing and reading.

    Args:
        path: the SQLite file; made when it is not there.
        must_exist: refuse to make it.

    Raises:
        SourceError: here and from every method, when the file is missing, damaged, of
            another program or version, or cannot be written.
        DiskError: from every method that writes, when what it was given is not kept.
    """

    def __init__(self, path: Path, *, must_exist: bool = False) -> None:
        if must_exist and not (path.is_file() and path.stat().st_size):
            raise SourceError(
                f"{path}: no journal there, or an empty one; expected a folder that "
                "replay, demo or live wrote"
            )
        super().__init__(path, JOURNAL)

    def write(
        self,
        report: FieldReport,
        observations: Sequence[Observation],
        stations: Mapping[str, int],
        facts: Mapping[str, object] | None = None,
        *,
        late: Account | None = None,
    ) -> bool:
        """Keep a field with all that was found in it, in one transaction.

        Args:
            report: what the cascade says of the field.
            observations: its findings with features and crops.
            stations: the monotonic clock in ns at each station, in the order of travel.
            facts: what is now true of the session, as for ``set``; kept in the same
                transaction, so that the score is never behind its fields.
            late: an earlier field's report that has grown meanwhile, with the
                observations that are new.

        Returns:
            False when the field was kept before; then only ``facts`` are written.

        Raises:
            ValueError: an observation is of another field.
        """
        _refuse_strangers(report, observations)
        grown = _Grown.of(late) if late else None
        row = (
            report.seq,
            report.state,
            _report_text(report),
            msgspec.json.encode(dict(stations)).decode(),
        )
        rows = [_observation_row(each) for each in observations]
        rest = [(key, _value_of(fact)) for key, fact in (facts or {}).items()]
        with self._transaction():
            self._database.executemany(_SET, rest)
            cursor = self._database.execute(
                "INSERT INTO fields VALUES (?,?,?,?) ON CONFLICT (seq) DO NOTHING", row
            )
            if cursor.rowcount == 0:
                return False
            self._database.executemany(_OBSERVE, rows)
            if grown:
                self._grow(grown)
        return True

    def amend(self, late: Account, facts: Mapping[str, object] | None = None) -> None:
        """Keep what was found in a kept field later, with no field that caused it.

        Raises:
            ValueError: an observation is of another field.
        """
        grown = _Grown.of(late)
        rest = [(key, _value_of(fact)) for key, fact in (facts or {}).items()]
        with self._transaction():
            self._database.executemany(_SET, rest)
            self._grow(grown)

    def pass_by(self, shown: Shown) -> None:
        """Keep what was shown: joined with what is kept, so that nothing is lost."""
        ground, unplaced = self.shown()
        news = ground.join(Ground(shown.ground))
        before = unplaced.get(shown.life, 0)
        if not news and shown.unplaced <= before:
            return
        unplaced[shown.life] = max(shown.unplaced, before)
        rows = [(_GROUND, ground.pack()), (_UNPLACED, _value_of(unplaced))]
        with self._transaction():
            self._database.executemany(_SET, rows)

    def shown(self) -> tuple[Ground, dict[int, int]]:
        """The ground that was shown, and by capture's lives the fields without place.

        Raises:
            SourceError: also when what is kept is no ground.
        """
        packed = self.get(_GROUND, bytes) or b""
        broken = broken_ground(packed)
        if broken:
            raise SourceError(
                f"{self._path}: its entry {_GROUND!r} is damaged ({broken}); restore "
                "it from a copy"
            )
        return Ground(packed), self.get(_UNPLACED, dict[int, int]) or {}

    def note(self, kind: str, text: str, at_ns: int) -> None:
        """Keep an event; ``at_ns`` is of the clock that the stations use."""
        with self._writes():
            self._database.execute(
                "INSERT INTO events (time_ns, kind, text) VALUES (?,?,?)",
                (at_ns, kind, text),
            )

    def decide(self, decision: Decision) -> Decision:
        """Keep what a reader says; return it with its number."""
        said = msgspec.json.encode(decision).decode()
        with self._transaction():
            cursor = self._database.execute(
                "INSERT INTO decisions (said) VALUES (?)", (said,)
            )
        return msgspec.structs.replace(decision, number=cursor.lastrowid or 0)

    def decisions(self) -> tuple[Decision, ...]:
        """Every decision, in the order of writing."""
        with self._told():
            rows = self._database.execute(
                "SELECT number, said FROM decisions ORDER BY number LIMIT ?",
                (MOST_DECISIONS + 1,),
            ).fetchall()
            if len(rows) > MOST_DECISIONS:
                raise ValueError(f"more than {MOST_DECISIONS} decisions")
            decoder = msgspec.json.Decoder(Decision)
            return tuple(
                msgspec.structs.replace(decoder.decode(said), number=number)
                for number, said in rows
            )

    def set(self, key: str, value: object) -> None:
        """Keep a fact of the session: bytes as they are, anything else as JSON."""
        self.set_all({key: value})

    def set_all(self, facts: Mapping[str, object]) -> None:
        """Keep facts as ``set`` does, all or none."""
        rows = [(key, _value_of(fact)) for key, fact in facts.items()]
        with self._transaction():
            self._database.executemany(_SET, rows)

    def get(self, key: str, kind: type[Kind]) -> Kind | None:
        """Return a fact as ``kind``, or None when it was never set.

        Raises:
            SourceError: also when what is kept is not of that kind.
        """
        with self._told():
            row = self._database.execute(
                "SELECT value FROM meta WHERE key = ?", (key,)
            ).fetchone()
        if row is None:
            return None
        try:
            return _fact_of(row[0], kind)
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
            raise SourceError(
                f"{self._path}: its entry {key!r} is not what this version writes "
                f"({one_line(str(error), most=SAID)}); use the version of armicro that "
                "wrote it"
            ) from error

    def done(self) -> list[tuple[int, int]]:
        """Ranges (first, last) of the ``seq`` kept, both ends included, ascending."""
        with self._told():
            return [(a, b) for a, b in self._database.execute(_ISLANDS)]

    def reports(self) -> list[FieldReport]:
        """Every field's report, by ``seq``."""
        with self._told():
            rows = self._database.execute(
                "SELECT seq, state, report FROM fields ORDER BY seq"
            )
            decoder = msgspec.json.Decoder(FieldReport)
            return [_report_of(decoder.decode(row[2]), *row[:2]) for row in rows]

    def stations(self) -> list[tuple[int, dict[str, int]]]:
        """Every field's ``seq`` and its ns at each station, by ``seq``."""
        with self._told():
            rows = self._database.execute(
                "SELECT seq, stations FROM fields ORDER BY seq"
            )
            decoder = msgspec.json.Decoder(dict[str, Count])
            found = [(seq, decoder.decode(text)) for seq, text in rows]
            names = {name for _, passed in found for name in passed}
            if len(names) > MOST_STATIONS:
                raise ValueError(f"{len(names)} stations, expected a few")
            return found

    def observations(self, *, crops: bool = True) -> Iterator[Observation]:
        """Yield every observation, most suspicious first.

        Args:
            crops: False leaves each ``crop`` empty, (0, 0, 3): decoded ones take
                200 kB each. ``crop_jpeg`` gives one at a time.
        """
        with self._told():
            rows = self._database.execute(
                f"SELECT {_OBSERVATION_COLUMNS}, features, "
                f"{'crop' if crops else 'NULL'} FROM observations ORDER BY {_CANONICAL}"
            )
            for row in rows:
                yield _observation_of(row)

    def crop_jpeg(self, finding: Finding) -> bytes | None:
        """Return the JPEG of one finding's crop, or None when it is not kept."""
        with self._told():
            row = self._database.execute(
                "SELECT crop FROM observations WHERE field_seq = ? AND x_um = ? "
                "AND y_um = ? AND width_um = ? AND height_um = ?",
                (
                    finding.field_seq,
                    finding.x_um,
                    finding.y_um,
                    finding.width_um,
                    finding.height_um,
                ),
            ).fetchone()
            if row is None:
                return None
            check_crop(row[0])
            return bytes(row[0])

    def events(self) -> list[Event]:
        """Every event, in the order of writing."""
        with self._told():
            rows = self._database.execute(
                "SELECT time_ns, kind, text FROM events ORDER BY id"
            )
            return [_event_of(row) for row in rows]

    def _grow(self, grown: "_Grown") -> None:
        self._database.execute(_GROW, (grown.report, grown.seq))
        self._database.executemany(_OBSERVE, grown.rows)


def _fact_of(value: object, kind: type[Kind]) -> Kind:
    if isinstance(value, bytes):
        return msgspec.convert(value, kind)
    if not isinstance(value, str):
        raise TypeError(f"it is {type(value).__name__}, expected text")
    fact = msgspec.json.decode(value, type=kind)
    if isinstance(fact, float) and not math.isfinite(fact):
        raise ValueError(f"it is {fact}")
    layer: list[object] = [fact]
    for _ in range(DEEPEST):
        layer = [
            inner
            for outer in layer
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    if layer:
        raise ValueError(f"it is nested more than {DEEPEST} deep")
    return fact


def _event_of(row: tuple[object, ...]) -> Event:
    at_ns, kind, text = msgspec.convert(row, tuple[Count, str, str])
    return Event(at_ns, kind, text)


def _report_of(report: FieldReport, seq: object, state: object) -> FieldReport:
    """The report of a row, which keeps every rule.

    Raises:
        ValueError: it does not, or is another field's.
    """
    broken = report.broken()
    if not broken and (report.seq, report.state) != (seq, state):
        broken = f"its report is of field {report.seq}, {report.state}"
    if broken:
        raise ValueError(f"field {seq!r:.20}: {broken}")
    return report


def _observation_of(row: tuple[Any, ...]) -> Observation:
    finding = msgspec.convert(dict(zip(_FINDING_FIELDS, row, strict=False)), Finding)
    features = np.frombuffer(row[9], np.float32)
    if features.shape != (FEATURES,) or not np.isfinite(features).all():
        raise ValueError(
            f"finding of field {finding.field_seq}: features are not {FEATURES} numbers"
        )
    return Observation(
        finding,
        features,
        np.empty((0, 0, 3), np.uint8) if row[10] is None else decode_crop(row[10]),
        msgspec.convert(row[7], ExtentUm),
        msgspec.convert(row[8], Share | None),
    )


def _value_of(fact: object) -> bytes | str:
    return fact if isinstance(fact, bytes) else msgspec.json.encode(fact).decode()


def _report_text(report: FieldReport) -> str:
    return msgspec.json.encode(cut_texts(report)).decode()


def _refuse_strangers(report: FieldReport, observations: Sequence[Observation]) -> None:
    strangers = {o.finding.field_seq for o in observations} - {report.seq}
    if strangers:
        raise ValueError(f"field {report.seq} holds findings of {strangers}")


class _Grown(NamedTuple):
    """A late account as it is written."""

    seq: int
    report: str
    rows: list["_Row"]

    @classmethod
    def of(cls, late: Account) -> Self:
        """Encode it, so that nothing can fail within the transaction."""
        _refuse_strangers(*late)
        rows = [_observation_row(each) for each in late.observations]
        return cls(late.report.seq, _report_text(late.report), rows)


_Row = tuple[float | int | bytes | None, ...]


def _observation_row(observation: Observation) -> _Row:
    finding = observation.finding
    features = np.ascontiguousarray(observation.features, np.float32)
    if features.shape != (FEATURES,):
        raise ValueError(f"features {features.shape}, expected ({FEATURES},)")
    return (
        finding.x_um,
        finding.y_um,
        finding.width_um,
        finding.height_um,
        finding.lr_probability,
        finding.hr_probability,
        finding.field_seq,
        observation.place_error_um,
        observation.focus,
        features.tobytes(),
        encode_crop(observation.crop),
    )

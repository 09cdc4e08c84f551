"""One SQLite file of a known schema: opened, checked and closed in one way.

A file of another program or version is refused before anything in it is changed. It is
made, or brought up to date, in one transaction: killed half-way, it is as it was, and
two processes may open the same new file. One thread at a time may use what it opened,
and no clock is read here.

A file may come from a stranger. Nothing in it is run: it holds our tables and no view,
trigger, virtual table or generated column; a value has a largest size, and a statement
a budget of steps that grows with the file, so that none goes on without an end.
"""

import contextlib
import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import msgspec

from armicro.errors import DiskError, SourceError, one_line

LONGEST_VALUE = 1 << 26
"""Bytes of one value: an overview or a tile is far smaller."""
_LONGEST_WAIT_S = 10.0
"""For another process that writes or, while the file is made, reads."""
_TRIES = 100
"""Others that come between us and a file that was free a moment ago."""
_STEPS_A_LOOK = 1_000_000
_LEAST_STEPS = 100_000_000
"""Of SQLite's machine, which does some hundred million a second."""
_STEPS_A_BYTE = 8
"""A check of all pages takes about one."""
SAID = 160
"""Letters of an error's words, some of which a stranger may have written."""
_HELD = "SELECT count(*) FROM sqlite_master"
_VERSION = "PRAGMA user_version"
_TABLE = re.compile(r"CREATE TABLE (\w+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """What tells a kind of file from others, and what to do where it is none."""

    noun: str
    """What it is, in the errors: ``journal``."""
    application_id: int
    """In the file's head; tells our files from those of other programs."""
    version: int
    """Raised when a table changes; a file of another version is refused."""
    tables: str
    """The statements that make them."""
    upgrades: Mapping[int, str] = field(default_factory=dict)
    """The statements that bring an older version to this one."""
    refused: str
    """What to do with a file of another program or version."""
    damaged: str
    """What to do with one that is no whole file."""
    checked: bool = False
    """Whether its pages are checked when it is opened, which reads the whole file."""


_BROKEN = (
    sqlite3.Error,
    msgspec.MsgspecError,
    ValueError,
    TypeError,
    OverflowError,
    RecursionError,
)
"""What a value that is not what we wrote raises: SQLite keeps any type in a column."""


class Database:
    """A file of a schema, open for writing and reading.

    Args:
        path: the SQLite file; made when it is not there.
        schema: what it is, or is made as.

    Raises:
        SourceError: here and from every method, when the file is damaged, of another
            program or version, or cannot be written.
        DiskError: from every method that writes, when what it was given is not kept.
    """

    def __init__(self, path: Path, schema: Schema) -> None:
        self._path = path
        self._schema = schema
        self._steps = 0
        if path.is_symlink():
            # SQLite would write to where it points.
            raise SourceError(
                f"{path}: a link, and nothing is written through one; expected the "
                f"{schema.noun} itself; {schema.damaged}"
            )
        with contextlib.ExitStack() as undo:
            with self._told():
                # The writer thread of a process may differ from the one that opens.
                self._database = sqlite3.connect(
                    path,
                    isolation_level=None,
                    timeout=_LONGEST_WAIT_S,
                    check_same_thread=False,
                )
                undo.callback(self._database.close)
                self._limit()
                self._prepare()
            undo.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Fold the write-ahead log into the file and close it; may be called twice."""
        self._database.close()

    def settle(self) -> None:
        """Have the disk itself hold all that was written until now.

        Raises:
            DiskError: it does not.
        """
        with self._writes():
            self._database.execute("PRAGMA wal_checkpoint(FULL)").fetchone()

    def _limit(self) -> None:
        self._database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
        self._database.set_progress_handler(self._spend, _STEPS_A_LOOK)
        for pragma in ("trusted_schema = OFF", "cell_size_check = ON"):
            self._database.execute(f"PRAGMA {pragma}")

    def _spend(self) -> bool:
        """Whether a statement has taken more steps than the file can be worth."""
        self._steps += _STEPS_A_LOOK
        if self._steps <= _LEAST_STEPS:
            return False
        files = (self._path, self._path.with_name(f"{self._path.name}-wal"))
        size = sum(file.stat().st_size for file in files if file.exists())
        return self._steps > _LEAST_STEPS + _STEPS_A_BYTE * size

    def _require_tables(self) -> None:
        """Refuse what is there beside our tables and their own indexes."""
        ours = set(_TABLE.findall(self._schema.tables))
        rows = self._database.execute(
            "SELECT type, name, tbl_name, sql FROM sqlite_master LIMIT 100"
        )
        for kind, name, table, sql in rows:
            plain = kind == "table" and name in ours and _TABLE.match(sql or "")
            if not (plain or (kind == "index" and table in ours and sql is None)):
                raise SourceError(
                    f"{self._path}: holds a {kind} {str(name)[:40]!r} that no "
                    f"{self._schema.noun} has; {self._schema.damaged}"
                )

    def _require_columns(self) -> None:
        """Refuse tables of other columns, and columns that are worked out."""
        with contextlib.closing(sqlite3.connect(":memory:")) as model:
            model.executescript(self._schema.tables)
            for table in _TABLE.findall(self._schema.tables):
                shown = f"SELECT name, type, hidden FROM pragma_table_xinfo('{table}')"
                here, there = (
                    sorted(database.execute(shown).fetchall())
                    for database in (self._database, model)
                )
                if here != there:
                    raise SourceError(
                        f"{self._path}: its table {table} has other columns than a "
                        f"{self._schema.noun}'s; {self._schema.damaged}"
                    )

    def _prepare(self) -> None:
        schema = self._schema
        if not self._read(_HELD):
            identity = f"PRAGMA application_id = {schema.application_id};"
            self._change(_HELD, 0, schema.tables + identity)
        if self._read("PRAGMA application_id") != schema.application_id:
            raise SourceError(
                f"{self._path}: an SQLite file of another program, not a "
                f"{schema.noun}; {schema.refused}"
            )
        self._require_tables()
        version = self._read(_VERSION)
        if version in schema.upgrades:
            self._change(_VERSION, version, schema.upgrades[version])
        elif version != schema.version:
            raise SourceError(
                f"{self._path}: a {schema.noun} of schema {version}, this armicro "
                f"reads {schema.version}; use the version that wrote it, or "
                f"{schema.refused}"
            )
        self._require_columns()
        self._configure()
        if schema.checked:
            found = self._database.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise sqlite3.DatabaseError(found)

    def _read(self, statement: str) -> int:
        return int(self._database.execute(statement).fetchone()[0])

    def _change(self, asked: str, before: int, statements: str) -> None:
        """Make or upgrade the tables, whole or not at all, and only once.

        Another process may open the same file: who comes second finds it done.
        """
        with self._alone():
            if self._read(asked) == before:
                for statement in statements.split(";"):
                    self._database.execute(statement)
                self._database.execute(f"PRAGMA user_version = {self._schema.version}")

    def _configure(self) -> None:
        # NORMAL in WAL survives every crash of the process; a power cut may cost what
        # was written last, which is then made again, never the file.
        self._to_wal()
        for pragma in ("synchronous = NORMAL", "foreign_keys = ON"):
            self._database.execute(f"PRAGMA {pragma}")

    def _to_wal(self) -> None:
        for _ in range(_TRIES):
            try:
                self._database.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    raise
                # SQLite waits there for nobody who reads or does the same; here it
                # waits until the file is free.
                self._database.execute("BEGIN EXCLUSIVE")
                self._database.execute("ROLLBACK")
            else:
                return
        raise sqlite3.OperationalError("database is locked")

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what SQLite reports into an error that says what to do."""
        self._steps = 0
        try:
            yield
        except sqlite3.OperationalError as error:
            if _is_of_disk(error):
                raise self._not_kept(error) from error
            if error.sqlite_errorname == "SQLITE_INTERRUPT":
                raise SourceError(
                    f"{self._path}: takes far longer to read than its size allows; "
                    f"{self._schema.damaged}"
                ) from error
            raise SourceError(
                f"{self._path}: {error}; check that its folder exists and may be "
                "written, free space, and that no other armicro uses it"
            ) from error
        except _BROKEN as error:
            raise SourceError(
                f"{self._path}: damaged or not a {self._schema.noun} "
                f"({one_line(str(error), most=SAID)}); {self._schema.damaged}"
            ) from error

    @contextlib.contextmanager
    def _writes(self) -> Iterator[None]:
        """The same around what is to be kept: a failure is that of the work."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._not_kept(error) from error

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._writes(), self._alone():
            yield

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One transaction in which nobody else writes; whole, or as if never begun."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            # A full disk may have rolled it back already.
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    def _not_kept(self, error: sqlite3.Error) -> DiskError:
        return DiskError(
            f"{self._path}: {error}: what came last is not kept; free some space and "
            "go on with --resume, or choose another --out"
        )


def _is_of_disk(error: sqlite3.Error) -> bool:
    # Absent where the error is Python's own.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)

"""The journal's tables, and the check that a file is one of ours and whole.

A journal of schema 1 knew neither focus nor place error of an observation: it is given
the columns, and its observations count as sharp and surely placed, as they did then.
"""

import sqlite3
from pathlib import Path

from armicro.errors import SourceError

SCHEMA_VERSION = 2
"""Raised when a table changes; a file of another version is refused."""
APPLICATION_ID = 0x41524D43
"""``ARMC`` in the file's head tells our journals from other programs' SQLite files."""

_TABLES = """
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

_FROM_1 = f"""
BEGIN IMMEDIATE;
ALTER TABLE observations ADD COLUMN place_error_um REAL NOT NULL DEFAULT 0.0;
ALTER TABLE observations ADD COLUMN focus REAL;
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""


def prepare(database: sqlite3.Connection, path: Path) -> None:
    """Make the tables of a new file, or check those of an old one.

    Raises:
        SourceError: the file is another program's or another version's.
        sqlite3.DatabaseError: it is damaged or no SQLite file.
    """
    if not _read(database, "SELECT count(*) FROM sqlite_master"):
        _configure(database)
        # One transaction: killed half-way, the file is empty again.
        database.executescript(
            f"BEGIN IMMEDIATE; {_TABLES} PRAGMA application_id = {APPLICATION_ID}; "
            f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
        )
        return
    if _read(database, "PRAGMA application_id") != APPLICATION_ID:
        raise SourceError(
            f"{path}: an SQLite file of another program, not a journal; choose another "
            "output folder"
        )
    version = _read(database, "PRAGMA user_version")
    if version == 1:
        database.executescript(_FROM_1)
        version = SCHEMA_VERSION
    if version != SCHEMA_VERSION:
        raise SourceError(
            f"{path}: a journal of schema {version}, this armicro reads "
            f"{SCHEMA_VERSION}; use the version that wrote it, or another folder"
        )
    _configure(database)
    found = _read(database, "PRAGMA quick_check(1)")
    if found != "ok":
        raise sqlite3.DatabaseError(found)


def _read(database: sqlite3.Connection, statement: str) -> int | str:
    value: int | str = database.execute(statement).fetchone()[0]
    return value


def _configure(database: sqlite3.Connection) -> None:
    # NORMAL in WAL survives every crash of the process; a power cut may cost the last
    # fields, which are then read again, never the file.
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        database.execute(f"PRAGMA {pragma}")

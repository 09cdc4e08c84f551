"""The journal's tables.

A journal of schema 1 knew neither focus nor place error of an observation: it is given
the columns, and its observations count as sharp and surely placed, as they did then.
"""

from armicro.slide.database import Schema

JOURNAL = Schema(
    noun="journal",
    # ``ARMC``
    application_id=0x41524D43,
    version=2,
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
""",
    upgrades={
        1: """
ALTER TABLE observations ADD COLUMN place_error_um REAL NOT NULL DEFAULT 0.0;
ALTER TABLE observations ADD COLUMN focus REAL;
"""
    },
    refused="choose another output folder",
    damaged="move it away to start afresh, or restore it from a copy",
    checked=True,
)

"""The examination reads well in a terminal."""

from armicro.command.doctor import format_checks, format_summary
from armicro.doctor import Check

CHECKS = [
    Check("machine", "memory", "ok", "lots"),
    Check("machine", "disk", "broken", "word " * 20, "buy a disk"),
    Check("cameras", "Basler", "missing", "", "plug it in"),
]


def test_columns_line_up_and_long_lines_are_wrapped() -> None:
    text = format_checks(CHECKS, width=60)
    assert text.splitlines() == [
        "machine",
        "  ok  memory  lots",
        "  !!  disk    word word word word word word word word word",
        "              word word word word word word word word word",
        "              word word",
        "              -> buy a disk",
        "",
        "cameras",
        "  --  Basler  -",
        "              -> plug it in",
    ]


def test_colour_changes_the_marks_only() -> None:
    coloured = format_checks(CHECKS, colour=True)
    for code in ("\033[32m", "\033[33m", "\033[31;1m", "\033[0m"):
        coloured = coloured.replace(code, "")
    assert coloured == format_checks(CHECKS)


def test_summary_names_what_is_broken() -> None:
    assert format_summary(CHECKS) == "armicro does not work here yet: disk"
    assert format_summary(CHECKS[:1]) == "armicro works on this machine"
    assert format_summary(CHECKS[2:]) == (
        "armicro works on this machine; 1 optional thing is missing (--)"
    )


def test_nothing_makes_nothing() -> None:
    assert format_checks([]) == ""

"""``armicro calibrate show``: what a certificate says, to read."""

import argparse
from pathlib import Path

from armicro.calibrate.certificate import Certificate, days_left, lines_of
from armicro.certificate import describe, now, read_certificate
from armicro.console import add_json, show

EXAMPLE = """\
example:
  armicro calibrate show calibration/profiles/simulated-20x.toml
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the procedure takes."""
    parser.description = (
        "What a certificate says, to read. Its digest has no key: it finds accidents, "
        "not intent."
    )
    parser.add_argument("certificate", type=Path, metavar="CERTIFICATE")
    add_json(parser, "print it as JSON")


def run(args: argparse.Namespace) -> int:
    """Print it; 2 when it was edited or is none."""
    certificate = read_certificate(args.certificate)
    answer = {
        "certificate": certificate,
        "digest": certificate.digest,
        "days_left": round(days_left(certificate, now()), 1),
    }
    show(answer, text_of(certificate), as_json=args.json)
    return 0


def text_of(certificate: Certificate) -> str:
    """The certificate as a table for a terminal."""
    days = days_left(certificate, now())
    left = f"in {days:.0f} days" if days > 0 else "EXPIRED: no boxes are drawn"
    rows = [
        ("instrument", describe(certificate.instrument)),
        ("made", f"{certificate.made_at[:16]} by {certificate.made_by or 'unknown'}"),
        ("expires", f"{certificate.expires_at[:10]}, {left}"),
        ("digest", certificate.digest),
    ]
    for line in lines_of(certificate):
        rows.append((line.name, line.value))
        if line.how:
            rows.append(("", f"{line.how}; on {line.measured_at[:10]}"))
    return "\n".join(f"{name:11}{text}".rstrip() for name, text in rows)

"""``armicro calibrate show``: what a certificate says, to read."""

import argparse
import sys
from pathlib import Path

from armicro.calibrate.certificate import Certificate, days_left, lines_of
from armicro.certificate import describe, now, read_certificate
from armicro.command.calibrate.picture import as_json

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
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def run(args: argparse.Namespace) -> int:
    """Print it; 2 when it was edited or is none."""
    certificate = read_certificate(args.certificate)
    if args.json:
        answer = {
            "certificate": certificate,
            "digest": certificate.digest,
            "days_left": round(days_left(certificate, now()), 1),
        }
        sys.stdout.write(as_json(answer))
    else:
        sys.stdout.write(text_of(certificate))
    return 0


def text_of(certificate: Certificate) -> str:
    """The certificate as a table for a terminal."""
    rows = [
        ("instrument", describe(certificate.instrument)),
        ("made", f"{certificate.made_at[:16]} by {certificate.made_by or 'unknown'}"),
        ("expires", f"{certificate.expires_at[:10]}, {_left(certificate)}"),
        ("digest", certificate.digest),
    ]
    for line in lines_of(certificate):
        rows.append((line.name, line.value))
        if line.how:
            rows.append(("", f"{line.how}; on {line.measured_at[:10]}"))
    return "".join(f"{name:11}{text}".rstrip() + "\n" for name, text in rows)


def _left(certificate: Certificate) -> str:
    days = days_left(certificate, now())
    return f"in {days:.0f} days" if days > 0 else "EXPIRED: no boxes are drawn"

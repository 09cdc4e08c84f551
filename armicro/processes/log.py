"""Structured logs on stderr: quiet by default, one line an event.

``ARMICRO_LOG`` is a level (``debug``, ``info``, ``warning``); with ``:json`` behind it
every line is a JSON object.
"""

import logging
import os
import sys

import structlog


def set_up_logging(process: str) -> None:
    """Configure structlog for this process."""
    level, _, form = os.environ.get("ARMICRO_LOG", "warning").partition(":")
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.processors.LogfmtRenderer(
            key_order=["timestamp", "level", "process", "event"]
        )
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping().get(level.upper(), logging.WARNING)
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    structlog.contextvars.bind_contextvars(process=process)

"""Logs go to stderr: lines for people on a terminal, JSON where a program reads them."""

from __future__ import annotations

import logging
import sys

import structlog

from nvisy.cli.failure import cleaned


class _Stderr(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes to what stderr is now: a live table puts itself in between."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        return cleaned(super().format(record))


def log_to_stderr() -> None:
    """Send what the libraries and Nvisy itself log to stderr, from `info` on."""
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    )
    handler = _Stderr()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                structlog.stdlib.add_log_level,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)

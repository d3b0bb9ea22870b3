"""Structured logs on standard error: lines for people, or JSON lines for machines."""

import logging
import sys

import structlog

from daemon.config import LogConfig


def configure_log(config: LogConfig) -> None:
    """Send every structlog logger of this process to standard error, as configured."""
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if config.format == "json":
        processors += [
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ]
    else:
        processors.append(
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                exception_formatter=structlog.dev.plain_traceback,  # the pretty one takes long
            )
        )
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[config.level.upper()]
        ),
        logger_factory=lambda *_: structlog.WriteLogger(sys.stderr),  # of the time of each line
    )

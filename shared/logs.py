"""Logs to standard error: JSON lines, or columns on a terminal."""

import sys

import structlog
from structlog.tracebacks import ExceptionDictTransformer

# Without the values of local variables: tokens and addresses with passwords are among them.
STACKS = ExceptionDictTransformer(show_locals=False)


def configure(level: str = "info") -> None:
    """Sets structlog up for this process; `level` is the lowest that is shown."""
    person = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if person else [structlog.processors.ExceptionRenderer(STACKS)]),
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
            if person
            else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )

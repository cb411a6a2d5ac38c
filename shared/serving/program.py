"""What all programs share: the command line, and the message when one cannot run."""

import argparse
import sys
from collections.abc import Callable
from importlib import metadata

DISTRIBUTION = "course-analytics"
CANNOT_RUN = 2


class CannotRun(Exception):
    """The program is misconfigured; the text is one sentence that says how to fix it."""


def command_line(name: str, description: str) -> argparse.ArgumentParser:
    """A parser that knows --help and --version."""
    parser = argparse.ArgumentParser(prog=name, description=description)
    parser.add_argument("--version", action="version", version=f"{name} {metadata.version(DISTRIBUTION)}")
    return parser


def exit_code(program: Callable[[], int | None]) -> int:
    """Runs a program. Returns its exit code; 2, with one sentence on standard error, when it cannot run."""
    code: int | None = 0
    try:
        code = program()
    except* CannotRun as refused:
        print(_first(refused), file=sys.stderr)  # noqa: T201 - for the user, with or without logs
        code = CANNOT_RUN
    return code or 0


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error

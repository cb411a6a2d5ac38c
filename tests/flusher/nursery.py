"""Flushers that fail, one after another, each a process of its own, forked from one that has imported everything.

A line of JSON on standard input, `[arguments of tests.flusher.failing, environment]`, starts one; its exit code is
printed when it has ended.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.flusher import failing


class Nursery:
    """The process that forks."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process = process
        self._log = log

    def run(self, *arguments: str, **settings: object) -> int:
        """The exit code of a failing flusher with these arguments and settings."""
        environment = {f"ANALYTICS_{name.upper()}": str(value) for name, value in settings.items()}
        assert self._process.stdin
        assert self._process.stdout
        print(json.dumps([arguments, environment]), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def output(self) -> str:
        """All that the flushers have logged."""
        return self._log.read_text()


@contextmanager
def nursery(log: Path) -> Iterator[Nursery]:
    """A nursery; it ends with its standard input, so also when we are killed."""
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [sys.executable, "-m", "tests.flusher.nursery"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        yield Nursery(process, log)


def main() -> None:
    """Forks until there are no more orders."""
    for order in sys.stdin:
        arguments, environment = json.loads(order)
        sys.stdout.write(f"{_exit_code_of_fork(arguments, environment)}\n")
        sys.stdout.flush()


def _exit_code_of_fork(arguments: list[str], environment: Mapping[str, str]) -> int:
    child = os.fork()
    if child == 0:
        os.environ.update(environment)
        sys.argv[1:] = arguments
        os._exit(failing.main())
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    main()

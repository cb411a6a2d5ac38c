"""`python -m tests.model`: the large searches, and what goes wrong without each measure. Exit 1 on any surprise."""

import argparse
import gc
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from tests.model.circumstances import LARGE, NEEDED
from tests.model.rules import Circumstance, Measures, Rules
from tests.model.search import Result, search
from tests.model.trace import story

PAUSE_SECONDS = 5


def main() -> int:
    """Runs every search; returns the exit code."""
    argparse.ArgumentParser(prog="python -m tests.model", description=__doc__).parse_args()
    # Millions of tuples, none in a cycle: looking for cycles would take a third of the time.
    gc.disable()
    progress = Progress(len(LARGE) + len(NEEDED), time.monotonic)
    clean = [_searched(circumstance, Measures(), "", progress) for circumstance in LARGE]
    faulty = [
        _searched(circumstance, replace(Measures(), **{measure: False}), measure, progress)
        for measure, circumstance in NEEDED
    ]
    surprises = sum(bool(result.fault) or not result.ends for result in clean) + sum(
        not result.fault for result in faulty
    )
    results = clean + faulty
    states, seconds = sum(result.states for result in results), sum(result.seconds for result in results)
    _say(f"{len(results)} searches, {states:,} states, {seconds:.0f} s: {surprises or 'no'} surprises")
    return 1 if surprises else 0


class Progress:
    """Says every five seconds how far it is, by a clock in seconds."""

    def __init__(self, searches: int, now: Callable[[], float]) -> None:
        self._searches = searches
        self._now = now
        self._number = 0
        self._began = self._said = now()

    def next(self) -> None:
        """Another search begins."""
        self._number += 1

    def seen(self, states: int) -> None:
        """So many states of it have been visited."""
        now = self._now()
        if now - self._said >= PAUSE_SECONDS:
            self._said = now
            _say(f"  search {self._number} of {self._searches}: {states:,} states, {now - self._began:.0f} s in all")


def _searched(circumstance: Circumstance, measures: Measures, without: str, progress: Progress) -> Result:
    progress.next()
    result = search(circumstance, measures, progress.seen)
    what = f"without {without}: {circumstance.name}" if without else circumstance.name
    _say(f"{result.states:>10,} states {result.seconds:6.1f} s  {'FAULT' if result.fault else 'clean'}  {what}")
    if result.fault:
        for line in story(result, Rules(circumstance, measures)):
            _say(line)
    return result


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())

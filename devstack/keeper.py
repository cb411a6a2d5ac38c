"""Keeps the processes of the stack running: a process that dies is restarted and reported."""

import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import NoReturn

from devstack.child import Child, StartError

# A process that dies sooner than this has failed to start. After this many failed starts in a row the keeper gives up.
SOON_SECONDS = 5.0
STARTS = 5
PAUSE_SECONDS = 0.5


class Keeper:
    """Restarts each child that ends, from the thread that started them: the kernel kills them with that thread."""

    def __init__(self, children: Sequence[Child], say: Callable[[str], None]) -> None:
        self._children = children
        self._say = say
        self._started: defaultdict[str, float] = defaultdict(time.monotonic)
        self._in_vain: defaultdict[str, int] = defaultdict(int)

    def run(self) -> NoReturn:
        """Never returns. Raises StartError if a process cannot be restarted, and what a signal handler raises."""
        while True:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
            self._restart(next(child for child in self._children if ended and child.pid == ended.si_pid))

    def _restart(self, child: Child) -> None:
        how = how_it_ended(child.process.wait())
        soon = time.monotonic() - self._started[child.name] < SOON_SECONDS
        self._in_vain[child.name] = self._in_vain[child.name] + 1 if soon else 0
        if self._in_vain[child.name] >= STARTS:
            raise StartError(f"{child.name} {how} again and again. {child.tail()}")
        self._say(f"{child.name} {how}, and is started again; its log is {child.log}")
        if soon:
            time.sleep(PAUSE_SECONDS)
        self._started[child.name] = time.monotonic()
        child.launch()


def how_it_ended(code: int) -> str:
    """An exit code in words."""
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

"""How long a commit lingers to batch more events.

A larger commit saves CPU time: a ping that shares its commit with two others costs a third more than one that shares it
with twenty. But lingering delays the answer. So a commit lingers only when the process is short of CPU time.
"""

import time
from collections.abc import Callable

# Below the first share of a core a commit does not linger; above the second it lingers longest; in between, in part.
AT_EASE = 0.7
BUSY = 1.0

# The period over which that share is measured: long compared with a commit, short compared with a change of load.
WINDOW_SECONDS = 0.05


def share_of_linger(busy: float) -> float:
    """The share of the longest time to linger, 0 to 1, when the process uses this share of a core."""
    return min(1.0, max(0.0, (busy - AT_EASE) / (BUSY - AT_EASE)))


class Linger:
    """Follows the load of this process. `longest` in seconds; `cpu` is its CPU time, `now` a monotonic clock."""

    def __init__(
        self, longest: float, *, cpu: Callable[[], float] = time.process_time, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._longest = longest
        self._cpu = cpu
        self._now = now
        self._since = now(), cpu()
        self._busy = 0.0

    def seconds(self) -> float:
        """How long the next commit lingers, in seconds."""
        then, used = self._since
        passed = self._now() - then
        if passed >= WINDOW_SECONDS:
            self._busy = (self._cpu() - used) / passed
            self._since = then + passed, self._cpu()
        return self._longest * share_of_linger(self._busy)

"""How long a commit waits for company.

Company saves processor time: with two others in its commit, a ping costs a third more than with twenty. It costs
waiting. So it is worth waiting for when the process is short of processor time, and only then.
"""

import time
from collections.abc import Callable

# Below this share of a core nobody waits, from the other on for the longest time; in between for a part of it.
AT_EASE = 0.7
BUSY = 1.0

# So long is looked at for that share: long against a commit, short against a change of the load.
WINDOW_SECONDS = 0.05


def share_of_linger(busy: float) -> float:
    """How much of the longest time to wait, 0 to 1, when the process uses so much of a core."""
    return min(1.0, max(0.0, (busy - AT_EASE) / (BUSY - AT_EASE)))


class Linger:
    """Follows the load of this process. `longest` in seconds; `cpu` is its processor time, `now` a monotonic clock."""

    def __init__(
        self, longest: float, *, cpu: Callable[[], float] = time.process_time, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._longest = longest
        self._cpu = cpu
        self._now = now
        self._since = now(), cpu()
        self._busy = 0.0

    def seconds(self) -> float:
        """How long the next commit waits."""
        then, used = self._since
        passed = self._now() - then
        if passed >= WINDOW_SECONDS:
            self._busy = (self._cpu() - used) / passed
            self._since = then + passed, self._cpu()
        return self._longest * share_of_linger(self._busy)

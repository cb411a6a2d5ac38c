"""How many events one user may send, counted or not.

A user without `analytics:write` reports what one person does. A backend reports for many, and is limited only by its
share of the queue.
"""

import asyncio
import time
from collections.abc import Callable

from ingest_server.batches import WRITE_SCOPE
from shared.identity.auth import Caller
from shared.serving.errors import Overloaded

EVENTS_A_SECOND = 5_000
BURST_EVENTS = 50_000

ROUNDING_SECONDS = 1e-6

# The most users with a bucket in memory; a user who was dropped has a full bucket again.
USERS = 100_000


class Allowance:
    """A token bucket for each user; `now` is a monotonic clock in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._full_again: dict[str, float] = {}

    def charge(self, caller: Caller, events: int) -> None:
        """Takes so many events from the caller's bucket. Raises Overloaded if it has too few."""
        if self._charge(caller, events) > 0:
            raise Overloaded(f"one user may send {EVENTS_A_SECOND:,} events a second", cause="rate")

    async def wait(self, caller: Caller, events: int) -> None:
        """Takes so many events from the caller's bucket, as soon as it has them."""
        while (missing := self._charge(caller, events)) > 0:  # noqa: ASYNC110 - only time fills the bucket
            await asyncio.sleep(missing)

    def _charge(self, caller: Caller, events: int) -> float:
        """The seconds until the bucket holds so many; 0 when they have been taken."""
        if WRITE_SCOPE in caller.scope:
            return 0
        now = self._now()
        full_again = max(now, self._full_again.get(caller.user_id, 0)) + events / EVENTS_A_SECOND
        missing = full_again - now - BURST_EVENTS / EVENTS_A_SECOND
        if missing > ROUNDING_SECONDS:
            return missing
        if len(self._full_again) >= USERS:
            self._forget(now)
        self._full_again[caller.user_id] = full_again
        return 0

    def _forget(self, now: float) -> None:
        """Those whose bucket is full, or all if there are none."""
        owing = {user: full_again for user, full_again in self._full_again.items() if full_again > now}
        self._full_again = owing if len(owing) < USERS // 2 else {}

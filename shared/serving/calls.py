"""The calls of a server, so that it stops when no more are sent to it."""

import asyncio
import time

# Callers and the gateway's health checks learn within two to three seconds that a server stops, and go elsewhere.
DRAIN_SECONDS = 4.0
# No call for so long: what was answered has reached its caller, and the next call went elsewhere.
QUIET_SECONDS = 0.25
LOOK_SECONDS = 0.05


class Calls:
    """How many calls are in hand, and when the last has ended. Each call is a `with` block."""

    def __init__(self) -> None:
        self._in_hand = 0
        self._last = -QUIET_SECONDS

    def __enter__(self) -> None:
        """Notes that a call has begun."""
        self._in_hand += 1

    def __exit__(self, *_: object) -> None:
        """Notes that it has ended."""
        self._in_hand -= 1
        self._last = time.monotonic()

    async def drained(self) -> None:
        """Returns once calls no longer come, or after the longest time to wait for that.

        gRPC ends a call that comes while it stops, and a connection with unread answers, so a server that callers still
        use would fail some of them.
        """
        give_up = time.monotonic() + DRAIN_SECONDS
        while not self._is_quiet() and time.monotonic() < give_up:  # noqa: ASYNC110 - an event would cost each call
            await asyncio.sleep(LOOK_SECONDS)

    def _is_quiet(self) -> bool:
        return not self._in_hand and time.monotonic() - self._last >= QUIET_SECONDS

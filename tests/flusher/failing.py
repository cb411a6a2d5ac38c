"""The flusher, made to stop in the middle: `python -m tests.flusher.failing KILL "before take 2" [--once]`.

It kills (KILL) or freezes (STOP) itself at a point: before or after the n-th time that it takes a step. The program
itself knows nothing of this: the steps are wrapped from outside, and cut so small that several of each are taken.
"""

import functools
import os
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection

from flusher import __main__ as program
from flusher.steps import apply, barrier, clear, plan, users, wave
from flusher.steps.lease import Lease
from shared.stores.redis_connection import Command, RedisConnection, Reply

Step = Callable[..., Awaitable[Any]]

STEPS: dict[str, tuple[Any, str]] = {
    "lock": (Lease, "acquire"),
    "epoch": (wave, "next_epoch"),
    "take": (wave, "take"),
    "barrier": (barrier, "safe"),
    "bulk": (AsyncCollection, "bulk_write"),
    "verify": (apply, "committed"),
    "close": (apply, "close"),
    "clear": (clear, "send"),
    "success": (wave, "note_success"),
    "sketches": (users, "save"),
    "release": (Lease, "release"),
}
"""Each step, and where the flusher looks for it."""

TAKE_TALLIES = 1
WAVE_TALLIES = 2
BULK_COUNTERS = 6  # two courses of one ping each


def fail_at(point: str, failure: signal.Signals) -> None:
    """Wraps the steps: at the point, the process sends itself the signal."""
    taken: Counter[str] = Counter()

    def wrapped(name: str, step: Step) -> Step:
        @functools.wraps(step)
        async def failing(*arguments: Any, **named: Any) -> Any:
            taken[name] += 1
            number = taken[name]
            reach(f"before {name} {number}")
            try:
                return await step(*arguments, **named)
            finally:
                reach(f"after {name} {number}")

        return failing

    def reach(here: str) -> None:
        if here == point:
            os.kill(os.getpid(), failure)

    for name, (owner, attribute) in STEPS.items():
        setattr(owner, attribute, wrapped(name, getattr(owner, attribute)))


def cut_small() -> None:
    """One tally a take, two a bulk write, one a clear; and several waves in flight, once there are three tallies."""
    plan.lanes = functools.partial(plan.lanes, size=WAVE_TALLIES)
    wave.TAKE_TALLIES = TAKE_TALLIES
    clear.CLEAR_TALLIES = 1
    wave.bulks = functools.partial(wave.bulks, counters=BULK_COUNTERS)  # type: ignore[attr-defined] # a function of the module
    send = clear.send

    async def send_each(connection: RedisConnection, commands: Sequence[Command]) -> list[Reply]:
        return [reply for command in commands for reply in await send(connection, [command])]

    clear.send = send_each


def main() -> int:
    """Takes its own two arguments off, and runs the flusher with the rest."""
    _, failure, point, *rest = sys.argv
    sys.argv[1:] = rest
    fail_at(point, signal.Signals[f"SIG{failure}"])
    cut_small()
    return program.main()


if __name__ == "__main__":
    sys.exit(main())

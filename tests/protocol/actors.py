"""Flushers and readers that stop before every step, and go on when they are told to, with the fate they are given.

They are the project's own: only the functions that talk to a store are wrapped, so that each of them first waits for
its turn.
"""

import asyncio
import contextlib
import enum
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextvars import ContextVar
from typing import Any

from pymongo.errors import AutoReconnect, BulkWriteError

from flusher.steps.lease import Lease
from shared.stores.redis_connection import RedisConnection, RedisUnreachable
from tests.flusher.failing import STEPS

IN_MONGO = {"epoch", "bulk", "verify", "success"}
MANY = {"bulk", "clear"}

Step = Callable[..., Awaitable[Any]]


class Fate(enum.Enum):
    """What becomes of a step."""

    DONE = "done"
    REQUEST_LOST = "its request is lost"
    REPLY_LOST = "it is done, and its reply lost"
    LATE = "its reply is lost, and it is done later"
    IN_PART = "half of it is done, and its reply lost"
    KILLED = "its process is killed before it"


class Killed(BaseException):
    """The process is no more."""


class Actor:
    """A task that stops before its steps."""

    def __init__(self) -> None:
        self.at = ""
        self.connection: RedisConnection | None = None
        self.is_dead = False
        self._arrived = asyncio.Event()
        self._turns: asyncio.Queue[Fate | None] = asyncio.Queue()
        self._one_at_a_time = asyncio.Lock()
        self._task: asyncio.Task[Any] | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has no steps left."""
        return self._task is not None and self._task.done()

    async def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Lets it come to its first step."""

        async def play() -> Any:
            CURRENT.set(self)
            return await work

        self._task = asyncio.create_task(play())
        await self._settled()

    async def go_on(self, fate: Fate) -> None:
        """Lets it take one step, and come to the next."""
        if fate is Fate.KILLED:
            await self.kill()
            return
        self._arrived.clear()
        self._turns.put_nowait(fate)
        await self._settled()

    async def kill(self) -> None:
        """Ends it as a power cut would: its connection breaks, and it does nothing any more."""
        self.is_dead = True
        if self._task and not self._task.done():
            self._turns.put_nowait(None)
            with contextlib.suppress(Killed):
                await self._task
        if self.connection:
            await self.connection.close()

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """One step at a time, although bulk writes to several collections go out side by side.

        A step within a step has no other beside it.
        """
        if WITHIN.get():
            yield
            return
        async with self._one_at_a_time:
            token = WITHIN.set(True)
            try:
                yield
            finally:
                WITHIN.reset(token)

    async def turn(self, step: str) -> Fate:
        """Waits for its turn to take the step."""
        if self.is_dead:
            raise Killed
        self.at = step
        self._arrived.set()
        fate = await self._turns.get()
        if fate is None:
            raise Killed
        return fate

    def result(self) -> Any:
        """What it came to; None when it was killed."""
        assert self._task
        return None if self.is_dead else self._task.result()

    async def _settled(self) -> None:
        assert self._task
        arrival = asyncio.create_task(self._arrived.wait())
        await asyncio.wait({self._task, arrival}, return_when=asyncio.FIRST_COMPLETED)
        arrival.cancel()


CURRENT: ContextVar[Actor | None] = ContextVar("actor", default=None)
WITHIN: ContextVar[bool] = ContextVar("within a step", default=False)


class Air:
    """Requests that are on their way still, although nobody waits for them any more."""

    def __init__(self, redis_url: str) -> None:
        self._redis_url = redis_url
        self._late: list[Callable[[Any], Awaitable[Any]]] = []
        self._to_redis: list[bool] = []

    def __len__(self) -> int:
        return len(self._late)

    def hold(self, step: Step, where: Any, what: Any, **named: Any) -> None:
        """Keeps the requests of a step for later."""
        self._late.append(lambda anew: step(anew or where, what, **named))
        self._to_redis.append(isinstance(where, RedisConnection))

    async def deliver(self) -> None:
        """Lets the oldest arrive. Whoever sent it does not hear of it."""
        request, to_redis = self._late.pop(0), self._to_redis.pop(0)
        connection = await RedisConnection.open(self._redis_url, timeout=5) if to_redis else None
        with contextlib.suppress(BulkWriteError):
            await request(connection)
        if connection:
            await connection.close()


@contextlib.contextmanager
def turns(air: Air) -> Iterator[None]:
    """Makes every step of an actor wait for its turn; everybody else's are as they are."""
    originals = {name: getattr(owner, attribute) for name, (owner, attribute) in STEPS.items()}
    for name, (owner, attribute) in STEPS.items():
        setattr(owner, attribute, _in_turn(name, originals[name], air))
    try:
        yield
    finally:
        for name, (owner, attribute) in STEPS.items():
            setattr(owner, attribute, originals[name])


def _in_turn(name: str, step: Step, air: Air) -> Step:
    async def taken_in_turn(*arguments: Any, **named: Any) -> Any:
        actor = CURRENT.get()
        if actor is None or (name == "clear" and not arguments[1]):
            return await step(*arguments, **named)
        if isinstance(arguments[0], Lease):
            actor.connection = arguments[0]._connection
        async with actor.alone():
            fate = await actor.turn(name)
            if fate is Fate.DONE:
                return await step(*arguments, **named)
            await _disturbed(name, step, fate, air, *arguments, **named)
            return await _lost(name, actor)

    return taken_in_turn


async def _disturbed(name: str, step: Step, fate: Fate, air: Air, *arguments: Any, **named: Any) -> None:
    if fate is Fate.LATE and name in MANY:
        air.hold(step, *arguments, **named)
    elif fate is Fate.REPLY_LOST:
        await step(*arguments, **named)
    elif fate is Fate.IN_PART and name in MANY:
        where, whole = arguments
        await step(where, whole[: len(whole) // 2], **named)


async def _lost(name: str, actor: Actor) -> None:
    if name in IN_MONGO:
        raise AutoReconnect("lost")
    if name == "close":  # it keeps its failures to itself, as the release does
        return
    assert actor.connection
    await actor.connection.close()
    if name != "release":
        raise RedisUnreachable("lost")

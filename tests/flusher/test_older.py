"""Redis comes back older than it was: nothing counts twice, and only what Redis has forgotten can be missing.

What it had before, and MongoDB has already, is a batch that is hot once more: it goes aside as resurrected.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from devstack.servers import RedisServer
from shared.data import keys
from shared.settings import Barrier
from tests.flusher.stage import ONE_PING, Stage, course, pings, staged, until

COURSE = course(1)
ONE_REPLICA = Barrier("replicas", 1)

StartRedis = Callable[..., RedisServer]


@pytest.fixture
async def stages(stage: Stage) -> AsyncIterator["Stages"]:
    async with AsyncExitStack() as stack:
        yield Stages(stage, stack)


class Stages:
    """Stages on private Redis servers and one database."""

    def __init__(self, shared: Stage, stack: AsyncExitStack) -> None:
        self._shared = shared
        self._stack = stack

    async def on(self, server: RedisServer) -> Stage:
        return await self._stack.enter_async_context(staged(server.url, self._shared.database))


def tail(server: RedisServer) -> "Tail":
    (file,) = server.log.parent.glob("appendonlydir/*.incr.aof")
    return Tail(server, file.stat().st_size)


class Tail:
    """What a Redis appends to its file from now on."""

    def __init__(self, server: RedisServer, start: int) -> None:
        self._server = server
        self._start = start

    def cut(self) -> None:
        """Restarts the server without it."""
        self._server.kill()
        (file,) = self._server.log.parent.glob("appendonlydir/*.incr.aof")
        with file.open("r+b") as appended:
            appended.truncate(self._start)
        self._server.start()


async def resurrected(stage: Stage) -> list[dict[str, int]]:
    kept = [json.loads(text) for text in (await stage.hash(keys.quarantined_counters, COURSE)).values()]
    assert {"resurrected"} >= {one["reason"] for one in kept}
    return [one["counters"] for one in kept]


PERSISTENCE = [("valkey", "always"), ("redis", "everysec")]


@pytest.mark.parametrize(("flavour", "appendfsync"), PERSISTENCE)
async def test_a_flushed_batch_that_comes_back_is_neither_added_nor_shown_again(
    start_redis: StartRedis, stages: Stages, flavour: str, appendfsync: str
) -> None:
    server = start_redis(flavour=flavour, appendfsync=appendfsync)
    before = await stages.on(server)
    await before.ping(COURSE)
    lost = tail(server)
    assert not (await before.flush()).left

    lost.cut()

    after = await stages.on(server)
    assert {COURSE: ONE_PING} == await after.shown(COURSE)
    assert 1 == (await after.flush()).quarantined
    assert {COURSE: ONE_PING} == await after.shown(COURSE) == await after.flushed(COURSE)
    assert [ONE_PING] == await resurrected(after)


async def test_pings_that_join_a_batch_that_came_back_are_all_that_is_lost(
    start_redis: StartRedis, stages: Stages
) -> None:
    server = start_redis()
    before = await stages.on(server)
    await before.ping(COURSE)
    lost = tail(server)
    await before.flush()
    lost.cut()
    after = await stages.on(server)
    await after.ping(COURSE)

    await after.flush()

    assert {COURSE: ONE_PING} == await after.flushed(COURSE)
    assert [pings(2)] == await resurrected(after)
    await after.ping(COURSE)
    assert not (await after.flush()).left
    assert {COURSE: pings(2)} == await after.shown(COURSE) == await after.flushed(COURSE)


async def test_only_the_pings_of_the_lost_tail_are_missing(start_redis: StartRedis, stages: Stages) -> None:
    server = start_redis()
    before = await stages.on(server)
    for _ in range(3):
        await before.ping(COURSE)
    lost = tail(server)
    for _ in range(4):
        await before.ping(COURSE)

    lost.cut()

    after = await stages.on(server)
    assert {COURSE: pings(3)} == await after.shown(COURSE)
    await after.flush()
    assert {COURSE: pings(3)} == await after.flushed(COURSE)


async def test_a_replica_promoted_without_the_newest_writes_doubles_nothing(
    start_redis: StartRedis, stages: Stages
) -> None:
    primary, replica = start_pair(start_redis)
    before, after = await stages.on(primary), await stages.on(replica)
    await before.ping(COURSE)
    await until(lambda: has_the_same(before, after))
    await after.call("REPLICAOF", "NO", "ONE")
    assert not (await before.flush()).left
    primary.kill()

    assert 1 == (await after.flush()).quarantined

    assert {COURSE: ONE_PING} == await after.shown(COURSE) == await after.flushed(COURSE)
    assert [ONE_PING] == await resurrected(after)


async def test_with_a_barrier_of_replicas_a_failover_loses_and_doubles_nothing(
    start_redis: StartRedis, stages: Stages
) -> None:
    primary, replica = start_pair(start_redis)
    before, after = await stages.on(primary), await stages.on(replica)
    await before.ping(COURSE)
    await until(lambda: has_the_same(before, after))
    assert not (await before.flush(barrier=ONE_REPLICA)).left
    await before.ping(COURSE)
    await until(lambda: has_the_same(before, after))
    await after.call("REPLICAOF", "NO", "ONE")
    assert (await before.flush(barrier=ONE_REPLICA)).left
    primary.kill()

    assert not (await after.flush()).left

    assert {COURSE: pings(2)} == await after.shown(COURSE) == await after.flushed(COURSE)


def start_pair(start_redis: StartRedis) -> tuple[RedisServer, RedisServer]:
    """A primary and its replica."""
    primary = start_redis(repl_diskless_sync_delay="0")
    return primary, start_redis(replicaof=primary.address.replace(":", " "))


async def has_the_same(before: Stage, after: Stage) -> bool:
    counters = await before.hash(keys.course_counters, COURSE)
    return counters == await after.hash(keys.course_counters, COURSE)

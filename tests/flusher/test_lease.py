from collections.abc import AsyncIterator, Callable

import pytest

from devstack.servers import RedisServer
from flusher.steps.lease import Lease, LeaseLost
from shared.data import keys
from shared.stores.redis_connection import RedisConnection
from tests.flusher.stage import Stage
from tests.flusher.store import fill

LOCK = keys.flush_lock(7)


class Clock:
    """A monotonic clock that goes on when told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
async def connection(redis_url: str) -> AsyncIterator[RedisConnection]:
    """A wave's own."""
    opened = await RedisConnection.open(redis_url, timeout=5)
    yield opened
    await opened.close()


async def test_a_lock_is_taken_by_one_only(stage: Stage, connection: RedisConnection) -> None:
    assert {7, 8} == await stage.lease(stage.redis, token="a").acquire([7, 8])

    assert {9} == await stage.lease(connection, token="b").acquire([8, 9])
    assert b"a" == await stage.call("GET", keys.flush_lock(8))


async def test_the_holder_of_a_lock_takes_it_again(stage: Stage, connection: RedisConnection) -> None:
    await stage.lease(stage.redis, token="a").acquire([7])

    assert {7} == await stage.lease(connection, token="a").acquire([7])


async def test_a_lock_ends_by_itself(stage: Stage) -> None:
    await stage.lease(stage.redis, ttl=60.0).acquire([7])

    assert 59_000 < await stage.call("PTTL", LOCK) <= 60_000


async def test_a_full_redis_gives_locks_all_the_same(start_redis: Callable[..., RedisServer]) -> None:
    server = start_redis(maxmemory="3mb")
    connection = await RedisConnection.open(server.url, timeout=5)
    await fill(connection)

    lease = Lease(connection, token="a", ttl=60.0, now=lambda: 0.0)

    assert {7} == await lease.acquire([7])
    await lease.release(server.url)


async def test_the_time_left_counts_from_before_the_lock_was_asked_for(stage: Stage) -> None:
    clock = Clock()
    lease = stage.lease(stage.redis, ttl=60.0, now=clock)
    await lease.acquire([7])

    clock.seconds += 45

    assert 15 == pytest.approx(lease.seconds_left())


async def test_no_time_is_left_when_one_of_the_locks_may_be_over(stage: Stage) -> None:
    clock = Clock()
    lease = stage.lease(stage.redis, ttl=60.0, now=clock)
    await lease.acquire([7, 8])

    clock.seconds += 30
    lease.renewed(8, clock.seconds)
    assert 30 == pytest.approx(lease.seconds_left())

    clock.seconds += 30
    with pytest.raises(LeaseLost):
        lease.seconds_left()


async def test_without_a_lock_no_time_is_left(stage: Stage) -> None:
    with pytest.raises(LeaseLost):
        stage.lease(stage.redis).seconds_left()


async def test_what_is_ours_is_released(stage: Stage, connection: RedisConnection) -> None:
    lease = stage.lease(connection)
    await lease.acquire([7, 8])

    await lease.release(stage.redis_url)

    assert [] == await stage.locks()


async def test_a_lock_that_is_no_longer_ours_is_not_released(stage: Stage, connection: RedisConnection) -> None:
    lease = stage.lease(connection, token="a")
    await lease.acquire([7])
    await stage.call("SET", LOCK, "b")

    await lease.release(stage.redis_url)

    assert b"b" == await stage.call("GET", LOCK)


async def test_a_lost_connection_leaves_no_lock_behind(stage: Stage, connection: RedisConnection) -> None:
    lease = stage.lease(connection)
    await lease.acquire([7])
    await connection.close()

    await lease.release(stage.redis_url)

    assert [] == await stage.locks()

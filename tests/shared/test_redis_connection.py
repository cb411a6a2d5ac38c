"""One connection, and what its failures leave behind."""

import asyncio
from collections.abc import Callable

import pytest
from redis.exceptions import ResponseError

from devstack.child import HOST, free_port
from devstack.servers import RedisServer
from shared.stores import redis_connection
from shared.stores.redis_connection import RedisConnection, RedisUnreachable


async def test_options_in_the_address_do_not_change_how_we_talk(redis_url: str) -> None:
    connection = await RedisConnection.open(f"{redis_url}?protocol=3&socket_timeout=9", timeout=1)
    assert [[]] == await connection.call(("HGETALL", "nothing"), timeout=1)
    await connection.close()


async def test_a_command_that_is_refused_is_answered_in_its_place(redis_url: str) -> None:
    connection = await RedisConnection.open(redis_url, timeout=1)
    first, refused, last = await connection.call_each(("PING",), ("GET",), ("ECHO", "x"), timeout=1)
    assert (b"PONG", b"x") == (first, last)
    assert isinstance(refused, ResponseError)
    await connection.close()


async def test_call_raises_what_is_refused_and_stays_in_step(redis_url: str) -> None:
    connection = await RedisConnection.open(redis_url, timeout=1)
    with pytest.raises(ResponseError):
        await connection.call(("GET",), ("ECHO", "x"), timeout=1)
    assert [b"y"] == await connection.call(("ECHO", "y"), timeout=1)
    await connection.close()


async def test_a_call_that_is_not_answered_in_time_ends_the_connection(redis_url: str) -> None:
    connection = await RedisConnection.open(redis_url, timeout=1)
    with pytest.raises(RedisUnreachable):
        await connection.call(("BLPOP", "nothing", 5), timeout=0.05)
    assert not connection.is_open
    with pytest.raises(RedisUnreachable):
        await connection.call(("PING",), timeout=1)


async def test_a_call_that_is_cancelled_ends_the_connection(redis_url: str) -> None:
    connection = await RedisConnection.open(redis_url, timeout=1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await connection.call(("BLPOP", "nothing", 5), timeout=5)
    assert not connection.is_open


async def test_nobody_there_is_unreachable() -> None:
    with pytest.raises(RedisUnreachable, match="cannot connect to Redis"):
        await RedisConnection.open(f"redis://{HOST}:{free_port()}/0", timeout=1)


StartRedis = Callable[..., RedisServer]
NOBODY = f"{HOST} 1"


async def test_a_replica_is_as_good_as_away(start_redis: StartRedis) -> None:
    replica = start_redis(replicaof=NOBODY)
    with pytest.raises(RedisUnreachable, match="this Redis is a replica: ANALYTICS_REDIS_URL must lead to the primary"):
        await RedisConnection.open(replica.url, timeout=5)


async def test_a_primary_that_has_become_a_replica_is_found_and_left(start_redis: StartRedis) -> None:
    server = start_redis()
    connection = await RedisConnection.open(server.url, timeout=5)
    await connection.check_primary(timeout=5)
    await connection.call(("REPLICAOF", *NOBODY.split()), timeout=5)
    with pytest.raises(RedisUnreachable, match="is a replica"):
        await connection.check_primary(timeout=5)
    assert not connection.is_open


async def test_a_connection_is_fresh_until_its_name_may_lead_elsewhere(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await RedisConnection.open(redis_url, timeout=5)
    assert connection.is_fresh
    monkeypatch.setattr(redis_connection, "MAX_AGE_SECONDS", 0)
    assert (False, True) == (connection.is_fresh, connection.is_open)
    await connection.close()

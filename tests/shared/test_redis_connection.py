"""One connection, and what its failures leave behind."""

import asyncio

import pytest
from redis.exceptions import ResponseError

from devstack.child import HOST, free_port
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

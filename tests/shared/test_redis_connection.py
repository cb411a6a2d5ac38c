"""One connection, and what its failures leave behind."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis
from redis.exceptions import ResponseError

from devstack.child import HOST, free_port, wait_until
from devstack.servers import RedisServer
from shared.stores import redis_connection
from shared.stores.redis_connection import RedisConnection, RedisUnreachable, texts_of
from tests.servers import PATIENCE


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


def test_names_of_any_bytes_are_texts_from_which_the_bytes_can_be_told() -> None:
    names = [b"course_views", "\u00e9".encode(), b"\xff", b"\xfe"]
    assert names == [text.encode(errors="surrogateescape") for text in texts_of(names)]


async def test_no_command_has_no_reply(redis_url: str) -> None:
    connection = await RedisConnection.open(redis_url, timeout=1)
    assert [] == await connection.call(timeout=1)
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


async def test_a_call_that_is_answered_in_time_does_not_end_the_connection_later(redis_url: str) -> None:
    connection = await RedisConnection.open(redis_url, timeout=5)
    await connection.call(("PING",), timeout=2)
    await connection.call(("BLPOP", "nothing", "2.2"), timeout=PATIENCE)
    assert connection.is_open
    await connection.close()


async def test_a_call_that_is_cancelled_ends_the_connection(redis_url: str) -> None:
    connection = await RedisConnection.open(redis_url, timeout=1)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await connection.call(("BLPOP", "nothing", 5), timeout=5)
    assert not connection.is_open


async def test_a_server_that_closes_the_connection_ends_it(start_redis: Callable[..., RedisServer]) -> None:
    server = start_redis()
    connection = await RedisConnection.open(server.url, timeout=5)
    waiting = asyncio.create_task(connection.call(("BLPOP", "nothing", 0), timeout=PATIENCE))
    killer = await RedisConnection.open(server.url, timeout=5)
    await asyncio.to_thread(wait_until, lambda: blocked(server), PATIENCE, "the call has not come")
    await killer.call(("CLIENT", "KILL", "SKIPME", "yes"), timeout=5)
    with pytest.raises(RedisUnreachable, match="Redis has closed the connection"):
        await waiting
    assert not connection.is_open
    await killer.close()


def blocked(server: RedisServer) -> bool:
    with redis.Redis.from_url(server.url) as client:
        info: Any = client.info("clients")
        return bool(info["blocked_clients"])


async def test_a_redis_that_reads_its_files_is_unreachable() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            asked = data.count(b"CLIENT") + data.count(b"SELECT")
            writer.write(b"-LOADING Redis is loading\r\n" if b"ECHO" in data else b"+OK\r\n" * asked)
        writer.close()

    async with await asyncio.start_server(answer, HOST, 0) as server:
        port = server.sockets[0].getsockname()[1]
        connection = await RedisConnection.open_to_any(f"redis://{HOST}:{port}/1", timeout=PATIENCE)
        with pytest.raises(RedisUnreachable, match="LOADING"):
            await connection.call(("ECHO", "x"), timeout=PATIENCE)
    assert not connection.is_open


async def test_a_reply_that_nobody_waits_for_ends_the_connection(redis_url: str) -> None:
    connection = await RedisConnection.open(redis_url, timeout=5)
    await connection.call(("SUBSCRIBE", "news"), timeout=5)
    with redis.Redis.from_url(redis_url) as client:
        client.publish("news", "unasked")
    give_up = time.monotonic() + PATIENCE
    while connection.is_open and time.monotonic() < give_up:  # noqa: ASYNC110 - nothing tells it
        await asyncio.sleep(0.01)
    assert not connection.is_open
    await connection.close()


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

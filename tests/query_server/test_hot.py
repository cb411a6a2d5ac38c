"""The connections of the counts in Redis."""

import asyncio
from typing import Any

import pytest

from query_server.hot import HotStore
from shared.stores.redis_connection import RedisConnection


async def test_a_read_that_outlives_the_store_leaves_no_connection_open(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[RedisConnection] = []
    begun, may_go_on = asyncio.Event(), asyncio.Event()
    call = RedisConnection.call

    async def held(connection: RedisConnection, *commands: Any, timeout: float) -> list[Any]:
        used.append(connection)
        begun.set()
        await may_go_on.wait()
        return await call(connection, *commands, timeout=timeout)

    monkeypatch.setattr(RedisConnection, "call", held)
    async with HotStore(redis_url) as store:
        reading = asyncio.create_task(store.read("650000000000000000000001"))
        await begun.wait()
    may_go_on.set()
    await reading
    assert [False] == [connection.is_open for connection in used]

"""Stores in the states that tests need."""

from redis.exceptions import ResponseError

from shared.stores.redis_connection import RedisConnection

FILLING = 64 * 1024


async def fill(connection: RedisConnection) -> None:
    """Fills a Redis that has a `maxmemory` until it refuses a write of a single byte."""
    size = FILLING
    while size:
        (reply,) = await connection.call_each(("APPEND", f"filling-{size}", b"x" * size), timeout=5)
        if isinstance(reply, ResponseError):
            size //= 2

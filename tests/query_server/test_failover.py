"""A name that leads to another primary now: the counts of the old one are not shown any longer."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import redis

from devstack.servers import RedisServer
from query_server.hot import HotStore
from shared.data import keys
from shared.stores import redis_connection
from shared.stores.redis_connection import RedisUnreachable
from tests.faults.proxy import Proxy

COURSE = "650000000000000000000001"
BEFORE, AFTER = 8, 13


def count(server: RedisServer, views: int) -> None:
    key = keys.course_counters(keys.partition_of(COURSE), COURSE)
    with redis.Redis.from_url(server.url) as client:
        client.hset(key, mapping={keys.BATCH: "batch", "course_views": views})


@pytest.fixture
def old(start_redis: Callable[..., RedisServer]) -> RedisServer:
    """The primary before; it has no more than what was counted until then."""
    server = start_redis()
    count(server, BEFORE)
    return server


@pytest.fixture
def new(start_redis: Callable[..., RedisServer]) -> RedisServer:
    """The promoted one, on which counting went on."""
    server = start_redis()
    count(server, AFTER)
    return server


@pytest.fixture
def name(old: RedisServer) -> Iterator[Proxy]:
    """The address that follows the primary."""
    with Proxy(old.url) as proxy:
        yield proxy


@pytest.fixture
async def hot_store(name: Proxy) -> AsyncIterator[HotStore]:
    async with HotStore(name.url) as hot_store:
        await hot_store.ping()
        assert BEFORE == await shown(hot_store)
        yield hot_store


async def shown(hot_store: HotStore) -> int:
    hot = await hot_store.read(COURSE)
    return sum(batch.counts.get("course_views", 0) for batch in hot.batches)


async def test_a_primary_that_has_become_a_replica_is_not_read_after_the_next_probe(
    hot_store: HotStore, name: Proxy, old: RedisServer, new: RedisServer
) -> None:
    name.lead_to(new.url)
    with redis.Redis.from_url(old.url) as client:
        client.replicaof("127.0.0.1", "1")  # a replica that never reaches its primary

    with pytest.raises(RedisUnreachable, match="is a replica"):
        await hot_store.ping()

    assert AFTER == await shown(hot_store)
    await hot_store.ping()


async def test_a_primary_that_was_only_cut_off_is_not_read_for_longer_than_a_connection_lives(
    hot_store: HotStore, name: Proxy, new: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    name.lead_to(new.url)
    monkeypatch.setattr(redis_connection, "MAX_AGE_SECONDS", 0)

    assert AFTER == await shown(hot_store)

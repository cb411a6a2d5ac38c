"""Redis and MongoDB with TLS: reached with the options of their URLs, or not, with the reason."""

import asyncio
from collections.abc import Callable

import pytest
from pymongo import AsyncMongoClient

from devstack.programs import Program
from devstack.servers import RedisServer
from query_server.hot import HotStore
from shared.data.keys import PARTITIONS
from shared.serving.program import CannotRun
from shared.stores import mongo
from shared.stores.mongo import Document, MongoUnreachable
from shared.stores.redis_connection import RedisConnection, RedisUnreachable
from shared.stores.topology import Topology
from tests.cluster.nodes import ALL_SLOTS
from tests.faults.terminator import Terminator
from tests.servers import PATIENCE
from tests.trust.conftest import Addresses, Trust, rediss

NOT_TRUSTED = "certificate verify failed"


async def test_a_redis_whose_authority_is_not_trusted_is_away_for_that_reason(stores: Addresses, trust: Trust) -> None:
    async with HotStore(stores.redis) as store:
        await store.ping()
    async with HotStore(stores.trusting(trust.strange_authority).redis) as store:
        with pytest.raises(RedisUnreachable, match=f"^cannot connect to Redis: .*{NOT_TRUSTED}"):
            await store.ping()


async def test_a_redis_that_wants_a_certificate_is_away_for_who_has_none(stores: Addresses) -> None:
    without = stores.redis.partition("&ssl_certfile")[0]
    async with HotStore(without) as store:
        with pytest.raises(RedisUnreachable):
            await store.ping()


async def test_a_redis_without_tls_is_away_for_who_wants_it_and_nobody_hangs(redis_url: str) -> None:
    with pytest.raises(RedisUnreachable):
        await RedisConnection.open(redis_url.replace("redis://", "rediss://"), timeout=2)


async def test_a_mongodb_whose_authority_is_not_trusted_is_away_for_that_reason(
    stores: Addresses, trust: Trust
) -> None:
    async with mongo.connect(stores.mongo, program="tests") as client:
        await mongo.ping(client)
    async with mongo.connect(stores.trusting(trust.strange_authority).mongo, program="tests") as client:
        reasons = [await _reason(client) for _ in range(2)]
    assert NOT_TRUSTED in reasons[0]
    assert reasons[0] == reasons[1]  # or it would be logged twice a second


async def _reason(client: AsyncMongoClient[Document]) -> str:
    with pytest.raises(MongoUnreachable) as refused:
        async with asyncio.timeout(1):  # as long as a probe may take
            await mongo.ping(client)
    return str(refused.value)


def test_a_malformed_file_of_authorities_is_an_error_at_start(stores: Addresses, trust: Trust) -> None:
    no_authority = stores.mongo.replace(str(trust.authority.certificate), str(trust.server.key))
    with pytest.raises(CannotRun, match=r"^ANALYTICS_MONGO_URL: "):
        mongo.connect(no_authority, program="tests")


def test_a_program_says_why_it_is_not_ready_and_the_flusher_why_it_cannot_flush(
    start_program: Callable[..., Program], stores: Addresses, trust: Trust
) -> None:
    wrong = stores.trusting(trust.strange_authority)
    query = start_program("query_server", wait=False, redis_url=stores.redis, mongo_url=wrong.mongo)
    flusher = start_program("flusher", "--once", wait=False, redis_url=wrong.redis, mongo_url=stores.mongo)
    query.wait_for(lambda: NOT_TRUSTED in query.output(), PATIENCE, "did not say why it is not ready")
    assert 3 == flusher.wait(PATIENCE)
    assert NOT_TRUSTED in flusher.output().splitlines()[-1]


async def test_the_nodes_of_a_cluster_are_reached_as_the_one_that_is_named_is(
    start_redis: Callable[..., RedisServer], trust: Trust
) -> None:
    node = start_redis(cluster_enabled="yes", cluster_node_timeout="1000")
    with Terminator(node.url, trust.server, trust.authority.certificate) as terminator:
        plain = await RedisConnection.open(node.url, timeout=5)
        await plain.call(("CONFIG", "SET", "cluster-announce-port", terminator.port), timeout=5)
        await plain.call(("CLUSTER", "ADDSLOTSRANGE", 0, ALL_SLOTS - 1), timeout=5)
        await plain.close()
        topology = Topology(rediss(terminator, trust), cluster=True)
        found = await topology.by_node(range(PARTITIONS), timeout=5)
        (address,) = found
        assert rediss(terminator, trust).partition("?")[2] == address.partition("?")[2]
        connection = await RedisConnection.open(address, timeout=5)
        assert [b"PONG"] == await connection.call(("PING",), timeout=5)
        await connection.close()

from collections.abc import Callable

import pytest

from devstack.servers import RedisServer
from flusher.steps import barrier
from shared.settings import Barrier
from shared.stores.redis_connection import RedisConnection
from tests.flusher.stage import AOF, Stage, course

StartRedis = Callable[..., RedisServer]


class Writer:
    """A connection that writes, and asks whether that is safe."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def is_safe(self, given: Barrier) -> bool:
        connection = await RedisConnection.open(self._url, timeout=5)
        try:
            await connection.call(("INCR", "written"), timeout=5)
            return await barrier.safe(connection, given)
        finally:
            await connection.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not safe now will not be."""
    monkeypatch.setattr(barrier, "WAIT_MS", 100)


@pytest.mark.parametrize(("flavour", "appendfsync"), [("valkey", "always"), ("redis", "always"), ("redis", "everysec")])
async def test_what_is_on_disk_is_safe(start_redis: StartRedis, flavour: str, appendfsync: str) -> None:
    server = start_redis(flavour=flavour, appendfsync=appendfsync)

    assert await Writer(server.url).is_safe(AOF)


@pytest.mark.usefixtures("impatient")
async def test_what_waits_for_its_fsync_is_not_safe(start_redis: StartRedis) -> None:
    server = start_redis(flavour="redis", appendfsync="no")

    assert not await Writer(server.url).is_safe(AOF)


async def test_a_redis_without_append_only_file_makes_nothing_safe(start_redis: StartRedis) -> None:
    server = start_redis(appendonly="no")

    assert not await Writer(server.url).is_safe(AOF)


@pytest.mark.usefixtures("impatient")
async def test_without_enough_replicas_nothing_is_safe(redis_url: str) -> None:
    assert not await Writer(redis_url).is_safe(Barrier("replicas", 1))


async def test_what_a_replica_has_is_safe(start_redis: StartRedis) -> None:
    primary = start_redis(repl_diskless_sync_delay="0")
    start_redis(replicaof=f"127.0.0.1 {primary.port}")
    connection = await RedisConnection.open(primary.url, timeout=5)
    await connection.call(("WAIT", 1, 20_000), timeout=21)
    await connection.close()

    assert await Writer(primary.url).is_safe(Barrier("replicas", 1))


async def test_none_asks_for_nothing(start_redis: StartRedis) -> None:
    server = start_redis(appendonly="no")

    assert await Writer(server.url).is_safe(Barrier("none"))


@pytest.mark.usefixtures("impatient")
async def test_a_take_that_is_not_durable_is_not_sent_to_mongodb_and_stays(stage: Stage) -> None:
    await stage.ping(course(1))

    report = await stage.flush(barrier=Barrier("replicas", 1))

    assert 1 == report.left.total()
    assert {} == await stage.document(course(1))
    await stage.assert_exact()

    assert not (await stage.flush()).left
    await stage.assert_all_flushed()

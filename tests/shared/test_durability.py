"""Which Redis may be trusted with counts, from what it says of itself."""

from collections.abc import Iterator

import pytest

from devstack.servers import RedisServer
from shared.settings import Barrier
from shared.stores.durability import HIDDEN, check_durability, objections
from shared.stores.fitness import UnsuitableRedis
from shared.stores.redis_connection import RedisConnection
from tests.servers import running

AOF = Barrier("aof")
VALKEY = {"redis_version": "7.2.4", "valkey_version": "9.1.2", "aof_enabled": "1", "maxmemory_policy": "noeviction"}
REDIS = {"redis_version": "8.2.1", "aof_enabled": "1", "maxmemory_policy": "noeviction"}


def fsync(value: str) -> dict[str, str]:
    """The configuration of a server, or what it shows of it: nothing for ""."""
    return {"appendfsync": value} if value else {}


@pytest.mark.parametrize("info", [VALKEY, REDIS])
def test_a_server_that_syncs_each_write_is_fit(info: dict[str, str]) -> None:
    assert [] == objections(info, fsync("always"), AOF)


@pytest.mark.parametrize("version", ["8.0.0", "8.2.1", "10.0.0"])
def test_redis_from_8_on_is_fit_with_everysec(version: str) -> None:
    assert [] == objections({**REDIS, "redis_version": version}, fsync("everysec"), AOF)


@pytest.mark.parametrize(
    ("info", "appendfsync"),
    [
        (VALKEY, "everysec"),
        ({**VALKEY, "redis_version": "8.0.0"}, "everysec"),
        ({**REDIS, "redis_version": "7.4.1"}, "everysec"),
        (REDIS, "no"),
    ],
)
def test_a_server_whose_waitaof_may_answer_before_the_disk_is_refused(info: dict[str, str], appendfsync: str) -> None:
    expected = f"appendfsync {appendfsync} may lose what WAITAOF has confirmed on this server: set appendfsync always"
    assert [expected] == objections(info, fsync(appendfsync), AOF)


def test_a_server_without_waitaof_is_refused() -> None:
    expected = "Redis before 7.2 has no WAITAOF: upgrade it, or set ANALYTICS_FLUSH_BARRIER=replicas:N"
    assert [expected] == objections({**REDIS, "redis_version": "7.0.15"}, fsync("always"), AOF)


def test_a_server_without_a_disk_is_refused() -> None:
    expected = "Redis keeps nothing on disk: set appendonly yes, or ANALYTICS_FLUSH_BARRIER=replicas:N"
    assert [expected] == objections({**REDIS, "aof_enabled": "0"}, fsync("always"), AOF)


@pytest.mark.parametrize(("info", "appendfsync"), [({}, ""), ({}, "always"), (REDIS, "")])
def test_a_server_that_hides_its_settings_is_refused(info: dict[str, str], appendfsync: str) -> None:
    assert [HIDDEN] == objections(info, fsync(appendfsync), AOF)


@pytest.mark.parametrize("barrier", [Barrier("replicas", 2), Barrier("none")])
def test_no_disk_is_asked_for_where_the_barrier_is_another(barrier: Barrier) -> None:
    assert [] == objections({}, {}, barrier)


@pytest.mark.parametrize("barrier", [AOF, Barrier("replicas", 2), Barrier("none")])
@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_a_server_that_evicts_is_refused_under_every_barrier(barrier: Barrier, policy: str) -> None:
    expected = f"Redis would evict counters (maxmemory-policy {policy}): set maxmemory-policy noeviction"
    assert [expected] == objections({**REDIS, "maxmemory_policy": policy}, fsync("always"), barrier)


def test_a_server_that_does_not_sync_during_a_rewrite_is_refused() -> None:
    expected = (
        "with no-appendfsync-on-rewrite yes, what is acknowledged while the append-only file is rewritten is not on "
        "disk: set no-appendfsync-on-rewrite no"
    )
    assert [expected] == objections(VALKEY, {**fsync("always"), "no-appendfsync-on-rewrite": "yes"}, AOF)


def test_a_server_that_drops_a_damaged_end_of_its_file_is_refused() -> None:
    (objection,) = objections(REDIS, {**fsync("always"), "aof-load-corrupt-tail-max-size": "1024"}, AOF)
    assert objection.endswith("set aof-load-corrupt-tail-max-size 0")


@pytest.mark.parametrize("barrier", [AOF, Barrier("replicas", 2)])
def test_a_node_of_a_cluster_that_answers_when_it_was_cut_off_is_refused(barrier: Barrier) -> None:
    config = {**fsync("always"), "cluster-allow-reads-when-down": "yes"}
    (objection,) = objections({**REDIS, "cluster_enabled": "1"}, config, barrier)
    assert objection.endswith("set cluster-allow-reads-when-down no")
    assert [] == objections(REDIS, config, barrier)


def test_every_objection_is_named_at_once() -> None:
    assert 2 == len(objections({**REDIS, "maxmemory_policy": "allkeys-lru"}, fsync("no"), AOF))


@pytest.fixture(scope="module", params=["valkey", "redis"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One of each kind, as the tests use it."""
    with running(RedisServer(tmp_path_factory.mktemp("redis"), flavour=request.param)) as server:
        yield server


async def complaint(server: RedisServer, *setting: str) -> str:
    """What is wrong with the server under another setting, "" for nothing; afterwards that is as it was."""
    connection = await RedisConnection.open(server.url, timeout=5)
    try:
        (before,) = await connection.call(("CONFIG", "GET", setting[0]), timeout=5)
        await connection.call(("CONFIG", "SET", *setting), timeout=5)
        try:
            await check_durability(connection, AOF, timeout=5)
        except UnsuitableRedis as unsuitable:
            return str(unsuitable)
        finally:
            await connection.call(("CONFIG", "SET", *before), timeout=5)
        return ""
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("setting", "value", "remedy"),
    [
        ("maxmemory-policy", "volatile-lru", "set maxmemory-policy noeviction"),
        ("appendonly", "no", "set appendonly yes"),
        ("appendfsync", "no", "set appendfsync always"),
        ("no-appendfsync-on-rewrite", "yes", "set no-appendfsync-on-rewrite no"),
    ],
)
async def test_a_real_server_of_either_kind_is_refused_with_the_remedy(
    server: RedisServer, setting: str, value: str, remedy: str
) -> None:
    assert remedy in await complaint(server, setting, value)


async def test_a_real_server_of_either_kind_is_fit_as_the_guide_says(server: RedisServer) -> None:
    assert "" == await complaint(server, "appendfsync", "always")


async def test_everysec_is_refused_by_valkey_and_taken_from_redis(server: RedisServer) -> None:
    expected = {"valkey": "set appendfsync always", "redis": ""}
    assert expected[server.name] == (await complaint(server, "appendfsync", "everysec")).rpartition(": ")[2]

"""Redis away, full, or no longer the primary: what callers are told, what health says, and that it passes by itself."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator

import pytest
import redis
from grpc import StatusCode

from devstack.child import free_port, wait_until
from devstack.programs import Program, is_serving
from devstack.servers import RedisServer
from tests.faults.proxy import Proxy
from tests.ingest_server.client import FIRST, Player, refusal
from tests.ingest_server.conftest import connected
from tests.ingest_server.stored import Stored, seconds, views
from tests.servers import JWT_SECRET, PATIENCE, assert_ends_well, program, running

ONCE = {views(FIRST): 1, seconds(FIRST): 5}
SERVICE = "course_analytics.v1.IngestService"


def gone(proxy: Proxy) -> None:
    proxy.refuse()
    proxy.reset()


def silent(proxy: Proxy) -> None:
    proxy.black_hole()


@pytest.mark.parametrize("go_away", [gone, silent])
class TestOutOfReach:
    async def test_a_caller_gets_a_retry_delay_within_two_seconds(
        self, proxied_player: Player, redis_proxy: Proxy, go_away: Callable[[Proxy], None]
    ) -> None:
        go_away(redis_proxy)
        refused = await refusal(proxied_player.ping(timeout=30))
        assert (StatusCode.UNAVAILABLE, 1) == (refused.code, refused.retry_seconds)
        assert refused.took < 2

    async def test_callers_that_arrive_while_others_wait_also_get_it_within_two_seconds(
        self, proxied_player: Player, redis_proxy: Proxy, go_away: Callable[[Proxy], None]
    ) -> None:
        go_away(redis_proxy)
        refused = await asyncio.gather(*(refusal(proxied_player.ping(timeout=30)) for _ in range(20)))
        assert {StatusCode.UNAVAILABLE} == {each.code for each in refused}
        assert max(each.took for each in refused) < 2

    def test_health_says_so_within_two_seconds_and_takes_it_back(
        self, proxied_server: Program, redis_proxy: Proxy, go_away: Callable[[Proxy], None]
    ) -> None:
        go_away(redis_proxy)
        for service in ("", SERVICE):
            wait_until(lambda name=service: not is_serving(proxied_server.address, name), 2, "still SERVING")  # type: ignore[misc] # a bound default
        redis_proxy.heal()
        wait_until(lambda: is_serving(proxied_server.address, SERVICE), 2, "still NOT_SERVING")

    async def test_pings_are_counted_again_as_soon_as_it_is_back(
        self, proxied_player: Player, redis_proxy: Proxy, go_away: Callable[[Proxy], None]
    ) -> None:
        go_away(redis_proxy)
        await refusal(proxied_player.ping())
        redis_proxy.heal()
        assert "tracked" == await proxied_player.ping()


async def test_callers_who_do_not_wait_for_the_answer_leave_no_trace(
    proxied_player: Player, redis_proxy: Proxy, stored: Stored
) -> None:
    redis_proxy.black_hole()
    refused = await asyncio.gather(*(refusal(proxied_player.ping(event="e", timeout=0.05)) for _ in range(20)))
    redis_proxy.heal()
    assert {StatusCode.DEADLINE_EXCEEDED} == {each.code for each in refused}
    assert "tracked" == await proxied_player.ping(event="e")
    assert ONCE == stored.counters()


async def test_started_without_redis_it_serves_once_redis_is_there(
    start_program: Callable[..., Program], platform_url: str, redis_url: str, stored: Stored
) -> None:
    with Proxy(redis_url) as proxy:
        proxy.refuse()
        server = start_program("ingest_server", wait=False, redis_url=proxy.url, mongo_url=platform_url)
        async with connected(server.address) as player:
            await asyncio.wait_for(player.channel.channel_ready(), PATIENCE)
            assert not is_serving(server.address)
            assert StatusCode.UNAVAILABLE == (await refusal(player.ping())).code
            proxy.heal()
            server.wait_until_ready(5)
            assert "tracked" == await player.ping()
            assert ONCE == stored.counters()


@pytest.fixture(scope="module")
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that these tests may kill."""
    with running(RedisServer(tmp_path_factory.mktemp("redis"), port=free_port())) as server:
        yield server


@pytest.fixture(scope="module")
def own_proxy(own_redis: RedisServer) -> Iterator[Proxy]:
    with Proxy(own_redis.url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory, own_proxy: Proxy, platform_url: str) -> Iterator[Program]:
    settings = {"redis_url": own_proxy.url, "mongo_url": platform_url, "jwt_secret": JWT_SECRET}
    server = program("ingest_server", tmp_path_factory.mktemp("ingest"), settings)
    server.start()
    yield server
    assert_ends_well(server)


@pytest.fixture
def own_stored(own_redis: RedisServer) -> Iterator[Stored]:
    """What is in it; nothing at first."""
    with redis.Redis.from_url(own_redis.url, decode_responses=True) as client:
        client.flushall()
        yield Stored(client)


@pytest.fixture
async def own_player(own_server: Program, own_stored: Stored) -> AsyncIterator[Player]:  # noqa: ARG001 - emptied
    wait_until(lambda: is_serving(own_server.address), 5, "the server did not recover")
    async with connected(own_server.address) as player:
        yield player


async def test_a_redis_that_was_killed_and_restarted_has_what_was_acknowledged(
    own_player: Player, own_redis: RedisServer, own_stored: Stored
) -> None:
    await own_player.ping()
    own_redis.kill()
    assert StatusCode.UNAVAILABLE == (await refusal(own_player.ping())).code
    own_redis.start()
    assert "tracked" == await own_player.ping()
    assert {views(FIRST): 2, seconds(FIRST): 10} == own_stored.counters()


async def test_a_paused_redis_counts_late_or_not_at_all(
    own_player: Player, own_redis: RedisServer, own_stored: Stored
) -> None:
    own_redis.pause()
    try:
        refused = await refusal(own_player.ping(timeout=30))
    finally:
        own_redis.resume()
    assert StatusCode.UNAVAILABLE == refused.code
    assert refused.took < 2
    await own_player.ping()
    assert own_stored.counters()[views(FIRST)] in (1, 2)


async def test_a_full_redis_is_resource_exhausted_and_nothing_is_half_written(
    own_player: Player, own_stored: Stored
) -> None:
    await own_player.ping()
    before = own_stored.keys()
    own_stored.redis.config_set("maxmemory", "1")
    try:
        refused = await refusal(own_player.ping(event="e", playback="p"))
    finally:
        own_stored.redis.config_set("maxmemory", "0")
    assert (StatusCode.RESOURCE_EXHAUSTED, 1) == (refused.code, refused.retry_seconds)
    assert (before, ONCE) == (own_stored.keys(), own_stored.counters())


async def test_a_redis_with_room_again_counts_again(own_player: Player, own_stored: Stored) -> None:
    own_stored.redis.config_set("maxmemory", "1")
    await refusal(own_player.ping(event="e"))
    own_stored.redis.config_set("maxmemory", "0")
    assert "tracked" == await own_player.ping(event="e")
    assert ONCE == own_stored.counters()


async def test_a_redis_that_became_a_replica_is_unavailable_until_it_is_promoted(
    own_player: Player, own_stored: Stored
) -> None:
    own_stored.redis.replicaof("127.0.0.1", "1")  # nobody is there: its data stays
    refused = await refusal(own_player.ping(event="e"))
    own_stored.redis.replicaof("NO", "ONE")
    assert (StatusCode.UNAVAILABLE, 1) == (refused.code, refused.retry_seconds)
    assert "tracked" == await own_player.ping(event="e")
    assert ONCE == own_stored.counters()


async def test_after_a_failover_the_new_primary_counts(
    own_player: Player, own_stored: Stored, own_proxy: Proxy, start_redis: Callable[..., RedisServer]
) -> None:
    await own_player.ping()
    new_primary = start_redis()
    own_proxy.lead_to(new_primary.url)
    own_stored.redis.replicaof("127.0.0.1", "1")
    try:
        assert StatusCode.UNAVAILABLE == (await refusal(own_player.ping())).code
        assert "tracked" == await own_player.ping()
    finally:
        own_proxy.heal()
        own_stored.redis.replicaof("NO", "ONE")
    with redis.Redis.from_url(new_primary.url, decode_responses=True) as client:
        assert ONCE == Stored(client).counters()


@pytest.mark.usefixtures("own_player")
def test_a_redis_that_has_become_unfit_is_not_served_from(own_server: Program, own_stored: Stored) -> None:
    own_stored.redis.config_set("maxmemory-policy", "allkeys-lru")
    own_stored.redis.client_kill_filter(_type="normal")  # who reconnects looks again
    try:
        wait_until(lambda: "set maxmemory-policy noeviction" in own_server.output(), 5, "the server did not notice")
        with pytest.raises(TimeoutError):
            wait_until(lambda: is_serving(own_server.address), 1, "NOT_SERVING")
    finally:
        own_stored.redis.config_set("maxmemory-policy", "noeviction")

"""TrackStream through the real program: answers in order, a sender that is held, and how it ends."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import cycle

import grpc
import pytest
from bson import ObjectId
from grpc import StatusCode

from devstack.child import wait_until
from devstack.programs import PROBE_OPTIONS, Program
from devstack.servers import RedisServer
from tests.faults.loss import containing
from tests.faults.proxy import Proxy
from tests.ingest_server.backend import BACKEND, Exchange, Report, Stream, exchange, ping, view
from tests.ingest_server.client import FIRST, NONE, Player, bearer, token
from tests.ingest_server.conftest import connected
from tests.ingest_server.stored import Stored, seconds, views
from tests.servers import FLAVOUR, JWT_SECRET, PATIENCE, assert_ends_well, program, running

COMMIT = containing(b"EVALSHA")
ALL = 1_000_000
TAKEN_BACK = "this server is stopping; resend what has no answer, with its event ids"

# One good event, and enough that is wrong to fill the flow-control windows of both directions soon.
HEAVY = [view(), view(event="x" * 500_000), *[view("")] * 300]
HEAVIES = 200


@pytest.fixture
def address(server: Program, stored: Stored) -> str:
    """Where a server is that has counted nothing."""
    stored.redis.flushdb()
    return server.address


async def test_answers_come_in_order_whatever_the_size_of_a_batch(address: str) -> None:
    sizes = [1000, 1, 500, 2, 999, 3, 1, 1000] * 5
    assert sizes == (await exchange(address, [[view()] * size for size in sizes])).accepted


async def test_answers_come_in_order_also_when_one_takes_longer(address: str) -> None:
    unknown = [str(ObjectId()) for _ in range(10)]  # the catalog has to be asked
    batches = [batch for course in unknown for batch in ([view(course), view()], [view()] * 2)]
    assert [1, 2] * 10 == (await exchange(address, batches)).accepted


async def test_every_answered_batch_is_counted(address: str, stored: Stored) -> None:
    await exchange(address, [[view(), ping()]] * 20)
    assert {"course_views": 20, views(FIRST): 20, seconds(FIRST): 100} == stored.counters()


async def test_bad_events_are_answered_with_their_places_in_their_batch(address: str) -> None:
    rejection = f"there is no course {NONE}"
    answers = (await exchange(address, [[view(), view(NONE)], [view(NONE), view(NONE)], [view()]])).answers
    assert [Report(1, [(1, rejection)]), Report(0, [(0, rejection), (1, rejection)]), Report(1, [])] == answers


async def test_event_ids_work_across_batches(address: str, stored: Stored) -> None:
    assert [2, 2] == (await exchange(address, [[view(event="e"), ping(event="e")]] * 2)).accepted
    assert {"course_views": 1, views(FIRST): 1, seconds(FIRST): 5} == stored.counters()


async def test_a_backend_counts_the_users_it_names(address: str, stored: Stored) -> None:
    await exchange(address, [[view(user="bob")], [ping(user="eve")], [view(user="bob")]], BACKEND)
    assert 2 == stored.users()


class TestTheEnd:
    async def test_of_the_sender_is_ok_after_all_answers(self, address: str) -> None:
        assert Exchange([Report(1, [])] * 50, StatusCode.OK, "") == await exchange(address, [[view()]] * 50)

    async def test_of_a_sender_without_batches_is_ok(self, address: str) -> None:
        assert Exchange([], StatusCode.OK, "") == await exchange(address, [])

    @pytest.mark.parametrize("number", [0, 1001])
    async def test_comes_with_an_empty_batch_after_the_answers_due(
        self, address: str, stored: Stored, number: int
    ) -> None:
        ended = await exchange(address, [[view()], [ping()], [view()] * number, [view()]])
        assert ([1, 1], StatusCode.INVALID_ARGUMENT) == (ended.accepted, ended.code)
        assert {"course_views": 1, views(FIRST): 1, seconds(FIRST): 5} == stored.counters()

    async def test_comes_with_a_forbidden_user_id_after_the_answers_due(self, address: str, stored: Stored) -> None:
        ended = await exchange(address, [[view()], [view()], [view(), view(user="bob")], [view()]])
        assert ([1, 1], StatusCode.PERMISSION_DENIED) == (ended.accepted, ended.code)
        assert {"course_views": 2} == stored.counters()

    async def test_comes_at_once_without_a_good_token(self, address: str, stored: Stored) -> None:
        ended = await exchange(address, [[view()]], bearer(token(exp=time.time() - 1)))
        assert ([], StatusCode.UNAUTHENTICATED) == (ended.answers, ended.code)
        assert [] == stored.keys()

    async def test_comes_with_that_of_the_token_after_the_answers_due(self, player: Player, stored: Stored) -> None:
        stream = Stream(player, bearer(token(exp=time.time() + 1)))
        await stream.send([view()], [view()])
        assert ([1, 1], StatusCode.UNAUTHENTICATED) == (await stream.answers(2), await stream.end())
        assert {"course_views": 2} == stored.counters()

    async def test_of_the_token_comes_to_a_sender_who_goes_on_too(self, address: str, stored: Stored) -> None:
        ended = await exchange(address, cycle([[view()]]), bearer(token(exp=time.time() + 1)))
        assert StatusCode.UNAUTHENTICATED == ended.code
        assert {"course_views": len(ended.answers)} == stored.counters()

    async def test_comes_with_a_message_that_is_too_large_and_not_counted(self, address: str, stored: Stored) -> None:
        ended = await exchange(address, [[view(), view(event="x" * 2**20)]])
        assert ([], StatusCode.RESOURCE_EXHAUSTED) == (ended.answers, ended.code)
        assert [] == stored.keys()


@asynccontextmanager
async def idler(address: str) -> AsyncIterator[Player]:
    """A player whose receive window stays small, however fast the connection is."""
    async with grpc.aio.insecure_channel(address, options=[*PROBE_OPTIONS, ("grpc.http2.bdp_probe", 0)]) as channel:
        yield Player(channel)


async def until_held(stream: Stream, player: Player) -> None:
    """Returns when a stream has taken nothing while an ordinary player had fifty answers."""
    async with asyncio.timeout(PATIENCE):
        sent = -1
        while sent != stream.sent:
            sent = stream.sent
            for _ in range(50):
                await player.ping()


class TestASenderThatDoesNotRead:
    @pytest.fixture
    async def stream(self, server: Program, player: Player) -> AsyncIterator[Stream]:
        """A stream that takes no more batches."""
        async with idler(server.address) as idle:
            stream = Stream(idle)
            sending = asyncio.create_task(stream.send(*[HEAVY] * HEAVIES))
            await until_held(stream, player)
            yield stream
        await asyncio.wait([sending])  # broken off by the channel's end

    async def test_is_held(self, stream: Stream, stored: Stored) -> None:
        assert stored.counters()["course_views"] <= stream.sent < HEAVIES

    async def test_may_go_on_as_soon_as_it_reads(self, stream: Stream, stored: Stored) -> None:
        assert [1] * HEAVIES == await stream.answers(HEAVIES)
        await stream.close()
        assert StatusCode.OK == await stream.end()
        assert HEAVIES == stored.counters()["course_views"]


@pytest.fixture(scope="module")
def redis_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(RedisServer(tmp_path_factory.mktemp("own") / "redis", flavour=FLAVOUR)) as own_redis:
        yield own_redis


@pytest.fixture(scope="module")
def own_server(
    tmp_path_factory: pytest.TempPathFactory, redis_of_module: RedisServer, platform_url: str
) -> Iterator[Program]:
    """The server that has a Redis of its own."""
    settings = {"redis_url": redis_of_module.url, "mongo_url": platform_url, "jwt_secret": JWT_SECRET}
    server = program("ingest_server", tmp_path_factory.mktemp("own"), settings)
    server.start()
    yield server
    assert_ends_well(server)


@pytest.fixture
def own_redis(redis_of_module: RedisServer, own_server: Program) -> Iterator[RedisServer]:
    """The Redis that a test may pause; it goes on after the test."""
    yield redis_of_module
    redis_of_module.resume()
    own_server.wait_until_ready(PATIENCE)


class TestARedisThatIsPaused:
    async def test_holds_the_answers_until_it_goes_on(self, own_server: Program, own_redis: RedisServer) -> None:
        async with connected(own_server.address) as player:
            stream = Stream(player)
            own_redis.pause()
            await stream.send([view()], [view()] * 2, [view()] * 3)
            own_redis.resume()
            assert [1, 2, 3] == await stream.answers(3)
            await stream.close()
            assert StatusCode.OK == await stream.end()

    async def test_holds_the_sender_and_ends_the_stream_within_two_seconds(
        self, own_server: Program, own_redis: RedisServer
    ) -> None:
        batches = iter([HEAVY] * HEAVIES)
        own_redis.pause()
        started = time.monotonic()
        assert StatusCode.UNAVAILABLE == (await exchange(own_server.address, batches)).code
        assert time.monotonic() - started < 2
        assert [] != list(batches)


async def test_what_was_unavailable_and_is_repeated_in_a_new_stream_counts_once(
    proxied_server: Program, redis_proxy: Proxy, stored: Stored
) -> None:
    batches = [[view(event=f"{batch}-{number}") for number in range(10)] for batch in range(200)]
    redis_proxy.lose_reply(COMMIT, nth=5, times=ALL)
    broken = await exchange(proxied_server.address, batches)
    redis_proxy.heal()
    repeated = await exchange(proxied_server.address, batches)
    assert (StatusCode.UNAVAILABLE, StatusCode.OK) == (broken.code, repeated.code)
    assert {"course_views": 2000} == stored.counters()


class TestAServerThatStops:
    async def test_has_answered_all_that_it_counted_and_counted_all_that_it_answered(
        self, start_program: Callable[..., Program], platform_url: str, stored: Stored
    ) -> None:
        server = start_program("ingest_server", mongo_url=platform_url)
        batches = [[view()] * size for size in (1, 100, 10)]
        answers: list[list[Report]] = [[], [], [], []]
        streams = [asyncio.create_task(exchange(server.address, cycle(batches), None, each)) for each in answers]
        await asyncio.to_thread(wait_until, lambda: min(map(len, answers)) > 30, PATIENCE, "the streams did not run")
        assert 0 == await asyncio.to_thread(server.stop)
        ended = await asyncio.gather(*streams)
        assert {(StatusCode.UNAVAILABLE, TAKEN_BACK)} == {(each.code, each.message) for each in ended}
        assert {"course_views": sum(sum(each.accepted) for each in ended)} == stored.counters()

    async def test_ends_a_stream_that_is_quiet(self, start_program: Callable[..., Program], platform_url: str) -> None:
        server = start_program("ingest_server", mongo_url=platform_url)
        async with connected(server.address) as player:
            stream = Stream(player)
            await stream.send([view()])
            assert [1] == await stream.answers(1)
            assert 0 == await asyncio.to_thread(server.stop, 5)
            assert StatusCode.UNAVAILABLE == await stream.end()

    async def test_is_not_held_up_by_clients_that_have_vanished(
        self, start_program: Callable[..., Program], platform_url: str, player: Player
    ) -> None:
        server = start_program("ingest_server", mongo_url=platform_url)
        await vanish(server, player)
        assert 0 == await asyncio.to_thread(server.stop, 3)


async def vanish(server: Program, player: Player) -> None:
    """Senders go, while the server has batches to count and answers to send."""
    async with idler(server.address) as idle:
        streams = [Stream(idle) for _ in range(3)]
        sending = [asyncio.create_task(stream.send(*[HEAVY] * HEAVIES)) for stream in streams]
        for stream in streams:
            await until_held(stream, player)
    await asyncio.wait(sending)  # broken off by the channel's end


async def test_a_client_that_disconnects_is_not_an_error_of_the_server(server: Program, player: Player) -> None:
    before = len(server.output())
    await vanish(server, player)
    assert "tracked" == await player.ping()
    assert "" == server.output()[before:]

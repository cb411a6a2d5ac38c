"""What a caller is told and what is counted when the answer of Redis, or the question, is lost on the way."""

import asyncio

import grpc
import pytest
from course_analytics.v1 import ingest_pb2
from grpc import StatusCode

from tests.faults.loss import End, containing
from tests.faults.proxy import Proxy
from tests.ingest_server.client import FIRST, Player, bearer, refusal
from tests.ingest_server.conftest import OTHER_COURSES
from tests.ingest_server.stored import Stored, seconds, views

COMMIT = containing(b"EVALSHA")
ONCE = {views(FIRST): 1, seconds(FIRST): 5}


def of_several_partitions(request: bytes) -> bool:
    return request.count(b"EVALSHA") > 1


@pytest.fixture(autouse=True)
async def script_is_known(proxied_player: Player, stored: Stored) -> None:
    """Otherwise what is lost first is only that it is not."""
    await proxied_player.view()
    stored.redis.flushdb()


@pytest.mark.parametrize("event", [None, "e"])
@pytest.mark.parametrize("end", [End.CLOSE, End.RESET])
async def test_a_lost_reply_is_not_noticed_and_counts_once(
    proxied_player: Player, redis_proxy: Proxy, stored: Stored, end: End, event: str | None
) -> None:
    loss = redis_proxy.lose_reply(COMMIT, end=end)
    assert "tracked" == await proxied_player.ping(event=event, playback=event)
    assert loss.happened
    assert ONCE == stored.counters()


@pytest.mark.parametrize("event", [None, "e"])
async def test_a_lost_request_is_not_noticed_and_counts_once(
    proxied_player: Player, redis_proxy: Proxy, stored: Stored, event: str | None
) -> None:
    loss = redis_proxy.lose_request(COMMIT)
    assert "tracked" == await proxied_player.ping(event=event)
    assert loss.happened
    assert ONCE == stored.counters()


async def test_replies_that_are_lost_again_and_again_are_unavailable(
    proxied_player: Player, redis_proxy: Proxy, stored: Stored
) -> None:
    redis_proxy.lose_reply(COMMIT, times=2)
    refused = await refusal(proxied_player.ping())
    assert (StatusCode.UNAVAILABLE, 1) == (refused.code, refused.retry_seconds)
    assert ONCE == stored.counters()


@pytest.mark.parametrize("end", End)
async def test_what_was_unavailable_and_is_repeated_with_its_event_id_counts_once(
    proxied_player: Player, redis_proxy: Proxy, stored: Stored, end: End
) -> None:
    redis_proxy.lose_reply(COMMIT, times=2, end=end)
    assert StatusCode.UNAVAILABLE == (await refusal(proxied_player.ping(event="e", playback="p"))).code
    redis_proxy.heal()
    assert "tracked" == await proxied_player.ping(event="e", playback="p")
    assert ONCE == stored.counters()


async def test_a_silent_redis_is_given_up_within_two_seconds(proxied_player: Player, redis_proxy: Proxy) -> None:
    redis_proxy.lose_reply(COMMIT, end=End.SILENCE)
    assert (await refusal(proxied_player.ping(timeout=30))).took < 2


async def test_a_commit_that_arrives_late_does_not_count_what_was_repeated(
    proxied_player: Player, redis_proxy: Proxy, stored: Stored
) -> None:
    redis_proxy.black_hole()
    assert StatusCode.UNAVAILABLE == (await refusal(proxied_player.ping(event="e"))).code
    redis_proxy.heal()
    assert "tracked" == await proxied_player.ping(event="e")
    assert ONCE == stored.counters()


@pytest.mark.parametrize("keep", [0, 1, len(b":1\r\n"), len(b":1\r\n:1")])
async def test_replies_cut_between_partitions_are_not_noticed_and_count_once(
    proxied_player: Player, redis_proxy: Proxy, stored: Stored, keep: int
) -> None:
    views = [ingest_pb2.TrackCourseViewRequest(course_id=course) for course in OTHER_COURSES]
    batch = ingest_pb2.TrackBatchRequest(events=[ingest_pb2.Event(course_view=view) for view in views])
    loss = redis_proxy.lose_reply(of_several_partitions, keep=keep)
    answer = await proxied_player.stub.TrackBatch(batch, metadata=bearer())
    assert loss.happened
    assert len(OTHER_COURSES) == answer.accepted
    assert [{"course_views": 1}] * len(OTHER_COURSES) == [stored.counters(course) for course in OTHER_COURSES]


async def test_resets_under_load_never_count_twice(proxied_player: Player, redis_proxy: Proxy, stored: Stored) -> None:
    acknowledged = attempts = 0
    for _ in range(10):
        pings = [asyncio.create_task(proxied_player.ping()) for _ in range(30)]
        await asyncio.wait(pings, return_when=asyncio.FIRST_COMPLETED)
        redis_proxy.reset()
        outcomes = await asyncio.gather(*pings, return_exceptions=True)
        attempts += len(outcomes)
        acknowledged += outcomes.count("tracked")
        refused = [outcome for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
        assert {StatusCode.UNAVAILABLE} >= {outcome.code() for outcome in refused}
    assert acknowledged <= stored.counters()[views(FIRST)] <= attempts


async def test_a_redis_that_has_forgotten_the_script_is_not_noticed(proxied_player: Player, stored: Stored) -> None:
    await proxied_player.ping()
    stored.redis.script_flush()
    await proxied_player.ping()
    assert {views(FIRST): 2, seconds(FIRST): 10} == stored.counters()


async def test_a_lost_reply_after_the_script_was_forgotten_counts_once(
    proxied_player: Player, redis_proxy: Proxy, stored: Stored
) -> None:
    stored.redis.script_flush()
    loss = redis_proxy.lose_reply(containing(b"\r\nEVAL\r\n"))
    assert "tracked" == await proxied_player.ping()
    assert loss.happened
    assert ONCE == stored.counters()

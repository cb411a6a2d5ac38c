"""TrackBatch while Redis is away: what is told, and that a repeat with the same event ids leaves exact totals."""

import pytest
from grpc import StatusCode

from tests.faults.loss import End, containing
from tests.faults.proxy import Proxy
from tests.ingest_server.backend import BACKEND, Report, ping, report, view
from tests.ingest_server.client import FIRST, Player, refusal
from tests.ingest_server.conftest import OTHER_COURSES
from tests.ingest_server.stored import Stored, seconds, views

ALL = 1_000_000
COMMIT = containing(b"EVALSHA")


def is_continuation(request: bytes) -> bool:
    """Whether the beginning of what was sent has gone before."""
    return (b"seen:" in request or b"00000" in request) and not request.startswith(b"*")


EVENTS = (
    *(view(event=f"{number:064}") for number in range(200)),
    *(ping(event=f"{number:064}", playback=f"{number:064}") for number in range(700)),
    *(view(course, event="e") for course in OTHER_COURSES),
)


async def assert_exact(player: Player, stored: Stored) -> None:
    assert Report(len(EVENTS), []) == await report(player, EVENTS)
    assert {"course_views": 200, views(FIRST): 700, seconds(FIRST): 3500} == stored.counters()
    assert [{"course_views": 1}] * len(OTHER_COURSES) == [stored.counters(course) for course in OTHER_COURSES]


async def test_a_batch_is_unavailable_and_may_be_repeated(proxied_player: Player, redis_proxy: Proxy) -> None:
    redis_proxy.refuse()
    redis_proxy.reset()
    refused = await refusal(report(proxied_player, [view()]))
    assert (StatusCode.UNAVAILABLE, 1) == (refused.code, refused.retry_seconds)
    assert refused.took < 2


async def test_a_lost_reply_alone_is_not_noticed(proxied_player: Player, redis_proxy: Proxy, stored: Stored) -> None:
    await proxied_player.view(OTHER_COURSES[0])
    loss = redis_proxy.lose_reply(COMMIT)
    assert Report(3, []) == await report(proxied_player, [view()] * 3)
    assert (True, {"course_views": 3}) == (loss.happened, stored.counters())


@pytest.mark.parametrize("end", [End.CLOSE, End.RESET], ids=["closed", "reset"])
async def test_lost_replies_and_a_repeat_count_once(
    proxied_player: Player, redis_proxy: Proxy, stored: Stored, end: End
) -> None:
    redis_proxy.lose_reply(COMMIT, times=ALL, end=end)
    assert StatusCode.UNAVAILABLE == (await refusal(report(proxied_player, EVENTS))).code
    redis_proxy.heal()
    await assert_exact(proxied_player, stored)


async def test_a_batch_lost_on_its_way_and_repeated_counts_once(
    proxied_player: Player, redis_proxy: Proxy, stored: Stored
) -> None:
    redis_proxy.lose_request(COMMIT, times=ALL)
    assert StatusCode.UNAVAILABLE == (await refusal(report(proxied_player, EVENTS))).code
    redis_proxy.heal()
    await assert_exact(proxied_player, stored)


async def test_one_partition_without_a_reply_makes_the_batch_unavailable(
    proxied_player: Player, redis_proxy: Proxy, stored: Stored
) -> None:
    redis_proxy.lose_reply(COMMIT, times=ALL, keep=len(b":1\r\n") * len(OTHER_COURSES))
    assert StatusCode.UNAVAILABLE == (await refusal(report(proxied_player, EVENTS))).code
    redis_proxy.heal()
    await assert_exact(proxied_player, stored)


async def test_a_batch_cut_in_the_middle_and_repeated_counts_once(
    proxied_player: Player, redis_proxy: Proxy, stored: Stored
) -> None:
    events = [view(event=f"{number:064}", user=f"{number:0200}") for number in range(900)]  # one commit is 200 KB
    loss = redis_proxy.lose_request(is_continuation, times=ALL, end=End.RESET)
    assert StatusCode.UNAVAILABLE == (await refusal(report(proxied_player, events, BACKEND))).code
    assert loss.happened
    redis_proxy.heal()
    assert Report(900, []) == await report(proxied_player, events, BACKEND)
    assert {"course_views": 900} == stored.counters()

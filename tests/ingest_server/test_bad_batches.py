"""Batches that are bad through and through, and callers with too many streams: good events count."""

from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest
from course_analytics.v1 import ingest_pb2
from grpc import StatusCode

from devstack.programs import Program
from ingest_server.stream import STREAMS_OF_A_USER
from tests.ingest_server.backend import BACKEND, Stream, exchange, ping, report, view
from tests.ingest_server.client import COURSE, NONE, Player
from tests.ingest_server.conftest import connected
from tests.ingest_server.stored import Stored

NO_REASON = "refused; of one batch only 100 reasons are told"


@pytest.mark.parametrize("bad", [view("x"), view(NONE), ping(COURSE, NONE)], ids=["invalid", "no course", "no lecture"])
async def test_a_batch_has_a_hundred_reasons_and_all_its_good_events_count(
    player: Player, stored: Stored, bad: ingest_pb2.Event
) -> None:
    answer = await report(player, [bad] * 500 + [view()] + [bad] * 498 + [view()])
    reasons = [reason for _, reason in answer.rejected]
    assert (2, 998) == (answer.accepted, len(reasons))
    assert ({reasons[0]}, {NO_REASON}) == (set(reasons[:100]), set(reasons[100:]))
    assert [*range(500), *range(501, 999)] == [index for index, _ in answer.rejected]
    assert {"course_views": 2} == stored.counters()


async def test_a_user_has_so_many_streams_and_no_more(start_program: Callable[..., Program], platform_url: str) -> None:
    server = start_program("ingest_server", mongo_url=platform_url)
    async with AsyncExitStack() as stack:
        players = [await stack.enter_async_context(connected(server.address)) for _ in range(2)]
        for number in range(STREAMS_OF_A_USER):
            stream = Stream(players[number % 2])
            await stream.send([view()])
            assert [1] == await stream.answers(1)
        assert StatusCode.RESOURCE_EXHAUSTED == (await exchange(server.address, [[view()]])).code
        assert StatusCode.OK == (await exchange(server.address, [[view()]], BACKEND)).code

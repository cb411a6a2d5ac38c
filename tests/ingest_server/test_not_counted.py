"""Why not: what is refused is counted with its reason, and everything that came is either counted or refused."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable

import pytest
from course_analytics.v1 import dashboard_pb2, ingest_pb2

from devstack.child import wait_until
from devstack.programs import Program
from ingest_server.reasons import DECIDED_BY_REDIS, DECIDED_HERE
from tests.faults.proxy import Proxy
from tests.ingest_server.backend import exchange, ping, report, report_alone, view
from tests.ingest_server.client import COURSE, FIRST, NONE, Player, refusal
from tests.ingest_server.conftest import OTHER_COURSES
from tests.ingest_server.stored import Stored, partition, seconds, views
from tests.servers import PATIENCE

GOOD = [view(), ping(), view(event="e"), ping(event="e", playback="p")]
REFUSED = [
    (ping(seconds=400), "INVALID_FIELDS", 0),
    (ping(event="no id", seconds=7), "INVALID_FIELDS", 7),
    (ping(lecture=NONE, seconds=6.5), "UNKNOWN_LECTURE", 7),
    (view(event="no id"), "INVALID_FIELDS", 0),
    (view(event="e"), "REPEATED", 0),
    (ping(event="e", seconds=9), "REPEATED", 9),
]
EVENTS = [*GOOD, *(event for event, _, _ in REFUSED)]
NOT_OF_A_COURSE = [view(NONE), view("x"), ingest_pb2.Event()]


def expected(times: int = 1) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for event, reason, lost in REFUSED:
        counts[f"not_counted:{reason}"] += times
        if lost or (reason == "REPEATED" and event.HasField("telemetry")):
            counts[f"not_counted_seconds:{reason}"] += times * lost
    return dict(counts)


def await_not_counted(stored: Stored, expected: dict[str, int], course: str = COURSE) -> None:
    """Nobody waits for refusals, but this."""
    wait_until(lambda: stored.not_counted(course) == expected, PATIENCE, f"not {expected}")


async def one_by_one(player: Player, _address: str) -> None:
    for event in (*EVENTS, *NOT_OF_A_COURSE[:2]):
        await asyncio.gather(report_alone(player, event), return_exceptions=True)


async def in_a_batch(player: Player, _address: str) -> None:
    await report(player, [*EVENTS, *NOT_OF_A_COURSE])


async def in_a_stream(_player: Player, address: str) -> None:
    await exchange(address, [[event] for event in (*EVENTS, *NOT_OF_A_COURSE)])


@pytest.mark.parametrize("send", [one_by_one, in_a_batch, in_a_stream])
async def test_what_was_received_is_counted_or_not_counted_for_a_reason(
    player: Player, stored: Stored, server: Program, send: Callable[[Player, str], "asyncio.Future[None]"]
) -> None:
    await send(player, server.address)
    await_not_counted(stored, expected())
    assert {"course_views": 2, views(FIRST): 2, seconds(FIRST): 10} == stored.counters()
    refused = sum(count for name, count in stored.not_counted().items() if name.startswith("not_counted:"))
    assert len(EVENTS) == len(GOOD) + refused


async def test_a_day_has_the_refusals_of_its_course(player: Player, stored: Stored) -> None:
    await report(player, EVENTS)
    await_not_counted(stored, expected())
    (day,) = stored.days()
    assert expected() == stored.not_counted(day)


async def test_a_refused_event_has_no_user(player: Player, stored: Stored) -> None:
    await refusal(player.ping(seconds=400))
    await_not_counted(stored, {"not_counted:INVALID_FIELDS": 1})
    assert 0 == stored.users()


async def test_a_refusal_is_flushed_like_any_count(player: Player, stored: Stored) -> None:
    await refusal(player.ping(seconds=400))
    await_not_counted(stored, {"not_counted:INVALID_FIELDS": 1})
    assert {COURSE, *stored.days()} == stored.redis.smembers(f"dirty_analytics_courses:{{{partition()}}}")


async def test_what_is_refused_for_no_course_leaves_nothing(player: Player, stored: Stored) -> None:
    for event in NOT_OF_A_COURSE[:2]:
        await refusal(report_alone(player, event))
    await report(player, NOT_OF_A_COURSE)
    await player.view()
    assert [] == [key for key in stored.keys() if COURSE not in key and f"{{{partition()}}}" not in key]  # noqa: SIM118 - a method of ours


async def test_a_course_that_is_not_in_the_cache_is_looked_up_in_the_background(player: Player, stored: Stored) -> None:
    for course in OTHER_COURSES:  # nobody has asked for some of them yet
        await refusal(player.ping(course, seconds=400))
        await_not_counted(stored, {"not_counted:INVALID_FIELDS": 1}, course)


async def test_nothing_is_counted_as_refused_while_the_catalog_is_away(
    proxied_player: Player, mongo_proxy: Proxy, stored: Stored
) -> None:
    mongo_proxy.refuse()
    unknown = "65000000000000000000abcd"
    await refusal(proxied_player.ping(unknown, seconds=400))
    await proxied_player.view()
    assert {} == stored.tally(unknown)


def test_the_reasons_are_those_of_the_contract() -> None:
    reasons = set(dashboard_pb2.NotCounted.Reason.keys()) - {"REASON_UNSPECIFIED"}
    assert reasons == {"REPEATED", *itertools.chain(DECIDED_BY_REDIS, DECIDED_HERE.values())}

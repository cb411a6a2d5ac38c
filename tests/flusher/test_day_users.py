"""The users of a day: saved whenever they changed, owed until then, and given back to a Redis that lost them."""

import asyncio
from itertools import pairwise

import pytest

from flusher.steps import wave
from flusher.steps.plan import Share
from shared.data import keys
from shared.data.tallies import day_tally
from tests.flusher.stage import ONE_PING, Stage, course

DAY = day_tally(course(1), "2026-11-25")
PARTITION = keys.partition_of(DAY.name)
USERS = keys.course_users(PARTITION, DAY.name)
UNSAVED = keys.unsaved_users(PARTITION)


async def unsaved(stage: Stage) -> list[bytes]:
    found: list[bytes] = await stage.call("SMEMBERS", UNSAVED)
    return found


async def test_a_flush_saves_the_users_of_a_day_and_owes_nothing_any_more(stage: Stage) -> None:
    await stage.count(DAY, ONE_PING, b"ann", b"bob")

    await stage.flush()

    document = await stage.document_of(DAY)
    assert (2, 2) == (document["uniqueActiveUsers"], document["usersSketchEstimate"])
    assert await stage.call("GET", USERS) == document["usersSketch"]
    assert [] == await unsaved(stage)


async def test_every_change_of_a_days_users_is_saved_however_small(stage: Stage) -> None:
    several = [b"user-%d" % number for number in range(300)]
    sketches = []
    for users in (several, [b"one more"], [b"and one more"]):
        await stage.count(DAY, ONE_PING, *users)
        await stage.flush()
        sketches.append((await stage.document_of(DAY))["usersSketch"])

    assert all(before != after for before, after in pairwise(sketches))


async def test_a_day_with_newer_counts_stays_unsaved(stage: Stage) -> None:
    await stage.count(DAY, ONE_PING, b"ann")
    await stage.taken(DAY.name)
    await stage.count(DAY, ONE_PING, b"bob")

    report = await wave.run(stage.stores(), [Share(PARTITION, [DAY.name])], asyncio.Event())

    assert 1 == report.cleared
    assert [DAY.name.encode()] == await unsaved(stage)


async def test_users_of_a_day_without_counts_are_saved_by_the_next_cycle(stage: Stage) -> None:
    await stage.count(DAY, ONE_PING, b"ann")
    await stage.flush()
    await stage.call("PFADD", USERS, b"bob")
    await stage.call("SADD", UNSAVED, DAY.name)

    await stage.flush()

    assert 2 == (await stage.document_of(DAY))["uniqueActiveUsers"]
    assert [] == await unsaved(stage)


async def test_users_whom_redis_lost_are_kept_when_as_many_others_come(stage: Stage) -> None:
    await stage.count(DAY, ONE_PING, b"ann", b"bob")
    await stage.flush()
    await stage.call("FLUSHDB")
    await stage.count(DAY, ONE_PING, b"cid", b"dan")

    await stage.flush()

    assert 4 == (await stage.document_of(DAY))["uniqueActiveUsers"]
    assert 4 == await stage.call("PFCOUNT", USERS)


async def test_users_that_redis_gets_back_end_when_they_would_have(stage: Stage) -> None:
    await stage.count(DAY, ONE_PING, b"ann")
    await stage.flush()
    await stage.call("FLUSHDB")
    await stage.call("SADD", UNSAVED, DAY.name)

    await stage.flush()

    forty_days_later = 1799107200  # 2027-01-05, when the fortieth day after the day is over
    assert forty_days_later == await stage.call("EXPIRETIME", USERS)


async def test_a_day_whose_users_are_nowhere_is_owed_nothing(stage: Stage) -> None:
    await stage.call("SADD", UNSAVED, DAY.name)

    await stage.flush()

    assert [] == await unsaved(stage)


@pytest.mark.parametrize("garbage", ["SET", "HSET"])
async def test_an_unsaved_users_key_of_another_type_blocks_no_flush(stage: Stage, garbage: str) -> None:
    await stage.count(DAY, ONE_PING)
    await stage.call(garbage, UNSAVED, *(["x"] if garbage == "SET" else ["x", "y"]))

    assert not (await stage.flush()).left

    assert 1 == (await stage.document_of(DAY))["totalViews"]

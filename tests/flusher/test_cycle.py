"""Whole cycles in this process: every course that is dirty, whatever there is in the way."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from bson import ObjectId

from devstack.servers import RedisServer
from flusher.cycle import Flusher
from flusher.steps import plan, wave
from flusher.steps.report import Report
from flusher.steps.take import take
from shared.data import keys
from shared.stores.mongo import COURSE_ANALYTICS
from tests.flusher.stage import ONE_PING, Stage, course, courses_of, staged
from tests.flusher.store import fill
from tests.servers import PATIENCE

COURSES = [course(number) for number in range(1, 21)]
LOCKED = "locked by another flusher"

Logged = list[Any]


async def test_everything_dirty_is_flushed(stage: Stage) -> None:
    await stage.ping(*COURSES)
    await stage.ping(*COURSES[:5])

    report = await stage.flush()

    assert (20, 0, {}) == (report.cleared, report.quarantined, report.left)
    await stage.assert_all_flushed()
    await stage.assert_exact()


async def test_more_courses_than_a_wave_takes_are_flushed_by_several(stage: Stage) -> None:
    for first in range(0, 1200, 200):
        await stage.ping(*(course(number) for number in range(first, first + 200)))

    assert 1200 == (await stage.flush()).cleared
    await stage.assert_all_flushed()


async def test_very_large_courses_are_flushed_by_several_waves(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flusher.steps.wave.WAVE_COUNTERS", 10)  # each course has four fields
    monkeypatch.setattr("flusher.steps.wave.TAKE_COUNTERS", 8)
    await stage.ping(*COURSES)

    report = await stage.flush()

    assert (len(COURSES), {}) == (report.cleared, report.left)
    assert await stage.epoch() > 1 + 1
    await stage.assert_all_flushed()


async def test_counts_that_came_after_what_a_crash_has_left_are_flushed_too(stage: Stage) -> None:
    await stage.ping(COURSES[0])
    await stage.taken(COURSES[0])
    await stage.ping(COURSES[0])

    assert not (await stage.flush()).left

    await stage.assert_all_flushed()


async def test_a_dirty_course_without_counts_leaves_the_dirty_set(stage: Stage) -> None:
    await stage.call("SADD", keys.dirty_courses(7), next(courses_of(7)))

    assert not (await stage.flush()).left

    assert set() == await stage.dirty()


async def test_what_another_flusher_has_locked_is_left_to_it(stage: Stage) -> None:
    theirs, ours = COURSES[:2]
    await stage.ping(theirs, ours)
    lock = keys.flush_lock(keys.partition_of(theirs))
    await stage.call("SET", lock, "another")

    report = await stage.flush()

    assert (1, {LOCKED: 1}) == (report.cleared, report.left)
    assert b"another" == await stage.call("GET", lock)
    assert {theirs} == await stage.dirty()
    await stage.assert_exact()


async def test_no_lock_stays_behind(stage: Stage) -> None:
    await stage.ping(*COURSES)

    await stage.flush()

    assert [] == await stage.locks()


async def test_a_batch_that_mongodb_permanently_rejects_is_quarantined_and_blocks_no_other(
    stage: Stage, logged: Logged
) -> None:
    refused, *others = COURSES
    await stage.database[COURSE_ANALYTICS].insert_one({"courseId": ObjectId(refused), "lectureStats": {"1": 5}})
    await stage.database[COURSE_ANALYTICS].update_one({"courseId": ObjectId(refused)}, {"$set": {"totalViews": "none"}})
    await stage.ping(*COURSES)

    report = await stage.flush()

    assert (19, 1, {}) == (report.cleared, report.quarantined, report.left)
    (text,) = (await stage.hash(keys.quarantined_counters, refused)).values()
    assert "Cannot apply $inc to a value of non-numeric type" in json.loads(text)["reason"]
    assert {refused} == {line["tally"] for line in logged if line["log_level"] == "error"}
    assert {other: stage.acknowledged[other] for other in others} == await stage.flushed(*others)


async def test_a_malformed_hash_is_quarantined_and_blocks_no_other(stage: Stage) -> None:
    await stage.ping(*COURSES)
    malformed = COURSES[0]
    hot = keys.course_counters(keys.partition_of(malformed), malformed)
    await stage.call("HSET", hot, "stars", 5)

    report = await stage.flush()

    assert (19, 1, {}) == (report.cleared, report.quarantined, report.left)
    (text,) = (await stage.hash(keys.quarantined_counters, malformed)).values()
    assert "unreadable: stars" == json.loads(text)["reason"]


async def test_a_dirty_set_member_of_malformed_utf_8_blocks_no_other(stage: Stage) -> None:
    await stage.ping(course(1))
    await stage.call("SADD", keys.dirty_courses(keys.partition_of(course(1))), b"\xff")

    await stage.flush()

    assert {course(1): ONE_PING} == await stage.flushed(course(1))


async def test_a_key_of_another_type_blocks_no_other(stage: Stage) -> None:
    await stage.ping(*COURSES)
    wrong = next(courses_of(7))
    await stage.call("SET", keys.flushing_counters(7, wrong), "no hash")
    await stage.call("SADD", keys.dirty_courses(7), wrong)

    report = await stage.flush()

    assert 20 == report.cleared
    (reason,) = report.left
    assert "WRONGTYPE" in reason


async def test_flushers_side_by_side_share_the_work(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "waves", partial(plan.waves, size=4))
    flushers = [Flusher(stage.stores()) for _ in range(3)]
    cleared = [0, 0, 0]

    for _ in range(4):
        await stage.ping(*COURSES)
        cycles = (flusher.cycle(asyncio.Event()) for flusher in flushers)
        reports, _ = await asyncio.gather(asyncio.gather(*cycles), stage.assert_exact())
        cleared = [before + report.cleared for before, report in zip(cleared, reports, strict=True)]

    assert all(cleared)
    await stage.flush()
    await stage.assert_all_flushed()


async def test_waves_of_different_partitions_are_in_flight_at_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "lanes", partial(plan.lanes, size=4))
    run, all_in_flight = wave.run, asyncio.Barrier(plan.LANES)

    async def run_together(stores: wave.Stores, one_wave: plan.Wave, stop: asyncio.Event) -> Report:
        async with asyncio.timeout(PATIENCE):
            await all_in_flight.wait()
        return await run(stores, one_wave, stop)

    monkeypatch.setattr(wave, "run", run_together)
    await stage.ping(*COURSES)

    report = await stage.flush()

    assert (20, Counter()) == (report.cleared, report.left)
    await stage.assert_all_flushed()


@pytest.mark.parametrize(("slow", "waves"), [(10, 5), (70, 20)])
async def test_a_wave_takes_for_no_longer_than_half_of_the_lives_of_its_locks(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, slow: int, waves: int
) -> None:
    seconds = 0.0

    async def take_slowly(*arguments: Any) -> Any:
        nonlocal seconds
        seconds += slow
        return await take(*arguments)

    monkeypatch.setattr(wave, "take", take_slowly)
    await stage.ping(*COURSES)

    report = await stage.flush(lock_ttl=60.0, now=lambda: seconds)

    assert (20, {}, waves) == (report.cleared, report.left, await stage.epoch() - 1)
    await stage.assert_all_flushed()


async def test_a_stop_ends_the_cycle_after_the_wave(stage: Stage) -> None:
    await stage.ping(*COURSES)
    stop = asyncio.Event()
    stop.set()

    report = await Flusher(stage.stores()).cycle(stop)

    assert {"not reached": 20} == report.left
    await stage.assert_exact()


async def test_a_full_redis_drains(stage: Stage, start_redis: Callable[..., RedisServer]) -> None:
    server = start_redis(maxmemory="4mb")
    async with staged(server.url, stage.database) as full:
        await full.ping(*COURSES)
        await full.taken(COURSES[0])
        await fill(full.redis)

        report = await full.flush()

        assert (20, {}) == (report.cleared, report.left)
        await full.assert_all_flushed()


async def test_a_redis_that_has_become_a_replica_is_left_alone(
    stage: Stage, start_redis: Callable[..., RedisServer]
) -> None:
    server = start_redis()
    async with staged(server.url, stage.database) as demoted:
        await demoted.ping(COURSES[0])
        await demoted.call("REPLICAOF", "127.0.0.1", 1)

        report = await demoted.flush()

        assert report.store_away
        assert ["this Redis is a replica: ANALYTICS_REDIS_URL must lead to the primary"] == list(report.left)
        await demoted.call("REPLICAOF", "NO", "ONE")
        await demoted.assert_exact()

"""Days and lectures: flushed by the same protocol, each into its own collection and its own document."""

import asyncio
import time
from typing import Any

import pytest
from bson import ObjectId

from flusher.cycle import Flusher
from flusher.steps.due import LECTURE_COUNTERS, LECTURE_SECONDS, may_wait
from shared.data import keys
from shared.data.batch_id import batch_id
from shared.data.tallies import course_tally, day_tally, lecture_tally
from shared.stores.mongo import ANALYTICS_SETTINGS
from shared.stores.redis_connection import Reply
from tests.flusher import stage as staging
from tests.flusher.stage import ONE_PING, Stage, course, pings

LECTURE_ID = staging.LECTURE
COURSE_TALLY = course_tally(course(1))
DAY_TALLY = day_tally(course(1), "2026-11-25")
NEXT_DAY = day_tally(course(1), "2026-11-26")
LECTURE_TALLY = lecture_tally(course(1), LECTURE_ID)
SEGMENTS = {"playbacks": 2, "segment_watched:0": 150, "segment_watched:1": 30, "segment_views:0": 2, "duration:3600": 2}


async def regular_cycle(stage: Stage) -> None:
    """What a flusher does at every interval."""
    assert not (await Flusher(stage.stores()).cycle(asyncio.Event())).left


async def test_a_day_and_a_course_are_flushed_each_into_its_own_document(stage: Stage) -> None:
    await stage.count(COURSE_TALLY, pings(5))
    await stage.count(DAY_TALLY, pings(2), b"ann")
    await stage.count(NEXT_DAY, pings(3), b"ann", b"bob")

    assert 3 == (await stage.flush()).cleared

    assert {course(1): pings(5)} == await stage.flushed(course(1))
    day, next_day = await stage.document_of(DAY_TALLY), await stage.document_of(NEXT_DAY)
    sums = ("totalViews", "lectureViews", "watchTime", "uniqueActiveUsers")
    assert (2, 2, 20, 1) == tuple(day[name] for name in sums)
    assert (3, 3, 30, 2) == tuple(next_day[name] for name in sums)
    assert {"views": 2, "totalWatchTime": 20} == day["lectureStats"][LECTURE_ID]


async def test_a_document_repeats_what_its_name_says(stage: Stage) -> None:
    await stage.count(DAY_TALLY, ONE_PING)
    await stage.count(LECTURE_TALLY, SEGMENTS)

    await stage.flush()

    day, lecture = await stage.document_of(DAY_TALLY), await stage.document_of(LECTURE_TALLY)
    assert (DAY_TALLY.name, ObjectId(course(1)), "2026-11-25") == (day["_id"], day["courseId"], day["day"])
    assert (LECTURE_TALLY.name, ObjectId(course(1)), ObjectId(LECTURE_ID)) == (
        lecture["_id"],
        lecture["courseId"],
        lecture["lectureId"],
    )
    assert "updatedAt" in day
    assert "updatedAt" in lecture


async def test_a_lectures_segments_are_added_up(stage: Stage) -> None:
    for _ in range(2):
        await stage.count(LECTURE_TALLY, SEGMENTS)
        await stage.flush()

    document = await stage.document_of(LECTURE_TALLY)
    assert {
        "playbacks": 4,
        "segments": {"0": {"watched": 300, "views": 4}, "1": {"watched": 60}},
        "durations": {"3600": 4},
    } == {name: document[name] for name in ("playbacks", "segments", "durations")}
    assert "uniqueActiveUsers" not in document


@pytest.mark.parametrize(("tally", "window"), [(COURSE_TALLY, 32), (DAY_TALLY, 8), (LECTURE_TALLY, 8)])
async def test_a_document_remembers_as_many_batches_as_its_kind_says(stage: Stage, tally: Any, window: int) -> None:
    counts = SEGMENTS if tally is LECTURE_TALLY else ONE_PING
    ids = [f"b{number}" for number in range(window + 2)]
    for name in ids:
        await stage.count(tally, counts, batch=name)
        await stage.flush()

    assert ids[2:] == (await stage.document_of(tally))["recentBatches"]


async def test_a_tally_in_quarantine_keeps_no_other_tally_of_its_course_from_mongodb(stage: Stage) -> None:
    await stage.database[DAY_TALLY.kind.collection].insert_one({"_id": DAY_TALLY.name, "lectureStats": 5})
    for tally in (COURSE_TALLY, DAY_TALLY, NEXT_DAY):
        await stage.count(tally, ONE_PING)

    report = await stage.flush()

    assert (2, 1) == (report.cleared, report.quarantined)
    assert 1 == len(await stage.hash(keys.quarantined_counters, DAY_TALLY.name))
    assert {course(1): ONE_PING} == await stage.flushed(course(1))


@pytest.mark.parametrize("name", ["nobody", f"{course(1)}/2026-1-1", f"{course(1)}/x", f"{course(1)}/{LECTURE_ID}/9"])
async def test_an_unknown_tally_name_is_quarantined_and_blocks_no_other(stage: Stage, name: str) -> None:
    partition = keys.partition_of(course(1))
    await stage.count(COURSE_TALLY, ONE_PING)
    await stage.call("HSET", keys.course_counters(partition, name), keys.BATCH, "b", "course_views", 1)
    await stage.call("SADD", keys.dirty_courses(partition), name)

    report = await stage.flush()

    assert (1, 1, {}) == (report.cleared, report.quarantined, report.left)
    assert set() == await stage.dirty()


async def test_the_first_day_that_is_flushed_is_the_installations_first(stage: Stage) -> None:
    async def recorded_since() -> object:
        return (await stage.database[ANALYTICS_SETTINGS].find_one({"_id": "days"}) or {}).get("recordedSince")

    await stage.count(COURSE_TALLY, ONE_PING)
    await stage.flush()
    assert None is await recorded_since()

    await stage.count(NEXT_DAY, ONE_PING)
    await stage.flush()
    assert "2026-11-26" == await recorded_since()

    await stage.count(DAY_TALLY, ONE_PING)
    await stage.flush()
    assert "2026-11-25" == await recorded_since()


class TestWhenALectureIsFlushed:
    async def test_a_lectures_few_young_counts_wait_and_a_days_do_not(self, stage: Stage) -> None:
        await stage.count(LECTURE_TALLY, SEGMENTS)
        await stage.count(DAY_TALLY, ONE_PING)

        await regular_cycle(stage)

        assert {LECTURE_TALLY.name} == await stage.dirty()
        assert {} == await stage.document_of(LECTURE_TALLY)
        assert 1 == (await stage.document_of(DAY_TALLY))["totalViews"]

    async def test_once_flushes_them(self, stage: Stage) -> None:
        await stage.count(LECTURE_TALLY, SEGMENTS)

        await stage.flush()

        assert 2 == (await stage.document_of(LECTURE_TALLY))["playbacks"]

    async def test_after_an_hour_they_are_flushed(self, stage: Stage) -> None:
        await stage.count(LECTURE_TALLY, SEGMENTS, batch=batch_id("p", 1, time.time() - LECTURE_SECONDS - 1))

        await regular_cycle(stage)

        assert 2 == (await stage.document_of(LECTURE_TALLY))["playbacks"]

    async def test_what_an_earlier_flush_has_left_does_not_wait(self, stage: Stage) -> None:
        await stage.count(LECTURE_TALLY, SEGMENTS)
        await stage.taken(LECTURE_TALLY.name)

        await regular_cycle(stage)

        assert 2 == (await stage.document_of(LECTURE_TALLY))["playbacks"]

    @pytest.mark.parametrize(
        ("batch", "counters", "taken", "waits"),
        [
            pytest.param(b"p-1-3e8", 5, 0, True, id="few and young"),
            pytest.param(b"p-1-3e8", LECTURE_COUNTERS, 0, False, id="large"),
            pytest.param(b"p-1-3e8", 5, 1, False, id="taken before"),
            pytest.param(b"p-1-370000", 5, 0, False, id="of a clock that is an hour ahead"),
            pytest.param(b"no time", 5, 0, False, id="of unknown age"),
            pytest.param(None, 0, 0, False, id="without counts"),
            pytest.param(None, 5, 0, False, id="without a batch"),
        ],
    )
    def test_what_is_large_left_or_odd_does_not_wait(
        self, batch: Reply, counters: Reply, taken: Reply, waits: bool
    ) -> None:
        assert waits == may_wait(batch, counters, taken, now=2.0)

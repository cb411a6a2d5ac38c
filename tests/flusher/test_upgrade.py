"""What the version before has stored, which knew courses only, is flushed right by this one; and what it put aside."""

import asyncio
import json
from typing import Any

from bson import ObjectId

from flusher.cycle import Flusher
from flusher.tools import quarantine
from shared.data import keys
from shared.data.tallies import Tally, course_tally, day_tally, lecture_tally
from shared.stores.mongo import COURSE_ANALYTICS
from tests.flusher.stage import LECTURE, ONE_PING, Stage, course, pings

COURSE = course(1)
PARTITION = keys.partition_of(COURSE)
DAY = day_tally(COURSE, "2026-11-25")
SEGMENTS = {"playbacks": 2, "segment_watched:0": 150, "segment_views:0": 2}
NO_SUCH_COURSE = "the course's id is not 24 hexadecimal digits"


async def put(stage: Stage, name: str, fields: dict[str, Any]) -> None:
    await stage.call("HSET", name, *(part for item in fields.items() for part in item))


async def before(stage: Stage) -> None:
    """A course with counts in MongoDB, in quarantine, in flight and hot: one ping each."""
    document = {
        "courseId": ObjectId(COURSE),
        "totalViews": 1,
        "lectureStats": {LECTURE: {"views": 1, "totalWatchTime": 10}},
        "uniqueActiveUsers": 1,
        "recentBatches": [f"old-{number}-19a" for number in range(32)],
        "epoch": 7,
    }
    await stage.database[COURSE_ANALYTICS].insert_one(document)
    await stage.database["flushepoch"].insert_one({"_id": "flush", "epoch": 7})
    await put(stage, keys.course_counters(PARTITION, COURSE), {"batch": "old-40-19a", **ONE_PING})
    await put(stage, keys.flushing_counters(PARTITION, COURSE), {"batch": "old-39-19a", **ONE_PING})
    kept = json.dumps({"reason": "refused", "counters": ONE_PING, "unreadable": {}})
    await put(stage, keys.quarantined_counters(PARTITION, COURSE), {"old-38-19a": kept})
    await stage.call("SET", keys.flushed_batch(PARTITION, COURSE), "old-31-19a", "EX", 3600)
    await stage.call("SADD", keys.dirty_courses(PARTITION), COURSE)


async def aside(stage: Stage, tally: Tally, counters: dict[str, int], unreadable: dict[str, str]) -> None:
    """What a flusher of the version before does with a tally of which it does not know."""
    kept = json.dumps({"reason": NO_SUCH_COURSE, "counters": counters, "unreadable": unreadable})
    await put(stage, keys.quarantined_counters(PARTITION, tally.name), {"new-1-19b": kept})


async def replay(stage: Stage) -> int:
    report, sent = await quarantine.replay([stage.redis], Flusher(stage.stores()), asyncio.Event())
    assert not report.left
    return sent


async def test_counts_in_every_state_are_flushed_once(stage: Stage) -> None:
    await before(stage)
    assert {COURSE: pings(4)} == await stage.shown(COURSE)

    assert not (await stage.flush()).left
    assert {COURSE: pings(4)} == await stage.shown(COURSE)

    assert 1 == await replay(stage)
    assert {COURSE: pings(4)} == await stage.flushed(COURSE)
    assert [] == await stage.call("KEYS", "*_counters:*")


async def test_a_batch_that_it_had_applied_but_not_cleared_is_not_added_again(stage: Stage) -> None:
    await before(stage)
    await put(stage, keys.flushing_counters(PARTITION, COURSE), {"batch": "old-31-19a"})

    assert not (await stage.flush()).left

    assert {COURSE: pings(3)} == await stage.shown(COURSE)


async def test_quarantined_batches_of_tallies_unknown_to_the_old_version_are_replayed(stage: Stage) -> None:
    lecture = lecture_tally(COURSE, LECTURE)
    await aside(stage, DAY, ONE_PING, {"not_counted:REPEATED": "3"})
    await aside(stage, lecture, {}, {field: str(count) for field, count in SEGMENTS.items()})
    await aside(stage, course_tally(COURSE), ONE_PING, {"not_counted:REPEATED": "3"})

    assert 3 == await replay(stage)

    day, segments = await stage.document_of(DAY), await stage.document_of(lecture)
    assert (1, {"REPEATED": {"events": 3}}) == (day["totalViews"], day["notCounted"])
    assert (2, {"0": {"watched": 150, "views": 2}}) == (segments["playbacks"], segments["segments"])
    assert {"REPEATED": {"events": 3}} == (await stage.document(COURSE))["notCounted"]
    assert [] == await stage.call("KEYS", "quarantined_counters:*")


async def test_a_tally_unknown_to_this_version_too_stays_in_quarantine(stage: Stage) -> None:
    await aside(stage, Tally(f"{COURSE}/later", DAY.kind, COURSE), ONE_PING, {})

    assert 0 == await replay(stage)

    assert 1 == len(await stage.call("KEYS", "quarantined_counters:*"))

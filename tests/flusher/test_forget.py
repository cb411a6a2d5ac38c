"""`forget`: nothing of a course comes back, at whatever moment of a flush it is given."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from bson import ObjectId

from devstack.programs import Program
from flusher.steps import scripts
from flusher.steps.apply import apply
from flusher.steps.clear import clearing
from flusher.steps.lease import LeaseLost
from flusher.steps.take import Batch
from flusher.tools.forget import forget
from shared.data import keys
from shared.data.tallies import DAY, KINDS, lecture_tally
from shared.stores.mongo import COURSE_ANALYTICS
from tests.flusher.stage import LECTURE, ONE_PING, Stage, course
from tests.servers import PATIENCE

COURSE, NEIGHBOUR = course(1), course(2)
PARTITION = keys.partition_of(COURSE)
OLDER = 0  # an epoch before any


async def forgotten(stage: Stage, name: str = COURSE) -> int:
    return await forget(stage.redis_url, stage.database, name, lock_ttl=60)


async def counts_in_mongodb(stage: Stage, course_id: str = COURSE) -> list[float]:
    """Every count of the course in any document."""
    found: list[float] = []
    for kind in KINDS:
        own = {kind.key: ObjectId(course_id)} if kind.key == "courseId" else {"_id": {"$regex": f"^{course_id}/"}}
        async for document in stage.database[kind.collection].find(own):
            found += [count for items in kind.counts_of(document).values() for count in items.values() if count]
    return found


async def keys_of_the_course(stage: Stage) -> list[bytes]:
    """What Redis still has of it, but for the mark of the last flush, which ends by itself."""
    found: list[bytes] = await stage.call("KEYS", f"*{COURSE}*")
    return [key for key in found if not key.startswith(b"flushed_batch")]


async def test_all_of_a_course_is_emptied_in_both_stores_and_nothing_of_its_neighbour(stage: Stage) -> None:
    await stage.ping(COURSE, NEIGHBOUR)
    await stage.flush()
    await stage.database[COURSE_ANALYTICS].update_one({"courseId": ObjectId(COURSE)}, {"$set": {"__v": 7}})
    await stage.ping(COURSE)

    assert await forgotten(stage) >= 1

    document = await stage.document(COURSE)
    assert [] == await counts_in_mongodb(stage)
    assert [] == await keys_of_the_course(stage)
    assert COURSE not in await stage.dirty()
    assert (True, 7) == ("usersSketch" not in document and "uniqueActiveUsers" not in document, document["__v"])
    assert (1, True) == (len(document["recentBatches"]), document["epoch"] > 1)
    assert {NEIGHBOUR: ONE_PING} == await stage.shown(NEIGHBOUR)


async def test_what_comes_afterwards_counts_from_the_beginning(stage: Stage) -> None:
    for user in (b"ann", b"ben", b"cid"):
        await stage.ping(COURSE, user=user)
    await stage.flush()
    await forgotten(stage)

    await stage.ping(COURSE, user=b"dan")
    await stage.flush()

    assert {COURSE: ONE_PING} == await stage.shown(COURSE)
    assert 1 == (await stage.document(COURSE))["uniqueActiveUsers"]


async def left_hot(_: Stage, __: list[Batch]) -> None:
    """Nothing has been taken yet."""


async def left_taken(stage: Stage, taken: list[Batch]) -> None:
    """The flusher died after the take."""
    taken += await stage.taken(COURSE)


async def left_applied(stage: Stage, taken: list[Batch]) -> None:
    """The flusher died after MongoDB had taken the batch."""
    await left_taken(stage, taken)
    await apply(stage.database[COURSE_ANALYTICS], taken, await stage.epoch(), timeout=5)


async def left_cleared(stage: Stage, taken: list[Batch]) -> None:
    """The flusher died after it had cleared the batch."""
    await left_applied(stage, taken)
    for batch in taken:
        await stage.call(*clearing(batch))


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("moment", [left_hot, left_taken, left_applied, left_cleared])
async def test_at_every_moment_of_a_flush_nothing_comes_back(
    stage: Stage, moment: Callable[[Stage, list[Batch]], Awaitable[None]], known: bool
) -> None:
    if known:
        await stage.ping(COURSE)
        await stage.flush()
    await stage.ping(COURSE)
    taken: list[Batch] = []
    await moment(stage, taken)

    await forgotten(stage)
    for batch in taken:  # of a flusher that slept, and wakes up now
        await apply(stage.database[COURSE_ANALYTICS], [batch], OLDER, timeout=5)
        await stage.call(*clearing(batch))
    await stage.flush()

    assert [] == await counts_in_mongodb(stage)
    assert [] == await keys_of_the_course(stage)


async def test_a_sleeping_flusher_does_not_bring_the_users_back(stage: Stage) -> None:
    await stage.ping(COURSE)
    await stage.flush()
    saved = (await stage.document(COURSE))["usersSketch"]
    await forgotten(stage)

    names = [keys.course_users(PARTITION, COURSE), keys.saved_users(PARTITION, COURSE), keys.flush_lock(PARTITION)]
    assert await stage.call(*scripts.call(scripts.MERGE_USERS, names, saved, 0, "of the sleeper")) is None

    assert [] == await keys_of_the_course(stage)


async def test_a_quarantined_batch_is_forgotten_too(stage: Stage) -> None:
    await stage.database[COURSE_ANALYTICS].insert_one(
        {"courseId": ObjectId(COURSE), "lectureStats": 5, "recentBatches": None, "epoch": "x"}
    )
    await stage.ping(COURSE)
    await stage.flush()
    assert await stage.hash(keys.quarantined_counters, COURSE)

    await forgotten(stage)
    await stage.ping(COURSE)
    await stage.flush()

    assert {COURSE: ONE_PING} == await stage.shown(COURSE)


async def test_days_and_lectures_are_emptied_with_the_course_and_a_lecture_also_alone(stage: Stage) -> None:
    lecture, day = lecture_tally(COURSE, LECTURE), f"{COURSE}/2026-01-31"
    for name, fields in ((lecture.name, ("playbacks", 1)), (day, ("course_views", 1))):
        await stage.call("HSET", keys.course_counters(PARTITION, name), keys.BATCH, "b", *fields)
        await stage.call("SADD", keys.dirty_courses(PARTITION), name)
    await stage.call("PFADD", keys.course_users(PARTITION, day), "ann")
    await stage.call("SADD", keys.unsaved_users(PARTITION), day)
    await stage.ping(COURSE)
    await stage.flush()

    assert 1 == await forgotten(stage, lecture.name)
    assert {COURSE: ONE_PING} == await stage.shown(COURSE)
    assert [lecture.name.encode()] == await stage.call("HKEYS", keys.forgotten(PARTITION))
    assert 24 * 3600 <= await stage.call("TTL", keys.forgotten(PARTITION)) <= 24 * 3600 + 1
    assert {} == await stage.database[lecture.kind.collection].find_one(
        {"_id": lecture.name}, {"_id": 0, "playbacks": 1}
    )

    assert await forgotten(stage) >= 2
    document: Any = await stage.database[DAY.collection].find_one({"_id": day})
    assert ({"_id", "courseId", "day", "epoch", "recentBatches", "updatedAt"}, ["b"]) == (
        document.keys(),
        document["recentBatches"],
    )
    assert [] == await keys_of_the_course(stage)


async def test_a_key_of_the_wrong_type_does_not_keep_a_lecture_from_being_forgotten(stage: Stage) -> None:
    lecture = lecture_tally(COURSE, LECTURE).name
    await stage.call("SET", keys.forgotten(PARTITION), "garbage")

    assert 1 == await forgotten(stage, lecture)

    assert [lecture.encode()] == await stage.call("HKEYS", keys.forgotten(PARTITION))


async def test_while_another_flusher_is_at_the_course_nothing_is_touched(stage: Stage) -> None:
    await stage.ping(COURSE)
    await stage.call("SET", keys.flush_lock(PARTITION), "another")

    with pytest.raises(LeaseLost, match="another flusher is at this course"):
        await forgotten(stage)

    await stage.assert_exact()
    assert b"another" == await stage.call("GET", keys.flush_lock(PARTITION))


async def test_the_command_says_what_it_did(stage: Stage, start_program: Callable[..., Program]) -> None:
    def said(*arguments: str) -> tuple[int, str]:
        program = start_program("flusher", "forget", *arguments)
        return program.wait(PATIENCE), program.output().splitlines()[-1]

    await stage.ping(COURSE)
    code, line = said(COURSE)
    assert (0, True) == (code, line.startswith(f"forgotten: {COURSE}, "))

    await stage.call("SET", keys.flush_lock(PARTITION), "another")
    assert (3, "not forgotten: another flusher is at this course; give the command again") == said(COURSE)
    assert 2 == said(f"{COURSE}/2026-01-31")[0]

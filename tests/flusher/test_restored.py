"""A store is restored from a backup: what docs/operations.md says is missing or doubled then, and how it is mended."""

from typing import Any

import pytest
from bson import ObjectId

from flusher.schema import EPOCH_ID, FLUSH_EPOCH
from flusher.steps.apply import apply
from shared.data import keys
from shared.data.tallies import COURSE as COURSE_KIND
from shared.stores.mongo import COURSE_ANALYTICS, Document
from tests.flusher.stage import ONE_PING, Stage, course, pings

COURSE = course(1)
Backup = dict[str, list[Document]]


async def backed_up(stage: Stage) -> Backup:
    return {name: await stage.database[name].find().to_list() for name in (COURSE_ANALYTICS, FLUSH_EPOCH)}


async def restore(stage: Stage, backup: Backup) -> None:
    for name, documents in backup.items():
        await stage.database[name].delete_many({})
        await stage.database[name].insert_many(documents)


async def test_a_mongodb_that_comes_back_older_lacks_what_was_flushed_since_and_nothing_else(stage: Stage) -> None:
    await stage.ping(COURSE)
    await stage.flush()
    backup = await backed_up(stage)
    await stage.ping(COURSE)
    await stage.flush()
    await stage.ping(COURSE)

    await restore(stage, backup)

    assert {COURSE: pings(2)} == await stage.shown(COURSE)
    assert not (await stage.flush()).left
    assert {COURSE: pings(2)} == await stage.shown(COURSE) == await stage.flushed(COURSE)


async def test_a_batch_that_was_applied_but_not_cleared_is_in_a_restored_mongodb_after_the_next_flush(
    stage: Stage,
) -> None:
    await stage.ping(COURSE)
    await stage.flush()
    backup = await backed_up(stage)
    await stage.ping(COURSE)
    await apply(stage.database[COURSE_ANALYTICS], await stage.taken(COURSE), await stage.epoch(), timeout=4)

    await restore(stage, backup)

    assert not (await stage.flush()).left
    assert {COURSE: pings(2)} == await stage.shown(COURSE) == await stage.flushed(COURSE)


async def test_an_epoch_that_was_restored_older_than_the_documents_fences_until_it_is_raised(stage: Stage) -> None:
    await stage.ping(COURSE)
    await stage.flush()
    epochs = stage.database[FLUSH_EPOCH]
    await stage.database[COURSE_ANALYTICS].update_one({"courseId": ObjectId(COURSE)}, {"$set": {"epoch": 1_000_000}})
    await stage.ping(COURSE)
    assert {"fenced: a newer flusher has been here"} == set((await stage.flush()).left)
    assert {COURSE: pings(2)} == await stage.shown(COURSE)

    highest = await stage.database[COURSE_ANALYTICS].find_one(sort=[("epoch", -1)]) or {}
    await epochs.update_one({"_id": EPOCH_ID}, {"$max": {"epoch": highest["epoch"]}})

    assert not (await stage.flush()).left
    assert {COURSE: pings(2)} == await stage.flushed(COURSE)


async def hot(stage: Stage) -> tuple[Any, ...]:
    """A backup of Redis in which the course has hot counts; what puts it back."""
    partition = keys.partition_of(COURSE)
    name = keys.course_counters(partition, COURSE)
    return "RESTORE", name, 0, await stage.call("DUMP", name), "REPLACE"


async def remember(stage: Stage, batches: int) -> None:
    """Lets MongoDB remember so many newer batches of the course, as so many flushes would."""
    ids = [f"newer-{number}" for number in range(batches)]
    await stage.database[COURSE_ANALYTICS].update_one(
        {"courseId": ObjectId(COURSE)}, {"$push": {"recentBatches": {"$each": ids, "$slice": -COURSE_KIND.window}}}
    )


@pytest.mark.parametrize(
    ("newer_batches", "shown"),
    [(COURSE_KIND.window - 1, ONE_PING), (COURSE_KIND.window, pings(2))],
    ids=["below 32", "32"],
)
async def test_a_redis_from_a_backup_counts_twice_once_a_course_has_been_flushed_32_times_since(
    stage: Stage, newer_batches: int, shown: dict[str, int]
) -> None:
    await stage.ping(COURSE)
    put_back = await hot(stage)
    await stage.flush()
    await remember(stage, newer_batches)

    await stage.call(*put_back)
    await stage.call("SADD", keys.dirty_courses(keys.partition_of(COURSE)), COURSE)
    await stage.flush()

    assert {COURSE: shown} == await stage.shown(COURSE)

"""A store is restored from a backup: what docs/operations.md says is missing or doubled then, and how it is mended."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from flusher.schema import EPOCH_ID, FLUSH_EPOCH
from flusher.steps.apply import apply
from shared.data import keys
from shared.data.tallies import KINDS, Tally, course_tally, day_tally, fields_of, lecture_tally
from shared.stores.mongo import ANALYTICS_SETTINGS, COURSE_ANALYTICS, Document
from tests.flusher.stage import LECTURE, ONE_PING, Stage, course, pings

COURSE = course(1)
TALLY = course_tally(COURSE)
DAY_TALLY = day_tally(COURSE, "2026-11-25")
LECTURE_TALLY = lecture_tally(COURSE, LECTURE)
COUNTS = {
    TALLY: ONE_PING,
    DAY_TALLY: ONE_PING,
    LECTURE_TALLY: {"playbacks": 1, "segment_watched:0": 100, "segment_views:0": 1},
}

of_each_kind = pytest.mark.parametrize("tally", COUNTS, ids=lambda tally: tally.kind.name)

# What the guide names.
COLLECTIONS = (*(kind.collection for kind in KINDS), FLUSH_EPOCH, ANALYTICS_SETTINGS)
GUIDE = (Path(__file__).parents[2] / "docs/operations.md").read_text().partition("## Backup and restore")[2]

Backup = dict[str, list[Document]]


async def backed_up(stage: Stage) -> Backup:
    return {name: await stage.database[name].find().to_list() for name in COLLECTIONS}


async def restore(stage: Stage, backup: Backup) -> None:
    """Into a database that has lost everything."""
    for name in await stage.database.list_collection_names():
        await stage.database[name].delete_many({})
    for name, documents in backup.items():
        if documents:
            await stage.database[name].insert_many(documents)


async def raise_the_epoch(stage: Stage) -> None:
    for kind in KINDS:
        if highest := await stage.database[kind.collection].find_one(sort=[("epoch", -1)]):
            await stage.database[FLUSH_EPOCH].update_one({"_id": EPOCH_ID}, {"$max": {"epoch": highest["epoch"]}})


async def flushed(stage: Stage, tally: Tally) -> dict[str, int]:
    """The counts that MongoDB has of the tally."""
    return fields_of(tally.kind.counts_of(await stage.document_of(tally)))


def test_the_guide_names_every_collection_that_is_backed_up_and_every_one_that_has_an_epoch() -> None:
    backup, _, steps = GUIDE.partition("**MongoDB is lost**")
    assert [] == [name for name in COLLECTIONS if f"`{name}`" not in backup]
    assert [] == [kind.collection for kind in KINDS if f'"{kind.collection}"' not in steps]


async def test_a_mongodb_that_is_lost_has_everything_again_that_was_backed_up(stage: Stage) -> None:
    for tally, counts in COUNTS.items():
        await stage.count(tally, counts, *([b"ann"] if tally.kind.users else []))
    await stage.flush()
    before = {
        name: await stage.database[name].find().to_list() for name in await stage.database.list_collection_names()
    }

    await restore(stage, await backed_up(stage))

    assert before == {name: await stage.database[name].find().to_list() for name in before}


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


@of_each_kind
async def test_an_epoch_that_was_restored_older_than_the_documents_fences_until_it_is_raised(
    stage: Stage, tally: Tally
) -> None:
    await stage.count(tally, COUNTS[tally])
    await stage.flush()
    documents = stage.database[tally.kind.collection]
    await documents.update_one(tally.identity(), {"$set": {"epoch": 1_000_000}})
    await stage.count(tally, COUNTS[tally])
    assert {"fenced: a newer flusher has been here"} == set((await stage.flush()).left)
    assert await stage.is_taken(tally.name)
    assert COUNTS[tally] == await flushed(stage, tally)

    await raise_the_epoch(stage)

    assert not (await stage.flush()).left
    assert multiplied(COUNTS[tally], 2) == await flushed(stage, tally)


def multiplied(counts: Mapping[str, int], times: int) -> dict[str, int]:
    return {field: times * number for field, number in counts.items()}


async def hot(stage: Stage, tally: Tally) -> tuple[Any, ...]:
    """A backup of Redis in which the tally has hot counts; what puts it back."""
    name = keys.course_counters(keys.partition_of(tally.name), tally.name)
    return "RESTORE", name, 0, await stage.call("DUMP", name), "REPLACE"


async def remember(stage: Stage, tally: Tally, batches: int) -> None:
    """Lets MongoDB remember so many newer batches of the tally, as so many flushes would."""
    pushed = {"$each": [f"newer-{number}" for number in range(batches)], "$slice": -tally.kind.window}
    await stage.database[tally.kind.collection].update_one(tally.identity(), {"$push": {"recentBatches": pushed}})


@of_each_kind
@pytest.mark.parametrize(("fewer", "times"), [(1, 1), (0, 2)], ids=["one fewer", "as many"])
async def test_a_redis_from_a_backup_counts_twice_what_has_been_flushed_a_windows_length_since(
    stage: Stage, tally: Tally, fewer: int, times: int
) -> None:
    await stage.count(tally, COUNTS[tally])
    put_back = await hot(stage, tally)
    await stage.flush()
    await remember(stage, tally, tally.kind.window - fewer)

    await stage.call(*put_back)
    await stage.call("SADD", keys.dirty_courses(keys.partition_of(tally.name)), tally.name)
    await stage.flush()

    assert multiplied(COUNTS[tally], times) == await flushed(stage, tally)


def test_the_windows_are_those_that_the_guide_names() -> None:
    assert {"course": 32, "day": 8, "lecture": 8} == {kind.name: kind.window for kind in KINDS}
    assert "flushed 32 times or more" in GUIDE
    assert "flushed 8 times or more" in GUIDE

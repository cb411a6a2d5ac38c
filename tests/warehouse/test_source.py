"""What MongoDB's documents say arrives in the store, whatever breaks on the way, and the audit says so."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from bson import ObjectId
from pymongo.asynchronous.database import AsyncDatabase

from tests.servers import PATIENCE
from warehouse.audit import _moves, audit
from warehouse.record import Record
from warehouse.sink import Sink, StoreProgress, known_tallies
from warehouse.snapshot import Snapshot
from warehouse.source import Source
from warehouse.store import Store

Database = AsyncDatabase[dict[str, Any]]

COURSE_ID, LECTURE_ID = "650000000000000000000001", "650000000000000000000011"
DAY, LECTURE = f"{COURSE_ID}/2026-11-26", f"{COURSE_ID}/{LECTURE_ID}"


async def flush(database: Database, times: int = 1) -> None:
    """What a flush writes: a course's tally, its day's, a lecture's."""
    views = {f"lectureStats.{LECTURE_ID}.views": times, f"lectureStats.{LECTURE_ID}.totalWatchTime": 5 * times}
    course = ObjectId(COURSE_ID)
    await database["courseanalytics"].update_one(
        {"courseId": course},
        {"$inc": {"totalViews": times, **views}, "$max": {"uniqueActiveUsers": times}},
        upsert=True,
    )
    await database["courseanalyticsdays"].update_one(
        {"_id": DAY},
        {"$inc": {**views, "lectureViews": times}, "$set": {"courseId": course, "day": DAY[25:]}},
        upsert=True,
    )
    await database["lectureanalytics"].update_one(
        {"_id": LECTURE},
        {"$inc": {"playbacks": times, "segments.3.watched": 50}, "$set": {"courseId": course}},
        upsert=True,
    )


@asynccontextmanager
async def following(
    database: Database, store: Store, *, lose: Callable[[Sequence[Record]], Sequence[Record]] | None = None
) -> AsyncIterator[None]:
    """A source that follows while the block runs; `lose` says what arrives of a delivery."""
    sink = Sink(store)

    async def deliver(records: Sequence[Record]) -> None:
        await sink.write(lose(records) if lose else records)

    snapshot = Snapshot(database, generation=0, known=lambda: known_tallies(store))
    stop = asyncio.Event()
    source = Source(database, StoreProgress(store), deliver, snapshot, generation=0)
    task = asyncio.create_task(source.follow(stop))
    try:
        yield
    finally:
        stop.set()
        await task


async def until_equal(database: Database, store: Store) -> None:
    """Returns once the audit finds no difference; fails with the differences."""
    lines: list[str] = []
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                equal, lines = await audit(database, store, again_after=0.1)
                if equal:
                    return
    except TimeoutError:
        pytest.fail("\n".join(lines))


async def test_what_was_there_before_and_what_changes_after_is_in_the_store(database: Database, store: Store) -> None:
    await flush(database, 3)
    async with following(database, store):
        await until_equal(database, store)
        await flush(database, 4)
        await until_equal(database, store)

    totals = {
        key.counter: total for key, (_, total) in (await store.totals([COURSE_ID])).items() if key.kind == "course"
    }
    expected = {"course_views": 7, "lecture_views": 7, "lecture_watchtime": 35, "unique_users": 4}
    assert expected == {name: total for name, total in totals.items() if total}


async def test_a_source_that_was_away_goes_on_where_it_was(database: Database, store: Store) -> None:
    await flush(database)
    async with following(database, store):
        await until_equal(database, store)
    token = await StoreProgress(store).load()
    await flush(database, 5)

    async with following(database, store):
        await until_equal(database, store)

    assert token is not None
    assert token != await StoreProgress(store).load()


async def test_a_delivery_that_fails_is_made_again(database: Database, store: Store) -> None:
    failures = [True, False, True]

    def lose(records: Sequence[Record]) -> Sequence[Record]:
        if records and failures and failures.pop():
            raise ConnectionError("the store is away")
        return records

    async with following(database, store, lose=lose):
        await flush(database, 2)
        await until_equal(database, store)
        await flush(database, 2)
        await until_equal(database, store)


async def test_a_document_that_was_emptied_replaced_or_removed_is_so_in_the_store(
    database: Database, store: Store
) -> None:
    await flush(database, 3)
    async with following(database, store):
        await until_equal(database, store)
        await database["courseanalytics"].update_one({}, {"$set": {"totalViews": 0, "uniqueActiveUsers": 0}})
        await database["lectureanalytics"].update_one({}, {"$unset": {"segments": 1}})
        await database["courseanalyticsdays"].replace_one(
            {"_id": DAY}, {"courseId": ObjectId(COURSE_ID), "day": DAY[25:]}
        )
        await until_equal(database, store)
        await database["courseanalytics"].delete_many({})
        await until_equal(database, store)


async def test_what_was_lost_on_the_way_is_healed_by_a_snapshot(database: Database, store: Store) -> None:
    async with following(database, store):
        await flush(database)
        await until_equal(database, store)
    lost: list[Record] = []
    gone = asyncio.Event()

    def lose(records: Sequence[Record]) -> Sequence[Record]:
        lost.extend(records)
        if any(record.cleared for record in records):
            gone.set()
        return []

    async with following(database, store, lose=lose), asyncio.timeout(PATIENCE):
        await flush(database, 9)
        await database["lectureanalytics"].delete_many({})
        await gone.wait()
    assert not (await audit(database, store, again_after=0))[0]

    async def deliver(records: Sequence[Record]) -> None:
        await Sink(store).write(records)

    await Snapshot(database, generation=0, known=lambda: known_tallies(store)).deliver(deliver)

    assert (await audit(database, store, again_after=0))[0]


@pytest.mark.parametrize(
    "spoil", [lambda token: token[:2] + "5e0be100" + token[10:], lambda _: "8200"], ids=["old", "odd"]
)
async def test_a_place_that_the_oplog_does_not_have_is_healed_by_a_snapshot(
    database: Database, store: Store, spoil: Callable[[str], str]
) -> None:
    """A token begins with the seconds of its place: one of 2020 is older than any oplog here."""
    async with following(database, store):
        await flush(database)
        await until_equal(database, store)
    await flush(database, 3)
    await store.save("resume token", spoil(await store.saved("resume token") or ""))

    async with following(database, store):
        await until_equal(database, store)


async def test_two_sources_at_once_do_no_harm(database: Database, store: Store) -> None:
    async with following(database, store), following(database, store):
        for _ in range(5):
            await flush(database)
        await until_equal(database, store)


async def test_a_number_that_is_none_is_named_and_spoils_nothing_else(database: Database, store: Store) -> None:
    await flush(database, 3)
    await database["courseanalytics"].update_one({}, {"$set": {"totalViews": "many"}})
    async with following(database, store):
        await until_equal(database, store)

    equal, lines = await audit(database, store, again_after=0)
    assert equal
    assert f"not comparable: {COURSE_ID} course_views" in lines


async def test_the_audit_says_what_differs(database: Database, store: Store) -> None:
    await flush(database, 3)

    equal, lines = await audit(database, store, again_after=0)

    assert not equal
    assert f"course course_views {COURSE_ID} 1970-01-01 0: MongoDB 3, warehouse 0" in lines


@pytest.mark.parametrize(
    ("before", "now", "moves"),
    [
        ((5, 3), (9, 7), True),
        ((5, 3), (9, 5), True),
        ((5, 3), (5, 3), False),
        ((5, 3), (9, 3), False),
        ((5, 9), (5, 9), False),
    ],
)
def test_a_counter_that_goes_on_changing_is_no_difference(
    before: tuple[int, int], now: tuple[int, int], moves: bool
) -> None:
    """Each look is what MongoDB and the store say: a store that has not come as far as MongoDB was before is behind."""
    assert moves == _moves(before, now)

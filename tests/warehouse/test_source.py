"""What MongoDB's documents say arrives in the store, and the audit says so."""

import math
from collections.abc import Sequence
from typing import Any

import pytest
from bson import Code, Decimal128, MaxKey, ObjectId

from shared.data.tallies import KINDS
from tests.undecodable import undecodable
from tests.warehouse.stage import COURSE_ID, DAY, LECTURE, OTHER_COURSE, Database, flush, following, until_equal
from warehouse import sink
from warehouse.audit import _moves, audit
from warehouse.record import Record
from warehouse.rows import live
from warehouse.sink import StoreProgress
from warehouse.store import Store


async def test_existing_documents_and_later_changes_are_in_the_store(database: Database, store: Store) -> None:
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


ARRAYS: Any = {"$set": {"segments": [{"views": 1}, None, {"views": 2}, {"views": 3}], "durations": [4, 5]}}
CHANGES: list[Any] = [
    {"$inc": {"segments.2.views": 5, "segments.6.views": 6, "durations.1": 7}},
    {"$pop": {"segments": 1}},
    [{"$set": {"segments": {"$slice": ["$segments", 3]}}}],
    [{"$set": {"durations": {"$slice": ["$durations", 1]}}}],
    {"$set": {"playbacks": [1]}},
]


async def test_counters_in_an_array_are_read_by_their_places(database: Database, store: Store) -> None:
    await flush(database, 3)
    await database["lectureanalytics"].update_one({}, ARRAYS)
    async with following(database, store):
        await until_equal(database, store)
        for change in CHANGES:
            await database["lectureanalytics"].update_one({}, change)
            await until_equal(database, store)

    rows = live(await store.totals([COURSE_ID]))
    expected = {("duration", 0): 4, ("segment_views", 0): 1, ("segment_views", 2): 7}
    assert expected == {(key.counter, key.item): total for key, total in rows.items() if key.kind == "lecture"}


@pytest.mark.parametrize("field", ["epoch", "courseId"])
async def test_a_document_that_cannot_be_decoded_delays_no_other(field: str, database: Database, store: Store) -> None:
    """Whether it is there from the start or comes later; nobody can say what it counts."""
    other, name = {"courseId": ObjectId(OTHER_COURSE)}, f"{OTHER_COURSE}/{DAY[25:]}"
    await flush(database, 3)
    await database["courseanalytics"].insert_one(undecodable({"_id": ObjectId(), **other}, field))
    async with following(database, store):
        await until_equal(database, store)
        await database["courseanalyticsdays"].insert_one(undecodable({"_id": name, **other, "totalViews": 7}, "epoch"))
        await database["courseanalyticsdays"].update_one({"_id": name}, {"$inc": {"totalViews": 1}})
        await flush(database, 4)
        await until_equal(database, store)

    _, lines = await audit(database, store, again_after=0)
    assert f"not comparable: {OTHER_COURSE} course_views" in lines


@pytest.mark.parametrize("odd", [{"of": {"a": 1}}, None, Decimal128("1"), math.nan, MaxKey(), Code("x"), True])
async def test_a_document_with_an_id_of_any_type_delays_no_other(odd: Any, database: Database, store: Store) -> None:
    """The only one of its collection, and then one of several."""
    for kind in KINDS:
        await database[kind.collection].insert_one({"_id": odd, "courseId": ObjectId(OTHER_COURSE), "totalViews": 5})
    async with following(database, store):
        await until_equal(database, store)
        await flush(database, 3)
        await database["courseanalytics"].update_one({"totalViews": 5}, {"$inc": {"totalViews": 1}})
        await until_equal(database, store)
    async with following(database, store):
        await database["courseanalytics"].delete_one({"totalViews": 6})
        await flush(database, 4)
        await until_equal(database, store)


async def test_a_day_that_cannot_be_decoded_is_not_comparable_by_its_name(database: Database, store: Store) -> None:
    await flush(database, 3)
    day = undecodable({"_id": f"{COURSE_ID}/2026-11-25", "totalViews": 7}, "epoch")
    await database["courseanalyticsdays"].insert_one(day)
    _, lines = await audit(database, store, again_after=0)
    assert f"not comparable: {COURSE_ID} course_views" in lines


async def test_two_sources_at_once_do_no_harm(database: Database, store: Store) -> None:
    async with following(database, store), following(database, store):
        for _ in range(5):
            await flush(database)
        await until_equal(database, store)


async def test_a_malformed_number_is_named_and_affects_nothing_else(database: Database, store: Store) -> None:
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
def test_a_counter_that_keeps_changing_is_not_a_difference(
    before: tuple[int, int], now: tuple[int, int], moves: bool
) -> None:
    """Each look is what MongoDB and the store say: a store that has not come as far as MongoDB was before is behind."""
    assert moves == _moves(before, now)


async def test_of_more_rows_than_one_insert_takes_all_are_in_the_store(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sink, "INSERT_ROWS", 2)
    records = [Record(LECTURE, 1, {f"segment_watched:{number}": number}) for number in range(1, 6)]

    assert [] == await sink.Sink(store).write(records)

    assert [1, 2, 3, 4, 5] == sorted(live(await store.totals([COURSE_ID])).values())

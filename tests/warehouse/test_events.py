"""Whatever anybody does to the documents, their events say what is there: tried with a real MongoDB."""

import random
from collections.abc import Iterable, Sequence
from typing import Any

from bson import ObjectId
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import ReplaceOne, UpdateOne
from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError

from shared.data.tallies import COURSE, DAY, KINDS, LECTURE, tally_of
from warehouse.changes import totals_of
from warehouse.events import PIPELINE, Events
from warehouse.record import Record
from warehouse.rows import Key, Rows, add, key_of, live
from warehouse.snapshot import Snapshot

Database = AsyncDatabase[dict[str, Any]]
Stream = AsyncChangeStream[dict[str, Any]]

COURSES = ["650000000000000000000001", "650000000000000000000002"]
LECTURES = ["650000000000000000000011", "650000000000000000000012"]
TYPE_MISMATCH, PATH_NOT_VIABLE = 14, 28
END = "the end of an example"

IDENTITIES: list[tuple[Any, dict[str, Any]]] = [
    *[(COURSE, {"courseId": ObjectId(course)}) for course in COURSES],
    *[(DAY, {"_id": f"{course}/2026-11-26"}) for course in COURSES],
    *[(LECTURE, {"_id": f"{COURSES[0]}/{lecture}"}) for lecture in LECTURES],
]

number = st.integers(0, 9)
lecture_stats = st.dictionaries(st.sampled_from(["views", "totalWatchTime"]), number)
PATHS = {
    "totalViews": number,
    "uniqueActiveUsers": number,
    "lectureStats": st.dictionaries(st.sampled_from(LECTURES), lecture_stats),
    f"lectureStats.{LECTURES[0]}": st.one_of(lecture_stats, number),
    f"lectureStats.{LECTURES[1]}.views": number,
    "notCounted.REPEATED": st.dictionaries(st.sampled_from(["events", "seconds"]), number),
    "playbacks": number,
    "segments.3": st.dictionaries(st.sampled_from(["views", "watched"]), number),
    "durations": st.dictionaries(st.sampled_from(["60", "600"]), number),
    "durations.60": number,
    "recentBatches": st.lists(st.text("ab", max_size=3), max_size=2),
}


@st.composite
def changes(draw: st.DrawFn) -> tuple[Any, Any]:
    """One write, by a flusher or by hand: the kind, and what is done with its collection."""
    kind, identity = draw(st.sampled_from(IDENTITIES))
    what = draw(st.sampled_from(["add", "add", "add", "set", "unset", "forget", "replace", "delete"]))
    if what == "delete":
        return kind, ("delete_one", identity)
    if what == "replace":
        body = draw(st.fixed_dictionaries({}, optional={"totalViews": number, "playbacks": number}))
        return kind, ReplaceOne(identity, {**identity, **body}, upsert=True)
    path = draw(st.sampled_from(sorted(PATHS)))
    update: Any = {
        "add": {"$inc": {f"lectureStats.{LECTURES[1]}.views": draw(number), "playbacks": 1, "totalViews": 1}},
        "set": {"$set": {path: draw(PATHS[path])}},
        "unset": {"$unset": {path: ""}},
        "forget": [{"$unset": ["lectureStats", "totalViews", "uniqueActiveUsers", "segments", "playbacks"]}],
    }[what]
    return kind, UpdateOne(identity, update, upsert=what in ("add", "set"))


async def make(database: Database, change: tuple[Any, Any]) -> None:
    """Does it. A path that leads through a number is refused by MongoDB, and changes nothing."""
    kind, write = change
    collection = database[kind.collection]
    if isinstance(write, tuple):
        await collection.delete_one(write[1])
        return
    try:
        await collection.bulk_write([write])
    except BulkWriteError as refused:
        if refused.details["writeErrors"][0]["code"] not in (TYPE_MISMATCH, PATH_NOT_VIABLE):
            raise


async def records_until_end(database: Database, stream: Stream, events: Events) -> list[Record]:
    """The records of all events up to a mark that is set now."""
    await database[DAY.collection].insert_one({"_id": END})
    found = []
    while (event := await stream.next())["documentKey"]["_id"] != END:
        found += await events.records(event)
    await database[DAY.collection].delete_one({"_id": END})
    return found


async def told(database: Database) -> dict[Key, int]:
    """What the documents say, without zeros."""
    found: dict[Key, int] = {}
    for kind in KINDS:
        async for document in database[kind.collection].find({}):
            name = str(document[kind.key])
            assert tally_of(name)
            totals, odd = totals_of(kind, document)
            assert [] == odd
            found |= {key_of(name, field): total for field, total in totals.items() if total}
    return found


def stored(records: Sequence[Record]) -> dict[Key, int]:
    """What a store says that got these records."""
    rows: Rows = {}
    for record in records:
        add(rows, record)
    return live(rows)


HISTORY = st.lists(changes(), min_size=1, max_size=12)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(HISTORY, st.randoms(use_true_random=False), st.data())
async def test_repeats_in_any_order_end_equal_and_after_losses_a_snapshot_does(
    database: Database, history: list[Any], order: random.Random, data: st.DataObject
) -> None:
    for kind in KINDS:
        await database[kind.collection].delete_many({})
    async with await database.watch(PIPELINE, max_await_time_ms=1000) as stream:
        for change in history:
            await make(database, change)
        happened = await records_until_end(database, stream, Events(database, 0))
    expected = await told(database)

    arrived = happened * 2
    order.shuffle(arrived)
    assert expected == stored(arrived)

    arrived = data.draw(st.lists(st.sampled_from(happened), max_size=20)) if happened else []
    taken = await snapshot(database, known={record.tally for record in arrived})
    arrived += taken
    order.shuffle(arrived)
    assert expected == stored(arrived)


async def snapshot(database: Database, known: Iterable[str]) -> list[Record]:
    """The records of one that is taken now, for a store that has those tallies."""
    taken: list[Record] = []

    async def deliver(records: Sequence[Record]) -> None:
        taken.extend(records)

    async def of_the_store() -> list[str]:
        return sorted(known)

    await Snapshot(database, generation=0, known=of_the_store).deliver(deliver)
    return taken

"""Whatever anybody does to the documents, their events say what is there: tried with a real MongoDB."""

import random
from collections.abc import Iterable, Sequence
from typing import Any

from bson import ObjectId
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymongo import DeleteOne, ReplaceOne, UpdateOne
from pymongo.asynchronous.change_stream import AsyncChangeStream
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError

from shared.data.tallies import COURSE, DAY, KINDS, LECTURE, fields_of, tally_of
from warehouse.changes import totals_of
from warehouse.events import PIPELINE, Events
from warehouse.record import UNIQUE_USERS, Record
from warehouse.rows import Key, Rows, add, key_of, live
from warehouse.snapshot import Snapshot

Database = AsyncDatabase[dict[str, Any]]
Stream = AsyncChangeStream[dict[str, Any]]

COURSES = ["650000000000000000000001", "650000000000000000000002"]
LECTURES = ["650000000000000000000011", "650000000000000000000012"]
TYPE_MISMATCH, PATH_NOT_VIABLE = 14, 28
END = "the end of an example"

COURSE_IDENTITIES: list[tuple[Any, dict[str, Any]]] = [(COURSE, {"courseId": ObjectId(course)}) for course in COURSES]
DAY_IDENTITIES: list[tuple[Any, dict[str, Any]]] = [(DAY, {"_id": f"{course}/2026-11-26"}) for course in COURSES]
LECTURE_IDENTITIES: list[tuple[Any, dict[str, Any]]] = [
    (LECTURE, {"_id": f"{COURSES[0]}/{lecture}"}) for lecture in LECTURES
]

number = st.integers(0, 9)
of_a_lecture = st.dictionaries(st.sampled_from(["views", "totalWatchTime"]), number)
of_a_segment = st.dictionaries(st.sampled_from(["views", "watched"]), number)
STATS = {
    "totalViews": number,
    "uniqueActiveUsers": number,
    "lectureStats": st.dictionaries(st.sampled_from(LECTURES), of_a_lecture),
    f"lectureStats.{LECTURES[0]}": st.one_of(of_a_lecture, number),
    f"lectureStats.{LECTURES[1]}.views": number,
    "notCounted.REPEATED": st.dictionaries(st.sampled_from(["events", "seconds"]), number),
    "recentBatches": st.lists(st.text("ab", max_size=3), max_size=2),
}
PATHS: dict[str, dict[str, Any]] = {
    COURSE.name: STATS,
    DAY.name: STATS,
    LECTURE.name: {
        "playbacks": st.one_of(number, st.lists(number, max_size=1)),
        "segments": st.one_of(
            st.dictionaries(st.sampled_from(["3", "4"]), of_a_segment),
            st.lists(st.one_of(of_a_segment, number, st.none()), max_size=5),
        ),
        "segments.3": of_a_segment,
        "segments.4.views": number,
        "durations": st.one_of(
            st.dictionaries(st.sampled_from(["60", "600"]), number), st.lists(st.one_of(number, st.none()), max_size=5)
        ),
        "durations.60": number,
    },
}
STATS_COUNTED = {
    "totalViews": 1,
    **{f"lectureStats.{lecture}.{leaf}": 2 for lecture in LECTURES for leaf in ("views", "totalWatchTime")},
    "notCounted.REPEATED.events": 3,
}
COUNTED = {
    COURSE.name: STATS_COUNTED,
    DAY.name: STATS_COUNTED,
    LECTURE.name: {"playbacks": 1, "segments.3.views": 2, "segments.4.watched": 3, "durations.60": 4},
}


@st.composite
def writes(draw: st.DrawFn, identities: list[tuple[Any, dict[str, Any]]]) -> tuple[Any, Any]:
    """One write, by a flusher or by hand: the kind, and what is done with its collection."""
    kind, identity = draw(st.sampled_from(identities))
    what = draw(st.sampled_from(["count", "count", "set", "set", "unset", "shorten", "forget", "replace", "delete"]))
    if what == "delete":
        return kind, DeleteOne(identity)
    if what == "replace":
        body = draw(st.fixed_dictionaries({}, optional={"totalViews": number, "playbacks": number}))
        return kind, ReplaceOne(identity, {**identity, **body}, upsert=True)
    path = draw(st.sampled_from(sorted(PATHS[kind.name])))
    update: Any = {
        "count": {"$inc": COUNTED[kind.name]},
        "set": {"$set": {path: draw(PATHS[kind.name][path])}},
        "unset": {"$unset": {path: ""}},
        "shorten": [{"$set": {path: {"$cond": [{"$isArray": f"${path}"}, {"$slice": [f"${path}", 1]}, f"${path}"]}}}],
        "forget": [{"$unset": ["lectureStats", "totalViews", "uniqueActiveUsers", "segments", "playbacks"]}],
    }[what]
    return kind, UpdateOne(identity, update, upsert=what in ("count", "set"))


async def make(database: Database, kind: Any, write: Any) -> None:
    """Does it. A path that leads through a number is refused by MongoDB, and changes nothing."""
    try:
        await database[kind.collection].bulk_write([write])
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
            shown = fields_of(kind.counts_of(document)).items()
            assert {field: count for field, count in shown if count and kind.has(field)} == {
                field: total for field, total in totals.items() if total and field != UNIQUE_USERS
            }
            found |= {key_of(name, field): total for field, total in totals.items() if total}
    return found


def stored(records: Sequence[Record]) -> dict[Key, int]:
    """What a store says that got these records."""
    rows: Rows = {}
    for record in records:
        add(rows, record)
    return live(rows)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[Any, Any]]:
    """Writes to two documents, so that what is done to one often meets what was done before."""
    identities: list[tuple[Any, dict[str, Any]]] = draw(
        st.sampled_from([COURSE_IDENTITIES, DAY_IDENTITIES, LECTURE_IDENTITIES])
    )
    return draw(st.lists(writes(identities), min_size=2, max_size=12))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(histories(), st.randoms(use_true_random=False), st.data())
async def test_repeats_in_any_order_end_equal_and_after_losses_a_snapshot_does(
    database: Database, history: list[Any], order: random.Random, data: st.DataObject
) -> None:
    for kind in KINDS:
        await database[kind.collection].delete_many({})
    async with await database.watch(PIPELINE, max_await_time_ms=1000) as stream:
        for kind, write in history:
            await make(database, kind, write)
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


async def test_of_what_a_transaction_writes_the_last_counts(database: Database) -> None:
    """All of its events have one time."""
    course, (_, identity) = database[COURSE.collection], COURSE_IDENTITIES[0]
    async with await database.watch(PIPELINE, max_await_time_ms=1000) as stream:
        await course.insert_one({**identity, "totalViews": 1})
        async with database.client.start_session() as session, await session.start_transaction():
            for views in (9, 4):
                await course.update_one(identity, {"$set": {"totalViews": views}}, session=session)
        happened = await records_until_end(database, stream, Events(database, 0))

    expected = await told(database)
    assert [4] == list(expected.values())
    assert [expected] * 2 == [stored(happened), stored(happened[::-1])]


async def snapshot(database: Database, known: Iterable[str]) -> list[Record]:
    """The records of one that is taken now, for a store that has those tallies."""
    taken: list[Record] = []

    async def deliver(records: Sequence[Record]) -> None:
        taken.extend(records)

    async def of_the_store() -> list[str]:
        return sorted(known)

    await Snapshot(database, generation=0, known=of_the_store).deliver(deliver)
    return taken

"""What the changes do not tell is read from the documents: whatever was lost or done meanwhile, both end equal."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from bson import ObjectId, Timestamp

from tests.servers import PATIENCE
from tests.warehouse.stage import COURSE_ID, OTHER_COURSE, Database, flush, following, until_equal
from warehouse.audit import audit
from warehouse.events import Events
from warehouse.record import Record, moment
from warehouse.sink import Sink, known_tallies
from warehouse.snapshot import Snapshot
from warehouse.store import Store


async def test_a_snapshot_restores_lost_records(database: Database, store: Store) -> None:
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


async def drop_a_collection(database: Database) -> None:
    await database["courseanalyticsdays"].drop()


async def drop_everything(database: Database) -> None:
    await database.client.drop_database(database.name)


async def put_an_older_one_in_its_place(database: Database) -> None:
    await database["courseanalytics"].rename("aside")
    await flush(database, 2)


async def give_a_document_to_another_course(database: Database) -> None:
    await database["courseanalytics"].update_one({}, {"$set": {"courseId": ObjectId(OTHER_COURSE)}})


async def count_and_delete_a_courses_document(database: Database) -> None:
    await flush(database)
    await database["courseanalytics"].delete_many({})


WHOLE = [
    drop_a_collection,
    drop_everything,
    put_an_older_one_in_its_place,
    give_a_document_to_another_course,
    count_and_delete_a_courses_document,
]


@pytest.mark.parametrize("away", [False, True], ids=["following", "away"])
@pytest.mark.parametrize("touch", WHOLE)
async def test_a_collection_or_document_that_is_touched_as_a_whole_is_so_in_the_store(
    database: Database, store: Store, touch: Callable[[Database], Awaitable[None]], *, away: bool
) -> None:
    """Also when it happened while nobody followed, so that nobody remembers of which course a document was."""
    await flush(database, 5)
    async with following(database, store):
        await until_equal(database, store)
        if not away:
            await touch(database)
            await until_equal(database, store)
    if away:
        await touch(database)

    async with following(database, store):
        await until_equal(database, store)
        await flush(database, 3)
        await until_equal(database, store)


async def test_a_database_that_is_dropped_before_anything_was_counted_is_followed_again(
    database: Database, store: Store
) -> None:
    """The end of the stream is then all that tells of it."""
    await database["courses"].insert_one({"title": "One"})
    async with following(database, store):
        async with asyncio.timeout(PATIENCE):
            while await store.saved("resume token") is None:  # noqa: ASYNC110 - another task writes it
                await asyncio.sleep(0.01)
        await drop_everything(database)
        await flush(database, 3)
        await until_equal(database, store)
        assert (await audit(database, store, again_after=0))[1] != ["equal: 0 counters"]


async def test_a_course_that_another_relay_has_seen_first_is_counted_here_too(database: Database) -> None:
    """Both save their place in the same document, so one may go on where the other was."""
    events = Events(database, 0)
    await events.learn_courses()
    await flush(database, 5)
    document = await database["courseanalytics"].find_one({})
    assert document is not None
    update = {
        "operationType": "update",
        "ns": {"coll": "courseanalytics"},
        "documentKey": {"_id": document["_id"]},
        "clusterTime": Timestamp(5, 1),
        "updateDescription": {"updatedFields": {"totalViews": 5}},
    }

    assert [Record(COURSE_ID, moment(Timestamp(5, 1), 0), {"course_views": 5})] == await events.records(update)

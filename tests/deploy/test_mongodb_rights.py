"""deploy/mongodb/roles.json: with it each program can do all of its work, and needs every right that it grants."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager

import pytest
from pymongo import MongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from devstack.seed import DEMO_COURSE
from flusher import schema
from flusher.steps import apply
from flusher.steps.take import Batch
from flusher.steps.wave import UTC
from flusher.tools import invariants, status
from ingest_server.catalog import Catalog
from query_server import documents
from query_server.cold import ColdStore
from shared.data.tallies import KINDS, PLAYBACKS, course_tally, day_tally, lecture_tally
from shared.serving.errors import NotFound
from shared.serving.program import CannotRun
from shared.stores import day_zone, mongo
from shared.stores.mongo import ANALYTICS_SETTINGS, Document
from tests.deploy.guarded import ROLES, GuardedMongo, rights, without
from tests.flusher.stage import LECTURE, ONE_PING, course
from warehouse.events import PIPELINE, Events
from warehouse.record import Record
from warehouse.snapshot import Snapshot
from warehouse.source import MongoProgress

NEW = course(1)
COUNTED = {
    course_tally(NEW): ONE_PING,
    day_tally(NEW, "2026-11-25"): ONE_PING,
    lecture_tally(NEW, LECTURE): {PLAYBACKS.field(): 1},
}


@asynccontextmanager
async def connected(guarded: GuardedMongo, role: str) -> AsyncIterator[AsyncDatabase[Document]]:
    """The database, for a user who has just this role."""
    async with mongo.connect(guarded.url_of(role), program="tests") as client:
        yield mongo.database(client)


@pytest.fixture
def administrator(guarded_mongo: GuardedMongo) -> Iterator[MongoClient[Document]]:
    """Somebody who may change roles; afterwards the roles are those of the file, and nothing has been flushed."""
    with MongoClient[Document](guarded_mongo.url_of("admin")) as client:
        yield client
        database = client.get_default_database()
        for role in ROLES:
            database.command("updateRole", role["createRole"], privileges=role["privileges"])
        for name in (*(kind.collection for kind in KINDS), schema.FLUSH_EPOCH, ANALYTICS_SETTINGS, "analyticsrelay"):
            database[name].delete_many({})


QUERIED = [
    documents.totals(DEMO_COURSE.id),
    *documents.beginnings(DEMO_COURSE.id),
    documents.lecture(lecture_tally(DEMO_COURSE.id, DEMO_COURSE.lectures[0].id)),
]


async def ingest(database: AsyncDatabase[Document]) -> None:
    """What the ingest server reads. It accepts events unchecked, and logs why, while it is not allowed to."""
    await day_zone.is_the_same(database, UTC)
    with pytest.raises(NotFound):
        await Catalog(database).require(DEMO_COURSE.id, NEW)


async def query(database: AsyncDatabase[Document]) -> None:
    """What the query server reads."""
    await day_zone.is_the_same(database, UTC)
    course = await ColdStore(database).read(DEMO_COURSE.id, DEMO_COURSE.creator, QUERIED)
    assert DEMO_COURSE.id == course.course_id


async def flush(database: AsyncDatabase[Document]) -> None:
    """What the flusher reads and writes: of tallies that have a document, and of such that have none."""
    await schema.ensure(database, UTC)
    epoch = await schema.next_epoch(database[schema.FLUSH_EPOCH])
    await day_zone.note_day(database, UTC, "2026-11-25")
    for tally, counts in COUNTED.items():
        analytics = database[tally.kind.collection]
        for number in range(2):
            batch = Batch(0, tally, f"batch-{number}", counts, unique_users=1, fresh=True)
            assert [apply.Outcome(apply.Verdict.APPLIED)] == await apply.apply(analytics, [batch], epoch, timeout=4)
        assert {tally.name} == set(await apply.committed(analytics, [batch]))
    await status.read([], database)
    assert [] != [sentence async for sentence in invariants.advice(database)]


async def relay(database: AsyncDatabase[Document]) -> None:
    """What the relay reads and writes: changes, all documents, and its place."""
    async with await database.watch(PIPELINE, max_await_time_ms=1) as changes:
        await changes.try_next()
        for _ in range(2):
            await MongoProgress(database).save({"_data": secrets.token_hex(4)})
        assert await MongoProgress(database).load()
        await Snapshot(database, generation=0).deliver(_nowhere)
        await Events(database, 0).learn_courses()


async def _nowhere(_records: Sequence[Record]) -> None:
    pass


async def warehouse(database: AsyncDatabase[Document]) -> None:
    """What the warehouse reads of MongoDB behind Kafka: all documents, to compare, and titles."""
    for kind in KINDS:
        await database[kind.collection].distinct("courseId")
        await database[kind.collection].find({}).to_list()
    assert await database[mongo.COURSES].find_one({}, {"title": 1})


WORK: dict[str, Callable[[AsyncDatabase[Document]], Awaitable[None]]] = {
    "analyticsIngest": ingest,
    "analyticsQuery": query,
    "analyticsFlusher": flush,
    "analyticsRelay": relay,
    "analyticsWarehouse": warehouse,
}


# What MongoDB refuses to answer, and what the programs make of that: an event that ingest accepts unchecked.
FAILURES = (PyMongoError, CannotRun, AssertionError, pytest.fail.Exception)


@pytest.mark.usefixtures("administrator")
@pytest.mark.parametrize("role", WORK)
async def test_a_program_has_all_rights_that_it_needs(guarded_mongo: GuardedMongo, role: str) -> None:
    async with connected(guarded_mongo, role) as database:
        await WORK[role](database)


@pytest.mark.parametrize(("role", "collection", "action"), rights())
async def test_without_any_one_of_them_it_fails(
    guarded_mongo: GuardedMongo, administrator: MongoClient[Document], role: str, collection: str, action: str
) -> None:
    (definition,) = [one for one in ROLES if one["createRole"] == role]
    privileges = without(definition, collection, action)
    administrator.get_default_database().command("updateRole", role, privileges=privileges)
    async with connected(guarded_mongo, role) as database:
        with pytest.raises(FAILURES):
            await WORK[role](database)

"""A MongoDB replica set of three whose primary steps down in the middle of bulk writes."""

import asyncio
import contextlib
import contextvars
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError

from devstack.child import port_is_free, wait_until
from devstack.servers import REPLICA_SET, MongoServer
from flusher.steps import apply
from shared.stores import mongo
from shared.stores.mongo import COURSE_ANALYTICS, Document
from tests.flusher.stage import Stage, course, staged, until
from tests.servers import PATIENCE

COURSES = [course(number) for number in range(1, 601)]

States = Mapping[str, Any]


@pytest.fixture
def members(tmp_path: Path) -> Iterator[list[MongoServer]]:
    """Three members of one set, one of them primary."""
    with ExitStack() as stack:
        servers = [MongoServer(tmp_path / f"mongo-{number}") for number in range(3)]
        for server in servers:
            server.launch()
            stack.callback(server.kill)
        for server in servers:
            wait_until(lambda server=server: not port_is_free(server.port), PATIENCE, "mongod did not listen")  # type: ignore[misc] # a bound default
        hosts = [{"_id": number, "host": server.address} for number, server in enumerate(servers)]
        with MongoClient[States](servers[0].address, directConnection=True) as client:
            settings = {"electionTimeoutMillis": 1000, "heartbeatIntervalMillis": 200}
            client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": hosts, "settings": settings})

            def is_whole() -> bool:
                states = [member["state"] for member in client.admin.command("replSetGetStatus")["members"]]
                return [1, 2, 2] == sorted(states)

            wait_until(is_whole, PATIENCE, "no replica set of three")
        yield servers


@pytest.fixture
async def database(members: list[MongoServer]) -> AsyncIterator[AsyncDatabase[Document]]:
    """A database there. Without the driver's own retry, so that an interrupted write is ours to judge."""
    hosts = ",".join(server.address for server in members)
    url = f"mongodb://{hosts}/aetherlearn?replicaSet={REPLICA_SET}&retryWrites=false"
    async with mongo.connect(url, program="tests") as client:
        yield mongo.database(client)


@pytest.fixture
async def stage(redis_url: str, database: AsyncDatabase[Document]) -> AsyncIterator[Stage]:
    async with staged(redis_url, database) as ready:
        yield ready


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The first bulk write sees its primary step down, and notes here how many documents it had written until then."""
    monkeypatch.setattr(apply, "APPLY_SECONDS", 50)  # it is the step-down that ends the write
    written: list[int] = []
    bulk_write = AsyncCollection.bulk_write

    async def in_the_middle(collection: AsyncCollection[Document], updates: list[UpdateOne], **named: Any) -> Any:
        if written or COURSE_ANALYTICS != collection.name:
            return await bulk_write(collection, updates, **named)
        written.append(len(updates) // 2)
        async with collection.database.client.start_session() as session:
            # The write stops where somebody else's transaction is at the same document.
            await session.start_transaction()
            document = {"courseId": updates[written[0]]._filter["courseId"]}
            await unhurried(collection.insert_one(document, session=session))
            writing = asyncio.ensure_future(bulk_write(collection, updates, **named))
            await unhurried(until(lambda: has_documents(collection, written[0])))
            await unhurried(step_down(collection.database))
        return await writing

    monkeypatch.setattr(AsyncCollection, "bulk_write", in_the_middle)
    return written


def unhurried(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """What the test does has no part in the time that the flusher gives its write."""
    return asyncio.create_task(work, context=contextvars.Context())


async def has_documents(collection: AsyncCollection[Document], number: int) -> bool:
    return number == await collection.count_documents({})


async def step_down(database: AsyncDatabase[Document]) -> None:
    """The primary is no longer, and will not be for some seconds."""
    with contextlib.suppress(PyMongoError):  # it may drop this connection with all others
        await database.client.admin.command("replSetStepDown", 5, secondaryCatchUpPeriodSecs=0, force=True)


async def test_a_step_down_in_the_middle_of_a_bulk_write_loses_and_doubles_nothing(
    stage: Stage, interrupted: list[int]
) -> None:
    await stage.ping(*COURSES)

    report = await stage.flush()

    assert interrupted
    assert report.left
    await stage.ping(*COURSES)
    async with asyncio.timeout(PATIENCE):
        while (await stage.flush()).left:
            pass
    await stage.assert_all_flushed()

"""A platform with one course behind a proxy, its catalog, a clock that stands still, and a count of what is asked."""

from collections.abc import AsyncIterator, Iterator

import pytest
from bson import ObjectId
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.monitoring import CommandListener, CommandStartedEvent

from ingest_server.catalog import Catalog
from shared.serving.errors import NotFound
from shared.stores.mongo import Document
from tests.faults.proxy import Proxy

COURSE, SECTION = "650000000000000000000001", "650000000000000000000010"
FIRST, SECOND = "650000000000000000000011", "650000000000000000000012"
NONE = "65000000000000000000ffff"


class Clock:
    """Stands still until told otherwise."""

    def __init__(self) -> None:
        self.time = 1_000.0

    def __call__(self) -> float:
        return self.time

    def wait(self, seconds: float) -> None:
        self.time += seconds


class Requests(CommandListener):
    """Counts the aggregations that a client sends."""

    def __init__(self) -> None:
        self.count = 0

    def started(self, event: CommandStartedEvent) -> None:
        self.count += event.command_name == "aggregate"

    def succeeded(self, _: object) -> None: ...

    def failed(self, _: object) -> None: ...


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def requests() -> Requests:
    return Requests()


@pytest.fixture
def proxy(mongo_url: str) -> Iterator[Proxy]:
    with Proxy(mongo_url) as proxy:
        yield proxy


@pytest.fixture
async def database(proxy: Proxy, requests: Requests) -> AsyncIterator[AsyncDatabase[Document]]:
    """A platform with one course of one lecture."""
    async with AsyncMongoClient[Document](proxy.url, event_listeners=[requests]) as client:
        database = client.get_default_database()
        await write(database, FIRST)
        yield database
        proxy.heal()
        await client.admin.command("ping")  # a client that is closed while it is connecting leaks a socket


@pytest.fixture
def courses(database: AsyncDatabase[Document], clock: Clock) -> Catalog:
    return Catalog(database, clock)


async def write(database: AsyncDatabase[Document], *lectures: str) -> None:
    """Gives the course these lectures."""
    lecture_ids = [ObjectId(lecture) for lecture in lectures]
    await database.sections.replace_one({"_id": ObjectId(SECTION)}, {"lectures": lecture_ids}, upsert=True)
    await database.courses.replace_one({"_id": ObjectId(COURSE)}, {"sections": [ObjectId(SECTION)]}, upsert=True)


async def has(courses: Catalog, course_id: str, lecture_id: str | None = None) -> bool:
    try:
        await courses.require(course_id, lecture_id)
    except NotFound:
        return False
    return True

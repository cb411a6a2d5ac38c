"""The stage on the servers that all tests share, and flushers as users start them."""

from collections.abc import AsyncIterator, Callable, Iterator
from urllib.parse import urlsplit

import pytest
import structlog
from bson import ObjectId
from pymongo import AsyncMongoClient, MongoClient
from pymongo.database import Database

from devstack.programs import Program
from shared.data import keys
from shared.stores import mongo
from shared.stores.mongo import COURSE_ANALYTICS, COURSES, Document
from tests.flusher.stage import Stage, course, staged
from tests.servers import fresh_database

Ask = Callable[[str], tuple[int, str]]


@pytest.fixture(scope="session")
def mongo_database(mongo_server_url: str) -> Iterator[Database[Document]]:
    """One database for all tests of the flusher: making and dropping one takes longer than most of them."""
    with fresh_database(mongo_server_url) as url, MongoClient[Document](url) as client:
        yield client.get_default_database()


@pytest.fixture
def mongo_url(mongo_server_url: str, mongo_database: Database[Document]) -> str:
    """The address of that database, emptied; the courses are gone with their indexes, which `verify` looks at."""
    mongo_database.drop_collection(COURSES)
    for name in mongo_database.list_collection_names():
        mongo_database[name].delete_many({})
    return urlsplit(mongo_server_url)._replace(path=f"/{mongo_database.name}").geturl()


@pytest.fixture
async def mongo_client(mongo_server_url: str) -> AsyncIterator[AsyncMongoClient[Document]]:
    """A client, as the flusher has it.

    Each test has its own: one that outlives a test whose event loop stood still takes its server to be lost, and breaks
    off what the next test has begun.
    """
    async with mongo.connect(mongo_server_url, program="tests") as client:
        yield client


@pytest.fixture
async def stage(redis_url: str, mongo_url: str, mongo_client: AsyncMongoClient[Document]) -> AsyncIterator[Stage]:
    """Empty stores."""
    async with staged(redis_url, mongo_client[urlsplit(mongo_url).path[1:]]) as ready:
        yield ready


@pytest.fixture
def logged() -> Iterator[list[structlog.typing.EventDict]]:
    """What is logged while the test runs."""
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.fixture
def ask(start_program: Callable[..., Program]) -> Ask:
    """Runs a command of the flusher: its exit code, and what it says."""

    def run(command: str) -> tuple[int, str]:
        flusher = start_program("flusher", command)
        code = flusher.wait(20)
        return code, flusher.output()

    return run


@pytest.fixture
async def refused(stage: Stage) -> Stage:
    """A ping in quarantine, because its document is not as it should be."""
    await stage.database[COURSE_ANALYTICS].insert_one({"courseId": ObjectId(course(1)), "lectureStats": 5})
    await stage.ping(course(1))
    await stage.flush()
    assert {} != await stage.hash(keys.quarantined_counters, course(1))
    return stage

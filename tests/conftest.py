"""Real servers for tests: one Redis and one MongoDB for the whole run, private ones for a test that breaks them.

Which ones is the environment's to say:

    ANALYTICS_TEST_REDIS_URL, ANALYTICS_TEST_MONGO_URL   these; the Redis database is emptied before each test
    ANALYTICS_TEST_SERVERS=containers                    testcontainers instead of the packaged servers
    ANALYTICS_TEST_REDIS=redis                           Redis instead of Valkey
"""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path

import hypothesis
import pytest
import redis
from pymongo.asynchronous.database import AsyncDatabase

from devstack.child import free_port
from devstack.programs import Program
from devstack.servers import MongoServer, RedisServer
from shared.stores import mongo
from shared.stores.mongo import Document
from tests.servers import (
    FLAVOUR,
    JWT_SECRET,
    PATIENCE,
    assert_ends_well,
    fresh_database,
    mongo_of_this_run,
    program,
    redis_of_this_run,
    running,
)

# How long an example takes says more about the machine than about the code. A merge is judged by the same examples
# every time; everybody else's runs look for new ones.
hypothesis.settings.register_profile("any machine", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("any machine")


@pytest.fixture(scope="session")
def redis_server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The Redis that all tests share: ask for `redis_url`, unless you are a shared fixture yourself."""
    if given := os.environ.get("ANALYTICS_TEST_REDIS_URL"):
        yield given
        return
    with redis_of_this_run(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.fixture(scope="session")
def mongo_server_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The MongoDB that all tests share: ask for `mongo_url`, unless you are a shared fixture yourself."""
    if given := os.environ.get("ANALYTICS_TEST_MONGO_URL"):
        yield given
        return
    with mongo_of_this_run(tmp_path_factory.mktemp("mongo") / "data") as url:
        yield url


@pytest.fixture
def redis_url(redis_server_url: str) -> str:
    """The address of an empty Redis."""
    with redis.Redis.from_url(redis_server_url) as client:
        client.flushdb()
    return redis_server_url


@pytest.fixture
def mongo_url(mongo_server_url: str) -> Iterator[str]:
    """The address of a database of the test's own, dropped afterwards."""
    with fresh_database(mongo_server_url) as url:
        yield url


@pytest.fixture
async def database(mongo_url: str) -> AsyncIterator[AsyncDatabase[Document]]:
    """That database."""
    async with mongo.connect(mongo_url, program="tests") as client:
        yield mongo.database(client)


@pytest.fixture
def start_redis(tmp_path: Path) -> Iterator[Callable[..., RedisServer]]:
    """Starts a Redis that the test may kill, with configuration of its own: `start_redis(maxmemory="8mb")`."""
    with ExitStack() as stack:

        def start(flavour: str = FLAVOUR, **options: str) -> RedisServer:
            port = free_port()
            server = RedisServer(tmp_path / f"redis-{port}", flavour=flavour, port=port, **options)
            return stack.enter_context(running(server))

        yield start


@pytest.fixture
def start_mongo(tmp_path: Path) -> Iterator[Callable[..., MongoServer]]:
    """Starts a MongoDB that the test may kill, with options of its own: `start_mongo("--quiet")`."""
    with ExitStack() as stack:

        def start(*options: str) -> MongoServer:
            port = free_port()
            server = MongoServer(tmp_path / f"mongo-{port}", port=port, options=options)
            return stack.enter_context(running(server))

        yield start


@pytest.fixture
def start_program(tmp_path: Path, redis_url: str, mongo_url: str) -> Iterator[Callable[..., Program]]:
    """Starts one of our programs: `start_program("flusher", "--once", flush_interval_seconds=1)`.

    Its settings are the test's stores and secret unless given. A server is SERVING when this returns, or only launched
    with `wait=False`. At the end of the test it must end well, exit code 0, unless the test has ended it.
    """
    with ExitStack() as stack:
        numbers = count(1)

        def start(module: str, *arguments: str, wait: bool = True, **settings: object) -> Program:
            settings = {"redis_url": redis_url, "mongo_url": mongo_url, "jwt_secret": JWT_SECRET, **settings}
            started = program(module, tmp_path / f"program-{next(numbers)}", settings, *arguments)
            started.launch()
            stack.callback(assert_ends_well, started)
            if wait:
                started.wait_until_ready(PATIENCE)
            return started

        yield start

"""One ingest server for all tests of the contract, on the stores that all tests share, with the demo course."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager

import grpc
import pytest
import redis
from pymongo import MongoClient

from devstack.programs import PROBE_OPTIONS, Program
from devstack.seed import DEMO_COURSE, write_course
from tests.ingest_server.client import Player
from tests.ingest_server.stored import Stored
from tests.servers import JWT_SECRET, assert_ends_well, fresh_database, program


@pytest.fixture(scope="package")
def platform_url(mongo_server_url: str) -> Iterator[str]:
    """A MongoDB that has the demo course."""
    with fresh_database(mongo_server_url) as url:
        with MongoClient[Mapping[str, object]](url) as client:
            write_course(client.get_default_database(), DEMO_COURSE)
        yield url


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory, redis_server_url: str, platform_url: str) -> Iterator[Program]:
    """The server that no test may break."""
    settings = {"redis_url": redis_server_url, "mongo_url": platform_url, "jwt_secret": JWT_SECRET}
    started = program("ingest_server", tmp_path_factory.mktemp("ingest"), settings)
    started.start()
    yield started
    assert_ends_well(started)


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[Player]:
    """A player of the server at this address."""
    async with grpc.aio.insecure_channel(address, options=PROBE_OPTIONS) as channel:
        yield Player(channel)


@pytest.fixture(scope="package")
async def player_of_package(server: Program) -> AsyncIterator[Player]:
    async with connected(server.address) as player:
        yield player


@pytest.fixture
def player(player_of_package: Player, redis_url: str) -> Player:  # noqa: ARG001 - which has been emptied
    """A player, at a time when nothing has been counted."""
    return player_of_package


@pytest.fixture
def stored(redis_url: str) -> Iterator[Stored]:
    """What is in the Redis that all tests share."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield Stored(client)

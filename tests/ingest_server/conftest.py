"""One ingest server for all tests of the contract, on the stores that all tests share, with the demo course."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import grpc
import pytest
import redis

from devstack.child import wait_until
from devstack.programs import PROBE_OPTIONS, Program, is_serving
from devstack.seed import DEMO_COURSE, Course
from tests.faults.proxy import Proxy
from tests.ingest_server.client import Player
from tests.ingest_server.ends import Ends
from tests.ingest_server.stored import Stored
from tests.servers import JWT_SECRET, PATIENCE, program
from tests.stage import at_work, platform

OTHER_COURSES = [f"65000000000000000000010{n}" for n in range(7)]  # each of another partition


@pytest.fixture(scope="package")
def platform_url(mongo_server_url: str) -> Iterator[str]:
    """A MongoDB that has the demo course, and seven without lectures."""
    others = [Course(other, "Another course", DEMO_COURSE.creator, ()) for other in OTHER_COURSES]
    with platform(mongo_server_url, DEMO_COURSE, *others) as url:
        yield url


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory, redis_server_url: str, platform_url: str) -> Iterator[Program]:
    """The server that no test may break."""
    settings = {"redis_url": redis_server_url, "mongo_url": platform_url, "jwt_secret": JWT_SECRET}
    started = program("ingest_server", tmp_path_factory.mktemp("ingest"), settings)
    with at_work(started):
        yield started


def assert_no_error_was_logged(server: Program) -> None:
    """Stores that go away and callers who do are no fault of the server's."""
    signs = ('"level": "error"', "Traceback", "never retrieved")
    assert [] == [line for line in server.output().splitlines() if any(sign in line for sign in signs)]


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[Player]:
    """A player of the server at this address."""
    async with grpc.aio.insecure_channel(address, options=PROBE_OPTIONS) as channel:
        yield Player(channel)


@pytest.fixture(scope="package")
async def player_of_package(server: Program) -> AsyncIterator[Player]:
    async with connected(server.address) as player:
        yield player


async def _answers(player: Player) -> bool:
    try:
        await player.view()
    except grpc.aio.AioRpcError:  # what the last test broke is not mended yet
        return False
    return True


async def settle(player: Player, redis_url: str) -> None:
    """Returns when nothing is counted any more that nobody waits for, such as the last test's refusals."""
    async with asyncio.timeout(PATIENCE):
        while not await _answers(player):  # noqa: ASYNC110 - what it waits for happens in another process
            await asyncio.sleep(0.05)
    with redis.Redis.from_url(redis_url) as client:
        client.flushdb()


@pytest.fixture
async def player(player_of_package: Player, redis_url: str) -> Player:
    """A player, at a time when nothing has been counted."""
    await settle(player_of_package, redis_url)
    return player_of_package


@pytest.fixture
def stored(redis_url: str) -> Iterator[Stored]:
    """What is in the Redis that all tests share."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        yield Stored(client)


@pytest.fixture(scope="package")
def redis_proxy_of_package(redis_server_url: str) -> Iterator[Proxy]:
    with Proxy(redis_server_url) as proxy:
        yield proxy


@pytest.fixture(scope="package")
def mongo_proxy_of_package(platform_url: str) -> Iterator[Proxy]:
    with Proxy(platform_url) as proxy:
        yield proxy


@pytest.fixture(scope="package")
def proxied_server(
    tmp_path_factory: pytest.TempPathFactory, redis_proxy_of_package: Proxy, mongo_proxy_of_package: Proxy
) -> Iterator[Program]:
    """The server whose ways to Redis and MongoDB a test may break."""
    urls = {"redis_url": redis_proxy_of_package.url, "mongo_url": mongo_proxy_of_package.url}
    started = program("ingest_server", tmp_path_factory.mktemp("ingest"), {"jwt_secret": JWT_SECRET, **urls})
    with at_work(started):
        yield started
    assert_no_error_was_logged(started)


@pytest.fixture
def redis_proxy(redis_proxy_of_package: Proxy, proxied_server: Program) -> Iterator[Proxy]:
    """Between that server and Redis; healed after the test."""
    yield redis_proxy_of_package
    redis_proxy_of_package.heal()
    wait_until(lambda: is_serving(proxied_server.address), PATIENCE, "the server did not recover")


@pytest.fixture
def mongo_proxy(mongo_proxy_of_package: Proxy) -> Iterator[Proxy]:
    """Between that server and MongoDB; healed after the test."""
    yield mongo_proxy_of_package
    mongo_proxy_of_package.heal()


@pytest.fixture
async def proxied_player(proxied_server: Program, redis_url: str) -> AsyncIterator[Player]:
    """A player of that server, at a time when nothing has been counted."""
    async with connected(proxied_server.address) as player:
        await settle(player, redis_url)
        yield player


@pytest.fixture
async def ends() -> Ends:
    return Ends()

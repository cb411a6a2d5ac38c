"""SIGTERM: nothing that was acknowledged is lost, and the program ends well."""

import asyncio
from collections.abc import Callable

import grpc

from devstack.programs import Program
from tests.faults.proxy import Proxy
from tests.ingest_server.client import FIRST, Player
from tests.ingest_server.conftest import connected
from tests.ingest_server.stored import Stored, seconds, views
from tests.servers import PATIENCE


class Load:
    """Players that ping until they are refused."""

    def __init__(self, player: Player) -> None:
        self.attempts = 0
        self.acknowledged = 0
        self.well_under_way = asyncio.Event()
        self._player = player

    async def run(self, players: int) -> None:
        await asyncio.gather(*(self._ping() for _ in range(players)))

    async def _ping(self) -> None:
        while True:
            self.attempts += 1
            try:
                await self._player.ping()
            except grpc.aio.AioRpcError:
                return
            self.acknowledged += 1
            if self.acknowledged == 200:
                self.well_under_way.set()


async def test_under_load_all_that_was_acknowledged_is_in_redis(
    start_program: Callable[..., Program], platform_url: str, stored: Stored
) -> None:
    server = start_program("ingest_server", mongo_url=platform_url)
    async with connected(server.address) as player:
        load = Load(player)
        running = asyncio.create_task(load.run(players=50))
        await asyncio.wait_for(load.well_under_way.wait(), PATIENCE)
        code = await asyncio.to_thread(server.stop)
        await running
    counted = stored.counters()[views(FIRST)]
    assert 0 == code
    assert load.acknowledged <= counted <= load.attempts
    assert 5 * counted == stored.counters()[seconds(FIRST)]


async def test_it_does_not_wait_for_a_mongodb_that_is_silent(
    start_program: Callable[..., Program], platform_url: str
) -> None:
    with Proxy(platform_url) as proxy:
        server = start_program("ingest_server", mongo_url=proxy.url)
        async with connected(server.address) as player:
            await player.ping()
        proxy.black_hole()
        assert 0 == await asyncio.to_thread(server.stop)


async def test_it_does_not_wait_for_a_redis_that_is_silent(
    start_program: Callable[..., Program], platform_url: str, redis_url: str
) -> None:
    with Proxy(redis_url) as proxy:
        server = start_program("ingest_server", mongo_url=platform_url, redis_url=proxy.url)
        async with connected(server.address) as player:
            await player.ping()
            proxy.black_hole()
            waiting = asyncio.create_task(player.ping())
            assert 0 == await asyncio.to_thread(server.stop)
            await asyncio.gather(waiting, return_exceptions=True)


async def test_before_the_first_contact_with_redis_it_ends_well(
    start_program: Callable[..., Program], redis_url: str
) -> None:
    with Proxy(redis_url) as proxy:
        proxy.refuse()
        server = start_program("ingest_server", wait=False, redis_url=proxy.url)
        server.wait_for(lambda: "not ready" in server.output(), PATIENCE, "did not miss Redis")
        assert 0 == await asyncio.to_thread(server.stop)

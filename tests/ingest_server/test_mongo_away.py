"""MongoDB away: ingest goes on."""

import time
from collections.abc import Callable

import pytest

from devstack.child import wait_until
from devstack.programs import Program, is_serving
from tests.faults.proxy import Proxy
from tests.ingest_server.client import COURSE, FIRST, NONE, Player
from tests.ingest_server.conftest import connected
from tests.ingest_server.stored import Stored, seconds, views

COUNTED = {views(FIRST): 1, seconds(FIRST): 5}


def gone(proxy: Proxy) -> None:
    proxy.refuse()
    proxy.reset()


def silent(proxy: Proxy) -> None:
    proxy.black_hole()


@pytest.mark.parametrize("go_away", [gone, silent])
class TestOutOfReach:
    async def test_events_are_counted(
        self, proxied_player: Player, mongo_proxy: Proxy, stored: Stored, go_away: Callable[[Proxy], None]
    ) -> None:
        go_away(mongo_proxy)
        assert "tracked" == await proxied_player.ping(COURSE, FIRST)
        assert COUNTED == stored.counters()

    async def test_events_of_courses_that_cannot_be_looked_up_are_counted_without_much_ado(
        self, proxied_player: Player, mongo_proxy: Proxy, stored: Stored, go_away: Callable[[Proxy], None]
    ) -> None:
        go_away(mongo_proxy)
        started = time.monotonic()
        assert "tracked" == await proxied_player.ping(NONE, FIRST)
        assert time.monotonic() - started < 1
        assert COUNTED == stored.counters(NONE)

    async def test_the_server_is_ready(
        self, proxied_player: Player, proxied_server: Program, mongo_proxy: Proxy, go_away: Callable[[Proxy], None]
    ) -> None:
        go_away(mongo_proxy)
        await proxied_player.ping()
        wait_until(lambda: is_serving(proxied_server.address), 5, "NOT_SERVING")


async def test_started_without_mongodb_it_counts(
    start_program: Callable[..., Program], platform_url: str, stored: Stored
) -> None:
    with Proxy(platform_url) as proxy:
        proxy.refuse()
        server = start_program("ingest_server", mongo_url=proxy.url)
        async with connected(server.address) as player:
            assert "tracked" == await player.ping()
        assert COUNTED == stored.counters()

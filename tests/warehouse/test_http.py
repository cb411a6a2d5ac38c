"""ClickHouse over HTTP, with the official client: the same store, elsewhere."""

import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import clickhouse_connect
import pytest

from devstack.child import Child, free_port
from devstack.programs import Program
from tests.servers import PATIENCE, answers_http, running
from tests.warehouse.documents import write_day
from tests.warehouse.test_program import until


class ClickHouse(Child):
    """A ClickHouse that speaks HTTP."""

    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}?compress=false"
        command = [sys.executable, "-m", "tests.warehouse.http_face", str(port), str(folder / "data")]
        super().__init__("clickhouse", command, folder / "clickhouse.log")

    def ready(self) -> bool:
        return answers_http(self.url.replace("?", "/ping?"))


@pytest.fixture
def clickhouse_server(tmp_path: Path) -> Iterator[ClickHouse]:
    (tmp_path / "http").mkdir()
    with running(ClickHouse(tmp_path / "http", free_port())) as server:
        yield server


@pytest.fixture
def clickhouse_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database: of the environment's server, of one in a container, or of the engine behind the HTTP face."""
    with ExitStack() as stack:
        given = os.environ.get("ANALYTICS_TEST_CLICKHOUSE_URL")
        if given is None and os.environ.get("ANALYTICS_TEST_SERVERS") == "containers":
            from tests.containers import clickhouse_container  # noqa: PLC0415  an ordinary run needs no Docker client

            given = stack.enter_context(clickhouse_container())
        if given is None:
            yield request.getfixturevalue("clickhouse_server").url
            return
        name = f"test_{secrets.token_hex(6)}"
        client = clickhouse_connect.get_client(dsn=given)
        client.command(f"CREATE DATABASE {name}")
        yield urlsplit(given)._replace(path=f"/{name}").geturl()
        client.command(f"DROP DATABASE {name}")


@pytest.mark.minutes
def test_the_store_may_be_elsewhere(start_program: Callable[..., Program], mongo_url: str, clickhouse_url: str) -> None:
    write_day(mongo_url, views=3)
    program = start_program("warehouse", clickhouse_url=clickhouse_url)
    until(program, [3])
    audit = start_program("warehouse", "audit", wait=False, clickhouse_url=clickhouse_url)
    assert 0 == audit.process.wait(PATIENCE), audit.tail()


@pytest.mark.minutes
def test_a_store_elsewhere_may_be_away_and_come_back(
    start_program: Callable[..., Program], mongo_url: str, clickhouse_server: ClickHouse
) -> None:
    write_day(mongo_url, views=3)
    program = start_program("warehouse", clickhouse_url=clickhouse_server.url)
    until(program, [3])

    clickhouse_server.kill()
    write_day(mongo_url, views=4)
    clickhouse_server.start()

    program.wait_until_ready(PATIENCE)
    until(program, [7])
    audit = start_program("warehouse", "audit", wait=False, clickhouse_url=clickhouse_server.url)
    assert 0 == audit.process.wait(PATIENCE), audit.tail()

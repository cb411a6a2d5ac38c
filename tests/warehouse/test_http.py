"""ClickHouse over HTTP, with the official client: the same store, elsewhere."""

import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devstack.child import Child, free_port
from devstack.programs import Program
from tests.servers import PATIENCE, running
from tests.warehouse.documents import write_day
from tests.warehouse.test_program import until


class ClickHouse(Child):
    """A ClickHouse that speaks HTTP."""

    def __init__(self, folder: Path, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}?compress=false"
        command = [sys.executable, "-m", "tests.warehouse.http_face", str(port), str(folder / "data")]
        super().__init__("clickhouse", command, folder / "clickhouse.log")

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.url.replace("?", "/ping?"), timeout=1) as answer:  # noqa: S310 - our own
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture
def clickhouse_server(tmp_path: Path) -> Iterator[ClickHouse]:
    (tmp_path / "http").mkdir()
    with running(ClickHouse(tmp_path / "http", free_port())) as server:
        yield server


@pytest.mark.minutes
def test_the_store_may_be_elsewhere_be_away_and_come_back(
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

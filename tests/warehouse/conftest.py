"""ClickHouse in this process, and what a warehouse is made of."""

from collections.abc import AsyncIterator

import pytest

from warehouse import source
from warehouse.store import Store


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lingers, or waits after a failure, waits less long in this process, and nothing else changes."""
    monkeypatch.setattr(source, "BATCH_SECONDS", 0.05)
    monkeypatch.setattr(source, "RETRY_SECONDS", 0.05)


@pytest.fixture(scope="session")
async def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Store]:
    """One store for all tests: a process has one ClickHouse."""
    store = await Store.open(url=None, folder=tmp_path_factory.mktemp("clickhouse"))
    yield store
    await store.close()


@pytest.fixture
async def store(clickhouse: Store) -> Store:
    """An empty store."""
    for table in ("tallies", "progress"):
        clickhouse._client.command(f"TRUNCATE TABLE {table}")
    return clickhouse

"""The stage on the servers that all tests share, and flushers as users start them."""

from collections.abc import AsyncIterator, Iterator
from urllib.parse import urlsplit

import pytest
import structlog
from pymongo import AsyncMongoClient

from shared import mongo
from shared.mongo import Document
from tests.flusher.stage import Stage, staged


@pytest.fixture(scope="session")
async def mongo_client(mongo_server_url: str) -> AsyncIterator[AsyncMongoClient[Document]]:
    """One client, as the flusher has it."""
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

"""The connection to MongoDB, with the guarantees and time limits that every program here relies on."""

import asyncio
import re
from typing import Any

import pymongo
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ConfigurationError, PyMongoError, ServerSelectionTimeoutError

from shared.serving.program import CannotRun

Document = dict[str, Any]

COURSES = "courses"
SECTIONS = "sections"
LECTURES = "lectures"
COURSE_ANALYTICS = "courseanalytics"
ANALYTICS_SETTINGS = "analyticssettings"

CLOSE_SECONDS = 1.0
PING_SECONDS = 0.8


class MongoUnreachable(Exception):
    """No member that could answer was found in time."""


class Client(AsyncMongoClient[Document]):
    """A client that can be closed also when its server has fallen silent."""

    async def close(self) -> None:
        """Closes the connections; a server that does not answer must not delay a program's stop."""
        with pymongo.timeout(CLOSE_SECONDS):
            await super().close()


def connect(url: str, *, program: str) -> Client:
    """A client that connects lazily, and whose writes are acknowledged by a majority, on disk.

    With `w:1`, acknowledged writes were lost when a primary was killed. Raises CannotRun when an option of the URL is
    invalid, such as a file that holds no certificate.
    """
    try:
        return Client(
            url,
            appname=f"course-analytics {program}",
            w="majority",
            journal=True,
            tz_aware=True,
            # A platform's document may hold values that Python cannot represent; others must stay readable.
            datetime_conversion="DATETIME_AUTO",
            unicode_decode_error_handler="replace",
            connectTimeoutMS=1_000,
            serverSelectionTimeoutMS=1_500,
        )
    except (ConfigurationError, OSError) as error:
        raise CannotRun(f"ANALYTICS_MONGO_URL: {error}") from None


def database(client: AsyncMongoClient[Document]) -> AsyncDatabase[Document]:
    """The database that the URL names."""
    return client.get_default_database()


async def ping(client: AsyncMongoClient[Document]) -> None:
    """Raises MongoUnreachable with what each member failed with, such as a certificate that is not trusted."""
    try:
        async with asyncio.timeout(PING_SECONDS):  # the client's own limit is exact to half a second
            await client.admin.command("ping")
    except (TimeoutError, ServerSelectionTimeoutError):
        members = client.topology_description.server_descriptions().values()
        reasons = sorted({str(member.error) for member in members if member.error})
        raise MongoUnreachable(f"cannot connect to MongoDB: {'; '.join(reasons) or 'no answer'}") from None


def in_short(error: PyMongoError) -> str:
    """The problem in short, without the driver's description of its state, which takes several lines."""
    return re.split(r" \(configured timeouts|, Timeout: |, full error: ", str(error), maxsplit=1)[0]

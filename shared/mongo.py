"""The connection to MongoDB, with the guarantees and time limits that every program here relies on."""

from typing import Any

import pymongo
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

Document = dict[str, Any]

COURSES = "courses"
SECTIONS = "sections"
LECTURES = "lectures"
COURSE_ANALYTICS = "courseanalytics"

CLOSE_SECONDS = 1.0


class Client(AsyncMongoClient[Document]):
    """A client that can be closed also when its server has fallen silent."""

    async def close(self) -> None:
        """Says goodbye to the server; an answer that does not come must not hold up a program's stop."""
        with pymongo.timeout(CLOSE_SECONDS):
            await super().close()


def connect(url: str, *, program: str) -> Client:
    """A client that connects lazily, and whose writes are acknowledged by a majority, on disk.

    With `w:1`, acknowledged writes were lost when a primary was killed.
    """
    return Client(
        url,
        appname=f"course-analytics {program}",
        w="majority",
        journal=True,
        tz_aware=True,
        connectTimeoutMS=1_000,
        serverSelectionTimeoutMS=1_500,
    )


def database(client: AsyncMongoClient[Document]) -> AsyncDatabase[Document]:
    """The database that the URL names."""
    return client.get_default_database()

"""The connection to MongoDB, with the guarantees and time limits that every program here relies on."""

import asyncio
import re
from collections.abc import Awaitable
from typing import Any, TypeVar

import pymongo
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import ConfigurationError, PyMongoError, ServerSelectionTimeoutError

from shared.serving.program import CannotRun

Document = dict[str, Any]
Answer = TypeVar("Answer")

COURSES = "courses"
SECTIONS = "sections"
LECTURES = "lectures"
COURSE_ANALYTICS = "courseanalytics"
ANALYTICS_SETTINGS = "analyticssettings"

CLOSE_SECONDS = 1.0
ABANDONED_SECONDS = 1.0
PING_SECONDS = 0.8


class MongoUnreachable(Exception):
    """No suitable member was found in time."""


class Client(AsyncMongoClient[Document]):
    """A client that can be closed even if its server does not answer."""

    async def close(self) -> None:
        """Closes the connections; a server that does not answer must not delay a program's stop."""
        with pymongo.timeout(CLOSE_SECONDS):
            await super().close()


def connect(url: str, *, program: str, resend: bool = True) -> Client:
    """A client that connects lazily, and whose writes are acknowledged by a majority, on disk.

    With `w:1`, acknowledged writes were lost when a primary was killed. With `resend` the driver sends a write again
    when the answer was lost; for that MongoDB notes each in its session, a fifth of the time that a small one takes.
    Raises CannotRun when an option of the URL is invalid, such as a file that holds no certificate.
    """
    # Only then, because an option here overrules the one in the URL.
    without_resend: dict[str, Any] = {} if resend else {"retryWrites": False}
    try:
        return Client(
            url,
            appname=f"course-analytics {program}",
            w="majority",
            journal=True,
            **without_resend,
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


async def within(answer: Awaitable[Answer], seconds: float, abandoned: float = ABANDONED_SECONDS) -> Answer:
    """The driver's answer. Raises TimeoutError after `seconds`; the driver gives up `abandoned` seconds later.

    So does MongoDB; for a cursor, this limits its work on all batches together.

    The task is never cancelled, not even with the caller. If it were cancelled while the driver reacquires the lock of
    its topology, the lock would never be released, and every later request would hang (pymongo 4.20, `wait_for` of
    CPython 3.11).
    """
    with pymongo.timeout(max(0.0, seconds) + abandoned):
        asked = asyncio.ensure_future(answer)
    asked.add_done_callback(_look_at)
    done, _ = await asyncio.wait({asked}, timeout=max(0.0, seconds))
    if not done:
        raise TimeoutError
    return asked.result()


def _look_at(asked: "asyncio.Future[Any]") -> None:
    """Retrieves the error: otherwise asyncio would report that nobody did."""
    if not asked.cancelled():
        asked.exception()


async def ping(client: AsyncMongoClient[Document]) -> None:
    """Raises MongoUnreachable with what each member failed with, such as a certificate that is not trusted."""
    try:
        await within(client.admin.command("ping"), PING_SECONDS)  # the client's own limit is exact to half a second
    except (TimeoutError, ServerSelectionTimeoutError):
        members = client.topology_description.server_descriptions().values()
        reasons = sorted({str(member.error) for member in members if member.error})
        raise MongoUnreachable(f"cannot connect to MongoDB: {'; '.join(reasons) or 'no answer'}") from None


def in_short(error: PyMongoError) -> str:
    """The problem in short, without the driver's description of its state, which takes several lines."""
    return re.split(r" \(configured timeouts|, Timeout: |, full error: ", str(error), maxsplit=1)[0]

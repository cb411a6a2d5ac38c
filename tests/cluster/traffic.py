"""Learners and an instructor of several courses, on real programs, while the nodes below them change."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from bson import ObjectId
from course_analytics.v1 import dashboard_pb2, dashboard_pb2_grpc, ingest_pb2, ingest_pb2_grpc
from pymongo.asynchronous.database import AsyncDatabase

from devstack.programs import Program
from shared.data import keys
from shared.data.tallies import (
    COURSE,
    DAY,
    DAY_LECTURE_WATCH_TIME,
    LECTURE_WATCH_TIME,
    SEGMENT_WATCHED,
    Kind,
)
from shared.data.tallies import LECTURE as LECTURE_KIND
from shared.stores.mongo import Document
from tests.chaos.ledger import PING_SECONDS, Account, Audit, events_shown
from tests.chaos.load import bearer, channel, reader
from tests.flusher.stage import INSTRUCTOR, LECTURE
from tests.servers import JWT_SECRET, PATIENCE

PAUSE_SECONDS = 0.03
CALL_SECONDS = 5
READ_EVERY = 3
# What a player is told while its course is on its way, or its node is gone: try again.
EXPECTED = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})


def courses_of_partitions(partitions: range) -> list[str]:
    """A course of each of the partitions."""
    found: dict[int, str] = {}
    numbers = itertools.count(1)
    while not found.keys() >= set(partitions):
        course_id = f"{next(numbers):024x}"
        found.setdefault(keys.partition_of(course_id), course_id)
    return [found[partition] for partition in partitions]


@dataclass
class Traffic:
    """Every event has an id and is sent until it is acknowledged, so in the end each counts once.

    Learners wait while `open` is not set; `refused` counts the answers that told them to try again.
    """

    ingest: Program
    query: Program
    accounts: list[Account]
    audit: Audit = field(default_factory=Audit)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    under_way: int = 0
    refused: int = 0

    @property
    def acknowledged(self) -> int:
        """How many events are."""
        return sum(account.acknowledged for account in self.accounts)

    async def goes_on(self) -> None:
        """Returns when every course has had two more events acknowledged."""
        before = [account.acknowledged for account in self.accounts]
        await self.until(
            lambda: all(account.acknowledged > then + 1 for account, then in zip(self.accounts, before, strict=True))
        )

    async def rests(self) -> None:
        """Lets no learner begin, and returns when all events are acknowledged."""
        self.open.clear()
        await self.until(lambda: not self.under_way)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Returns when the condition holds. TimeoutError when it does not in time."""
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110 - what it waits for happens in other processes too
                await asyncio.sleep(PAUSE_SECONDS)

    async def learn(self, account: Account, stub: "ingest_pb2_grpc.IngestServiceAsyncStub") -> None:
        """One learner of one course."""
        metadata = bearer(JWT_SECRET, "ann")
        for number in itertools.count():
            await self.open.wait()
            ping = ingest_pb2.TrackTelemetryRequest(
                course_id=account.course_id,
                lecture_id=LECTURE,
                watch_time_delta=PING_SECONDS,
                event_id=str(number),
                playback_id=str(number),
                played=[ingest_pb2.PlayedRange(from_seconds=0, to_seconds=PING_SECONDS)],
            )
            account.attempted += 1
            self.under_way += 1
            while not await self._succeeds(stub.TrackTelemetry(ping, metadata=metadata, timeout=CALL_SECONDS)):
                self.refused += 1
                await asyncio.sleep(PAUSE_SECONDS)
            self.under_way -= 1
            account.acknowledged += 1
            await asyncio.sleep(PAUSE_SECONDS)

    async def _succeeds(self, call: "grpc.aio.UnaryUnaryCall[Any, Any]") -> bool:
        try:
            await call
        except grpc.aio.AioRpcError as error:
            if error.code() not in EXPECTED:
                raise
            return False
        return True

    async def shown(self) -> dict[str, int]:
        """How many events the dashboard shows of each course."""
        async with channel(self.query.address) as connected:
            stub = dashboard_pb2_grpc.DashboardServiceStub(connected)
            return {
                account.course_id: events_shown(
                    await stub.GetCourseDashboard(
                        dashboard_pb2.GetCourseDashboardRequest(course_id=account.course_id),
                        metadata=bearer(JWT_SECRET, INSTRUCTOR),
                    )
                )
                for account in self.accounts
            }

    def expected(self) -> Mapping[str, int]:
        """How many events there are of each course."""
        return {account.course_id: account.acknowledged for account in self.accounts}

    async def flushed(self, database: AsyncDatabase[Document]) -> dict[str, int]:
        """How many events MongoDB has of each course, by their seconds: the same in all of its tallies."""
        counts = {}
        for account in self.accounts:
            seconds = {
                kind.name: await _seconds_of(database, kind, counter, account.course_id)
                for kind, counter in (
                    (COURSE, LECTURE_WATCH_TIME.name),
                    (DAY, DAY_LECTURE_WATCH_TIME.name),
                    (LECTURE_KIND, SEGMENT_WATCHED.name),
                )
            }
            seconds[LECTURE_KIND.name] /= 10
            assert len(set(seconds.values())) == 1, (account, seconds)
            counts[account.course_id] = int(seconds[COURSE.name]) // PING_SECONDS
        return counts


async def _seconds_of(database: AsyncDatabase[Document], kind: Kind, counter: str, course_id: str) -> float:
    """The sum of a counter over a course's tallies of a kind."""
    documents = database[kind.collection].find({"courseId": ObjectId(course_id)})
    return sum([sum(kind.counts_of(document)[counter].values()) async for document in documents])


async def write_courses(database: AsyncDatabase[Document], course_ids: list[str]) -> None:
    """The courses as the platform has them, each with one lecture."""
    section = ObjectId()
    await database["lectures"].insert_one({"_id": ObjectId(LECTURE), "lectureTitle": "The only one"})
    await database["sections"].insert_one({"_id": section, "lectures": [ObjectId(LECTURE)]})
    await database["courses"].insert_many(
        [{"_id": ObjectId(course_id), "creator": INSTRUCTOR, "sections": [section]} for course_id in course_ids]
    )


@asynccontextmanager
async def traffic(ingest: Program, query: Program, course_ids: list[str]) -> AsyncIterator[Traffic]:
    """A learner of every course and readers of some, until the block ends; then these have seen nothing wrong."""
    accounts = [Account(course_id, retried=True) for course_id in course_ids]
    busy = Traffic(ingest, query, accounts)
    busy.open.set()
    async with channel(ingest.address) as to_ingest, channel(query.address) as to_query, asyncio.TaskGroup() as tasks:
        stub = ingest_pb2_grpc.IngestServiceStub(to_ingest)
        learners = [tasks.create_task(busy.learn(account, stub)) for account in accounts]
        instructor = bearer(JWT_SECRET, INSTRUCTOR)
        for account in accounts[::READ_EVERY]:
            tasks.create_task(reader(to_query, account, instructor, busy.audit, busy.stop))
        try:
            yield busy
        finally:
            busy.stop.set()
            for learner in learners:
                learner.cancel()
    assert busy.audit.reads
    assert busy.audit.clean(), busy.audit

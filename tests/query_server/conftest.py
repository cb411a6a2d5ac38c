"""The dashboard service in this process, on real stores."""

import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self
from zoneinfo import ZoneInfo

import grpc
import jwt
import pytest
from course_analytics.v1 import dashboard_pb2, dashboard_pb2_grpc
from pymongo.asynchronous.database import AsyncDatabase
from redis.asyncio import Redis

from query_server import cold, reading
from query_server.cold import ColdStore
from query_server.courses import Courses
from query_server.hot import HotStore
from query_server.reports import Reports
from query_server.server import SERVICE
from query_server.servicer import DashboardServicer
from query_server.stretches import Stretches
from shared.data.days import start_of
from shared.identity.auth import TokenVerifier
from shared.serving import methods
from shared.stores.mongo import Document
from tests.query_server.platform import Course, Platform
from tests.servers import JWT_SECRET, PATIENCE

UTC = ZoneInfo("UTC")

# The day on which reports are asked for.
TODAY = "2026-11-26"
NOON = int(start_of(TODAY, UTC)) + 12 * 3600


def token(user_id: object, *, secret: str = JWT_SECRET, **claims: object) -> str:
    """A token of this user that is good for a minute, unless the claims say otherwise; a claim of None is left out."""
    all_claims = {"sub": user_id, "exp": time.time() + 60, **claims}
    return jwt.encode({name: value for name, value in all_claims.items() if value is not None}, secret)


@dataclass(frozen=True)
class Dashboards:
    """Callers of the service."""

    stub: "dashboard_pb2_grpc.DashboardServiceAsyncStub"

    @classmethod
    def over(cls, channel: grpc.aio.Channel) -> Self:
        return cls(dashboard_pb2_grpc.DashboardServiceStub(channel))

    async def of(self, course: Course) -> dashboard_pb2.GetCourseDashboardResponse:
        """What the course's creator sees."""
        return await self.ask(course.course_id, token(course.creator))

    async def ask(self, course_id: str, bearer: str) -> dashboard_pb2.GetCourseDashboardResponse:
        request = dashboard_pb2.GetCourseDashboardRequest(course_id=course_id)
        return await self.stub.GetCourseDashboard(request, metadata=[("authorization", f"Bearer {bearer}")])

    async def refusal(self, course_id: str, bearer: str) -> grpc.aio.AioRpcError:
        """How the call fails."""
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await self.ask(course_id, bearer)
        return refused.value


@asynccontextmanager
async def serving(hot_store: HotStore, cold_store: ColdStore, zone: ZoneInfo = UTC) -> AsyncIterator[Dashboards]:
    """The service over these stores, on a free port."""
    server = grpc.aio.server()
    verifier = TokenVerifier(JWT_SECRET, algorithms=["HS256"])
    aside = ThreadPoolExecutor(max_workers=1)
    reports = Reports(hot_store, cold_store, Stretches(cold_store, aside), zone)
    courses = Courses(hot_store, cold_store, zone, aside)
    methods.add(SERVICE, DashboardServicer(hot_store, cold_store, reports, courses, aside), server, verifier)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Dashboards.over(channel)
    finally:
        await server.stop(None)
        aside.shutdown()


@pytest.fixture(autouse=True)
def patient_with_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer is right or wrong here; whether it comes in time is asked of the program."""
    monkeypatch.setattr(reading, "DEADLINE_SECONDS", PATIENCE)
    monkeypatch.setattr(cold, "SERVER_LIMIT_MS", 1000 * PATIENCE)


@pytest.fixture
async def platform(redis_url: str, database: AsyncDatabase[Document]) -> AsyncIterator[Platform]:
    async with Redis.from_url(redis_url, protocol=2, decode_responses=True) as redis:
        yield Platform(database, redis)


@pytest.fixture
async def hot_store(redis_url: str) -> AsyncIterator[HotStore]:
    async with HotStore(redis_url) as store:
        yield store


@pytest.fixture
async def dashboards(hot_store: HotStore, database: AsyncDatabase[Document]) -> AsyncIterator[Dashboards]:
    async with serving(hot_store, ColdStore(database)) as callers:
        yield callers


class HotStoreAt(HotStore):
    """Redis with a clock of its own."""

    seconds = NOON

    async def time(self, _course_id: str) -> tuple[int, int]:
        return self.seconds, 250_000


@asynccontextmanager
async def reports_at(
    redis_url: str, database: AsyncDatabase[Document], seconds: float = NOON, zone: ZoneInfo = UTC
) -> AsyncIterator[Dashboards]:
    async with HotStoreAt(redis_url) as hot_store:
        hot_store.seconds = int(seconds)
        async with serving(hot_store, ColdStore(database), zone) as callers:
            yield callers


@pytest.fixture
async def reports(redis_url: str, database: AsyncDatabase[Document]) -> AsyncIterator[Dashboards]:
    async with reports_at(redis_url, database) as callers:
        yield callers


async def report(
    callers: Dashboards, course: Course, bearer: str | None = None, **fields: Any
) -> dashboard_pb2.GetCourseReportResponse:
    request = dashboard_pb2.GetCourseReportRequest(course_id=course.course_id, **fields)
    metadata = [("authorization", f"Bearer {bearer or token(course.creator)}")]
    return await callers.stub.GetCourseReport(request, metadata=metadata)


async def recorded(platform: Platform, since: str) -> None:
    """Since when the installation has days."""
    await platform.database["analyticssettings"].replace_one(
        {"_id": "days"}, {"_id": "days", "recordedSince": since}, upsert=True
    )

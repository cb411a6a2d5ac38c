"""Very large courses, the whole way: counted by batches, flushed, and shown by gRPC and by REST, or refused."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest
from bson import ObjectId
from course_analytics.v1 import dashboard_pb2, dashboard_pb2_grpc, ingest_pb2, ingest_pb2_grpc
from pymongo import MongoClient

from bench.stage import CREATOR, course
from devstack.child import free_port
from devstack.gateway import local_gateway
from devstack.programs import Program
from devstack.seed import Course
from devstack.tokens import mint
from shared.serving.validation import MAX_LECTURES
from tests.servers import JWT_SECRET, PATIENCE, fresh_database, program, running
from tests.stage import servers

BATCH = 1_000
LARGE = course(1, 5_000)
TOO_LARGE = course(2, MAX_LECTURES + 1)
TOKEN = mint(JWT_SECRET, CREATOR)
METADATA = (("authorization", f"Bearer {TOKEN}"),)
REASON = "courseId: the course has more than 10,000 lectures, which are not counted or shown"


@dataclass(frozen=True, slots=True)
class Service:
    """The two servers, and a flusher that is started when it is needed."""

    ingest: Program
    query: Program
    flusher: Program


@dataclass(frozen=True, slots=True)
class Stubs:
    counting: "ingest_pb2_grpc.IngestServiceAsyncStub"  # known to the type checker alone
    showing: "dashboard_pb2_grpc.DashboardServiceAsyncStub"


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory, redis_server_url: str, mongo_server_url: str
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("large")
    with ExitStack() as stack:
        mongo_url = stack.enter_context(fresh_database(mongo_server_url))
        write(mongo_url, LARGE, TOO_LARGE)
        stores = {"redis_url": redis_server_url, "mongo_url": mongo_url}
        ingest, query = stack.enter_context(servers(folder, **stores))
        yield Service(ingest, query, program("flusher", folder, stores, "--once"))


@pytest.fixture
async def stubs(service: Service) -> AsyncIterator[Stubs]:
    async with AsyncExitStack() as stack:
        to_ingest, to_query = [
            await stack.enter_async_context(grpc.aio.insecure_channel(server.address))
            for server in (service.ingest, service.query)
        ]
        yield Stubs(ingest_pb2_grpc.IngestServiceStub(to_ingest), dashboard_pb2_grpc.DashboardServiceStub(to_query))


def write(mongo_url: str, *courses: Course) -> None:
    """Writes courses of one section, all of the lectures at a time."""
    with MongoClient[Mapping[str, object]](mongo_url) as client:
        database = client.get_default_database()
        for each in courses:
            (section,) = each.sections
            lectures = [{"_id": ObjectId(one.id), "lectureTitle": one.title} for one in each.lectures]
            database["lectures"].insert_many(lectures)
            ids = [lecture["_id"] for lecture in lectures]
            database["sections"].insert_one({"_id": ObjectId(section.id), "lectures": ids})
            document = {"creator": ObjectId(each.creator), "sections": [ObjectId(section.id)]}
            database["courses"].insert_one({"_id": ObjectId(each.id), **document})


def batches(of: Course) -> Iterator[ingest_pb2.TrackBatchRequest]:
    """A ping of every lecture."""
    pings = [
        ingest_pb2.TrackTelemetryRequest(course_id=of.id, lecture_id=lecture.id, watch_time_delta=5)
        for lecture in of.lectures
    ]
    for start in range(0, len(pings), BATCH):
        yield ingest_pb2.TrackBatchRequest(
            events=[ingest_pb2.Event(telemetry=ping) for ping in pings[start : start + BATCH]]
        )


async def test_a_course_of_5000_lectures_is_counted_flushed_and_shown(
    service: Service, stubs: Stubs, tmp_path: Path
) -> None:
    for batch in batches(LARGE):
        assert BATCH == (await stubs.counting.TrackBatch(batch, metadata=METADATA)).accepted
    request = dashboard_pb2.GetCourseDashboardRequest(course_id=LARGE.id)
    hot = await stubs.showing.GetCourseDashboard(request, metadata=METADATA)
    service.flusher.launch()
    assert 0 == await asyncio.to_thread(service.flusher.wait, PATIENCE)
    cold = await stubs.showing.GetCourseDashboard(request, metadata=METADATA)
    by_rest = await asyncio.to_thread(shown_by_rest, service, tmp_path)

    assert [(lecture.id, 1, 5) for lecture in LARGE.lectures] == [
        (step.lecture_id, step.views, step.watch_time_seconds) for step in cold.engagement_funnel
    ]
    assert hot.engagement_funnel == cold.engagement_funnel
    assert [(lecture.id, 1) for lecture in LARGE.lectures] == by_rest


def shown_by_rest(service: Service, folder: Path) -> list[tuple[str, int]]:
    """The lectures with their views, through the gateway."""
    gateway = local_gateway(folder, port=free_port(), ingest=service.ingest.address, query=service.query.address)
    with running(gateway), httpx.Client(base_url=gateway.url, trust_env=False, timeout=8) as client:
        answer = client.get(f"/api/v1/analytics/instructor/{LARGE.id}", headers=dict(METADATA))
    return [(step["lectureId"], step["views"]) for step in answer.json()["engagementFunnel"]]


async def test_the_pings_of_a_course_that_is_too_large_to_be_flushed_are_refused(stubs: Stubs) -> None:
    batch = next(batches(TOO_LARGE))

    answer = await stubs.counting.TrackBatch(batch, metadata=METADATA)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stubs.counting.TrackTelemetry(batch.events[0].telemetry, metadata=METADATA)

    told = [REASON] * 100 + ["refused; of one batch only 100 reasons are told"] * (BATCH - 100)
    assert (0, told) == (answer.accepted, [rejected.reason for rejected in answer.rejected])
    assert (grpc.StatusCode.INVALID_ARGUMENT, REASON) == (refused.value.code(), refused.value.details())


async def test_the_dashboard_of_a_course_that_is_too_large_is_refused(stubs: Stubs) -> None:
    request = dashboard_pb2.GetCourseDashboardRequest(course_id=TOO_LARGE.id)

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stubs.showing.GetCourseDashboard(request, metadata=METADATA)

    assert (grpc.StatusCode.INVALID_ARGUMENT, REASON) == (refused.value.code(), refused.value.details())

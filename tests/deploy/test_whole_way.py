"""The whole way, ping to flush to dashboard, by programs that have the rights of the deployed files and no others."""

from collections.abc import Callable
from typing import Any

import grpc
from course_analytics.v1 import dashboard_pb2, dashboard_pb2_grpc, ingest_pb2, ingest_pb2_grpc

from devstack.programs import PROBE_OPTIONS, Program
from devstack.seed import DEMO_COURSE
from devstack.tokens import mint
from tests.deploy.guarded import GuardedMongo, GuardedRedis
from tests.servers import JWT_SECRET, PATIENCE

COURSE, LECTURE = DEMO_COURSE.id, DEMO_COURSE.lectures[0].id


def bearer(user: str) -> tuple[tuple[str, str]]:
    return (("authorization", f"Bearer {mint(JWT_SECRET, user)}"),)


def watch(address: str) -> None:
    """A learner opens the course, and watches."""
    ping = ingest_pb2.TrackTelemetryRequest(
        course_id=COURSE, lecture_id=LECTURE, watch_time_delta=5, event_id="one", playback_id="one"
    )
    with grpc.insecure_channel(address, options=PROBE_OPTIONS) as channel:
        stub = ingest_pb2_grpc.IngestServiceStub(channel)
        stub.TrackCourseView(ingest_pb2.TrackCourseViewRequest(course_id=COURSE), metadata=bearer("ann"), timeout=5)
        stub.TrackTelemetry(ping, metadata=bearer("ann"), timeout=5)


def shown(address: str) -> tuple[int, int, float]:
    """What the instructor sees: views, users, seconds."""
    request = dashboard_pb2.GetCourseDashboardRequest(course_id=COURSE)
    with grpc.insecure_channel(address, options=PROBE_OPTIONS) as channel:
        stub = dashboard_pb2_grpc.DashboardServiceStub(channel)
        overview = stub.GetCourseDashboard(request, metadata=bearer(DEMO_COURSE.creator), timeout=5).overview
    return overview.total_views, overview.unique_active_users, overview.total_watch_time_seconds


def test_a_ping_reaches_the_dashboard_with_exactly_the_rights_of_the_files(
    guarded_redis: GuardedRedis, guarded_mongo: GuardedMongo, start_program: Callable[..., Program]
) -> None:
    def start(module: str, redis_user: str, mongo_user: str, *arguments: str) -> Program:
        urls: dict[str, Any] = {
            "redis_url": guarded_redis.url_of(redis_user),
            "mongo_url": guarded_mongo.url_of(mongo_user),
        }
        return start_program(module, *arguments, **urls)

    def flusher(*each: str) -> list[int]:
        started = [start("flusher", "analytics-flusher", "analyticsFlusher", argument) for argument in each]
        return [one.wait(PATIENCE) for one in started]

    assert [0] == flusher("init")
    ingest = start("ingest_server", "analytics-ingest", "analyticsIngest")
    query = start("query_server", "analytics-query", "analyticsQuery")
    guarded_redis.forget()

    watch(ingest.address)
    assert (1, 1, 5) == shown(query.address)
    assert [0] == flusher("--once")
    assert (1, 1, 5) == shown(query.address)

    assert [0, 0, 0] == flusher("status", "verify", "replay")
    assert [] == guarded_redis.refused()
    assert "not authorized" not in ingest.output() + query.output()

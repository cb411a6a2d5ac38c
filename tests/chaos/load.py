"""Learners who watch and instructors who look, through whatever is alive."""

import asyncio
import itertools
import random
import secrets
from collections.abc import Callable, Iterator, Sequence

import grpc
from course_analytics.v1 import dashboard_pb2, dashboard_pb2_grpc, ingest_pb2, ingest_pb2_grpc

from devstack.seed import Course
from devstack.tokens import mint
from tests.chaos.ledger import (
    PING_SECONDS,
    Account,
    Audit,
    Shown,
    events_of_days,
    events_shown,
    exceeds_playbacks,
    pings_watched,
)

# What a client may see of a service whose parts are being killed; anything else is a finding.
EXPECTED = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.CANCELLED,  # the server was killed while it answered
        grpc.StatusCode.UNKNOWN,
    }
)
CALL_SECONDS = 3
THINK_SECONDS = 0.01
STARTS = range(0, 100, PING_SECONDS)  # where in the video a ping begins
RECONNECT = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 300),
)

Metadata = tuple[tuple[str, str], ...]


def channel(address: str) -> grpc.aio.Channel:
    """A channel that is back soon after its server is."""
    return grpc.aio.insecure_channel(address, options=RECONNECT)


def bearer(secret: str, user: str) -> Metadata:
    """The metadata of one user's calls."""
    return (("authorization", f"Bearer {mint(secret, user)}"),)


async def succeeds(call: Callable[[], "grpc.aio.UnaryUnaryCall[object, object]"], audit: Audit) -> bool:
    """Makes one call; whether it was acknowledged."""
    try:
        await call()
    except grpc.aio.AioRpcError as error:
        audit.unexpected_errors += error.code() not in EXPECTED
        return False
    return True


async def learner(
    servers: Sequence[grpc.aio.Channel],
    course: Course,
    account: Account,
    *,
    metadata: Metadata,
    audit: Audit,
    stop: asyncio.Event,
) -> None:
    """Sends events until `stop`, to any of the servers; in a retried account each until it is acknowledged."""
    stubs = [ingest_pb2_grpc.IngestServiceStub(server) for server in servers]
    for event_id in _event_ids(retried=account.retried):
        if stop.is_set():
            return
        account.attempted += 1
        is_ping, call = _event(course, event_id)
        while not await succeeds(lambda call=call: call(random.choice(stubs), metadata), audit):  # type: ignore[misc] # a bound default
            if not account.retried:
                break
        else:
            account.acknowledged += 1
            account.acknowledged_pings += is_ping
        await asyncio.sleep(THINK_SECONDS)


def _event_ids(*, retried: bool) -> Iterator[str | None]:
    return (secrets.token_hex(8) if retried else None for _ in itertools.count())


def _event(
    course: Course, event_id: str | None
) -> tuple[bool, Callable[..., "grpc.aio.UnaryUnaryCall[object, object]"]]:
    """Whether it is a ping, and the call. A ping with an id is a playback of its own."""
    if random.random() < 0.1:
        view = ingest_pb2.TrackCourseViewRequest(course_id=course.id, event_id=event_id)
        return False, lambda stub, metadata: stub.TrackCourseView(view, metadata=metadata, timeout=CALL_SECONDS)
    lecture, start = random.choice(course.lectures), random.choice(STARTS)
    ping = ingest_pb2.TrackTelemetryRequest(
        course_id=course.id,
        lecture_id=lecture.id,
        watch_time_delta=PING_SECONDS,
        event_id=event_id,
        playback_id=event_id,
        played=[ingest_pb2.PlayedRange(from_seconds=start, to_seconds=start + PING_SECONDS)],
        duration_seconds=STARTS[-1] + PING_SECONDS,
    )
    return True, lambda stub, metadata: stub.TrackTelemetry(ping, metadata=metadata, timeout=CALL_SECONDS)


async def reader(
    server: grpc.aio.Channel, account: Account, metadata: Metadata, audit: Audit, stop: asyncio.Event
) -> None:
    """Looks at one course again and again until `stop`, and holds what it sees against the ledger."""
    stub = dashboard_pb2_grpc.DashboardServiceStub(server)
    request = dashboard_pb2.GetCourseDashboardRequest(course_id=account.course_id)
    shown = 0
    while not stop.is_set():
        low = account.acknowledged
        try:
            dashboard = await stub.GetCourseDashboard(request, metadata=metadata, timeout=CALL_SECONDS)
        except grpc.aio.AioRpcError as error:
            audit.unexpected_errors += error.code() not in EXPECTED
        else:
            shown = audit.read(dashboard, shown, low, account.attempted)
        await asyncio.sleep(THINK_SECONDS)


async def comparer(
    server: grpc.aio.Channel, course: Course, account: Account, *, metadata: Metadata, audit: Audit, stop: asyncio.Event
) -> None:
    """Looks at a course's lectures, days and totals, in this order: none has more than the totals.

    Until `stop`, and once at least.
    """
    stub: dashboard_pb2_grpc.DashboardServiceAsyncStub = dashboard_pb2_grpc.DashboardServiceStub(server)
    seen, has_compared = Shown(0, 0, 0), False
    while not (stop.is_set() and has_compared):
        low = Shown(account.acknowledged_pings, account.acknowledged, account.acknowledged)
        try:
            shown = await _all_tallies(stub, course, metadata, audit)
        except grpc.aio.AioRpcError as error:
            audit.unexpected_errors += error.code() not in EXPECTED
        else:
            seen, has_compared = audit.compare(shown, seen, low), True
        await asyncio.sleep(THINK_SECONDS)


async def _all_tallies(
    stub: "dashboard_pb2_grpc.DashboardServiceAsyncStub", course: Course, metadata: Metadata, audit: Audit
) -> Shown:
    pings = 0
    for lecture in course.lectures:
        of_lecture = dashboard_pb2.GetLectureHeatmapRequest(course_id=course.id, lecture_id=lecture.id)
        heatmap = await stub.GetLectureHeatmap(of_lecture, metadata=metadata, timeout=CALL_SECONDS)
        audit.views_above_playbacks += exceeds_playbacks(heatmap)
        pings += pings_watched(heatmap)
    of_days = dashboard_pb2.GetCourseReportRequest(course_id=course.id)
    report = await stub.GetCourseReport(of_days, metadata=metadata, timeout=CALL_SECONDS)
    of_course = dashboard_pb2.GetCourseDashboardRequest(course_id=course.id)
    dashboard = await stub.GetCourseDashboard(of_course, metadata=metadata, timeout=CALL_SECONDS)
    return Shown(pings, events_of_days(report), events_shown(dashboard))

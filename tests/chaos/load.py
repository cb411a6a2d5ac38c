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
from tests.chaos.ledger import PING_SECONDS, Account, Audit

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
        call = _event(course, event_id)
        while not await succeeds(lambda call=call: call(random.choice(stubs), metadata), audit):  # type: ignore[misc]
            if not account.retried:
                break
        else:
            account.acknowledged += 1
        await asyncio.sleep(THINK_SECONDS)


def _event_ids(*, retried: bool) -> Iterator[str | None]:
    return (secrets.token_hex(8) if retried else None for _ in itertools.count())


def _event(course: Course, event_id: str | None) -> Callable[..., "grpc.aio.UnaryUnaryCall[object, object]"]:
    if random.random() < 0.1:
        view = ingest_pb2.TrackCourseViewRequest(course_id=course.id, event_id=event_id)
        return lambda stub, metadata: stub.TrackCourseView(view, metadata=metadata, timeout=CALL_SECONDS)
    lecture = random.choice(course.lectures)
    ping = ingest_pb2.TrackTelemetryRequest(
        course_id=course.id, lecture_id=lecture.id, watch_time_delta=PING_SECONDS, event_id=event_id
    )
    return lambda stub, metadata: stub.TrackTelemetry(ping, metadata=metadata, timeout=CALL_SECONDS)


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

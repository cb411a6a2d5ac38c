"""A player, and what it can tell of an answer."""

import time
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass

import grpc
import jwt
import pytest
from course_analytics.v1 import ingest_pb2, ingest_pb2_grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc_status import rpc_status

from devstack.seed import DEMO_COURSE
from tests.servers import JWT_SECRET

COURSE = DEMO_COURSE.id
FIRST, SECOND = DEMO_COURSE.lectures[0].id, DEMO_COURSE.lectures[1].id
NONE = "65000000000000000000ffff"

Metadata = Sequence[tuple[str, str]]
Ranges = Sequence[tuple[float, float]]


def token(secret: str = JWT_SECRET, algorithm: str = "HS256", **claims: object) -> str:
    """A good token of Ann's, but for the claims that are given; a claim of None is left out."""
    all_claims = {"sub": "ann", "exp": time.time() + 3600, **claims}
    return jwt.encode({name: value for name, value in all_claims.items() if value is not None}, secret, algorithm)


def bearer(text: str | None = None) -> Metadata:
    return [("authorization", f"Bearer {text or token()}")]


@dataclass(frozen=True)
class Player:
    """Calls of the contract; the defaults are good ones."""

    channel: grpc.aio.Channel

    @property
    def stub(self) -> "ingest_pb2_grpc.IngestServiceAsyncStub":
        return ingest_pb2_grpc.IngestServiceStub(self.channel)

    async def view(
        self, course: str = COURSE, *, event: str | None = None, metadata: Metadata | None = None, timeout: float = 30
    ) -> str:
        request = ingest_pb2.TrackCourseViewRequest(course_id=course, event_id=event)
        answer = await self.stub.TrackCourseView(request, metadata=metadata or bearer(), timeout=timeout)
        return answer.message

    async def ping(
        self,
        course: str = COURSE,
        lecture: str = FIRST,
        seconds: float = 5,
        *,
        event: str | None = None,
        playback: str | None = None,
        played: Ranges = (),
        duration: float | None = None,
        metadata: Metadata | None = None,
        timeout: float = 30,
    ) -> str:
        request = ingest_pb2.TrackTelemetryRequest(
            course_id=course,
            lecture_id=lecture,
            watch_time_delta=seconds,
            event_id=event,
            playback_id=playback,
            played=[ingest_pb2.PlayedRange(from_seconds=start, to_seconds=end) for start, end in played],
            duration_seconds=duration,
        )
        answer = await self.stub.TrackTelemetry(request, metadata=metadata or bearer(), timeout=timeout)
        return answer.message


@dataclass(frozen=True)
class Refusal:
    """An answer other than OK, with what its details say."""

    code: grpc.StatusCode
    message: str
    bad_fields: list[str]
    retry_seconds: float | None
    reason: str
    took: float


async def refusal(call: Awaitable[object]) -> Refusal:
    """How the call is refused; a call that is not fails the test."""
    started = time.monotonic()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    took = time.monotonic() - started
    bad_request, retry, info = BadRequest(), RetryInfo(), ErrorInfo()
    status = rpc_status.from_call(refused.value)  # type: ignore[arg-type] # it has what a synchronous call has
    for detail in status.details if status else ():
        detail.Unpack(bad_request)
        detail.Unpack(retry)
        detail.Unpack(info)
    return Refusal(
        code=refused.value.code(),
        message=refused.value.details() or "",
        bad_fields=[violation.field for violation in bad_request.field_violations],
        retry_seconds=retry.retry_delay.seconds or None,
        reason=info.reason,
        took=took,
    )

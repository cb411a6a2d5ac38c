"""Backends that send more than the service can count, each in a process of its own, and a learner beside them."""

import asyncio
import os
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import grpc
from course_analytics.v1 import ingest_pb2, ingest_pb2_grpc

from devstack.tokens import mint
from tests.chaos.ledger import PING_SECONDS

BATCHES_AT_ONCE = 16
STREAMS = 2
EVENTS = 1000
USERS = 500  # in whose names a backend reports
CALL_SECONDS = 30
PAUSE_SECONDS = 0.05  # of the learner between two pings, and of a sender after a refusal


@dataclass(frozen=True, slots=True)
class Lecture:
    """Whose watch time is reported."""

    course_id: str
    lecture_id: str


@dataclass(slots=True)
class Sent:
    """What came of it: the events acknowledged, and how often a call ended with another status than OK."""

    acknowledged: int = 0
    refused: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Seen:
    """The seconds that each ping of the learner took, and the statuses of those that failed."""

    seconds: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)

    def p99(self) -> float:
        """The 99th percentile, in seconds; infinite without any."""
        return sorted(self.seconds)[int(0.99 * len(self.seconds))] if self.seconds else float("inf")


def send(address: str, secret: str, lecture: Lecture, seconds: float) -> Sent:
    """Sends batches and streams of events, no id twice, as fast as they are taken.

    Gives way to the servers, which share its machine here: what is tried is their queue, not the system's scheduler.
    """
    os.nice(10)
    return asyncio.run(_send(address, secret, lecture, seconds))


def learn(address: str, secret: str, lecture: Lecture, seconds: float) -> Seen:
    """Pings again and again, one at a time."""
    return asyncio.run(_learn(address, secret, lecture, seconds))


async def _send(address: str, secret: str, lecture: Lecture, seconds: float) -> Sent:
    async with grpc.aio.insecure_channel(address) as channel:
        backend = Backend(channel, secret, lecture, end=time.monotonic() + seconds)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(BATCHES_AT_ONCE):
                tasks.create_task(backend.send_batches())
            for _ in range(STREAMS):
                tasks.create_task(backend.stream())
    return backend.sent


class Backend:
    """One that reports for its users until `end`, a monotonic time."""

    def __init__(self, channel: grpc.aio.Channel, secret: str, lecture: Lecture, *, end: float) -> None:
        self._stub: ingest_pb2_grpc.IngestServiceAsyncStub = ingest_pb2_grpc.IngestServiceStub(channel)
        token = mint(secret, f"backend-{lecture.course_id}", scope="analytics:write")
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._lecture = lecture
        self._end = end
        self.sent = Sent()

    async def send_batches(self) -> None:
        """One after the other."""
        while time.monotonic() < self._end:
            request = ingest_pb2.TrackBatchRequest(events=_events(self._lecture))
            try:
                answer = await self._stub.TrackBatch(request, metadata=self._metadata, timeout=CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                self.sent.refused[error.code().name] += 1
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                self.sent.acknowledged += answer.accepted

    async def stream(self) -> None:
        """As many as are taken."""
        try:
            async for answer in self._stub.TrackStream(self._requests(), metadata=self._metadata):
                self.sent.acknowledged += answer.accepted
        except grpc.aio.AioRpcError as error:
            self.sent.refused[error.code().name] += 1

    async def _requests(self) -> AsyncIterator[ingest_pb2.TrackStreamRequest]:
        while time.monotonic() < self._end:
            yield ingest_pb2.TrackStreamRequest(events=_events(self._lecture))


def _events(lecture: Lecture) -> list[ingest_pb2.Event]:
    return [_event(lecture, secrets.token_hex(12), f"user-{number % USERS}") for number in range(EVENTS)]


def _event(lecture: Lecture, unique: str, user: str) -> ingest_pb2.Event:
    return ingest_pb2.Event(telemetry=_ping(lecture, unique, user))


def _ping(lecture: Lecture, unique: str, user: str | None = None) -> ingest_pb2.TrackTelemetryRequest:
    return ingest_pb2.TrackTelemetryRequest(
        course_id=lecture.course_id,
        lecture_id=lecture.lecture_id,
        watch_time_delta=PING_SECONDS,
        event_id=unique,
        playback_id=unique,
        user_id=user,
    )


async def _learn(address: str, secret: str, lecture: Lecture, seconds: float) -> Seen:
    seen, end = Seen(), time.monotonic() + seconds
    metadata = (("authorization", f"Bearer {mint(secret, 'the lone learner')}"),)
    async with grpc.aio.insecure_channel(address) as channel:
        stub: ingest_pb2_grpc.IngestServiceAsyncStub = ingest_pb2_grpc.IngestServiceStub(channel)
        while (begun := time.monotonic()) < end:
            try:
                ping = _ping(lecture, secrets.token_hex(12))
                await stub.TrackTelemetry(ping, metadata=metadata, timeout=CALL_SECONDS)
            except grpc.aio.AioRpcError as error:
                seen.failed[error.code().name] += 1
            else:
                seen.seconds.append(time.monotonic() - begun)
            await asyncio.sleep(PAUSE_SECONDS)
    return seen

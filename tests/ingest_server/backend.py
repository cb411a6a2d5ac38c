"""A backend that reports for its users: its events, and how it sends them in batches and streams."""

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import grpc
from course_analytics.v1 import ingest_pb2, ingest_pb2_grpc

from devstack.programs import PROBE_OPTIONS
from tests.ingest_server.client import COURSE, FIRST, Metadata, Player, bearer, token
from tests.servers import PATIENCE

BACKEND = bearer(token(sub="backend", scope="analytics:write"))

Events = Sequence[ingest_pb2.Event]


def view(course: str = COURSE, *, event: str | None = None, user: str | None = None) -> ingest_pb2.Event:
    request = ingest_pb2.TrackCourseViewRequest(course_id=course, event_id=event, user_id=user)
    return ingest_pb2.Event(course_view=request)


def ping(
    course: str = COURSE,
    lecture: str = FIRST,
    seconds: float = 5,
    *,
    event: str | None = None,
    playback: str | None = None,
    user: str | None = None,
) -> ingest_pb2.Event:
    request = ingest_pb2.TrackTelemetryRequest(
        course_id=course,
        lecture_id=lecture,
        watch_time_delta=seconds,
        event_id=event,
        playback_id=playback,
        user_id=user,
    )
    return ingest_pb2.Event(telemetry=request)


class Report(NamedTuple):
    """How many events of a batch are accepted, and index and reason of the others."""

    accepted: int
    rejected: list[tuple[int, str]]


def _report(answer: ingest_pb2.TrackBatchResponse | ingest_pb2.TrackStreamResponse) -> Report:
    return Report(answer.accepted, [(rejected.index, rejected.reason) for rejected in answer.rejected])


async def report(player: Player, events: Events, metadata: Metadata | None = None) -> Report:
    """Sends a batch."""
    request = ingest_pb2.TrackBatchRequest(events=events)
    return _report(await player.stub.TrackBatch(request, metadata=metadata or bearer(), timeout=30))


async def report_alone(player: Player, event: ingest_pb2.Event, metadata: Metadata | None = None) -> str:
    """Sends one event by the call that is its own."""
    metadata = metadata or bearer()
    if event.HasField("telemetry"):
        return (await player.stub.TrackTelemetry(event.telemetry, metadata=metadata, timeout=30)).message
    return (await player.stub.TrackCourseView(event.course_view, metadata=metadata, timeout=30)).message


class Exchange(NamedTuple):
    """What came of a stream: its answers, and the status it ended with."""

    answers: list[Report]
    code: grpc.StatusCode
    message: str

    @property
    def accepted(self) -> list[int]:
        return [answer.accepted for answer in self.answers]


async def exchange(
    address: str, batches: Iterable[Events], metadata: Metadata | None = None, answers: list[Report] | None = None
) -> Exchange:
    """Sends the batches by one stream, or as many as it takes before it ends; `answers` shows them as they come.

    With the synchronous client: the asyncio one reports INTERNAL when it is writing while the server ends the call.
    """
    return await asyncio.to_thread(
        _exchange, address, batches, metadata or bearer(), [] if answers is None else answers
    )


def _exchange(address: str, batches: Iterable[Events], metadata: Metadata, answers: list[Report]) -> Exchange:
    def requests() -> Iterator[ingest_pb2.TrackStreamRequest]:
        for events in batches:
            yield ingest_pb2.TrackStreamRequest(events=events)

    with grpc.insecure_channel(address, options=PROBE_OPTIONS) as channel:
        call = ingest_pb2_grpc.IngestServiceStub(channel).TrackStream(
            requests(), metadata=tuple(metadata), timeout=PATIENCE
        )
        try:
            for answer in call:
                answers.append(_report(answer))  # noqa: PERF401 - others look at the list meanwhile
        except grpc.RpcError:
            pass
        return Exchange(answers, call.code(), call.details() or "")


class Stream:
    """A stream whose batches and answers a test takes one by one."""

    def __init__(self, player: Player, metadata: Metadata | None = None) -> None:
        call: grpc.aio.StreamStreamCall[Any, ingest_pb2.TrackStreamResponse]
        call = player.stub.TrackStream(metadata=metadata or bearer())
        self._call = call
        self._answers = aiter(call)
        self.sent = 0

    async def send(self, *batches: Events) -> None:
        """Sends the batches, or as many as it takes before it ends."""
        for events in batches:
            try:
                await self._call.write(ingest_pb2.TrackStreamRequest(events=events))
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                return
            self.sent += 1

    async def answers(self, number: int) -> list[int]:
        """How many events are accepted of each of the next so many batches."""
        async with asyncio.timeout(PATIENCE):
            return [(await anext(self._answers)).accepted for _ in range(number)]

    async def close(self) -> None:
        """Sends no more."""
        await self._call.done_writing()

    async def end(self) -> grpc.StatusCode:
        """The status that it ends with."""
        async with asyncio.timeout(PATIENCE):
            return await self._call.code()

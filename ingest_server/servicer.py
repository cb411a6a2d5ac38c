"""The gRPC service: who, what, whether it exists, then the commit."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import grpc
from course_analytics.v1 import ingest_pb2, ingest_pb2_grpc

from ingest_server import batches, validation
from ingest_server.catalog import Catalog
from ingest_server.committer import Committer
from ingest_server.identity import UserKey
from ingest_server.stream import Stream
from shared.identity.auth import Caller, TokenVerifier
from shared.serving.errors import CallerGone, answers_errors

VIEW_TRACKED = ingest_pb2.TrackCourseViewResponse(message="tracked")
TELEMETRY_TRACKED = ingest_pb2.TrackTelemetryResponse(message="tracked")

# For the end of a stream to reach its sender.
FAREWELL_SECONDS = 0.25


class IngestServicer(ingest_pb2_grpc.IngestServiceServicer):
    """Answers a call once Redis has counted its events. Streams end when `stop` is set."""

    def __init__(
        self,
        verifier: TokenVerifier,
        user_key: UserKey,
        catalog: Catalog,
        committer: Committer,
        *,
        stop: asyncio.Event,
    ) -> None:
        self._verifier = verifier
        self._user_key = user_key
        self._catalog = catalog
        self._committer = committer
        self._stop = stop
        self._has_streamed = False

    async def farewell(self) -> None:
        """Returns when connections may be closed, after `stop`: senders know by then that their streams have ended.

        A connection that is closed while something still comes in is reset, and the answers that its client has not
        read yet are lost with it.
        """
        if self._has_streamed:
            await asyncio.sleep(FAREWELL_SECONDS)

    @answers_errors
    async def TrackCourseView(
        self, request: ingest_pb2.TrackCourseViewRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> ingest_pb2.TrackCourseViewResponse:
        """Counts a view of a course's page."""
        metadata = context.invocation_metadata()
        caller = self._verifier.caller(metadata) or await self._verifier.caller_by_new_keys(metadata)
        view = validation.course_view(request, self._user(request, caller))
        batches.permit(request, caller)
        if not self._catalog.has(view.course_id):
            await self._catalog.require(view.course_id)
        await self._committer.add(view)
        return VIEW_TRACKED

    @answers_errors
    async def TrackTelemetry(
        self, request: ingest_pb2.TrackTelemetryRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> ingest_pb2.TrackTelemetryResponse:
        """Counts a ping of a player."""
        metadata = context.invocation_metadata()
        caller = self._verifier.caller(metadata) or await self._verifier.caller_by_new_keys(metadata)
        ping = validation.telemetry(request, self._user(request, caller))
        batches.permit(request, caller)
        if not self._catalog.has(ping.course_id, ping.lecture_id):
            await self._catalog.require(ping.course_id, ping.lecture_id)
        await self._committer.add(ping)
        return TELEMETRY_TRACKED

    def _user(self, request: validation.Request, caller: Caller) -> bytes:
        return self._user_key(validation.named_user(request) or caller.user_id)

    @answers_errors
    async def TrackBatch(
        self, request: ingest_pb2.TrackBatchRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> ingest_pb2.TrackBatchResponse:
        """Counts many events."""
        metadata = context.invocation_metadata()
        caller = self._verifier.caller(metadata) or await self._verifier.caller_by_new_keys(metadata)
        batch = batches.parse(request.events, caller, self._user_key)
        accepted = await batches.count(batch, self._catalog, self._committer)
        return ingest_pb2.TrackBatchResponse(accepted=accepted, rejected=batch.rejected)

    @answers_errors
    async def TrackStream(  # type: ignore[override] # grpc.aio also takes a coroutine that reads and writes by itself
        self, _requests: object, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> None:
        """Counts batch after batch."""
        metadata = context.invocation_metadata()
        caller = self._verifier.caller(metadata) or await self._verifier.caller_by_new_keys(metadata)
        self._has_streamed = True

        async def read() -> ingest_pb2.TrackStreamRequest | None:
            request: Any = await context.read()
            return None if request is grpc.aio.EOF else request

        def start(
            request: ingest_pb2.TrackStreamRequest,
        ) -> Coroutine[Any, Any, ingest_pb2.TrackStreamResponse]:
            return answer(batches.parse(request.events, caller, self._user_key))

        async def answer(batch: batches.SortedEvents) -> ingest_pb2.TrackStreamResponse:
            accepted = await batches.count(batch, self._catalog, self._committer, held=True)
            return ingest_pb2.TrackStreamResponse(accepted=accepted, rejected=batch.rejected)

        async def send(response: ingest_pb2.TrackStreamResponse) -> None:
            try:
                await context.write(response)
            except grpc.aio.InternalError:
                raise CallerGone("the sender has gone") from None

        stream = Stream(read, start, send)
        await stream.serve(seconds_left=caller.expires - time.time(), stop=self._stop)

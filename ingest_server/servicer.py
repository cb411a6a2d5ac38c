"""The gRPC service: checks the caller, the event and the catalog, then adds to the commit."""

import asyncio
import time
from typing import Any

import grpc
from course_analytics.v1 import ingest_pb2

from ingest_server import batches, validation
from ingest_server.admission import Admission
from ingest_server.catalog import Catalog
from ingest_server.committer import Committer
from ingest_server.identity import UserKey
from ingest_server.reasons import refused
from ingest_server.refusals import Refusals
from ingest_server.stream import Received, Stream, StreamsOfUsers
from shared.identity.auth import Caller
from shared.serving import methods
from shared.serving.errors import CallerGone, ServiceError
from shared.serving.methods import Context
from shared.serving.sent import Sent

VIEW_TRACKED = ingest_pb2.TrackCourseViewResponse(message="tracked")
TELEMETRY_TRACKED = ingest_pb2.TrackTelemetryResponse(message="tracked")


class IngestServicer:
    """Answers a call once Redis has counted its events. Streams end when `stop` is set."""

    def __init__(
        self,
        admission: Admission,
        user_key: UserKey,
        catalog: Catalog,
        committer: Committer,
        refusals: Refusals,
        *,
        stop: asyncio.Event,
    ) -> None:
        self._admission = admission
        self._user_key = user_key
        self._catalog = catalog
        self._committer = committer
        self._refusals = refusals
        self._stop = stop
        self._streams = StreamsOfUsers()
        # A batch takes milliseconds. One at a time, so that a ping waits for one batch, not for all of them.
        self._one_batch = asyncio.Lock()

    async def TrackCourseView(
        self, request: ingest_pb2.TrackCourseViewRequest, caller: Caller, _context: Context
    ) -> ingest_pb2.TrackCourseViewResponse:
        """Counts a view of a course's page."""
        try:
            view = validation.course_view(request, self._user(request, caller))
            batches.permit(request, caller)
            if not self._catalog.has(view.course_id):
                await self._catalog.require(view.course_id)
            await self._committer.add(view, caller.user_id)
        except ServiceError as error:
            self._refusals.count([refused(request.course_id, 0, error)])
            raise
        return VIEW_TRACKED

    async def TrackTelemetry(
        self, request: ingest_pb2.TrackTelemetryRequest, caller: Caller, _context: Context
    ) -> ingest_pb2.TrackTelemetryResponse:
        """Counts a ping of a player."""
        try:
            ping = validation.telemetry(request, self._user(request, caller))
            batches.permit(request, caller)
            if not self._catalog.has(ping.course_id, ping.lecture_id):
                await self._catalog.require(ping.course_id, ping.lecture_id)
            await self._committer.add(ping, caller.user_id)
        except ServiceError as error:
            self._refusals.count([refused(request.course_id, validation.seconds_of(request), error)])
            raise
        return TELEMETRY_TRACKED

    def _user(self, request: validation.Request, caller: Caller) -> bytes:
        return self._user_key(validation.named_user(request) or caller.user_id)

    async def TrackBatch(
        self, request: ingest_pb2.TrackBatchRequest, caller: Caller, _context: Context
    ) -> ingest_pb2.TrackBatchResponse:
        """Counts many events."""
        async with self._one_batch:
            batches.permit_all(request, caller)
            batches.check_room(request.events, caller, self._committer, self._refusals)
            batch = await batches.parse(request.events, caller, self._user_key)
        accepted = await batches.count(batch, caller, self._catalog, self._committer, self._refusals)
        return ingest_pb2.TrackBatchResponse(accepted=accepted, rejected=batch.rejected)

    async def TrackStream(self, caller: Caller, context: Context) -> None:
        """Counts batch after batch."""

        async def read() -> Received[batches.SortedEvents] | None:
            sent: Any = await context.read()
            if sent is grpc.aio.EOF:
                return None
            data = await self._admission.wait(Sent(sent), caller)
            request = methods.parse(ingest_pb2.TrackStreamRequest, data)
            async with self._one_batch:
                batches.permit_all(request, caller)
                return Received(await batches.parse(request.events, caller, self._user_key), len(data))

        async def answer(batch: batches.SortedEvents) -> bytes:
            accepted = await batches.count(batch, caller, self._catalog, self._committer, self._refusals, held=True)
            response = ingest_pb2.TrackStreamResponse(accepted=accepted, rejected=batch.rejected)
            return response.SerializeToString()

        async def send(response: bytes) -> None:
            try:
                await context.write(response)
            except grpc.aio.InternalError:
                raise CallerGone("the sender has gone") from None

        with self._streams.one_of(caller.user_id):
            stream = Stream(read, answer, send)
            await stream.serve(seconds_left=caller.expires - time.time(), stop=self._stop)

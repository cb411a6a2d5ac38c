"""The gRPC service: who, what, whether it exists, then the commit."""

from typing import Any

import grpc
from course_analytics.v1 import ingest_pb2, ingest_pb2_grpc

from ingest_server import validation
from ingest_server.catalog import Catalog
from ingest_server.committer import Committer
from ingest_server.identity import UserKey
from shared.auth import TokenVerifier
from shared.errors import answers_errors

VIEW_TRACKED = ingest_pb2.TrackCourseViewResponse(message="tracked")
TELEMETRY_TRACKED = ingest_pb2.TrackTelemetryResponse(message="tracked")


class IngestServicer(ingest_pb2_grpc.IngestServiceServicer):
    """Answers a call once Redis has counted its event."""

    def __init__(self, verifier: TokenVerifier, user_key: UserKey, catalog: Catalog, committer: Committer) -> None:
        self._verifier = verifier
        self._user_key = user_key
        self._catalog = catalog
        self._committer = committer

    @answers_errors
    async def TrackCourseView(
        self, request: ingest_pb2.TrackCourseViewRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> ingest_pb2.TrackCourseViewResponse:
        """Counts a view of a course's page."""
        caller = self._verifier.caller(context.invocation_metadata())
        view = validation.course_view(request, self._user_key(caller.user_id))
        await self._catalog.require(view.course_id)
        await self._committer.add(view)
        return VIEW_TRACKED

    @answers_errors
    async def TrackTelemetry(
        self, request: ingest_pb2.TrackTelemetryRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> ingest_pb2.TrackTelemetryResponse:
        """Counts a ping of a player."""
        caller = self._verifier.caller(context.invocation_metadata())
        ping = validation.telemetry(request, self._user_key(caller.user_id))
        await self._catalog.require(ping.course_id, ping.lecture_id)
        await self._committer.add(ping)
        return TELEMETRY_TRACKED

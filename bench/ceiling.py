"""The ceiling: a `grpc.aio` server whose handlers do nothing. `python -m bench.ceiling HOST:PORT`."""

import sys
from typing import Any

import grpc
import uvloop
from course_analytics.v1 import ingest_pb2, ingest_pb2_grpc

from ingest_server.admission import MAX_BATCH_BYTES
from shared.serving import accepting, lifecycle
from shared.serving.calls import Calls

TRACKED = ingest_pb2.TrackTelemetryResponse(message="tracked")
COUNTED = ingest_pb2.TrackBatchResponse(accepted=0)


class Nothing(ingest_pb2_grpc.IngestServiceServicer):
    """Answers at once."""

    async def TrackTelemetry(
        self, request: ingest_pb2.TrackTelemetryRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> ingest_pb2.TrackTelemetryResponse:
        """Counts nothing."""
        del request, context
        return TRACKED

    async def TrackBatch(
        self, request: ingest_pb2.TrackBatchRequest, context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> ingest_pb2.TrackBatchResponse:
        """Counts nothing."""
        del request, context
        return COUNTED


async def serve(address: str) -> None:
    """Serves with the same options as the real servers, and gRPC as it is otherwise, until a signal."""
    accepting.TRIED_VERSIONS = frozenset()
    stop = lifecycle.stop_on_signal()
    service = ingest_pb2.DESCRIPTOR.services_by_name["IngestService"].full_name
    server, health = await lifecycle.grpc_server(
        address, [service], shared_port=False, max_message_bytes=MAX_BATCH_BYTES
    )
    ingest_pb2_grpc.add_IngestServiceServicer_to_server(Nothing(), server)  # type: ignore[abstract] # see there
    readiness = lifecycle.Readiness(health, service)
    readiness.set({})
    await lifecycle.serve_until(stop, server, readiness, Calls())


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))

"""Reports five seconds of a lecture: `.venv/bin/python docs/examples/report.py TOKEN COURSE LECTURE [ADDRESS]`."""

import asyncio
import sys

import grpc
from course_analytics.v1 import ingest_pb2, ingest_pb2_grpc


async def report(token: str, course_id: str, lecture_id: str, address: str = "127.0.0.1:50051") -> None:
    """Sends one ping to the ingest server and prints its answer."""
    async with grpc.aio.insecure_channel(address) as channel:
        stub = ingest_pb2_grpc.IngestServiceStub(channel)
        ping = ingest_pb2.TrackTelemetryRequest(course_id=course_id, lecture_id=lecture_id, watch_time_delta=5)
        print(await stub.TrackTelemetry(ping, metadata=[("authorization", f"Bearer {token}")], timeout=3))


asyncio.run(report(*sys.argv[1:]))

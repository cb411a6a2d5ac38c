"""The whole service with stores of its own, and the ways in which an attacker speaks to it."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from devstack.child import HOST
from devstack.programs import PROBE_OPTIONS, Program
from devstack.servers import EnvoyServer

USER_HASH_KEY = "the key that makes users unrecognizable, of these tests"

INGEST = "/course_analytics.v1.IngestService"
VIEW, TELEMETRY, BATCH = (f"{INGEST}/{name}" for name in ("TrackCourseView", "TrackTelemetry", "TrackBatch"))
STREAM = f"{INGEST}/TrackStream"
DASHBOARD = "/course_analytics.v1.DashboardService/GetCourseDashboard"
METHODS = (VIEW, TELEMETRY, BATCH, STREAM, DASHBOARD)

Metadata = Sequence[tuple[str, str | bytes]]


@dataclass(frozen=True, slots=True)
class Service:
    """The servers, the gateway, and the stores behind them."""

    ingest: Program
    query: Program
    gateway: EnvoyServer
    redis_url: str
    redis_folder: Path
    mongo_url: str

    def logs(self) -> str:
        """All that the servers have printed."""
        return self.ingest.output() + self.query.output()


class Answer(NamedTuple):
    """How a gRPC call ended."""

    code: grpc.StatusCode
    message: str


class Attacker:
    """Sends bytes, whatever they are, to gRPC methods: straight to the servers, or by the gateway."""

    def __init__(self, ingest: str, query: str) -> None:
        self._ingest = grpc.insecure_channel(ingest, options=PROBE_OPTIONS)
        self._query = grpc.insecure_channel(query, options=PROBE_OPTIONS)

    def close(self) -> None:
        self._ingest.close()
        self._query.close()

    def send(
        self, method: str, data: bytes, metadata: Metadata = (), compression: grpc.Compression | None = None
    ) -> Answer:
        channel = self._query if method == DASHBOARD else self._ingest
        options: dict[str, Any] = {"metadata": tuple(metadata), "timeout": 20, "compression": compression}
        try:
            if method == STREAM:
                # Without serializers bytes go as they are, which the type information does not know.
                list(channel.stream_stream(method)(iter([data]), **options))  # type: ignore[arg-type] # options of any type
            else:
                channel.unary_unary(method)(data, **options)  # type: ignore[arg-type] # options of any type
        except grpc.RpcError as error:
            # A client's error is its call too, which the type information does not know.
            return Answer(error.code(), error.details() or "")
        return Answer(grpc.StatusCode.OK, "")


class Response(NamedTuple):
    """An HTTP/1.1 response."""

    status: int
    content_type: str
    body: bytes


def speak(port: int, request: bytes) -> Response:
    """Sends the bytes over a connection of their own, and reads one response."""
    with socket.create_connection((HOST, port), timeout=15) as connection:
        connection.sendall(request)
        with HTTPResponse(connection) as response:
            response.begin()
            return Response(response.status, response.headers.get("content-type", ""), response.read())


def request(
    method: str, path: str, body: bytes = b"", *headers: str, version: str = "HTTP/1.1", length: bool = True
) -> bytes:
    """An HTTP/1.1 request with these header lines and few others, none of them checked."""
    lines = [f"{method} {path} {version}", "host: attacked", "connection: close", *headers]
    if length:
        lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode("utf-8", "surrogateescape") + b"\r\n\r\n" + body

"""Callers share the gateway's connections to the servers: what one of them sends is never another's trouble."""

import socket
import struct

import grpc
import pytest
from course_analytics.v1 import ingest_pb2, ingest_pb2_grpc

from bench.h2 import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, Call, frame, literal
from tests.ingest_server.client import COURSE, bearer, token
from tests.security.stage import VIEW, Service


def call_with(address: str, name: str, value: str) -> None:
    """A gRPC call with a header that no client library would send; returns when it was answered."""
    call = Call.grpc(VIEW, token(), ingest_pb2.TrackCourseViewRequest(course_id=COURSE).SerializeToString())
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=15) as connection, connection.makefile("rb") as received:
        headers = frame(HEADERS, END_HEADERS, 1, call.headers + literal(name, value))
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0) + headers + frame(DATA, END_STREAM, 1, call.data))
        flags = stream = 0
        while not (stream == 1 and flags & END_STREAM):
            length_and_kind, flags, stream = struct.unpack(">IBI", received.read(9))
            received.read(length_and_kind >> 8)


@pytest.mark.parametrize("value", ["abc", "-1S", "0.5S", "999999999999S", ""])
def test_a_malformed_deadline_fails_only_its_own_call(service: Service, value: str) -> None:
    """The gateway sends both calls along one connection, in which headers are named by what came before."""
    call_with(service.gateway.address, "grpc-timeout", value)

    with grpc.insecure_channel(service.gateway.address) as channel:
        stub = ingest_pb2_grpc.IngestServiceStub(channel)
        request = ingest_pb2.TrackCourseViewRequest(course_id=COURSE)
        assert "tracked" == stub.TrackCourseView(request, metadata=tuple(bearer()), timeout=15).message

"""Floods of HTTP/2 frames, which cost less to send than to take: they end their connection, and nobody else's."""

import itertools
import socket
import struct
from collections.abc import Callable, Iterator

import httpx
import pytest

from bench.h2 import DATA, END_HEADERS, HEADERS, INITIAL_WINDOW_SIZE, PING, PREFACE, SETTINGS, frame
from devstack.child import HOST
from devstack.tokens import mint
from tests.gateway.conftest import Service, caller
from tests.gateway.rest import TELEMETRY, VIEW
from tests.servers import JWT_SECRET, PATIENCE
from tests.siege.wire import headers

RST_STREAM, CONTINUATION = 3, 9
CANCEL = struct.pack(">I", 8)
ENOUGH = 200_000  # frames

Flood = Callable[[bytes], Iterator[bytes]]


def resets(block: bytes) -> Iterator[bytes]:
    for stream in itertools.count(1, 2):
        yield frame(HEADERS, END_HEADERS, stream, block) + frame(RST_STREAM, 0, stream, CANCEL)


def pings(_block: bytes) -> Iterator[bytes]:
    return itertools.repeat(frame(PING, 0, 0, bytes(8)))


def settings(_block: bytes) -> Iterator[bytes]:
    return itertools.repeat(frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, 65_535)))


def empty_data(block: bytes) -> Iterator[bytes]:
    return itertools.chain([frame(HEADERS, END_HEADERS, 1, block)], itertools.repeat(frame(DATA, 0, 1)))


def empty_continuations(block: bytes) -> Iterator[bytes]:
    return itertools.chain([frame(HEADERS, 0, 1, block)], itertools.repeat(frame(CONTINUATION, 0, 1)))


def long_continuations(block: bytes) -> Iterator[bytes]:
    more = frame(CONTINUATION, 0, 1, headers("/", x_long="x" * 1000))
    return itertools.chain([frame(HEADERS, 0, 1, block)], itertools.repeat(more))


@pytest.mark.parametrize("flood", [resets, pings, settings, empty_data, empty_continuations, long_continuations])
def test_a_flood_of_frames_closes_only_its_own_connection(service: Service, flood: Flood) -> None:
    block = headers(TELEMETRY, content_type="application/json", authorization=f"Bearer {mint(JWT_SECRET, 'eve')}")
    with caller(service.gateway, "ann") as ann, socket.create_connection((HOST, service.gateway.port)) as connection:
        assert httpx.codes.OK == ann.post(VIEW).status_code
        connection.settimeout(PATIENCE)

        assert is_ended(connection, flood(block)), "it took all of them"

        assert httpx.codes.OK == ann.post(VIEW).status_code


def is_ended(connection: socket.socket, frames: Iterator[bytes]) -> bool:
    """Whether the other side closes the connection, of which nothing is read before, because of these frames."""
    try:
        connection.sendall(PREFACE + frame(SETTINGS, 0, 0))
        for _ in range(ENOUGH // 1000):
            connection.sendall(b"".join(itertools.islice(frames, 1000)))
        while connection.recv(65_536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        return True
    return True

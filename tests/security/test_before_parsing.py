"""What is decided before a message is unpacked or parsed, so that it costs nothing."""

import grpc
import pytest
from grpc import StatusCode

from tests.ingest_server.backend import BACKEND, ping
from tests.security.stage import BATCH, DASHBOARD, METHODS, STREAM, TELEMETRY, VIEW, Attacker

NO_MESSAGE = b"\xff\xff"
BOMB = b"\0" * 20_000_000  # 20 KB in gzip; unpacked it would be refused for its size


@pytest.mark.parametrize("method", METHODS)
def test_a_message_is_not_unpacked_before_the_token(attacker: Attacker, method: str) -> None:
    answer = attacker.send(method, BOMB, compression=grpc.Compression.Gzip)

    assert StatusCode.UNAUTHENTICATED == answer.code


@pytest.mark.parametrize("method", METHODS)
def test_a_message_is_not_parsed_before_the_token(attacker: Attacker, method: str) -> None:
    assert StatusCode.UNAUTHENTICATED == attacker.send(method, NO_MESSAGE).code


@pytest.mark.parametrize("method", [BATCH, STREAM])
def test_events_are_counted_before_they_are_parsed(attacker: Attacker, method: str) -> None:
    answer = attacker.send(method, b"\x0a\x00" * 1101 + NO_MESSAGE, BACKEND)

    assert (StatusCode.INVALID_ARGUMENT, "events: must be 1 to 1,000 events") == answer


@pytest.mark.parametrize("method", [VIEW, TELEMETRY, DASHBOARD])
@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip])
def test_the_message_of_a_single_call_has_64_kib_at_most(
    attacker: Attacker, method: str, compression: grpc.Compression | None
) -> None:
    answer = attacker.send(method, NO_MESSAGE + b"\0" * 64 * 1024, BACKEND, compression)

    assert StatusCode.RESOURCE_EXHAUSTED == answer.code


def test_a_batch_may_be_longer_and_compressed(attacker: Attacker) -> None:
    event = ping("x" * 100).SerializeToString()
    batch = b"".join(b"\x0a" + bytes([0x80 | len(event) & 0x7F, len(event) >> 7]) + event for _ in range(1000))
    assert len(batch) > 128 * 1024

    assert StatusCode.OK == attacker.send(BATCH, batch, BACKEND, grpc.Compression.Gzip).code

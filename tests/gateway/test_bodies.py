"""How many bytes the gateway takes of one caller. A call that it lets pass gets 503: it has no server."""

from collections.abc import Callable

import grpc
import pytest

from devstack.servers import EnvoyServer
from devstack.tokens import mint
from tests.gateway.conftest import caller
from tests.gateway.rest import TELEMETRY, VIEW, body_of, with_bucket
from tests.gateway.test_batches import BATCH
from tests.servers import JWT_SECRET, PATIENCE

PASSED, LIMITED = 503, 429
MIB = 1024 * 1024


def test_a_users_bodies_are_limited_by_their_bytes(start_gateway: Callable[..., EnvoyServer]) -> None:
    change = with_bucket(16 * MIB, 1000)
    with caller(start_gateway(change=change), "ann") as ann:
        sizes = [600, 600, 300, 300, 0, 0]
        assert [PASSED, LIMITED, PASSED, LIMITED, PASSED, PASSED] == [
            ann.post(TELEMETRY, content=body_of(size) if size else b"").status_code for size in sizes
        ]


def test_so_are_those_of_an_address_whatever_tokens_it_makes_up(start_gateway: Callable[..., EnvoyServer]) -> None:
    gateway = start_gateway(change=with_bucket(64 * MIB, 1000))
    statuses = []
    for user in ("ann", "bob", "eve"):
        with caller(gateway, user) as one:
            statuses.append(one.post(TELEMETRY, content=body_of(400)).status_code)
    assert [PASSED, PASSED, LIMITED] == statuses


@pytest.mark.parametrize(("path", "tokens"), [(BATCH, 20), (TELEMETRY, 200), (VIEW, 200)])
def test_bodies_that_do_not_say_how_long_they_are_are_few(
    start_gateway: Callable[..., EnvoyServer], path: str, tokens: int
) -> None:
    with caller(start_gateway(change=with_bucket(tokens, 2)), "ann") as ann:
        assert [PASSED, PASSED, LIMITED] == [ann.post(path, content=iter([b"{}"])).status_code for _ in range(3)]
        assert PASSED == ann.post(path, content=b"{}").status_code


@pytest.mark.parametrize(("path", "tokens"), [(BATCH, 40), (TELEMETRY, 1000)])
def test_so_are_those_of_an_address(start_gateway: Callable[..., EnvoyServer], path: str, tokens: int) -> None:
    gateway = start_gateway(change=with_bucket(tokens, 1))
    with caller(gateway, "ann") as ann, caller(gateway, "bob") as bob:
        assert [PASSED, LIMITED] == [one.post(path, content=iter([b"{}"])).status_code for one in (ann, bob)]


def test_a_native_message_that_no_server_takes_is_refused_in_grpcs_words(
    start_gateway: Callable[..., EnvoyServer],
) -> None:
    metadata = (("authorization", f"Bearer {mint(JWT_SECRET, 'backend')}"),)
    with grpc.insecure_channel(start_gateway().address) as channel:
        method: grpc.UnaryUnaryMultiCallable[bytes, bytes]
        method = channel.unary_unary("/course_analytics.v1.IngestService/TrackBatch")
        with pytest.raises(grpc.RpcError) as refused:
            method(bytes(3 * MIB), metadata=metadata, timeout=PATIENCE)
    words = "the message is larger than any that is taken here"
    assert (grpc.StatusCode.RESOURCE_EXHAUSTED, words) == (refused.value.code(), refused.value.details())

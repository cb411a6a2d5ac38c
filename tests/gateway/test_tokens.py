"""Calls without a token, or with an odd one: refused by their headers, whatever follows, in HTTP's own words."""

import base64
import socket
from collections.abc import Callable

import grpc
import httpx
import pytest
from course_analytics.v1 import ingest_pb2, ingest_pb2_grpc

from devstack.servers import EnvoyServer
from devstack.tokens import mint
from tests.gateway.conftest import Service
from tests.gateway.rest import ANALYTICS, DASHBOARD, TELEMETRY, TRACKED, VIEW, assert_refused, ping
from tests.servers import JWT_SECRET, PATIENCE

UNAUTHENTICATED, RESOURCE_EXHAUSTED = 16, 8
NO_TOKEN, BAD_TOKEN = "Bearer", 'Bearer error="invalid_token"'
PASSED, REFUSED, LIMITED = 503, 401, 429


@pytest.fixture
def token() -> str:
    return mint(JWT_SECRET, "learner-of-tokens")


@pytest.mark.parametrize(("method", "path"), [("POST", VIEW), ("POST", TELEMETRY), ("GET", DASHBOARD)])
def test_without_a_token_a_call_is_401_and_asked_for_one(learner: httpx.Client, method: str, path: str) -> None:
    del learner.headers["authorization"]

    response = learner.request(method, path)

    assert_refused(401, UNAUTHENTICATED, response)
    assert NO_TOKEN == response.headers["www-authenticate"]


@pytest.mark.parametrize(
    "authorization",
    ["Basic YTpi", "Bearer", "Bearer a.b", "Bearer a.b.", "Bearer a.b.c=", "Bearer a.b.c, Bearer a.b.c"],
)
def test_a_malformed_token_is_401_and_said_to_be_invalid(learner: httpx.Client, authorization: str) -> None:
    response = learner.post(VIEW, headers={"authorization": authorization})

    assert_refused(401, UNAUTHENTICATED, response)
    assert BAD_TOKEN == response.headers["www-authenticate"]


def test_a_servers_401_says_that_the_token_is_invalid(learner: httpx.Client) -> None:
    response = learner.post(VIEW, headers={"authorization": f"Bearer {mint('another secret ' * 3, 'ann')}"})

    assert_refused(401, UNAUTHENTICATED, response)
    assert BAD_TOKEN == response.headers["www-authenticate"]


@pytest.mark.parametrize("spelling", ["Bearer {}", "Bearer   {}", "bearer {}", "BEARER {}"])
def test_a_token_is_taken_however_the_header_spells_the_rest(learner: httpx.Client, token: str, spelling: str) -> None:
    response = learner.post(TELEMETRY, json=ping(), headers={"authorization": spelling.format(token)})

    assert (200, TRACKED) == (response.status_code, response.json())


def test_a_signature_of_another_spelling_is_refused(learner: httpx.Client, token: str) -> None:
    signed, _, signature = token.rpartition(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    others = [signature[:-1] + last for last in alphabet if last != signature[-1]]
    same_bytes = [one for one in others if decoded(one) == decoded(signature)]

    assert same_bytes
    for one in same_bytes:
        response = learner.post(VIEW, headers={"authorization": f"Bearer {signed}.{one}"})
        assert_refused(401, UNAUTHENTICATED, response)


def decoded(signature: str) -> bytes:
    return base64.urlsafe_b64decode(signature + "=" * (-len(signature) % 4))


def test_native_calls_without_a_token_are_refused_by_the_gateway(start_gateway: Callable[..., EnvoyServer]) -> None:
    with grpc.insecure_channel(start_gateway().address) as channel, pytest.raises(grpc.RpcError) as refused:
        ingest_pb2_grpc.IngestServiceStub(channel).TrackBatch(ingest_pb2.TrackBatchRequest(), timeout=PATIENCE)

    assert grpc.StatusCode.UNAUTHENTICATED == refused.value.code(), "it has no server that could say so"


def test_without_a_token_no_body_is_waited_for(service: Service) -> None:
    head = f"POST {ANALYTICS}/events:batch HTTP/1.1\r\nhost: a\r\ncontent-length: 1048576\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.gateway.port), PATIENCE) as connection:
        connection.sendall(head.encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 401")


def with_buckets(text: str) -> str:
    """Three refusals an address, three calls a user, and none after those."""
    text = text.replace("fill_interval: 1s", "fill_interval: 3600s")
    return text.replace("max_tokens: 1000\n", "max_tokens: 3\n").replace("max_tokens: 5000\n", "max_tokens: 3\n")


def test_an_address_is_refused_only_so_often_and_its_good_calls_pass(
    start_gateway: Callable[..., EnvoyServer], token: str
) -> None:
    gateway = start_gateway(change=with_buckets)
    with httpx.Client(base_url=gateway.url, trust_env=False, timeout=8) as nobody:
        assert [REFUSED] * 3 + [LIMITED] * 2 == [nobody.post(VIEW).status_code for _ in range(5)]
        assert_refused(LIMITED, RESOURCE_EXHAUSTED, nobody.post(VIEW))
        good = nobody.post(VIEW, headers={"authorization": f"Bearer {token}"})

    assert PASSED == good.status_code


def test_a_users_limit_is_one_however_the_header_is_spelled(
    start_gateway: Callable[..., EnvoyServer], token: str
) -> None:
    gateway = start_gateway(change=with_buckets)
    spellings = ["Bearer {}", "bearer {}", "bEARER {}", "BEARER {}", "Bearer  {}", "Bearer     {}"]
    with httpx.Client(base_url=gateway.url, trust_env=False, timeout=8) as ann:
        statuses = [
            ann.post(VIEW, headers={"authorization": spelling.format(token)}).status_code for spelling in spellings
        ]

    assert [PASSED] * 3 + [LIMITED] * 3 == statuses

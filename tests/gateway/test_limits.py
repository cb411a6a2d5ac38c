"""How much the gateway takes of one caller. A call that it lets pass gets 503 where it has no server."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import grpc
import httpx
import pytest
import yaml
from course_analytics.v1 import ingest_pb2, ingest_pb2_grpc

from devstack.child import HOST, wait_until
from devstack.programs import Program
from devstack.seed import DEMO_COURSE
from devstack.servers import EnvoyServer
from devstack.tokens import mint
from tests.gateway.conftest import Service, caller, gateway_of
from tests.gateway.rest import TELEMETRY, VIEW, assert_refused, ping, with_bucket
from tests.gateway.test_configuration import CONFIGURATION
from tests.servers import JWT_SECRET, PATIENCE, running

INVALID_ARGUMENT, RESOURCE_EXHAUSTED, FAILED_PRECONDITION = 3, 8, 9
PASSED, LIMITED = 503, 429
HOUR = "3600s"
MIB = 1024 * 1024
SERVING = b"\x08\x01"


def with_tokens(user: int, address: int) -> Callable[[str], str]:
    """Gives the buckets so many tokens, and none after those."""

    def change(text: str) -> str:
        text = text.replace("fill_interval: 1s", f"fill_interval: {HOUR}")
        return text.replace("max_tokens: 5000\n", f"max_tokens: {user}\n").replace(
            "max_tokens: 20000\n", f"max_tokens: {address}\n"
        )

    return change


@pytest.fixture(scope="module")
def of_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EnvoyServer]:
    """A gateway where each user has two calls."""
    folder = tmp_path_factory.mktemp("envoy")
    with running(gateway_of(folder, change=with_tokens(user=2, address=1000))) as gateway:
        yield gateway


def statuses(client: httpx.Client, calls: int) -> list[int]:
    return [client.post(VIEW).status_code for _ in range(calls)]


def test_a_users_flood_is_429_and_another_user_is_served(of_user: EnvoyServer) -> None:
    with caller(of_user, "ann") as ann, caller(of_user, "bob") as bob:
        assert [PASSED, PASSED, LIMITED, LIMITED] == statuses(ann, 4)
        assert [PASSED, PASSED, LIMITED] == statuses(bob, 3)


def test_a_flood_is_answered_in_the_shape_of_all_errors(of_user: EnvoyServer) -> None:
    with caller(of_user, "eve") as eve:
        statuses(eve, 2)
        response = eve.post(TELEMETRY, json=ping())
    assert_refused(LIMITED, RESOURCE_EXHAUSTED, response)
    assert [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"}] == response.json()["details"]


def test_an_address_has_so_many_files_and_its_pings_pass(start_gateway: Callable[..., EnvoyServer]) -> None:
    with caller(start_gateway(change=with_bucket(2000, 2)), "ann") as ann:
        files = ["/player/track.js", "/instructor/", "/player/track.js"]
        assert [200, 200, LIMITED] == [ann.get(file).status_code for file in files]
        assert PASSED == ann.post(VIEW).status_code


def test_a_call_that_says_nothing_more_is_ended(start_gateway: Callable[..., EnvoyServer]) -> None:
    def change(text: str) -> str:
        return text.replace("stream_idle_timeout: 6s", "stream_idle_timeout: 0.2s")

    gateway = start_gateway(change=change)
    head = f"POST {TELEMETRY} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer a.b.c\r\ncontent-length: 9\r\n\r\nx"
    with socket.create_connection((HOST, gateway.port), PATIENCE) as connection:
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 408")


def codes(gateway: EnvoyServer, user: str, method: str) -> list[grpc.StatusCode]:
    """How three native calls end, none of which has a message."""
    metadata = (("authorization", f"Bearer {mint(JWT_SECRET, user)}"),)
    with grpc.insecure_channel(gateway.address) as channel:
        call: grpc.StreamUnaryMultiCallable[bytes, bytes]
        call = channel.stream_unary(f"/course_analytics.v1.IngestService/{method}")
        ended = [call.future(iter(()), metadata=metadata, timeout=PATIENCE) for _ in range(3)]
        return [one.code() for one in ended]


def test_native_calls_have_the_same_limit(of_user: EnvoyServer) -> None:
    ended = codes(of_user, "tom", "TrackTelemetry")
    assert [grpc.StatusCode.RESOURCE_EXHAUSTED, *[grpc.StatusCode.UNAVAILABLE] * 2] == sorted(
        ended, key=lambda code: code.name
    )


@pytest.mark.parametrize("method", ["TrackBatch", "TrackStream"])
def test_a_backends_batches_and_streams_are_not_one_users(of_user: EnvoyServer, method: str) -> None:
    assert [grpc.StatusCode.UNAVAILABLE] * 3 == codes(of_user, method, method)


def test_users_of_one_address_share_its_limit(start_gateway: Callable[..., EnvoyServer]) -> None:
    gateway = start_gateway(change=with_tokens(user=1000, address=3))
    with caller(gateway, "ann") as ann, caller(gateway, "bob") as bob, caller(gateway, "eve") as eve:
        assert [PASSED, PASSED, PASSED, LIMITED] == [
            status for one in (ann, bob, eve, ann) for status in statuses(one, 1)
        ]


def limits() -> dict[str, dict[str, Any]]:
    """The buckets in the file, by what they are one for."""
    manager = yaml.safe_load(CONFIGURATION.read_text())["static_resources"]["listeners"][0]["filter_chains"][0]
    filters = manager["filters"][0]["typed_config"]["http_filters"]
    (rates,) = (each["typed_config"] for each in filters if each["name"].endswith("local_ratelimit"))
    return {
        " ".join(entry.get("value", entry["key"]) for entry in each["entries"]): each["token_bucket"]
        for each in rates["descriptors"]
    }


def test_a_player_and_a_school_never_meet_the_limits() -> None:
    """A player calls once in five seconds, or has a page of retries; a school has thousands of them."""
    assert {
        "user alone": {"max_tokens": 5000, "tokens_per_fill": 500, "fill_interval": "1s"},
        "body yes": {"max_tokens": 16 * MIB, "tokens_per_fill": MIB, "fill_interval": "1s"},
        "body no": {"max_tokens": 200, "tokens_per_fill": 20, "fill_interval": "1s"},
        "body batch": {"max_tokens": 20, "tokens_per_fill": 2, "fill_interval": "1s"},
        "masked_remote_address yes": {"max_tokens": 64 * MIB, "tokens_per_fill": 2 * MIB, "fill_interval": "1s"},
        "masked_remote_address no": {"max_tokens": 1000, "tokens_per_fill": 40, "fill_interval": "1s"},
        "masked_remote_address batch": {"max_tokens": 40, "tokens_per_fill": 4, "fill_interval": "1s"},
        "masked_remote_address": {"max_tokens": 20_000, "tokens_per_fill": 5_000, "fill_interval": "1s"},
        "masked_remote_address file": {"max_tokens": 2_000, "tokens_per_fill": 200, "fill_interval": "1s"},
    } == limits()


def test_more_than_8_kib_of_headers_are_431(learner: httpx.Client) -> None:
    assert 200 == learner.post(VIEW, headers={"x-long": "x" * 7_000}).status_code
    assert_refused(431, INVALID_ARGUMENT, learner.post(VIEW, headers={"x-long": "x" * 8_192}))


def stat(gateway: EnvoyServer, name: str) -> int:
    """What Envoy has counted by this name."""
    line = httpx.get(f"{gateway.admin_url}/stats", params={"filter": f"^{name}$"}, trust_env=False).text
    return int(line.rpartition(" ")[2])


def test_a_call_whose_message_is_not_whole_costs_no_server_anything(service: Service) -> None:
    """Only when it is whole is it sent on: who opens many and ends none holds nothing of a server."""
    message: SimpleQueue[bytes | None] = SimpleQueue()
    metadata = (("authorization", f"Bearer {mint(JWT_SECRET, 'backend')}"),)
    open_before = stat(service.gateway, "http.gateway.downstream_rq_active")
    with grpc.insecure_channel(service.gateway.address) as channel:
        method: grpc.StreamUnaryMultiCallable[bytes, bytes]
        method = channel.stream_unary("/course_analytics.v1.IngestService/TrackTelemetry")
        calls = [method.future(iter(message.get, None), metadata=metadata, timeout=PATIENCE) for _ in range(3)]
        wait_until(
            lambda: stat(service.gateway, "http.gateway.downstream_rq_active") == open_before + 3,
            PATIENCE,
            "the calls did not reach the gateway",
        )

        assert 0 == stat(service.gateway, "cluster.ingest.upstream_rq_active")
        for call in calls:
            call.cancel()
            message.put(None)


def test_a_connection_without_a_call_is_closed(start_gateway: Callable[..., EnvoyServer]) -> None:
    gateway = start_gateway(change=lambda text: text.replace("idle_timeout: 60s", "idle_timeout: 0.2s"))
    with socket.create_connection((HOST, gateway.port), PATIENCE) as silent:
        assert b"" == silent.recv(1)


def test_a_connection_too_many_is_refused_and_those_there_go_on(start_gateway: Callable[..., EnvoyServer]) -> None:
    gateway = start_gateway(change=lambda text: text.replace("connections: 10000", "connections: 1"))
    with caller(gateway, "ann") as ann:
        assert PASSED == ann.post(VIEW).status_code
        with socket.create_connection((HOST, gateway.port), PATIENCE) as other, contextlib.suppress(ConnectionError):
            assert b"" == other.recv(1)
        assert PASSED == ann.post(VIEW).status_code


def test_a_call_whose_message_never_comes_is_ended_and_a_stream_is_not(
    start_gateway: Callable[..., EnvoyServer], service: Service
) -> None:
    view = ingest_pb2.Event(course_view=ingest_pb2.TrackCourseViewRequest(course_id=DEMO_COURSE.id))
    metadata = (("authorization", f"Bearer {mint(JWT_SECRET, 'backend')}"),)
    batches: SimpleQueue[ingest_pb2.TrackStreamRequest | None] = SimpleQueue()
    message: SimpleQueue[bytes | None] = SimpleQueue()
    gateway = start_gateway(
        ingest=service.ingest.address,
        change=lambda text: text.replace("max_stream_duration: 10s", "max_stream_duration: 0.5s"),
    )
    with grpc.insecure_channel(gateway.address) as channel:
        stub = ingest_pb2_grpc.IngestServiceStub(channel)
        stream = stub.TrackStream(iter(batches.get, None), metadata=metadata, timeout=PATIENCE)
        method: grpc.StreamUnaryMultiCallable[bytes, bytes]
        method = channel.stream_unary("/course_analytics.v1.IngestService/TrackTelemetry")
        call = method.future(iter(message.get, None), metadata=metadata, timeout=PATIENCE)

        assert (grpc.StatusCode.DEADLINE_EXCEEDED, "downstream duration timeout") == (call.code(), call.details())
        batches.put(ingest_pb2.TrackStreamRequest(events=[view]))
        assert 1 == next(stream).accepted
        for queue in (batches, message):
            queue.put(None)


def test_an_implausible_ping_is_400_with_its_reason(
    start_program: Callable[..., Program], start_gateway: Callable[..., EnvoyServer], service: Service
) -> None:
    bounded = start_program("ingest_server", mongo_url=service.mongo_url, watch_credit_seconds=5)
    with caller(start_gateway(ingest=bounded.address), "ann") as ann:
        assert 200 == ann.post(TELEMETRY, json=ping()).status_code
        response = ann.post(TELEMETRY, json=ping(watchTimeDelta=300))
    assert_refused(400, FAILED_PRECONDITION, response)
    (info,) = response.json()["details"]
    assert ("type.googleapis.com/google.rpc.ErrorInfo", "IMPLAUSIBLE") == (info["@type"], info["reason"])


def test_the_servers_own_message_limit_is_the_documented_code(service: Service) -> None:
    request = ingest_pb2.TrackTelemetryRequest(course_id="x" * (1024 * 1024))
    metadata = (("authorization", f"Bearer {mint(JWT_SECRET, 'backend')}"),)
    with grpc.insecure_channel(service.gateway.address) as channel, pytest.raises(grpc.RpcError) as refused:
        ingest_pb2_grpc.IngestServiceStub(channel).TrackTelemetry(request, metadata=metadata, timeout=PATIENCE)
    assert grpc.StatusCode.RESOURCE_EXHAUSTED == refused.value.code()


def test_the_more_memory_open_calls_take_the_sooner_they_end(start_gateway: Callable[..., EnvoyServer]) -> None:
    """Here everything that there is at the start is more than enough."""

    def change(text: str) -> str:
        text = text.replace("stream_idle_timeout: 6s", "stream_idle_timeout: 3600s")
        text = text.replace("scaling_threshold: 0.03", "scaling_threshold: 0.0001")
        return text.replace("saturation_threshold: 0.1", "saturation_threshold: 0.0002").replace(
            "min_timeout: 3s", "min_timeout: 0.2s"
        )

    gateway = start_gateway(change=change)
    head = f"POST {TELEMETRY} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer a.b.c\r\ncontent-length: 9\r\n\r\nx"
    with socket.create_connection((HOST, gateway.port), PATIENCE) as connection:
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 408")


def test_health_watchers_without_a_token_do_not_keep_others_from_being_counted(
    start_gateway: Callable[..., EnvoyServer], service: Service
) -> None:
    gateway = start_gateway(
        ingest=service.ingest.address,
        change=lambda text: text.replace("max_requests: 10000\n", "max_requests: 2\n").replace(
            "max_requests: 100\n", "max_requests: 2\n"
        ),
    )
    with grpc.insecure_channel(gateway.address) as channel, caller(gateway, "ann") as ann:
        watch: grpc.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream("/grpc.health.v1.Health/Watch")
        open_ones = [watch(b"", timeout=PATIENCE) for _ in range(2)]
        assert [SERVING, SERVING] == [next(each) for each in open_ones]
        with pytest.raises(grpc.RpcError, match="overflow"):
            next(watch(b"", timeout=PATIENCE))

        assert 200 == ann.post(VIEW).status_code
        for each in open_ones:
            each.cancel()

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NoReturn

import grpc
import httpx
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from devstack.child import HOST, free_port, wait_until
from devstack.programs import Program
from devstack.servers import EnvoyServer
from tests.gateway.conftest import caller
from tests.gateway.rest import DASHBOARD, DEADLINE_EXCEEDED, TELEMETRY, UNAVAILABLE, VIEW, assert_refused, ping

RETRY_INFO = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "1s"}]


@pytest.mark.parametrize(("method", "path"), [("POST", VIEW), ("POST", TELEMETRY), ("GET", DASHBOARD)])
def test_a_server_that_is_away_is_503_with_the_time_to_wait(
    start_gateway: Callable[..., EnvoyServer], method: str, path: str
) -> None:
    with caller(start_gateway(), "somebody") as client:
        response = client.request(method, path)

    assert_refused(503, UNAVAILABLE, response)
    assert RETRY_INFO == response.json()["details"]


def test_a_server_that_is_not_ready_gets_no_calls(
    start_program: Callable[..., Program], start_gateway: Callable[..., EnvoyServer]
) -> None:
    nowhere = f"mongodb://{HOST}:{free_port()}/nothing"
    query = start_program("query_server", wait=False, mongo_url=nowhere)
    query.wait_for(lambda: "not ready" in query.output(), 10, "did not notice")

    with caller(start_gateway(query=query.address), "somebody") as client:
        response = client.get(DASHBOARD)

    assert_refused(503, UNAVAILABLE, response)
    assert RETRY_INFO == response.json()["details"]


def test_a_server_that_hangs_is_504_and_then_gets_no_calls_until_it_is_back(
    start_program: Callable[..., Program], start_gateway: Callable[..., EnvoyServer]
) -> None:
    ingest = start_program("ingest_server")
    with caller(start_gateway(ingest=ingest.address), "somebody") as client:

        def status() -> int:
            return client.post(TELEMETRY, json=ping(courseId="none")).status_code

        assert 400 == status()
        ingest.pause()
        assert_refused(504, DEADLINE_EXCEEDED, client.post(VIEW))
        assert 503 == status()
        ingest.resume()
        wait_until(lambda: 400 == status(), 10, "the server that came back got no calls")


@pytest.fixture
def failing_server() -> Iterator[tuple[str, list[bytes]]]:
    """The address of an ingest server that fails each ping as if after its work was done, and the pings it had."""
    pings: list[bytes] = []

    def fail(request: bytes, context: grpc.ServicerContext) -> NoReturn:
        pings.append(request)
        context.abort(grpc.StatusCode.UNAVAILABLE, "it may have been counted")

    name = "course_analytics.v1.IngestService"
    methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
        "TrackTelemetry": grpc.unary_unary_rpc_method_handler(fail)
    }
    readiness = health.HealthServicer()
    readiness.set(name, health_pb2.HealthCheckResponse.SERVING)
    server = grpc.server(ThreadPoolExecutor(2), [grpc.method_handlers_generic_handler(name, methods)])
    health_pb2_grpc.add_HealthServicer_to_server(readiness, server)
    address = f"{HOST}:{free_port()}"
    server.add_insecure_port(address)
    server.start()
    yield address, pings
    server.stop(None).wait()


def test_a_ping_that_may_have_been_counted_is_not_sent_again(
    start_gateway: Callable[..., EnvoyServer], failing_server: tuple[str, list[bytes]]
) -> None:
    address, pings = failing_server
    with caller(start_gateway(ingest=address), "somebody") as client:
        response = client.post(TELEMETRY, json=ping())

    assert_refused(503, UNAVAILABLE, response)
    assert 1 == len(pings)


def test_a_gateway_without_servers_is_up(start_gateway: Callable[..., EnvoyServer]) -> None:
    assert 200 == httpx.get(f"{start_gateway().admin_url}/ready", trust_env=False).status_code

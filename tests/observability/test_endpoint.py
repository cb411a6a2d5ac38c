"""/metrics, /livez and /readyz of the programs, and `grpc.health.v1` beside them."""

import asyncio
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import grpc
import httpx
import pytest
import redis
from grpc_health.v1 import health_pb2
from prometheus_client import CollectorRegistry, Gauge

from devstack.child import HOST, free_port, wait_until
from devstack.programs import Program, is_serving
from devstack.seed import DEMO_COURSE
from devstack.servers import RedisServer
from devstack.tokens import mint
from shared.metrics import WORKERS_FOLDER
from shared.serving import reasons
from shared.serving.endpoint import ALIVE_SECONDS, forget, not_alive, served, served_for_workers
from shared.serving.program import CannotRun
from tests.faults.proxy import Proxy
from tests.ingest_server.backend import ping, report
from tests.ingest_server.client import NONE, bearer, refusal
from tests.ingest_server.conftest import connected
from tests.observability.conftest import Watcher
from tests.query_server.conftest import Dashboards
from tests.servers import JWT_SECRET, PATIENCE
from tests.workers.test_workers import workers_of

StartProgram = Callable[..., Program]


def refused_calls(watcher: Watcher, method: str, code: str, cause: str) -> float:
    return watcher.value("analytics_calls_refused_total", method=method, code=code, cause=cause)


async def test_ingest_counts_what_it_accepted_and_refused_by_reason(
    start_program: StartProgram, watcher: Watcher, platform_url: str
) -> None:
    ingest = start_program(
        "ingest_server", mongo_url=platform_url, ingest_metrics_address=watcher.address, watch_credit_seconds=60
    )
    async with connected(ingest.address) as player:
        for _ in range(3):
            await player.ping()
        await refusal(player.ping(seconds=300))
        await refusal(player.ping(NONE))
        await refusal(player.ping(seconds=0))
        await refusal(player.ping(metadata=bearer("nonsense")))
        await report(player, [ping(event="a-1"), ping(seconds=0), ping(seconds=300)])

    assert 4 == watcher.value("analytics_events_total", outcome="counted")
    assert 1 == watcher.value("analytics_events_rejected_total", cause="fields")
    assert 1 == watcher.value("analytics_events_rejected_total", cause="implausible")
    assert 6 == watcher.value("analytics_commit_events_sum")
    assert 5 == watcher.value("analytics_events_without_id_total")
    assert watcher.value("analytics_commit_seconds_count") == watcher.value("analytics_commit_events_count") > 0
    assert 1 == refused_calls(watcher, "TrackTelemetry", "NOT_FOUND", "unknown_id")
    assert 1 == refused_calls(watcher, "TrackTelemetry", "INVALID_ARGUMENT", "fields")
    assert 1 == refused_calls(watcher, "TrackTelemetry", "FAILED_PRECONDITION", "implausible")
    assert 1 == refused_calls(watcher, "TrackTelemetry", "UNAUTHENTICATED", "token")
    assert 1 == watcher.value("analytics_catalog_courses_fetched_total", result="found")
    assert 1 == watcher.value("analytics_catalog_courses_fetched_total", result="missing")
    assert watcher.value("analytics_tokens_verified_total") > 0


async def test_readiness_follows_the_store_and_liveness_does_not(
    start_program: StartProgram, watcher: Watcher, redis_url: str, platform_url: str
) -> None:
    with Proxy(redis_url) as proxy:
        ingest = start_program(
            "ingest_server", redis_url=proxy.url, mongo_url=platform_url, ingest_metrics_address=watcher.address
        )
        assert ((200, "ok"), (200, "ok")) == (watcher.get("/readyz"), watcher.get("/livez"))

        proxy.refuse()
        proxy.reset()
        await asyncio.to_thread(wait_until, lambda: watcher.get("/readyz")[0] == 503, PATIENCE, "it stayed ready")

        expected = "0 of 1 processes ready; redis: cannot connect to Redis: "
        await asyncio.to_thread(wait_until, lambda: expected in watcher.get("/readyz")[1], PATIENCE, "no reason")
        assert (200, "ok") == watcher.get("/livez")
        assert [False, True] == [is_serving(ingest.address, name) for name in ("", "liveness")]
        async with connected(ingest.address) as player:
            await refusal(player.ping())
        assert 1 == refused_calls(watcher, "TrackTelemetry", "UNAVAILABLE", "redis")
        assert watcher.value("analytics_redis_errors_total", kind="connect") > 0

        proxy.heal()
        await asyncio.to_thread(wait_until, lambda: watcher.get("/readyz")[0] == 200, PATIENCE, "it did not recover")


def weaken(server: RedisServer) -> None:
    """It answers, and keeps nothing on disk any more; who reconnects looks again."""
    with redis.Redis.from_url(server.url) as client:
        client.config_set("appendonly", "no")
        client.client_kill_filter(_type="normal", skipme=True)


@pytest.mark.parametrize(
    ("module", "address"),
    [("ingest_server", "ingest_metrics_address"), ("flusher", "flusher_metrics_address")],
)
def test_ingest_and_flusher_say_what_is_wrong_with_a_redis_that_answers(
    start_program: StartProgram,
    watcher: Watcher,
    start_redis: Callable[..., RedisServer],
    module: str,
    address: str,
) -> None:
    server = start_redis()
    start_program(module, redis_url=server.url, **{address: watcher.address})

    def says(status: int, text: str) -> bool:
        try:
            code, said = watcher.get("/readyz")
        except httpx.TransportError:  # a flusher is launched, not waited for
            return False
        return code == status and text in said

    wait_until(lambda: says(200, "ok"), PATIENCE, "it was not ready")
    weaken(server)
    expected = "0 of 1 processes ready; redis: Redis keeps nothing on disk: set appendonly yes"
    wait_until(lambda: says(503, expected), PATIENCE, "it did not say why")


def test_each_different_reason_of_the_workers_is_said(watcher: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    with served_for_workers(watcher.address, 3):
        for worker, reason in (("worker-1", "redis: away"), ("worker-2", "redis: away"), ("worker-3", "keys: away")):
            monkeypatch.setattr(multiprocessing.current_process(), "name", worker)
            reasons.tell(reason)
        assert (503, "0 of 3 processes ready; keys: away; redis: away") == watcher.get("/readyz")

        forget("worker-3")
        assert (503, "0 of 3 processes ready; redis: away") == watcher.get("/readyz")


async def test_a_health_watcher_gets_each_change(start_program: StartProgram, redis_url: str) -> None:
    with Proxy(redis_url) as proxy:
        ingest = start_program("ingest_server", redis_url=proxy.url)
        async with asyncio.timeout(PATIENCE), grpc.aio.insecure_channel(ingest.address) as channel:
            watch = channel.unary_stream(
                "/grpc.health.v1.Health/Watch",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            answers = aiter(watch(health_pb2.HealthCheckRequest(service="course_analytics.v1.IngestService")))
            seen = [(await anext(answers)).status]
            proxy.refuse()
            proxy.reset()
            seen.append((await anext(answers)).status)
            proxy.heal()
            seen.append((await anext(answers)).status)

    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    assert [serving, not_serving, serving] == seen


async def test_two_workers_add_up_and_what_a_killed_one_has_counted_stays(
    start_program: StartProgram, watcher: Watcher, platform_url: str
) -> None:
    def counted() -> float:
        return watcher.value("analytics_events_total", outcome="counted")

    supervisor = start_program(
        "ingest_server", mongo_url=platform_url, ingest_workers=2, ingest_metrics_address=watcher.address
    )
    await asyncio.to_thread(wait_until, lambda: watcher.get("/readyz")[0] == 200, PATIENCE, "not both became ready")
    for _ in range(40):  # each over a connection of its own: the kernel sends it to one worker or the other
        async with connected(supervisor.address) as player:
            await player.ping()
    assert 40 == counted()

    victims = workers_of(supervisor)
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    await asyncio.to_thread(wait_until, lambda: not victims & workers_of(supervisor), PATIENCE, "they did not end")
    assert 40 == counted()

    await asyncio.to_thread(wait_until, lambda: watcher.get("/readyz")[0] == 200, PATIENCE, "they were not replaced")
    for _ in range(10):
        async with connected(supervisor.address) as player:
            await player.ping()
    assert 50 == counted()
    assert (200, "ok") == watcher.get("/livez")


async def test_the_dashboard_is_timed_part_by_part(
    start_program: StartProgram, watcher: Watcher, platform_url: str
) -> None:
    query = start_program("query_server", mongo_url=platform_url, query_metrics_address=watcher.address)
    # Otherwise Prometheus would take the first bug for the beginning of a series, and not for an increase.
    assert ("GetCourseDashboard", "INTERNAL", "bug", 0) in [
        (*(one.labels[label] for label in ("method", "code", "cause")), one.value)
        for one in watcher.samples("analytics_calls_refused_total")
    ]
    async with grpc.aio.insecure_channel(query.address) as channel:
        dashboards = Dashboards.over(channel)
        await dashboards.ask(DEMO_COURSE.id, mint(JWT_SECRET, DEMO_COURSE.creator))
        await dashboards.refusal(DEMO_COURSE.id, mint(JWT_SECRET, "somebody else"))

    parts = ("redis", "mongodb", "read", "merge")
    assert [2, 2, 2, 1] == [watcher.value("analytics_dashboard_seconds_count", part=part) for part in parts]
    assert 1 == refused_calls(watcher, "GetCourseDashboard", "PERMISSION_DENIED", "permission")
    assert (200, "ok") == watcher.get("/readyz")


def test_other_paths_are_404(watcher: Watcher) -> None:
    with served(watcher.address):
        assert 404 == watcher.get("/")[0]


def test_a_worker_that_is_only_starting_does_not_disturb(watcher: Watcher) -> None:
    with served_for_workers(watcher.address, 2):
        Path(os.environ[WORKERS_FOLDER], "counter_worker-1.db").touch()
        assert 200 == watcher.get("/metrics")[0]
        assert (503, "0 of 2 processes ready") == watcher.get("/readyz")


@pytest.mark.parametrize("host", [HOST, "[::1]"])
def test_it_listens_at_its_address_and_only_while_it_runs(host: str) -> None:
    address = f"{host}:{free_port()}"
    for _ in range(2):
        with served(address):
            assert 200 == Watcher(address).get("/metrics")[0]
    with pytest.raises(httpx.ConnectError):
        Watcher(address).get("/metrics")


@pytest.mark.parametrize("address", [None, "no.such.host.invalid:1"])
def test_an_address_that_is_taken_or_none_of_ours_is_one_sentence(address: str | None) -> None:
    with socket.create_server((HOST, free_port())) as taken:
        address = address or f"{HOST}:{taken.getsockname()[1]}"
        with pytest.raises(CannotRun, match=f"^cannot listen on {address}"), served(address):
            pass


@pytest.mark.parametrize(("behind", "well"), [(0.0, True), (ALIVE_SECONDS, True), (ALIVE_SECONDS + 1, False)])
def test_a_process_whose_event_loop_hangs_is_not_alive(behind: float, well: bool) -> None:
    registry = CollectorRegistry()
    Gauge("analytics_heartbeat_timestamp_seconds", "", registry=registry).set(1_000)

    assert well == (not_alive(registry, 1_000 + behind) is None)

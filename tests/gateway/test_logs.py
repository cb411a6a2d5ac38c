"""What of a call through the gateway is in the servers' logs."""

import json
import secrets
from typing import Any

import httpx
import pytest
import redis

from devstack.child import wait_until
from devstack.programs import Program
from devstack.seed import DEMO_COURSE
from shared.data import keys
from tests.gateway.conftest import Service
from tests.gateway.rest import ANALYTICS, DASHBOARD, TELEMETRY, TRACKED, VIEW, ping
from tests.servers import PATIENCE


def lines_of(program: Program) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in program.output().splitlines() if line.startswith("{")]
    return [line for line in lines if isinstance(line, dict)]


def line_of(program: Program, request_id: str) -> dict[str, Any]:
    """The one line that the program has written of a request."""
    found: list[dict[str, Any]] = []

    def written() -> bool:
        found[:] = [line for line in lines_of(program) if line.get("request_id") == request_id]
        return bool(found)

    wait_until(written, PATIENCE, "no line had the request's id")
    (line,) = found
    return line


@pytest.fixture
def request_id() -> str:
    return f"request-{secrets.token_hex(8)}"


def test_a_refused_call_has_its_request_id_from_the_header_to_the_line(
    service: Service, learner: httpx.Client, request_id: str
) -> None:
    response = learner.post(f"{ANALYTICS}/view/{'0' * 24}", headers={"x-request-id": request_id})

    assert (404, request_id) == (response.status_code, response.headers["x-request-id"])
    line = line_of(service.ingest, request_id)
    expected = ("info", "refused", "TrackCourseView", "NOT_FOUND", f"there is no course {'0' * 24}")
    assert expected == tuple(line[name] for name in ("level", "event", "method", "code", "reason"))


def test_so_has_a_dashboard(service: Service, learner: httpx.Client, request_id: str) -> None:
    learner.get(DASHBOARD, headers={"x-request-id": request_id})

    assert "PERMISSION_DENIED" == line_of(service.query, request_id)["code"]


def test_a_call_without_an_id_gets_one_of_the_gateways(service: Service, learner: httpx.Client) -> None:
    response = learner.post(f"{ANALYTICS}/view/{'0' * 24}")

    assert "NOT_FOUND" == line_of(service.ingest, response.headers["x-request-id"])["code"]


def test_a_key_of_another_type_is_a_warning_without_token_or_user(
    service: Service, learner: httpx.Client, request_id: str
) -> None:
    course = keys.course_counters(keys.partition_of(DEMO_COURSE.id), DEMO_COURSE.id)
    with redis.Redis.from_url(service.redis_url) as store:
        store.delete(course)
        store.set(course, "not a hash")
        try:
            response = learner.post(VIEW, headers={"x-request-id": request_id})
        finally:
            store.delete(course)

    assert 500 == response.status_code
    line = line_of(service.ingest, request_id)
    assert ("warning", "INTERNAL", "spoilt_key") == (line["level"], line["code"], line["cause"])
    written = service.ingest.output()
    scheme, token = learner.headers["authorization"].split()
    assert "Bearer" == scheme
    assert token not in written
    assert "learner-" not in written


def test_a_call_that_succeeds_writes_nothing(service: Service, learner: httpx.Client) -> None:
    before = service.ingest.output()

    assert [TRACKED] * 20 == [learner.post(TELEMETRY, json=ping()).json() for _ in range(20)]

    assert before == service.ingest.output()

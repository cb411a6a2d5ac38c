import json

import httpx
import pytest

from devstack.seed import DEMO_COURSE
from tests.gateway.rest import (
    ANALYTICS,
    BODY_LIMIT,
    DASHBOARD,
    INVALID_ARGUMENT,
    NOT_FOUND,
    TELEMETRY,
    VIEW,
    assert_refused,
    body_of,
    ping,
)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"hello", id="no JSON"),
        pytest.param(b'{"courseId":', id="half an object"),
        pytest.param(b"{} {}", id="two objects"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'"text"', id="a string"),
        pytest.param(b'{"courseId":"\xff"}', id="no UTF-8"),
        pytest.param(b'{"padding":%s}' % (b"[" * 20_000), id="deeply nested"),
        pytest.param(json.dumps(ping(courseId=5)).encode(), id="a number for a string"),
        pytest.param(json.dumps(ping(watchTimeDelta=True)).encode(), id="a boolean for a number"),
        pytest.param(json.dumps(ping(watchTimeDelta="five")).encode(), id="a word for a number"),
        pytest.param(json.dumps(ping(watchTimeDelta=float("nan"))).encode(), id="a bare NaN"),
        pytest.param(json.dumps(ping()).replace("5}", "1e400}").encode(), id="a number beyond a double"),
    ],
)
def test_a_body_that_cannot_be_read_is_400(learner: httpx.Client, body: bytes) -> None:
    response = learner.post(TELEMETRY, content=body, headers={"content-type": "application/json"})

    assert_refused(400, INVALID_ARGUMENT, response)


@pytest.mark.parametrize("seconds", ["NaN", "Infinity", "-Infinity", 0, -1, 301, None])
def test_the_server_refuses_and_names_seconds_that_are(learner: httpx.Client, seconds: object) -> None:
    response = learner.post(TELEMETRY, json=ping(watchTimeDelta=seconds))

    assert_refused(400, INVALID_ARGUMENT, response)
    violations = response.json()["details"][0]["fieldViolations"]
    assert ["watchTimeDelta"] == [violation["field"] for violation in violations]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/nope"),
        ("POST", f"{ANALYTICS}/nope"),
        ("POST", f"{ANALYTICS}/view/"),
        ("POST", f"{VIEW}/more"),
        ("GET", VIEW),
        ("PUT", VIEW),
        ("DELETE", DASHBOARD),
        ("POST", DASHBOARD),
        ("HEAD", DASHBOARD),
        ("POST", "/course_analytics.v1.IngestService/TrackTelemetry"),
    ],
)
def test_an_unknown_path_or_a_wrong_method_is_404(learner: httpx.Client, method: str, path: str) -> None:
    response = learner.request(method, path)

    if method == "HEAD":  # which has no body to look at
        assert 404 == response.status_code
    else:
        assert_refused(404, NOT_FOUND, response)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("query", ["x=1", "courseId=650000000000000000000001", "course_id=1", "eventId=a"])
def test_query_parameters_are_refused(learner: httpx.Client, method: str, query: str) -> None:
    path = DASHBOARD if method == "GET" else VIEW

    assert_refused(400, INVALID_ARGUMENT, learner.request(method, f"{path}?{query}"))


@pytest.mark.parametrize("course_id", ["a%2Fb", "a%2fb", "..%2Ftelemetry", "a%5Cb", "a%00b", f"{DEMO_COURSE.id}%2F"])
def test_an_encoded_slash_or_nul_in_the_path_stops_at_the_gateway(learner: httpx.Client, course_id: str) -> None:
    response = learner.post(f"{ANALYTICS}/view/{course_id}")

    assert_refused(400, INVALID_ARGUMENT, response)
    assert [] == response.json()["details"], "the server names the field"


@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "chunked"])
@pytest.mark.parametrize("path", [VIEW, TELEMETRY])
def test_a_body_over_64_kib_is_413(learner: httpx.Client, path: str, chunked: bool) -> None:
    body = body_of(BODY_LIMIT + 1)

    response = learner.post(path, content=iter([body]) if chunked else body)

    assert_refused(413, INVALID_ARGUMENT, response)
    assert "the body is too large" == response.json()["message"]


@pytest.mark.parametrize(
    ("path", "headers", "said"),
    [
        pytest.param(f"{VIEW}?_=123", {}, "query", id="query"),
        pytest.param(f"{ANALYTICS}/view/a%2Fb", {}, "path", id="path"),
        pytest.param(VIEW, {"upgrade": "websocket", "connection": "upgrade"}, "header", id="header"),
        pytest.param(VIEW, {"x-long": "x" * 9_000}, "header", id="long headers"),
    ],
)
def test_a_refusal_says_which_part_of_the_request_it_is_about(
    learner: httpx.Client, path: str, headers: dict[str, str], said: str
) -> None:
    message = learner.post(path, headers=headers).json()["message"]

    assert [said] == [word for word in ("path", "query", "header") if word in message]


@pytest.mark.parametrize(
    ("status", "code", "method", "path"),
    [
        pytest.param(400, 3, "POST", f"{ANALYTICS}/view/{{courseId}}", id="400 for no course id"),
        pytest.param(403, 7, "GET", DASHBOARD, id="403 for a course of somebody else"),
        pytest.param(404, 5, "POST", f"{ANALYTICS}/view/{'0' * 24}", id="404 for an unknown course"),
    ],
)
def test_the_servers_errors_have_the_same_shape(
    learner: httpx.Client, status: int, code: int, method: str, path: str
) -> None:
    assert_refused(status, code, learner.request(method, path))


def test_a_call_without_a_token_is_401(learner: httpx.Client) -> None:
    del learner.headers["authorization"]

    assert_refused(401, 16, learner.post(VIEW))

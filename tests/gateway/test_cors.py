import httpx
import pytest

from tests.gateway.rest import ANALYTICS, DASHBOARD, TELEMETRY, VIEW

ALLOWED = ["http://localhost:3000", "http://localhost", "http://127.0.0.1:5173"]
# What a page sends itself, and what tracing in the browser adds to every call.
ASKED = ["authorization", "content-type", "x-request-id", "x-requested-with", "traceparent", "tracestate", "baggage"]
ASKED += ["sentry-trace"]
OTHERS = ["https://evil.example", "http://localhost.evil.example", "http://127.0.0.10:3000", "https://localhost:3000"]


def preflight(client: httpx.Client, path: str, origin: str) -> httpx.Response:
    method = "GET" if path == DASHBOARD else "POST"
    asked = {"access-control-request-method": method, "access-control-request-headers": ",".join(ASKED)}
    return client.options(path, headers={"origin": origin, **asked})


@pytest.mark.parametrize("path", [VIEW, TELEMETRY, DASHBOARD])
@pytest.mark.parametrize("origin", ALLOWED)
def test_an_allowed_pages_preflight_succeeds(learner: httpx.Client, path: str, origin: str) -> None:
    response = preflight(learner, path, origin)

    assert 200 == response.status_code
    assert origin == response.headers["access-control-allow-origin"]
    assert "GET, POST" == response.headers["access-control-allow-methods"]
    assert set(ASKED) <= set(response.headers["access-control-allow-headers"].split(", "))


@pytest.mark.parametrize("origin", OTHERS)
def test_another_pages_preflight_is_not_allowed(learner: httpx.Client, origin: str) -> None:
    assert "access-control-allow-origin" not in preflight(learner, TELEMETRY, origin).headers


@pytest.mark.parametrize("path", [VIEW, f"{ANALYTICS}/nope"], ids=["an answer", "a refusal"])
def test_an_allowed_page_may_read(learner: httpx.Client, path: str) -> None:
    response = learner.post(path, headers={"origin": ALLOWED[0]})

    assert ALLOWED[0] == response.headers["access-control-allow-origin"]
    exposed = response.headers["access-control-expose-headers"].split(", ")
    assert ["x-request-id", "www-authenticate", "content-disposition"] == exposed


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        pytest.param("POST", f"{VIEW}?_=123", {}, id="the query"),
        pytest.param("POST", f"{ANALYTICS}/view/a%2Fb", {}, id="the path"),
        pytest.param("POST", VIEW, {"upgrade": "websocket", "connection": "upgrade"}, id="a header"),
        pytest.param("POST", VIEW, {"authorization": ""}, id="no token"),
        pytest.param("POST", VIEW, {"x-long": "x" * 9_000}, id="too many headers"),
        pytest.param("GET", "/nope", {}, id="no such path"),
    ],
)
def test_a_page_may_read_what_the_gateway_refuses(
    learner: httpx.Client, method: str, path: str, headers: dict[str, str]
) -> None:
    response = learner.request(method, path, headers={"origin": ALLOWED[0], **headers})

    assert response.status_code >= 400
    assert response.headers["access-control-allow-origin"] in ("*", ALLOWED[0])
    assert {"code", "message", "details"} == set(response.json())


def test_another_page_may_not_read(learner: httpx.Client) -> None:
    assert "access-control-allow-origin" not in learner.post(VIEW, headers={"origin": OTHERS[0]}).headers

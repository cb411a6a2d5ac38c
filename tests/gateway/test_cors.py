import httpx
import pytest

from tests.gateway.rest import ANALYTICS, DASHBOARD, TELEMETRY, VIEW

ALLOWED = ["http://localhost:3000", "http://localhost", "http://127.0.0.1:5173"]
OTHERS = ["https://evil.example", "http://localhost.evil.example", "http://127.0.0.10:3000", "https://localhost:3000"]


def preflight(client: httpx.Client, path: str, origin: str) -> httpx.Response:
    method = "GET" if path == DASHBOARD else "POST"
    asked = {"access-control-request-method": method, "access-control-request-headers": "authorization,content-type"}
    return client.options(path, headers={"origin": origin, **asked})


@pytest.mark.parametrize("path", [VIEW, TELEMETRY, DASHBOARD])
@pytest.mark.parametrize("origin", ALLOWED)
def test_an_allowed_pages_preflight_succeeds(learner: httpx.Client, path: str, origin: str) -> None:
    response = preflight(learner, path, origin)

    assert 200 == response.status_code
    assert origin == response.headers["access-control-allow-origin"]
    assert "GET, POST" == response.headers["access-control-allow-methods"]
    assert "authorization, content-type, x-request-id" == response.headers["access-control-allow-headers"]


@pytest.mark.parametrize("origin", OTHERS)
def test_another_pages_preflight_is_not_allowed(learner: httpx.Client, origin: str) -> None:
    assert "access-control-allow-origin" not in preflight(learner, TELEMETRY, origin).headers


@pytest.mark.parametrize("path", [VIEW, f"{ANALYTICS}/nope"], ids=["an answer", "a refusal"])
def test_an_allowed_page_may_read(learner: httpx.Client, path: str) -> None:
    response = learner.post(path, headers={"origin": ALLOWED[0]})

    assert ALLOWED[0] == response.headers["access-control-allow-origin"]
    assert "x-request-id" == response.headers["access-control-expose-headers"]


def test_another_page_may_not_read(learner: httpx.Client) -> None:
    assert "access-control-allow-origin" not in learner.post(VIEW, headers={"origin": OTHERS[0]}).headers

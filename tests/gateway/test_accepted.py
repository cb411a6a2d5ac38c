import json
import secrets
import subprocess

import httpx
import pytest

from tests.gateway.conftest import LARGE_COURSE, Service
from tests.gateway.rest import ANALYTICS, BODY_LIMIT, DASHBOARD, TELEMETRY, TRACKED, VIEW, body_of, ping

JSON = {"content-type": "application/json"}


def totals(instructor: httpx.Client) -> dict[str, float]:
    return instructor.get(DASHBOARD).json()["overview"]  # type: ignore[no-any-return]  # JSON is what the test looks at


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        pytest.param({}, b"", id="no body and no content type"),
        pytest.param(JSON, b"{}", id="an empty object"),
        pytest.param(JSON, b'{"eventId":"a-1"}', id="an event id"),
        pytest.param({"content-type": "application/x-www-form-urlencoded"}, b"{}", id="curl's own content type"),
        pytest.param(JSON, body_of(BODY_LIMIT), id="as large as allowed, with a field nobody knows"),
    ],
)
def test_a_view_is_tracked_with(learner: httpx.Client, headers: dict[str, str], body: bytes) -> None:
    response = learner.post(VIEW, headers=headers, content=body)

    assert (200, TRACKED) == (response.status_code, response.json())


def test_the_course_of_a_view_is_the_one_in_the_path(learner: httpx.Client, instructor: httpx.Client) -> None:
    before = totals(instructor)["totalViews"]

    learner.post(VIEW, json={"courseId": LARGE_COURSE.id})

    assert before + 1 == totals(instructor)["totalViews"]


@pytest.mark.parametrize("name", ["course_id", "courseId"])
def test_no_body_overrules_the_path(learner: httpx.Client, instructor: httpx.Client, name: str) -> None:
    other = f"{ANALYTICS}/instructor/{LARGE_COURSE.id}"
    before = instructor.get(other).json()["overview"]["totalViews"]
    body = {name: LARGE_COURSE.id}

    learner.post(VIEW, json=body)
    shown = instructor.request("GET", DASHBOARD, json=body)

    assert before == instructor.get(other).json()["overview"]["totalViews"]
    assert len(LARGE_COURSE.lectures) != len(shown.json().get("engagementFunnel", []))


@pytest.mark.parametrize("http2", [False, True], ids=["HTTP/1.1", "HTTP/2"])
def test_a_header_with_an_underscore_is_dropped_and_the_ping_counted(
    service: Service, learner: httpx.Client, *, http2: bool
) -> None:
    option = "--http2-prior-knowledge" if http2 else "--http1.1"
    command = ["curl", "-sS", "--noproxy", "*", option, "-X", "POST", "-H", "x_user: somebody"]
    bearer = ["-H", f"authorization: {learner.headers['authorization']}"]

    said = subprocess.run([*command, *bearer, f"{service.gateway.url}{VIEW}"], capture_output=True, check=True)

    assert TRACKED == json.loads(said.stdout)


@pytest.mark.parametrize("path", [VIEW, DASHBOARD, f"{ANALYTICS}/nope", "/nope"])
def test_no_answer_is_kept_or_guessed_at(learner: httpx.Client, path: str) -> None:
    headers = learner.get(path).headers

    assert ("no-store", "nosniff") == (headers["cache-control"], headers["x-content-type-options"])


def test_a_dashboard_is_compressed_for_clients_that_accept_it(instructor: httpx.Client) -> None:
    path = f"{ANALYTICS}/instructor/{LARGE_COURSE.id}"

    compressed = instructor.get(path, headers={"accept-encoding": "gzip"})
    plain = instructor.get(path, headers={"accept-encoding": "identity"})

    assert ("gzip", None) == tuple(each.headers.get("content-encoding") for each in (compressed, plain))
    assert compressed.json()["engagementFunnel"] == plain.json()["engagementFunnel"]


def test_a_ping_reaches_the_dashboard(learner: httpx.Client, instructor: httpx.Client) -> None:
    before = totals(instructor)["totalWatchTimeSeconds"]

    response = learner.post(TELEMETRY, json=ping(watchTimeDelta=7, eventId=secrets.token_hex(8)))

    assert (200, TRACKED) == (response.status_code, response.json())
    assert before + 7 == totals(instructor)["totalWatchTimeSeconds"]


def test_zeros_are_printed_with_camel_case_names_as_numbers(instructor: httpx.Client) -> None:
    response = instructor.get(f"{ANALYTICS}/instructor/{LARGE_COURSE.id}")

    overview = response.json()["overview"]
    assert 0 == overview["totalViews"]
    assert 0 == overview["averageWatchTimeSeconds"]
    assert {"lectureId", "title", "views", "watchTimeSeconds", "retentionRate", "dropOffRate"} == set(
        response.json()["engagementFunnel"][0]
    )


def test_a_dashboard_of_two_megabytes_comes_whole(instructor: httpx.Client) -> None:
    response = instructor.get(f"{ANALYTICS}/instructor/{LARGE_COURSE.id}")

    assert len(LARGE_COURSE.lectures) == len(response.json()["engagementFunnel"])


def test_a_request_id_is_kept(learner: httpx.Client) -> None:
    assert "mine-1" == learner.post(VIEW, headers={"x-request-id": "mine-1"}).headers["x-request-id"]


def test_a_request_without_an_id_gets_one(learner: httpx.Client) -> None:
    assert learner.post(VIEW).headers["x-request-id"]


@pytest.mark.parametrize(
    "header",
    [
        {"x-envoy-upstream-rq-timeout-ms": "1"},
        {"x-envoy-upstream-rq-per-try-timeout-ms": "1", "x-envoy-retry-on": "5xx", "x-envoy-max-retries": "9"},
    ],
    ids=["time limit", "retries"],
)
def test_a_caller_cannot_set_the_gateways(learner: httpx.Client, header: dict[str, str]) -> None:
    assert 200 == learner.post(TELEMETRY, json=ping(), headers=header).status_code

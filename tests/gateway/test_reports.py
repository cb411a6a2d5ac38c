"""Reports, heatmaps, the list of courses and their files, as an instructor's page calls them."""

import httpx
import pytest

from devstack.seed import DEMO_COURSE
from tests.gateway.rest import ANALYTICS, DASHBOARD, INVALID_ARGUMENT, assert_refused

COURSES = f"{ANALYTICS}/instructor"
REPORT = f"{DASHBOARD}/report"
HEATMAP = f"{DASHBOARD}/lectures/{DEMO_COURSE.lectures[0].id}/heatmap"
ORIGIN = "http://localhost:3000"
PERMISSION_DENIED, UNAUTHENTICATED = 7, 16
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def test_the_list_has_pages(instructor: httpx.Client) -> None:
    first = instructor.get(f"{COURSES}?pageSize=1").json()
    second = instructor.get(COURSES, params={"pageSize": 1, "pageToken": first["nextPageToken"]}).json()

    assert [1, 1] == [len(page["courses"]) for page in (first, second)]
    assert first["courses"][0]["courseId"] != second["courses"][0]["courseId"]


def test_a_report_is_of_the_period_that_was_asked_for(instructor: httpx.Client) -> None:
    response = instructor.get(f"{REPORT}?period=LAST_7_DAYS")

    assert (200, 7) == (response.status_code, response.json()["range"]["days"])


def test_a_heatmap_names_its_lecture(instructor: httpx.Client) -> None:
    assert DEMO_COURSE.lectures[0].id == instructor.get(HEATMAP).json()["lectureId"]


@pytest.mark.parametrize("path", [f"{REPORT}.csv", f"{REPORT}.csv?period=LAST_7_DAYS&table=funnel", f"{HEATMAP}.csv"])
def test_a_file_is_saved_under_its_name_and_never_cached(instructor: httpx.Client, path: str) -> None:
    response = instructor.get(path, headers={"origin": ORIGIN, "accept-encoding": "identity"})

    assert (200, "text/csv") == (response.status_code, response.headers["content-type"].partition(";")[0])
    assert response.content.startswith(BYTE_ORDER_MARK)
    assert response.headers["content-disposition"].startswith("attachment; filename=")
    assert "content-disposition" in response.headers["access-control-expose-headers"]
    assert ("no-store", "nosniff") == (response.headers["cache-control"], response.headers["x-content-type-options"])


@pytest.mark.parametrize("path", [f"{REPORT}?fromDay=2026-11-01", f"{REPORT}.csv?table=nope", f"{COURSES}?pageSize=-1"])
def test_what_the_server_does_not_take_is_its_400(instructor: httpx.Client, path: str) -> None:
    response = instructor.get(path)

    assert_refused(400, INVALID_ARGUMENT, response)
    assert response.json()["details"], "the server names the field"


@pytest.mark.parametrize("path", [REPORT, f"{REPORT}.csv", HEATMAP, f"{HEATMAP}.csv"])
def test_they_are_for_the_courses_instructor(learner: httpx.Client, path: str) -> None:
    assert_refused(403, PERMISSION_DENIED, learner.get(path))


@pytest.mark.parametrize("path", [COURSES, REPORT, f"{REPORT}.csv", HEATMAP, f"{HEATMAP}.csv"])
def test_without_a_token_they_are_401(learner: httpx.Client, path: str) -> None:
    del learner.headers["authorization"]

    assert_refused(401, UNAUTHENTICATED, learner.get(path))


@pytest.mark.parametrize("path", [COURSES, REPORT, f"{HEATMAP}.csv", f"{REPORT}?period=LAST_7_DAYS"])
def test_an_allowed_page_may_ask_for_them(learner: httpx.Client, path: str) -> None:
    asked = {
        "origin": ORIGIN,
        "access-control-request-method": "GET",
        "access-control-request-headers": "authorization",
    }

    response = learner.options(path, headers=asked)

    assert (200, ORIGIN) == (response.status_code, response.headers["access-control-allow-origin"])

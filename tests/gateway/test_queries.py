"""Query parameters: each call takes its own, spelled as they are, and nothing else passes."""

import httpx
import pytest

from devstack.seed import DEMO_COURSE
from tests.gateway.conftest import LARGE_COURSE
from tests.gateway.rest import ANALYTICS, DASHBOARD, INVALID_ARGUMENT, TELEMETRY, VIEW, assert_refused

COURSES = f"{ANALYTICS}/instructor"
REPORT = f"{DASHBOARD}/report"
HEATMAP = f"{DASHBOARD}/lectures/{DEMO_COURSE.lectures[0].id}/heatmap"
OTHER = LARGE_COURSE.id
NOT_TAKEN = "the query: this call takes no such parameter"


@pytest.mark.parametrize(
    "path",
    [
        f"{COURSES}?pageSize=5",
        f"{COURSES}?pageSize=5&pageToken=abc",
        f"{COURSES}?pageToken=",
        f"{REPORT}?period=LAST_28_DAYS",
        f"{REPORT}?fromDay=2026-11-01&toDay=2026-11-25",
        f"{REPORT}.csv?table=funnel&period=LAST_7_DAYS",
        COURSES,
        REPORT,
        f"{REPORT}.csv",
        HEATMAP,
        f"{HEATMAP}.csv",
    ],
)
def test_a_calls_own_parameters_reach_the_query_server(learner: httpx.Client, path: str) -> None:
    """Whatever it says of them: not the gateway's 400, and not its 404."""
    message = learner.get(path).text

    assert "the query:" not in message
    assert "no such path" not in message


@pytest.mark.parametrize(
    "path",
    [
        f"{COURSES}?",
        f"{COURSES}?courseId={OTHER}",
        f"{COURSES}?page_size=5",
        f"{COURSES}?pageSize",
        f"{COURSES}?pageSize=5&",
        f"{COURSES}?pageSize=5&courseId={OTHER}",
        f"{COURSES}?pageSize=5?courseId={OTHER}",
        f"{COURSES}?period=LAST_28_DAYS",
        f"{REPORT}?courseId={OTHER}",
        f"{REPORT}?course_id={OTHER}",
        f"{REPORT}?course%49d={OTHER}",
        f"{REPORT}?%63ourseId={OTHER}",
        f"{REPORT}?%70eriod=LAST_28_DAYS",
        f"{REPORT}?period=LAST_28_DAYS&courseId={OTHER}",
        f"{REPORT}?period=LAST_28_DAYS&&courseId={OTHER}",
        f"{REPORT}?from_day=2026-11-01",
        f"{REPORT}?table=days",
        f"{REPORT}?pageSize=5",
        f"{REPORT}.csv?courseId={OTHER}",
        f"{HEATMAP}?period=LAST_28_DAYS",
        f"{HEATMAP}?lectureId=x",
        f"{HEATMAP}.csv?table=days",
        f"{DASHBOARD}?period=LAST_28_DAYS",
        f"{DASHBOARD}?x=/report?period=LAST_28_DAYS",
        f"{VIEW}?period=LAST_28_DAYS",
        f"{ANALYTICS}/view/report?period=LAST_28_DAYS",
        f"{ANALYTICS}/instructor/a/b/report?period=LAST_28_DAYS",
        f"{TELEMETRY}?table=days",
    ],
)
def test_every_other_parameter_is_400(learner: httpx.Client, path: str) -> None:
    response = learner.get(path)

    assert_refused(400, INVALID_ARGUMENT, response)
    assert NOT_TAKEN == response.json()["message"]


@pytest.mark.parametrize(
    "query",
    ["pageSize=many", "pageSize=1e400", "pageSize=%zz", "pageSize=%ff"],
    ids=["a word", "huge", "broken", "no UTF-8"],
)
def test_a_value_that_cannot_be_read_is_400(learner: httpx.Client, query: str) -> None:
    assert_refused(400, INVALID_ARGUMENT, learner.get(f"{COURSES}?{query}"))


@pytest.mark.parametrize("value", ["LAST_5_DAYS", "", "last_28_days", f"x%26courseId={OTHER}"])
def test_an_unknown_period_is_400(learner: httpx.Client, value: str) -> None:
    assert_refused(400, INVALID_ARGUMENT, learner.get(f"{REPORT}?period={value}"))

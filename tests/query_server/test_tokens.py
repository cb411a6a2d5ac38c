"""No dashboard without a valid token, and nothing is asked of the stores before."""

import time

import grpc
import jwt
import pytest
from course_analytics.v1 import dashboard_pb2

from tests.query_server.conftest import Dashboards, token
from tests.query_server.platform import Platform

FORGED = token("ann", secret="another secret, also long enough for HS256")
UNSIGNED = jwt.encode({"sub": "ann", "exp": time.time() + 60}, "", algorithm="none")


@pytest.mark.parametrize(
    "bearer",
    [
        pytest.param(FORGED, id="forged"),
        pytest.param(UNSIGNED, id="alg none"),
        pytest.param(token("ann", exp=time.time() - 1), id="expired"),
        pytest.param(token("ann", exp=None), id="no exp"),
        pytest.param(token(None), id="no sub"),
        pytest.param("x.y.z", id="no token at all"),
    ],
)
async def test_a_bad_token_is_refused_for_whatever_course(bearer: str, dashboards: Dashboards) -> None:
    refused = await dashboards.refusal("not even a course id", bearer)
    assert grpc.StatusCode.UNAUTHENTICATED is refused.code()


async def test_a_call_without_a_token_is_refused(platform: Platform, dashboards: Dashboards) -> None:
    course = await platform.add_course()
    request = dashboard_pb2.GetCourseDashboardRequest(course_id=course.course_id)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await dashboards.stub.GetCourseDashboard(request)
    assert grpc.StatusCode.UNAUTHENTICATED is refused.value.code()

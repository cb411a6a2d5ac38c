"""The platform's numbers by REST, through the real gateway."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from devstack.child import free_port
from devstack.gateway import NOBODY, local_gateway
from devstack.programs import Program
from devstack.tokens import mint
from tests.servers import JWT_SECRET, PATIENCE, running
from tests.warehouse.documents import COURSE_ID, YESTERDAY, write_day
from tests.warehouse.test_program import until

PLATFORM = "/api/v1/analytics/platform"


@pytest.fixture
def gateway_to(tmp_path: Path) -> Iterator[Callable[[str], httpx.Client]]:
    """A caller of a gateway in front of the warehouse at that address."""
    headers = {"authorization": f"Bearer {mint(JWT_SECRET, 'analyst', scope='analytics:read')}"}
    with ExitStack() as stack:

        def to(warehouse: str) -> httpx.Client:
            gateway = stack.enter_context(
                running(
                    local_gateway(
                        tmp_path / "envoy", port=free_port(), ingest=NOBODY, query=NOBODY, warehouse=warehouse
                    )
                )
            )
            return stack.enter_context(
                httpx.Client(base_url=gateway.url, headers=headers, trust_env=False, timeout=PATIENCE)
            )

        yield to


def test_top_courses_and_report_by_rest(
    start_program: Callable[..., Program], tmp_path: Path, mongo_url: str, gateway_to: Callable[[str], httpx.Client]
) -> None:
    write_day(mongo_url, views=3)
    program = start_program("warehouse", warehouse_dir=tmp_path / "clickhouse")
    until(program, [3])
    client = gateway_to(program.address)

    asked = {"period": "LAST_7_DAYS", "orderBy": "WATCH_TIME", "pageSize": "5"}
    top = client.get(f"{PLATFORM}/courses", params=asked).json()
    report = client.get(f"{PLATFORM}/report", params={"fromDay": YESTERDAY, "toDay": YESTERDAY}).json()

    numbers = {"courseViews": 1, "lectureViews": 3, "watchTimeSeconds": 15, "userDays": 1}
    assert [{"courseId": COURSE_ID, "title": "Course 01", **numbers}] == top["courses"]
    assert [{"day": YESTERDAY, "courses": 1, **numbers}] == report["days"]
    assert 400 == client.get(f"{PLATFORM}/courses", params={"courseId": COURSE_ID}).status_code


def test_without_a_warehouse_its_calls_are_unavailable(gateway_to: Callable[[str], httpx.Client]) -> None:
    answer = gateway_to(NOBODY).get(f"{PLATFORM}/courses")

    assert (503, 14) == (answer.status_code, answer.json()["code"])

"""The warehouse as an operator starts it: it follows MongoDB, answers, is killed and goes on."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from course_analytics.v1 import platform_pb2, platform_pb2_grpc
from pymongo import MongoClient

from devstack.programs import Program
from devstack.tokens import mint
from tests.servers import JWT_SECRET, PATIENCE
from tests.warehouse.documents import COURSE_ID, YESTERDAY, write_day

OTHER = "650000000000000000000002"

Start = Callable[..., Program]

LOSE = """
import sys
from chdb.session import Session
Session(sys.argv[1]).query("ALTER TABLE tallies DELETE WHERE counter = 'lecture_views' SETTINGS mutations_sync = 1")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "clickhouse"


def ask(program: Program, request: Any = None, *, scope: str = "analytics:read") -> Any:
    """The answer to a request, by default for the top courses."""
    request = request or platform_pb2.ListTopCoursesRequest()
    token = mint(JWT_SECRET, "analyst", scope=scope)
    with grpc.insecure_channel(program.address) as channel:
        stub = platform_pb2_grpc.PlatformServiceStub(channel)
        name = "GetPlatformReport" if isinstance(request, platform_pb2.GetPlatformReportRequest) else "ListTopCourses"
        return getattr(stub, name)(request, metadata=[("authorization", f"Bearer {token}")], timeout=10)


def until(program: Program, views: list[int]) -> Any:
    """The answer, as soon as the courses have so many views."""
    deadline = time.monotonic() + PATIENCE
    while True:
        answer = ask(program)
        if views == [course.lecture_views for course in answer.courses]:
            return answer
        assert time.monotonic() < deadline, answer
        time.sleep(0.1)


def audit(start_program: Start, folder: Path) -> tuple[int, str]:
    return ran(start_program, "audit", folder)


def ran(start_program: Start, command: str, folder: Path) -> tuple[int, str]:
    program = start_program("warehouse", command, wait=False, warehouse_dir=folder)
    program.process.wait(PATIENCE)
    code = program.process.returncode
    return code, program.tail()


def test_the_top_courses_are_answered_and_the_audit_says_equal(
    start_program: Start, folder: Path, mongo_url: str
) -> None:
    write_day(mongo_url, views=3, users=2)
    write_day(mongo_url, OTHER, views=7)
    program = start_program("warehouse", warehouse_dir=folder)

    answer = until(program, [7, 3])

    assert [(OTHER, "Course 02", 1, 35.0, 1), (COURSE_ID, "Course 01", 1, 15.0, 2)] == [
        (course.course_id, course.title, course.course_views, course.watch_time_seconds, course.user_days)
        for course in answer.courses
    ]
    code, said = audit(start_program, folder)
    assert 0 == code, said
    assert "equal: " in said


@pytest.mark.minutes
def test_killed_at_any_moment_it_goes_on_where_it_was(start_program: Start, folder: Path, mongo_url: str) -> None:
    for views in (1, 2):
        write_day(mongo_url, views=views)
        program = start_program("warehouse", warehouse_dir=folder)
        until(program, [sum(range(views + 1))])
        program.kill()

    program = start_program("warehouse", warehouse_dir=folder)
    until(program, [3])
    code, said = audit(start_program, folder)
    assert 0 == code, said


@pytest.mark.minutes
@pytest.mark.parametrize("running", [True, False])
def test_what_differs_is_mended_by_a_snapshot_whether_the_program_runs_or_was_killed(
    start_program: Start, folder: Path, mongo_url: str, *, running: bool
) -> None:
    write_day(mongo_url, views=3)
    program = start_program("warehouse", warehouse_dir=folder)
    until(program, [3])
    if running:
        program.stop()  # who was killed would read its last changes again, and mend what is lost here
    else:
        program.kill()
    # By another process: one process has one ClickHouse.
    subprocess.run([sys.executable, "-c", LOSE, str(folder)], check=True)
    if running:
        start_program("warehouse", warehouse_dir=folder)

    assert 1 == audit(start_program, folder)[0]
    assert 0 == ran(start_program, "snapshot", folder)[0]
    code, said = audit(start_program, folder)
    assert 0 == code, said


def test_a_report_has_every_day_and_the_stretch_before(start_program: Start, folder: Path, mongo_url: str) -> None:
    write_day(mongo_url, views=3)
    write_day(mongo_url, OTHER, views=4)
    program = start_program("warehouse", warehouse_dir=folder)
    until(program, [4, 3])

    report = ask(program, platform_pb2.GetPlatformReportRequest(from_day=YESTERDAY, to_day=YESTERDAY))

    assert (1, 2, 7) == (len(report.days), report.overview.courses, report.overview.lecture_views)
    assert (YESTERDAY, 2, 35.0) == (report.days[0].day, report.days[0].courses, report.days[0].watch_time_seconds)
    assert 0 == report.previous.lecture_views
    assert 28 == len(ask(program, platform_pb2.GetPlatformReportRequest()).days)


@pytest.mark.parametrize(
    ("request_", "scope", "code"),
    [
        (platform_pb2.ListTopCoursesRequest(), "", grpc.StatusCode.PERMISSION_DENIED),
        (platform_pb2.ListTopCoursesRequest(page_size=-1), "analytics:read", grpc.StatusCode.INVALID_ARGUMENT),
        (platform_pb2.GetPlatformReportRequest(from_day="x"), "analytics:read", grpc.StatusCode.INVALID_ARGUMENT),
    ],
    ids=["scope", "page size", "day"],
)
def test_a_bad_request_is_refused(answering: Program, request_: Any, scope: str, code: grpc.StatusCode) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        ask(answering, request_, scope=scope)
    assert code == refused.value.code()


@pytest.fixture
def answering(start_program: Start, folder: Path) -> Program:
    return start_program("warehouse", warehouse_dir=folder)


@pytest.mark.minutes
def test_without_mongodb_it_starts_and_recovers(
    start_program: Start, start_mongo: Callable[..., Any], folder: Path
) -> None:
    server = start_mongo()
    url = server.url("platform")
    program = start_program("warehouse", warehouse_dir=folder, mongo_url=url)
    server.stop()
    server.start()
    write_day(url, views=5)

    until(program, [5])


def test_a_stop_is_graceful_while_changes_come(start_program: Start, folder: Path, mongo_url: str) -> None:
    program = start_program("warehouse", warehouse_dir=folder)
    with MongoClient[dict[str, Any]](mongo_url) as client:
        for _ in range(20):
            client.get_default_database()["courseanalytics"].update_one({"_id": 1}, {"$inc": {"x": 1}}, upsert=True)
    program.process.send_signal(signal.SIGTERM)

    assert 0 == program.process.wait(PATIENCE)


def test_without_a_store_it_says_what_is_missing(start_program: Start) -> None:
    program = start_program("warehouse", wait=False)

    assert 2 == program.process.wait(PATIENCE)
    assert "ANALYTICS_CLICKHOUSE_URL or ANALYTICS_WAREHOUSE_DIR is needed" in program.tail()

"""`make run WAREHOUSE=1`: the demo's top courses are answered within seconds of a flush, and the audit says equal."""

import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.child import free_port, wait_until
from devstack.seed import DEMO_COURSE
from tests.devstack.conftest import run_line
from tests.servers import PATIENCE


@pytest.fixture
def printed(tmp_path: Path) -> Iterator[str]:
    """What a stack with a warehouse prints when it is up."""
    ports = [
        word for name in ("gateway", "ingest", "query", "warehouse") for word in (f"--{name}-port", str(free_port()))
    ]
    command = [sys.executable, "-m", "devstack", "--warehouse", "--data", str(tmp_path / "data"), *ports]
    environment = {**os.environ, "ANALYTICS_FLUSH_INTERVAL_SECONDS": "1"}
    log = tmp_path / "printed.txt"
    with log.open("w") as output, subprocess.Popen(command, stdout=output, env=environment) as stack:
        try:
            wait_until(lambda: "Ctrl-C ends everything" in log.read_text(), PATIENCE, "the stack is not up")
            yield log.read_text()
        finally:
            stack.send_signal(signal.SIGINT)


@pytest.mark.minutes
def test_the_demos_top_courses_are_answered_and_the_audit_says_equal(printed: str) -> None:
    lines = [line.strip() for line in printed.splitlines()]
    (top,) = [line for line in lines if "/platform/courses" in line]
    (audit,) = [line for line in lines if line.endswith("-m warehouse audit")]

    def courses() -> list[str]:
        return [course["courseId"] for course in json.loads(run_line(top)).get("courses", [])]

    wait_until(lambda: courses() == [DEMO_COURSE.id], PATIENCE, "the demo course is not there")
    compared = subprocess.run(
        shlex.split(audit), cwd="/", capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert 0 == compared.returncode, compared.stdout
    assert "equal: " in compared.stdout

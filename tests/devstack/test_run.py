import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from devstack.child import HOST, free_port, wait_until
from tests.devstack.conftest import LocalStack, alive, run_line
from tests.servers import running


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        pytest.param(0, '{"message":"tracked"}', id="curl opens the course"),
        pytest.param(1, '{"message":"tracked"}', id="curl pings"),
        pytest.param(2, '"engagementFunnel"', id="curl shows the dashboard"),
        pytest.param(3, "course_analytics.v1.IngestService", id="grpcurl lists the services"),
        pytest.param(4, '"message": "tracked"', id="grpcurl pings"),
        pytest.param(5, '"engagement', id="grpcurl shows the dashboard"),
    ],
)
def test_the_printed_line_works(stack: LocalStack, number: int, shown: str) -> None:
    assert shown in run_line(stack.command_lines()[number])


def test_the_printed_line_asks_the_flusher_of_this_stack(stack: LocalStack) -> None:
    assert "courses dirty" in run_line(stack.flusher_line())


def test_no_other_line_is_printed(stack: LocalStack) -> None:
    assert 6 == len(stack.command_lines())


def test_the_numbers_move_by_themselves(stack: LocalStack) -> None:
    def watched() -> float:
        return float(stack.dashboard()["overview"]["totalWatchTimeSeconds"])

    before = watched()
    wait_until(lambda: watched() > before, 10, "no learner watched")


@pytest.mark.parametrize("name", ["gateway", "ingest", "query"])
def test_a_busy_port_is_one_sentence_and_nothing_is_started(tmp_path: Path, name: str) -> None:
    data = tmp_path / "data"
    with socket.create_server((HOST, free_port())) as taken:
        port = taken.getsockname()[1]
        ports = {"gateway": free_port(), "ingest": free_port(), "query": free_port(), name: port}
        options = [word for name, port in ports.items() for word in (f"--{name}-port", str(port))]
        command = [sys.executable, "-m", "devstack", "--data", str(data), *options]

        refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)

    assert (1, "") == (refused.returncode, refused.stdout)
    assert [True] == [f"port {port} is taken" in line for line in refused.stderr.splitlines()]
    assert not data.exists()


def test_ctrl_c_ends_every_process(tmp_path: Path) -> None:
    with running(LocalStack(tmp_path / "data")) as stack:
        children = stack.children()
        stack.signal(signal.SIGINT)

        assert 0 == stack.wait(20)

    assert 6 == len(children)
    assert [] == alive(children)


def test_the_next_run_goes_on_with_the_data_and_the_tokens_of_the_last(tmp_path: Path) -> None:
    def views() -> int:
        return int(stack.dashboard()["overview"]["totalViews"])

    with running(LocalStack(tmp_path / "data")) as stack:
        wait_until(lambda: views() > 0, 10, "nobody opened the course")
        before, dashboard_line = views(), stack.command_lines()[2]
        assert 0 == stack.stop()
        stack.start()

        assert before <= views()
        assert '"engagementFunnel"' in run_line(dashboard_line)


def test_a_program_that_ends_is_named_and_ends_the_stack(tmp_path: Path) -> None:
    with running(LocalStack(tmp_path / "data")) as stack:
        children = stack.children()
        victim = next(pid for pid in children if b"query_server" in Path(f"/proc/{pid}/cmdline").read_bytes())
        os.kill(victim, signal.SIGKILL)

        assert 1 == stack.wait(20)

    last = stack.output().splitlines()[-1]
    assert f"query_server has ended, and the stack with it; its log is {stack.data / 'query_server.log'}" == last
    assert [] == alive(children)


def test_a_killed_stack_leaves_nothing_behind(tmp_path: Path) -> None:
    with running(LocalStack(tmp_path / "data")) as stack:
        children = stack.children()

    wait_until(lambda: not alive(children), 10, "its children lived on")

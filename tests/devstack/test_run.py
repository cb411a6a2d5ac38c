import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from devstack import keeper
from devstack.__main__ import check_ports
from devstack.child import HOST, Child, StartError, free_port, port_is_free, wait_until
from devstack.keeper import Keeper
from devstack.seed import DEMO_COURSE
from devstack.stack import Ports, settings_of
from tests.devstack.conftest import LocalStack, alive, run_line
from tests.servers import PATIENCE, running

ROOT = Path(__file__).parents[2]
PORTS = {"gateway": 8080, "ingest": 50051, "query": 50052}  # as the pages say


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
    assert "tallies dirty" in run_line(stack.flusher_line())


def test_no_other_line_is_printed(stack: LocalStack) -> None:
    assert 6 == len(stack.command_lines())


def test_the_numbers_move_by_themselves(stack: LocalStack) -> None:
    def watched() -> float:
        return float(stack.dashboard()["overview"]["totalWatchTimeSeconds"])

    before = watched()
    wait_until(lambda: watched() > before, 10, "no learner watched")


def test_a_newcomer_sees_four_weeks_and_the_four_before(stack: LocalStack) -> None:
    report = stack.report()

    assert 28 == len(report["days"])
    assert all(day["courseViews"] and day["uniqueUsers"] and day["watchTimeSeconds"] for day in report["days"])
    assert 0 < report["previous"]["uniqueUsers"] < report["previous"]["courseViews"]
    assert all(step["views"] for step in report["engagementFunnel"])


def test_what_was_watched_before_the_first_run_is_sound(stack: LocalStack) -> None:
    assert "everything is as it must be" in run_line(stack.flusher_line().replace(" status", " verify"))


def test_a_busy_port_is_one_sentence_and_nothing_is_started(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with socket.create_server((HOST, free_port())) as taken:
        port = taken.getsockname()[1]
        ports = {"gateway": free_port(), "ingest": free_port(), "query": port}
        options = [word for name, port in ports.items() for word in (f"--{name}-port", str(port))]
        command = [sys.executable, "-m", "devstack", "--data", str(data), *options]

        refused = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)

    assert (1, "") == (refused.returncode, refused.stdout)
    sentence, instead = refused.stderr.splitlines()
    assert f"port {port} is taken: end what listens there, or take others:" == sentence
    assert not data.exists()
    assert [True] * 3 == [port_is_free(int(word)) for word in instead.split() if word.isdigit()]


@pytest.mark.parametrize("free", ["gateway", "ingest", "query"])
def test_all_busy_ports_are_named_at_once(free: str) -> None:
    with socket.create_server((HOST, 0)) as first, socket.create_server((HOST, 0)) as second:
        busy = [first.getsockname()[1], second.getsockname()[1]]
        others = [name for name in PORTS if name != free]
        ports = Ports(**dict(zip(others, busy, strict=True)), **{free: free_port()})

        with pytest.raises(StartError, match=rf"^ports {busy[0]}, {busy[1]} are taken") as refused:
            check_ports(ports)

    assert f"--{free}-port {getattr(ports, free)}" in str(refused.value)


def test_settings_of_the_environment_are_taken_over_but_for_those_of_the_stack() -> None:
    environment = {
        "PATH": "/bin",
        "ANALYTICS_LOG_LEVEL": "debug",
        "ANALYTICS_FLUSH_INTERVAL_SECONDS": "5",
        "ANALYTICS_REDIS_URL": "redis://elsewhere",
        "ANALYTICS_JWT_ISSUER": "somebody",
        "ANALYTICS_TEST_REDIS": "redis",
    }

    given, ignored = settings_of(environment)

    assert {"ANALYTICS_LOG_LEVEL": "debug", "ANALYTICS_FLUSH_INTERVAL_SECONDS": "5"} == given
    assert ["ANALYTICS_JWT_ISSUER", "ANALYTICS_REDIS_URL"] == ignored


def test_other_users_of_this_machine_cannot_read_its_files(stack: LocalStack) -> None:
    assert (stack.data / "jwt_secret").exists()
    for_others = ["find", str(stack.data), "!", "-type", "l", "-perm", "/077"]
    assert "" == subprocess.run(for_others, stdout=subprocess.PIPE, text=True, check=False).stdout


def test_only_the_servers_know_the_secret_of_the_tokens(stack: LocalStack) -> None:
    secret = (stack.data / "jwt_secret").read_bytes()
    environments = {command(pid): Path(f"/proc/{pid}/environ").read_bytes() for pid in stack.children()}

    knowing = {name for name, environment in environments.items() if secret in environment}
    assert {"ingest_server", "query_server"} == knowing
    assert "flusher" in environments


def command(pid: int) -> str:
    """The program's module, or what its command line ends with."""
    words = Path(f"/proc/{pid}/cmdline").read_text().strip("\0").split("\0")
    return words[words.index("-m") + 1] if "-m" in words else words[-1]


HISTORY = "counting what was watched in the weeks before"


@dataclass(frozen=True, slots=True)
class Run:
    """What was to be seen of a stack that ran, and whom it had started."""

    output: str
    views: int
    children: list[int]


@dataclass(frozen=True, slots=True)
class Lives:
    """Two runs with the same data: the first was ended by Ctrl-C, the second was killed."""

    first: Run
    code: int
    left: list[int]
    second: Run
    pasted_again: str


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Lives:
    def views() -> int:
        return int(stack.dashboard()["overview"]["totalViews"])

    def run() -> Run:
        return Run(stack.output(), views(), stack.children())

    with running(LocalStack(tmp_path_factory.mktemp("lives") / "data")) as stack:
        wait_until(lambda: views() > 0, PATIENCE, "nobody opened the course")
        first, dashboard_line = run(), stack.command_lines()[2]
        stack.signal(signal.SIGINT)
        code = stack.wait(PATIENCE)
        left = alive(first.children)
        stack.start(PATIENCE)
        return Lives(first, code, left, run(), run_line(dashboard_line))


def test_ctrl_c_ends_every_process(lives: Lives) -> None:
    assert (0, 6, []) == (lives.code, len(lives.first.children), lives.left)


def test_the_next_run_goes_on_with_the_data_and_the_tokens_of_the_last(lives: Lives) -> None:
    assert lives.first.views <= lives.second.views
    assert [True, False] == [HISTORY in run.output for run in (lives.first, lives.second)]
    assert '"engagementFunnel"' in lives.pasted_again


def test_a_killed_stack_leaves_nothing_behind(lives: Lives) -> None:
    assert 6 == len(lives.second.children)
    wait_until(lambda: not alive(lives.second.children), PATIENCE, "its children lived on")


VICTIMS = ("valkey-server", "ingest_server", "envoy")  # a store, one of ours, and the gateway


def test_whatever_is_killed_is_started_again_and_nothing_is_lost(stack: LocalStack) -> None:
    def counted() -> tuple[int, float]:
        try:
            overview = stack.dashboard()["overview"]
        except (KeyError, ValueError, subprocess.CalledProcessError):  # not up again yet
            return -1, -1
        return overview["totalViews"], overview["totalWatchTimeSeconds"]

    wait_until(lambda: counted() > (0, 0), PATIENCE, "nobody opened the course")
    (views, seconds), processes = counted(), [pid for pid in stack.children() if commandline(pid)]
    for victim in VICTIMS:
        os.kill(next(pid for pid in processes if victim.encode() in commandline(pid)), signal.SIGKILL)

    told = " was killed by SIGKILL, and is started again; its log is "
    wait_until(lambda: len(VICTIMS) == stack.output().count(told), PATIENCE, "not all were started again")
    wait_until(lambda: counted()[1] > seconds, PATIENCE, "it did not come back")

    assert views <= counted()[0]
    assert len(processes) - len(VICTIMS) == len(alive(processes))


def commandline(pid: int) -> bytes:
    """Empty for a process that has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def test_a_process_that_never_comes_up_ends_the_stack_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "PAUSE_SECONDS", 0)
    said: list[str] = []
    child = Child("broken", ["/bin/sh", "-c", "echo no such file; exit 7"], tmp_path / "broken.log")
    child.launch()

    with pytest.raises(StartError, match=r"(?s)^broken ended with exit code 7 again and again.*no such file"):
        Keeper([child], said.append).run()

    assert keeper.STARTS - 1 == len(said)
    assert f"broken ended with exit code 7, and is started again; its log is {child.log}" == said[0]


def documented(page: str) -> list[str]:
    """The blocks of shell commands of a page that call the API."""
    blocks = re.findall(r"```(?:sh|bash)\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    return [block for block in blocks if "authorization: bearer" in block.lower()]


@pytest.mark.parametrize(
    ("page", "number", "shown"),
    [
        ("README.md", 0, ['{"message":"tracked"}', '"accepted":1', '"engagementFunnel"', "v1.IngestService", '"asOf"']),
        ("docs/calls.md", 0, ['"fromDay"', '"uniqueUsersStandardError"']),
        ("docs/calls.md", 1, ['"segmentSeconds"', '"recordedSince"']),
        ("docs/calls.md", 2, ['"last28Days"', '"courseId"']),
    ],
)
def test_the_documented_calls_work_as_pasted(
    stack: LocalStack, tmp_path: Path, page: str, number: int, shown: list[str]
) -> None:
    tokens = re.findall(r"[Bb]earer ([\w-]+\.[\w-]+\.[\w-]+)", "\n".join(stack.command_lines()))
    block = documented(page)[number].replace(".venv/bin/grpcurl", "grpcurl")
    for name, port in stack.ports.items():
        block = block.replace(f"127.0.0.1:{PORTS[name]}", f"127.0.0.1:{port}")
    block = re.sub(r"^LEARNER=.*", f"LEARNER={tokens[0]}", block, flags=re.MULTILINE)
    block = re.sub(r"^INSTRUCTOR=.*", f"INSTRUCTOR={tokens[2]}", block, flags=re.MULTILINE)
    course = {"COURSE": DEMO_COURSE.id, "LECTURE": DEMO_COURSE.lectures[0].id, "TOKEN": tokens[2]}
    api = {"API": f"http://127.0.0.1:{stack.ports['gateway']}/api/v1/analytics"}
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

    pasted = subprocess.run(
        ["/bin/bash", "-e", "-c", block],
        cwd=tmp_path,
        env={**course, **api, **path},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )

    assert 0 == pasted.returncode, pasted.stderr
    assert [] == [text for text in shown if text not in pasted.stdout]
    assert [] == [line for line in pasted.stdout.splitlines() if line.startswith('{"code":')]


def test_every_documented_target_of_make_is_one() -> None:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    pages = "\n".join((ROOT / name).read_text() for name in listed.stdout.split())
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = set(re.findall(r"`make ([a-z]+)", pages)) | set(re.findall(r"^make ([a-z]+)", pages, re.MULTILINE))
    assert set() == named - set(targets)

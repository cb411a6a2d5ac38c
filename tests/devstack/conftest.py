import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack.child import Child, free_port
from tests.servers import PATIENCE, running


class LocalStack(Child):
    """What `make run` starts, on free ports."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.ports = {name: free_port() for name in ("gateway", "ingest", "query")}
        options = [word for name, port in self.ports.items() for word in (f"--{name}-port", str(port))]
        command = [sys.executable, "-m", "devstack", "--data", str(data), *options]
        super().__init__("devstack", command, data.with_suffix(".out"))

    def launch(self) -> None:
        self.log.unlink(missing_ok=True)
        super().launch()

    def ready(self) -> bool:
        return "Ctrl-C ends everything" in self.output()

    def command_lines(self) -> list[str]:
        """The curl and grpcurl lines that it has printed."""
        return [line.strip() for line in self.output().splitlines() if line.startswith("  ") and "curl " in line]

    def flusher_line(self) -> str:
        """The line that asks the flusher."""
        (line,) = (line.strip() for line in self.output().splitlines() if " -m flusher " in line)
        return line

    def dashboard(self) -> Any:
        return json.loads(run_line(self.command_lines()[2]))

    def report(self) -> Any:
        """The report of the last four weeks."""
        return json.loads(run_line(f"{self.command_lines()[2]}/report"))

    def children(self) -> list[int]:
        """The process ids of all that it has started."""
        tasks = Path(f"/proc/{self.pid}/task").glob("*/children")
        return [int(pid) for task in tasks for pid in task.read_text().split()]


def run_line(line: str) -> str:
    """What a person sees who pastes the line into another terminal, in another folder."""
    command = ["/bin/bash", "-c", line]
    return subprocess.run(command, cwd="/", capture_output=True, text=True, check=True, timeout=20).stdout


def alive(pids: list[int]) -> list[int]:
    """Those of the processes that have not ended."""
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A local stack for tests that leave it running."""
    with running(LocalStack(tmp_path_factory.mktemp("stack") / "data")) as stack:
        yield stack
        assert 0 == stack.stop(PATIENCE)

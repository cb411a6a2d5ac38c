"""Clusters that a test may reshape and break, and the programs on them."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from devstack.programs import Program
from tests.cluster.nodes import Cluster
from tests.servers import PATIENCE

StartOn = Callable[..., Program]

# What the flusher has to say of data that a test has spoilt.
ALERTS = ("batch quarantined", "swept back into the dirty set")


@pytest.fixture
def launch_cluster(tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """Starts nodes that are no cluster yet; all are killed at the end."""
    with ExitStack() as stack:

        def launch(**options: bool) -> Cluster:
            cluster = Cluster(tmp_path / "cluster", **options)
            stack.callback(cluster.kill)
            cluster.launch()
            return cluster

        yield launch


@pytest.fixture
def start_on(start_program: Callable[..., Program]) -> Iterator[StartOn]:
    """Starts a program on a cluster. At the end none of them has met an error that it did not expect."""
    started: list[Program] = []

    def start(cluster: Cluster, module: str, *arguments: str, **settings: object) -> Program:
        quick = {"flush_interval_seconds": 0.05, "flush_lock_ttl_seconds": 2}
        given = {"redis_url": cluster.url, "redis_cluster": "true", **quick, **settings}
        started.append(start_program(module, *arguments, **given))
        return started[-1]

    yield start
    for program in started:
        assert "hash to the same slot" not in program.output()  # CROSSSLOT, which the client leaves out
        assert [] == [line for line in program.output().splitlines() if is_error(line)]


async def flush_the_rest(start: Callable[[], Program]) -> None:
    """Starts `--once` until nothing stays: a lock whose slot was moved away in the middle of a wave ends by itself."""
    async with asyncio.timeout(PATIENCE):
        while 0 != await asyncio.to_thread(start().wait, PATIENCE):
            pass


def is_error(line: str) -> bool:
    """Whether a line of a program's output says that something went wrong that should not."""
    if not line.startswith("{"):
        return line.startswith("Traceback")
    said = json.loads(line)
    return said["level"] == "error" and said["event"] not in ALERTS

"""A Redis of another kind than the settings say, or one that runs no scripts, is refused at first contact."""

from collections.abc import Callable, Iterator

import pytest
import redis

from devstack.programs import Program
from devstack.servers import RedisServer
from shared.stores.fitness import IS_A_CLUSTER, IS_NO_CLUSTER
from tests.servers import PATIENCE, running

Start = Callable[..., Program]
PROGRAMS = pytest.mark.parametrize("command", [("ingest_server",), ("query_server",), ("flusher", "--once")])


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One node of a cluster, which has all slots."""
    with running(RedisServer(tmp_path_factory.mktemp("node"), cluster_enabled="yes")) as server:
        with redis.Redis.from_url(server.url) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16_383)
        yield server


def last_word(program: Program) -> tuple[int, str]:
    """The exit code and the last line."""
    return program.wait(PATIENCE), program.output().splitlines()[-1]


@PROGRAMS
def test_a_cluster_that_is_taken_for_one_server_is_refused(
    start_program: Start, node: RedisServer, command: tuple[str, ...]
) -> None:
    assert (2, IS_A_CLUSTER) == last_word(start_program(*command, wait=False, redis_url=node.url))


@PROGRAMS
def test_one_server_that_is_taken_for_a_cluster_is_refused(start_program: Start, command: tuple[str, ...]) -> None:
    assert (2, IS_NO_CLUSTER) == last_word(start_program(*command, wait=False, redis_cluster=True))


@pytest.mark.parametrize(("command", "missing"), [(("ingest_server",), "EVALSHA"), (("flusher", "--once"), "EVAL")])
def test_a_redis_without_scripts_is_refused(
    start_program: Start, start_redis: Callable[..., RedisServer], command: tuple[str, ...], missing: str
) -> None:
    renamed = start_redis(rename_command=f'{missing} ""')
    code, said = last_word(start_program(*command, wait=False, redis_url=renamed.url))
    assert (2, True) == (code, said.startswith(f"Redis refuses {missing}, by which every count is made"))

"""Several processes of one server on one port."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from devstack.child import HOST, free_port, wait_until
from devstack.programs import Program, is_serving
from devstack.servers import RedisServer
from tests.servers import PATIENCE

STOP_SECONDS = 25


def workers_of(supervisor: Program) -> set[int]:
    """The process ids of the workers that are alive."""
    children = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children").read_text().split()
    return {int(pid) for pid in children if is_worker(int(pid))}


def is_worker(pid: int) -> bool:
    try:
        return b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@pytest.fixture
def start_workers(start_program: Callable[..., Program]) -> Callable[..., Program]:
    def start(address: str, *, kind: str = "ingest", workers: int, wait: bool = True, **stores: str) -> Program:
        settings = {f"{kind}_address": address, f"{kind}_workers": workers, **stores}
        return start_program(f"{kind}_server", wait=wait, **settings)

    return start


@pytest.fixture
def address() -> str:
    return f"{HOST}:{free_port()}"


@pytest.mark.parametrize("kind", ["ingest", "query"])
def test_as_many_workers_serve_one_port_as_were_asked_for(
    start_workers: Callable[..., Program], address: str, kind: str
) -> None:
    supervisor = start_workers(address, kind=kind, workers=3)
    wait_until(lambda: supervisor.output().count('"ready"') == 3, 10, "not every worker was ready")
    assert 3 == len(workers_of(supervisor))
    assert is_serving(address)


def test_a_worker_that_dies_is_reported_and_replaced(start_workers: Callable[..., Program], address: str) -> None:
    supervisor = start_workers(address, workers=2)
    wait_until(lambda: len(workers_of(supervisor)) == 2, 10, "there were no two workers")
    victim = min(workers_of(supervisor))
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: len(workers_of(supervisor) - {victim}) == 2, 10, "the dead worker was not replaced")
    assert "worker died" in supervisor.output()


def test_whichever_worker_is_asked_for_its_health_says_what_all_would(
    start_workers: Callable[..., Program], start_redis: Callable[..., RedisServer], address: str
) -> None:
    store = start_redis()
    supervisor = start_workers(address, workers=3, redis_url=store.url)
    wait_until(lambda: supervisor.output().count('"ready"') == 3, PATIENCE, "not every worker was ready")
    assert {True} == health_of_all(address)

    store.kill()
    wait_until(lambda: supervisor.output().count('"not ready"') >= 3, PATIENCE, "not every worker noticed")
    assert {False} == health_of_all(address)

    store.start()
    wait_until(lambda: supervisor.output().count('"ready"') == 6, PATIENCE, "not every worker is ready again")
    assert {True} == health_of_all(address)


def health_of_all(address: str) -> set[bool]:
    """Asked over so many connections that each of three workers is asked, but once in 90,000 times."""
    return {is_serving(address) for _ in range(30)}


def test_a_stop_is_graceful_for_all_workers(start_workers: Callable[..., Program], address: str) -> None:
    supervisor = start_workers(address, workers=2)
    wait_until(lambda: supervisor.output().count('"ready"') == 2, 10, "not every worker was ready")
    supervisor.signal(signal.SIGTERM)
    assert 0 == supervisor.wait(STOP_SECONDS)
    assert 2 == supervisor.output().count('"stopping"')


def test_workers_end_when_their_supervisor_is_killed(start_workers: Callable[..., Program], address: str) -> None:
    supervisor = start_workers(address, workers=2)
    wait_until(lambda: supervisor.output().count('"ready"') == 2, 10, "not every worker was ready")
    orphans = workers_of(supervisor)
    supervisor.kill()
    wait_until(lambda: not any(is_worker(pid) for pid in orphans), STOP_SECONDS, "workers outlived their supervisor")


@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_that_workers_share_is_taken_for_everybody_else(
    start_workers: Callable[..., Program], address: str, workers: int
) -> None:
    start_workers(address, workers=2)
    second = start_workers(address, workers=workers, wait=False)
    assert 2 == second.wait(PATIENCE)
    assert f"cannot listen on {address}" in second.output().splitlines()[-1]


def test_an_address_that_cannot_be_resolved_is_one_sentence(start_workers: Callable[..., Program]) -> None:
    supervisor = start_workers("no.such.host.invalid:50051", workers=2, wait=False)
    assert 2 == supervisor.wait(PATIENCE)
    assert supervisor.output().splitlines()[-1].startswith("cannot listen on no.such.host.invalid:50051")

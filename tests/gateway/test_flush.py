"""The whole way: a ping enters through the gateway, and the instructor sees it at every moment of its flush."""

import signal
from collections.abc import Callable
from typing import Any

import httpx
import redis

from devstack.programs import Program
from tests.gateway.conftest import Service
from tests.gateway.rest import DASHBOARD, TELEMETRY, VIEW, ping


def shown(instructor: httpx.Client) -> dict[str, Any]:
    """The dashboard without the moment that it was read at."""
    dashboard: dict[str, Any] = instructor.get(DASHBOARD).raise_for_status().json()
    del dashboard["overview"]["asOf"]
    return dashboard


def unlock(redis_url: str) -> None:
    """Ends the life of the locks that a killed flusher has left."""
    with redis.Redis.from_url(redis_url) as client:
        client.delete("none", *client.scan_iter("analytics_flush_lock:*"))


def test_the_dashboard_is_the_same_before_during_and_after_a_flush(
    start_program: Callable[..., Program], service: Service, learner: httpx.Client, instructor: httpx.Client
) -> None:
    def flush(module: str, *arguments: str) -> int:
        unlock(service.redis_url)
        flusher = start_program(module, *arguments, "--once", redis_url=service.redis_url, mongo_url=service.mongo_url)
        return flusher.wait(20)

    before = shown(instructor)
    learner.post(VIEW).raise_for_status()
    learner.post(TELEMETRY, json=ping(watchTimeDelta=7)).raise_for_status()
    hot = shown(instructor)
    assert (1, 7) == (
        hot["overview"]["totalViews"] - before["overview"]["totalViews"],
        hot["overview"]["totalWatchTimeSeconds"] - before["overview"]["totalWatchTimeSeconds"],
    )

    assert -signal.SIGKILL == flush("tests.flusher.failing", "KILL", "before barrier 1")
    assert hot == shown(instructor), "taken, and not in MongoDB yet"
    assert -signal.SIGKILL == flush("tests.flusher.failing", "KILL", "before clear 1")
    assert hot == shown(instructor), "in MongoDB, and in Redis still"
    assert 0 == flush("flusher")
    assert hot == shown(instructor), "flushed"

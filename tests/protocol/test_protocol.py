"""`HYPOTHESIS_PROFILE=thorough` searches for about a quarter of an hour, and somewhere else each time."""

import asyncio
import os
from functools import partial

import pytest
import structlog
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from flusher.steps import apply, clear
from query_server import reading
from shared.data.tallies import COURSE, DAY
from shared.stores import mongo
from tests.flusher.stage import staged
from tests.protocol.actors import Air, turns
from tests.protocol.machine import Protocol

THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"
SEARCH = settings(
    max_examples=1000 if THOROUGH else 25,
    stateful_step_count=60 if THOROUGH else 40,
    derandomize=not THOROUGH,
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink] if THOROUGH else [Phase.generate],
)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is late by the clock of this machine; and every clear is a step of its own."""
    monkeypatch.setattr(clear, "CLEAR_TALLIES", 1)
    monkeypatch.setattr(apply, "APPLY_SECONDS", 3600)
    monkeypatch.setattr(reading, "DEADLINE_SECONDS", 3600)
    for kind in (COURSE, DAY):
        monkeypatch.setattr(kind, "window", kind.window)  # whatever the machine makes of it


@pytest.mark.usefixtures("unhurried")
@pytest.mark.timeout(3600 if THOROUGH else 600)
def test_the_dashboard_shows_what_was_acknowledged_whatever_happens(redis_url: str, mongo_url: str) -> None:
    air = Air(redis_url)
    with asyncio.Runner() as runner, turns(air), structlog.testing.capture_logs():
        client = mongo.connect(mongo_url, program="tests")
        stage = staged(redis_url, mongo.database(client))
        ready = runner.run(stage.__aenter__())
        try:
            run_state_machine_as_test(partial(Protocol, runner, ready, air), settings=SEARCH)  # type: ignore[arg-type] # it makes the machine
        finally:
            runner.run(stage.__aexit__(None, None, None))
            runner.run(client.close())

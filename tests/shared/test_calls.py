"""A server that stops waits until its callers have gone elsewhere."""

import asyncio
import time

import pytest

from shared.serving import calls
from shared.serving.calls import Calls


async def test_a_server_that_nobody_calls_is_drained_at_once() -> None:
    async with asyncio.timeout(calls.LOOK_SECONDS):
        await Calls().drained()


async def test_it_is_not_drained_while_a_call_is_in_hand() -> None:
    of_server = Calls()
    with of_server:
        waiting = asyncio.create_task(of_server.drained())
        done, _ = await asyncio.wait({waiting}, timeout=2 * calls.QUIET_SECONDS)
        assert not done
    await waiting


async def test_it_is_drained_at_last_though_calls_never_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "DRAIN_SECONDS", 0.1)
    of_server = Calls()
    with of_server:
        await of_server.drained()


async def test_it_is_drained_only_some_time_after_the_last_call() -> None:
    of_server = Calls()
    before = time.monotonic()
    with of_server:
        pass
    await of_server.drained()
    assert time.monotonic() - before >= calls.QUIET_SECONDS

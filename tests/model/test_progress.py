"""A search that takes minutes says how far it is."""

import pytest

from tests.model.__main__ import Progress


def test_progress_is_said_every_five_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter([0.0, 1.0, 6.0, 7.0, 11.0])
    progress = Progress(3, lambda: next(clock))
    progress.next()
    for states in (10, 2000, 3000, 4000):
        progress.seen(states)

    assert [
        "  search 1 of 3: 2,000 states, 6 s in all",
        "  search 1 of 3: 4,000 states, 11 s in all",
    ] == capsys.readouterr().out.splitlines()

"""How many lines refused calls write, and what is in them."""

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from shared.serving import refusals
from shared.serving.errors import Unavailable
from shared.serving.refusals import LineLimit, refused, request_id


# In parts of a second whose sums have no rounding.
@given(st.integers(1, 5), st.lists(st.integers(0, 3 * 1024).map(lambda parts: parts / 1024), max_size=60))
def test_no_second_has_more_lines_than_allowed_and_every_refusal_is_logged_or_counted(
    lines: int, pauses: list[float]
) -> None:
    now = 0.0
    limit = LineLimit(lines, now=lambda: now)
    written: list[float] = []
    told = 0
    for pause in pauses:
        now += pause
        left_out = limit.admit()
        if left_out is not None:
            written.append(now)
            told += 1 + left_out

    for at in written:
        assert sum(at <= other < at + 1 for other in written) <= 2 * lines, "two windows may touch"
    assert told <= len(pauses)
    now += 1
    assert len(pauses) == told + (limit.admit() or 0)


def test_a_flood_of_one_code_does_not_hide_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "_limits", {})
    with structlog.testing.capture_logs() as lines:
        for code in ["UNAVAILABLE"] * 1_000 + ["NOT_FOUND"]:
            refused("Method", code, Unavailable("away"), cause="store", metadata=None)

    assert len(lines) <= 21  # two seconds, on a machine that hangs between
    assert "NOT_FOUND" == lines[-1]["code"]


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        (None, None),
        ([("authorization", "Bearer x")], None),
        ([("x-request-id", "abc")], "abc"),
        ([("x-request-id", "a" * 1_000)], "a" * 128),
    ],
)
def test_the_request_id_is_that_of_the_metadata(
    metadata: list[tuple[str, str | bytes]] | None, expected: str | None
) -> None:
    assert expected == request_id(metadata)


def test_a_line_says_what_the_store_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "_limits", {})
    error = Unavailable("Redis is out of reach")
    error.__cause__ = TimeoutError()
    with structlog.testing.capture_logs() as lines:
        refused("Method", "UNAVAILABLE", error, cause="redis", metadata=[("x-request-id", "abc")])

    expected = {
        "event": "refused",
        "log_level": "warning",
        "method": "Method",
        "code": "UNAVAILABLE",
        "cause": "redis",
        "reason": "Redis is out of reach",
        "because": "TimeoutError",
        "request_id": "abc",
    }
    assert [expected] == lines


@pytest.mark.parametrize(
    ("cause", "level"),
    [("redis", "warning"), ("out_of_memory", "warning"), ("mongodb", "warning"), ("queue", "info"), ("token", "info")],
)
def test_what_an_operator_has_to_mend_is_a_warning(monkeypatch: pytest.MonkeyPatch, cause: str, level: str) -> None:
    monkeypatch.setattr(refusals, "_limits", {})
    with structlog.testing.capture_logs() as lines:
        refused("Method", "UNAVAILABLE", Unavailable("x"), cause=cause, metadata=None)
    assert [level] == [line["log_level"] for line in lines]

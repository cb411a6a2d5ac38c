"""Calls that were not answered OK: all are counted, and a limited number is logged.

In any second a process writes at most 10 lines for one gRPC code; the next line of that code says in `unlogged` how
many were skipped. So an unavailable Redis or a faulty player causes 10 lines a second, not thousands.
"""

import time
from collections.abc import Callable, Iterable

import structlog

from shared import metrics

LINES_A_SECOND = 10
MAX_ID = 128

FOR_THE_OPERATOR = frozenset({"redis", "mongodb", "keys", "store", "out_of_memory", "spoilt_key"})

Metadata = Iterable[tuple[str, str | bytes]]

log = structlog.get_logger()


class LineLimit:
    """At most so many lines of one kind in a second; `now` is a monotonic clock."""

    def __init__(self, lines: int, now: Callable[[], float] = time.monotonic) -> None:
        self._lines = lines
        self._now = now
        self._second = now()
        self._written = 0
        self._left_out = 0

    def admit(self) -> int | None:
        """How many lines were skipped since the last one; None if this one must be skipped too."""
        now = self._now()
        if now - self._second >= 1:
            self._second, self._written = now, 0
        if self._written >= self._lines:
            self._left_out += 1
            return None
        self._written += 1
        left_out, self._left_out = self._left_out, 0
        return left_out


_limits: dict[str, LineLimit] = {}


def refused(method: str, code: str, error: Exception, *, cause: str, metadata: Metadata | None) -> None:
    """Records a call that was answered with an error. A caller's fault is one line, a bug (cause `bug`) has its stack.

    What an operator must fix, such as an unavailable store, is a warning.

    The line has the caller's `x-request-id`, and the text of the error, which names courses but no users.
    """
    metrics.CALLS_REFUSED.labels(method, code, cause).inc()
    left_out = _limits.setdefault(code, LineLimit(LINES_A_SECOND)).admit()
    if left_out is None:
        return
    fields: dict[str, object] = {"method": method, "code": code, "request_id": request_id(metadata)}
    if left_out:
        fields["unlogged"] = left_out
    if cause == "bug":
        log.error("unexpected error", **fields, exc_info=error)
        return
    if error.__cause__ is not None:
        fields["because"] = str(error.__cause__) or type(error.__cause__).__name__
    say = log.warning if cause in FOR_THE_OPERATOR else log.info
    say("refused", **fields, cause=cause, reason=str(error))


def request_id(metadata: Metadata | None) -> str | None:
    """The request's id, from the caller or the gateway; None without one. Cut to the maximum length of an id."""
    return next((str(value)[:MAX_ID] for key, value in metadata or () if key == "x-request-id"), None)

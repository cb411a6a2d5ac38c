"""What is refused before it is parsed: judged by its bytes alone, at a cost that does not grow with them."""

from ingest_server.allowance import Allowance
from ingest_server.validation import MAX_EVENTS
from ingest_server.wire import count_fields
from shared.identity.auth import Caller
from shared.serving.errors import InvalidRequest, TooLarge, Violation
from shared.serving.lifecycle import MAX_MESSAGE_BYTES

MAX_BATCH_BYTES = 1024 * 1024

# Of TrackBatchRequest and TrackStreamRequest.
EVENTS_FIELD = 1

# What a batch of some later version may have beside its events.
OTHER_FIELDS = 100


class Admission:
    """Decides on calls by their size, their number of events, and what their caller has left."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance

    def check(self, method: str, data: bytes, caller: Caller) -> None:
        """Raises TooLarge, Unreadable, InvalidRequest or Overloaded for a call that need not be parsed."""
        if method == "TrackBatch":
            events = count_events(data)
        elif len(data) <= MAX_MESSAGE_BYTES:
            events = 1
        else:
            raise TooLarge(len(data), MAX_MESSAGE_BYTES)
        self._allowance.charge(caller, events)

    async def wait(self, data: bytes, caller: Caller) -> None:
        """Returns once a batch of a stream may be parsed. Raises Unreadable or InvalidRequest."""
        await self._allowance.wait(caller, count_events(data))


def count_events(data: bytes) -> int:
    """How many events a batch has. Raises InvalidRequest when a batch has not so many, or Unreadable."""
    events = count_fields(data, EVENTS_FIELD, most=MAX_EVENTS + OTHER_FIELDS)
    if not 1 <= events <= MAX_EVENTS:
        raise InvalidRequest([Violation("events", f"must be 1 to {MAX_EVENTS:,} events")])
    return events

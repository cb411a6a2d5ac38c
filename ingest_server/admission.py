"""What is refused before it is parsed: judged by the bytes alone, at a cost that does not grow with them."""

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


def check(method: str, data: bytes, _caller: Caller) -> None:
    """Raises TooLarge, Unreadable or InvalidRequest for a call that need not be parsed to be refused."""
    if method == "TrackBatch":
        check_batch(data)
    elif len(data) > MAX_MESSAGE_BYTES:
        raise TooLarge(len(data), MAX_MESSAGE_BYTES)


def check_batch(data: bytes) -> int:
    """How many events the batch has. Raises InvalidRequest when a batch has not so many, or Unreadable."""
    events = count_fields(data, EVENTS_FIELD, most=MAX_EVENTS + OTHER_FIELDS)
    if not 1 <= events <= MAX_EVENTS:
        raise InvalidRequest([Violation("events", f"must be 1 to {MAX_EVENTS:,} events")])
    return events

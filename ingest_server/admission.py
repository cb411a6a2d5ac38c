"""Refuses calls before they are parsed: by their bytes alone, at a cost that does not grow with them."""

from ingest_server.allowance import Allowance
from ingest_server.validation import MAX_EVENTS
from ingest_server.wire import count_fields
from shared.identity.auth import Caller
from shared.serving import methods
from shared.serving.errors import InvalidRequest, TooLarge, Violation
from shared.serving.sent import Sent

MAX_BATCH_BYTES = 1024 * 1024

# Of TrackBatchRequest and TrackStreamRequest.
EVENTS_FIELD = 1

# The bytes that a batch of a later version may have besides its events.
OTHER_FIELDS = 100

# Decompressing so many bytes costs as much as an event.
UNPACKED_BYTES = 1024


class Admission:
    """Admits calls by their size, their number of events, and their caller's allowance."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance

    def check(self, method: str, sent: Sent, caller: Caller) -> bytes:
        """The bytes of a call's message. Raises TooLarge, Unreadable, InvalidRequest or Overloaded to refuse it."""
        if method != "TrackBatch":
            self._allowance.charge(caller, 1)
            return methods.admit_small(method, sent, caller)
        if sent.is_packed:
            self._allowance.charge(caller, _unpacking(sent))
        data = sent.unpacked()
        self._allowance.charge(caller, _events(data))
        return data

    async def wait(self, sent: Sent, caller: Caller) -> bytes:
        """The bytes of a stream's batch, once it may be parsed. Raises TooLarge, Unreadable or InvalidRequest."""
        if sent.is_packed:
            await self._allowance.wait(caller, _unpacking(sent))
        data = sent.unpacked()
        await self._allowance.wait(caller, _events(data))
        return data


def _unpacking(sent: Sent) -> int:
    """What a compressed batch is charged, in events, before it is decompressed. Raises what already refuses it."""
    if sent.size > MAX_BATCH_BYTES:
        raise TooLarge(sent.size, MAX_BATCH_BYTES)
    _events(sent.beginning(), whole=False)
    return 1 + sent.size // UNPACKED_BYTES


def _events(data: bytes, *, whole: bool = True) -> int:
    """How many events a batch has, or its beginning. Raises InvalidRequest for too many or none, or Unreadable."""
    events = count_fields(data, EVENTS_FIELD, most=MAX_EVENTS + OTHER_FIELDS, whole=whole)
    if events > MAX_EVENTS or (whole and not events):
        raise InvalidRequest([Violation("events", f"must be 1 to {MAX_EVENTS:,} events")])
    return events

"""A record: the contents of a tally's document at one moment. It is sent through Kafka, or directly. Pure.

Records hold totals, not increments. So the record with the highest `at` is right; repeats, another order, a second
relay or a replay from the start change nothing.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bson import Timestamp

VERSION = 1

# The estimated users of a tally: a counter that only the warehouse has, because documents have a sketch.
UNIQUE_USERS = "unique_users"

_SECONDS_BITS, _ORDINAL_BITS = 32, 24
MAX_GENERATION = 2**8 - 1

_NUMBER = re.compile(r"[0-9]{1,20}")  # Python refuses to parse a number of thousands of digits


class Malformed(ValueError):
    """Not a record of a known version; the text says why."""


@dataclass(frozen=True, slots=True)
class Record:
    """The counters that one change touched: hash fields to totals, which are 0 or more.

    `cleared`: nothing that was recorded of the tally before `at` counts any more.
    """

    tally: str
    at: int
    totals: Mapping[str, int] = field(default_factory=dict)
    cleared: bool = False


def moment(time: Timestamp, generation: int) -> int:
    """A cluster time as one 64-bit number: the generation, the seconds, and the ordinal within the second.

    After a restore MongoDB's clock may go back: an operator then raises the generation, 0 to 255.
    """
    ordinal = min(int(time.inc), (1 << _ORDINAL_BITS) - 1)
    return (generation << _SECONDS_BITS | int(time.time)) << _ORDINAL_BITS | ordinal


def seconds_of(at: int) -> int:
    """The seconds since the epoch of a cluster time."""
    return at >> _ORDINAL_BITS & (1 << _SECONDS_BITS) - 1


def parts_of(record: Record, counters: int) -> Iterator[Record]:
    """The record split into equivalent parts with a limited number of counters each."""
    totals = list(record.totals.items())
    for start in range(0, max(len(totals), 1), counters):
        part = dict(totals[start : start + counters])
        yield Record(record.tally, record.at, part, cleared=record.cleared and start == 0)


def encode(record: Record) -> bytes:
    """The record as JSON. `at` is text: JSON parsers lose precision beyond 2^53."""
    body: dict[str, Any] = {"v": VERSION, "tally": record.tally, "at": str(record.at), "totals": dict(record.totals)}
    if record.cleared:
        body["cleared"] = True
    return json.dumps(body, separators=(",", ":")).encode()


def decode(data: bytes) -> Record:
    """The record in a message. Raises Malformed."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"no JSON: {error}") from None
    if not isinstance(body, dict):
        raise Malformed("no JSON object")
    if body.get("v") != VERSION:
        raise Malformed(f"version {str(body.get('v'))[:20]} is not known here, only {VERSION}")
    tally, at, totals = body.get("tally"), body.get("at"), body.get("totals", {})
    if not isinstance(tally, str):
        raise Malformed("tally is not text")
    if not (isinstance(at, str) and _NUMBER.fullmatch(at) and int(at) < 2**64):
        raise Malformed("at is not a number of 64 bits, written as text")
    if not isinstance(totals, dict) or not all(is_total(total) for total in totals.values()):
        raise Malformed("totals is not a map of whole numbers of 0 or more")
    return Record(tally, int(at), totals, cleared=body.get("cleared") is True)


def is_total(value: object) -> bool:
    """Whether it is a whole number that fits into a row: 0 to 2^63 - 1."""
    return type(value) is int and 0 <= value < 2**63

"""A record means the same on both sides of Kafka, and what is none is refused with its reason."""

import json

import pytest
from bson import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from warehouse.record import Malformed, Record, decode, encode, moment, parts_of, seconds_of

TOTALS = st.dictionaries(st.text(max_size=20), st.integers(0, 2**63 - 1), max_size=5)
TIMES = st.builds(Timestamp, st.integers(0, 2**32 - 1), st.integers(0, 2**20))


@given(st.builds(Record, st.text(max_size=60), st.integers(0, 2**64 - 1), TOTALS, st.booleans()))
def test_a_record_arrives_as_it_was_sent(record: Record) -> None:
    assert record == decode(encode(record))


@given(st.builds(Record, st.just("t"), st.just(5), TOTALS, st.booleans()), st.integers(1, 4))
def test_a_record_in_parts_says_the_same_in_smaller_messages(record: Record, counters: int) -> None:
    parts = list(parts_of(record, counters))

    assert record.totals == {field: total for part in parts for field, total in part.totals.items()}
    assert [record.cleared] == [part.cleared for part in parts[:1]]
    assert not any(part.cleared for part in parts[1:])
    assert {("t", 5)} == {(part.tally, part.at) for part in parts}
    assert max(len(part.totals) for part in parts) <= counters


def test_the_moment_travels_as_text_because_readers_of_json_lose_bits() -> None:
    assert str(2**63 + 1) == json.loads(encode(Record("t", 2**63 + 1)))["at"]


@given(TIMES, TIMES)
def test_moments_have_the_order_of_the_clusters_clock(one: Timestamp, other: Timestamp) -> None:
    assert (one < other) == (moment(one, 0) < moment(other, 0))


@given(TIMES, TIMES)
def test_after_a_restore_every_moment_is_later_than_all_before(before: Timestamp, after: Timestamp) -> None:
    assert moment(before, 3) < moment(after, 4) < 2**64


@given(TIMES, st.integers(0, 255))
def test_a_moment_knows_its_seconds(time: Timestamp, generation: int) -> None:
    assert time.time == seconds_of(moment(time, generation))


GOOD = {"v": 1, "tally": "t", "at": "5", "totals": {"course_views": 1}}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff", "no JSON"),
        (b"[1]", "no JSON object"),
        (b"[" * 100_000, "no JSON"),
        (json.dumps({**GOOD, "v": 2}).encode(), "version 2 is not known here"),
        (json.dumps({**GOOD, "v": None}).encode(), "version None"),
        (json.dumps({**GOOD, "tally": 5}).encode(), "tally is not text"),
        (json.dumps({**GOOD, "at": 5}).encode(), "at is not a number"),
        (json.dumps({**GOOD, "at": "-5"}).encode(), "at is not a number"),
        (json.dumps({**GOOD, "at": str(2**64)}).encode(), "at is not a number"),
        (json.dumps({**GOOD, "at": "9" * 5_000}).encode(), "at is not a number"),
        (json.dumps({**GOOD, "totals": [1]}).encode(), "totals is not a map"),
        (json.dumps({**GOOD, "totals": {"x": -1}}).encode(), "totals is not a map"),
        (json.dumps({**GOOD, "totals": {"x": 1.5}}).encode(), "totals is not a map"),
        (json.dumps({**GOOD, "totals": {"x": True}}).encode(), "totals is not a map"),
        (json.dumps({**GOOD, "totals": {"x": 2**63}}).encode(), "totals is not a map"),
    ],
)
def test_a_malformed_record_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        decode(data)


def test_a_field_that_a_later_version_adds_is_left_out() -> None:
    assert Record("t", 5, {"course_views": 1}) == decode(json.dumps({**GOOD, "new": 1}).encode())

"""Whether a batch names a user: found as if each of its events had been asked."""

import pytest
from course_analytics.v1 import ingest_pb2
from hypothesis import given
from hypothesis import strategies as st

from ingest_server import validation
from ingest_server.named import names_user
from tests.ingest_server.backend import ping, view

texts = st.sampled_from(["", "2" * 24, "\x1a\x01x"])  # tags of users: \x1a in a view, "2" in a ping
users = st.none() | texts
events = st.builds(view, texts, event=users, user=users) | st.builds(ping, texts, texts, event=users, user=users)


@given(st.lists(events | st.just(ingest_pb2.Event()), max_size=3))
def test_it_finds_what_the_events_themselves_say(batch: list[ingest_pb2.Event]) -> None:
    named = any(validation.of_event(event).HasField("user_id") for event in batch)
    assert named == names_user(ingest_pb2.TrackBatchRequest(events=batch))
    assert named == names_user(ingest_pb2.TrackStreamRequest(events=batch))


@pytest.mark.parametrize(
    ("event", "named"),
    [
        (b"\x0a\x02\x1a\x00" + b"\x12\x00", False),  # a view that names a user, then a ping instead
        (b"\x12\x02\x32\x00" + b"\x12\x00", True),  # two parts of one ping
        (b"\x12\x07\x3a\x05\x32\x03abc", False),  # within a range, where it means nothing
        (b"\x12\x05\x7a\x03\x32\x01x", False),  # within a field that nobody knows
    ],
    ids=["another event follows", "in parts", "in a range", "in an unknown field"],
)
def test_what_counts_is_what_the_message_means(event: bytes, named: bool) -> None:
    batch = ingest_pb2.TrackBatchRequest.FromString(b"\x0a" + bytes([len(event)]) + event)
    assert named == names_user(batch)

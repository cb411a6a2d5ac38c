"""Counting the events of a batch without building them: as protobuf itself counts, at a bounded cost."""

import pytest
from course_analytics.v1 import ingest_pb2
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from ingest_server.wire import count_fields
from shared.serving.errors import Unreadable
from tests.ingest_server.backend import ping, view

MOST = 2_000

events = st.builds(view, st.text(max_size=300), event=st.none() | st.text(max_size=5))
unknown = st.sampled_from([b"\x10\x07", b"\x10\xff\xff\xff\x01", b"\x1d1234", b"\x2112345678", b"\x7a\x03abc", b""])


@given(st.lists(events, max_size=20), unknown, unknown)
def test_it_counts_as_protobuf_does(batch: list[ingest_pb2.Event], before: bytes, after: bytes) -> None:
    data = before + ingest_pb2.TrackBatchRequest(events=batch).SerializeToString() + after
    assert len(ingest_pb2.TrackBatchRequest.FromString(data).events) == count_fields(data, 1, most=MOST)


@given(st.binary(max_size=60))
def test_of_any_bytes_it_makes_what_protobuf_does_or_refuses_them(data: bytes) -> None:
    try:
        count = count_fields(data, 1, most=MOST)
        events = ingest_pb2.TrackBatchRequest.FromString(data).events
    except (Unreadable, DecodeError):
        return
    assert len(events) == count


@pytest.mark.parametrize("data", [b"\x0a", b"\x0a\x05ab", b"\x0b", b"\x0f", b"\x80" * 11, b"\x09123", b"\x10\x80"])
def test_malformed_bytes_are_unreadable(data: bytes) -> None:
    with pytest.raises(Unreadable):
        count_fields(data, 1, most=MOST)


@given(st.lists(events, max_size=20), st.integers(0, 1000))
def test_of_a_beginning_it_counts_what_has_begun(batch: list[ingest_pb2.Event], size: int) -> None:
    data = ingest_pb2.TrackBatchRequest(events=batch).SerializeToString()
    assert len(batch) == count_fields(data, 1, most=MOST, whole=False)
    assert count_fields(data[:size], 1, most=MOST, whole=False) <= len(batch)


@pytest.mark.parametrize("field", [b"\x0a\x00", b"\x10\x00"], ids=["empty events", "unknown fields"])
def test_it_looks_at_no_more_fields_than_asked(field: bytes) -> None:
    assert 50 == count_fields(field * 50 + b"\xff not looked at", 1, most=50)


def test_a_whole_batch_is_counted() -> None:
    data = ingest_pb2.TrackBatchRequest(events=[ping(event="e" * 64, playback="p" * 64)] * 1000).SerializeToString()
    assert 1000 == count_fields(data, 1, most=1001)

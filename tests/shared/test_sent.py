"""A message in gzip: how long it says it is, its beginning, and all of it, or nothing."""

import gzip
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.serving.errors import Unreadable
from shared.serving.sent import BEGINNING_BYTES, Sent

LONG = b"\x0a\x00" * 200_000


@given(st.binary(max_size=300))
def test_packed_or_not_it_is_the_same_message(data: bytes) -> None:
    packed = Sent(gzip.compress(data))

    assert (len(data), data) == (packed.size, packed.unpacked())
    if not data.startswith(b"\x1f"):
        plain = Sent(data)
        assert (len(data), data) == (plain.size, plain.unpacked())


def test_its_beginning_is_there_without_the_rest() -> None:
    assert LONG[:BEGINNING_BYTES] == Sent(gzip.compress(LONG)).beginning()


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(b"abc")[:-4] + (2).to_bytes(4, "little"),
        gzip.compress(b"abc")[:-4] + (4).to_bytes(4, "little"),
        gzip.compress(b"abc")[:-9],
        gzip.compress(b"abc") + gzip.compress(b"abc"),
        gzip.compress(b"abc") + b"\x03\x00\x00\x00",
        b"\x1f\x8b",
        b"\x1f\x8babcdefgh",
    ],
    ids=["says less", "says more", "cut off", "two", "more behind it", "two bytes", "no gzip"],
)
def test_a_message_that_contradicts_its_trailer_is_unreadable(data: bytes) -> None:
    with pytest.raises(Unreadable):
        Sent(data).unpacked()


def test_no_more_is_unpacked_than_it_says() -> None:
    packed = gzip.compress(bytes(50_000_000))
    liar = Sent(packed[:-4] + (1000).to_bytes(4, "little"))

    tracemalloc.start()
    with pytest.raises(Unreadable):
        liar.unpacked()
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < 1_000_000

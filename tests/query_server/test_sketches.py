"""Unions and estimates as Redis makes them, of sketches that Redis has made."""

import random
from collections.abc import Iterator

import pytest
import redis
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from query_server.sketches import NotASketch, _runs, estimate, union, users_of


@pytest.fixture(scope="module")
def store(redis_server_url: str) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(redis_server_url) as client:
        client.flushdb()
        yield client


def sketch(store: "redis.Redis", key: str, users: range) -> bytes:
    store.delete(key)
    for start in range(users.start, users.stop, 10_000):
        store.pfadd(key, *range(start, min(start + 10_000, users.stop)))
    return bytes(store.get(key) or b"")  # type: ignore[arg-type] # it is no coroutine


sizes = st.one_of(st.integers(0, 50), st.integers(0, 3_000), st.integers(0, 60_000))
stretches = st.tuples(st.integers(0, 20_000), sizes).map(lambda each: range(each[0], each[0] + each[1]))


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(stretches, max_size=5), st.randoms(use_true_random=False))
@example([range(500), range(1_000, 1_500)], random.Random(1))  # sparse ones that share registers
def test_a_union_is_what_pfcount_says_of_the_same_keys_in_any_order_and_repeated(
    store: "redis.Redis", days: list[range], order: random.Random
) -> None:
    names = [f"day {number}" for number in range(len(days))]
    sketches = [each for name, day in zip(names, days, strict=True) if (each := sketch(store, name, day))]
    expected = store.pfcount(*names) if names else 0
    assert expected == users_of(sketches)
    repeated = sketches * 2
    order.shuffle(repeated)
    assert expected == users_of(repeated)


@pytest.mark.parametrize("users", [0, 1, 2, 10, 1_000, 16_384, 100_000, 1_000_000])
def test_an_estimate_is_that_of_pfcount(store: "redis.Redis", users: int) -> None:
    seen = sketch(store, "users", range(users))
    expected = store.pfcount("users")
    assert expected == users_of([seen] if seen else [])
    assert expected == pytest.approx(users, rel=4 * 0.0081)


def test_a_sparse_and_a_dense_sketch_of_the_same_users_are_the_same(store: "redis.Redis") -> None:
    sparse = sketch(store, "users", range(500))
    store.config_set("hll-sparse-max-bytes", 0)
    try:
        dense = sketch(store, "users", range(500))
    finally:
        store.config_set("hll-sparse-max-bytes", 3000)
    assert (1, 0) == (sparse[4], dense[4])
    assert union([sparse]) == union([dense]) == union([dense, sparse])


def test_no_sketches_stand_for_no_users() -> None:
    assert 0 == users_of([])


@given(
    st.binary(max_size=40),
    st.sampled_from([b"", b"HYLL\x00\x00\x00\x00" + bytes(8), b"HYLL\x01\x00\x00\x00" + bytes(8)]),
)
def test_bytes_that_are_not_a_sketch_stand_for_no_users(noise: bytes, header: bytes) -> None:
    assert users_of([header + noise]) >= 0


@pytest.mark.parametrize(
    "spoilt",
    [
        b"",
        b"HYLL",
        b"HYLL\x02" + bytes(11) + bytes(12_288),
        b"HYLL\x00" + bytes(11) + bytes(12_287),
        b"HYLL\x00" + bytes(11) + b"\xff" * 12_288,
        b"HYLL\x01" + bytes(11) + b"\x80",
        b"HYLL\x01" + bytes(11) + b"\x7f\xff\x80",
    ],
)
def test_a_spoilt_sketch_takes_nothing_from_the_others(store: "redis.Redis", spoilt: bytes) -> None:
    assert 10 == users_of([spoilt, sketch(store, "users", range(10)), spoilt])


def test_no_register_of_a_spoilt_sketch_is_beyond_the_last() -> None:
    with pytest.raises(NotASketch):
        list(_runs(b"HYLL\x01" + bytes(11) + b"\x7f\xff\x80"))


def test_a_full_sketch_is_an_enormous_number_and_not_an_error() -> None:
    full = int.from_bytes(
        b"".join(bytes([51 | 51 << 6 & 0xFF, 51 >> 2 | 51 << 4 & 0xFF, 51 >> 4 | 51 << 2 & 0xFF]) for _ in range(4096)),
        "little",
    )
    assert estimate(full) > 2**50

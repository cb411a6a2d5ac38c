from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from shared.expiring import ExpiringCache


@dataclass
class Clock:
    now: float = 0

    def __call__(self) -> float:
        return self.now


def test_a_value_is_there_until_its_time_is_over() -> None:
    clock = Clock()
    cache: ExpiringCache[str, str] = ExpiringCache(10, clock)
    cache.put("key", "value", until=5)
    seen = []
    for clock.now in (0, 4.9, 5):
        seen.append(cache.get("key"))
    assert ["value", "value", None] == seen


def test_the_oldest_leave_when_all_together_weigh_too_much() -> None:
    cache: ExpiringCache[int, int] = ExpiringCache(3, Clock())
    for key in range(4):
        cache.put(key, key, until=1)
    assert [None, 1, 2, 3] == [cache.get(key) for key in range(4)]


def test_what_alone_weighs_too_much_is_not_kept_and_drives_nothing_out() -> None:
    cache: ExpiringCache[str, int] = ExpiringCache(3, Clock())
    cache.put("light", 1, until=1)
    cache.put("heavy", 2, until=1, weight=4)
    assert (1, None) == (cache.get("light"), cache.get("heavy"))


def test_a_new_value_takes_the_place_of_an_old_one_that_was_too_old_or_is_now_too_heavy() -> None:
    cache: ExpiringCache[str, int] = ExpiringCache(3, Clock())
    cache.put("key", 1, until=1)
    cache.put("key", 2, until=1, weight=3)
    assert 2 == cache.get("key")
    cache.put("key", 3, until=1, weight=4)
    assert cache.get("key") is None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4), st.integers(0, 9)), max_size=40))
def test_it_never_weighs_more_than_its_capacity_and_always_has_what_was_put_last(
    puts: list[tuple[int, int, int]],
) -> None:
    cache: ExpiringCache[int, int] = ExpiringCache(7, Clock())
    weights: dict[int, int] = {}
    for key, weight, value in puts:
        cache.put(key, value, until=1, weight=weight)
        weights[key] = weight
        assert value == cache.get(key)
        assert 7 >= sum(weights[key] for key in weights if cache.get(key) is not None)

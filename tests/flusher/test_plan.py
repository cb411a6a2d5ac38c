import math
import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from flusher.cycle import seconds_to_next
from flusher.steps.plan import lanes, waves

dirty_courses = st.dictionaries(
    st.integers(0, 255), st.lists(st.text("0123456789abcdef", min_size=1, max_size=3), unique=True), max_size=20
)
sizes = st.integers(1, 9)
shuffles = st.integers().map(random.Random)


@given(dirty_courses, shuffles, sizes)
def test_every_dirty_course_is_in_exactly_one_wave(
    dirty: dict[int, list[str]], shuffle: random.Random, size: int
) -> None:
    planned = Counter(
        (share.partition, course) for wave in waves(dirty, shuffle, size) for share in wave for course in share.names
    )

    assert Counter((partition, course) for partition, courses in dirty.items() for course in courses) == planned


@given(dirty_courses, shuffles, sizes)
def test_every_wave_but_the_last_is_full(dirty: dict[int, list[str]], shuffle: random.Random, size: int) -> None:
    courses = sum(map(len, dirty.values()))
    full, rest = divmod(courses, size)

    planned = [sum(len(share.names) for share in wave) for wave in waves(dirty, shuffle, size)]

    assert [size] * full + [rest] * bool(rest) == planned


@given(dirty_courses, shuffles, sizes)
def test_a_wave_has_one_share_of_a_partition(dirty: dict[int, list[str]], shuffle: random.Random, size: int) -> None:
    for wave in waves(dirty, shuffle, size):
        partitions = [share.partition for share in wave]
        assert len(set(partitions)) == len(partitions)


def test_flushers_that_start_together_begin_with_different_partitions() -> None:
    dirty = {partition: [f"{partition}"] for partition in range(256)}

    first = [next(waves(dirty, random.Random(seed), 1))[0].partition for seed in range(20)]

    assert len(set(first)) > 10


@given(st.floats(0, 1e7), st.floats(0.01, 1e5))
def test_the_next_tick_is_at_a_whole_number_of_intervals_and_at_most_one_away(elapsed: float, interval: float) -> None:
    wait = seconds_to_next(elapsed, interval)

    ticks = (elapsed + wait) / interval
    assert math.isclose(round(ticks), ticks, abs_tol=1e-6)
    assert -1e-6 <= wait <= interval * (1 + 1e-6) + 1e-6


def test_ticks_that_were_missed_are_skipped() -> None:
    assert 50 == seconds_to_next(elapsed=750, interval=200)


@given(dirty_courses, sizes, st.integers(1, 4))
def test_every_partition_is_in_exactly_one_lane(dirty: dict[int, list[str]], size: int, most: int) -> None:
    dealt = lanes(dirty, size, most)

    assert {partition: names for partition, names in dirty.items() if names} == {
        partition: names for lane in dealt for partition, names in lane.items()
    }
    assert sum(map(len, dealt)) == len({partition for lane in dealt for partition in lane})


@given(dirty_courses, sizes, st.integers(1, 4))
def test_what_one_wave_takes_is_one_lane(dirty: dict[int, list[str]], size: int, most: int) -> None:
    tallies = sum(map(len, dirty.values()))

    assert min(most, -(-tallies // size)) == len(lanes(dirty, size, most))


def test_lanes_are_about_equal() -> None:
    names = ["course"] * 90
    dirty = {0: names[:50], 1: names[:40], 2: names[:60], 3: names[:30]}

    assert [90, 90] == [sum(map(len, lane.values())) for lane in lanes(dirty, 60, 2)]

"""Who has a turn: every caller as often as any other, and none gets more than there is room for."""

import asyncio
from unittest.mock import sentinel

from hypothesis import given
from hypothesis import strategies as st

from ingest_server import waiting as waiting_module
from ingest_server.commit import Commit, Told, watch_weight
from ingest_server.events import CourseView, Event, Played, Segment, Telemetry
from ingest_server.waiting import TURN_WEIGHT, Turn, Waiting, portions

DONE: "asyncio.Future[Told]" = sentinel.done
COURSES = [f"65000000000000000000{number:04x}" for number in range(300)]

ids = st.none() | st.just("e")
courses = st.sampled_from(COURSES)
ONE_SEGMENT = Played([Segment(0, 50, is_view=True)], None)
events = st.lists(
    st.builds(CourseView, courses, st.just(b"ann"), ids)
    | st.builds(Telemetry, courses, st.just(b"ann"), ids, courses, st.just(5), ids, st.none() | st.just(ONE_SEGMENT)),
    max_size=200,
)


def turn(name: str, weight: int = 1) -> Turn:
    return Turn([(CourseView(name, b"ann", None), DONE, None)], weight)


def names(waiting: Waiting, most: int) -> list[str]:
    taken: list[Turn] = []
    taken.extend(waiting.take(lambda: most - sum(turn.weight for turn in taken)))
    return [turn.asked[0][0].course_id for turn in taken]


def test_a_caller_with_much_waiting_has_as_many_turns_as_one_with_little() -> None:
    waiting = Waiting()
    for number in range(100):
        waiting.put("ann", turn(f"ann {number}"))
    waiting.put("bob", turn("bob 0"))
    waiting.put("eve", turn("eve 0"))
    assert ["ann 0", "bob 0", "eve 0", "ann 1", "ann 2"] == names(waiting, 5)


def test_turns_go_on_where_they_stopped() -> None:
    waiting = Waiting()
    for caller in ("ann", "bob", "eve") * 2:
        waiting.put(caller, turn(caller))
    assert [["ann", "bob"], ["eve", "ann"], ["bob", "eve"]] == [names(waiting, 2) for _ in range(3)]


def test_no_more_is_taken_than_there_is_room_for() -> None:
    waiting = Waiting()
    for number, weight in enumerate((3, 3, 3)):
        waiting.put("ann", turn(str(number), weight))
    assert ["0", "1"] == names(waiting, 8)
    assert 3 == waiting.weight == waiting.weight_of("ann")


def test_turns_that_were_taken_no_longer_have_weight() -> None:
    waiting = Waiting()
    waiting.put("ann", turn("x", 7))
    assert ["x"] == names(waiting, 10)
    assert (0, 0, False) == (waiting.weight, waiting.weight_of("ann"), bool(waiting))


@given(events)
def test_portions_are_all_events_in_their_order(batch: list[Event]) -> None:
    assert batch == [event for portion, _ in portions(batch) for event in portion]


@given(events, st.none() | st.just(60.0))
def test_a_portion_weighs_at_least_what_its_commit_will(batch: list[Event], credit: float | None) -> None:
    for portion, weight in portions(batch, watch_weight(credit)):
        commit = Commit(watch_credit=credit)
        for event in portion:
            commit.add(event, DONE)
        assert commit.weight <= weight <= waiting_module.TURN_WEIGHT


def test_a_portion_is_as_large_as_may_be() -> None:
    (first, weight), *_ = portions([CourseView(COURSES[0], b"ann", None)] * 1000)
    assert (TURN_WEIGHT, TURN_WEIGHT - 16) == (weight, len(first))

"""The top courses, whatever was cleared."""

import pytest

from shared.data.tallies import LECTURE_VIEWS
from warehouse import queries
from warehouse.record import Record
from warehouse.sink import Sink
from warehouse.store import Store

FIRST, SECOND, THIRD = (f"65000000000000000000000{number}" for number in (1, 2, 3))
LECTURE = "650000000000000000000011"
DAYS = ("2026-11-01", "2026-11-02")
VIEWS = [
    Record(f"{course}/{day}", 5, {f"lecture_views:{LECTURE}": views})
    for course, views in [(FIRST, 30), (SECOND, 20), (THIRD, 10)]
    for day in DAYS
]


def cleared(course: str, *, at: int, **totals: int) -> Record:
    return Record(
        f"{course}/{DAYS[0]}", at, {f"lecture_views:{LECTURE}": views for views in totals.values()}, cleared=True
    )


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([], {FIRST: 60, SECOND: 40}),
        ([cleared(FIRST, at=6, views=30), cleared(SECOND, at=6, views=20)], {FIRST: 60, SECOND: 40}),
        ([cleared(FIRST, at=6)], {SECOND: 40, FIRST: 30}),
        ([cleared(FIRST, at=5)], {FIRST: 60, SECOND: 40}),
        ([cleared(THIRD, at=6)], {FIRST: 60, SECOND: 40}),
        ([cleared(SECOND, at=6), cleared(FIRST, at=6, views=1)], {FIRST: 31, SECOND: 20}),
    ],
    ids=["nothing", "but still there", "the first", "at the same moment", "one not among them", "both"],
)
async def test_what_was_cleared_counts_for_no_course(
    store: Store, records: list[Record], expected: dict[str, int]
) -> None:
    await Sink(store).write(VIEWS)
    await Sink(store).write(records)

    top = await queries.top_courses(store, *DAYS, LECTURE_VIEWS.name, 2)

    assert [*expected.items()] == [(course, numbers.lecture_views) for course, numbers in top]


async def test_a_counter_that_is_cleared_and_not_asked_for_by_rank_counts_for_none(store: Store) -> None:
    day = f"{FIRST}/{DAYS[0]}"
    await Sink(store).write([Record(day, 5, {f"lecture_views:{LECTURE}": 3, "course_views": 7})])
    await Sink(store).write([Record(day, 6, {f"lecture_views:{LECTURE}": 3}, cleared=True)])

    ((_, numbers),) = await queries.top_courses(store, *DAYS, LECTURE_VIEWS.name, 2)

    assert (3, 0) == (numbers.lecture_views, numbers.course_views)

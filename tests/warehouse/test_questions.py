"""The questions of docs/warehouse.md, and Grafana's panels, are answered by the real engine."""

import datetime as dt
import json
import re
from pathlib import Path

import pytest

from warehouse.record import Record
from warehouse.sink import Sink
from warehouse.store import Store

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "warehouse.md"
QUESTIONS = re.findall(r"^([^\n]+):\n\n```sql\n(.*?)\n```", PAGE.read_text(), re.MULTILINE | re.DOTALL)

PANELS = {
    panel["title"]: panel["targets"][0]["rawSql"]
    for panel in json.loads((ROOT / "deploy" / "grafana" / "warehouse.json").read_text())["panels"]
}

COURSE, OTHER, LECTURE = "650000000000000000000001", "650000000000000000000002", "650000000000000000000011"
TODAY = dt.datetime.now(dt.UTC).date()
RECENT, EARLIER, LONG_AGO = (str(TODAY - dt.timedelta(days=days)) for days in (3, 10, 40))

RECORDS = [
    Record(
        f"{COURSE}/{RECENT}",
        5,
        {"course_views": 9, f"lecture_views:{LECTURE}": 7, f"lecture_watchtime:{LECTURE}": 3600},
    ),
    Record(f"{COURSE}/{RECENT}", 6, {"unique_users": 5, "not_counted:REPEATED": 2}),
    Record(f"{COURSE}/{EARLIER}", 5, {"unique_users": 3}),
    Record(f"{OTHER}/{LONG_AGO}", 5, {"course_views": 4}),
    Record(COURSE, 5, {f"lecture_views:{LECTURE}": 100, f"lecture_watchtime:{LECTURE}": 1000}),
    Record(f"{COURSE}/{LECTURE}", 5, {"segment_views:3": 10, "segment_watched:3": 1800}),
]

FOR_PANELS = [
    Record(
        f"{OTHER}/{LONG_AGO}",
        6,
        {f"lecture_views:{LECTURE}": 200, f"lecture_watchtime:{LECTURE}": 7200, "not_counted:INVALID_FIELDS": 3},
    ),
    Record(COURSE, 6, {"not_counted:REPEATED": 50}),
]


@pytest.mark.parametrize(("question", "sql"), QUESTIONS, ids=[question for question, _ in QUESTIONS])
async def test_a_question_has_an_answer(store: Store, question: str, sql: str) -> None:
    assert EXPECTED[question] == await answer(store, sql)


@pytest.mark.parametrize("title", PANELS)
async def test_a_panel_shows_the_days_of_the_range_that_grafana_asks_for(store: Store, title: str) -> None:
    asked = within(EARLIER, PANELS[title])
    assert SHOWN[title] == await answer(store, asked, *FOR_PANELS)


@pytest.mark.parametrize("title", PANELS)
async def test_a_panel_counts_days_and_no_totals_of_courses(store: Store, title: str) -> None:
    asked = within("1970-01-01", PANELS[title])
    assert SHOWN_OF_ALL[title] == await answer(store, asked, *FOR_PANELS)


def within(first_day: str, sql: str) -> str:
    """The condition as Grafana's ClickHouse plugin puts it in."""
    return sql.replace("$__dateFilter(day)", f"day >= toDate('{first_day}') AND day <= toDate('{TODAY}')")


async def answer(store: Store, sql: str, *more: Record) -> list[list[object]]:
    await Sink(store).write([*RECORDS, *more])
    return [[plain(value) for value in row] for row in await store.query(sql)]


def plain(value: object) -> object:
    if isinstance(value, dt.datetime):
        return str(value.date())
    return value.decode() if isinstance(value, bytes) else value


EXPECTED = {
    "The ten courses with the most lecture views of the last week": [[COURSE, 7]],
    "Hours watched on each of the last thirty days": [[dt.date.fromisoformat(RECENT), 1.0]],
    "The days of one course": [
        [dt.date.fromisoformat(EARLIER), 0, 0, 3],
        [dt.date.fromisoformat(RECENT), 9, 7, 5],
    ],
    "Courses that more people watch this week than last week": [[COURSE, 5, 3]],
    "Lectures that are opened and hardly watched, in seconds a view": [[COURSE, LECTURE, 10.0]],
    "The share of each weekday": [[dt.date.fromisoformat(RECENT).isoweekday(), 7]],
    "What was refused, and why, in the last week": [["REPEATED", 2]],
    "The part of all videos that is played again most": [[COURSE, LECTURE, 30, 1.8]],
    "Courses that nobody has opened for thirty days": [[OTHER, dt.date.fromisoformat(LONG_AGO)]],
    "How concentrated the audience is: the share of all views that the ten largest courses have": [[1.0]],
}


SHOWN = {
    "Hours watched": [[RECENT, 1.0]],
    "Lecture views": [[RECENT, 7]],
    "Active courses": [[RECENT, 1]],
    "Courses by lecture views": [[COURSE, 7, 1.0]],
    "Lectures by seconds a view": [],
    "Events not counted": [["REPEATED", 2]],
}

SHOWN_OF_ALL = {
    "Hours watched": [[LONG_AGO, 2.0], [RECENT, 1.0]],
    "Lecture views": [[LONG_AGO, 200], [RECENT, 7]],
    "Active courses": [[LONG_AGO, 1], [RECENT, 1]],
    "Courses by lecture views": [[OTHER, 200, 2.0], [COURSE, 7, 1.0]],
    "Lectures by seconds a view": [[OTHER, LECTURE, 36.0]],
    "Events not counted": [["INVALID_FIELDS", 3], ["REPEATED", 2]],
}


def test_the_page_has_ten_questions() -> None:
    assert [*EXPECTED] == [question for question, _ in QUESTIONS]

"""A course on the page."""

import json
from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.page.answers import COURSE, TITLES, lecture_id
from tests.browser.page.instructor import A_COURSE, Instructor

DAYS = ".plot.days"
FUNNEL = ".plot.funnel"


async def test_the_list_shows_each_course_with_totals_and_a_line(instructor: Instructor) -> None:
    await instructor.open()

    card = instructor.page.locator(".card")
    await expect(card).to_contain_text(
        "Distributed systems, gently12,362 views · 4,120 people · 1,143 hrs 29 mins watched"
    )
    assert 1 == await card.locator("svg path").count()
    assert 28 == len(await rows_of(instructor, ".card"))


async def test_a_course_without_a_whole_day_has_no_line(instructor: Instructor) -> None:
    instructor.answers.watched = False
    await instructor.open()
    await instructor.sees("No whole day is recorded yet.")
    assert not await instructor.page.locator(".card figure").is_visible()


async def test_of_many_courses_twenty_are_shown_and_more_on_demand(instructor: Instructor) -> None:
    instructor.answers.newer_courses = 20
    await instructor.open()
    assert 20 == await instructor.page.locator(".card").count()

    await instructor.page.get_by_role("button", name="Show more courses").click()
    await expect(instructor.page.locator(".card")).to_have_count(21)
    assert not await instructor.page.get_by_role("button", name="Show more courses").is_visible()


async def test_a_course_far_down_the_list_is_called_by_its_title(instructor: Instructor) -> None:
    instructor.answers.newer_courses = 150
    await instructor.open(A_COURSE)
    await expect(instructor.page.get_by_role("heading", level=1)).to_have_text("Distributed systems, gently")


async def test_the_title_is_known_from_the_list(instructor: Instructor) -> None:
    await instructor.open()
    instructor.answers.asked.clear()
    await instructor.page.get_by_role("link", name="Distributed systems").click()
    await instructor.sees("Distributed systems, gently")
    await instructor.settled()
    assert not [url for url in instructor.answers.asked if "pageSize" in url]


async def rows_of(instructor: Instructor, where: str) -> list[list[str]]:
    """The rows of a chart's table, which is shown on demand."""
    await instructor.page.locator(f"{where} figure summary").first.click()
    return await instructor.rows(f"{where} figure")


async def test_a_click_leads_from_the_list_to_the_course_and_back(instructor: Instructor) -> None:
    await instructor.open()
    await instructor.page.get_by_role("link", name="Distributed systems").click()
    await instructor.settled()

    assert A_COURSE == await instructor.search()
    await expect(instructor.page.get_by_role("heading", level=1)).to_be_focused()
    await expect(instructor.page).to_have_title("Distributed systems, gently · Course analytics")

    await instructor.page.go_back()
    await expect(instructor.page.get_by_role("heading", level=1)).to_have_text("Courses")


async def test_five_figures_have_their_change_and_their_definition(instructor: Instructor) -> None:
    await instructor.open(A_COURSE)

    tiles = instructor.page.locator(".tile")
    shown = [" ".join(text.split()) for text in await tiles.all_inner_texts()]
    assert [
        "Views 1,932 +9% against the 28 days before Definition",
        "People 811 ± 7 +9% against the 28 days before Definition",
        "Watch time 178 hrs 42 mins +9% against the 28 days before Definition",
        "Average per person 13 mins 13 secs about the same Definition",
        "Completion 41% the same Definition",
    ] == shown
    await tiles.nth(1).get_by_text("Definition").click()
    await expect(tiles.nth(1)).to_contain_text("Different people who opened the course")


async def test_without_a_stretch_before_nothing_is_compared(instructor: Instructor) -> None:
    await instructor.open(f"{A_COURSE}&range=90")  # 178 days are recorded

    assert ["nothing to compare with"] * 5 == await instructor.page.locator(".change").all_inner_texts()
    assert 0 == await instructor.page.locator(f"{DAYS} .before").count()


async def test_the_comparison_can_be_switched_off(instructor: Instructor) -> None:
    await instructor.open(A_COURSE)
    assert 1 == await instructor.page.locator(f"{DAYS} .before").count()

    await instructor.page.get_by_label("Compare with the days before").uncheck()
    assert f"{A_COURSE}&compare=off" == await instructor.search()
    assert [""] * 5 == await instructor.page.locator(".change").all_inner_texts()
    assert 0 == await instructor.page.locator(f"{DAYS} .before").count()


async def test_the_days_the_zone_and_the_time_are_shown(instructor: Instructor) -> None:
    await instructor.open(A_COURSE)

    await instructor.sees("29 Oct 2026 to 25 Nov 2026, 28 days.")
    await instructor.sees("time zone Europe/Berlin (Central European Time)")
    await instructor.sees("Recorded since 1 Jun 2026.")
    await instructor.sees("As of 26 Nov 2026, 13:03:05")
    await instructor.sees("Today so far: 17 views, 9 people")


async def test_each_figure_has_its_days(instructor: Instructor) -> None:
    await instructor.open(A_COURSE)
    plot = instructor.page.locator(DAYS)
    heights = """plot => [...plot.querySelectorAll("rect")].map((bar) => Number(bar.getAttribute("height")))"""
    views = await plot.evaluate(heights)

    await instructor.page.get_by_role("button", name="Average per person").click()
    assert f"{A_COURSE}&figure=average" == await instructor.search()
    assert views != await plot.evaluate(heights)
    await expect(instructor.page.locator(".tile [aria-pressed=true]")).to_have_text("Average per person")


@pytest.mark.parametrize(
    ("choice", "range_", "asked"),
    [("7 days", "7", "period=LAST_7_DAYS"), ("90 days", "90", "period=LAST_90_DAYS")],
)
async def test_a_range_is_chosen(instructor: Instructor, choice: str, range_: str, asked: str) -> None:
    await instructor.open(A_COURSE)
    await instructor.page.get_by_text(choice, exact=True).click()
    await instructor.sees(f"25 Nov 2026, {range_} days.")

    assert f"{A_COURSE}&range={range_}" == await instructor.search()
    assert any(url.endswith(f"/report?{asked}") for url in instructor.answers.asked)


async def test_all_time_is_the_dashboard_with_the_days_of_a_year(instructor: Instructor) -> None:
    await instructor.open(A_COURSE)
    await instructor.page.get_by_text("All time", exact=True).click()
    await instructor.sees("Since the beginning. The chart has the days from 1 Jun 2026 to 25 Nov 2026.")

    assert "12,362" == await instructor.page.locator(".tile .value").first.inner_text()
    assert any(url.endswith("fromDay=2026-06-01&toDay=2026-11-25") for url in instructor.answers.asked)
    assert "9000" == (await rows_of(instructor, "figure:has(.funnel) >> xpath=.. >>"))[0][1]


async def test_days_of_ones_own_are_chosen(instructor: Instructor) -> None:
    await instructor.open(A_COURSE)
    await instructor.page.get_by_text("Custom").click()
    await instructor.page.get_by_label("From").fill("2026-10-01")
    await instructor.page.get_by_label("To", exact=True).fill("2026-10-10")
    await instructor.page.get_by_role("button", name="Show", exact=True).click()

    await instructor.sees("1 Oct 2026 to 10 Oct 2026, 10 days.")
    assert f"{A_COURSE}&range=2026-10-01..2026-10-10" == await instructor.search()


@pytest.mark.parametrize(
    ("first", "last"),
    [("2026-10-02", "2026-10-01"), ("2026-10-01", "2026-11-26"), ("2024-01-01", "2026-01-01"), ("", "2026-10-01")],
    ids=["the end first", "today", "too many", "none"],
)
async def test_days_that_cannot_be_are_not_asked_for(instructor: Instructor, first: str, last: str) -> None:
    await instructor.open(f"{A_COURSE}&range=2026-10-01..2026-10-10")
    await instructor.page.get_by_label("From").fill(first)
    await instructor.page.get_by_label("To", exact=True).fill(last)
    await instructor.page.get_by_role("button", name="Show", exact=True).click()

    await instructor.sees("the last not after 2026-11-25, and at most 366 days.")
    assert f"{A_COURSE}&range=2026-10-01..2026-10-10" == await instructor.search()


async def test_the_largest_drop_is_named_and_leads_to_its_lecture(instructor: Instructor) -> None:
    await instructor.open(A_COURSE)

    caption = instructor.page.locator("figure:has(.funnel) figcaption")
    await expect(caption).to_contain_text("from “Messages that get lost” to Retries and idempotence: 490 views, 48.1%.")
    assert 1 == await instructor.page.locator(f"{FUNNEL} .bar.drop").count()

    await caption.get_by_role("link").click()
    await instructor.settled()
    assert f"{A_COURSE}&lecture={lecture_id(3)}" == await instructor.search()


async def test_lectures_are_sorted_by_a_click_and_by_the_address(instructor: Instructor) -> None:
    await instructor.open(f"{A_COURSE}&sort=-dropOff")

    async def order() -> list[str]:
        return await instructor.page.locator(".scroll tbody a").all_inner_texts()

    assert [TITLES[n] for n in (3, 1, 2, 0)] == await order()
    await instructor.page.get_by_role("button", name="Views", exact=True).last.click()
    assert list(TITLES) == await order()
    await instructor.page.get_by_role("button", name="Views", exact=True).last.click()
    assert list(reversed(TITLES)) == await order()
    assert f"{A_COURSE}&sort=views" == await instructor.search()
    await expect(instructor.page.locator("th[aria-sort=ascending]")).to_have_text("Views")


async def test_the_line_of_uncounted_events_expands_to_the_reasons(instructor: Instructor) -> None:
    await instructor.open(A_COURSE)
    line = instructor.page.get_by_text("41 of 5,844 events were not counted")
    await line.click()

    await instructor.sees("7 events came twice; they are counted once, and not lost.")
    rows = await instructor.rows("details.lost")
    assert ["Implausible", "12", "60"] == rows[0][:3]
    assert "Look for players that report the same seconds twice." == rows[0][4]


async def test_that_every_event_was_counted_is_shown_too(instructor: Instructor) -> None:
    instructor.answers.not_counted = ()
    await instructor.open(A_COURSE)
    await instructor.sees("Every event was counted.")


async def test_the_tables_of_the_charts_have_the_rows_of_the_answer(instructor: Instructor) -> None:
    await instructor.open(A_COURSE)
    report: dict[str, Any] = instructor.answers.report({})

    days = ("day", "courseViews", "uniqueUsers", "watchTimeSeconds", "lectureViews")
    steps = ("views", "watchTimeSeconds", "retentionRate", "dropOffRate")
    await instructor.page.locator("figure:has(.days) summary").click()
    await instructor.page.locator("figure:has(.funnel) summary").click()
    assert [[plain(day[name]) for name in days] for day in report["days"]] == await instructor.rows("figure:has(.days)")
    assert [[plain(step[name]) for name in steps] for step in report["engagementFunnel"]] == [
        row[1:] for row in await instructor.rows("figure:has(.funnel)")
    ]


def plain(value: object) -> str:
    """A value as JavaScript writes it."""
    return value if isinstance(value, str) else json.dumps(value).removesuffix(".0")


async def test_more_days_than_a_funnel_has_are_shown_without_one(instructor: Instructor) -> None:
    await instructor.open(f"{A_COURSE}&range=2026-06-01..2026-11-25")
    await instructor.sees("The lectures are shown for ranges of up to 92 days, and for all time.")
    assert not await instructor.page.locator(FUNNEL).is_visible()


async def test_of_many_lectures_the_first_hundred_are_shown_and_all_on_demand(instructor: Instructor) -> None:
    instructor.answers.titles = tuple(f"Lecture {n}" for n in range(150))
    await instructor.open(A_COURSE)
    links = instructor.page.locator(".scroll tbody a")

    assert 100 == await links.count()
    await instructor.page.get_by_role("button", name="Show all 150 rows").click()
    assert 150 == await links.count()


async def test_the_page_speaks_german(instructor: Instructor) -> None:
    await instructor.open(A_COURSE)
    await instructor.page.get_by_label("Language").select_option("de")

    await instructor.sees("Die Tage beginnen um Mitternacht in der Zeitzone Europe/Berlin (Mitteleuropäische Zeit).")
    await instructor.sees("41 von 5.844 Ereignissen wurden nicht gezählt")
    assert "de" == await instructor.page.locator("html").get_attribute("lang")
    assert f"{A_COURSE}&lang=de" == await instructor.search()


async def test_the_address_brings_back_what_was_shown(instructor: Instructor) -> None:
    query = f"?course={COURSE}&range=7&compare=off&figure=people&sort=-views&lang=de"
    await instructor.open(query)

    assert query == await instructor.search()
    assert await instructor.page.get_by_label("7 Tage").is_checked()
    assert not await instructor.page.get_by_label("Mit den Tagen davor vergleichen").is_checked()
    await expect(instructor.page.locator("[aria-pressed=true]")).to_have_text("Personen")
    await expect(instructor.page.locator("th[aria-sort=descending]")).to_have_text("Aufrufe")

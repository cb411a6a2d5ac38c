"""Whoever looks at the page: with a screen reader, by keyboard, on a phone, on paper, in colours of their own."""

import asyncio
from typing import Literal

import pytest
from playwright.async_api import expect

from tests.browser.page.answers import COURSE, TITLES, lecture_id
from tests.browser.page.instructor import A_COURSE, A_LECTURE, DRAWN, LIST, TOKEN, Instructor

VIEWS = {"the list": LIST, "a course": A_COURSE, "a lecture": A_LECTURE}
every_view = pytest.mark.parametrize("query", VIEWS.values(), ids=VIEWS)
WIDER_THAN_THE_WINDOW = "document.documentElement.scrollWidth > document.documentElement.clientWidth"


@every_view
async def test_axe_finds_nothing_in_any_view_in_light_and_dark(instructor: Instructor, query: str) -> None:
    await instructor.open(query)
    for details in await instructor.page.locator("details").all():
        await details.evaluate("details => { details.open = true; }")
    for scheme in ("light", "dark"):
        await instructor.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        assert [] == await instructor.findings(), scheme


@pytest.mark.parametrize("status", [401, 403, 404, 400, 503])
async def test_axe_finds_nothing_in_any_refusal(instructor: Instructor, status: int) -> None:
    instructor.answers.status, instructor.answers.message = status, "what the service says"
    await instructor.page.goto(f"{instructor.address}{A_COURSE}#token={TOKEN}")
    await instructor.page.locator(".problem, .sign-in").wait_for()
    await instructor.page.emulate_media(color_scheme="dark", reduced_motion="reduce")
    assert [] == await instructor.findings()


async def test_axe_finds_nothing_in_old_numbers_and_in_their_absence(instructor: Instructor) -> None:
    await instructor.page.emulate_media(reduced_motion="reduce")
    await instructor.open(A_COURSE)
    instructor.answers.status = 503
    await instructor.page.get_by_role("button", name="Refresh").click()
    await instructor.sees("You see the numbers from before.")
    assert [] == await instructor.findings()

    instructor.answers.status, instructor.answers.watched = 200, False
    await instructor.page.get_by_role("alert").get_by_role("button", name="Refresh").click()
    await instructor.sees("Nobody has watched in these days")
    assert [] == await instructor.findings()


async def test_axe_finds_nothing_while_the_page_loads(instructor: Instructor) -> None:
    ended = asyncio.Event()
    instructor.answers.hold = lambda _: ended.wait()
    await instructor.page.emulate_media(reduced_motion="reduce")
    await instructor.page.goto(f"{instructor.address}{A_COURSE}#token={TOKEN}")
    await instructor.page.locator(".skeleton").wait_for()
    assert [] == await instructor.findings()
    ended.set()


async def focused(instructor: Instructor) -> str:
    """What has the focus: its role or tag, and its name or text."""
    script = """() => { const it = document.activeElement;
        const name = it.getAttribute("aria-label") ?? it.labels?.[0]?.textContent ?? it.textContent;
        return `${it.getAttribute("role") ?? it.tagName.toLowerCase()} ${name.trim()}`; }"""
    return str(await instructor.page.evaluate(script))


async def tab_to(instructor: Instructor, what: str) -> None:
    """Presses Tab until this has the focus."""
    seen = []
    for _ in range(60):
        await instructor.page.keyboard.press("Tab")
        seen.append(await focused(instructor))
        if seen[-1] == what:
            return
    raise AssertionError(f"no {what!r} in {seen}")


async def test_the_whole_page_works_by_keyboard_alone(instructor: Instructor) -> None:
    page, press = instructor.page, instructor.page.keyboard.press
    await page.goto(instructor.address)
    await tab_to(instructor, "input Token")
    await page.keyboard.type(TOKEN)
    await press("Enter")
    await instructor.settled()

    await tab_to(instructor, "a Distributed systems, gently")
    await press("Enter")
    await instructor.settled()

    await tab_to(instructor, "input 28 days")
    await press("ArrowLeft")
    await instructor.sees("25 Nov 2026, 7 days.")

    await tab_to(instructor, "input Compare with the days before")
    await press("Space")
    await tab_to(instructor, "button People")
    await press("Enter")
    assert f"{A_COURSE}&range=7&compare=off&figure=people" == await instructor.search()

    await tab_to(instructor, "slider Day by day")
    await press("ArrowRight")
    await tab_to(instructor, "summary Show as table")
    await press("Enter")
    await expect(page.locator("figure:has(.days) tbody tr")).to_have_count(7)

    await tab_to(instructor, "slider Views, lecture by lecture")
    await press("End")
    await press("Enter")
    await instructor.settled()
    await expect(page.get_by_role("heading", level=1)).to_have_text(TITLES[3])

    await tab_to(instructor, "slider Who still watches")
    await tab_to(instructor, "button Segments as CSV")


async def test_nothing_takes_the_focus_away_when_numbers_change(instructor: Instructor) -> None:
    await instructor.stop_the_clock()
    await instructor.open(f"{A_COURSE}&range=all")
    link = instructor.page.locator(".scroll tbody a").first
    await link.focus()
    instructor.answers.today_views = 18
    await instructor.page.clock.run_for(10_000)
    await instructor.sees("Today so far: 18 views")
    await expect(link).to_be_focused()


async def test_each_chart_is_one_stop_and_speaks_what_the_cursor_is_at(instructor: Instructor) -> None:
    await instructor.open(A_COURSE)
    chart = instructor.page.get_by_role("slider", name="Day by day")
    assert 2 == await instructor.page.locator("figure [tabindex='0']:not(.scroll)").count()

    await chart.focus()
    said = []
    for key in ("Home", "ArrowRight", "PageUp", "End", "ArrowRight", "ArrowLeft"):
        await chart.press(key)
        said.append(await chart.get_attribute("aria-valuetext"))
    assert [
        "Thu, 29 Oct 2026: Views 66; 28 days before: 78",
        "Fri, 30 Oct 2026: Views 81; 28 days before: 64",
        "Mon, 9 Nov 2026: Views 69; 28 days before: 86",
        "Today so far: Views 17",
        "Today so far: Views 17",
        "Wed, 25 Nov 2026: Views 99; 28 days before: 62",
    ] == said
    assert "27" == await chart.get_attribute("aria-valuenow")
    assert said[-1] == await instructor.page.locator("figure:has(.days) .readout").inner_text()


async def test_each_chart_is_a_figure_with_a_sentence(instructor: Instructor) -> None:
    sentences = []
    for query in VIEWS.values():
        await instructor.open(query)
        sentences += await instructor.page.locator("figure > figcaption").all_inner_texts()
        assert await instructor.page.locator(".plot").count() == await instructor.page.locator("figure > .plot").count()
    assert [
        "3,864 lecture views in the last 28 days",
        (
            "Views, each day from 29 Oct 2026 to 25 Nov 2026. Most on Thu, 19 Nov 2026: 99. "
            "Dashed: the 28 days before. Hatched: today so far."
        ),
        (
            "The views of 4 lectures in course order. The largest drop is from “Messages that get lost” to "
            "Retries and idempotence: 490 views, 48.1%."
        ),
        "45.8% of the playbacks saw the end. The largest drop is at 02:00: 25% of the playbacks end there.",
        "03:20–03:40 was played 2.4 times by those who saw it.",
    ] == sentences


@every_view
async def test_nothing_is_cut_off_at_any_width(instructor: Instructor, query: str) -> None:
    await instructor.open(query)
    # At 400 % zoom a window of 1280 by 1024 has 320 by 256 pixels of CSS.
    for width, height in ((1600, 900), (360, 740), (320, 256)):
        await instructor.page.set_viewport_size({"width": width, "height": height})
        assert not await instructor.page.evaluate(WIDER_THAN_THE_WINDOW), width
        await drawn_for(instructor, width)
        assert [] == await instructor.page.evaluate(MARKS_OUTSIDE), width


MARKS_OUTSIDE = """() => [...document.querySelectorAll(".plot svg")].flatMap((svg) => {
    const {width, height} = svg.viewBox.baseVal;
    return [...svg.querySelectorAll("rect, path")].filter((mark) => {
        const box = mark.getBBox();
        return !(box.x >= -0.2 && box.y >= -0.2
            && box.x + box.width <= width + 0.2 && box.y + box.height <= height + 0.2);
    }).map((mark) => mark.outerHTML);
})"""


async def drawn_for(instructor: Instructor, width: int) -> None:
    """Waits until the window has this width, and each chart that of its place."""
    await instructor.page.wait_for_function(DRAWN, arg=width)


async def test_the_marks_are_those_of_the_data(instructor: Instructor) -> None:
    await instructor.open(A_COURSE)
    marks = "svg => [...svg.querySelectorAll('rect, path')].map((mark) => mark.getAttribute('class'))"
    days = await instructor.page.locator(".plot.days svg").evaluate(marks)
    funnel = await instructor.page.locator(".plot.funnel svg").evaluate(marks)
    assert ["bar"] * 28 + ["bar today", "before"] == days
    assert ["bar", "bar", "bar", "bar drop"] == funnel

    await instructor.open(A_LECTURE)
    strip = await instructor.page.locator(".plot.strip svg").evaluate(marks)
    assert ["bar"] * 20 + ["bar again"] * 2 + ["bar"] * 14 == strip
    assert ["area", "curve"] == await instructor.page.locator(".plot.curve svg").evaluate(marks)


async def test_series_differ_by_more_than_their_colour(instructor: Instructor) -> None:
    await instructor.open(A_COURSE)

    async def style(mark: str, name: str) -> str:
        return str(await instructor.page.locator(mark).evaluate(f"mark => getComputedStyle(mark).{name}"))

    assert "none" != await style(".days .before", "strokeDasharray")
    assert "url" in await style(".days .today", "fill")
    assert await style(".funnel .drop", "strokeWidth") != await style(".funnel .bar >> nth=0", "strokeWidth") or (
        "none" != await style(".funnel .drop", "stroke")
    )


async def test_in_forced_colours_every_mark_can_be_seen(instructor: Instructor) -> None:
    await instructor.page.emulate_media(forced_colors="active")
    for query in (A_COURSE, A_LECTURE):
        await instructor.open(query)
        invisible = """() => {
            const paper = getComputedStyle(document.querySelector(".course-analytics")).backgroundColor;
            const marks = [...document.querySelectorAll(".plot rect, .plot .curve, .plot .before, .plot text")];
            return marks.filter((mark) => {
                const {fill, stroke} = getComputedStyle(mark);
                return [fill, stroke].every((colour) => colour === paper || colour === "none");
            }).map((mark) => mark.outerHTML);
        }"""
        assert [] == await instructor.page.evaluate(invisible)
    assert [] == await instructor.findings()


@pytest.mark.parametrize(("motion", "moving"), [("reduce", 0), ("no-preference", 6)])
async def test_nothing_moves_for_a_person_who_prefers_reduced_motion(
    instructor: Instructor, motion: Literal["reduce", "no-preference"], moving: int
) -> None:
    ended = asyncio.Event()
    instructor.answers.hold = lambda _: ended.wait()
    await instructor.page.emulate_media(reduced_motion=motion)
    await instructor.page.goto(f"{instructor.address}{A_COURSE}#token={TOKEN}")
    await instructor.page.locator(".skeleton").wait_for()
    assert moving == await instructor.page.evaluate("document.getAnimations().length")
    ended.set()


async def test_paper_has_the_numbers_and_charts_and_no_controls(instructor: Instructor) -> None:
    await instructor.page.emulate_media(media="print", color_scheme="dark")
    visible = "(all) => all.map((each) => each.checkVisibility())"
    paper = "getComputedStyle(document.querySelector('.course-analytics')).backgroundColor"
    for query in (A_COURSE, A_LECTURE):
        await instructor.page.goto(f"{instructor.address}{query}#token={TOKEN}")
        await instructor.page.locator(".plot svg > *").first.wait_for(state="attached")
        controls = instructor.page.locator("button:not(.figure):not(.sort), select, .range, .files")
        assert {False} == set(await controls.evaluate_all(visible))
        assert {True} == set(await instructor.page.locator(".plot svg").evaluate_all(visible))
        assert "rgb(255, 255, 255)" == await instructor.page.evaluate(paper)


HOSTILE = (
    "<img src=x onerror=window.hacked=1><script>window.hacked=1</script>",
    '=HYPERLINK("https://evil.example","click")',
    "\u202eمحاضرة \u05d0\u05d1",
    "x" * 300,
    "{lecture} $& {views}",
)


@pytest.mark.parametrize("title", [HOSTILE[0], HOSTILE[3]], ids=["markup", "300 characters"])
async def test_hostile_titles_are_text_and_nothing_else(
    instructor: Instructor, title: str, complaints: list[str]
) -> None:
    instructor.answers.title, instructor.answers.titles = title, (title, *HOSTILE)
    await instructor.page.set_viewport_size({"width": 360, "height": 740})
    for query in VIEWS.values():
        await instructor.open(query)
        assert not await instructor.page.evaluate(WIDER_THAN_THE_WINDOW)
        heading = instructor.page.locator("h2" if query == LIST else "h1").first
        assert title == await heading.text_content()
        if query == A_COURSE:
            assert [title, *HOSTILE] == await instructor.page.locator(".scroll tbody a").all_text_contents()
    assert None is await instructor.page.evaluate("window.hacked ?? null")
    assert 0 == await instructor.page.locator("main img, main script").count()
    assert [] == complaints


async def test_what_has_no_title_is_called_by_its_id(instructor: Instructor) -> None:
    instructor.answers.title, instructor.answers.titles = "", ("", "")
    await instructor.open(A_COURSE)
    await expect(instructor.page.get_by_role("heading", level=1)).to_have_text(COURSE)
    await expect(instructor.page.locator(".scroll tbody a").first).to_have_text(lecture_id(0))

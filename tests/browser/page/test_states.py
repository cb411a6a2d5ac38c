"""What the page shows when it has nothing, not yet, not any more, or not for this person."""

import asyncio

from playwright.async_api import Page, expect

from tests.browser.page.answers import COURSE
from tests.browser.page.instructor import A_COURSE, A_LECTURE, LIST, TOKEN, Instructor

SHIFTS = """() => { window.shifts = []; new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) window.shifts.push(entry.value);
}).observe({type: "layout-shift", buffered: true}); }"""


class Gate:
    """Holds answers until the test lets them through."""

    def __init__(self, what: str = "") -> None:
        self.what = what
        self.waiting = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, url: str) -> None:
        if self.what in url:
            self.waiting.set()
            await self.open.wait()


async def test_until_the_numbers_come_their_places_are_kept_and_nothing_shifts(instructor: Instructor) -> None:
    await instructor.page.add_init_script(f"({SHIFTS})()")
    for query in (LIST, A_COURSE, A_LECTURE):
        gate = instructor.answers.hold = Gate()
        await instructor.page.goto(f"{instructor.address}{query}#token={TOKEN}")
        await gate.waiting.wait()
        heights = await instructor.page.locator(".bone").evaluate_all("all => all.map((each) => each.offsetHeight)")
        assert len(heights) > 2
        assert min(heights) >= 24

        gate.open.set()
        await instructor.settled()
        assert [] == await instructor.page.evaluate("window.shifts"), query


async def test_a_chart_that_comes_is_as_high_as_its_place(instructor: Instructor) -> None:
    await instructor.open(A_COURSE)
    plot = instructor.page.locator(".plot.days")
    assert await plot.evaluate("plot => plot.offsetHeight === Number(plot.querySelector('svg').viewBox.baseVal.height)")


async def test_nobody_has_watched(instructor: Instructor) -> None:
    instructor.answers.watched = False
    await instructor.open(A_COURSE)
    await instructor.sees("Nobody has watched in these days; recorded since 1 Jun 2026.")
    assert not await instructor.page.locator(".tiles").is_visible()
    assert 0 == await instructor.page.get_by_role("link", name="Show all time").count()
    assert await instructor.page.get_by_label("28 days").is_visible()


async def test_nothing_is_recorded_yet(instructor: Instructor) -> None:
    instructor.answers.watched, instructor.answers.since = False, None
    await instructor.open(A_COURSE)
    await instructor.sees("Nobody has watched yet.")
    await instructor.open(A_LECTURE)
    await instructor.sees("Nobody has watched this lecture")


async def test_a_range_in_which_nobody_watched_leads_to_all_time(instructor: Instructor) -> None:
    instructor.answers.since = instructor.answers.today
    await instructor.open(A_COURSE)
    await instructor.sees("Nobody has watched in these days; recorded since 26 Nov 2026.")

    await instructor.page.get_by_role("link", name="Show all time").click()
    await instructor.sees("12,362")
    assert f"{A_COURSE}&range=all" == await instructor.search()


async def test_an_instructor_without_courses(instructor: Instructor) -> None:
    instructor.answers.has_courses = False
    await instructor.open()
    await instructor.sees("You have no courses yet.")
    assert [] == await instructor.findings()


async def test_somebody_elses_course(instructor: Instructor) -> None:
    instructor.answers.status = 403
    await instructor.open(A_COURSE)
    await instructor.sees("This course belongs to somebody else.")
    await expect(instructor.page.get_by_role("heading", level=1)).to_have_text("Not your course")

    instructor.answers.status = 200
    await instructor.page.get_by_role("link", name="Courses").click()
    await instructor.sees("Distributed systems, gently")


async def test_no_such_course(instructor: Instructor) -> None:
    instructor.answers.status = 404
    await instructor.open(A_COURSE)
    await expect(instructor.page.get_by_role("heading", level=1)).to_have_text("Not found")


async def test_a_question_without_an_answer_shows_the_services_words_and_a_way_out(instructor: Instructor) -> None:
    instructor.answers.status, instructor.answers.message = 400, "toDay: the last possible day is 2026-11-25"
    await instructor.open(f"{A_COURSE}&range=2026-11-01..2030-01-01")
    await instructor.sees("the last possible day is 2026-11-25")

    instructor.answers.status = 200
    await instructor.page.get_by_role("link", name="Show the last 28 days").click()
    await instructor.sees("28 days.")
    assert A_COURSE == await instructor.search()


async def test_an_error_keeps_the_old_numbers_greyed_and_heals_on_demand(instructor: Instructor) -> None:
    await instructor.open(A_COURSE)
    instructor.answers.status, instructor.answers.today_views = 503, 99
    await instructor.page.get_by_role("button", name="Refresh").click()

    await instructor.sees(
        "The service does not answer. The page asks again by itself. You see the numbers from before."
    )
    await expect(instructor.page.locator(".body.stale .tile .value").first).to_have_text("1,932")

    instructor.answers.status = 200
    await instructor.page.get_by_role("alert").get_by_role("button", name="Refresh").click()
    await instructor.sees("Today so far: 99 views")
    assert "" == await instructor.page.locator(".told").inner_text()
    assert 0 == await instructor.page.locator(".stale").count()


async def test_an_error_without_old_numbers_can_be_retried(instructor: Instructor) -> None:
    instructor.answers.status = 503
    await instructor.page.goto(f"{instructor.address}{A_COURSE}#token={TOKEN}")
    await instructor.sees("The service does not answer.")

    instructor.answers.status = 200
    await instructor.page.get_by_role("alert").get_by_role("button", name="Refresh").click()
    await instructor.sees("1,932")


async def test_an_error_heals_by_itself(instructor: Instructor) -> None:
    await instructor.stop_the_clock()
    await instructor.open(A_COURSE)
    instructor.answers.status = 503
    await instructor.page.clock.run_for(10_000)
    await instructor.sees("The service does not answer.")

    instructor.answers.status = 200
    await instructor.page.clock.run_for(10_000)
    await expect(instructor.page.locator(".told")).to_be_empty()


async def test_without_a_network_the_old_numbers_stay(instructor: Instructor) -> None:
    await instructor.open(A_COURSE)
    await instructor.page.context.set_offline(True)
    await instructor.page.unroute_all(behavior="wait")
    await instructor.page.get_by_role("button", name="Refresh").click()
    await instructor.sees("You see the numbers from before.")
    await instructor.page.context.set_offline(False)


async def test_today_and_the_totals_are_live_and_the_range_is_not_asked_for_again(instructor: Instructor) -> None:
    await instructor.stop_the_clock()
    await instructor.open(A_COURSE)
    instructor.answers.asked.clear()
    instructor.answers.today_views = 18
    await instructor.page.clock.run_for(10_000)

    await instructor.sees("Today so far: 18 views")
    await instructor.sees("All time: 12,363 views")
    paths = {url.partition("/instructor/")[2] for url in instructor.answers.asked}
    assert {COURSE, f"{COURSE}/report?period=LAST_7_DAYS"} == paths


async def test_after_midnight_the_range_is_asked_for_again(instructor: Instructor) -> None:
    await instructor.stop_the_clock()
    await instructor.open(A_COURSE)
    instructor.answers.midnight()
    await instructor.page.clock.run_for(10_000)
    await instructor.sees("30 Oct 2026 to 26 Nov 2026, 28 days.")


async def test_a_lecture_is_live(instructor: Instructor) -> None:
    await instructor.stop_the_clock()
    await instructor.open(A_LECTURE)
    await instructor.sees("9,000 views, 600 hrs watched. The charts are of 8,400 playbacks.")
    instructor.answers.playbacks = 8401
    await instructor.page.clock.run_for(10_000)
    await instructor.sees("The charts are of 8,401 playbacks.")


async def test_a_hidden_page_asks_nothing_and_a_page_that_is_seen_again_asks_at_once(instructor: Instructor) -> None:
    await instructor.stop_the_clock()
    await instructor.open(A_COURSE)
    await show(instructor.page, "hidden")
    instructor.answers.asked.clear()
    await instructor.page.clock.run_for(60_000)
    assert [] == instructor.answers.asked

    instructor.answers.today_views = 18
    await show(instructor.page, "visible")
    await instructor.sees("Today so far: 18 views")


async def show(page: Page, state: str) -> None:
    """Hides the page, or shows it."""
    property_ = f'{{value: "{state}", configurable: true}}'
    await page.evaluate(f"""Object.defineProperty(document, "visibilityState", {property_});
        document.dispatchEvent(new Event("visibilitychange"));""")


COUNTS_WHAT_IT_READS = """(() => {
    window.read = 0;
    const json = Response.prototype.json;
    Response.prototype.json = async function () {
        const value = await json.call(this);
        setTimeout(() => window.read++);  // when the page has done with it
        return value;
    };
})()"""


async def let_through(instructor: Instructor, gate: Gate) -> None:
    """Opens the gate, and waits until the page has read what comes through."""
    before = await instructor.page.evaluate("window.read")
    gate.open.set()
    await instructor.page.wait_for_function("(before) => window.read > before", arg=before)


async def test_a_late_answer_does_not_replace_the_range_that_was_chosen_after_it(instructor: Instructor) -> None:
    await instructor.page.add_init_script(COUNTS_WHAT_IT_READS)
    await instructor.open(A_COURSE)
    gate = instructor.answers.hold = Gate("LAST_90_DAYS")
    await instructor.page.get_by_text("90 days").click()
    await gate.waiting.wait()
    await instructor.page.get_by_text("7 days", exact=True).click()
    await instructor.sees("25 Nov 2026, 7 days.")

    await let_through(instructor, gate)
    assert "25 Nov 2026, 7 days." in await instructor.page.locator("p.days").inner_text()


async def test_a_late_answer_does_not_bring_back_a_session_that_is_over(instructor: Instructor) -> None:
    await instructor.page.add_init_script(COUNTS_WHAT_IT_READS)
    await instructor.open(f"{A_COURSE}&compare=off")
    gate = instructor.answers.hold = Gate("/report")
    await instructor.page.get_by_role("button", name="Refresh").click()
    await gate.waiting.wait()
    await instructor.page.get_by_role("button", name="Sign out").click()
    await expect(instructor.page.get_by_role("heading", level=1)).to_have_text("Sign in")

    await let_through(instructor, gate)
    assert "Sign in" == await instructor.page.get_by_role("heading", level=1).inner_text()

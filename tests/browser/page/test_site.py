"""The page inside a course site, which brings the token and knows its videos."""

from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.browser.page.answers import TITLES
from tests.browser.page.instructor import A_COURSE, A_LECTURE, Instructor
from tests.browser.service import Service

SITE = """<!doctype html><html lang="en"><title>A site</title><link rel="stylesheet" href="/instructor/style.css">
<main><h1>My site</h1><div id="here"></div></main><script type="module">
import {mount} from "/instructor/mount.js";
window.tokens = [];
window.token = "first";
window.mounted = mount(document.querySelector("#here"), {
    endpoint: location.origin + "/api/v1/analytics/",
    token: async () => (tokens.push(token), token),
    video: (course, lecture) => lecture.endsWith("00") ? "/demo/lecture.webm" : undefined,
});
</script>"""


@pytest.fixture
async def site(page: Page, service: Service, instructor: Instructor) -> Instructor:
    """The page of the instructor's site; `window.token` is what the site has."""
    address = f"{service.gateway.url}/my/site"
    await page.route(f"{address}*", lambda route: route.fulfill(body=SITE, content_type="text/html"))
    return Instructor(page, address, instructor.answers)


async def visit(site: Instructor, query: str) -> None:
    await site.page.goto(f"{site.address}{query}")
    await site.settled()


async def test_a_site_mounts_the_page_and_keeps_its_own_query(site: Instructor) -> None:
    await visit(site, f"{A_COURSE}&menu=open")
    await site.page.get_by_role("link", name=TITLES[0]).first.click()
    await site.settled()

    assert f"{A_COURSE}&menu=open&lecture=65000000000000000000c100" == await site.search()
    assert "A site" == await site.page.title()
    assert not await site.page.get_by_role("button", name="Sign out").is_visible()


async def test_a_token_that_has_expired_is_asked_for_once_more(site: Instructor) -> None:
    await visit(site, A_COURSE)
    site.answers.good = "Bearer second"
    await site.page.evaluate("""tokens.length = 0, Object.defineProperty(window, "token", {
        get: () => tokens.length % 2 ? "second" : "first"})""")
    site.answers.today_views = 18
    await site.page.get_by_role("button", name="Refresh").click()
    await site.sees("Today so far: 18 views")


async def test_a_session_that_is_over_is_asked_for_at_the_site(site: Instructor) -> None:
    await visit(site, A_COURSE)
    await site.page.evaluate("token = ''")
    await site.page.get_by_role("button", name="Refresh").click()
    await site.sees("Your session has ended. Sign in on the site again, and refresh.")
    assert [] == await site.findings()

    await site.page.evaluate("token = 'third'")
    await site.page.get_by_role("button", name="Refresh").click()
    await site.sees("1,932")


async def test_the_video_stands_beside_the_curve_and_a_click_on_it_seeks(site: Instructor) -> None:
    await visit(site, A_LECTURE)
    video = site.page.locator("video")
    await site.page.wait_for_function("() => document.querySelector('video').readyState > 0")

    async def at() -> Any:
        return await video.evaluate("video => video.currentTime")

    curve = site.page.get_by_role("slider", name="Who still watches")
    box = await curve.locator("svg").bounding_box()
    assert box
    left, right = 52, 8  # of the box, beside the curve
    middle = left + (box["width"] - left - right) * 105 / 356
    await curve.click(position={"x": middle, "y": 100})
    assert 100 == await at()

    await curve.press("Home")
    await curve.press("ArrowRight")
    await curve.press("Enter")
    assert 10 == await at()

    await site.page.get_by_role("button", name="03:20–03:40 was played 2.4 times").click()
    assert await at() > 10
    assert [] == await site.findings()


async def test_without_a_video_there_is_the_curve_alone(site: Instructor) -> None:
    await visit(site, A_LECTURE.removesuffix("00") + "01")
    assert 0 == await site.page.locator("video").count()
    assert await site.page.locator(".plot.curve").is_visible()


async def test_unmounted_it_is_gone_and_asks_nothing_more(site: Instructor) -> None:
    await site.stop_the_clock()
    await visit(site, A_COURSE)
    await site.page.evaluate("mounted.unmount()")
    await expect(site.page.locator("#here")).to_be_empty()
    site.answers.asked.clear()
    await site.page.clock.run_for(60_000)
    assert [] == site.answers.asked


async def test_a_table_is_downloaded_with_the_token_under_its_name(site: Instructor) -> None:
    await visit(site, f"{A_COURSE}&range=7")
    async with site.page.expect_download() as download:
        await site.page.get_by_role("button", name="Not counted as CSV").click()

    file = await download.value
    asked = [url.rpartition("/")[2] for url in site.answers.asked]
    assert "report.csv?period=LAST_7_DAYS&table=notCounted" in asked
    assert "course.csv" == file.suggested_filename
    assert b"day,views\r\n" == (await file.path()).read_bytes()


async def test_a_failed_download_is_reported(site: Instructor) -> None:
    await visit(site, A_COURSE)
    site.answers.status = 503
    await site.page.get_by_role("button", name="Days as CSV").click()
    await site.sees("The service does not answer.")

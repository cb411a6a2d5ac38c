"""The demo's page in one tab, as `make run` opens it, and the instructor's in another."""

import asyncio
import re
import time
from dataclasses import dataclass
from typing import Any

import pytest
from playwright.async_api import Page, expect

from devstack.seed import DEMO_COURSE, write_course
from devstack.tokens import mint
from tests.browser.service import POLL_SECONDS, Service
from tests.servers import JWT_SECRET, PATIENCE

WATCH = """async () => {
    const video = document.querySelector("video");
    video.playbackRate = 8;
    await video.play();
    for (let back = 0; back < 2;) {
        await new Promise((resolve) => video.addEventListener("timeupdate", resolve, {once: true}));
        if (video.currentTime > 30 && ++back < 2) video.currentTime = 20;
    }
    video.pause();
}"""
HIDE = """() => {
    Object.defineProperty(document, "visibilityState", {value: "hidden", configurable: true});
    document.dispatchEvent(new Event("visibilitychange"));
}"""
SEE = "() => { document.dispatchEvent(new Event('visibilitychange')); }"
SHOWN = """() => ({
    facts: [...document.querySelectorAll(".facts data")].map((each) => Number(each.value)),
    curve: document.querySelector(".plot.curve path.curve")?.getAttribute("d") ?? "",
    strip: [...document.querySelectorAll(".plot.strip .bar")].map((bar) => Number(bar.getAttribute("height"))),
})"""


@dataclass(frozen=True)
class Shown:
    """What the instructor sees of the lecture: views, seconds and playbacks; the curve; how high each bar is."""

    facts: list[float]
    curve: str
    strip: list[float]

    def has_moved_on_from(self, before: "Shown") -> bool:
        """One more has watched it, for three seconds at least, and played the third segment twice."""
        if len(self.facts) < 3 or len(self.strip) < 3:
            return False
        views, seconds, playbacks = (now - then for now, then in zip(self.facts, before.facts, strict=True))
        again = self.strip[2] > 1.2 * self.strip[0]
        return (views, playbacks) == (1, 1) and seconds >= 3 and again and before.curve != self.curve


async def shown(tab: Page) -> Shown:
    found: dict[str, Any] = await tab.evaluate(SHOWN)
    return Shown(**found)


async def two_tabs(page: Page, service: Service) -> tuple[Page, Shown]:
    """Opens the demo, and from there the instructor's page in another tab, which shows its numbers."""
    write_course(service.database, DEMO_COURSE)
    learner, instructor = mint(JWT_SECRET, "demo-learner"), mint(JWT_SECRET, DEMO_COURSE.creator)
    await page.goto(f"{service.gateway.url}/demo/#token={learner}&instructor={instructor}")
    async with page.context.expect_page() as opened:
        await page.get_by_role("link", name="The instructor's page").click()
    tab = await opened.value
    await expect(tab.get_by_role("heading", level=1)).to_have_text("Why machines disagree")
    assert f"{service.gateway.url}/demo/" == page.url
    assert learner not in await page.content()
    return tab, await shown(tab)


async def seen_to_move(tab: Page, before: Shown) -> None:
    """Waits until the tab shows what was watched since then."""
    deadline = time.monotonic() + PATIENCE
    while not (now := await shown(tab)).has_moved_on_from(before):
        assert time.monotonic() < deadline, f"{before} → {now}"
        await asyncio.sleep(POLL_SECONDS)


async def test_who_watches_the_demo_sees_the_numbers_move(page: Page, service: Service, complaints: list[str]) -> None:
    tab, before = await two_tabs(page, service)
    await page.evaluate(WATCH)
    await page.evaluate(HIDE)
    await expect(page.get_by_role("status")).to_have_text(re.compile(r"^[1-9]\d* pings? sent, 0 waiting\.$"))
    await tab.evaluate(SEE)
    await seen_to_move(tab, before)
    assert [] == complaints


@pytest.mark.minutes
async def test_side_by_side_they_move_within_15_seconds(page: Page, service: Service) -> None:
    tab, before = await two_tabs(page, service)
    await page.evaluate(WATCH)
    since = time.monotonic()
    await seen_to_move(tab, before)
    assert time.monotonic() - since < 15


async def test_the_demo_says_where_its_token_comes_from(page: Page, service: Service) -> None:
    await page.goto(f"{service.gateway.url}/demo/")
    await page.get_by_text("has a token").wait_for()

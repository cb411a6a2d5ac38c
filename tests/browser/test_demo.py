"""The demo's page, as `make run` opens it."""

import pytest
from playwright.async_api import Page

from devstack.seed import DEMO_COURSE, write_course
from devstack.tokens import mint
from tests.browser.service import Service, eventually
from tests.servers import JWT_SECRET


@pytest.mark.usefixtures("redis_url")  # whose counts of the demo course are empty
async def test_a_viewer_of_the_demo_sees_the_numbers_move(page: Page, service: Service, complaints: list[str]) -> None:
    write_course(service.database, DEMO_COURSE)
    learner, instructor = mint(JWT_SECRET, "demo-learner"), mint(JWT_SECRET, DEMO_COURSE.creator)
    await page.goto(f"{service.gateway.url}/demo/#token={learner}&instructor={instructor}")
    watched = """async () => {
        const video = document.querySelector("video");
        video.playbackRate = 8;
        await video.play();
        for (let back = 0; back < 2;) {
            await new Promise((resolve) => video.addEventListener("timeupdate", resolve, {once: true}));
            if (video.currentTime > 30 && ++back < 2) video.currentTime = 20;
        }
        video.pause();
    }"""
    await page.evaluate(watched)

    def figures() -> tuple[int, int, bool]:
        shown = service.dashboard(DEMO_COURSE)
        lecture = shown["engagementFunnel"][0]
        return shown["overview"]["totalViews"], lecture["views"], lecture["watchTimeSeconds"] >= 4

    def played_again() -> bool:
        path = f"/instructor/{DEMO_COURSE.id}/lectures/{DEMO_COURSE.lectures[0].id}/heatmap"
        segments = service.get(path, DEMO_COURSE.creator).raise_for_status().json()["segments"]
        return bool(segments[2]["passes"] > 1.5 > segments[0]["passes"] > 0.5)

    await eventually(figures, (1, 1, True))
    await eventually(played_again, expected=True)
    assert f"{service.gateway.url}/demo/" == page.url
    assert learner not in await page.content()
    assert [] == complaints


async def test_the_demo_says_where_its_token_comes_from(page: Page, service: Service) -> None:
    await page.goto(f"{service.gateway.url}/demo/")
    await page.get_by_text("has a token").wait_for()

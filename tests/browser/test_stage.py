"""The stage itself: what the tests in a browser stand on."""

from playwright.async_api import Page

from tests.browser.service import Service
from tests.browser.site import Site


async def test_the_browser_opens_the_instructors_page(page: Page, service: Service, complaints: list[str]) -> None:
    response = await page.goto(f"{service.gateway.url}/instructor/")

    assert response
    assert 200 == response.status
    assert [] == complaints


async def test_the_browser_plays_and_seeks_a_video(page: Page, site: Site) -> None:
    await page.goto(f"{site.url}/watch.html")

    ended = """async () => {
        video.src = "12min.webm";
        video.playbackRate = 16;
        await video.play();
        video.currentTime = 710;
        await new Promise((resolve) => video.addEventListener("ended", resolve));
        return video.currentTime;
    }"""
    assert 720 == round(await page.evaluate(ended))


async def test_the_demos_video_can_be_sought(page: Page, service: Service) -> None:
    await page.goto(f"{service.gateway.url}/demo/")
    sought = """async () => {
        const video = document.querySelector("video");
        video.currentTime = 100;
        await new Promise((resolve) => video.addEventListener("seeked", resolve));
        return video.currentTime;
    }"""
    assert 100 == await page.evaluate(sought)

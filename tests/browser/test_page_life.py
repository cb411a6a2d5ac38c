"""What is counted when a page is hidden, left, or comes back."""

import pytest
from playwright.async_api import Page

from tests.browser.scene import LONG, Viewer
from tests.browser.service import eventually

# A page of a test is always visible: it has to be told otherwise.
SHOW = """(state) => {
    Object.defineProperty(document, "visibilityState", {value: state, configurable: true});
    document.dispatchEvent(new Event("visibilitychange"));
}"""
# Nothing but the end of the page sends.
NEVER = 1000
NOT_EVEN_A_PING = "video.playbackRate = 4; await video.play(); await until(() => video.currentTime > 16);"


async def first_ping(viewer: Viewer) -> None:
    """Something was sent before, as the page's goodbye needs a token that it has, and a preflight that was asked."""
    await viewer.open(pingSeconds=NEVER)
    await viewer.play(8, rate=8)
    await viewer.counted()


@pytest.mark.parametrize(("muted", "counts"), [(True, False), (False, True)])
async def test_a_hidden_video_is_counted_when_it_can_be_heard(viewer: Viewer, muted: bool, counts: bool) -> None:
    await viewer.open()
    await viewer.page.evaluate(f"scene.video.muted = {str(muted).lower()}")
    await viewer.play(4, rate=8)
    await viewer.page.evaluate(SHOW, "hidden")
    await viewer.play(16, rate=8)
    await viewer.page.evaluate(SHOW, "visible")
    await viewer.play(20, rate=8)
    if not counts:
        await viewer.run("scene.played.splice(1, 1);")
    await viewer.counted()


async def test_what_was_watched_is_sent_when_the_page_is_hidden(viewer: Viewer) -> None:
    await first_ping(viewer)
    await viewer.play(20, rate=4)
    await viewer.page.evaluate(SHOW, "hidden")
    await viewer.arrived()


async def test_what_was_watched_is_sent_when_the_tab_is_closed(viewer: Viewer) -> None:
    await first_ping(viewer)
    await viewer.run(NOT_EVEN_A_PING)
    await viewer.page.close(run_before_unload=True)
    await eventually(lambda: viewer.stored()["watchTimeSeconds"], lambda stored: stored >= 3)


async def test_what_was_watched_is_sent_when_the_viewer_goes_elsewhere(viewer: Viewer) -> None:
    await first_ping(viewer)
    await viewer.run(NOT_EVEN_A_PING)
    await viewer.page.goto("about:blank")
    await eventually(lambda: viewer.stored()["watchTimeSeconds"], lambda stored: stored >= 3)


async def test_what_is_on_its_way_when_the_page_ends_is_sent_again_and_counts_once(viewer: Viewer) -> None:
    await first_ping(viewer)
    held = """
        await scene.play(18, 8);
        scene.answers = new Promise((resolve) => (scene.answer = resolve));
        tracker.flush();
        await until(() => scene.bodies.length === 2);
    """
    await viewer.run(held)
    await viewer.play(20, rate=2)
    await viewer.page.evaluate(SHOW, "hidden")
    assert [1, 1, 2] == [len(events) for events in await viewer.page.evaluate("scene.bodies")]
    await viewer.run("scene.answer();")
    await viewer.counted()


async def test_a_page_that_comes_back_goes_on_with_the_same_playback(viewer: Viewer) -> None:
    await first_ping(viewer)
    await viewer.play(16, rate=4)
    told = (await viewer.seconds_played()) + 1
    await viewer.page.evaluate("window.addEventListener('pageshow', (event) => { scene.persisted = event.persisted; })")
    await viewer.page.goto(f"{viewer.site.url}/scene.js")
    await eventually(lambda: viewer.stored()["watchTimeSeconds"], lambda stored: told - 2 <= stored <= told)

    await viewer.page.go_back(wait_until="commit")
    await viewer.page.wait_for_function("window.scene?.persisted")
    await viewer.play(20, rate=4)
    await viewer.counted()
    assert 1 == viewer.stored()["views"]


async def test_a_reload_is_not_a_second_view(viewer: Viewer) -> None:
    await viewer.open()
    await viewer.play(16)
    await viewer.counted()
    before = (await viewer.told()).seconds
    await viewer.open()
    await viewer.play(16)
    await viewer.run("await tracker.flush();")
    await eventually(lambda: viewer.stored()["watchTimeSeconds"], before + (await viewer.told()).seconds)
    assert 1 == viewer.stored()["views"]


async def test_loading_the_same_source_again_is_not_a_second_view(viewer: Viewer) -> None:
    await viewer.open()
    await viewer.play(16)
    await viewer.run("video.load(); await once('loadstart'); await until(() => video.readyState > 2);")
    await viewer.play(8, rate=8)
    await viewer.counted()
    assert 1 == viewer.stored()["views"]


async def test_a_duplicated_tab_is_one_view(viewer: Viewer) -> None:
    await viewer.open()
    await viewer.play(16)
    await viewer.counted()
    before = (await viewer.told()).seconds
    async with viewer.page.expect_popup() as copied:
        await viewer.page.evaluate("window.open('/watch.html')")  # it begins with a copy of this tab's storage
    other = Viewer(await copied.value, viewer.service, viewer.site, viewer.course)
    await other.open()
    await other.play(16)
    await other.run("await tracker.flush();")
    await eventually(lambda: viewer.stored()["watchTimeSeconds"], before + (await other.told()).seconds)
    assert 1 == viewer.stored()["views"]


async def test_after_half_an_hour_it_is_another_view(viewer: Viewer) -> None:
    await viewer.page.clock.install()
    await viewer.open(LONG)
    await viewer.play(16)
    await viewer.counted()
    await viewer.page.clock.fast_forward("30:01")
    await viewer.play(40)
    await viewer.run("await tracker.flush();")
    await eventually(lambda: viewer.stored()["views"], 2)


async def test_another_tab_is_another_view(viewer: Viewer) -> None:
    other = Viewer(await viewer.page.context.new_page(), viewer.service, viewer.site, viewer.course)
    for each in (viewer, other):
        await each.open()
        await each.play(16)
        await each.run("await tracker.flush();")
    await eventually(lambda: viewer.stored()["views"], 2)


async def test_nothing_is_kept_but_for_the_tab_and_never_the_token(viewer: Viewer) -> None:
    await viewer.open(token="an.invalid.token")
    await viewer.play(20)
    await viewer.run("await tracker.flush();")
    assert [0, ""] == await viewer.page.evaluate("[localStorage.length, document.cookie]")
    assert "invalid" not in await kept(viewer.page)
    assert "watchTimeDelta" in await kept(viewer.page)


async def kept(page: Page) -> str:
    """All that the page has in the storage of its tab."""
    return str(await page.evaluate("JSON.stringify({...sessionStorage})"))

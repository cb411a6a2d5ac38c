"""The recipes in the script's README, as they stand there, with the real players."""

import json
import re
from pathlib import Path

import pytest

from devstack.tokens import mint
from tests.browser.scene import PING_SECONDS, SHORT, Viewer
from tests.browser.service import eventually
from tests.servers import JWT_SECRET

README = Path(__file__).parent.parent.parent / "player" / "README.md"
VIDEO_JS = "data:text/javascript,export default window.videojs"  # as bundlers make it of the module's own form


def recipe(player: str) -> str:
    """The code of a recipe."""
    (code,) = re.findall(rf"<!-- recipe: {re.escape(player)} -->\n```js\n(.*?)```", README.read_text(), re.DOTALL)
    return str(code)


def html(viewer: Viewer, player: str) -> str:
    """A page with the recipe."""
    imports = {
        "course-analytics-player": f"{viewer.site.gateway_url}/player/track.js",
        "hls.js": "/node_modules/hls.js/dist/hls.mjs",
        "video.js": VIDEO_JS,
    }
    return f"""<!doctype html>
<link rel="icon" href="data:,">
<script src="/node_modules/video.js/dist/video.js"></script>
<script type="importmap">{json.dumps({"imports": imports})}</script>
<video id="video" class="video-js" muted></video>
<script type="module">{recipe(player)} window.watch = watch;</script>"""


@pytest.mark.parametrize(
    ("player", "source"), [("hls.js", "hls.m3u8"), ("video.js", {"src": SHORT, "type": "video/webm"})]
)
async def test_a_recipe_counts_what_its_player_plays(viewer: Viewer, player: str, source: object) -> None:
    page = viewer.page

    viewer.site.pages["/recipe.html"] = html(viewer, player)
    await page.goto(f"{viewer.site.url}/recipe.html")
    await page.wait_for_function("() => Boolean(window.watch)")
    watched = """async ([source, options]) => {
        const tracker = await watch(document.querySelector("video"), source, {...options, token: () => options.token});
        const video = document.querySelector("video");
        video.playbackRate = 2;
        await video.play();
        while (video.currentTime < 4) await new Promise((resolve) => setTimeout(resolve, 10));
        video.pause();
        await tracker.flush();
    }"""
    options = {
        "endpoint": f"{viewer.site.gateway_url}/api/v1/analytics",
        "courseId": viewer.course.id,
        "lectureId": viewer.course.lectures[0].id,
        "token": mint(JWT_SECRET, viewer.user),
        "pingSeconds": PING_SECONDS,
    }
    await page.evaluate(watched, [source, options])
    await eventually(lambda: viewer.stored()["watchTimeSeconds"], lambda stored: 1 <= stored <= 3)
    assert 1 == viewer.stored()["views"]

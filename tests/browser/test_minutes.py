"""What takes minutes of real time: `make browser`. Pings go as often as on a site, and at the speed of the clock."""

import pytest

from devstack.tokens import mint
from tests.browser.scene import LONG, SHORT, Viewer
from tests.servers import JWT_SECRET

pytestmark = [pytest.mark.minutes, pytest.mark.timeout(400)]

PING_SECONDS = 5


async def play(viewer: Viewer, to: float, rate: float = 1) -> None:
    """Plays for minutes, of which the page is asked step by step."""
    step = 15 * rate
    position = await viewer.run("return video.currentTime;")
    while position < to:
        position = min(position + step, to)
        await viewer.play(position, rate)


async def test_a_lecture_is_counted_at_the_speed_of_the_clock(viewer: Viewer) -> None:
    await viewer.open(SHORT, pingSeconds=PING_SECONDS)
    await viewer.play(20, rate=1)
    await viewer.counted()


async def test_twelve_minutes_at_sixteen_times_the_speed(viewer: Viewer) -> None:
    await viewer.open(LONG, pingSeconds=PING_SECONDS)
    await play(viewer, 720, rate=16)
    await viewer.counted()


async def test_half_the_speed_takes_twice_as_long(viewer: Viewer) -> None:
    await viewer.open(SHORT, pingSeconds=PING_SECONDS)
    await play(viewer, 20, rate=0.5)
    await viewer.counted()


async def test_three_rounds_of_a_loop(viewer: Viewer) -> None:
    await viewer.open(SHORT, pingSeconds=PING_SECONDS)
    looped = """
        let rounds = 0;
        video.loop = true;
        video.addEventListener("seeking", () => rounds += 1);
        await video.play();
        scene.through = (async () => {
            while (rounds < 3) await new Promise((resolve) => setTimeout(resolve, 10));
            video.pause();
        })();
    """
    await viewer.run(looped)
    for _ in range(3):
        await viewer.run("await once('seeking'); scene.played.push([0, 20, 1]);")
    await viewer.run("await scene.through; scene.played.push([0, video.currentTime, 1]);")
    await viewer.counted()


async def test_tokens_that_live_for_20_seconds(viewer: Viewer) -> None:
    asked: list[str] = []

    def give() -> str:
        asked.append(mint(JWT_SECRET, viewer.user, lifetime_seconds=20))
        return asked[-1]

    await viewer.page.expose_function("mint", give)
    await viewer.open(LONG, pingSeconds=PING_SECONDS, token=None)
    await play(viewer, 120)
    await viewer.counted()
    assert 5 <= len(asked) <= 8


async def test_a_minute_offline(viewer: Viewer) -> None:
    await viewer.open(LONG, pingSeconds=PING_SECONDS)
    await play(viewer, 10)
    await viewer.page.context.set_offline(offline=True)
    await play(viewer, 70)
    await viewer.page.context.set_offline(offline=False)
    await play(viewer, 80)
    await viewer.counted()
    assert 1 == viewer.stored()["views"]

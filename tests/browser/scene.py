"""A viewer in front of a tracked video, and what should have been counted of it."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import redis
from playwright.async_api import Page

from devstack.seed import Course
from devstack.tokens import mint
from tests.browser.service import Service, eventually
from tests.browser.site import Site
from tests.servers import JWT_SECRET

SHORT, LONG = "20s.webm", "12min.webm"
PING_SECONDS = 0.5
SEGMENT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Viewer:
    """One page of a course site, with the video of the course's first lecture."""

    page: Page
    service: Service
    site: Site
    course: Course

    async def open(self, src: str = SHORT, **options: Any) -> None:
        """Opens the page. `options` are those of the script, or change them."""
        await self.page.goto(f"{self.site.url}/watch.html")
        await self.page.wait_for_function("window.scene")
        given = {
            "script": f"{self.site.gateway_url}/player/track.js",
            "src": src,
            "endpoint": f"{self.site.gateway_url}/api/v1/analytics",
            "courseId": self.course.id,
            "lectureId": self.course.lectures[0].id,
            "token": mint(JWT_SECRET, self.user),
            "pingSeconds": PING_SECONDS,
            **options,
        }
        await self.page.evaluate("(options) => scene.open(options)", given)

    @property
    def user(self) -> str:
        """Who watches."""
        return f"viewer-of-{self.course.id}"

    async def play(self, to: float, rate: float = 16) -> None:
        """Plays up to a position, at this many times the speed."""
        await self.page.evaluate("([to, rate]) => scene.play(to, rate)", [to, rate])

    async def seek(self, to: float) -> None:
        """Jumps."""
        await self.page.evaluate("(to) => scene.seek(to)", to)

    async def run(self, script: str) -> Any:
        """Something else in the page; `scene`, `scene.video` and `scene.tracker` are there."""
        return await self.page.evaluate(f"async () => {{ const {{video, tracker, until, once}} = scene; {script} }}")

    async def played(self) -> list[tuple[float, float, float]]:
        """What was played: from, to, and at which rate."""
        return [(start, end, rate) for start, end, rate in await self.page.evaluate("scene.played")]

    def stored(self, lecture: int = 0) -> dict[str, Any]:
        """What the dashboard shows of a lecture."""
        row: dict[str, Any] = self.service.dashboard(self.course)["engagementFunnel"][lecture]
        return row

    def segments(self, lecture: int = 0) -> dict[int, float]:
        """Seconds of the video's time that are counted in each of its segments."""
        name = f"{self.course.id}/{self.course.lectures[lecture].id}"
        with redis.Redis.from_url(self.service.redis_url, decode_responses=True) as client:
            (key,) = [*client.scan_iter(f"course_counters:*:{name}"), ""][:1]
            fields = client.hgetall(key)
        return {
            int(field.partition(":")[2]): int(tenths) / 10
            for field, tenths in fields.items()
            if field.startswith("segment_watched:")
        }

    async def told(self, lecture: int = 0) -> float:
        """The seconds that the script has told of a lecture, each ping once."""
        bodies: list[list[dict[str, Any]]] = await self.page.evaluate("scene.bodies")
        pings = [event["telemetry"] for events in bodies for event in events]
        once = {ping["eventId"]: ping for ping in pings if ping["lectureId"] == self.course.lectures[lecture].id}
        return float(sum(ping["watchTimeDelta"] for ping in once.values()))

    async def arrived(self, lecture: int = 0) -> None:
        """Waits until what was played is counted, to a second, without doing anything for it."""
        seconds = await self.seconds_played()
        await eventually(lambda: self.stored(lecture)["watchTimeSeconds"], lambda stored: abs(stored - seconds) <= 1)

    async def counted(self, lecture: int = 0) -> None:
        """Has what is left told, and checks what is counted: exactly what was told, to a second what was played."""
        await self.run("await tracker.flush();")
        told = await self.told(lecture)
        await eventually(lambda: self.stored(lecture)["watchTimeSeconds"], told)
        assert abs(told - await self.seconds_played()) <= 1

    async def seconds_played(self) -> float:
        """By the clock on the wall."""
        return sum((end - start) / rate for start, end, rate in await self.played())


def in_segments(played: list[tuple[float, float, float]]) -> dict[int, float]:
    """Seconds of the video's time in each segment."""
    found: Counter[int] = Counter()
    for start, end, _ in played:
        for n in range(int(start // SEGMENT_SECONDS), int(end // SEGMENT_SECONDS) + 1):
            low, high = max(start, n * SEGMENT_SECONDS), min(end, (n + 1) * SEGMENT_SECONDS)
            found[n] += round(max(0, high - low), 1)  # type: ignore[assignment]
    return dict(found)

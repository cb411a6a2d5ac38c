"""A viewer in front of a tracked video, and what should have been counted of it."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from math import floor
from typing import Any

from playwright.async_api import Page

from devstack.seed import Course
from devstack.tokens import mint
from tests.browser.service import Service, eventually
from tests.browser.site import Site
from tests.servers import JWT_SECRET

SHORT, LONG = "20s.webm", "12min.webm"
PING_SECONDS = 0.5
TENTHS = 100  # of a second, in a segment


@dataclass(frozen=True, slots=True)
class Told:
    """What a script has told: seconds by the clock, and of the video's time in each segment."""

    seconds: float
    parts: dict[int, float]


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

    def stored_parts(self, lecture: int = 0) -> dict[int, float]:
        """Seconds of the video's time that are counted in each of its segments."""
        path = f"/instructor/{self.course.id}/lectures/{self.course.lectures[lecture].id}/heatmap"
        answer = self.service.get(path, self.course.creator).raise_for_status().json()
        watched = {n: segment["watchedSeconds"] for n, segment in enumerate(answer["segments"])}
        return {n: seconds for n, seconds in watched.items() if seconds}

    async def told(self, lecture: int = 0) -> Told:
        """What the script has told of a lecture, each ping once."""
        bodies: list[list[dict[str, Any]]] = await self.page.evaluate("scene.bodies")
        pings = [event["telemetry"] for events in bodies for event in events]
        once = {ping["eventId"]: ping for ping in pings if ping["lectureId"] == self.course.lectures[lecture].id}
        return Told(
            seconds=float(sum(floor(ping["watchTimeDelta"] + 0.5) for ping in once.values())),
            parts=in_segments(
                (part["fromSeconds"], part["toSeconds"]) for ping in once.values() for part in ping["played"]
            ),
        )

    async def arrived(self, lecture: int = 0) -> None:
        """Waits until what was played is counted, to a second, without doing anything for it."""
        seconds = await self.seconds_played()
        await eventually(lambda: self.stored(lecture)["watchTimeSeconds"], lambda stored: abs(stored - seconds) <= 1)

    async def counted(self, lecture: int = 0) -> None:
        """Has what is left told, and checks what is counted: exactly what was told, to a second what was played."""
        await self.run("await tracker.flush();")
        told = await self.told(lecture)
        await eventually(lambda: self.stored(lecture)["watchTimeSeconds"], told.seconds)
        await eventually(lambda: self.stored_parts(lecture), told.parts)
        assert abs(told.seconds - await self.seconds_played()) <= 1
        played = in_segments((start, end) for start, end, _ in await self.played())
        wrong = [n for n in {*told.parts, *played} if abs(told.parts.get(n, 0) - played.get(n, 0)) > 1]
        assert [] == wrong, f"played {played}, told {told.parts}"

    async def seconds_played(self) -> float:
        """By the clock on the wall."""
        return sum((end - start) / rate for start, end, rate in await self.played())


def in_segments(parts: Iterable[tuple[float, float]]) -> dict[int, float]:
    """Seconds of the video's time in each segment of ten, in tenths."""
    found: defaultdict[int, int] = defaultdict(int)
    for start, end in parts:
        first, last = round(start * 10), round(end * 10)
        for n in range(first // TENTHS, -(-last // TENTHS)):
            found[n] += min(last, (n + 1) * TENTHS) - max(first, n * TENTHS)
    return {n: tenths / 10 for n, tenths in found.items()}

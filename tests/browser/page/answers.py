"""What the service answers of one made-up course, by the contract: for states that a real service is seldom in."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from math import sin
from typing import Any
from urllib.parse import parse_qs, urlsplit

from playwright.async_api import Page, Route

COURSE = "65000000000000000000c001"
CREATOR = "65000000000000000000c099"
TODAY = date(2026, 11, 26)
AS_OF = "2026-11-26T12:03:05Z"
SINCE = date(2026, 6, 1)
TITLES = ("Why machines disagree", "Time without clocks", "Messages that get lost", "Retries and idempotence")
SEGMENTS = 36

Json = dict[str, Any]


def lecture_id(n: int) -> str:
    return f"65000000000000000000c1{n:02x}"


def views_on(day: date) -> int:
    """So many course views were there on a day: fewer at the weekend, and growing slowly."""
    n = (day - SINCE).days
    return 0 if n < 0 else round((40 + n / 4) * (0.5 if day.weekday() > 4 else 1) * (1 + 0.2 * sin(n)))


def a_day(day: date) -> Json:
    views = views_on(day)
    return {
        "day": day.isoformat(),
        "courseViews": views,
        "uniqueUsers": round(views * 0.6),
        "watchTimeSeconds": views * 333.0,
        "lectureViews": views * 2,
    }


def funnel(views: int, titles: tuple[str, ...]) -> list[Json]:
    reached = [round(views * share) for share in (1, 0.83, 0.79, 0.41, *[0.4] * max(0, len(titles) - 4))][: len(titles)]
    return [
        {
            "lectureId": lecture_id(n),
            "title": title,
            "views": reached[n],
            "watchTimeSeconds": reached[n] * 240.0,
            "retentionRate": reached[n] / views if views else 0,
            "dropOffRate": 1 - reached[n] / reached[n - 1] if n and reached[n - 1] else 0,
        }
        for n, title in enumerate(titles)
    ]


def overview(days: list[Json], steps: list[Json]) -> Json:
    watch, people = sum(day["watchTimeSeconds"] for day in days), round(sum(day["uniqueUsers"] for day in days) * 0.7)
    first, last = (steps[0]["views"], steps[-1]["views"]) if steps else (0, 0)
    return {
        "courseViews": sum(day["courseViews"] for day in days),
        "uniqueUsers": people,
        "uniqueUsersStandardError": 0.0081,
        "watchTimeSeconds": watch,
        "averageWatchTimeSeconds": watch / people if people else 0,
        "lectureViews": sum(day["lectureViews"] for day in days),
        "dropOffRate": 1 - last / first if first else 0,
    }


def stretch(first: date, last: date) -> list[date]:
    return [first + timedelta(n) for n in range((last - first).days + 1)]


@dataclass
class Answers:
    """Answers like the service. A test changes what is asked of it."""

    title: str = "Distributed systems, gently"
    titles: tuple[str, ...] = TITLES
    since: date | None = SINCE
    watched: bool = True
    today: date = TODAY
    today_views: int = 17
    playbacks: int = 8400
    rewatched: bool = True
    has_courses: bool = True
    newer_courses: int = 0
    not_counted: tuple[tuple[str, int, float], ...] = (
        ("IMPLAUSIBLE", 12, 60),
        ("REPEATED", 7, 35),
        ("OVERLOADED", 29, 145),
    )
    good: str = ""
    status: int = 200
    message: str = ""
    asked: list[str] = field(default_factory=list)
    hold: Callable[[str], Awaitable[object]] | None = None

    def courses(self, query: Json) -> Json:
        days = [{"day": str(day), "lectureViews": views_on(day) * 2} for day in self.last(28)]
        course = {"title": self.title, "last28Days": days if self.watched else []} | self.totals()
        newer = [(f"65000000000000000000d{n:03x}", f"Newer course {n}") for n in range(self.newer_courses)]
        listed = [course | {"courseId": each, "title": title} for each, title in newer] + [
            course | {"courseId": COURSE}
        ]
        first = int(query.get("pageToken", "0"))
        last = first + int(query["pageSize"])
        page = listed[first:last] if self.has_courses else []
        return {"courses": page, "nextPageToken": str(last) if self.has_courses and last < len(listed) else ""}

    def midnight(self) -> None:
        """A new day begins."""
        self.today += timedelta(1)

    def totals(self) -> Json:
        views = 12_345 + self.today_views if self.watched else 0
        return {"totalViews": views, "uniqueActiveUsers": views // 3, "totalWatchTimeSeconds": views * 333.0}

    def last(self, days: int) -> list[date]:
        return stretch(self.today - timedelta(days), self.today - timedelta(1))

    def dashboard(self) -> Json:
        totals = self.totals()
        average = totals["totalWatchTimeSeconds"] / (totals["uniqueActiveUsers"] or 1)
        rest = {"averageWatchTimeSeconds": average, "dropOffRate": 0.59, "asOf": AS_OF}
        return {"overview": totals | rest, "engagementFunnel": funnel(9000 if self.watched else 0, self.titles)}

    def report(self, query: Json) -> Json:
        if "fromDay" in query:
            first, last = (date.fromisoformat(query[name]) for name in ("fromDay", "toDay"))
        else:
            many = int(query.get("period", "LAST_28_DAYS").split("_")[1])
            first, last = self.last(many)[0], self.last(many)[-1]
        number = (last - first).days + 1
        days = self.days(first, last)
        steps = funnel(sum(day["lectureViews"] for day in days) // 3, self.titles)
        before = self.days(first - timedelta(number), first - timedelta(1))
        today = a_day(self.today) | {"courseViews": self.today_views, "uniqueUsers": 9, "notCounted": []}
        answer = {
            "range": {
                "fromDay": str(first),
                "toDay": str(last),
                "days": number,
                "dayZone": "Europe/Berlin",
                "recordedSince": str(self.since or ""),
                "final": False,
            },
            "overview": overview(days, steps),
            "days": days,
            "today": today,
            "engagementFunnel": steps if number <= 92 else [],
            "notCounted": [{"reason": reason, "events": n, "seconds": s} for reason, n, s in self.not_counted],
            "asOf": AS_OF,
        }
        return answer | ({"previous": overview(before, steps)} if len(before) == number else {})

    def days(self, first: date, last: date) -> list[Json]:
        nothing = {"courseViews": 0, "uniqueUsers": 0, "watchTimeSeconds": 0, "lectureViews": 0}
        return [
            a_day(day) | ({} if self.watched else nothing)
            for day in stretch(first, last)
            if self.since and day >= self.since
        ]

    def heatmap(self, lecture: str) -> Json:
        playbacks = self.playbacks if self.watched else 0
        segments = [self.segment(n, playbacks) for n in range(SEGMENTS if self.watched else 0)]
        again = {"fromSeconds": 200, "toSeconds": 220, "passes": 2.4, "views": 4900}
        known = [n for n in range(len(self.titles)) if lecture_id(n) == lecture]
        return {
            "lectureId": lecture,
            "title": self.titles[known[0]],
            "segmentSeconds": 10,
            "durationSeconds": SEGMENTS * 10 - 4,
            "playbacks": playbacks,
            "segments": segments,
            "mostRewatched": [again] if self.watched and self.rewatched else [],
            "recordedSince": str(self.since or ""),
            "asOf": AS_OF,
        } | ({"largestDrop": {"atSeconds": 120, "lostRate": 0.25}} if self.watched else {})

    def segment(self, n: int, playbacks: int) -> Json:
        views = playbacks - n * playbacks // 120 - (playbacks // 4 if n >= 12 else 0)
        passes = 2.4 if n in {20, 21} and self.rewatched else 1.1
        return {
            "startSeconds": n * 10,
            "views": views,
            "watchedSeconds": views * 10 * passes,
            "retentionRate": views / playbacks,
            "passes": passes,
        }

    def of(self, url: str) -> Json:
        """The answer to a GET."""
        address = urlsplit(url)
        parts = address.path.removeprefix("/api/v1/analytics/instructor").strip("/").split("/")
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        match parts:
            case [""]:
                return self.courses(query)
            case [_]:
                return self.dashboard()
            case [_, "report"]:
                return self.report(query)
            case [_, "lectures", lecture, "heatmap"]:
                return self.heatmap(lecture)
        raise AssertionError(url)

    async def install(self, page: Page) -> None:
        """Answers in the service's place from now on."""
        await page.route("**/api/v1/analytics/instructor**", self._route)
        await page.route("**/api/v1/analytics/instructor/**", self._route)

    async def _route(self, route: Route) -> None:
        url = route.request.url
        self.asked.append(url)
        refused = self.good and self.good != route.request.headers["authorization"]
        status = 401 if refused else self.status
        message = self.message
        file = {}
        if status != 200:
            body = json.dumps({"code": 2, "message": message, "details": []})
        elif ".csv" in url:
            body, file = "day,views\r\n", {"content-disposition": 'attachment; filename="course.csv"'}
        else:
            body = json.dumps(self.of(url))
        if self.hold:
            await self.hold(url)
        await route.fulfill(status=status, body=body, headers={"content-type": "application/json", **file})

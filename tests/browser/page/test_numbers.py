"""The page, its files and the API show the same numbers, from real stores, whatever a flush is doing."""

import asyncio
import csv
import io
import json
import signal
import zlib
from typing import Any

import httpx
import pytest
import redis
from bson import ObjectId
from playwright.async_api import Page, expect

from devstack.seed import Course
from devstack.tokens import mint
from tests.browser.page.answers import Answers
from tests.browser.page.instructor import Instructor
from tests.browser.service import Service
from tests.servers import JWT_SECRET, PATIENCE, program

FIRST, LAST = "2026-01-05", "2026-01-06"
NAMES = ("courseViews", "uniqueUsers", "watchTimeSeconds", "lectureViews")


@pytest.fixture
def course(service: Service) -> Course:
    """A course of two past days, watched today too, with an event of the second day still in Redis."""
    course = service.course('=HYPERLINK("https://evil.example")', "Two, and more", "Three")
    one, two, _ = course.lectures
    for day, views in ((FIRST, 7), (LAST, 9)):
        stats = {one.id: {"views": views, "totalWatchTime": 61 * views}, two.id: {"views": 2, "totalWatchTime": 20}}
        refused = {"OVERLOADED": {"events": 3, "seconds": 15}, "REPEATED": {"events": 2, "seconds": 10}}
        numbers = {"totalViews": views * 2, "lectureViews": views + 2, "watchTime": 61 * views + 20}
        document = {"lectureStats": stats, "notCounted": refused, "uniqueActiveUsers": views, **numbers}
        name = f"{course.id}/{day}"
        service.database["courseanalyticsdays"].insert_one(
            {"_id": name, "courseId": ObjectId(course.id), "day": day, "recentBatches": [], "epoch": 1, **document}
        )
    watch(service, course, "first")
    open_late(service, course)
    return course


def watch(service: Service, course: Course, learner: str) -> None:
    """A learner opens the course and watches two lectures; of the first one a part twice."""
    headers = {"authorization": f"Bearer {mint(JWT_SECRET, f'{learner}-of-{course.id}')}"}
    played = [{"fromSeconds": 0, "toSeconds": 20}, {"fromSeconds": 14.5, "toSeconds": 20}]
    pings = [
        {"courseId": course.id, "lectureId": lecture.id, "watchTimeDelta": 25, "playbackId": learner}
        | {"played": played, "durationSeconds": 34}
        for lecture in course.lectures[:2]
    ]
    events = [{"courseView": {"courseId": course.id}}, *({"telemetry": ping} for ping in pings)]
    url = f"{service.gateway.url}/api/v1/analytics/events:batch"
    answer = httpx.post(url, json={"events": events}, headers=headers, trust_env=False, timeout=PATIENCE)
    assert 3 == answer.raise_for_status().json()["accepted"]


def open_late(service: Service, course: Course) -> None:
    """An opening on the last day that no flusher has taken yet. Ingest counts only today, so Redis gets it by hand."""
    partition = f"{{{zlib.crc32(course.id.encode()) % 256}}}"
    name = f"{course.id}/{LAST}"
    with redis.Redis.from_url(service.redis_url) as client:
        client.hset(f"course_counters:{partition}:{name}", mapping={"batch": str(ObjectId()), "course_views": 1})
        client.sadd(f"dirty_analytics_courses:{partition}", name)


@pytest.fixture
async def instructor(page: Page, service: Service) -> Instructor:
    """Sees what the service answers."""
    return Instructor(page, f"{service.gateway.url}/instructor/", Answers())


def flush(service: Service, *point: str) -> int:
    """One flush, killed at a point or not at all; its exit code."""
    with redis.Redis.from_url(service.redis_url) as client:
        client.delete("none", *client.scan_iter("analytics_flush_lock:*"))
    settings = {"redis_url": service.redis_url, "mongo_url": service.mongo_url, "jwt_secret": JWT_SECRET}
    module = "tests.flusher.failing" if point else "flusher"
    flusher = program(module, service.folder, settings, *point, "--once")
    flusher.launch()
    return flusher.wait(PATIENCE)


async def shown(instructor: Instructor, service: Service, course: Course) -> dict[str, Any]:
    """What the page shows of the course; it is compared with the API's answers and the files."""
    token = mint(JWT_SECRET, course.creator)
    page = instructor.page
    days = f"?fromDay={FIRST}&toDay={LAST}"

    def api(path: str) -> httpx.Response:
        return service.get(f"/instructor/{course.id}{path}", course.creator)

    await instructor.open(f"?course={course.id}&range={FIRST}..{LAST}&compare=off", token)
    await page.locator("figure:has(.days) summary").click()
    await page.locator("figure:has(.funnel) summary").click()
    report = api(f"/report{days}").raise_for_status().json()
    rows = await instructor.rows("figure:has(.days)")
    assert rows == [[day["day"], *(bare(day[name]) for name in NAMES)] for day in report["days"]]
    assert rows == table(api(f"/report.csv{days}"))
    steps = [row[1:] for row in await instructor.rows("figure:has(.funnel)")]
    assert steps == [row[2:] for row in table(api(f"/report.csv{days}&table=funnel"))]
    refused = [row[1:3] for row in await instructor.rows("details.lost")]
    assert refused == [row[1:] for row in table(api(f"/report.csv{days}&table=notCounted"))]
    overview = report["overview"]
    values = await page.locator(".tile data").evaluate_all("all => all.map((each) => each.value)")
    average, people = overview["averageWatchTimeSeconds"], overview["uniqueUsers"]
    figures = [overview["courseViews"], people, overview["watchTimeSeconds"], average, 1 - overview["dropOffRate"]]
    assert values == [bare(figure) for figure in figures]

    await instructor.open(f"?course={course.id}&range=all", token)
    await page.locator("figure:has(.funnel) summary").click()
    dashboard = api("").raise_for_status().json()
    ever = [row[1:3] for row in await instructor.rows("figure:has(.funnel)")]
    assert ever == [[bare(step["views"]), bare(step["watchTimeSeconds"])] for step in dashboard["engagementFunnel"]]
    total = await page.locator(".tile data").first.get_attribute("value")
    assert total == bare(dashboard["overview"]["totalViews"])
    live = await page.locator(".now").inner_text()

    lecture = f"/lectures/{course.lectures[0].id}/heatmap"
    await instructor.open(f"?course={course.id}&lecture={course.lectures[0].id}", token)
    await page.locator("figure:has(.curve) summary").click()
    segments = await instructor.rows("figure:has(.curve)")
    heatmap = api(lecture).raise_for_status().json()
    assert segments == [[bare(value) for value in segment.values()] for segment in heatmap["segments"]]
    assert segments == table(api(f"{lecture}.csv"))
    return {"days": rows, "steps": steps, "ever": ever, "values": values, "live": live, "segments": segments}


def table(file: httpx.Response) -> list[list[str]]:
    """The rows of a CSV file, without its header."""
    text = file.raise_for_status().content.decode("utf-8-sig")
    return list(csv.reader(io.StringIO(text)))[1:]


def bare(value: object) -> str:
    """A value as JavaScript and the files write it."""
    return json.dumps(value).removesuffix(".0")


@pytest.mark.timeout(300)  # four times three views, and three flushers between them
async def test_page_files_and_api_agree_before_during_and_after_a_flush(
    instructor: Instructor, service: Service, course: Course
) -> None:
    hot = await shown(instructor, service, course)
    assert [[FIRST, "14", "7", "447", "9"], [LAST, "19", "9", "569", "11"]] == hot["days"]
    assert ["0", "1", "10", "1", "1"] == hot["segments"][0]
    assert ["10", "1", "15.5", "1", "1.55"] == hot["segments"][1]

    for point in ("before barrier 1", "before clear 1", ""):
        code = await asyncio.to_thread(flush, service, *(["KILL", point] if point else []))
        assert (-signal.SIGKILL if point else 0) == code
        assert hot == await shown(instructor, service, course), point or "flushed"


async def test_what_is_watched_meanwhile_is_seen_without_a_reload(
    instructor: Instructor, service: Service, course: Course
) -> None:
    await instructor.stop_the_clock()
    await instructor.open(f"?course={course.id}&lecture={course.lectures[0].id}", mint(JWT_SECRET, course.creator))
    facts = instructor.page.locator(".facts data")
    bare_facts = "all => all.map((each) => each.value)"
    assert ["1", "25", "1"] == await facts.evaluate_all(bare_facts)

    await asyncio.to_thread(watch, service, course, "second")
    await instructor.page.clock.run_for(10_000)
    await expect(facts.first).to_have_attribute("value", "2")
    assert ["2", "50", "2"] == await facts.evaluate_all(bare_facts)


async def test_a_file_is_downloaded_from_the_real_service(instructor: Instructor, course: Course) -> None:
    token = mint(JWT_SECRET, course.creator)
    await instructor.open(f"?course={course.id}&range={FIRST}..{LAST}", token)
    async with instructor.page.expect_download() as download:
        await instructor.page.get_by_role("button", name="Lectures as CSV").click()
    file = await download.value
    assert file.suggested_filename.endswith(".csv")
    assert course.id in file.suggested_filename
    saved = (await file.path()).read_text("utf-8-sig")
    assert "'=HYPERLINK" in saved
    assert "\n=HYPERLINK" not in saved


async def test_somebody_elses_course_is_refused_by_the_service_too(instructor: Instructor, course: Course) -> None:
    await instructor.open(f"?course={course.id}", mint(JWT_SECRET, str(ObjectId())))
    await instructor.sees("This course belongs to somebody else.")

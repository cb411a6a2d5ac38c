"""What was played is counted exactly once, whatever becomes of the requests that tell it."""

import asyncio
import json
import time
from typing import Any

import pytest
from playwright.async_api import APIResponse, Request, Route

from devstack.tokens import mint
from tests.browser.scene import Viewer
from tests.browser.service import eventually
from tests.servers import JWT_SECRET

BATCHES = "**/events:batch"
CORS = {"access-control-allow-origin": "*"}
NEVER = 1000  # seconds between pings: only what the test asks for is sent


def refusal(status: int, **headers: str) -> dict[str, Any]:
    """An answer as the gateway's."""
    body = json.dumps({"code": 14, "message": "the service is away, try again", "details": []})
    return {"status": status, "body": body, "content_type": "application/json", "headers": {**CORS, **headers}}


def posts(request: Request) -> bool:
    """Whether it is not a preflight."""
    return request.method == "POST"


async def state(viewer: Viewer) -> dict[str, Any]:
    """What the script said last."""
    last: dict[str, Any] = await viewer.page.evaluate("scene.states.at(-1)")
    return last


async def test_a_ping_whose_answer_is_lost_counts_once(viewer: Viewer) -> None:
    lost: list[APIResponse] = []

    async def lose_two_answers(route: Route) -> None:
        if not posts(route.request) or len(lost) == 2:
            await route.continue_()
            return
        lost.append(await route.fetch())
        await route.abort("connectionreset")

    await viewer.page.route(BATCHES, lose_two_answers)
    await viewer.open()
    await viewer.play(20, rate=8)
    await viewer.arrived()
    await viewer.counted()
    assert [200, 200] == [answer.status for answer in lost]


@pytest.mark.parametrize("status", [408, 429, 503])
async def test_pings_refused_for_a_while_are_sent_again(viewer: Viewer, status: int) -> None:
    refused: list[Route] = []

    async def refuse_twice(route: Route) -> None:
        if not posts(route.request) or len(refused) == 2:
            await route.continue_()
            return
        refused.append(route)
        await route.fulfill(**refusal(status))

    await viewer.page.route(BATCHES, refuse_twice)
    await viewer.open()
    await viewer.play(20, rate=8)
    await viewer.arrived()
    await viewer.counted()
    assert 2 == len(refused)


RETRY_AFTER = {"headers": {**CORS, "retry-after": "3", "access-control-expose-headers": "retry-after"}}
RETRY_INFO = {
    "body": json.dumps({"details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3s"}]})
}


@pytest.mark.parametrize("told", [RETRY_AFTER, RETRY_INFO], ids=["Retry-After", "RetryInfo"])
async def test_the_service_says_when_to_try_again(viewer: Viewer, told: dict[str, Any]) -> None:
    times = []

    async def refuse_once(route: Route) -> None:
        if posts(route.request):
            times.append(time.monotonic())
        if posts(route.request) and len(times) == 1:
            await route.fulfill(**refusal(429) | told)
        else:
            await route.continue_()

    await viewer.page.route(BATCHES, refuse_once)
    await viewer.open()
    await viewer.play(20)
    await eventually(lambda: len(times), lambda tries: tries > 1)
    assert 3 <= times[1] - times[0]


async def test_pings_go_to_one_address_one_at_a_time_and_may_outlive_the_page(viewer: Viewer) -> None:
    await viewer.open()
    await viewer.run("scene.answers = new Promise((resolve) => (scene.answer = resolve));")
    await viewer.play(16, rate=8)
    await viewer.run("tracker.flush(); scene.answer();")
    await viewer.play(20, rate=8)
    await viewer.counted()
    requests: list[list[object]] = await viewer.page.evaluate("scene.requests")
    assert 2 <= len(requests)
    assert [f"{viewer.site.gateway_url}/api/v1/analytics/events:batch", True] == requests[0]
    assert [requests[0]] * len(requests) == requests
    assert 1 == await viewer.page.evaluate("scene.mostUnderWay")


async def test_what_was_watched_offline_is_counted_afterwards(viewer: Viewer) -> None:
    await viewer.open()
    await viewer.play(4, rate=4)
    await viewer.page.context.set_offline(offline=True)
    await viewer.play(20, rate=8)
    assert "" != (await state(viewer))["problem"]
    await viewer.page.context.set_offline(offline=False)
    await viewer.arrived()
    await viewer.counted()
    assert 1 == viewer.stored()["views"]


async def test_two_tabs_of_one_lecture_are_both_counted(viewer: Viewer) -> None:
    other = Viewer(await viewer.page.context.new_page(), viewer.service, viewer.site, viewer.course)
    for each in (viewer, other):
        await each.open()
    await asyncio.gather(*(each.play(20, rate=8) for each in (viewer, other)))
    for each in (viewer, other):
        await each.run("await tracker.flush();")
    told = (await viewer.told()).seconds + (await other.told()).seconds
    await eventually(lambda: viewer.stored()["watchTimeSeconds"], told)
    assert abs(told - 5) <= 1


async def test_a_page_that_follows_sends_what_the_last_one_could_not(viewer: Viewer) -> None:
    await viewer.open()
    await viewer.play(8, rate=8)
    await viewer.run("await tracker.flush();")
    before = (await viewer.told()).seconds
    await viewer.page.route(BATCHES, lambda route: route.abort())
    await viewer.play(20, rate=8)
    await viewer.run("await tracker.flush();")
    told = (await viewer.told()).seconds
    assert before == viewer.stored()["watchTimeSeconds"]

    await viewer.page.unroute(BATCHES)
    await viewer.open()
    await eventually(lambda: viewer.stored()["watchTimeSeconds"], told)


async def test_a_token_that_has_expired_is_renewed_once_and_nothing_is_lost(viewer: Viewer) -> None:
    asked: list[int] = []

    def give() -> str:
        asked.append(len(asked))
        return mint(JWT_SECRET, viewer.user, lifetime_seconds=-10 if len(asked) == 1 else 600)

    await viewer.page.expose_function("mint", give)
    await viewer.open(token=None)
    await viewer.play(20, rate=8)
    await viewer.arrived()
    await viewer.counted()
    assert 2 == len(asked)


async def test_a_viewer_without_a_token_keeps_what_was_watched(viewer: Viewer) -> None:
    asked: list[int] = []

    def give() -> str:
        asked.append(len(asked))
        if len(asked) == 1:
            raise ValueError("signed out")
        return mint(JWT_SECRET, viewer.user)

    await viewer.page.expose_function("mint", give)
    await viewer.open(token=None)
    await viewer.play(20, rate=8)
    await viewer.arrived()
    await viewer.counted()
    assert 2 == len(asked)


async def test_a_ping_that_is_rejected_is_dropped_and_told(viewer: Viewer) -> None:
    await viewer.open(lectureId="650000000000000000000000", pingSeconds=NEVER)
    await viewer.play(20)
    await viewer.run("await tracker.flush();")
    last = await state(viewer)
    assert (0, 0, 1) == (last["waiting"], last["sent"], last["dropped"])
    assert "lecture" in last["problem"]


async def test_a_request_that_is_refused_for_good_is_dropped_and_told(viewer: Viewer) -> None:
    await viewer.page.route(BATCHES, lambda route: route.fulfill(**refusal(403)))
    await viewer.open(pingSeconds=NEVER)
    await viewer.play(20)
    await viewer.run("await tracker.flush();")
    last = await state(viewer)
    assert {"waiting": 0, "sent": 0, "dropped": 1, "problem": "the service is away, try again"} == last


def waiting(viewer: Viewer, pings: int, tried: list[float] | None = None) -> str:
    """A script that leaves pings of one second waiting, as an earlier page of the tab would."""
    telemetry = {"courseId": viewer.course.id, "lectureId": viewer.course.lectures[0].id, "watchTimeDelta": 1}
    since = {"tried": tried} if tried else {}
    left = [{"id": f"ping-{n}", "telemetry": {**telemetry, "eventId": f"ping-{n}"}} | since for n in range(pings)]
    key = f"course-analytics:{viewer.site.gateway_url}/api/v1/analytics"
    # Not in a page that comes after it.
    return f"if (!sessionStorage.length) sessionStorage.setItem({json.dumps(key)}, {json.dumps(json.dumps(left))});"


async def test_of_more_than_120_pings_the_oldest_are_dropped(viewer: Viewer) -> None:
    await viewer.page.add_init_script(waiting(viewer, 125))
    await viewer.page.route(BATCHES, lambda route: route.abort())
    await viewer.open()
    await viewer.play(20)
    await eventually_state(viewer, waiting=120, problem="too many")


async def test_no_body_is_larger_than_a_page_may_leave_behind(viewer: Viewer) -> None:
    sizes = []

    async def measure(route: Route) -> None:
        if posts(route.request):
            sizes.append(len(route.request.post_data or ""))
        await route.continue_()

    await viewer.page.add_init_script(waiting(viewer, 120))
    await viewer.page.route(BATCHES, measure)
    await viewer.open()
    await eventually(lambda: viewer.stored()["watchTimeSeconds"], 120)
    assert 1 < len(sizes)
    assert 16 * 1024 >= max(sizes)


@pytest.mark.parametrize("asleep", [0, 1], ids=["Date.now stood still", "performance.now stood still"])
async def test_what_is_too_old_to_be_repeated_safely_is_dropped(viewer: Viewer, asleep: int) -> None:
    now = time.time()
    tried = [now - 801, now - 801]
    tried[asleep] = now - 1
    await viewer.page.add_init_script(waiting(viewer, 3, tried))
    await viewer.open()
    await eventually_state(viewer, waiting=0, dropped=3, problem="too old")
    assert 0 == viewer.stored()["watchTimeSeconds"]


async def test_younger_pings_are_sent(viewer: Viewer) -> None:
    await viewer.page.add_init_script(waiting(viewer, 3, [time.time() - 700] * 2))
    await viewer.open()
    await eventually_state(viewer, waiting=0, sent=3)
    assert 3 == viewer.stored()["watchTimeSeconds"]


async def eventually_state(viewer: Viewer, **expected: object) -> None:
    """Waits until the script has said this of its state."""
    await viewer.page.wait_for_function(
        "(expected) => scene.states.some((state) => Object.entries(expected).every(([key, is]) => is === state[key]))",
        arg=expected,
    )

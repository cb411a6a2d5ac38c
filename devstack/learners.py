"""Learners at work: what their players send, and the thread that sends it through the gateway."""

import random
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle, islice

import httpx

from devstack.seed import Course
from devstack.tokens import mint

LEARNERS = 20
PAUSE_SECONDS = 0.25  # between any two calls: each player sends one every five seconds
PING_SECONDS = 5
DROP_OUT = 0.15  # the share of learners that leaves after each lecture


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a player."""

    token: str
    path: str
    body: dict[str, object]


def sitting(course: Course, token: str, chance: random.Random) -> Iterator[Call]:
    """What one learner's player sends: it opens the course, plays it from the start, and stops somewhere."""
    yield Call(token, f"/api/v1/analytics/view/{course.id}", {})
    for lecture in course.lectures:
        ping = {"courseId": course.id, "lectureId": lecture.id, "watchTimeDelta": PING_SECONDS}
        playback = secrets.token_hex(8)
        for _ in range(chance.randint(3, 9)):
            event = secrets.token_hex(8)
            yield Call(token, "/api/v1/analytics/telemetry", {**ping, "playbackId": playback, "eventId": event})
        if chance.random() < DROP_OUT:
            return


def seat(course: Course, secret: str, chance: random.Random) -> Iterator[Call]:
    """What is sent from one seat, where a new learner sits down when the last one leaves; endless."""
    while True:
        token = mint(secret, f"learner-{secrets.token_hex(4)}")
        yield from sitting(course, token, chance)


def watch(gateway_url: str, course: Course, secret: str, stop: threading.Event) -> None:
    """Keeps learners watching until `stop`. They begin somewhere in the course, so that there is a funnel at once."""
    chance = random.Random()  # noqa: S311  a demo's dice, not cryptography
    seats = [seat(course, secret, chance) for _ in range(LEARNERS)]
    until_now = (call for each in seats for call in islice(each, chance.randrange(60)))
    from_now_on = (next(each) for each in cycle(seats))
    with httpx.Client(base_url=gateway_url, trust_env=False) as gateway:
        for call in until_now:
            send(gateway, call)
            if stop.is_set():
                return
        for call in from_now_on:
            send(gateway, call)
            if stop.wait(PAUSE_SECONDS):
                return


def send(gateway: httpx.Client, call: Call) -> None:
    """Sends one call. A player that gets no answer goes on with its next; the servers' logs say what was wrong."""
    with suppress(httpx.TransportError):
        gateway.post(call.path, json=call.body, headers={"authorization": f"Bearer {call.token}"})


@contextmanager
def learners_at_work(gateway_url: str, course: Course, secret: str) -> Iterator[None]:
    """Learners watch in the background as long as this lasts."""
    stop = threading.Event()
    thread = threading.Thread(target=watch, args=(gateway_url, course, secret, stop), name="learners")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()

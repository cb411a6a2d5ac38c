"""Demo learners: what their players send, and the thread that sends it through the gateway."""

import random
import secrets
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle, islice

import httpx

from devstack.seed import Course, Lecture
from devstack.tokens import mint

LEARNERS = 20
PAUSE_SECONDS = 0.25  # between any two calls: each player sends one every five seconds
PING_SECONDS = 5
LECTURE_SECONDS = 120
DROP_OUT = 0.15  # the share of learners that leaves after each lecture
HARD_PART = range(60, 80)  # the part of a lecture, in seconds, after which some go back
GO_BACK = 0.5  # the share of learners that does, each time


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a player."""

    token: str
    path: str
    body: dict[str, object]


def sitting(course: Course, token: str, chance: random.Random) -> Iterator[Call]:
    """What one learner's player sends: opens the course, plays it from the start, and stops somewhere."""
    yield Call(token, f"/api/v1/analytics/view/{course.id}", {})
    for lecture, starts in watched(course, chance):
        ping = {
            "courseId": course.id,
            "lectureId": lecture.id,
            "watchTimeDelta": PING_SECONDS,
            "durationSeconds": LECTURE_SECONDS,
        }
        playback = secrets.token_hex(8)
        for start in starts:
            part = {"fromSeconds": start, "toSeconds": start + PING_SECONDS}
            of_this_ping = {"playbackId": playback, "eventId": secrets.token_hex(8), "played": [part]}
            yield Call(token, "/api/v1/analytics/telemetry", {**ping, **of_this_ping})


def watched(course: Course, chance: random.Random) -> Iterator[tuple[Lecture, Iterable[int]]]:
    """The lectures that one learner watches, each with the positions at which its pings begin."""
    for lecture in course.lectures:
        yield lecture, positions(chance)
        if chance.random() < DROP_OUT:
            return


def positions(chance: random.Random) -> Iterator[int]:
    """The positions in a lecture at which a learner's pings begin, in seconds."""
    end = chance.randint(3, LECTURE_SECONDS // PING_SECONDS) * PING_SECONDS
    yield from range(0, end, PING_SECONDS)
    while end > HARD_PART.stop and chance.random() < GO_BACK:
        yield from range(HARD_PART.start, HARD_PART.stop, PING_SECONDS)


def seat(course: Course, secret: str, chance: random.Random) -> Iterator[Call]:
    """The calls from one seat, which a new learner takes when the last one leaves; endless."""
    while True:
        token = mint(secret, f"learner-{secrets.token_hex(4)}")
        yield from sitting(course, token, chance)


def watch(gateway_url: str, course: Course, secret: str, stop: threading.Event) -> None:
    """Keeps learners watching until `stop`. They begin somewhere in the course, so that there is a funnel at once."""
    chance = random.Random()  # noqa: S311  a demo's dice, not cryptography
    seats = [seat(course, secret, chance) for _ in range(LEARNERS)]
    until_now = (call for each in seats for call in islice(each, chance.randrange(120)))
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
    """Sends one call. A player that gets no answer continues with the next; the servers' logs say what was wrong."""
    with suppress(httpx.TransportError):
        gateway.post(call.path, json=call.body, headers={"authorization": f"Bearer {call.token}"})


@contextmanager
def learners_at_work(gateway_url: str, course: Course, secret: str) -> Iterator[None]:
    """Learners watch in the background while the block runs."""
    stop = threading.Event()
    thread = threading.Thread(target=watch, args=(gateway_url, course, secret, stop), name="learners")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()

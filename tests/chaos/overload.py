"""More than the service can count, for a while: senders are refused or held, and a lone learner notices nothing."""

import asyncio
import secrets
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from course_analytics.v1 import dashboard_pb2, dashboard_pb2_grpc

from devstack.seed import Course
from tests.chaos import load
from tests.chaos.ledger import events_shown
from tests.chaos.senders import Lecture, Seen, Sent, learn, send
from tests.chaos.stage import Stage, stage, write

SENDERS = 3
MOST_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Overload:
    """What came of it; the events of each course, the lone learner's last."""

    acknowledged: list[int]
    shown: list[int]
    refused: Counter[str]
    lone: Seen

    def exact(self) -> bool:
        """Whether what was acknowledged is shown, and refusals were nothing but refusals."""
        return self.acknowledged == self.shown and set(self.refused) <= {"RESOURCE_EXHAUSTED"} and not self.lone.failed

    def fair(self) -> bool:
        """Whether the lone learner was served as if nothing were the matter."""
        return self.lone.p99() < MOST_SECONDS

    def print(self) -> None:
        """Shows it as a table."""
        rows = {
            "acknowledged": sum(self.acknowledged),
            "shown": sum(self.shown),
            "refused": dict(self.refused),
            "the lone learner's pings": len(self.lone.seconds),
            "of them failed": dict(self.lone.failed),
            "their p99, in ms": round(1000 * self.lone.p99()),
        }
        print(*(f"{name:26} {value!s:>10}" for name, value in rows.items()), sep="\n")


async def overload(seconds: float, folder: Path, courses: Sequence[Course]) -> Overload:
    """Lets one sender a course but the last overload one server for so long, and the lone learner watch the last."""
    secret = secrets.token_hex(32)
    actors = stage(folder, secret, flush_seconds=1)
    up = (actors.redis, actors.mongo, actors.ingest[0], actors.flushers[0], actors.query)
    try:
        for child in up:
            child.start()
            if child is actors.mongo:
                write(actors, courses)
        sent, lone = await asyncio.to_thread(_rush, actors.ingest[0].address, secret, courses, seconds)
        shown = [await _shown(actors, secret, course) for course in courses]
    finally:
        for child in reversed(up):
            if child.running:
                child.kill()
    refused = sum((each.refused for each in sent), Counter[str]())
    return Overload([*(each.acknowledged for each in sent), len(lone.seconds)], shown, refused, lone)


def _rush(address: str, secret: str, courses: Sequence[Course], seconds: float) -> tuple[list[Sent], Seen]:
    lectures = [Lecture(course.id, course.lectures[0].id) for course in courses]
    with ProcessPoolExecutor(len(courses), mp_context=get_context("spawn")) as pool:
        lone = pool.submit(learn, address, secret, lectures[-1], seconds)
        senders = [pool.submit(send, address, secret, lecture, seconds) for lecture in lectures[:-1]]
        return [sender.result() for sender in senders], lone.result()


async def _shown(actors: Stage, secret: str, course: Course) -> int:
    async with load.channel(actors.query.address) as channel:
        stub: dashboard_pb2_grpc.DashboardServiceAsyncStub = dashboard_pb2_grpc.DashboardServiceStub(channel)
        request = dashboard_pb2.GetCourseDashboardRequest(course_id=course.id)
        metadata = load.bearer(secret, course.creator)
        return events_shown(await stub.GetCourseDashboard(request, metadata=metadata, timeout=30))

"""`python -m tests.endurance --seconds 600`: exits with 1 when a count is off, or when a program's memory grows."""

import argparse
import asyncio
import itertools
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grpc
from course_analytics.v1 import dashboard_pb2, dashboard_pb2_grpc, ingest_pb2

from bench import h2
from bench.stage import CREATOR, Stage, course, stage, write_courses
from devstack.seed import Course
from devstack.tokens import mint
from tests.endurance.ledger import Audit, Memory, resident_mb

# The first half of the courses is known to ingest's catalog when MongoDB goes away, the other half never was.
COURSES = 16
LECTURES = 20
PING_SECONDS = 5
IN_FLIGHT = 128
START_SECONDS = 60
FLUSH_SECONDS = 120


class Run:
    """The programs at work, and what has been seen of them so far."""

    def __init__(self, up: Stage, sample_seconds: float) -> None:
        self._up = up
        self._sample_seconds = sample_seconds
        self._courses = [course(number, LECTURES) for number in range(1, COURSES + 1)]
        write_courses(up.database, self._courses)
        self._ingest, self._query = up.program("ingest_server"), up.program("query_server")
        self._flusher = up.program("flusher", flush_interval_seconds=1)
        self._processes = (self._ingest, self._flusher, self._query, up.redis_server)
        self._began = self._length = 0.0
        self.audit = Audit([Memory(child.name) for child in self._processes])

    async def play(self, seconds: float) -> None:
        """A little with MongoDB, the time without it, a little with it again; then all is flushed and counted."""
        await asyncio.to_thread(self._flusher.wait_for, lambda: self._flushes() > 0, START_SECONDS, "did not flush")
        self._began, self._length = time.monotonic(), seconds * 1.2
        await self._load(self._courses[: COURSES // 2], seconds / 10)
        failing = self._flushes()
        self._up.mongo_server.kill()
        before = self.audit.acknowledged
        await asyncio.gather(self._load(self._courses, seconds, sampled=True), self._read(seconds))
        if self._flushes() == failing:  # a short run on a busy machine
            await asyncio.to_thread(
                self._flusher.wait_for, lambda: self._flushes() > failing, START_SECONDS, "did not notice"
            )
        self.audit.away = self.audit.acknowledged - before
        self.audit.failed_flushes = self._flushes() - failing
        await asyncio.to_thread(self._up.mongo_server.start)
        await self._load(self._courses, seconds / 10, sampled=True)
        self._flush()
        self._count()

    async def _load(self, courses: Sequence[Course], seconds: float, *, sampled: bool = False) -> None:
        calls = _calls(courses, self._up.tokens())
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            result = await h2.closed_loop(
                self._ingest.address, calls, in_flight=IN_FLIGHT, seconds=min(left, self._sample_seconds)
            )
            self.audit.acknowledged += len(result.seconds)
            self.audit.refused += result.failed.total()
            now = [resident_mb(child.pid) for child in self._processes]
            self._tell(result.rate, now)
            if sampled:
                for memory, size in zip(self.audit.memories, now, strict=True):
                    memory.samples.append(size)

    def _tell(self, rate: float, sizes: Sequence[float]) -> None:
        share = min(1, (time.monotonic() - self._began) / self._length)
        shown = "  ".join(f"{child.name} {size:.0f} MB" for child, size in zip(self._processes, sizes, strict=True))
        print(f"{share:4.0%}  {self.audit.acknowledged:9,} pings  {rate:6,.0f}/s  {shown}", flush=True)

    async def _read(self, seconds: float) -> None:
        """Asks for a dashboard once a second while MongoDB is away."""
        metadata = (("authorization", f"Bearer {mint(self._up.secret, CREATOR)}"),)
        request = dashboard_pb2.GetCourseDashboardRequest(course_id=self._courses[0].id)
        end = time.monotonic() + seconds - 2  # nobody asks who would be answered by a MongoDB that is back
        async with grpc.aio.insecure_channel(self._query.address) as channel:
            stub = dashboard_pb2_grpc.DashboardServiceStub(channel)
            while time.monotonic() < end:
                asked = time.monotonic()
                try:
                    await stub.GetCourseDashboard(request, metadata=metadata, timeout=10)
                except grpc.aio.AioRpcError as error:
                    refused = error.code() is grpc.StatusCode.UNAVAILABLE
                else:
                    refused = False
                self.audit.dashboards_refused += refused
                self.audit.dashboards_wrong += not refused
                self.audit.slowest_refusal = max(self.audit.slowest_refusal, time.monotonic() - asked)
                await asyncio.sleep(1)

    def _flushes(self) -> int:
        return self._flusher.output().count('"event": "cycle"')

    def _flush(self) -> None:
        """The flusher ends its wave, and another flushes what is left."""
        self._flusher.stop()
        last = self._up.program("flusher", "--once")
        if last.wait(FLUSH_SECONDS) != 0:
            self.audit.left = last.tail(1)

    def _count(self) -> None:
        for document in self._up.database["courseanalytics"].find():
            lectures: Mapping[str, Mapping[str, Any]] = document["lectureStats"]
            self.audit.counted += sum(lecture["views"] for lecture in lectures.values())
            self.audit.seconds_counted += sum(lecture["totalWatchTime"] for lecture in lectures.values())


def _calls(courses: Sequence[Course], tokens: Sequence[str]) -> list[h2.Call]:
    """Pings of every lecture, each by another user."""
    lectures = itertools.cycle((each.id, lecture.id) for each in courses for lecture in each.lectures)
    return [
        h2.Call.grpc(
            "/course_analytics.v1.IngestService/TrackTelemetry",
            token,
            ingest_pb2.TrackTelemetryRequest(
                course_id=course_id, lecture_id=lecture_id, watch_time_delta=PING_SECONDS
            ).SerializeToString(),
        )
        for token, (course_id, lecture_id) in zip(tokens, lectures, strict=False)
    ]


async def run(seconds: float, folder: Path) -> Audit:
    """MongoDB is away for so long, and everything is counted afterwards."""
    with stage(folder) as up:
        this = Run(up, sample_seconds=min(10, seconds / 10))
        await this.play(seconds)
        return this.audit


def _print_table(audit: Audit) -> None:
    rows = {
        "acknowledged": f"{audit.acknowledged:,}",
        "of these without MongoDB": f"{audit.away:,}",
        "counted in MongoDB": f"{audit.counted:,}",
        "refused": f"{audit.refused:,}",
        "flushes that failed": f"{audit.failed_flushes:,}",
        "dashboards refused": f"{audit.dashboards_refused:,}, the slowest in {audit.slowest_refusal:.2f} s",
    }
    print(*(f"{name:26} {value:>12}" for name, value in rows.items()), sep="\n")
    print(f"{'memory in MB':14} {'first':>8} {'last':>8} {'max':>8} {'growth':>8}")
    print(*(memory.row() for memory in audit.memories), sep="\n")


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.endurance", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    seconds: float = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder:
        audit = asyncio.run(run(seconds, Path(folder)))
    _print_table(audit)
    findings = audit.findings(PING_SECONDS)
    print("\n".join(findings) or "exact, and flat")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())

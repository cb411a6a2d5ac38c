"""`python -m tests.chaos --seconds 120`: kills for so long, then a quarter of it overload.

Exits with 1 on the first unit of difference, and when a lone learner suffers from others' load.
"""

import argparse
import asyncio
import secrets
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bson import ObjectId
from pymongo import MongoClient

from devstack.programs import Program
from devstack.seed import Course, Lecture, Section
from shared.data.tallies import COURSE, DAY, LECTURE
from tests.chaos import load
from tests.chaos.ledger import Account, Audit
from tests.chaos.overload import SENDERS, overload
from tests.chaos.stage import Stage, kill_until, stage, write
from tests.warehouse.brokers import mock_kafka

COURSES = 6
LEARNERS = 5  # of each course
FLUSH_SECONDS = 0.05  # always in the middle of a flush
CREATOR = "650000000000000000000099"


def course(number: int) -> Course:
    """A course of three lectures."""
    lectures = tuple(Lecture(f"{number:012x}{each:012x}", f"Lecture {each}") for each in range(1, 4))
    return Course(f"{number:024x}", f"Course {number}", CREATOR, (Section(f"{number:023x}f", lectures),))


async def run(seconds: float, folder: Path, kafka: str | None = None) -> Audit:
    """Load, readers and kills for so long; then everything is brought back, flushed and counted.

    With a Kafka there is a warehouse as well, whose programs are killed too, and which must be equal in the end.
    """
    secret = secrets.token_hex(32)
    audit, actors = Audit(), stage(folder, secret, FLUSH_SECONDS, kafka)
    courses = [course(number) for number in range(1, COURSES + 1)]
    accounts = [Account(each.id, retried=number % 2 == 0) for number, each in enumerate(courses)]
    try:
        for child in actors.children:
            child.start()
            if child is actors.mongo:
                write(actors, courses)
        await _play(seconds, actors, courses, accounts, audit=audit, secret=secret)
        _flush(actors, folder)
        _count(actors, accounts, audit)
        if actors.warehouse:
            _compare(actors, folder, audit)
    finally:
        for child in reversed(actors.children):
            if child.running:
                child.kill()
    _print_table(accounts, audit)
    return audit


async def _play(
    seconds: float, actors: Stage, courses: list[Course], accounts: list[Account], *, audit: Audit, secret: str
) -> None:
    stop_kills, stop_learners, stop_readers = asyncio.Event(), asyncio.Event(), asyncio.Event()
    ingest = [load.channel(program.address) for program in actors.ingest]
    query = load.channel(actors.query.address)
    instructor = load.bearer(secret, CREATOR)
    async with asyncio.TaskGroup() as tasks:
        kills = [
            tasks.create_task(kill_until(stop_kills, victims, audit))
            for victims in (actors.flushers, actors.servers, actors.warehouse)
            if victims
        ]
        learners = [
            tasks.create_task(
                load.learner(
                    ingest,
                    each,
                    account,
                    metadata=load.bearer(secret, f"user-{n}"),
                    audit=audit,
                    stop=stop_learners,
                )
            )
            for each, account in zip(courses, accounts, strict=True)
            for n in range(LEARNERS)
        ]
        for each, account in zip(courses, accounts, strict=True):
            tasks.create_task(load.reader(query, account, instructor, audit, stop_readers))
            tasks.create_task(load.comparer(query, each, account, metadata=instructor, audit=audit, stop=stop_readers))
        await _progress(seconds, accounts, audit)
        stop_kills.set()
        await asyncio.gather(*kills)
        stop_learners.set()
        await asyncio.gather(*learners)
        stop_readers.set()
    for channel in (*ingest, query):
        await channel.close()


async def _progress(seconds: float, accounts: list[Account], audit: Audit) -> None:
    start = time.monotonic()
    while (passed := time.monotonic() - start) < seconds:
        acknowledged = sum(account.acknowledged for account in accounts)
        line = f"{passed / seconds:4.0%}  {acknowledged} acknowledged  {audit.reads} reads  {audit.kills} kills"
        print(line, flush=True)
        await asyncio.sleep(min(5, seconds - passed))


def _flush(actors: Stage, folder: Path) -> None:
    """Flushes until nothing stays: the flushers of the stage are still at it, and hold locks now and then."""
    for flusher in actors.flushers:
        flusher.stop()
    deadline = time.monotonic() + 60
    last = Program("flusher", folder / "last", actors.settings, "--once")
    last.launch()
    while last.wait(30) != 0:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not everything could be flushed: {last.tail()}")
        last.launch()


def _count(actors: Stage, accounts: list[Account], audit: Audit) -> None:
    with MongoClient[Mapping[str, Any]](actors.mongo.url()) as client:
        database = client.get_default_database()
        for account in accounts:
            own = {"courseId": ObjectId(account.course_id)}
            course = database[COURSE.collection].find_one(own) or {}
            audit.settle(account, course, database[DAY.collection].find(own), database[LECTURE.collection].find(own))


def _compare(actors: Stage, folder: Path, audit: Audit) -> None:
    """Asks `audit` until the warehouse has caught up, or for so long that it never will."""
    asked = Program("warehouse", folder / "audit", actors.settings, "audit")
    deadline = time.monotonic() + 120
    asked.launch()
    while asked.wait(60) != 0 and time.monotonic() < deadline:
        asked.launch()
    audit.warehouse_differs = asked.wait(0) != 0
    print(asked.tail())


def _print_table(accounts: list[Account], audit: Audit) -> None:
    rows = {
        "acknowledged": sum(account.acknowledged for account in accounts),
        "counted": sum(account.counted for account in accounts),
        "attempted": sum(account.attempted for account in accounts),
        "lost": audit.lost,
        "doubled": audit.doubled,
        "dashboards read": audit.reads,
        "lectures, days and totals compared": audit.comparisons,
        "dips seen": audit.dips,
        "below acknowledged": audit.below_acknowledged,
        "above attempted": audit.above_attempted,
        "torn reads": audit.torn,
        "days above totals": audit.days_above_totals,
        "lectures above totals": audit.lectures_above_totals,
        "views above playbacks": audit.views_above_playbacks,
        "unexpected errors": audit.unexpected_errors,
        "kills and pauses survived": audit.kills,
        "the warehouse differs": audit.warehouse_differs,
    }
    print(*(f"{name:36} {value:>10}" for name, value in rows.items()), sep="\n")


def main() -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--warehouse", action="store_true", help="a Kafka and a warehouse too")
    arguments = parser.parse_args()
    seconds: float = arguments.seconds
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        kafka = stack.enter_context(mock_kafka()) if arguments.warehouse else None
        audit = asyncio.run(run(seconds, Path(folder), kafka))
    print(f"\nOverload for {seconds / 4:.0f} s", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        courses = [course(number) for number in range(1, SENDERS + 2)]
        rushed = asyncio.run(overload(seconds / 4, Path(folder), courses))
    rushed.print()
    exact = audit.clean() and rushed.exact()
    print("exact" if exact else "NOT EXACT", "fair" if rushed.fair() else "NOT FAIR", sep=", ")
    return 0 if exact and rushed.fair() else 1


if __name__ == "__main__":
    sys.exit(main())

"""What the flusher says of its work: its metrics, its logs, its readiness."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import httpx
import pytest
import structlog
from bson import ObjectId
from prometheus_client import REGISTRY
from pymongo.asynchronous.collection import AsyncCollection

from devstack.child import HOST, free_port, wait_until
from devstack.programs import Program
from flusher.cycle import Flusher
from flusher.schema import next_epoch
from flusher.steps import wave
from flusher.steps.apply import apply
from flusher.tools import quarantine, strays
from shared.data import keys
from shared.stores.mongo import COURSE_ANALYTICS, Document
from tests.flusher.stage import ONE_PING, Stage, course, courses_of
from tests.flusher.test_apply import batch
from tests.servers import PATIENCE

COURSES = [course(number) for number in range(1, 21)]


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@dataclass
class Growth:
    """By how much a counter has grown since."""

    before: dict[tuple[str, str], float] = field(
        default_factory=lambda: {
            (sample.name, "".join(sample.labels.values())): sample.value
            for metric in REGISTRY.collect()
            for sample in metric.samples
            if len(sample.labels) == 1
        }
    )

    def of(self, name: str, **labels: str) -> float:
        (label,) = labels.values()
        return value(name, **labels) - self.before.get((name, label), 0.0)


async def test_every_phase_of_a_wave_is_timed(stage: Stage) -> None:
    await stage.ping(*COURSES)
    growth = Growth()

    await stage.flush()

    for phase in ("lock", "fence", "take", "barrier", "apply", "clear", "users"):
        assert growth.of("analytics_flush_phase_seconds_count", phase=phase) > 0, phase
    assert 20 == growth.of("analytics_flush_batches_total", outcome="applied")
    assert 1 == growth.of("analytics_flush_waves_total", end="done")


async def test_batches_are_counted_by_what_became_of_them(stage: Stage) -> None:
    analytics = stage.database[COURSE_ANALYTICS]
    growth = Growth()

    for one in (batch("b1"), batch("b1"), batch("b2")):
        await apply(analytics, [one], 5, timeout=5)
    await apply(analytics, [batch("b3")], 4, timeout=5)

    outcomes = ("applied", "already_applied", "fenced", "left")
    assert [2, 1, 1, 0] == [growth.of("analytics_flush_batches_total", outcome=outcome) for outcome in outcomes]
    assert growth.of("analytics_flush_phase_seconds_count", phase="verify") == 2


async def test_quarantined_batches_are_counted_by_reason(stage: Stage) -> None:
    await stage.database[COURSE_ANALYTICS].insert_one({"courseId": ObjectId(COURSES[0]), "lectureStats": 5})
    await stage.ping(*COURSES[:2])
    await stage.call("HSET", keys.course_counters(keys.partition_of(COURSES[1]), COURSES[1]), "nonsense", "x")
    growth = Growth()

    await stage.flush()

    reasons = ("refused", "malformed", "resurrected")
    assert [1, 1, 0] == [growth.of("analytics_flush_quarantined_total", reason=reason) for reason in reasons]


async def test_a_lock_that_another_has_before_the_take_is_counted(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.ping(COURSES[0])
    before = value("analytics_flush_lock_losses_total")

    async def late(epochs: AsyncCollection[Document]) -> int:
        await stage.call("SET", keys.flush_lock(keys.partition_of(COURSES[0])), "another")
        return await next_epoch(epochs)

    monkeypatch.setattr(wave, "next_epoch", late)  # the step between the lock and the take
    await stage.flush()

    assert 1 == value("analytics_flush_lock_losses_total") - before


async def test_a_lock_that_is_over_by_the_clock_before_the_bulk_write_is_counted(stage: Stage) -> None:
    await stage.ping(COURSES[0])
    before = value("analytics_flush_lock_losses_total")

    await stage.flush(now=count(0.0, 100.0).__next__)

    assert 1 == value("analytics_flush_lock_losses_total") - before


async def test_a_sweep_and_what_it_finds_are_counted(stage: Stage) -> None:
    await stage.ping(COURSES[0])
    await stage.call("DEL", keys.dirty_courses(keys.partition_of(COURSES[0])))
    sweeps, swept = value("analytics_flush_sweeps_total"), value("analytics_flush_swept_total")

    await stage.flush()

    assert (1, 1) == (value("analytics_flush_sweeps_total") - sweeps, value("analytics_flush_swept_total") - swept)


async def test_a_batch_can_be_followed_by_its_id_from_take_to_clear(
    stage: Stage, logged: list[structlog.typing.EventDict]
) -> None:
    await stage.ping(*COURSES)
    batch_id = (await stage.hash(keys.course_counters, COURSES[3]))[keys.BATCH]

    await stage.flush()

    lines = [line for line in logged if (line.get("batch"), line.get("tally")) == (batch_id, COURSES[3])]
    assert ["batch taken", "batch sent", "batch cleared"] == [line["event"] for line in lines]
    assert {"debug"} == {line["log_level"] for line in lines}
    (wave,) = (line for line in logged if line["event"] == "wave")
    assert wave["epoch"] == lines[0]["epoch"]


async def test_how_many_lines_a_wave_writes_does_not_depend_on_its_courses(
    stage: Stage, logged: list[structlog.typing.EventDict]
) -> None:
    async def lines(*courses: str) -> int:
        logged.clear()
        await stage.ping(*courses)
        await stage.flush()
        return sum(line["log_level"] != "debug" for line in logged)

    assert await lines(COURSES[0]) == await lines(*COURSES)


@pytest.mark.usefixtures("stage")
def test_a_program_answers_probes_and_shows_its_metrics(start_program: Callable[..., Program]) -> None:
    address = f"{HOST}:{free_port()}"

    def get(path: str) -> httpx.Response:
        return httpx.get(f"http://{address}{path}", trust_env=False)

    def is_ready() -> bool:
        try:
            return get("/readyz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    start_program("flusher", flusher_metrics_address=address)
    wait_until(is_ready, PATIENCE, "the flusher was not ready")

    assert httpx.codes.OK == get("/livez").status_code
    assert "analytics_flush_interval_seconds 300.0" in get("/metrics").text

    # Commands do not serve: this one would find the address taken.
    once = start_program("flusher", "--once", flusher_metrics_address=address)
    assert 0 == once.wait(PATIENCE)


@pytest.mark.parametrize(("level", "cycles", "of_batches"), [("warning", 0, 0), ("debug", 1, 3)])
async def test_the_log_level_is_the_lowest_that_is_logged(
    stage: Stage, start_program: Callable[..., Program], level: str, cycles: int, of_batches: int
) -> None:
    await stage.ping(COURSES[0])

    once = start_program("flusher", "--once", log_level=level)

    assert 0 == await asyncio.to_thread(once.wait, PATIENCE)
    events = [line["event"] for line in map(json.loads, once.output().splitlines())]
    assert (cycles, of_batches) == (events.count("cycle"), sum(event.startswith("batch ") for event in events))


@pytest.mark.parametrize("name", [b"\xff", b"process-1-" + b"f" * 400], ids=["no text", "after all time"])
async def test_an_id_that_tells_no_time_keeps_no_other_course_from_its_flush(stage: Stage, name: bytes) -> None:
    await stage.ping(*COURSES[:2])
    await stage.call("HSET", keys.course_counters(keys.partition_of(COURSES[0]), COURSES[0]), keys.BATCH, name)

    await stage.flush()

    assert {COURSES[1]: ONE_PING} == await stage.flushed(COURSES[1])


async def test_a_cycle_that_a_store_cut_short_is_a_warning(
    stage: Stage, logged: list[structlog.typing.EventDict]
) -> None:
    await stage.flush()
    await stage.flush(redis_url=f"redis://{HOST}:{free_port()}/0")

    assert ["info", "warning"] == [line["log_level"] for line in logged if line["event"] == "cycle"]


async def test_what_lies_in_quarantine_now_is_shown_and_no_more_once_it_is_replayed(stage: Stage) -> None:
    def in_quarantine() -> float:
        return value("analytics_flush_quarantined_batches")

    flusher = Flusher(stage.stores())
    analytics = stage.database[COURSE_ANALYTICS]
    await stage.call("HSET", keys.quarantined_counters(7, next(courses_of(7))), "of another flusher", "{}")
    await analytics.insert_one({"courseId": ObjectId(COURSES[0]), "lectureStats": 5})
    await stage.ping(COURSES[0])
    await flusher.cycle(asyncio.Event())
    assert 2 == in_quarantine()

    await analytics.update_one({"courseId": ObjectId(COURSES[0])}, {"$unset": {"lectureStats": 1}})
    await quarantine.replay([stage.redis], Flusher(stage.stores()), asyncio.Event())
    await flusher.cycle(asyncio.Event())

    assert 1 == in_quarantine()


async def test_a_sweep_ends_at_a_stop(stage: Stage) -> None:
    await stage.ping(*COURSES)
    for partition in range(keys.PARTITIONS):
        await stage.call("DEL", keys.dirty_courses(partition))
    stop = asyncio.Event()
    stop.set()

    await strays.sweep(stage.redis, stop)

    assert set() == await stage.dirty()

"""Records through Kafka: what the relay hands on arrives in the store, and what is no record is put aside."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from confluent_kafka import Producer

from devstack.child import free_port
from devstack.programs import Program
from tests.servers import PATIENCE
from tests.warehouse.brokers import at, kafka_of_this_run, messages, mock_kafka
from tests.warehouse.documents import COURSE_ID, write_day
from tests.warehouse.stage import running
from tests.warehouse.test_program import audit, until
from warehouse import kafka, metrics
from warehouse.kafka import REJECTED_TOPIC, TOPIC, NotDelivered, Publisher, Subscriber
from warehouse.record import Record
from warehouse.rows import live
from warehouse.sink import Sink
from warehouse.store import Store


@pytest.fixture
def brokers() -> Iterator[str]:
    with kafka_of_this_run() as address:
        yield address


def subscribed(brokers: str, store: Store) -> AbstractAsyncContextManager[None]:
    return running(Subscriber(at(brokers), Sink(store)).follow)


async def until_stored(store: Store, views: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while views not in live(await store.totals([COURSE_ID])).values():  # noqa: ASYNC110 - another thread writes it
            await asyncio.sleep(0.1)


@pytest.mark.minutes
async def test_records_arrive_and_malformed_ones_are_put_aside_with_their_reasons(brokers: str, store: Store) -> None:
    raw = Producer({"bootstrap.servers": brokers})
    raw.produce(TOPIC, b'{"v": 9}')
    raw.produce(TOPIC, b'{"v": "\\ud800"}')
    raw.produce(TOPIC, b"x" * 500_000)
    raw.flush(PATIENCE)
    await Publisher(at(brokers)).deliver([Record("no tally", 5, {"x": 1}), Record(COURSE_ID, 5, {"course_views": 7})])

    async with subscribed(brokers, store):
        await until_stored(store, 7)

    rejected = messages(brokers, REJECTED_TOPIC, 4, PATIENCE)
    reasons = {header[1] for message in rejected for header in message.headers() or []}
    assert {
        b"no tally is called 'no tally'",
        b"version 9 is not known here, only 1",
        b"version ? is not known here, only 1",
        b"no JSON: Expecting value: line 1 column 1 (char 0)",
    } == reasons


@pytest.mark.minutes
async def test_a_store_that_is_away_for_long_does_not_end_the_reading(
    brokers: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kafka takes the partitions from a reader that does not ask for long, and then refuses what it commits."""
    monkeypatch.setattr(kafka, "SESSION_SECONDS", 3.0)
    monkeypatch.setattr(kafka, "POLL_SECONDS", 3.0)
    write, refused = Sink.write, asyncio.Event()

    async def late(sink: Sink, records: Sequence[Record]) -> list[tuple[Record, str]]:
        if not refused.is_set():
            await asyncio.sleep(6)  # longer than Kafka waits: nothing tells when it has had enough
            refused.set()
        return await write(sink, records)

    monkeypatch.setattr(Sink, "write", late)
    publisher = Publisher(at(brokers))
    await publisher.deliver([Record(COURSE_ID, 8, {"course_views": 8})])
    async with subscribed(brokers, store):
        await refused.wait()
        await publisher.deliver([Record(COURSE_ID, 9, {"course_views": 9})])
        await until_stored(store, 9)


@pytest.mark.minutes
async def test_the_lag_is_reported_while_more_is_waiting(
    brokers: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "BATCH_RECORDS", 1)
    told: list[float] = []
    monkeypatch.setattr(metrics.LAG, "set", told.append)
    await Publisher(at(brokers)).deliver([Record(COURSE_ID, 8, {"course_views": 8})])

    async with subscribed(brokers, store):
        await until_stored(store, 8)
        async with asyncio.timeout(PATIENCE):
            while not any(told) or told[-1]:  # noqa: ASYNC110 - another task tells it
                await asyncio.sleep(0.05)


@pytest.mark.minutes
async def test_a_record_of_the_largest_course_is_handed_on_in_messages_that_a_broker_takes(brokers: str) -> None:
    lectures = {
        f"{name}:{number:024x}": 2**62 for name in ("lecture_views", "lecture_watchtime") for number in range(10_000)
    }

    await Publisher(at(brokers)).deliver([Record("650000000000000000000003", 5, lectures, cleared=True)])


@pytest.mark.minutes
async def test_the_relay_notices_an_unavailable_broker() -> None:
    publisher = Publisher(at(f"127.0.0.1:{free_port()}"))

    with pytest.raises(NotDelivered):
        await publisher.deliver([Record(COURSE_ID, 5, {"course_views": 7})])


@pytest.mark.minutes
def test_relay_and_warehouse_are_two_programs_with_kafka_between_them(
    start_program: Callable[..., Program], tmp_path: Path, mongo_url: str, brokers: str
) -> None:
    folder = tmp_path / "clickhouse"
    write_day(mongo_url, views=3)
    relay = start_program("warehouse", "relay", wait=False, kafka_brokers=brokers)
    program = start_program("warehouse", warehouse_dir=folder, kafka_brokers=brokers)
    until(program, [3])

    relay.kill()
    write_day(mongo_url, views=4)
    start_program("warehouse", "relay", wait=False, kafka_brokers=brokers)

    until(program, [7])
    code, said = audit(start_program, folder)
    assert 0 == code, said


@pytest.mark.minutes
def test_a_kafka_that_came_back_empty_is_filled_by_a_snapshot(
    start_program: Callable[..., Program], tmp_path: Path, mongo_url: str
) -> None:
    write_day(mongo_url, views=5)
    with mock_kafka() as empty:
        snapshot = start_program("warehouse", "snapshot", wait=False, kafka_brokers=empty)
        assert 0 == snapshot.process.wait(PATIENCE), snapshot.tail()
        program = start_program("warehouse", warehouse_dir=tmp_path / "clickhouse", kafka_brokers=empty)

        until(program, [5])

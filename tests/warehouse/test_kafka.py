"""Records through Kafka: what the relay hands on arrives in the store, and what is no record is put aside."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer

from devstack.child import free_port
from devstack.programs import Program
from tests.servers import PATIENCE
from tests.warehouse.brokers import messages, mock_kafka
from tests.warehouse.documents import COURSE_ID, write_day
from tests.warehouse.test_program import audit, until
from warehouse.kafka import REJECTED_TOPIC, TOPIC, NotDelivered, Publisher, Subscriber
from warehouse.record import Record
from warehouse.rows import live
from warehouse.sink import Sink
from warehouse.store import Store


@pytest.fixture(scope="module")
def brokers() -> Iterator[str]:
    with mock_kafka() as address:
        yield address


@asynccontextmanager
async def subscribed(brokers: str, store: Store) -> AsyncIterator[None]:
    stop = asyncio.Event()
    following = asyncio.create_task(Subscriber([brokers], Sink(store)).follow(stop))
    try:
        yield
    finally:
        stop.set()
        await following


async def until_stored(store: Store, views: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while views not in live(await store.totals([COURSE_ID])).values():  # noqa: ASYNC110 - another thread writes it
            await asyncio.sleep(0.1)


@pytest.mark.minutes
async def test_records_arrive_and_what_is_none_is_put_aside_with_its_reason(brokers: str, store: Store) -> None:
    raw = Producer({"bootstrap.servers": brokers})
    raw.produce(TOPIC, b'{"v": 9}')
    raw.flush(PATIENCE)
    await Publisher([brokers]).deliver([Record("no tally", 5, {"x": 1}), Record(COURSE_ID, 5, {"course_views": 7})])

    async with subscribed(brokers, store):
        await until_stored(store, 7)

    rejected = messages(brokers, REJECTED_TOPIC, 2, PATIENCE)
    reasons = {header[1] for message in rejected for header in message.headers() or []}
    assert {b"no tally is called 'no tally'", b"version 9 is not known here, only 1"} == reasons


@pytest.mark.minutes
async def test_a_broker_that_is_away_is_told_to_the_relay() -> None:
    publisher = Publisher([f"127.0.0.1:{free_port()}"])

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

"""Records through Kafka: the relay's side and the warehouse's. The official client is synchronous: it gets a thread."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from warehouse import metrics
from warehouse.record import Malformed, Record, decode, encode, parts_of, seconds_of
from warehouse.sink import Sink

TOPIC = "course-analytics.tallies"
REJECTED_TOPIC = "course-analytics.tallies.rejected"
GROUP = "course-analytics.warehouse"

BATCH_RECORDS = 2_000
BATCH_SECONDS = 0.5
FLUSH_SECONDS = 10.0
# A message with so many counters is far below the 1 MB that a broker accepts by default.
MESSAGE_COUNTERS = 4_000
REJECTED_BYTES = 100_000  # kept of a malformed message
RETRY_SECONDS = 1.0
POLL_SECONDS = 300.0  # a consumer that has not polled for this long, as when ClickHouse is down, loses its partitions
SESSION_SECONDS = 10.0  # how long a partition has no reader after its reader was killed

log = structlog.get_logger()


class NotDelivered(Exception):
    """The broker has not acknowledged all of it in time."""


class Publisher:
    """Hands records to Kafka. The key is the course, so those of a course keep their order."""

    def __init__(self, connection: Mapping[str, str]) -> None:
        self._connection = connection
        self._producer = self._connect()

    async def deliver(self, records: Sequence[Record]) -> None:
        """Returns once the broker has acknowledged all. Raises NotDelivered, KafkaException."""
        try:
            await asyncio.to_thread(self._deliver, records)
        except (NotDelivered, KafkaException):
            self._producer.purge()
            self._producer = self._connect()  # a fatal error would persist in the old one
            raise

    async def check(self) -> None:
        """Raises KafkaException when no broker answers."""
        await asyncio.to_thread(self._producer.list_topics, timeout=0.8)

    def _connect(self) -> Producer:
        return Producer(
            {
                **self._connection,
                "enable.idempotence": True,
                "acks": "all",
                "message.timeout.ms": int(FLUSH_SECONDS * 1000),
                "linger.ms": 5,
            }
        )

    def _deliver(self, records: Sequence[Record]) -> None:
        problems: list[KafkaError] = []

        def done(problem: KafkaError | None, _message: Message) -> None:
            if problem is not None:
                problems.append(problem)

        for record in records:
            key = record.tally[:24].encode()
            for part in parts_of(record, MESSAGE_COUNTERS):
                self._producer.produce(TOPIC, encode(part), key=key, on_delivery=done)
        waiting = self._producer.flush(FLUSH_SECONDS)
        if waiting or problems:
            raise NotDelivered(str(problems[0]) if problems else f"{waiting} records were not acknowledged in time")


class Received(NamedTuple):
    """The messages of one read: the records, the malformed messages with the reasons, and where to continue."""

    records: list[Record]
    rejected: list[tuple[bytes, str]]
    offsets: list[TopicPartition]


class Subscriber:
    """Reads records from Kafka into the store; offsets are committed after the insert."""

    def __init__(self, connection: Mapping[str, str], sink: Sink) -> None:
        self._consumer = Consumer(
            {
                **connection,
                "group.id": GROUP,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "allow.auto.create.topics": True,
                "session.timeout.ms": int(SESSION_SECONDS * 1000),
                "max.poll.interval.ms": int(POLL_SECONDS * 1000),
            }
        )
        self._producer = Producer({**connection, "acks": "all"})
        self._sink = sink

    async def follow(self, stop: asyncio.Event) -> None:
        """Writes incoming records until `stop`, through any outage of Kafka and ClickHouse."""
        self._consumer.subscribe([TOPIC])
        try:
            while not stop.is_set():
                received = await asyncio.to_thread(self._receive)
                if received.offsets:
                    await self._write(received, stop)
                else:
                    metrics.LAG.set(0)
        finally:
            await asyncio.to_thread(self._consumer.close)

    def _receive(self) -> Received:
        received = Received([], [], [])
        following: dict[tuple[str, int], int] = {}
        for message in self._consumer.consume(BATCH_RECORDS, BATCH_SECONDS):
            problem = message.error()
            if problem is not None:
                log.warning("Kafka", reason=str(problem))
                continue
            data = message.value() or b""
            try:
                received.records.append(decode(data))
            except Malformed as reason:
                received.rejected.append((data, str(reason)))
            following[str(message.topic()), message.partition() or 0] = (message.offset() or 0) + 1
        received.offsets.extend(TopicPartition(topic, part, offset) for (topic, part), offset in following.items())
        return received

    async def _write(self, received: Received, stop: asyncio.Event) -> None:
        """Retries until it is done or `stop`; after `stop` the next start reads the messages again."""
        while not stop.is_set():
            try:
                refused = await self._sink.write(received.records)
                rejected = received.rejected + [(encode(record), reason) for record, reason in refused]
                await asyncio.to_thread(self._put_aside, rejected)
            except Exception as error:  # noqa: BLE001 - nothing was committed, so it can be written again
                self._away("not written, tried again", error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                metrics.RECORDS.inc(len(received.records))
                full = len(received.records) >= BATCH_RECORDS
                metrics.LAG.set(max(0.0, time.time() - seconds_of(received.records[-1].at)) if full else 0.0)
                await self._commit(received.offsets)
                return

    async def _commit(self, offsets: Sequence[TopicPartition]) -> None:
        """Tries only once: a consumer that was away for long has lost its partitions, and gets them back by polling."""
        try:
            await asyncio.to_thread(self._consumer.commit, offsets=list(offsets), asynchronous=False)
        except KafkaException as error:
            self._away("written and not committed, so it may be written again", error)

    def _away(self, what: str, error: Exception) -> None:
        metrics.STORE_AWAY.inc()
        log.warning(what, reason=str(error)[:500])

    def _put_aside(self, rejected: Sequence[tuple[bytes, str]]) -> None:
        for data, reason in rejected:
            headers: dict[str, str | bytes | None] = {"reason": reason.encode(errors="replace")}
            self._producer.produce(REJECTED_TOPIC, data[:REJECTED_BYTES], headers=headers)
        if rejected:
            metrics.REJECTED.inc(len(rejected))
            log.error("records rejected", records=len(rejected), reason=rejected[0][1])
        if self._producer.flush(FLUSH_SECONDS):
            raise KafkaException(KafkaError(KafkaError._MSG_TIMED_OUT))  # noqa: SLF001 - the client's name for it

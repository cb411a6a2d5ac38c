"""A Kafka for tests: librdkafka's mock cluster, which speaks the protocol over TCP to any process.

It keeps its log in memory: ended and started again it is empty, as after the loss of a cluster.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition


@contextmanager
def mock_kafka() -> Iterator[str]:
    """The address of a cluster of one broker."""
    cluster = Producer({"bootstrap.servers": "unused", "test.mock.num.brokers": 1})
    (broker,) = cluster.list_topics(timeout=10).brokers.values()
    yield f"{broker.host}:{broker.port}"
    cluster.flush(1)


def at(brokers: str) -> dict[str, str]:
    """How a cluster without users is reached."""
    return {"bootstrap.servers": brokers}


def messages(brokers: str, topic: str, wanted: int, seconds: float) -> list[Message]:
    """The first messages of a topic: so many, or what has come after so many seconds."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "of nobody"})
    try:
        parts = consumer.list_topics(topic, timeout=seconds).topics[topic].partitions
        # Assigned by hand: that needs no group, whose members would have to wait for each other.
        consumer.assign([TopicPartition(topic, part, OFFSET_BEGINNING) for part in parts])
        found: list[Message] = []
        end = time.monotonic() + seconds
        while len(found) < wanted and time.monotonic() < end:
            found += [message for message in consumer.consume(wanted - len(found), 0.2) if message.error() is None]
        return found
    finally:
        consumer.close()

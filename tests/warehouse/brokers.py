"""A Kafka for tests: librdkafka's mock cluster, which speaks the protocol over TCP to any process.

It keeps its log in memory: ended and started again it is empty, as after the loss of a cluster.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import Consumer, Message, Producer


@contextmanager
def mock_kafka() -> Iterator[str]:
    """The address of a cluster of one broker."""
    cluster = Producer({"bootstrap.servers": "unused", "test.mock.num.brokers": 1})
    (broker,) = cluster.list_topics(timeout=10).brokers.values()
    yield f"{broker.host}:{broker.port}"
    cluster.flush(1)


def messages(brokers: str, topic: str, wanted: int, seconds: float) -> list[Message]:
    """The first messages of a topic: so many, or what has come after so many seconds."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "test", "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    try:
        return [message for message in consumer.consume(wanted, seconds) if message.error() is None]
    finally:
        consumer.close()

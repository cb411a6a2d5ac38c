"""A Kafka for tests: librdkafka's mock cluster, which speaks the protocol over TCP to any process.

It keeps its log in memory: ended and started again it is empty, as after the loss of a cluster. Another one is taken
where the environment names it (it has been run with Tansu), or in a container, which has not been run.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from devstack.child import wait_until
from warehouse.kafka import GROUP, REJECTED_TOPIC, TOPIC


@contextmanager
def mock_kafka() -> Iterator[str]:
    """The address of a cluster of one broker."""
    cluster = Producer({"bootstrap.servers": "unused", "test.mock.num.brokers": 1})
    (broker,) = cluster.list_topics(timeout=10).brokers.values()
    yield f"{broker.host}:{broker.port}"
    cluster.flush(1)


@contextmanager
def kafka_of_this_run() -> Iterator[str]:
    """The address of an empty Kafka, of the kind that the environment asks for."""
    if given := os.environ.get("ANALYTICS_TEST_KAFKA_BROKERS"):
        make_topics_again(given)
        yield given
    elif os.environ.get("ANALYTICS_TEST_SERVERS") == "containers":
        from tests.containers import kafka_container  # noqa: PLC0415  an ordinary run needs no Docker client

        with kafka_container() as address:
            make_topics_again(address)
            yield address
    else:
        with mock_kafka() as address:
            yield address


def make_topics_again(brokers: str) -> None:
    """Topics without a record, and no group that remembers one.

    Kafka deletes after it has answered, and a reader that was killed is a member until its session is over.
    """
    admin = AdminClient({"bootstrap.servers": brokers})
    topics = [TOPIC, REJECTED_TOPIC]
    there = admin.list_topics(timeout=10).topics.keys() & topics
    for deleted in (admin.delete_topics([*there]) if there else {}).values():
        deleted.result()
    wait_until(lambda: not admin.list_topics(timeout=10).topics.keys() & topics, 60, "the topics are still there")
    wait_until(partial(is_forgotten, admin), 60, "the group has members")
    for topic in topics:
        new = NewTopic(topic, num_partitions=4)
        wait_until(partial(is_made, admin, new), 60, f"{topic} is still there")


def is_forgotten(admin: AdminClient) -> bool:
    """Whether the group is gone now; one that is not there is refused, too."""
    problem = admin.delete_consumer_groups([GROUP])[GROUP].exception()
    return not (isinstance(problem, KafkaException) and problem.args[0].code() == KafkaError.NON_EMPTY_GROUP)


def is_made(admin: AdminClient, new: NewTopic) -> bool:
    """Whether the topic is made now; not while an earlier one of its name is being deleted. Raises KafkaException."""
    try:
        admin.create_topics([new])[new.topic].result()
    except KafkaException as refused:
        if refused.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise
        return False
    return True


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

"""The proxy does what the tests that use it believe."""

import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing

import pytest
import redis
from pymongo import MongoClient
from pymongo.errors import AutoReconnect
from redis.backoff import NoBackoff
from redis.retry import Retry

from devstack.child import HOST, wait_until
from devstack.servers import RedisServer
from tests.faults.loss import End, containing
from tests.faults.proxy import Proxy

SET = containing(b"\r\nSET\r\n")


def client(url: str, seconds: float = 5) -> "AbstractContextManager[redis.Redis]":
    """One connection, no retries: what happens to it shows."""
    return closing(
        redis.Redis.from_url(url, socket_timeout=seconds, retry=Retry(NoBackoff(), 0), decode_responses=True)
    )


@pytest.fixture
def proxy(redis_url: str) -> Iterator[Proxy]:
    with Proxy(redis_url) as proxy:
        yield proxy


def test_forwards_in_both_directions(proxy: Proxy) -> None:
    with client(proxy.url) as through:
        through.set("key", "v" * 1_000_000)
        assert "v" * 1_000_000 == through.get("key")


def test_a_request_whose_reply_is_lost_has_been_carried_out(proxy: Proxy, redis_url: str) -> None:
    loss = proxy.lose_reply(SET)
    with client(proxy.url) as through, client(redis_url) as direct:
        with pytest.raises(redis.ConnectionError):
            through.set("key", "value")
        assert loss.happened
        assert "value" == direct.get("key")


def test_a_request_that_is_lost_has_not_been_carried_out(proxy: Proxy, redis_url: str) -> None:
    loss = proxy.lose_request(SET)
    with client(proxy.url) as through, client(redis_url) as direct:
        with pytest.raises(redis.ConnectionError):
            through.set("key", "value")
        assert loss.happened
        assert direct.get("key") is None


def test_a_reply_can_be_cut_in_the_middle(proxy: Proxy) -> None:
    proxy.lose_reply(containing(b"ECHO"), keep=9)
    with client(proxy.url) as through:
        pipeline = through.pipeline(transaction=False)
        pipeline.echo("one")  # $3 one, with its line ends, is 9 bytes
        pipeline.echo("two")
        with pytest.raises(redis.ConnectionError):
            pipeline.execute()


def test_the_nth_matching_request_is_the_one(proxy: Proxy) -> None:
    proxy.lose_reply(SET, nth=2)
    with client(proxy.url) as through:
        through.set("key", "first")
        through.get("key")
        with pytest.raises(redis.ConnectionError):
            through.set("key", "second")
        through.set("key", "third")


def test_silence_leaves_the_caller_waiting(proxy: Proxy) -> None:
    proxy.lose_reply(SET, end=End.SILENCE)
    with client(proxy.url, seconds=0.1) as through, pytest.raises(redis.TimeoutError):
        through.set("key", "value")


def test_reset_ends_open_connections_only(proxy: Proxy) -> None:
    with socket.create_connection((HOST, proxy.port)) as before:
        wait_until(lambda: proxy.connections == 1, 5, "nobody was connected")
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            before.recv(1)
    with client(proxy.url) as after:
        after.ping()


def test_refuse_lets_open_connections_be(proxy: Proxy) -> None:
    with client(proxy.url) as before, client(proxy.url) as after:
        before.ping()
        proxy.refuse()
        before.ping()
        with pytest.raises(redis.ConnectionError, match="refused"):
            after.ping()
        proxy.heal()
        after.ping()


def test_what_a_black_hole_held_back_arrives_late(proxy: Proxy, redis_url: str) -> None:
    with client(proxy.url, seconds=0.1) as through, client(redis_url) as direct:
        through.ping()
        proxy.black_hole()
        with pytest.raises(redis.TimeoutError):
            through.set("key", "value")
        assert direct.get("key") is None
        proxy.heal()
        wait_until(lambda: direct.get("key") == "value", 5, "the request did not arrive")


def test_delay_is_longer_than_the_patience_of_a_caller(proxy: Proxy) -> None:
    proxy.delay(0.2)
    with client(proxy.url, seconds=0.05) as through, pytest.raises(redis.TimeoutError):
        through.ping()


def test_new_connections_can_be_led_elsewhere(proxy: Proxy, start_redis: Callable[..., RedisServer]) -> None:
    with client(proxy.url) as before, client(proxy.url) as after:
        before.set("key", "value")
        proxy.lead_to(start_redis().url)
        assert [1, 0] == [before.exists("key"), after.exists("key")]


def test_mongodb_is_reached_through_it_alone(mongo_url: str) -> None:
    with Proxy(mongo_url) as proxy, MongoClient[dict[str, object]](proxy.url, retryReads=False) as through:
        loss = proxy.lose_reply(containing(b"a-collection"))
        with pytest.raises(AutoReconnect):
            through.get_default_database()["a-collection"].find_one()
        assert loss.happened

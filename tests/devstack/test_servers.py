import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from pymongo import MongoClient
from redis.backoff import NoBackoff
from redis.retry import Retry

from devstack.child import Child, StartError, free_port, port_is_free, wait_until
from devstack.servers import MongoServer, RedisServer
from tests.devstack.conftest import alive
from tests.servers import running


@pytest.mark.parametrize("flavour", ["valkey", "redis"])
def test_a_killed_redis_comes_back_with_port_and_data(start_redis: Callable[..., RedisServer], flavour: str) -> None:
    server = start_redis(flavour)
    with redis.Redis.from_url(server.url) as client:
        client.set("kept", "yes")

    server.kill()
    server.start()

    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        assert "yes" == client.get("kept")


def test_an_option_overrides_the_configuration(start_redis: Callable[..., RedisServer]) -> None:
    server = start_redis(appendfsync="everysec", maxmemory="8mb")

    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        assert {"appendfsync": "everysec"} == client.config_get("appendfsync")
        assert {"maxmemory": str(8 * 1024 * 1024)} == client.config_get("maxmemory")


def test_a_paused_redis_is_silent_until_it_is_resumed(start_redis: Callable[..., RedisServer]) -> None:
    server = start_redis()
    with redis.Redis.from_url(server.url, socket_timeout=0.1, retry=Retry(NoBackoff(), 0)) as client:
        server.pause()
        with pytest.raises(redis.TimeoutError):
            client.ping()
        server.resume()

        assert client.ping()


def test_a_paused_redis_can_be_stopped(start_redis: Callable[..., RedisServer]) -> None:
    server = start_redis()
    server.pause()

    assert 0 == server.stop()
    assert port_is_free(server.port)


def test_a_killed_mongodb_comes_back_with_its_data_even_on_another_port(tmp_path: Path) -> None:
    with running(MongoServer(tmp_path / "mongod")) as server, MongoClient[dict[str, object]](server.url()) as client:
        client.get_default_database()["kept"].insert_one({"_id": "yes"})

    with running(MongoServer(tmp_path / "mongod")) as moved, MongoClient[dict[str, object]](moved.url()) as client:
        assert {"_id": "yes"} == client.get_default_database()["kept"].find_one()


def test_a_server_that_cannot_start_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, maxmemory_policy="nonsense")

    with pytest.raises(StartError, match=r"(?s)^valkey ended with exit code 1\. .*valkey\.log ends with:.*nonsense"):
        server.start()


def test_a_child_that_is_never_ready_is_ended(tmp_path: Path) -> None:
    class Never(Child):
        def ready(self) -> bool:
            return False

    child = Never("never", ["/bin/sleep", "60"], tmp_path / "log")

    with pytest.raises(StartError, match=r"^never was not ready within 0\.1 s"):
        child.start(0.1)
    assert not child.running


def test_a_child_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    program = f"""
import pathlib, time
from devstack.child import Child
child = Child("sleep", ["/bin/sh", "-c", "echo up; exec sleep 60"], pathlib.Path({str(tmp_path / "log")!r}))
child.start()
child.wait_for(lambda: "up" in child.output(), 10, "did not run")
print(child.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        parent.kill()

    wait_until(lambda: not alive([child]), 10, "the child lived on")


def test_no_port_is_given_out_twice_before_its_server_listens() -> None:
    ports = [free_port() for _ in range(300)]
    assert 300 == len(set(ports))

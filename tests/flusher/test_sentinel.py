"""Sentinel as the operator's guide has it: a real one promotes the replica, and its script moves the name."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import redis
from redis.exceptions import RedisError

from devstack.child import HOST, Child, free_port, wait_until
from devstack.servers import REDIS_BINARIES, RedisServer, answers_ping, packaged
from shared.settings import Barrier
from shared.stores import mongo
from shared.stores.redis_connection import RedisUnreachable
from tests.faults.proxy import Proxy
from tests.flusher.stage import Stage, course, staged, until
from tests.servers import PATIENCE, running

A_REPLICA = Barrier("replicas", 1)
COURSES = [course(number) for number in range(1, 6)]

# What the guide says a script gets: name, role, state, from-ip, from-port, to-ip, to-port.
SCRIPT = """#!/bin/sh
echo "redis://$6:$7/0" > "{name}.new" && mv "{name}.new" "{name}"
"""


class Sentinel(Child):
    """valkey-sentinel: the same binary as the server, called with another option."""

    def __init__(self, folder: Path, primary: RedisServer, script: Path) -> None:
        self.port = free_port()
        lines = [
            f"port {self.port}",
            f"bind {HOST}",
            f"dir {folder}",
            f"sentinel monitor counts {HOST} {primary.port} 1",
            "sentinel down-after-milliseconds counts 500",
            "sentinel failover-timeout counts 5000",
            f"sentinel client-reconfig-script counts {script}",
        ]
        configuration = folder / "sentinel.conf"
        configuration.write_text("".join(f"{line}\n" for line in lines))
        binary = packaged(REDIS_BINARIES["valkey"])
        super().__init__("sentinel", [str(binary), str(configuration), "--sentinel"], folder / "sentinel.log")

    def ready(self) -> bool:
        return answers_ping(HOST, self.port)

    def wait_until_ready(self, seconds: float) -> None:
        """Returns when it answers; from then on it looks at its servers ten times a second, and waits less."""
        super().wait_until_ready(seconds)
        with redis.Redis(HOST, self.port) as client:
            client.execute_command("SENTINEL", "DEBUG", "info-period", 100, "publish-period", 100)

    def knows(self, replica: RedisServer) -> bool:
        """Whether it has found the replica, which it could promote."""
        with redis.Redis(HOST, self.port, decode_responses=True) as client:
            return any(str(replica.port) in name for name in map(str, client.sentinel_slaves("counts")))


def moving_script(name: Path) -> Path:
    """A script for Sentinel that writes where the name leads to now."""
    script = name.with_suffix(".sh")
    script.write_text(SCRIPT.format(name=name))
    script.chmod(0o700)
    return script


def follows_a_primary(server: RedisServer) -> bool:
    """Whether the server is a replica, with all that its primary has."""
    with redis.Redis(HOST, server.port, decode_responses=True) as client:
        return bool(client.info("replication").get("master_link_status") == "up")


async def is_counted(stage: Stage) -> bool:
    """Whether a ping of each course was acknowledged."""
    try:
        await stage.ping(*COURSES)
    except (AssertionError, RedisUnreachable, RedisError):  # refused, or on the way to the new primary
        return False
    return True


async def test_after_a_failover_by_sentinel_every_count_is_shown_and_flushed_once(
    start_redis: Callable[..., RedisServer], mongo_url: str, tmp_path: Path
) -> None:
    old = start_redis("valkey", repl_diskless_sync_delay="0")
    new = start_redis("valkey", repl_diskless_sync_delay="0", replicaof=f"{HOST} {old.port}")
    moved_to = tmp_path / "name"
    sentinel = Sentinel(tmp_path, old, moving_script(moved_to))
    async with AsyncExitStack() as stack:
        stack.enter_context(running(sentinel))
        name = stack.enter_context(Proxy(old.url))
        client = await stack.enter_async_context(mongo.connect(mongo_url, program="tests"))
        database = mongo.database(client)
        async with staged(name.url, database) as stage:
            await stage.ping(*COURSES)
            await stage.call("SET", "last", "write")
            assert 1 == await stage.call("WAIT", 1, 4_000)
            await asyncio.to_thread(wait_until, lambda: sentinel.knows(new), PATIENCE, sentinel.tail())
            await stage.assert_exact()

            old.kill()
            await asyncio.to_thread(wait_until, moved_to.exists, PATIENCE, sentinel.tail())
            name.lead_to(moved_to.read_text().strip())
            await until(lambda: is_counted(stage))
            await stage.assert_exact()

            old.start()
            await asyncio.to_thread(wait_until, lambda: follows_a_primary(old), PATIENCE, sentinel.tail())
            assert not (await stage.flush(barrier=A_REPLICA)).left
        async with staged(name.url, database) as after:
            after.acknowledged = stage.acknowledged
            await after.assert_all_flushed()

"""Whether Redis answers and is suitable: readiness asks twice a second."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal

from shared.settings import Barrier
from shared.stores.durability import check_durability
from shared.stores.fitness import check_kind, check_scripts
from shared.stores.redis_connection import RedisConnection
from shared.stores.topology import Topology, on_all

# Checks a server to which a connection has just been opened. Raises UnsuitableRedis, RedisUnreachable.
Check = Callable[[RedisConnection], Awaitable[None]]


def counts_are_safe(
    barrier: Barrier, *, cluster: bool, script_command: Literal["EVAL", "EVALSHA"], timeout: float
) -> Check:
    """The check of a program that writes counts. `timeout` in seconds is for each of its three questions."""

    async def check(connection: RedisConnection) -> None:
        await check_kind(connection, cluster=cluster, timeout=timeout)
        await check_scripts(connection, script_command, timeout=timeout)
        await check_durability(connection, barrier, timeout=timeout)

    return check


def counts_are_there(*, cluster: bool, timeout: float) -> Check:
    """The check of a program that only reads counts."""
    return partial(check_kind, cluster=cluster, timeout=timeout)


class RedisProbe:
    """Asks each node over a connection of its own. `check` runs whenever a connection is opened."""

    def __init__(self, topology: Topology, check: Check, *, timeout: float) -> None:
        self._topology = topology
        self._check = check
        self._timeout = timeout
        self._connections: dict[str, RedisConnection] = {}

    async def close(self) -> None:
        """Closes its connections."""
        for connection in self._connections.values():
            await connection.close()

    async def ask(self) -> None:
        """Raises RedisUnreachable if a node does not answer or is a replica, UnsuitableRedis if the check fails."""
        nodes = await self._topology.primaries(timeout=self._timeout)
        await on_all(self._ask(node) for node in nodes)

    async def _ask(self, node: str) -> None:
        known = self._connections.get(node)
        if known is not None and known.is_fresh:
            await known.check_primary(timeout=self._timeout)
            return
        if known is not None:
            await known.close()
        connection = await RedisConnection.open(node, timeout=self._timeout)
        try:
            await self._check(connection)
        except BaseException:
            await connection.close()  # the next probe has to check again
            raise
        self._connections[node] = connection

"""Whether Redis is there and may be built on: what readiness asks twice a second."""

from typing import Literal

from shared.settings import Barrier
from shared.stores.durability import check_durability
from shared.stores.fitness import check_kind, check_scripts
from shared.stores.redis_connection import RedisConnection
from shared.stores.topology import Topology, on_all


ScriptCommand = Literal["EVAL", "EVALSHA"]


async def check_fitness(
    connection: RedisConnection, barrier: Barrier, *, cluster: bool, script_command: ScriptCommand, timeout: float
) -> None:
    """Raises UnsuitableRedis when the server cannot keep counts. `timeout` in seconds is for each of three questions.

    Raises RedisUnreachable.
    """
    await check_kind(connection, cluster=cluster, timeout=timeout)
    await check_scripts(connection, script_command, timeout=timeout)
    await check_durability(connection, barrier, timeout=timeout)


class RedisProbe:
    """Asks each node over a connection of its own. How a node is set up is looked at whenever that is opened anew.

    `script_command` is what this program runs scripts by.
    """

    def __init__(
        self,
        topology: Topology,
        barrier: Barrier,
        *,
        cluster: bool,
        script_command: ScriptCommand,
        timeout: float,
    ) -> None:
        self._topology = topology
        self._barrier = barrier
        self._cluster = cluster
        self._script_command: ScriptCommand = script_command
        self._timeout = timeout
        self._connections: dict[str, RedisConnection] = {}

    async def close(self) -> None:
        """Closes its connections."""
        for connection in self._connections.values():
            await connection.close()

    async def ask(self) -> None:
        """Raises RedisUnreachable when a node is away or a replica, UnsuitableRedis when one cannot keep counts."""
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
            await check_fitness(
                connection,
                self._barrier,
                cluster=self._cluster,
                script_command=self._script_command,
                timeout=self._timeout,
            )
        except BaseException:
            await connection.close()  # the next time has to look again
            raise
        self._connections[node] = connection

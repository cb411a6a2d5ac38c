"""The barrier: a take must be durable in Redis before MongoDB gets its counts.

Otherwise Redis may fail over to a copy that never saw the rename; new pings would join a batch whose id MongoDB already
has, and be lost. Redis confirms only the writes of the connection that asks, so it must be the one that took.
"""

from redis.exceptions import ResponseError

from flusher.steps.lease import REDIS_SECONDS
from shared.settings import Barrier
from shared.stores.redis_connection import Command, RedisConnection

WAIT_MS = 2_000


async def safe(connection: RedisConnection, barrier: Barrier) -> bool:
    """Whether this connection's writes are on disk, or on the required number of replicas. Raises RedisUnreachable."""
    command: Command
    match barrier.kind:
        case "none":
            return True
        case "aof":
            command = ("WAITAOF", 1, 0, WAIT_MS)
        case "replicas":
            command = ("WAIT", barrier.replicas, WAIT_MS)
    (reply,) = await connection.call_each(command, timeout=REDIS_SECONDS + WAIT_MS / 1000)
    if isinstance(reply, ResponseError):
        return False
    if barrier.kind == "aof":
        local_disks, _ = reply
        return bool(local_disks >= 1)
    return bool(reply >= barrier.replicas)

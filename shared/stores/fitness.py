"""Whether a Redis is a cluster or not, as the settings say, and can run scripts: checked at first contact."""

from typing import Literal

from redis.exceptions import ResponseError

from shared.serving.program import CannotRun
from shared.stores.redis_connection import RedisConnection, error_code

# The digest of no script: a server that allows scripts answers that there is none.
NO_SCRIPT = "0" * 40

IS_A_CLUSTER = "ANALYTICS_REDIS_URL leads to a Redis Cluster: set ANALYTICS_REDIS_CLUSTER=true"
IS_NO_CLUSTER = "ANALYTICS_REDIS_URL leads to a Redis that is no cluster: unset ANALYTICS_REDIS_CLUSTER"


class UnsuitableRedis(CannotRun):
    """This Redis cannot keep counts, or is misconfigured; the text says how to fix it."""


async def check_kind(connection: RedisConnection, *, cluster: bool, timeout: float) -> None:
    """Raises UnsuitableRedis if the server is a node of a cluster and should not be. Raises RedisUnreachable.

    The topology detects the reverse.
    """
    if cluster:
        return
    (slots,) = await connection.call_each(("CLUSTER", "SLOTS"), timeout=timeout)
    if isinstance(slots, list) and slots:
        raise UnsuitableRedis(IS_A_CLUSTER)


async def check_scripts(connection: RedisConnection, command: Literal["EVAL", "EVALSHA"], *, timeout: float) -> None:
    """Raises UnsuitableRedis if the server, or a proxy before it, refuses this command. Raises RedisUnreachable."""
    script = NO_SCRIPT if command == "EVALSHA" else "return 0"
    (reply,) = await connection.call_each((command, script, 0), timeout=timeout)
    # LOADING, BUSY and the like are transient; an unknown, renamed or forbidden command is not.
    if error_code(reply) == "NOPERM" or (isinstance(reply, ResponseError) and "unknown command" in str(reply)):
        raise UnsuitableRedis(f"Redis refuses {command}, by which every count is made: {reply}; allow it to this user")

"""A course in Redis, read in one transaction."""

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from query_server.merge import Hot
from shared import keys

CONNECTIONS = 50
# Twice within the time that a dashboard has: a connection that died unnoticed is replaced, and the read repeated.
TIMEOUT_SECONDS = 0.7


def connect(url: str) -> Redis:
    """A client that connects lazily. What it sends may be repeated once: it only reads."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=TIMEOUT_SECONDS,
        protocol=2,
        decode_responses=True,
        retry=Retry(NoBackoff(), 1),
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
    )
    return Redis.from_pool(pool)


class HotStore:
    """The counts that Redis holds."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def read(self, course_id: str) -> Hot:
        """One transaction, so that no flush moves a count from one answer to the next. Raises RedisError."""
        partition = keys.partition_of(course_id)
        async with self._redis.pipeline(transaction=True) as transaction:
            for command in (
                ("HGETALL", keys.course_counters(partition, course_id)),
                ("HGETALL", keys.flushing_counters(partition, course_id)),
                ("HGETALL", keys.quarantined_counters(partition, course_id)),
                ("GET", keys.flushed_batch(partition, course_id)),
                ("PFCOUNT", keys.course_users(partition, course_id)),
                ("TIME",),
            ):
                transaction.execute_command(*command)
            counting, flushing, quarantined, flushed_batch, users, (seconds, microseconds) = await transaction.execute()
        return Hot((counting, flushing), quarantined, flushed_batch, users, seconds, microseconds)

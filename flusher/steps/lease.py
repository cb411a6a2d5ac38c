"""The locks of one wave, and how long by our own clock they are certainly ours.

The locks avoid duplicate work and put the takes into the order of the epochs. The fence and the batch ids keep the
counts right when a lock is lost unnoticed.
"""

from collections.abc import Callable, Iterable

from redis.exceptions import ResponseError

from flusher.steps import scripts
from shared.data import keys
from shared.stores.redis_connection import RedisConnection, RedisUnreachable, error_code
from shared.stores.topology import is_elsewhere

REDIS_SECONDS = 2


class LeaseLost(Exception):
    """Another flusher has, or may have, the lock."""


class Lease:
    """Holds partitions under a token that no other wave ever uses. `ttl` in seconds; `now` is a monotonic clock."""

    def __init__(self, connection: RedisConnection, *, token: str, ttl: float, now: Callable[[], float]) -> None:
        self.token = token
        self.ttl_ms = max(1, round(ttl * 1000))
        self._connection = connection
        self._now = now
        self._tried: list[int] = []
        self._until: dict[int, float] = {}
        self.elsewhere: set[int] = set()
        self.broken: dict[int, str] = {}

    async def acquire(self, partitions: Iterable[int]) -> set[int]:
        """Takes the free locks of the partitions, and returns the partitions now held. Raises RedisUnreachable.

        A partition that this node of a cluster does not serve, or serves only in part, is in `elsewhere`; one whose
        lock is a key of another type is in `broken`, with Redis's reason.
        """
        self._tried = list(partitions)
        asked = self._now()
        replies = await self._connection.call_each(
            *(scripts.call(scripts.LOCK, [keys.flush_lock(number)], self.token, self.ttl_ms) for number in self._tried),
            timeout=REDIS_SECONDS,
        )
        for number, reply in zip(self._tried, replies, strict=True):
            if reply == 1:
                self.renewed(number, asked)
            elif is_elsewhere(reply):
                self.elsewhere.add(number)
            elif error_code(reply) == "WRONGTYPE":
                self.broken[number] = str(reply)
            elif isinstance(reply, ResponseError):
                raise reply
        return set(self._until)

    def renewed(self, partition: int, asked: float) -> None:
        """Notes that the lock was extended, no earlier than `asked`."""
        self._until[partition] = asked + self.ttl_ms / 1000

    def lost(self, partition: int) -> None:
        """Notes that the partition is no longer ours, or no longer needed."""
        del self._until[partition]

    def now(self) -> float:
        """The clock of `renewed`."""
        return self._now()

    def is_half_over(self) -> bool:
        """Whether of some lock less than half of its life is left."""
        return min(self._until.values(), default=0.0) - self._now() < self.ttl_ms / 2000

    def seconds_left(self) -> float:
        """For how long all locks are certainly still ours. Raises LeaseLost if one may have expired."""
        left = min(self._until.values(), default=0.0) - self._now()
        if left <= 0:
            raise LeaseLost("the lock's time is over")
        return left

    async def release(self, url: str) -> None:
        """Releases the locks that are still ours, over a new connection to `url` if the wave's own is gone.

        A lock that cannot be released now expires by itself.
        """
        release = [scripts.call(scripts.RELEASE, [keys.flush_lock(number)], self.token) for number in self._tried]
        connection = self._connection
        try:
            if not connection.is_open:
                connection = await RedisConnection.open(url, timeout=REDIS_SECONDS)
            await connection.call(*release, timeout=REDIS_SECONDS)
        except (RedisUnreachable, ResponseError):
            pass
        finally:
            await connection.close()

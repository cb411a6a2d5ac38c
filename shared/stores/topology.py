"""Which node of Redis serves which partition. Without a cluster the one server serves all of them.

In a cluster the nodes know it. The first that answers is asked, and asked again when its answer turns out to be wrong,
because slots move and replicas are promoted.
"""

import asyncio
import random
from bisect import bisect_right
from collections.abc import Awaitable, Iterable, Sequence
from typing import TypeVar
from urllib.parse import urlsplit

from redis.crc import key_slot
from redis.exceptions import RedisError

from shared.data.keys import PARTITIONS
from shared.stores.fitness import IS_NO_CLUSTER, UnsuitableRedis
from shared.stores.redis_connection import RedisConnection, RedisUnreachable, Reply, error_code

Answer = TypeVar("Answer")

# Errors of a node that does not serve these keys now: they are elsewhere, or migrating, or nobody serves them.
ELSEWHERE = frozenset({"MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN"})

# How long one node may take to answer before another is asked.
ASK_SECONDS = 0.3

SLOTS = [key_slot(str(partition).encode()) for partition in range(PARTITIONS)]
"""The slot of each partition: that of the number in braces in its keys."""


class Topology:
    """The nodes by their addresses, with the credentials and the TLS parameters of `url`."""

    def __init__(self, url: str, *, cluster: bool = False) -> None:
        self._url = url
        self._cluster = cluster
        self._nodes: Sequence[str | None] = [None if cluster else url] * PARTITIONS
        self._known = [url]
        self._trusted = not cluster
        self._better: str | None = None
        self._looking = asyncio.Lock()

    async def node_of(self, partition: int, *, timeout: float) -> str:
        """The node that serves the partition; asks first, within `timeout` seconds, unless the last answer is trusted.

        For a partition that nobody serves it is any node, which will say so. Raises RedisUnreachable.
        """
        if not self._trusted:
            await self.look(timeout=timeout, unless_trusted=True)
        return self._nodes[partition] or self._known[0]

    async def by_node(self, partitions: Iterable[int], *, timeout: float) -> dict[str, list[int]]:
        """The partitions grouped by their nodes; otherwise like `node_of`."""
        groups: dict[str, list[int]] = {}
        for partition in partitions:
            groups.setdefault(await self.node_of(partition, timeout=timeout), []).append(partition)
        return groups

    async def primaries(self, *, timeout: float) -> list[str]:
        """Asks again; every node that serves partitions. Raises RedisUnreachable, also if a partition has no node."""
        await self.look(timeout=timeout)
        nodes = {node for node in self._nodes if node is not None}
        if None in self._nodes:
            raise RedisUnreachable("the Redis cluster is not whole: nobody serves some of its slots")
        return sorted(nodes)

    def mistrust(self, reply: Reply | Exception = None) -> None:
        """Tells that a node was wrong: the next use asks again, first the node that a MOVED names."""
        if not self._cluster:
            return
        self._trusted = False
        if error_code(reply) == "MOVED":
            host, _, port = str(reply).split(" ")[-1].rpartition(":")
            self._better = _address(self._url, host, int(port)) if host else None

    async def look(self, *, timeout: float, unless_trusted: bool = False) -> None:
        """Asks the nodes, one after another, until one answers. Raises RedisUnreachable if none does in time.

        Raises UnsuitableRedis if the first one that is ever asked is not in a cluster.
        """
        if not self._cluster:
            return
        try:
            async with asyncio.timeout(timeout), self._looking:
                if not (self._trusted and unless_trusted):  # another caller may have asked while we waited
                    await self._look()
        except TimeoutError:
            raise RedisUnreachable("no node of the Redis cluster answered in time") from None

    async def _look(self) -> None:
        # In random order, so that a node which the others have left behind is not believed every time.
        candidates = random.SystemRandom().sample(self._known, len(self._known))
        reasons = []
        for url in [*([self._better] if self._better else []), *candidates]:
            try:
                slots = await _ask(url)
            except (RedisUnreachable, RedisError) as error:
                reasons.append(str(error))
                if "cluster support disabled" in str(error) and not any(self._nodes):
                    raise UnsuitableRedis(IS_NO_CLUSTER) from None
            else:
                self._nodes, nodes = nodes_of(slots, url)
                self._known = sorted({*nodes, self._url})
                self._trusted, self._better = True, None
                return
        self._better = None
        raise RedisUnreachable("; ".join(sorted(set(reasons))))


async def _ask(url: str) -> Reply:
    connection = await RedisConnection.open_to_any(url, timeout=ASK_SECONDS)  # replicas know it too
    try:
        (slots,) = await connection.call(("CLUSTER", "SLOTS"), timeout=ASK_SECONDS)
    finally:
        await connection.close()
    return slots


def nodes_of(slots: Reply, asked: str) -> tuple[list[str | None], set[str]]:
    """From the CLUSTER SLOTS reply of the node `asked`: the node of each partition, and all nodes."""
    ranges = sorted((first, last, [_node(node, asked) for node in nodes]) for first, last, *nodes in slots)
    starts = [first for first, _, _ in ranges]
    nodes: list[str | None] = []
    for slot in SLOTS:
        position = bisect_right(starts, slot) - 1
        covered = position >= 0 and slot <= ranges[position][1]
        nodes.append(ranges[position][2][0] if covered else None)
    return nodes, {node for _, _, members in ranges for node in members}


def _node(node: Sequence[Reply], asked: str) -> str:
    host, port = node[0], node[1]
    # A node that does not know its own name is reached by the name that we used.
    return _address(asked, host.decode() if host else "", port)


def _address(url: str, host: str, port: int) -> str:
    parts = urlsplit(url)
    credentials, at, _ = parts.netloc.rpartition("@")
    host = host or parts.hostname or ""
    return parts._replace(netloc=f"{credentials}{at}{f'[{host}]' if ':' in host else host}:{port}").geturl()


async def on_all(asked: Iterable[Awaitable[Answer]]) -> list[Answer]:
    """The answers of several nodes, asked at once. Raises the first error when all are done, so none is interrupted."""
    answers = await asyncio.gather(*asked, return_exceptions=True)
    done: list[Answer] = []
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
        done.append(answer)
    return done


def is_elsewhere(reply: Reply) -> bool:
    """Whether a node refused because it does not have the keys, or not all of them."""
    return error_code(reply) in ELSEWHERE

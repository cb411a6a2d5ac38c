"""Tallies in Redis: those of one course are read in one transaction."""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Self

from redis.exceptions import ResponseError

from query_server import replies
from query_server.merge import Hot, HotTallies
from shared.data import keys
from shared.data.tallies import Tally, course_tally, day_tally
from shared.stores.probe import RedisProbe, counts_are_there
from shared.stores.redis_connection import Command, RedisConnection, RedisUnreachable, Reply
from shared.stores.topology import Topology, is_elsewhere

CONNECTIONS = 50
# A dashboard has time for two: over an idle connection, and over a new one if the idle one was dead.
TIMEOUT_SECONDS = 0.7
# In a cluster: the pauses before another attempt when the node does not serve the course, or not all of its keys. The
# first is for a slot that has moved, the others for one that is migrating.
PAUSES_SECONDS = (0.0, 0.05, 0.1, 0.2, 0.4)


class HotStore:
    """The counts in Redis. Each concurrent read uses its own connection, at most 50."""

    def __init__(self, url: str, *, cluster: bool = False) -> None:
        self._topology = Topology(url, cluster=cluster)
        check = counts_are_there(cluster=cluster, timeout=TIMEOUT_SECONDS)
        self._probe = RedisProbe(self._topology, check, timeout=TIMEOUT_SECONDS)
        self._turns = asyncio.Semaphore(CONNECTIONS)
        self._idle: defaultdict[str, list[RedisConnection]] = defaultdict(list)
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_closed = True
        await self._probe.close()
        await self._close_idle()

    async def read(self, course_id: str) -> Hot:
        """A course's totals. Raises RedisUnreachable, RedisError."""
        return (await self.read_tallies([course_tally(course_id)]))[course_id]

    async def read_tallies(self, tallies: Sequence[Tally]) -> dict[str, Hot]:
        """Tallies of one partition by name, in one transaction, so that no flush moves a count between two reads.

        Raises RedisUnreachable, RedisError.
        """
        partition = keys.partition_of(tallies[0].name)
        return replies.hot_of(tallies, await self._ask_each(partition, replies.reading_all(partition, tallies)))

    async def read_lecture(self, lecture: Tally) -> HotTallies:
        """A lecture's tally, and the course's first day in Redis. Raises as `read_tallies`."""
        partition = keys.partition_of(lecture.name)
        commands = [("SMEMBERS", keys.dirty_courses(partition)), *replies.reading_all(partition, [lecture])]
        dirty, *answers = await self._ask_each(partition, commands)
        return HotTallies(replies.hot_of([lecture], answers), replies.first_day(lecture.course_id, dirty))

    async def read_days(self, always: Tally, days: Sequence[str]) -> HotTallies:
        """A tally of a course, and those of its days for which Redis has keys.

        Counts that another day gets between two requests are newer than the call. Raises as `read_tallies`.
        """
        course_id = always.course_id
        look = replies.Look(keys.partition_of(course_id), [always], [course_id], days)
        names = [always.name, *(f"{course_id}/{day}" for day in days)]
        asked = [*replies.asking_for(look.partition, names), *look.commands()]
        is_unsaved, dirty, *answers = await self._ask_each(look.partition, asked)
        unsaved = replies.unsaved(names, is_unsaved)
        found, tallies = look.found(answers)
        found += [day_tally(course_id, name.partition("/")[2]) for name in unsaved - {always.name}]
        if found:
            tallies = await self.read_tallies([always, *dict.fromkeys(found)])
        return HotTallies(tallies, replies.first_day(course_id, dirty), unsaved)

    async def read_courses(self, course_ids: Sequence[str], days: Sequence[str]) -> dict[str, Hot]:
        """The totals of courses, and those of their days for which Redis has keys: one transaction a partition.

        If it has any, that partition is read again, because totals must not be older than days. Raises as
        `read_tallies`.
        """
        together: defaultdict[int, list[str]] = defaultdict(list)
        for course_id in course_ids:
            together[keys.partition_of(course_id)].append(course_id)
        looks = [replies.Look(number, [*map(course_tally, each)], each, days) for number, each in together.items()]
        answers = await self._ask_partitions({look.partition: look.commands() for look in looks})
        hot: dict[str, Hot] = {}
        again: dict[int, list[Tally]] = {}
        for look in looks:
            found, totals = look.found(answers[look.partition])
            hot |= totals
            if found:
                again[look.partition] = [*look.always, *found]
        answers = await self._ask_partitions({each: replies.reading_all(each, again[each]) for each in again})
        for number, tallies in again.items():
            hot |= replies.hot_of(tallies, answers[number])
        return hot

    async def time(self, course_id: str) -> tuple[int, int]:
        """Seconds since the epoch, and microseconds, by the clock of Redis. Raises RedisUnreachable, RedisError."""
        ((seconds, microseconds),) = await self._ask_partition(keys.partition_of(course_id), [replies.TIME])
        return int(seconds), int(microseconds)

    async def _ask_each(self, partition: int, commands: Sequence[Command]) -> Sequence[Reply]:
        """The replies of one transaction; an error in place of a key of the wrong type."""
        *_, answers = await self._ask_partition(partition, _transaction(commands))
        answered: Sequence[Reply] = answers
        return answered

    async def _ask_partitions(self, asked: Mapping[int, Sequence[Command]]) -> dict[int, Sequence[Reply]]:
        """The same for several partitions, all nodes at once."""
        nodes = await self._topology.by_node(asked, timeout=TIMEOUT_SECONDS)
        shares = [self._ask_together(node, {number: asked[number] for number in nodes[node]}) for node in nodes]
        return {number: answers for share in await asyncio.gather(*shares) for number, answers in share.items()}

    async def _ask_together(self, node: str, asked: Mapping[int, Sequence[Command]]) -> Mapping[int, Sequence[Reply]]:
        if len(asked) > 1:
            transactions = [_transaction(commands) for commands in asked.values()]
            try:
                answers = await self._ask(node, *itertools.chain.from_iterable(transactions))
            except (RedisUnreachable, ResponseError):
                pass  # each partition is then asked alone: its slot may have moved
            else:
                ends = itertools.accumulate(map(len, transactions))
                return {number: answers[end - 1] for number, end in zip(asked, ends, strict=True)}
        return {number: await self._ask_each(number, commands) for number, commands in asked.items()}

    async def _ask_partition(self, partition: int, commands: Sequence[Command]) -> list[Reply]:
        """Waits a little for keys that are migrating to another node."""
        for pause in PAUSES_SECONDS:
            try:
                return await self._ask_node(partition, commands)
            except ResponseError as error:
                if not is_elsewhere(error):
                    raise
                self._topology.mistrust(error)
            await asyncio.sleep(pause)
        return await self._ask_node(partition, commands)

    async def _ask_node(self, partition: int, commands: Sequence[Command]) -> list[Reply]:
        node = await self._topology.node_of(partition, timeout=TIMEOUT_SECONDS)
        try:
            return await self._ask(node, *commands)
        except RedisUnreachable:
            self._topology.mistrust()
            node_now = await self._topology.node_of(partition, timeout=TIMEOUT_SECONDS)
            if node_now == node:
                raise
            return await self._ask(node_now, *commands)

    async def ping(self) -> None:
        """Returns when Redis answers, in a cluster for every partition. Raises RedisUnreachable, CannotRun."""
        try:
            await self._probe.ask()
        except RedisUnreachable:
            await self._close_idle()  # their server may have become a replica, which lacks counts
            raise

    async def _close_idle(self) -> None:
        for connections in self._idle.values():
            while connections:
                await connections.pop().close()

    async def _ask(self, node: str, *commands: Command) -> list[Reply]:
        async with self._turns:
            connection = await self._fresh(node)
            if connection is not None:
                try:
                    return await self._over(connection, node, commands)
                except RedisUnreachable:
                    pass  # Reading twice does no harm.
            return await self._over(await RedisConnection.open(node, timeout=TIMEOUT_SECONDS), node, commands)

    async def _fresh(self, node: str) -> RedisConnection | None:
        """An idle connection to the node; closes those that are too old."""
        while self._idle[node]:
            connection = self._idle[node].pop()
            if connection.is_fresh:
                return connection
            await connection.close()
        return None

    async def _over(self, connection: RedisConnection, node: str, commands: Sequence[Command]) -> list[Reply]:
        try:
            return await connection.call(*commands, timeout=TIMEOUT_SECONDS)
        finally:
            if connection.is_open and not self._is_closed:
                self._idle[node].append(connection)
            else:
                await connection.close()


def _transaction(commands: Sequence[Command]) -> list[Command]:
    """The last reply is the list of all others."""
    return [("MULTI",), *commands, ("EXEC",)]

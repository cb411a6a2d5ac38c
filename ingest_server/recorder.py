"""Sends a commit to Redis: one script per partition; one write, over one connection, per node."""

import asyncio
import hashlib
import time
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Self

import structlog
from redis.exceptions import ResponseError

from ingest_server.commit import Commit, PartitionCommit
from ingest_server.reasons import SPOILT_KEY
from ingest_server.script_call import script_call
from shared.data.batch_id import batch_id
from shared.serving.errors import Overloaded, Unavailable
from shared.settings import Barrier
from shared.stores.probe import RedisProbe, counts_are_safe
from shared.stores.redis_connection import Command, RedisConnection, RedisUnreachable, Reply, error_code
from shared.stores.topology import ELSEWHERE, Topology, is_elsewhere, on_all

# A request waits for at most two commits, the one in flight and its own: with the catalog that stays below 2 s.
COMMIT_SECONDS = 0.8

# After so long, migrating keys have often arrived at the other node.
MOVING_SECONDS = 0.05

SCRIPT = resources.files(__package__).joinpath("record.lua").read_text()
SCRIPT_SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

# Redis answers, but cannot write now; another attempt may succeed.
PASSING = ELSEWHERE | {"READONLY", "LOADING", "MASTERDOWN", "NOREPLICAS", "MISCONF", "BUSY"}

log = structlog.get_logger()

# The outcome of a partition: None if all is counted, the reasons of the refused events by their position, or the error
# of all events.
Outcome = Exception | Mapping[int, str] | None
Outcomes = Mapping[int, Outcome]
Calls = dict[int, tuple[list[str], list[str | bytes | int]]]
Spoilt = dict[int, Mapping[int, str]]
Answers = dict[int, Reply | RedisUnreachable]


class Recorder:
    """Writes commits, one at a time. `process` is random at each start, so that its commit numbers are its own."""

    def __init__(self, url: str, barrier: Barrier, process: str, *, cluster: bool = False) -> None:
        self._topology = Topology(url, cluster=cluster)
        check = counts_are_safe(barrier, cluster=cluster, script_command="EVALSHA", timeout=COMMIT_SECONDS)
        self._probe = RedisProbe(self._topology, check, timeout=COMMIT_SECONDS)
        self._process = process
        self._commits = 0
        self._connections: dict[str, RedisConnection] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._probe.close()
        for connection in self._connections.values():
            await connection.close()

    async def probe(self) -> None:
        """Raises RedisUnreachable if a node does not answer, UnsuitableRedis if one may lose what it acknowledges."""
        await self._probe.ask()

    async def record(self, commit: Commit) -> Outcomes:
        """Counts the commit. Returns the outcome of each partition; raises nothing.

        If the reply of a partition is lost, or the partition has moved to another node, it is sent once more under the
        same commit number, which the script never counts twice: the number and the refused events are stored beside
        the counts, and move with them. Then it is given up: it may have been counted or not, and the callers get
        UNAVAILABLE. Courses with overwritten counters are left out, and the rest of their partition is counted.
        """
        self._commits += 1
        now = time.time()
        batch = batch_id(self._process, self._commits, now)

        def calls_of(partitions: Mapping[int, PartitionCommit]) -> Calls:
            return {
                number: script_call(
                    number,
                    partition,
                    process=self._process,
                    commit=self._commits,
                    batch=batch,
                    now=now,
                    watch_credit=commit.watch_credit,
                )
                for number, partition in partitions.items()
            }

        calls = calls_of(commit.partitions)
        give_up = time.monotonic() + COMMIT_SECONDS
        answers = await self._send(calls, give_up)
        sound, spoilt = _without_spoilt(commit.partitions, answers)
        if sound:
            calls |= calls_of(sound)
            answers |= await self._send({number: calls[number] for number in sound}, give_up)
        again = [number for number, answer in answers.items() if _may_pass(answer)]
        if again and time.monotonic() < give_up:
            await self._find_again([answers[number] for number in again])
            answers |= await self._send({number: calls[number] for number in again}, give_up)
        refusals = [answer for answer in answers.values() if isinstance(answer, Exception)]
        if refusals:
            await self._after(refusals)
        return {number: _with(spoilt.get(number), _outcome(answer)) for number, answer in answers.items()}

    async def _send(self, calls: Calls, give_up: float) -> Answers:
        """The reply for each partition, from all nodes at once."""
        try:
            nodes = await self._topology.by_node(calls, timeout=_left(give_up))
        except RedisUnreachable as error:
            return dict.fromkeys(calls, error)
        shares = [
            self._send_to(node, {number: calls[number] for number in numbers}, give_up)
            for node, numbers in nodes.items()
        ]
        if len(shares) == 1:  # without a cluster always
            return await shares[0]
        answers: Answers = {}
        for share in await on_all(shares):
            answers |= share
        return answers

    async def _send_to(self, node: str, calls: Calls, give_up: float) -> Answers:
        try:
            replies = await self._run(
                node, {n: _command("EVALSHA", SCRIPT_SHA, *call) for n, call in calls.items()}, give_up
            )
            unknown = [number for number, reply in replies.items() if error_code(reply) == "NOSCRIPT"]
            if unknown:
                replies |= await self._run(node, {n: _command("EVAL", SCRIPT, *calls[n]) for n in unknown}, give_up)
        except RedisUnreachable as error:
            return dict.fromkeys(calls, error)
        return replies

    async def _run(self, node: str, commands: Mapping[int, Command], give_up: float) -> Answers:
        connection = self._connections.get(node)
        if connection is None or not connection.is_fresh:
            if connection is not None:
                await connection.close()
            connection = await RedisConnection.open(node, timeout=_left(give_up))
            self._connections[node] = connection
        replies = await connection.call_each(*commands.values(), timeout=_left(give_up))
        return dict(zip(commands, replies, strict=True))

    async def _find_again(self, refusals: Iterable[Reply | RedisUnreachable]) -> None:
        codes = set()
        for refusal in refusals:
            self._topology.mistrust(refusal)
            codes.add(error_code(refusal))
        if codes & {"ASK", "TRYAGAIN"}:
            await asyncio.sleep(MOVING_SECONDS)

    async def _after(self, refusals: Iterable[Exception]) -> None:
        lost = {str(refusal) for refusal in refusals if isinstance(refusal, RedisUnreachable)}
        if lost:
            log.warning("commit given up", reason="; ".join(sorted(lost)))
        codes = {error_code(refusal) for refusal in refusals}
        if codes & ELSEWHERE:
            self._topology.mistrust()
        if codes & PASSING - ELSEWHERE:  # a name may resolve to another server by now, such as the new primary
            for connection in self._connections.values():
                await connection.close()


def _without_spoilt(
    partitions: Mapping[int, PartitionCommit], answers: Answers
) -> tuple[dict[int, PartitionCommit], Spoilt]:
    """The partitions that were refused because of some courses' keys, without those; and the errors of their events."""
    sound: dict[int, PartitionCommit] = {}
    spoilt: Spoilt = {}
    for number, answer in answers.items():
        if error_code(answer) != "WRONGTYPE":
            continue
        courses = {name.partition("}:")[2][:24] for name in str(answer).split() if name.startswith("course_counters:")}
        if courses:
            log.error("keys of another type in the place of counters", error=str(answer))
            sound[number], positions = partitions[number].split(courses)
            spoilt[number] = dict.fromkeys(positions, SPOILT_KEY)
    return sound, spoilt


def _with(spoilt: Mapping[int, str] | None, outcome: Outcome) -> Outcome:
    return outcome if spoilt is None or isinstance(outcome, Exception) else {**(outcome or {}), **spoilt}


def _may_pass(answer: Reply | RedisUnreachable) -> bool:
    return isinstance(answer, RedisUnreachable) or is_elsewhere(answer)


def _outcome(answer: Reply | RedisUnreachable) -> Outcome:
    if isinstance(answer, RedisUnreachable):
        return _away()
    if not isinstance(answer, ResponseError):
        return _refused(answer) if isinstance(answer, bytes) else None
    code = error_code(answer)
    if code == "OOM":
        return Overloaded("Redis is out of memory", cause="out_of_memory")
    if code in PASSING:
        return Unavailable(f"Redis cannot count now ({code})", cause="redis")
    log.error("record.lua failed", error=str(answer))
    return answer


def _refused(answer: bytes) -> Mapping[int, str]:
    pairs = (refused.partition(":") for refused in answer.decode().split())
    return {int(position): reason for position, _, reason in pairs}


def _away() -> Unavailable:
    # A new one for each commit: every raise makes an error's traceback grow, and it keeps the requests alive.
    return Unavailable("Redis is away; the request may or may not have been counted", cause="redis")


def _command(name: str, script: str, names: list[str], arguments: list[str | bytes | int]) -> Command:
    return (name, script, len(names), *names, *arguments)


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.001)

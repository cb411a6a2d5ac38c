"""The end of a wave in Redis: clears what MongoDB has, quarantines what it permanently rejects."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from prometheus_client import Counter as PrometheusCounter
from redis.exceptions import ResponseError

from flusher import metrics
from flusher.steps import aside, clear
from flusher.steps.apply import Outcome, Verdict
from flusher.steps.aside import Entry
from flusher.steps.lease import Lease
from flusher.steps.report import Report
from flusher.steps.take import Batch, Malformed, Nothing
from shared.data import keys
from shared.data.keys import RESURRECTED
from shared.stores.redis_connection import RedisConnection, Reply, pairs

CHANGED_HANDS = "changed hands meanwhile"
FENCED = "fenced: a newer flusher has been here"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Settlement:
    """Ends the flush of tallies on the wave's own connection, and reports their outcomes. Raises RedisUnreachable."""

    connection: RedisConnection
    lease: Lease
    report: Report

    async def settle(self, bulk: Sequence[Batch], outcomes: Sequence[Outcome]) -> list[Batch]:
        """Acts on the outcomes of a bulk write. Returns the batches that MongoDB has."""
        judged = list(zip(bulk, outcomes, strict=True))
        debug = log.debug  # a logger is bound at each look at it, which takes longer than to log nothing
        for batch, outcome in judged:
            debug("batch sent", batch=batch.id, tally=batch.name, verdict=outcome.verdict.value)
            if outcome.verdict is Verdict.FENCED:
                self.report.leave(batch.partition, [batch.name], FENCED)
            elif outcome.verdict is Verdict.LEFT:
                self.report.leave(batch.partition, [batch.name], outcome.reason or "MongoDB has not confirmed it")
        applied = [batch for batch, outcome in judged if outcome.verdict is Verdict.APPLIED]
        await self.clear(applied)
        await self.put_aside(
            [
                (batch, RESURRECTED if outcome.verdict is Verdict.RESURRECTED else outcome.reason)
                for batch, outcome in judged
                if outcome.verdict in (Verdict.REFUSED, Verdict.RESURRECTED)
            ]
        )
        return applied

    async def clear(self, done: Sequence[Batch | Nothing]) -> None:
        """Removes what is done from Redis."""
        parts = clear.together(done)
        with metrics.CLEAR.time():
            answers = await clear.send(self.connection, [clear.clearing(*part) for part in parts])
        for part, answer in zip(parts, answers, strict=True):
            replies = [answer] * len(part) if isinstance(answer, ResponseError) else answer
            for one, reply in zip(part, replies, strict=True):
                self._note_cleared(one, reply)

    def _note_cleared(self, one: Batch | Nothing, reply: Reply) -> None:
        if reply != 1:
            self.report.leave(one.partition, [one.name], _why_not(reply))
            return
        self.report.clear(one.partition, one.name, more=isinstance(one, Batch) and one.more)
        if isinstance(one, Batch):
            log.debug("batch cleared", batch=one.id, tally=one.name)

    async def put_aside(self, refused: Sequence[tuple[Batch | Malformed, str]]) -> None:
        """Puts batches into quarantine, each with its reason."""
        kept = await clear.send(
            self.connection,
            [("HGETALL", keys.quarantined_counters(batch.partition, batch.name)) for batch, _ in refused],
        )
        commands = [
            clear.quarantining(batch, _entry(batch, reason, flat), token=self.lease.token)
            for (batch, reason), flat in zip(refused, kept, strict=True)
        ]
        replies = await clear.send(self.connection, commands)
        for (batch, reason), reply in zip(refused, replies, strict=True):
            if reply != 1:
                self.report.leave(batch.partition, [batch.name], _why_not(reply))
                continue
            self.report.quarantine(batch.partition, batch.name)
            _quarantine_metric(batch, reason).inc()
            log.error("batch quarantined", tally=batch.name, batch=batch.id, reason=reason)


def _entry(batch: Batch | Malformed, reason: str, flat: Reply) -> Entry:
    fields = {} if isinstance(flat, ResponseError) else pairs(flat)
    kept = [aside.read(batch.partition, batch.name, name, text) for name, text in fields.items()]
    return aside.entry_for(batch, reason, kept, spare_id=f"{aside.UNNAMED}{secrets.token_hex(6)}")


def _quarantine_metric(batch: Batch | Malformed, reason: str) -> PrometheusCounter:
    if isinstance(batch, Malformed):
        return metrics.MALFORMED
    return metrics.RESURRECTED if reason == RESURRECTED else metrics.REFUSED


def _why_not(reply: Reply) -> str:
    return str(reply) if isinstance(reply, ResponseError) else CHANGED_HANDS

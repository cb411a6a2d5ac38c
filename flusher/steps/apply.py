"""Apply: adds batches to their documents with one bulk write, and finds out which of them the documents certainly have.

The atomic update that adds the counts of a batch also stores its id: a batch is added once, however often it is sent.
The epoch excludes a flusher that was paused until the document had forgotten the id of its batch.
"""

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import bson
import pymongo
import structlog
from bson.errors import InvalidBSON
from bson.raw_bson import RawBSONDocument
from pymongo import ReadPreference, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern

from flusher import metrics
from flusher.steps.shape import misshapen, number_of
from flusher.steps.take import Batch
from shared.data.tallies import Tally
from shared.metrics import MONGODB_ERRORS
from shared.stores.mongo import Document

BULK_COUNTERS = 20_000
# MongoDB's time for one update grows with the square of its counters: a larger one would never be acknowledged within
# APPLY_SECONDS. This is more than the largest tally has, because lectures are replaced.
MAX_COUNTERS = 30_000
APPLY_SECONDS = 4
VERIFY_SECONDS = 2

DUPLICATE_KEY = 11000
TOO_LARGE = 10334
NOT_VALID = 121
# BadValue, TypeMismatch, PathNotViable, ConflictingUpdateOperators, DocumentValidationFailure; and two codes for a
# document that is too large.
NEVER = frozenset({2, 14, 28, 40, NOT_VALID, TOO_LARGE, 17419})


log = structlog.get_logger()


class Verdict(enum.Enum):
    """What is known about a batch after it was sent."""

    APPLIED = "applied"  # its document has it, now or from an earlier attempt
    FENCED = "fenced"  # its document does not, and a newer flusher has written it: leave it alone
    LEFT = "left"  # unknown: send it again, under a new epoch
    REFUSED = "refused"  # MongoDB permanently rejects it
    RESURRECTED = "resurrected"  # Redis restarted with older data: the id is in the document, some counts may not be


class Outcome(NamedTuple):
    """A verdict, with MongoDB's message if it refused."""

    verdict: Verdict
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """How a bulk write ended: whether every reply arrived, and the refusals by position, as error code and text."""

    complete: bool
    errors: Mapping[int, tuple[int, str]]


def update_of(batch: Batch, epoch: int) -> UpdateOne:
    """The update that adds a batch, unless its document has it already, or has been written under a higher epoch.

    If the document exists but does not match, the upsert violates the unique index: a duplicate key, and no change.
    """
    tally = batch.tally
    users = {"uniqueActiveUsers": batch.unique_users} if tally.kind.users else {}
    return UpdateOne(
        {
            **tally.identity(),
            "recentBatches": {"$ne": batch.id},
            **not_newer(epoch),
        },
        {
            "$inc": tally.kind.increments(batch.counts),
            "$max": {"epoch": epoch, **users},
            "$push": {"recentBatches": {"$each": [batch.id], "$slice": -tally.kind.window}},
            "$currentDate": {"updatedAt": True},
            "$set": tally.repeated(),
        },
        upsert=True,
    )


@lru_cache(maxsize=8)  # one for all updates of a wave: creating it took a fifth of the time of an update
def not_newer(epoch: int) -> Document:
    """The filter that excludes flushers older than the document, and every flusher if its epoch is malformed."""
    return {
        "$or": [{"epoch": None}, {"epoch": {"$lte": epoch}}],
        "epoch": {"$not": {"$type": "array"}},  # otherwise one matching element would be enough
    }


def bulks(batches: Sequence[Batch], counters: int = BULK_COUNTERS) -> Iterator[list[Batch]]:
    """The batches in lists of at most so many counters, or of one batch, so that no bulk write takes long."""
    bulk: list[Batch] = []
    size = 0
    for batch in batches:
        if bulk and size + len(batch.counts) > counters:
            yield bulk
            bulk, size = [], 0
        bulk.append(batch)
        size += len(batch.counts)
    if bulk:
        yield bulk


async def apply(
    collection: AsyncCollection[Document], batches: Sequence[Batch], epoch: int, *, timeout: float
) -> list[Outcome]:
    """Adds the batches, all of one kind, to their documents within `timeout` seconds. Raises PyMongoError.

    Returns the outcomes in the order of the batches.

    Only a complete, undisturbed success is believed. A duplicate key proves nothing: it may be this batch, not yet on a
    majority, or a newer epoch, or another creator of the document. Batches are not sent to documents that counts
    cannot be added to.
    """
    with pymongo.timeout(min(timeout, VERIFY_SECONDS)):
        odd = await misshapen(collection, [batch.tally for batch in batches])
    kept = [batch for batch in batches if batch.name in odd]
    fit = [batch for batch in batches if batch.name not in odd]
    of_kept: Iterable[Outcome] = ()
    if kept:
        refusals = {number: (NOT_VALID, odd[batch.name]) for number, batch in enumerate(kept)}
        of_kept = await _judged(collection, kept, epoch, Sent(complete=True, errors=refusals))
    of_fit = await _apply(collection, fit, epoch, timeout=timeout) if fit else ()
    each_kept, each_fit = iter(of_kept), iter(of_fit)
    return [next(each_kept if batch.name in odd else each_fit) for batch in batches]


async def _apply(
    collection: AsyncCollection[Document], batches: Sequence[Batch], epoch: int, *, timeout: float
) -> list[Outcome]:
    if len(batches) == 1 and len(batches[0].counts) > MAX_COUNTERS:  # such a batch is alone: see `bulks`
        reason = f"the batch has more than {MAX_COUNTERS:,} counters, which MongoDB would not add in time"
        return await _judged(collection, batches, epoch, Sent(complete=True, errors={0: (TOO_LARGE, reason)}))
    try:
        with pymongo.timeout(min(timeout, APPLY_SECONDS)), metrics.APPLY.time():
            result = await collection.bulk_write([update_of(batch, epoch) for batch in batches], ordered=False)
    except BulkWriteError as error:
        failed = {item["index"]: (item["code"], item["errmsg"]) for item in error.details["writeErrors"]}
        sent = Sent(complete=not error.details["writeConcernErrors"], errors=failed)
    except PyMongoError as error:
        if isinstance(error, OperationFailure) and error.code == TOO_LARGE:
            # MongoDB refuses the whole command because of one update, and does not say which.
            if len(batches) > 1:
                return await _apply_halves(collection, batches, epoch, timeout=timeout)
            sent = Sent(complete=True, errors={0: (TOO_LARGE, "the update is larger than MongoDB takes")})
        else:
            MONGODB_ERRORS.inc()
            log.warning("bulk write not acknowledged", epoch=epoch, reason=str(error))
            sent = Sent(complete=False, errors={})
    else:
        if result.matched_count + result.upserted_count == len(batches):
            metrics.APPLIED.inc(len(batches))
            return [Outcome(Verdict.APPLIED)] * len(batches)
        sent = Sent(complete=False, errors={})
    return await _judged(collection, batches, epoch, sent)


async def _judged(
    collection: AsyncCollection[Document], batches: Sequence[Batch], epoch: int, sent: Sent
) -> list[Outcome]:
    """The outcomes, from what the documents have after the batches were sent."""
    refused = [batches[position] for position, (code, _) in sent.errors.items() if code in NEVER]
    if refused:
        await close(collection, refused, epoch)
    documents = await committed(collection, batches)
    outcomes = [
        outcome_of(batch, documents.get(batch.name, {}), epoch, sent, position)
        for position, batch in enumerate(batches)
    ]
    _count(outcomes, sent)
    return outcomes


def _count(outcomes: Sequence[Outcome], sent: Sent) -> None:
    """Counts the outcomes; quarantined batches are counted where they are put aside."""
    for position, outcome in enumerate(outcomes):
        if outcome.verdict is Verdict.APPLIED:
            code, _ = sent.errors.get(position, (0, ""))
            (metrics.ALREADY_APPLIED if code == DUPLICATE_KEY else metrics.APPLIED).inc()
        elif outcome.verdict is Verdict.FENCED:
            metrics.FENCED.inc()
        elif outcome.verdict is Verdict.LEFT:
            metrics.LEFT.inc()


async def _apply_halves(
    collection: AsyncCollection[Document], batches: Sequence[Batch], epoch: int, *, timeout: float
) -> list[Outcome]:
    middle = len(batches) // 2
    halves = (batches[:middle], batches[middle:])
    return [outcome for half in halves for outcome in await _apply(collection, half, epoch, timeout=timeout / 2)]


async def close(collection: AsyncCollection[Document], refused: Sequence[Batch], epoch: int) -> None:
    """Raises the epoch of the documents that refused a batch, so that no older update of it can arrive any more.

    One may be in flight, or a paused flusher may send it, after somebody has repaired the document: the batch would
    then be in the document and in quarantine, and count twice. If this is refused too, the batch is not put aside.
    """
    updates = []
    for batch in refused:
        document = batch.tally.identity()
        # $max would keep an epoch that is not a number, and it would exclude every flusher for good.
        updates.append(UpdateOne({**document, "epoch": {"$not": {"$type": "number"}}}, {"$set": {"epoch": epoch}}))
        updates.append(UpdateOne({**document, "epoch": {"$type": "array"}}, {"$set": {"epoch": epoch}}))
        updates.append(UpdateOne(document, {"$max": {"epoch": epoch}}, upsert=True))
    try:
        with pymongo.timeout(VERIFY_SECONDS):
            await collection.bulk_write(updates, ordered=True)
    except PyMongoError as error:
        MONGODB_ERRORS.inc()
        log.warning("documents not closed to older updates", epoch=epoch, reason=str(error))


async def committed(collection: AsyncCollection[Document], batches: Sequence[Batch]) -> dict[str, Document]:
    """What a majority of MongoDB's members has of the batches, by tally. Raises PyMongoError.

    A majority, because a write that only this primary has may be rolled back: the batch would be cleared and lost.
    """
    majority = collection.with_options(read_concern=ReadConcern("majority"), read_preference=ReadPreference.PRIMARY)
    with pymongo.timeout(VERIFY_SECONDS), metrics.VERIFY.time():
        return await documents_of(majority, [batch.tally for batch in batches], "recentBatches", "epoch")


async def documents_of(
    collection: AsyncCollection[Document], tallies: Sequence[Tally], *fields: str
) -> dict[str, Document]:
    """Some fields of the tallies' documents, by the tallies' names; the tallies are all of one kind."""
    if not tallies:
        return {}
    key = tallies[0].kind.key
    asked = {key: {"$in": [tally.identity()[key] for tally in tallies]}}
    fields_asked = {key: 1, **dict.fromkeys(fields, 1)}
    try:
        found = await collection.find(asked, fields_asked).to_list()
    except InvalidBSON:
        found = await _decodable(collection, asked, fields_asked)
    return {str(document[key]): document for document in found}


async def _decodable(
    collection: AsyncCollection[Document], asked: Document, fields_asked: Mapping[str, int]
) -> list[Document]:
    """The documents without those that somebody else has stored so that no driver can decode them."""
    options = collection.codec_options
    raw = collection.with_options(codec_options=options.with_options(document_class=RawBSONDocument))
    found = []
    async for document in raw.find(asked, fields_asked):
        with suppress(InvalidBSON):
            found.append(bson.decode(document.raw, options))
    return found


def outcome_of(batch: Batch, document: Document, epoch: int, sent: Sent, position: int) -> Outcome:
    """The outcome for the batch that was sent under `epoch`, from its document, {} if there is none."""
    code, text = sent.errors.get(position, (0, ""))
    written = number_of(document.get("epoch"))
    newer = written is not None and written > epoch
    remembered = document.get("recentBatches")
    if isinstance(remembered, list) and batch.id in remembered:
        # The batch was hot until now, and yet the document had its id before this write.
        resurrected = batch.fresh and code == DUPLICATE_KEY and sent.complete and not newer
        return Outcome(Verdict.RESURRECTED if resurrected else Verdict.APPLIED)
    if newer:
        return Outcome(Verdict.FENCED)
    if code in NEVER and written == epoch:  # the document is closed to every older update
        return Outcome(Verdict.REFUSED, text)
    return Outcome(Verdict.LEFT, text)

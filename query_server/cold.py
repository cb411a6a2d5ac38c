"""A course in MongoDB: its owner, its outline and its flushed counts, read in one aggregation."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar, cast

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.errors import InvalidBSON
from bson.raw_bson import RawBSONDocument
from pymongo import DESCENDING, ReadPreference
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase

from query_server import documents
from query_server.outline import Outline, outline_of, title_of
from shared.data.tallies import COURSE, DAY
from shared.expiring import ExpiringCache
from shared.serving.errors import InvalidRequest, NotFound, PermissionDenied
from shared.serving.validation import TOO_MANY_LECTURES
from shared.stores.mongo import COURSES, Document

OUTLINE_SECONDS = 60
CACHED_ENTRIES = 200_000  # courses and lectures together, ~200 bytes each
# Longer than any caller here waits: MongoDB need not finish a query whose caller has given up.
SERVER_LIMIT_MS = 2_000

# Whatever time or text is stored.
ANY_VALUE: CodecOptions[Document] = CodecOptions(
    datetime_conversion=DatetimeConversion.DATETIME_AUTO, tz_aware=True, unicode_decode_error_handler="replace"
)
RAW: CodecOptions[RawBSONDocument] = cast("Any", ANY_VALUE).with_options(document_class=RawBSONDocument)

LARGE_BYTES = 64 * 1024  # of a course with its outline: some hundred lectures, decoded in 2 ms
MANY_DOCUMENTS = 100
ALL_AT_ONCE = 10_000  # documents: MongoDB would send the first hundred, and wait for the next question

Answer = TypeVar("Answer")
Found = TypeVar("Found", Document, RawBSONDocument)
RawCollection = AsyncCollection[RawBSONDocument]
Ask = Callable[[AsyncCollection[Any]], Awaitable[list[Any]]]  # a question, whatever its documents are decoded to


class Documents(Mapping[str, Document]):
    """Tallies by name, each decoded on first access; the name of the course's own totals is its id."""

    def __init__(self, course_id: str, found: Iterable[RawBSONDocument]) -> None:
        self._raw = {_name_of(document) or course_id: document for document in found}
        self._decoded: dict[str, Document] = {}

    def __getitem__(self, name: str) -> Document:
        if name not in self._decoded:
            self._decoded[name] = readable(self._raw[name])
        return self._decoded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._raw)

    def __len__(self) -> int:
        return len(self._raw)

    def fingerprint(self, names: Iterable[str]) -> bytes:
        """Equal only for equal documents, missing ones included."""
        raw = self._raw
        together = b"".join([raw[name].raw if name in raw else name.encode() for name in names])
        return hashlib.blake2b(together).digest()


@dataclass(frozen=True, slots=True)
class Course:
    """A course in MongoDB at one moment; its outline may be up to a minute old."""

    course_id: str
    outline: Outline
    documents: Documents

    @property
    def analytics(self) -> Mapping[str, Any]:
        """The course's own totals."""
        return self.documents.get(self.course_id, {})


class Listed(NamedTuple):
    """A course in the list."""

    course_id: str
    title: str


class ColdStore:
    """The flushed counts, and the platform's own collections."""

    def __init__(self, database: AsyncDatabase[Document], now: Callable[[], float] = time.monotonic) -> None:
        self._courses = _raw(database, COURSES)
        self._listed = database.get_collection(COURSES, codec_options=ANY_VALUE)
        self._listed_days = database.get_collection(
            DAY.collection, codec_options=ANY_VALUE, read_preference=ReadPreference.PRIMARY
        )
        self._totals = database.get_collection(COURSE.collection, codec_options=ANY_VALUE)
        self._days = _raw(database, DAY.collection)
        self._primary_courses = self._courses.with_options(read_preference=ReadPreference.PRIMARY)
        self._now = now
        self._outlines: ExpiringCache[str, Outline] = ExpiringCache(CACHED_ENTRIES, now)

    async def read(self, course_id: str, user_id: str, tallies: Sequence[Document] = ()) -> Course:
        """The user's course with its totals, or with these tallies, which are stages of `documents`.

        Checks in this order and raises NotFound, PermissionDenied, InvalidRequest for a course that is too large; or
        PyMongoError.
        """
        return await self._read(self._courses, course_id, user_id, tallies)

    async def read_primary(self, course_id: str, user_id: str, tallies: Sequence[Document] = ()) -> Course:
        """The same from the primary, which has every count that a flush has cleared from Redis."""
        return await self._read(self._primary_courses, course_id, user_id, tallies)

    async def courses_of(self, user_id: str, after: str | None, number: int) -> list[Listed]:
        """The user's courses older than `after`, newest first. Raises PyMongoError."""

        async def asked(courses: AsyncCollection[Any]) -> list[Any]:
            return await courses.find(
                documents.created_by(user_id, after),
                {"title": 1},
                sort=[("_id", DESCENDING)],
                limit=number,
                max_time_ms=SERVER_LIMIT_MS,
            ).to_list()

        found = await _by_name(self._listed, asked)
        return [Listed(course_id, title_of(course.get("title"))) for course_id, course in found.items()]

    async def tallies_of(self, course_ids: Sequence[str], last_days: Sequence[str]) -> dict[str, Document]:
        """The totals of courses by id, and lecture views of days by name, without batches. Raises PyMongoError."""
        stages = documents.listed(course_ids, last_days)
        return await _by_name(self._totals, lambda totals: _asked(totals, stages))

    async def totals_of_primary(self, course_ids: Sequence[str]) -> dict[str, Document]:
        """The totals of courses from the primary, by id. Raises PyMongoError."""
        primary = self._totals.with_options(read_preference=ReadPreference.PRIMARY)
        return await _by_name(primary, lambda totals: _asked(totals, documents.totals_of(course_ids)))

    async def views_of_primary(self, names: Sequence[str]) -> dict[str, Document]:
        """The lecture views of days from the primary, by name, with their batches. Raises PyMongoError."""

        async def asked(days: AsyncCollection[Any]) -> list[Any]:
            fields = {"lectureViews": 1, "recentBatches": 1}
            return await days.find({"_id": {"$in": names}}, fields, max_time_ms=SERVER_LIMIT_MS).to_list()

        return await _by_name(self._listed_days, asked)

    async def days(self, course_id: str, first: str, last: str) -> Documents:
        """Days of a course with all their fields. Raises PyMongoError."""
        return await self._find_days(self._days, course_id, first, last)

    async def days_of_primary(self, course_id: str, first: str, last: str) -> Documents:
        """The same from the primary."""
        primary = self._days.with_options(read_preference=ReadPreference.PRIMARY)
        return await self._find_days(primary, course_id, first, last)

    async def _find_days(self, days: RawCollection, course_id: str, first: str, last: str) -> Documents:
        found = days.find(documents.between(course_id, first, last), max_time_ms=SERVER_LIMIT_MS)
        return Documents(course_id, await found.to_list())

    async def _read(self, courses: RawCollection, course_id: str, user_id: str, tallies: Sequence[Document]) -> Course:
        outline = self._outlines.get(course_id)
        course_stages = documents.owned(course_id, user_id, outline=outline is None)
        stages = [*course_stages, *(tallies or [documents.totals(course_id)])]
        found = await _asked(courses, stages)
        # The course comes first, if there is one; the documents united with it follow.
        is_large = bool(found) and len(found[0].raw) > LARGE_BYTES
        course = await _aside_if(is_large, decoded, found[0]) if found else {}
        if "mine" not in course:
            raise NotFound("there is no such course")
        if not course["mine"]:
            raise PermissionDenied("the course belongs to somebody else")
        if course.get("tooLarge"):
            raise InvalidRequest([TOO_MANY_LECTURES])
        if outline is None:
            parts = (course["sections"], course["sectionsFound"], course["lecturesFound"])
            outline = await _aside_if(is_large, outline_of, *parts)
            self._outlines.put(course_id, outline, until=self._now() + OUTLINE_SECONDS, weight=1 + len(outline))
        tallies_found = await _aside_if(len(found) > MANY_DOCUMENTS, Documents, course_id, found[1:])
        return Course(course_id, outline, tallies_found)


async def _by_name(collection: AsyncCollection[Document], ask: Ask) -> dict[str, Document]:
    """The answer's documents by `_id`.

    One by one only if the driver cannot decode them all: at once takes it a fourth of the time for many small ones.
    """
    try:
        return {str(document["_id"]): document for document in await ask(collection)}
    except InvalidBSON:
        raw = collection.with_options(codec_options=cast("Any", RAW))
        return {_name_of(document): readable(document) for document in await ask(raw)}


async def _asked(collection: AsyncCollection[Found], stages: Sequence[Document]) -> list[Found]:
    """The documents of an aggregation."""
    return await (await collection.aggregate(stages, batchSize=ALL_AT_ONCE, maxTimeMS=SERVER_LIMIT_MS)).to_list()


async def _aside_if(is_large: bool, work: Callable[..., Answer], *parts: object) -> Answer:  # noqa: FBT001 - each caller names the condition
    """Runs long work in another thread."""
    return await asyncio.to_thread(work, *parts) if is_large else work(*parts)


def _raw(database: AsyncDatabase[Document], collection: str) -> RawCollection:
    return cast("RawCollection", database.get_collection(collection, codec_options=cast("Any", RAW)))


def _name_of(document: RawBSONDocument) -> str:
    """Its `_id`, "" for none; a course's totals have none. Decoding all takes 10 to 60 times as long."""
    raw = bytes(document.raw)
    match raw[4:9]:
        case b"\x02_id\x00":  # a string
            length = int.from_bytes(raw[9:13], "little")
            return raw[13 : 12 + length].decode(errors="replace")
        case b"\x07_id\x00":  # an ObjectId
            return raw[9:21].hex()
    try:
        return str(document.get("_id", ""))  # decodes no subdocument
    except InvalidBSON:
        return ""


def readable(document: RawBSONDocument) -> Document:
    """All fields of the document; none if somebody stored it so that no driver can decode it."""
    try:
        return decoded(document)
    except InvalidBSON:
        return {}


def decoded(document: RawBSONDocument) -> Document:
    """All fields of the document. Raises InvalidBSON."""
    return bson.decode(document.raw, ANY_VALUE)

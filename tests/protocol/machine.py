"""The protocol on real stores: pings, flushers and readers in any order, and everything that may happen to them.

After every rule the dashboard shows what was acknowledged.
"""

import asyncio
import enum
import itertools
import operator
import random
from collections import Counter, defaultdict
from collections.abc import Coroutine
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from flusher.cycle import Flusher
from flusher.steps import plan, wave
from flusher.steps.due import dirty_tallies
from flusher.tools import quarantine
from ingest_server.commit import Commit
from ingest_server.events import CourseView, Event, Telemetry
from query_server.merge import counts_of
from shared.data.tallies import COURSE, COURSE_VIEWS, DAY, KINDS, Tally, day_tally, fields_of
from shared.stores.mongo import COURSE_ANALYTICS, Document
from tests.flusher.stage import LECTURE, Stage, courses_of
from tests.protocol.actors import Actor, Air, Fate
from tests.protocol.model import Bounds, Rules
from tests.protocol.reader import Reader

FLUSHERS = 3
READERS = 2
LOCK_SECONDS = 60.0
COURSES = [next(courses_of(7)), next(courses_of(8))]
DAYS = [day_tally(COURSES[0], "2026-11-24"), day_tally(COURSES[0], "2026-11-25")]
NUMBERS = itertools.count(1)

Answer = TypeVar("Answer")

courses = st.sampled_from(COURSES)
users = st.sampled_from([b"ann", b"bob"])
ids = st.none() | st.sampled_from(["a", "b"])
events: st.SearchStrategy[Event] = st.builds(CourseView, course_id=courses, user=users, event_id=ids) | st.builds(
    Telemetry,
    course_id=courses,
    user=users,
    event_id=ids,
    lecture_id=st.just(LECTURE),
    seconds=st.integers(1, 300),
    playback_id=ids,
)
# A flusher's steps, up to the middle of a wave or to its end; then it waits, or something happens to it.
steps = (st.integers(1, 4) | st.integers(4, 7) | st.integers(0, 12)).map(lambda number: [Fate.DONE] * number)
turns = st.builds(operator.add, steps, st.sampled_from([[], [], [], *([fate] for fate in Fate)]))
places = st.integers(0, 5)


class Locks(enum.Enum):
    """The locks of the others, when a flusher starts."""

    HELD = "held"
    OVER = "over, and their holders do not know"
    KNOWN_TO_BE_OVER = "over by their holders' clock too"


class Protocol(RuleBasedStateMachine):
    """Three flushers, two readers, and two courses in two partitions, one of them with two days."""

    def __init__(self, runner: asyncio.Runner, stage: Stage, air: Air) -> None:
        super().__init__()
        self._runner = runner
        self._stage = stage
        self._air = air
        self._clock = 0.0
        self._rules = Rules()
        self._bounds: defaultdict[str, Bounds] = defaultdict(Bounds)
        self._flushers: list[Actor] = []
        self._readers: list[Reader] = []
        self._dirty: set[str] = set()
        self._may_lose = True
        self._refuses = False
        self._do(self._empty())

    @initialize(remembered=st.sampled_from([1, 2]))
    def documents_remember_so_few_batches_that_it_matters(self, remembered: int) -> None:
        COURSE.window = DAY.window = remembered

    @rule(several=st.lists(events, min_size=1, max_size=4))
    def events_are_counted(self, several: list[Event]) -> None:
        for event in several:
            self._do(self._record(event))
            self._bounds[event.course_id].add(self._rules.gain(event))

    @rule(tally=st.sampled_from(DAYS), views=st.integers(1, 3))
    def a_day_of_a_course_is_counted(self, tally: Tally, views: int) -> None:
        self._do(self._stage.count(tally, {COURSE_VIEWS.field(): views}, b"ann", batch=f"day-{next(NUMBERS)}-0"))
        self._bounds[tally.name].add(Counter({COURSE_VIEWS.field(): views}))

    @precondition(lambda self: self._dirty and len(self._flushers) < FLUSHERS)
    @rule(shuffle=st.integers(0, 9), turns=turns, locks=st.sampled_from(Locks))
    def a_flusher_starts(self, shuffle: int, turns: list[Fate], locks: Locks) -> None:
        if locks is not Locks.HELD:
            self._do(self._stage.unlock())
        if locks is Locks.KNOWN_TO_BE_OVER:
            self._clock += LOCK_SECONDS
        flusher = Actor()
        self._flushers.append(flusher)
        self._do(self._start(flusher, random.Random(shuffle)))
        self._go_on(flusher, turns)

    @precondition(lambda self: self._flushers)
    @rule(place=places, turns=turns)
    def a_flusher_goes_on(self, place: int, turns: list[Fate]) -> None:
        self._go_on(self._flushers[place % len(self._flushers)], turns)

    @precondition(lambda self: self._flushers)
    @rule(course_id=courses, batches=st.integers(1, 3))
    def others_flush_so_many_batches(self, course_id: str, batches: int) -> None:
        for _ in range(batches):
            self.events_are_counted([CourseView(course_id=course_id, user=b"ann", event_id=None)])
            self._do(self._stage.unlock())
            self._do(self._stage.flush())

    @precondition(lambda self: self._air)
    @rule()
    def a_late_request_arrives(self) -> None:
        self._do(self._air.deliver())

    @precondition(lambda self: self._dirty and len(self._readers) < READERS)
    @rule(course_id=courses, redis_first=st.booleans())
    def a_reader_asks_one_store(self, course_id: str, redis_first: bool) -> None:
        reader = Reader(self._stage, course_id, self._bounds[course_id].least.copy(), redis_first=redis_first)
        self._readers.append(reader)
        self._do(reader.begin())

    @precondition(lambda self: self._readers)
    @rule(place=places)
    def a_reader_asks_the_other(self, place: int) -> None:
        reader = self._readers[place % len(self._readers)]
        self._do(reader.go_on(Fate.DONE))
        if reader.is_over:
            self._readers.remove(reader)
            if self._do(reader.is_in_time()):
                assert reader.least <= reader.result() <= self._bounds[reader.course_id].most

    @precondition(lambda self: self._flushers)
    @rule()
    def mongodb_refuses_more_views_or_is_mended(self) -> None:
        if self._refuses:
            self._do(self._mend())
            self._do(self._replay())
        else:
            self._do(self._refuse())

    @precondition(lambda self: self._may_lose)
    @rule()
    def redis_loses_everything(self) -> None:
        self._may_lose = False  # once is enough: afterwards only bounds are known
        self._do(self._wipe())

    @invariant()
    def the_dashboard_shows_what_was_acknowledged(self) -> None:
        for course_id, shown in self._do(self._stage.shown(*COURSES)).items():
            bounds = self._bounds[course_id]
            assert bounds.least <= Counter(shown) <= bounds.most, (course_id, shown, bounds)
            if not self._flushers and not self._air:  # whatever survived a loss has shown itself
                self._bounds[course_id] = Bounds(Counter(shown), Counter(shown))

    @invariant()
    def each_day_has_what_was_counted(self) -> None:
        for tally in DAYS:
            counted = self._do(self._counted(tally))
            bounds = self._bounds[tally.name]
            assert bounds.least <= counted <= bounds.most
            if not self._flushers and not self._air:
                self._bounds[tally.name] = Bounds(counted.copy(), counted.copy())

    @invariant()
    def what_is_not_flushed_is_dirty(self) -> None:
        self._dirty = self._do(self._stage.dirty())
        assert self._do(self._unflushed()) <= self._dirty

    @invariant()
    def a_document_remembers_a_bounded_number_of_batches(self) -> None:
        for batches in self._do(self._remembered()):
            assert len(batches) <= COURSE.window

    def teardown(self) -> None:
        for actor in (*self._flushers, *self._readers):
            self._do(actor.kill())
        if self._refuses:
            self._do(self._mend())

    def _do(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return self._runner.run(work)

    async def _empty(self) -> None:
        while self._air:
            await self._air.deliver()
        await self._stage.call("FLUSHDB")
        for kind in KINDS:
            await self._stage.database[kind.collection].delete_many({})
        for course_id in COURSES:
            await self._stage.list_course(course_id)

    async def _refuse(self) -> None:
        self._refuses = True
        most = max([views.get(COURSE_VIEWS.field(), 0) for views in (await self._stage.flushed(*COURSES)).values()])
        await self._validate({"$expr": {"$lte": ["$totalViews", most]}})

    async def _mend(self) -> None:
        self._refuses = False
        await self._validate({})

    async def _validate(self, validator: Document) -> None:
        await self._stage.database.command("collMod", COURSE_ANALYTICS, validator=validator)

    async def _replay(self) -> None:
        stores = self._stage.stores(lock_ttl=LOCK_SECONDS, now=lambda: self._clock)
        await quarantine.replay([self._stage.redis], Flusher(stores), asyncio.Event())

    async def _record(self, event: Event) -> None:
        commit = Commit()
        commit.add(event, asyncio.get_running_loop().create_future())
        assert {None} == set((await self._stage.recorder.record(commit)).values())

    async def _start(self, flusher: Actor, shuffle: random.Random) -> None:
        stores = self._stage.stores(lock_ttl=LOCK_SECONDS, now=lambda: self._clock)
        (all_courses,) = plan.waves((await dirty_tallies(self._stage.redis)).names, shuffle)
        await flusher.start(wave.run(stores, all_courses, asyncio.Event()))

    def _go_on(self, flusher: Actor, turns: list[Fate]) -> None:
        for fate in turns:
            if not flusher.is_over:
                self._do(flusher.go_on(fate))
        if flusher.is_over:
            self._flushers.remove(flusher)
            flusher.result()

    async def _wipe(self) -> None:
        """What is in MongoDB is safe. The rest is lost, unless a flusher holds it in its hands."""
        await self._stage.call("FLUSHDB")
        self._rules.forget()
        for course_id, flushed in (await self._stage.flushed(*COURSES)).items():
            self._bounds[course_id].least = Counter(flushed)
        for tally in DAYS:
            self._bounds[tally.name].least = await self._counted(tally)
        while self._readers:  # to a read across the loss nothing is promised
            await self._readers.pop().kill()

    async def _counted(self, tally: Tally) -> Counter[str]:
        """What both stores have of a tally: a batch in Redis counts unless its document has had it."""
        hot = (await self._stage.hot.read_tallies([tally]))[tally.name]
        return +Counter(fields_of(counts_of(tally.kind, hot, await self._stage.document_of(tally))))

    async def _remembered(self) -> list[list[str]]:
        return [document.get("recentBatches", []) async for document in self._stage.database[COURSE_ANALYTICS].find()]

    async def _unflushed(self) -> set[str]:
        names = [name.decode() for name in await self._stage.call("KEYS", "*_counters:*")]
        return {name.rpartition(":")[2] for name in names if not name.startswith("quarantined")}

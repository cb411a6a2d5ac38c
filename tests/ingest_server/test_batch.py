"""TrackBatch: each good event counts, each bad one is answered in the words of its own call, the rest concerns all."""

import asyncio
import time
from collections.abc import Iterator, Mapping

import pytest
from bson import ObjectId
from course_analytics.v1 import ingest_pb2
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st
from pymongo import MongoClient
from pymongo.database import Database

from ingest_server import batches, validation
from shared.identity.auth import Caller
from shared.serving.errors import InvalidRequest
from tests.ingest_server.backend import BACKEND, Events, Report, ping, report, report_alone, view
from tests.ingest_server.client import COURSE, FIRST, NONE, SECOND, Player, bearer, refusal, token
from tests.ingest_server.conftest import OTHER_COURSES
from tests.ingest_server.stored import Stored, partition, seconds, views

EXPIRED = bearer(token(exp=time.time() - 1))
NEITHER = ingest_pb2.Event()
BAD_EVENTS = {
    "no course id": view("x"),
    "no lecture id": ping(lecture="x"),
    "no watch time": ping(seconds=0),
    "an event id with a space": view(event="a b"),
    "an empty playback id": ping(playback=""),
    "an empty user": ping(user=""),
    "a user of 257 bytes": view(user="u" * 257),
    "everything": ping("", "", -1, event="", playback="", user=""),
    "an unknown course": view(NONE),
    "an unknown course of a lecture": ping(NONE),
    "an unknown lecture": ping(lecture=NONE),
}


async def test_course_views_and_telemetry_are_counted_together(player: Player, stored: Stored) -> None:
    assert Report(4, []) == await report(player, [view(), ping(seconds=4.6), view(), ping(lecture=SECOND, seconds=7)])
    assert {
        "course_views": 2,
        views(FIRST): 1,
        seconds(FIRST): 5,
        views(SECOND): 1,
        seconds(SECOND): 7,
    } == stored.counters()


async def test_a_thousand_events_are_counted(player: Player, stored: Stored) -> None:
    assert Report(1000, []) == await report(player, [view()] * 1000)
    assert {"course_views": 1000} == stored.counters()


async def test_events_of_several_courses_count_for_their_own(player: Player, stored: Stored) -> None:
    courses = [COURSE, *OTHER_COURSES]
    await report(player, [view(course) for number, course in enumerate(courses) for _ in range(number + 1)])
    assert [{"course_views": number + 1} for number in range(len(courses))] == [
        stored.counters(course) for course in courses
    ]


@pytest.mark.parametrize("bad", BAD_EVENTS.values(), ids=BAD_EVENTS)
async def test_the_reason_is_the_message_of_the_events_own_call(player: Player, bad: ingest_pb2.Event) -> None:
    alone = await refusal(report_alone(player, bad, BACKEND))
    assert Report(0, [(0, alone.message)]) == await report(player, [bad], BACKEND)


async def test_bad_events_are_answered_with_their_places_in_the_batch(player: Player) -> None:
    events = [view(NONE), view(), ping(seconds=0), ping(), NEITHER, ping(lecture=NONE)]
    accepted, rejected = await report(player, events)
    assert (2, [0, 2, 4, 5]) == (accepted, [index for index, _ in rejected])


async def test_good_events_beside_bad_ones_are_counted(player: Player, stored: Stored) -> None:
    await report(player, [view(), *BAD_EVENTS.values(), view()], BACKEND)
    assert {"course_views": 2} == stored.counters()


async def test_an_event_that_is_neither_is_rejected(player: Player) -> None:
    assert Report(1, [(1, "event: must be a courseView or a telemetry")]) == await report(player, [view(), NEITHER])


async def test_a_batch_without_a_good_event_is_answered_and_counts_nothing(player: Player, stored: Stored) -> None:
    accepted, rejected = await report(player, list(BAD_EVENTS.values()), BACKEND)
    assert (0, len(BAD_EVENTS)) == (accepted, len(rejected))
    assert stored.has_counted_nothing()


@pytest.mark.parametrize("number", [0, 1001])
async def test_too_few_or_too_many_events_are_refused(player: Player, stored: Stored, number: int) -> None:
    refused = await refusal(report(player, [view()] * number))
    assert (StatusCode.INVALID_ARGUMENT, ["events"]) == (refused.code, refused.bad_fields)
    assert [] == stored.keys()


class TestRepeats:
    async def test_within_a_batch_are_accepted_and_count_once(self, player: Player, stored: Stored) -> None:
        assert Report(4, []) == await report(player, [view(event="e"), ping(event="e")] * 2)
        assert {"course_views": 1, views(FIRST): 1, seconds(FIRST): 5} == stored.counters()

    async def test_of_another_batch_are_accepted_and_count_once(self, player: Player, stored: Stored) -> None:
        events = [view(event="e"), ping(event="e"), ping(event="f")]
        assert [Report(3, [])] * 2 == [await report(player, events), await report(player, events)]
        assert {"course_views": 1, views(FIRST): 2, seconds(FIRST): 10} == stored.counters()

    async def test_of_a_call_of_its_own_are_accepted_and_count_once(self, player: Player, stored: Stored) -> None:
        await player.view(event="e")
        assert Report(1, []) == await report(player, [view(event="e")])
        assert {"course_views": 1} == stored.counters()

    async def test_of_a_playback_are_one_view_and_all_its_seconds(self, player: Player, stored: Stored) -> None:
        await report(player, [ping(playback="p")] * 3)
        assert {views(FIRST): 1, seconds(FIRST): 15} == stored.counters()


class TestUsers:
    async def test_without_a_name_the_caller_is_counted(self, player: Player, stored: Stored) -> None:
        await report(player, [view(), ping()])
        await player.view()
        assert 1 == stored.users()

    async def test_a_backend_counts_the_users_it_names(self, player: Player, stored: Stored) -> None:
        await report(player, [view(user="bob"), ping(user="eve"), view(user="bob")], BACKEND)
        assert 2 == stored.users()

    async def test_a_named_user_is_who_calls_with_a_token_of_that_name(self, player: Player, stored: Stored) -> None:
        await report(player, [view(user="bob")], BACKEND)
        await player.view(metadata=bearer(token(sub="bob")))
        assert 1 == stored.users()

    async def test_a_backend_that_names_nobody_is_counted_itself(self, player: Player, stored: Stored) -> None:
        await report(player, [view(user="bob"), view()], BACKEND)
        assert 2 == stored.users()

    async def test_event_ids_of_two_named_users_are_two_events(self, player: Player, stored: Stored) -> None:
        await report(player, [view(user=user, event="e") for user in ("bob", "eve", "bob")], BACKEND)
        assert {"course_views": 2} == stored.counters()

    @pytest.mark.parametrize("event", [view(user="bob"), ping(user="bob")], ids=["view", "ping"])
    async def test_an_events_own_call_counts_the_user_it_names(
        self, player: Player, stored: Stored, event: ingest_pb2.Event
    ) -> None:
        await player.view(metadata=bearer(token(sub="bob")))
        assert "tracked" == await report_alone(player, event, BACKEND)
        assert 1 == stored.users()

    async def test_without_the_scope_a_name_refuses_the_whole_batch(self, player: Player, stored: Stored) -> None:
        refused = await refusal(report(player, [view(), ping(), view(user="bob")]))
        assert StatusCode.PERMISSION_DENIED == refused.code
        assert [] == stored.keys()

    @pytest.mark.parametrize("event", [view(user="bob"), ping(user="bob")], ids=["view", "ping"])
    async def test_without_the_scope_a_name_refuses_an_events_own_call(
        self, player: Player, stored: Stored, event: ingest_pb2.Event
    ) -> None:
        assert StatusCode.PERMISSION_DENIED == (await refusal(report_alone(player, event))).code
        assert [] == stored.keys()

    async def test_even_ones_own_name_needs_the_scope(self, player: Player) -> None:
        assert StatusCode.PERMISSION_DENIED == (await refusal(report(player, [view(user="ann")]))).code

    @pytest.mark.parametrize("scope", ["analytics:write", "openid analytics:write", " analytics:write  profile "])
    async def test_the_scope_may_stand_among_others(self, player: Player, scope: str) -> None:
        assert Report(1, []) == await report(player, [view(user="bob")], bearer(token(scope=scope)))

    @pytest.mark.parametrize(
        "scope", ["", "analytics:writer", "analytics:read,analytics:write", "ANALYTICS:WRITE", ["analytics:write"], 7]
    )
    async def test_another_scope_is_not_enough(self, player: Player, scope: object) -> None:
        refused = await refusal(report(player, [view(user="bob")], bearer(token(scope=scope))))
        assert StatusCode.PERMISSION_DENIED == refused.code


class TestTheOrderOfErrors:
    @pytest.mark.parametrize("events", [[], [view(user="bob")], [view()]], ids=["empty", "forbidden", "good"])
    async def test_a_bad_token_comes_first(self, player: Player, events: Events) -> None:
        assert StatusCode.UNAUTHENTICATED == (await refusal(report(player, events, EXPIRED))).code

    async def test_an_invalid_batch_is_refused_before_a_forbidden_user_id(self, player: Player) -> None:
        assert StatusCode.INVALID_ARGUMENT == (await refusal(report(player, [view(user="bob")] * 1001))).code

    async def test_a_forbidden_user_id_is_refused_before_invalid_events(self, player: Player) -> None:
        refused = await refusal(report(player, [view("x"), view(NONE), view("x", user="bob")]))
        assert StatusCode.PERMISSION_DENIED == refused.code

    async def test_in_a_call_of_its_own_bad_fields_come_before_the_user(self, player: Player) -> None:
        assert StatusCode.INVALID_ARGUMENT == (await refusal(report_alone(player, view("x", user="bob")))).code

    async def test_in_a_call_of_its_own_the_user_comes_before_an_unknown_course(self, player: Player) -> None:
        assert StatusCode.PERMISSION_DENIED == (await refusal(report_alone(player, view(NONE, user="bob")))).code


class TestTheCatalog:
    @pytest.fixture
    def platform(self, platform_url: str) -> Iterator[Database[Mapping[str, object]]]:
        """The platform's database, which notes what it is asked."""
        with MongoClient[Mapping[str, object]](platform_url) as client:
            database = client.get_default_database()
            database.command("profile", 2)
            yield database
            database.command("profile", 0)
            database.drop_collection("system.profile")

    async def test_many_unknown_courses_cost_one_request(
        self, player: Player, platform: Database[Mapping[str, object]]
    ) -> None:
        unknown = [str(ObjectId()) for _ in range(500)]
        answer = await report(player, [view(course) for course in unknown] * 2)
        told = [(index, f"there is no course {course}") for index, course in enumerate(unknown[:100])]
        assert (0, 1000, told) == (answer.accepted, len(answer.rejected), answer.rejected[:100])
        assert 1 == platform["system.profile"].count_documents({"command.aggregate": "courses"})


async def test_a_partition_that_fails_fails_the_call_and_not_the_others(player: Player, stored: Stored) -> None:
    await player.view()
    (commit,) = stored.redis.keys(f"commit:{{{partition()}}}:*")
    stored.redis.set(commit, "no number")
    refused = await refusal(report(player, [view(), *map(view, OTHER_COURSES)]))
    assert (StatusCode.INTERNAL, "internal error") == (refused.code, refused.message)
    assert [{"course_views": 1}] * len(OTHER_COURSES) == [stored.counters(course) for course in OTHER_COURSES]


events = st.lists(st.sampled_from([view(), ping(), NEITHER, view("x"), ping(seconds=-1), ping(event="")]), min_size=1)


def reason(event: ingest_pb2.Event) -> str | None:
    """Why this event is refused when it is alone; None when it is not."""
    try:
        validation.event(event, b"ann")
    except InvalidRequest as error:
        return str(error)
    return None


@given(events)
async def test_each_event_is_either_valid_or_refused_for_its_own_reason(events: list[ingest_pb2.Event]) -> None:
    batch = await batches.parse(events, Caller("ann", expires=0), str.encode)
    reasons = {rejected.index: rejected.reason for rejected in batch.rejected}
    assert [reason(event) for event in events] == [reasons.get(index) for index in range(len(events))]
    assert [index for index, event in enumerate(events) if reason(event) is None] == [index for index, _ in batch.valid]


async def test_other_calls_get_a_turn_between_two_slices_of_a_batch() -> None:
    events = [view()] * (2 * batches.SLICE + 1)
    judging = asyncio.create_task(batches.parse(events, Caller("ann", expires=0), str.encode))
    turns = 0
    while not judging.done():
        turns += 1
        await asyncio.sleep(0)
    assert 3 == turns

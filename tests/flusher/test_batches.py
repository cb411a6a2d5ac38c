"""What a flush makes of a taken hash, before any store is asked: pure."""

from dataclasses import replace
from typing import Any, cast

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import ResponseError

from flusher.steps.apply import NEVER, Outcome, Sent, Verdict, bulks, outcome_of, update_of
from flusher.steps.take import Batch, Malformed, Nothing, readable, taken_of
from shared.data.tallies import COURSE, COURSE_VIEWS, LECTURE_VIEWS, LECTURE_WATCH_TIME, course_tally, fields_of
from shared.stores.redis_connection import Reply
from tests.flusher.stage import course

NO_SUCH_KEY = ResponseError("no such key")
WRONG_TYPE = ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value")

lectures = st.text("0123456789abcdef", min_size=24, max_size=24)
fields = st.just(COURSE_VIEWS.field()) | st.builds(
    lambda counter, lecture: counter.field(lecture), st.sampled_from([LECTURE_VIEWS, LECTURE_WATCH_TIME]), lectures
)
counts = st.dictionaries(fields, st.integers(0, 2**53), min_size=1, max_size=8)
batches = st.builds(
    Batch,
    partition=st.integers(0, 255),
    tally=lectures.map(course_tally),
    id=st.text("0123456789abcdef-", min_size=1),
    counts=counts,
    unique_users=st.integers(0, 10**6),
    fresh=st.booleans(),
)


def hgetall(fields: dict[str, object]) -> list[bytes]:
    return [str(part).encode() for item in fields.items() for part in item]


def batch(*, fresh: bool = True) -> Batch:
    return Batch(7, course_tally(course(1)), "b1", {COURSE_VIEWS.field(): 3}, unique_users=2, fresh=fresh)


def sent_update(one: Batch) -> dict[str, Any]:
    return cast("dict[str, Any]", update_of(one, 5)._doc)


class TestWhatWasTaken:
    @given(counts, st.integers(0, 10**6))
    def test_every_count_of_the_hash_is_in_the_batch(self, counted: dict[str, int], users: int) -> None:
        taken = taken_of(7, course(1), 1, hgetall({"batch": "b1", **counted}), users)

        assert Batch(7, course_tally(course(1)), "b1", counted, users, fresh=True) == taken

    @given(st.dictionaries(fields | st.text(max_size=30), st.text(max_size=30)))
    def test_every_field_is_either_a_count_or_unreadable(self, found: dict[str, str]) -> None:
        counted, unreadable = readable(COURSE, found)

        assert set(found) == counted.keys() | unreadable.keys()
        assert not counted.keys() & unreadable.keys()

    @pytest.mark.parametrize(
        ("renamed", "fresh", "more"), [(1, True, False), (0, False, True), (NO_SUCH_KEY, False, False)]
    )
    def test_a_hash_is_fresh_when_it_was_renamed_and_there_is_more_when_it_was_in_the_way(
        self, renamed: Reply, fresh: bool, more: bool
    ) -> None:
        taken = taken_of(7, course(1), renamed, hgetall({"batch": "b1", "course_views": 3}), 2)

        assert replace(batch(), fresh=fresh, more=more) == taken

    def test_no_hash_is_nothing(self) -> None:
        assert Nothing(7, course(1)) == taken_of(7, course(1), NO_SUCH_KEY, [], 0)

    def test_a_hash_without_a_batch_id_is_malformed(self) -> None:
        taken = taken_of(7, course(1), 1, hgetall({"course_views": 3}), 2)

        assert Malformed(7, course(1), "", {"course_views": "3"}, "the hash names no batch", fresh=True) == taken

    def test_a_field_that_is_not_a_counter_is_named(self) -> None:
        taken = taken_of(7, course(1), 1, hgetall({"batch": "b1", "course_views": 3, "stars": 5}), 2)

        assert isinstance(taken, Malformed)
        assert "unreadable: stars" == taken.reason

    def test_a_count_that_mongodb_cannot_hold_is_unreadable(self) -> None:
        for text in (str(2**53 + 1), "-1", "1_0", "\u0663", "1.5", "many", ""):
            assert ({}, {"course_views": text}) == readable(COURSE, {"course_views": text})

    def test_a_name_that_no_tally_has_is_malformed(self) -> None:
        taken = taken_of(7, "a course", 1, hgetall({"batch": "b1", "course_views": 3}), 2)

        assert isinstance(taken, Malformed)
        assert "no tally has this name" == taken.reason

    def test_a_key_of_another_type_is_malformed(self) -> None:
        taken = taken_of(7, course(1), 0, WRONG_TYPE, 2)

        assert isinstance(taken, Malformed)
        assert str(WRONG_TYPE) == taken.reason

    def test_a_broken_hyperloglog_does_not_block_counts(self) -> None:
        taken = taken_of(
            7,
            course(1),
            1,
            hgetall({"batch": "b1", "course_views": 3}),
            ResponseError("INVALIDOBJ Corrupted HLL object detected"),
        )

        assert Batch(7, course_tally(course(1)), "b1", {"course_views": 3}, unique_users=0, fresh=True) == taken


class TestBulks:
    @given(st.lists(batches), st.integers(1, 20))
    def test_every_batch_is_sent_once_and_in_order(self, taken: list[Batch], size: int) -> None:
        assert taken == [one for bulk in bulks(taken, size) for one in bulk]

    @given(st.lists(batches), st.integers(1, 20))
    def test_a_bulk_write_has_a_bounded_number_of_counters_or_one_batch(self, taken: list[Batch], size: int) -> None:
        for bulk in bulks(taken, size):
            assert bulk
            assert len(bulk) == 1 or sum(len(one.counts) for one in bulk) <= size


class TestUpdate:
    @given(batches)
    def test_the_update_adds_each_count_where_the_dashboard_reads_it(self, one: Batch) -> None:
        document: dict[str, Any] = {}
        for path, count in sent_update(one)["$inc"].items():
            *parents, leaf = path.split(".")
            place = document
            for parent in parents:
                place = place.setdefault(parent, {})
            place[leaf] = count

        read = fields_of(COURSE.counts_of(document))
        assert one.counts == {field: count for field, count in read.items() if field in one.counts}
        assert {0} >= {count for field, count in read.items() if field not in one.counts}

    def test_the_update_matches_only_without_the_batch_and_without_a_newer_epoch(self) -> None:
        expected = {
            "courseId": ObjectId(course(1)),
            "recentBatches": {"$ne": "b1"},
            "$or": [{"epoch": None}, {"epoch": {"$lte": 5}}],
            "epoch": {"$not": {"$type": "array"}},
        }

        assert expected == update_of(batch(), 5)._filter

    def test_the_id_is_stored_by_the_update_that_adds_the_counts(self) -> None:
        update = sent_update(batch())

        assert {"$each": ["b1"], "$slice": -32} == update["$push"]["recentBatches"]
        assert {"epoch": 5, "uniqueActiveUsers": 2} == update["$max"]


def outcome(document: dict[str, Any], code: int = 0, *, fresh: bool = True, complete: bool = True) -> Verdict:
    errors = {0: (code, "MongoDB's words")} if code else {}
    return outcome_of(batch(fresh=fresh), document, 5, Sent(complete, errors), 0).verdict


HAS_IT = {"recentBatches": ["b0", "b1"], "epoch": 5}
NEWER_HAS_IT = {"recentBatches": ["b1", "b2"], "epoch": 6}
NEWER = {"recentBatches": ["b2"], "epoch": 6}
CLOSED = {"recentBatches": ["b0"], "epoch": 5}
OLDER = {"recentBatches": ["b0"], "epoch": 4}
DUPLICATE = 11000

epochs = st.integers(0, 10)
known_batches = st.lists(st.sampled_from(["b0", "b1", "b2"]), unique=True)
documents: st.SearchStrategy[dict[str, Any]] = st.just({}) | st.fixed_dictionaries(
    {"recentBatches": known_batches, "epoch": epochs}
)
codes = st.sampled_from([0, DUPLICATE, 112, *sorted(NEVER)])


class TestOutcome:
    def test_a_batch_that_a_majority_has_is_applied(self) -> None:
        assert Verdict.APPLIED == outcome(HAS_IT)
        assert Verdict.APPLIED == outcome(HAS_IT, complete=False)
        assert Verdict.APPLIED == outcome(NEWER_HAS_IT, DUPLICATE)

    def test_a_leftover_that_was_there_before_is_applied(self) -> None:
        assert Verdict.APPLIED == outcome(HAS_IT, DUPLICATE, fresh=False)

    def test_a_fresh_batch_that_was_there_before_is_resurrected(self) -> None:
        assert Verdict.RESURRECTED == outcome(HAS_IT, DUPLICATE)

    def test_a_fresh_batch_is_not_resurrected_when_a_reply_is_missing(self) -> None:
        assert Verdict.APPLIED == outcome(HAS_IT, DUPLICATE, complete=False)

    def test_a_batch_that_the_document_of_a_newer_flusher_lacks_is_fenced(self) -> None:
        for code in (0, DUPLICATE, *NEVER):
            assert Verdict.FENCED == outcome(NEWER, code)

    def test_what_mongodb_refuses_for_good_is_refused_with_its_words_once_older_updates_are_shut_out(self) -> None:
        for code in NEVER:
            sent = Sent(complete=True, errors={0: (code, "MongoDB's words")})
            assert Outcome(Verdict.REFUSED, "MongoDB's words") == outcome_of(batch(), CLOSED, 5, sent, 0)
            assert Outcome(Verdict.LEFT, "MongoDB's words") == outcome_of(batch(), OLDER, 5, sent, 0)

    def test_everything_else_stays(self) -> None:
        for code in (0, DUPLICATE, 112):
            for document in ({}, OLDER):
                assert Verdict.LEFT == outcome(document, code)

    @given(documents, codes, st.booleans(), st.booleans())
    def test_a_duplicate_key_is_never_read_as_applied(
        self, document: dict[str, Any], code: int, fresh: bool, complete: bool
    ) -> None:
        has_it = "b1" in document.get("recentBatches", ())

        verdict = outcome(document, code, fresh=fresh, complete=complete)

        assert has_it == (verdict in (Verdict.APPLIED, Verdict.RESURRECTED))

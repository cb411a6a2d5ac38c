"""Every count once: over all documents, batches and sets of applied batches."""

from collections import Counter
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from query_server.merge import Batch, Hot, is_consistent, totals_of
from shared.data.tallies import COURSE, fields_of

LECTURES = ("a" * 24, "b" * 24)
FIELDS = ("course_views", *(f"{name}:{key}" for name in ("lecture_views", "lecture_watchtime") for key in LECTURES))

counts = st.dictionaries(st.sampled_from(FIELDS), st.integers(0, 2**40))
batches = st.dictionaries(st.sampled_from("ABCDE"), counts).map(
    lambda by_id: [Batch(batch_id, fields) for batch_id, fields in by_id.items()]
)


def hot(batches: list[Batch], flushed_batch: str | None = None, users: int = 0) -> Hot:
    return Hot(batches, flushed_batch, users, seconds=0, microseconds=0)


def document(fields: Mapping[str, int], applied: list[str]) -> dict[str, object]:
    """What the flusher would have stored of these counts."""
    root: dict[str, object] = {"recentBatches": applied}
    for field, count in fields.items():
        *parents, leaf = next(iter(COURSE.increments({field: 1}))).split(".")
        place = root
        for parent in parents:
            place = place.setdefault(parent, {})  # type: ignore[assignment] # a path ends in a number
        place[leaf] = count
    return root


def total(batches: list[Batch], document: dict[str, object]) -> Counter[str]:
    """What is shown, by field; fields at zero are as good as absent."""
    return +Counter(fields_of(totals_of(hot(batches), document).counts))


@given(counts, batches)
def test_counts_in_redis_are_added_to_those_in_the_document(cold: dict[str, int], batches: list[Batch]) -> None:
    expected = sum((Counter(batch.counts) for batch in batches), Counter(cold))
    assert +expected == total(batches, document(cold, []))


@given(counts, batches, st.sets(st.sampled_from("ABCDE")))
def test_a_batch_that_the_document_has_is_never_counted_again(
    cold: dict[str, int], batches: list[Batch], applied: set[str]
) -> None:
    missing = [batch for batch in batches if batch.id not in applied]
    expected = totals_of(hot(missing), document(cold, []))
    assert expected == totals_of(hot(batches), document(cold, sorted(applied)))


@given(counts, batches, st.data())
def test_a_flush_changes_no_total(cold: dict[str, int], batches: list[Batch], data: st.DataObject) -> None:
    moved = data.draw(st.sampled_from([*batches, Batch("F", {})]))
    after = document(Counter(cold) + Counter(moved.counts), [moved.id])
    expected = total(batches, document(cold, []))
    assert expected == total(batches, after)
    cleared = [batch for batch in batches if batch.id != moved.id]
    assert expected == total(cleared, after)


@given(st.integers(0, 2**40), st.integers(0, 2**40))
def test_users_are_the_larger_of_the_two_estimates(live: int, saved: int) -> None:
    assert max(live, saved) == totals_of(hot([], users=live), {"uniqueActiveUsers": saved}).users


def test_a_course_without_a_document_is_consistent_until_something_of_it_was_flushed() -> None:
    assert is_consistent(hot([]), {})
    assert not is_consistent(hot([], flushed_batch="A"), {})


def test_a_document_is_consistent_with_redis_once_it_has_the_batch_that_left_last() -> None:
    assert not is_consistent(hot([], flushed_batch="B"), {"recentBatches": ["A"]})
    assert is_consistent(hot([], flushed_batch="B"), {"recentBatches": ["A", "B"]})

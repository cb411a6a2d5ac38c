"""How an audit is divided, so that a large store does not fill the memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse import audit

ROWS, COURSES = 10, 3


@given(st.dictionaries(st.text("0123456789abcdef", min_size=1), st.integers(0, 15), max_size=20))
def test_every_course_is_in_one_part_which_is_small_unless_one_course_alone_is_large(rows: dict[str, int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit, "ROWS", ROWS)
        patch.setattr(audit, "COURSES", COURSES)
        parts = list(audit.parts(rows))

    assert list(rows) == [course_id for part in parts for course_id in part]
    for part in parts:
        assert 1 <= len(part) <= COURSES
        assert len(part) == 1 or sum(rows[course_id] for course_id in part) <= ROWS

"""The form of ids: exactly an ObjectId in lower case, for anything else may end up in a key."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.serving.errors import Violation
from shared.serving.validation import check_object_id

GOOD = "65000000000000000000001f"


def test_24_lower_case_hexadecimal_digits_are_an_id() -> None:
    assert check_object_id("courseId", GOOD) is None


@pytest.mark.parametrize(
    "value", ["", GOOD[:-1], GOOD + "0", GOOD.upper(), GOOD + "\n", GOOD[:-1] + "{", "\uff11" * 24]
)
def test_anything_else_is_a_violation_of_the_field(value: str) -> None:
    assert Violation("courseId", "must be 24 lower-case hexadecimal digits") == check_object_id("courseId", value)


@given(st.text())
def test_what_passes_is_only_made_of_the_digits(value: str) -> None:
    assert (len(value) == 24 and set(value) <= set("0123456789abcdef")) == (check_object_id("courseId", value) is None)

"""How work is divided, so that a large store fills neither the memory nor a request."""

from hypothesis import given
from hypothesis import strategies as st

from shared.data.parts import parts

TOTAL, NAMES = 10, 3


@given(st.dictionaries(st.text("0123456789abcdef", min_size=1), st.integers(0, 15), max_size=20))
def test_every_name_is_in_one_part_which_is_small_unless_one_name_alone_is_large(sizes: dict[str, int]) -> None:
    divided = list(parts(sizes, names=NAMES, total=TOTAL))

    assert list(sizes) == [name for part in divided for name in part]
    for part in divided:
        assert 1 <= len(part) <= NAMES
        assert len(part) == 1 or sum(sizes[name] for name in part) <= TOTAL

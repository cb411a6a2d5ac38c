"""Blocks of days, which are kept. Pure."""

from query_server.stretches import BLOCK_DAYS, in_blocks
from shared.data.days import every_day

YEAR = every_day("2026-01-01", "2026-12-31")


def test_blocks_are_cut_at_the_same_days_whatever_the_range() -> None:
    kept = set(in_blocks(YEAR))
    for first in range(2 * BLOCK_DAYS):
        cut = list(in_blocks(YEAR[first:]))
        assert YEAR[first:] == [day for block in cut for day in block]
        assert kept.issuperset(cut[1:])


def test_days_of_one_block_are_not_cut() -> None:
    sizes = {len(block) for first in range(BLOCK_DAYS) for block in in_blocks(YEAR[first : first + 1])}
    assert ({1}, BLOCK_DAYS) == (sizes, max(map(len, in_blocks(YEAR))))
    assert [] == list(in_blocks([]))

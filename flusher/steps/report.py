"""The outcomes of the tallies of a wave, or of several waves: exactly one each."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from flusher.steps import plan
from shared.data import keys


@dataclass(slots=True)
class Report:
    """How many tallies were cleared, quarantined, and left for which reason.

    `waiting` are the tallies without an outcome yet, as partition and name. `more` are tallies for another wave, by
    partition: those with newer counts than the batch of an earlier flush that this wave sent, and those for which it
    had no room. `flushed` are the partitions with cleared tallies. `oldest` is the age in seconds of the oldest batch
    found, None if Redis did not answer. `aside` are the keys of the quarantined batches.
    """

    cleared: int = 0
    quarantined: int = 0
    left: Counter[str] = field(default_factory=Counter)
    more: defaultdict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    flushed: set[int] = field(default_factory=set)
    store_away: bool = False
    oldest: float | None = None
    aside: set[str] = field(default_factory=set)
    waiting: set[tuple[int, str]] = field(default_factory=set)

    @classmethod
    def of(cls, wave: plan.Wave) -> Self:
        """The report of a wave that begins."""
        return cls(waiting={(share.partition, name) for share in wave for name in share.names})

    def clear(self, partition: int, name: str, *, more: bool = False) -> None:
        """The tally is cleared; with `more` it has newer counts."""
        self._settle(partition, name)
        self.cleared += 1
        self.flushed.add(partition)
        if more:
            self.more[partition].append(name)

    def quarantine(self, partition: int, name: str) -> None:
        """The tally's batch is quarantined."""
        self._settle(partition, name)
        self.quarantined += 1
        self.aside.add(keys.quarantined_counters(partition, name))

    def leave(self, partition: int, names: Iterable[str], reason: str) -> None:
        """The tallies stay as they are."""
        for name in names:
            self._settle(partition, name)
            self.left[reason] += 1

    def postpone(self, partition: int, names: Iterable[str]) -> None:
        """The tallies are for another wave."""
        for name in names:
            self._settle(partition, name)
            self.more[partition].append(name)

    def waiting_of(self, partition: int) -> list[str]:
        """The tallies of a partition without an outcome yet."""
        return [name for number, name in self.waiting if number == partition]

    def leave_the_rest(self, reason: str) -> int:
        """Leaves all tallies without an outcome as they are. Returns how many these are."""
        rest = len(self.waiting)
        if rest:
            self.left[reason] += rest
            self.waiting.clear()
        return rest

    def add(self, other: "Report") -> None:
        """Adds the outcomes of another wave that has ended."""
        self.cleared += other.cleared
        self.quarantined += other.quarantined
        self.left += other.left
        for partition, names in other.more.items():
            self.more[partition] += names
        self.flushed |= other.flushed
        self.aside |= other.aside
        self.store_away |= other.store_away
        if other.oldest is not None:
            self.oldest = max(self.oldest or 0.0, other.oldest)

    def _settle(self, partition: int, name: str) -> None:
        self.waiting.remove((partition, name))

"""Which tallies are flushed together. Pure."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

WAVE_TALLIES = 1_000
# The number of waves in flight. Two keep both stores busy; the others fill the gaps in which both wait for a disk.
LANES = 4

# The tallies' names by partition.
Names = Mapping[int, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Share:
    """Tallies of one partition, by name: what a wave flushes under that partition's lock."""

    partition: int
    names: Sequence[str]


Wave = list[Share]


def lanes(dirty: Names, size: int = WAVE_TALLIES, most: int = LANES) -> list[Names]:
    """The partitions in as many lanes as have full waves to flush, at most so many, with about equally many tallies.

    Lanes are flushed concurrently. Each partition is in one lane, so no wave meets a lock of another.
    """
    count = min(most, -(-sum(map(len, dirty.values())) // size))
    dealt: list[dict[int, Sequence[str]]] = [{} for _ in range(count)]
    loads = [0] * count
    for partition in sorted(dirty, key=lambda number: len(dirty[number]), reverse=True):
        if dirty[partition]:
            lightest = loads.index(min(loads))
            dealt[lightest][partition] = dirty[partition]
            loads[lightest] += len(dirty[partition])
    return list(dealt)


def waves(dirty: Names, shuffle: random.Random, size: int = WAVE_TALLIES) -> Iterator[Wave]:
    """Every tally once, in waves of at most `size` tallies.

    The partitions are in random order, so that flushers that start together rarely meet each other's locks.
    """
    partitions = [partition for partition, names in dirty.items() if names]
    shuffle.shuffle(partitions)
    wave: Wave = []
    room = size
    for partition in partitions:
        names = dirty[partition]
        while names:
            wave.append(Share(partition, names[:room]))
            names = names[room:]
            room -= len(wave[-1].names)
            if not room:
                yield wave
                wave, room = [], size
    if wave:
        yield wave

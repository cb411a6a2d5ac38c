"""Which courses are flushed together. Pure."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

WAVE_COURSES = 1_000


@dataclass(frozen=True, slots=True)
class Share:
    """Some dirty courses of one partition: what a wave does under that partition's lock."""

    partition: int
    courses: Sequence[str]


Wave = list[Share]


def waves(dirty: Mapping[int, Sequence[str]], shuffle: random.Random, size: int = WAVE_COURSES) -> Iterator[Wave]:
    """Every dirty course once, in waves of at most `size` courses.

    The partitions come in random order, so that flushers who start together meet each other's locks as little as
    possible.
    """
    partitions = [partition for partition, courses in dirty.items() if courses]
    shuffle.shuffle(partitions)
    wave: Wave = []
    room = size
    for partition in partitions:
        courses = dirty[partition]
        while courses:
            wave.append(Share(partition, courses[:room]))
            courses = courses[room:]
            room -= len(wave[-1].courses)
            if not room:
                yield wave
                wave, room = [], size
    if wave:
        yield wave


def parts(sizes: Mapping[str, int], *, courses: int, counters: int) -> Iterator[list[str]]:
    """The courses in lists of at most so many, and of at most so many counters together unless one alone has more.

    `sizes` says how many counters each course has.
    """
    part: list[str] = []
    total = 0
    for course_id, size in sizes.items():
        if part and (len(part) == courses or total + size > counters):
            yield part
            part, total = [], 0
        part.append(course_id)
        total += size
    if part:
        yield part

"""What `record.lua` is called with: everything that the commit holds, and as much of each as it announces."""

import base64
import hashlib
import re
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple, cast

from hypothesis import given
from hypothesis import strategies as st

from ingest_server.commit import CourseCommit, Guarded, PartitionCommit
from ingest_server.events import CourseView, Event, Played, Segment, Telemetry
from ingest_server.script_call import Argument, script_call
from shared.data import keys
from tests.ingest_server.test_commit import COURSES, LECTURES, commit_of, ids, pings, users, views

# In window 289 of event ids, and 6 of playback ids, of which there are two a day.
NOW = 3 * 86_400 + 901.5

segments = st.builds(Segment, st.integers(0, 4319), st.integers(1, 100), st.booleans())
played = st.builds(Played, st.lists(segments, max_size=3), st.none() | st.integers(1, 43_200))
playing = st.builds(
    Telemetry, st.sampled_from(COURSES), users, ids, st.sampled_from(LECTURES), st.integers(0, 300), ids, played
)
events = st.lists(views | pings | playing, max_size=12)


class Call(NamedTuple):
    keys: list[str]
    arguments: list[Argument]


def call(number: int, partition: PartitionCommit) -> Call:
    return Call(*script_call(number, partition, process="p", commit=7, batch="p-7-0", now=NOW))


class Packed:
    """Reads numbers one after the other."""

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._at = 0

    def __bool__(self) -> bool:
        return self._at < len(self._text)

    def next(self, form: str) -> list[int]:
        found = struct.unpack_from(f"<{form}", self._text, self._at)
        self._at += struct.calcsize(f"<{form}")
        return list(found)


class Reader:
    """Reads a call as the script does, with so many keys of guarded events."""

    def __init__(self, call: Call, guarded_keys: int) -> None:
        self.keys = iter(call.keys[: len(call.keys) - guarded_keys])
        self.guarded_keys = iter(call.keys[len(call.keys) - guarded_keys :])
        self.arguments = iter(call.arguments)
        self.guarding = False
        self.ids: dict[str, Iterator[bytes]] = {}

    def take(self, number: int) -> list[Argument]:
        return [next(self.arguments) for _ in range(number)]

    def number(self) -> int:
        return int(next(self.arguments))

    def text(self) -> bytes:
        text = next(self.arguments)
        assert isinstance(text, bytes)
        return text

    def sums(self, fields: int) -> dict[Argument, Argument]:
        return {next(self.arguments): next(self.arguments) for _ in range(fields)}

    def parts(self, length: int) -> list[bytes]:
        text = self.text()
        return [text[at : at + length] for at in range(0, len(text), length)]

    def guarded(self, everybody: Sequence[Argument]) -> Iterator[tuple[Guarded, int]]:
        """Guarded events, and which lecture's segments each has, 0 for none."""
        lectures = [None, *re.findall(".{24}", str(next(self.arguments)))]
        packed = Packed(self.text())
        while packed:
            user, position, lecture, seconds, has = packed.next("HHHHB")
            found = Guarded(cast("bytes", everybody[user - 1]), position, None, lectures[lecture], seconds)
            if has & 1:
                found.event = next(self.ids["t" if lecture else "v"])
            if has & 2:
                found.playback, found.bitmap_key = next(self.ids["p"]), next(self.guarded_keys)
            tally = 0
            if has & 4:
                tally, duration, count = packed.next("HHH")
                cut = [packed.next("HH") for _ in range(count)]
                segments = [Segment(number % 32_768, tenths, number >= 32_768) for number, tenths in cut]
                found.played = Played(segments, duration or None)
            yield found, tally


def read_course(reader: Reader, number: int, sent: CourseCommit) -> None:
    course_id, day = sent.course_id, f"{sent.course_id}/{sent.day.name}"
    assert [course_id, day, sent.day.users_expire] == reader.take(3)
    assert [
        f"{kind}:{{{number}}}:{tally}" for tally in (course_id, day) for kind in ("course_counters", "course_users")
    ] == [next(reader.keys) for _ in range(4)]
    fields, certain, people, lectures = (reader.number() for _ in range(4))
    assert sent.sums == reader.sums(fields)
    everybody = reader.take(people)
    assert sent.users == set(everybody[:certain])
    assert {one.user for one in sent.guarded} | sent.users == set(everybody)
    tallies = []
    for lecture_id, sums in sent.segments.items():
        tallies.append(lecture_id)
        assert f"{course_id}/{lecture_id}" == next(reader.arguments)
        assert f"course_counters:{{{number}}}:{course_id}/{lecture_id}" == next(reader.keys)
        assert sums == reader.sums(reader.number())
    assert len(tallies) == lectures
    if not reader.guarding:
        return
    accounts = [hashlib.blake2b(user, digest_size=16).digest() for user in everybody]  # type: ignore[arg-type] # a user is bytes
    assert (accounts if sent.guarded else []) == reader.parts(16)
    found = list(reader.guarded(everybody))
    assert sent.guarded == [one for one, _ in found]
    assert all(one.lecture_id == tallies[tally - 1] for one, tally in found if tally)


@given(events)
def test_a_call_says_what_the_commit_holds(events: list[Event]) -> None:
    for number, partition in commit_of(events).partitions.items():
        sent = call(number, partition)
        guarded = [one for course in partition.courses.values() for one in course.guarded]
        guarded_keys = sum(one.bitmap_key is not None for one in guarded)
        reader = Reader(sent, guarded_keys)
        guarding = reader.guarding = bool(guarded)
        sets = sets_of(number, partition)
        assert [7, "p-7-0", 900, 86400, 0] == reader.take(5)
        assert [guarded_keys if guarding else -1, 2**19, 960, len(sets)] == reader.take(4)
        header = [f"commit:{{{number}}}:p", f"dirty_analytics_courses:{{{number}}}", f"unsaved_users:{{{number}}}"]
        if guarding:
            header += [
                f"refused:{{{number}}}:p",
                f"alive:{{{number}}}:events289",
                f"alive:{{{number}}}:playbacks3",
                f"forgotten:{{{number}}}",
                *(f"alive:{{{number}}}:{window}" for window in ("e289", "e288", "p3", "p2")),
                *sets,
            ]
            for kind in "vtp":
                reader.ids[kind] = iter(reader.parts(16))
        assert header == [next(reader.keys) for _ in header]
        for course in partition.courses.values():
            read_course(reader, number, course)
        assert [] == [*reader.keys, *reader.guarded_keys, *reader.arguments]
        assert [] == [each for ids in reader.ids.values() for each in ids]


def sets_of(number: int, partition: PartitionCommit) -> list[str]:
    """The sets that the script may need, when its clock is off by no more than a window: of those kinds there are."""
    guarded = [one for course in partition.courses.values() for one in course.guarded]
    windows: dict[str, range] = {}
    if any(one.event is not None and one.lecture_id is None for one in guarded):
        windows["v"] = range(287, 291)
    if any(one.event is not None and one.lecture_id is not None for one in guarded):
        windows["t"] = range(287, 291)
    if any(one.playback is not None for one in guarded):
        windows["p"] = range(3, 8)
    return [f"seen:{{{number}}}:{kind}{window}" for kind, those in windows.items() for window in those]


@given(events)
def test_all_keys_of_a_call_are_in_the_slot_of_its_partition(events: list[Event]) -> None:
    for number, partition in commit_of(events).partitions.items():
        assert {f"{{{number}}}"} == {key.split(":")[1] for key in call(number, partition).keys}


def test_the_bitmap_of_a_playback_has_its_digest() -> None:
    ping = Telemetry(COURSES[0], b"ann", None, LECTURES[0], 5, "p", Played([Segment(3, 50, is_view=True)], None))
    number = keys.partition_of(COURSES[0])
    ((guarded,),) = (course.guarded for course in commit_of([ping]).partitions[number].courses.values())
    assert guarded.playback is not None
    digest = base64.urlsafe_b64encode(guarded.playback).decode().rstrip("=")
    assert f"seen:{{{number}}}:b{digest}" == guarded.bitmap_key


def test_events_without_ids_need_no_key_of_refusals() -> None:
    number = keys.partition_of(COURSES[0])
    names = call(number, commit_of([CourseView(COURSES[0], b"ann", None)]).partitions[number]).keys
    assert 7 == len(names)

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from ingest_server.linger import AT_EASE, BUSY, WINDOW_SECONDS, Linger, share_of_linger

LONGEST = 0.004


@dataclass
class Process:
    """A process's clocks: its CPU time, and the time that passes."""

    cpu: float = 10.0
    now: float = 100.0

    def works(self, seconds: float, *, of: float) -> None:
        self.cpu += seconds
        self.now += of


def lingering(process: Process) -> Linger:
    return Linger(LONGEST, cpu=lambda: process.cpu, now=lambda: process.now)


@given(st.floats(0, 10), st.floats(0, 10))
def test_the_busier_the_longer_and_never_longer_than_the_longest(one: float, other: float) -> None:
    assert 0 <= share_of_linger(min(one, other)) <= share_of_linger(max(one, other)) <= 1


def test_a_process_at_ease_does_not_wait() -> None:
    process = Process()
    linger = lingering(process)
    process.works(AT_EASE, of=1)
    assert 0 == linger.seconds()


def test_a_busy_process_waits_for_the_longest_time() -> None:
    process = Process()
    linger = lingering(process)
    process.works(BUSY, of=1)
    assert LONGEST == linger.seconds()


def test_it_follows_the_load() -> None:
    process = Process()
    linger = lingering(process)
    process.works(BUSY, of=1)
    linger.seconds()
    process.works(0.1, of=1)
    assert 0 == linger.seconds()


def test_a_moment_shorter_than_its_window_changes_nothing() -> None:
    process = Process()
    linger = lingering(process)
    process.works(BUSY, of=1)
    linger.seconds()
    process.works(0, of=0.9 * WINDOW_SECONDS)
    assert LONGEST == linger.seconds()

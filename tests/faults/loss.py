"""What the proxy may lose, and how it then ends the connection."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from devstack.child import wait_until

Matching = Callable[[bytes], bool]


def containing(*words: bytes) -> Matching:
    """Matches a request that has all of these in it, such as b"EVALSHA", or b"update"."""
    return lambda request: all(word in request for word in words)


class End(Enum):
    """What becomes of a connection on which something was lost."""

    CLOSE = auto()  # an orderly end, as by a server that stops
    RESET = auto()  # RST, as by a server that was killed
    SILENCE = auto()  # it stays open, and nothing passes on it any more


@dataclass(slots=True, eq=False)
class Loss:
    """Matching requests, the n-th and `times` in all, or the replies to them, that will be lost or have been."""

    matching: Matching
    nth: int
    times: int
    end: End
    forward: bool
    keep: int
    _seen: int = 0
    _happened: threading.Event = field(default_factory=threading.Event)

    @property
    def happened(self) -> bool:
        """Whether something has been lost. A reply is when it begins to come: its request has been carried out."""
        return self._happened.is_set()

    def wait(self, seconds: float) -> None:
        """Returns once it has happened. TimeoutError when that takes longer."""
        wait_until(lambda: self.happened, seconds, "nothing was lost")

    def strikes(self, request: bytes) -> bool:
        """Whether this is a request to be lost, or whose reply is; counts those that match."""
        if not self.matching(request):
            return False
        self._seen += 1
        return self.nth <= self._seen < self.nth + self.times

    def happen(self) -> None:
        """To be told when it has."""
        self._happened.set()

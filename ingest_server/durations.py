"""Which durations of a lecture are counted: callers choose them, so their number is limited."""

from collections import OrderedDict

MAX_DURATIONS = 8
MAX_LECTURES = 10_000


class Durations:
    """The durations that this process has counted of each lecture, in whole seconds."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], set[int]] = OrderedDict()

    def admits(self, course_id: str, lecture_id: str, seconds: int) -> bool:
        """Whether a duration may be counted: it is among the first eight of its lecture."""
        lecture = course_id, lecture_id
        known = self._known.get(lecture)
        if known is None:
            if len(self._known) >= MAX_LECTURES:
                self._known.popitem(last=False)
            known = self._known[lecture] = set()
        if seconds not in known and len(known) < MAX_DURATIONS:
            known.add(seconds)
        return seconds in known

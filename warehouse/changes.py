"""From MongoDB's documents and change events to totals. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from shared.data.tallies import KINDS, Counter, Kind, items_of
from warehouse.record import UNIQUE_USERS, is_total

Document = Mapping[str, Any]
Totals = tuple[dict[str, int], list[str]]  # hash fields to totals, and the fields with malformed ones

USERS_PATH = "uniqueActiveUsers"

remembered = lru_cache(maxsize=100_000)  # the same paths recur

KIND_OF_COLLECTION = {kind.collection: kind for kind in KINDS}


def flatten(document: Document, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of a document with its dotted path, to any depth. First touches arrive as whole subdocuments."""
    for name, value in document.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict | list):
            yield from flatten(items_of(value), f"{path}.")
        else:
            yield path, value


@remembered
def field_of(kind: Kind, path: str) -> str | None:
    """The hash field of the counter that a document has at that path; None if there is none."""
    if path == USERS_PATH and kind.users:
        return UNIQUE_USERS
    first, *rest = path.split(".")
    for counter in _counters_below(kind, first):
        if counter.item is None:
            found = "" if not rest else None
        elif counter.leaf:
            found = rest[0] if len(rest) == 2 and rest[1] == counter.leaf else None
        else:
            found = rest[0] if len(rest) == 1 else None
        if found is not None and counter.has(found):
            return counter.field(found)
    return None


def totals_of(kind: Kind, changed: Document) -> Totals:
    """The totals among changed fields (dotted paths or whole subdocuments), and the counters with malformed ones.

    A double without a fraction is a total too: other drivers write them.
    """
    totals: dict[str, int] = {}
    odd = []
    for path, value in flatten({path: value for path, value in changed.items() if _holds_counters(kind, path)}):
        field = field_of(kind, path)
        if field is None:
            continue
        whole = int(value) if isinstance(value, float) and value.is_integer() else value
        if is_total(whole):
            totals[field] = int(whole)
        else:
            odd.append(field)
    return totals, odd


def totals_of_update(kind: Kind, updated: Document, removed: Iterable[str]) -> Totals | None:
    """The totals of an update's changed fields; None if they do not tell which counters are gone.

    That is the case when counters were removed (an array of them shortened, too), or a subdocument of several items was
    replaced. The subdocument of one item, as its first touch writes it, is complete: the counters that it lacks are 0.
    """
    if any(_holds_counters(kind, path) for path in removed):
        return None
    known: dict[str, int] = {}
    for path, value in updated.items():
        if not _holds_counters(kind, path):
            continue
        item = _item_at(kind, path)
        if item and isinstance(value, dict) and not any(isinstance(leaf, dict) for leaf in value.values()):
            known |= dict.fromkeys(item, 0)
        elif isinstance(value, dict | list) or field_of(kind, path) is None:
            return None
    totals, odd = totals_of(kind, updated)
    return {**known, **totals}, odd


@remembered
def _item_at(kind: Kind, path: str) -> Sequence[str]:
    """The fields of the counters in the subdocument at that path, which belongs to one item."""
    first, *rest = path.split(".")
    if len(rest) != 1:
        return []
    return [counter.field(rest[0]) for counter in _counters_below(kind, first) if counter.leaf and counter.has(rest[0])]


@remembered
def _holds_counters(kind: Kind, path: str) -> bool:
    """Whether the path is that of a counter, of a parent of counters, or of something below one."""
    first = path.partition(".")[0]
    return first == USERS_PATH or bool(_counters_below(kind, first))


def _counters_below(kind: Kind, parent: str) -> list[Counter]:
    return [counter for counter in kind.counters.values() if counter.parent == parent]

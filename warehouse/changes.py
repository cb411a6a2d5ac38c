"""From MongoDB's documents and change events to records. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from shared.data.tallies import KINDS, Kind
from warehouse.record import UNIQUE_USERS, is_total

Document = Mapping[str, Any]

USERS_PATH = "uniqueActiveUsers"

KIND_OF_COLLECTION = {kind.collection: kind for kind in KINDS}


def flatten(document: Document, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of a document with its dotted path, to any depth. First touches arrive as whole subdocuments."""
    for name, value in document.items():
        path = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from flatten(value, f"{path}.")
        else:
            yield path, value


def field_of(kind: Kind, path: str) -> str | None:
    """The hash field of the counter that a document keeps at that path; None where it keeps none."""
    if path == USERS_PATH and kind.users:
        return UNIQUE_USERS
    first, *rest = path.split(".")
    for counter in kind.counters.values():
        if counter.parent != first:
            continue
        if counter.item is None:
            found = "" if not rest else None
        elif counter.leaf:
            found = rest[0] if len(rest) == 2 and rest[1] == counter.leaf else None
        else:
            found = rest[0] if len(rest) == 1 else None
        if found is not None and counter.has(found):
            return counter.field(found)
    return None


def totals_of(kind: Kind, changed: Document) -> tuple[dict[str, int], list[str]]:
    """The totals among changed fields (dotted paths or whole subdocuments), and the counters that hold no total.

    A whole double is a total too: other drivers write such.
    """
    totals: dict[str, int] = {}
    odd = []
    for path, value in flatten(changed):
        field = field_of(kind, path)
        if field is None:
            continue
        whole = int(value) if isinstance(value, float) and value.is_integer() else value
        if is_total(whole):
            totals[field] = int(whole)
        else:
            odd.append(field)
    return totals, odd


def touches_counters(kind: Kind, removed: list[str]) -> bool:
    """Whether one of the removed paths is a counter, or holds some."""
    parents = {counter.parent for counter in kind.counters.values()} | {USERS_PATH}
    return any(path.split(".")[0] in parents for path in removed)

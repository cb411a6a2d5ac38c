"""Names in the environment that are not settings: misspelled ones, and foreign ones."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping

PREFIX = "ANALYTICS_"

# Variables that Kubernetes sets in each pod for a Service named analytics-…: ANALYTICS_INGEST_SERVICE_HOST and so on.
OF_KUBERNETES = re.compile(r"(_SERVICE_HOST|_SERVICE_PORT(_\w+)?|_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$")

# From this similarity on (1 is equality) a name counts as a misspelling, and the program must not start.
LIKENESS = 0.8


def misspelled(names: Iterable[str], settings: Iterable[str]) -> list[str]:
    """One sentence for each `ANALYTICS_*` name that resembles a setting."""
    return [
        f"{name} is not a setting: do you mean {nearest}?" for name, nearest in _unknown(names, settings) if nearest
    ]


def foreign(names: Iterable[str], settings: Iterable[str]) -> list[str]:
    """One sentence for each other `ANALYTICS_*` name that is not a setting, except those of Kubernetes."""
    return [f"{name} is not a setting" for name, nearest in _unknown(names, settings) if not nearest]


def of_environment(environment: Mapping[str, str]) -> list[str]:
    """The names in the environment, except Kubernetes names that only their value distinguishes from a setting."""
    return [name for name, value in environment.items() if not (name.endswith("_PORT") and "://" in value)]


def _unknown(names: Iterable[str], settings: Iterable[str]) -> Iterator[tuple[str, str | None]]:
    """Each unknown name, with the setting that it resembles."""
    known = [name.upper() for name in settings]
    for name in sorted(names):
        word = name.removeprefix(PREFIX)
        if name.startswith(PREFIX) and word not in known and not OF_KUBERNETES.search(word):
            nearest = _nearest(word, known)
            yield name, nearest and PREFIX + nearest


def _nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name that resembles this one, or begins with it, such as FLUSH_INTERVAL."""
    longer = [one for one in known if "_" in word and one.startswith(f"{word}_")]
    return next(iter(difflib.get_close_matches(word, known, n=1, cutoff=LIKENESS) or longer), None)

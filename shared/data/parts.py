"""Work in parts of bounded size. Pure."""

from collections.abc import Iterator, Mapping


def parts(sizes: Mapping[str, int], *, names: int, total: int) -> Iterator[list[str]]:
    """The names in order, in lists of at most `names`, each at most `total` in size unless one name alone is larger."""
    part: list[str] = []
    size_of_part = 0
    for name, size in sizes.items():
        if part and (len(part) == names or size_of_part + size > total):
            yield part
            part, size_of_part = [], 0
        part.append(name)
        size_of_part += size
    if part:
        yield part

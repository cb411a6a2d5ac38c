"""Protobuf's wire format, as far as needed to count a message's fields without parsing it. Pure.

https://protobuf.dev/programming-guides/encoding/
"""

from shared.serving.errors import Unreadable

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
FIXED = {FIXED64: 8, FIXED32: 4}
MAX_VARINT_BITS = 64


def count_fields(data: bytes, number: int, *, most: int, whole: bool = True) -> int:
    """How often the message has the length-delimited field of this number, which is below 16.

    Stops after `most` fields of any number: then the count is `most`, whatever follows. Raises Unreadable when the
    bytes end within a field, unless they are not the whole message, or have a wire type that proto3 does not know
    (groups are of proto2).
    """
    wanted = number << 3 | LENGTH_DELIMITED
    end = len(data)
    count = position = 0
    try:
        for _ in range(most):
            if position == end:
                return count
            if data[position] == wanted:  # nearly every one, so here without a call
                count += 1
                length = data[position + 1]
                position += 2
                if length >= 0x80 and (more := data[position]) < 0x80:
                    length += (more - 1) << 7
                    position += 1
                elif length >= 0x80:
                    length, position = _varint(data, position - 1)
                position += length
            else:
                position = _end_of_field(data, position)
            if position > end:
                return _cut_off(count, whole=whole)
    except IndexError:
        return _cut_off(count, whole=whole)
    return count if position == end else most


def _cut_off(count: int, *, whole: bool) -> int:
    """The count of what was there, when more was to come. Raises Unreadable."""
    if whole:
        raise Unreadable
    return count


def _end_of_field(data: bytes, position: int) -> int:
    """Where the field ends that begins here. Raises IndexError when that is not to be seen, and Unreadable."""
    tag, position = _varint(data, position)
    if tag & 7 == LENGTH_DELIMITED:
        length, position = _varint(data, position)
        return position + length
    if tag & 7 == VARINT:
        return _varint(data, position)[1]
    if tag & 7 not in FIXED:
        raise Unreadable
    return position + FIXED[tag & 7]


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """The number at this position, and the position after it. Raises IndexError, and Unreadable if it is too long."""
    byte = data[position]
    if byte < 0x80:  # nearly every one
        return byte, position + 1
    value, shift = byte & 0x7F, 7
    while shift < MAX_VARINT_BITS:
        position += 1
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position + 1
        shift += 7
    raise Unreadable

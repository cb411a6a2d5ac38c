"""Protobuf's wire format, as far as a message can be counted without being built. Pure.

https://protobuf.dev/programming-guides/encoding/
"""

from shared.serving.errors import Unreadable

VARINT, FIXED64, LENGTH_DELIMITED, FIXED32 = 0, 1, 2, 5
FIXED = {FIXED64: 8, FIXED32: 4}
MAX_VARINT_BITS = 64


def count_fields(data: bytes, number: int, *, most: int) -> int:
    """How often the message has the length-delimited field of this number.

    Stops after `most` fields of any number: then the count is `most`, whatever follows. Raises Unreadable when the
    bytes end within a field, or have a wire type that proto3 does not know (groups are of proto2).
    """
    wanted = number << 3 | LENGTH_DELIMITED
    end = len(data)
    count = position = 0
    try:
        for _ in range(most):
            if position == end:
                return count
            tag, position = _varint(data, position)
            if tag & 7 == LENGTH_DELIMITED:
                count += tag == wanted
                length, position = _varint(data, position)
                position += length
            elif tag & 7 == VARINT:
                _, position = _varint(data, position)
            else:
                position += FIXED[tag & 7]
            if position > end:
                raise Unreadable
    except (IndexError, KeyError):
        raise Unreadable from None
    return count if position == end else most


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """The number at this position, and the position behind it. Raises IndexError, and Unreadable for one too long."""
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

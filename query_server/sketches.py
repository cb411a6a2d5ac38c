"""HyperLogLogs as Redis stores them: their union, and how many users they stand for. Pure.

A sketch has 16,384 registers of 6 bits. A dense one stores them side by side, the first in the lowest bits. So it is
one large integer, whose lanes are compared in a few operations. A sparse one, of few users, lists the registers that
are not zero; those of many sparse sketches are collected one by one and then compared with the dense ones.

The estimate equals that of PFCOUNT for the same registers, to the last digit: O. Ertl, "New cardinality
estimation algorithms for HyperLogLog sketches", 2017.
"""

import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence

REGISTERS = 16_384
STANDARD_ERROR = 0.0081

_BITS = 6
_HEADER = 16  # "HYLL", the encoding, 3 unused bytes, and the estimate that Redis remembers
_DENSE_BYTES = REGISTERS * _BITS // 8
_DENSE, _SPARSE = 0, 1
_LARGEST = 51  # the largest value of a register: 64 - 14 + 1
_ALPHA = 0.721347520444481703680

# Every second register, so that each has room for a carry above it.
_PAIRS = REGISTERS // 2
_ONES = sum(1 << (2 * _BITS * lane) for lane in range(_PAIRS))
_LANES = 63 * _ONES
_CARRIES = 64 * _ONES
_BEYOND = (63 - _LARGEST) * _ONES  # added to a lane that is too large, it carries
# Every fourth, which then begin at a byte.
_FOURTHS = sum(63 << (4 * _BITS * lane) for lane in range(REGISTERS // 4))


class NotASketch(ValueError):
    """The bytes are not a HyperLogLog of Redis."""


def users_of(sketches: Iterable[bytes]) -> int:
    """The number of different users in all sketches together; malformed bytes count as no users.

    Takes 30 µs for each dense sketch, and 1 µs for each user of a sparse one.
    """
    return estimate(union(sketches))


def union(sketches: Iterable[bytes]) -> int:
    """The registers of all sketches together, as one integer."""
    collected: dict[int, int] = {}
    even = odd = 0
    for sketch in sketches:
        try:
            if _is_dense(sketch):
                registers = _dense(sketch)
                even = _larger(even, registers & _LANES)
                odd = _larger(odd, (registers >> _BITS) & _LANES)
            else:
                _collect(sketch, collected)
        except NotASketch:
            continue
    sparse = _integer(collected)
    even = _larger(even, sparse & _LANES)
    odd = _larger(odd, (sparse >> _BITS) & _LANES)
    return even | odd << _BITS


def unite(registers: Iterable[int]) -> int:
    """The union of unions."""
    even = odd = 0
    for each in registers:
        even = _larger(even, each & _LANES)
        odd = _larger(odd, (each >> _BITS) & _LANES)
    return even | odd << _BITS


def estimate(registers: int) -> int:
    """The number of users that the registers stand for."""
    histogram = _histogram(registers)
    z = REGISTERS * _tau((REGISTERS - histogram[_LARGEST]) / REGISTERS)
    for value in range(_LARGEST - 1, 0, -1):
        z = (z + histogram[value]) * 0.5
    z += REGISTERS * _sigma(histogram[0] / REGISTERS)
    if z == 0:
        return sys.maxsize  # all registers are at their maximum, which no real users reach
    users = _ALPHA * REGISTERS * REGISTERS / z
    return math.floor(users) + (users - math.floor(users) >= 0.5)


def _is_dense(sketch: bytes) -> bool:
    if len(sketch) < _HEADER or sketch[:4] != b"HYLL" or sketch[4] not in {_DENSE, _SPARSE}:
        raise NotASketch
    return sketch[4] == _DENSE


def _dense(sketch: bytes) -> int:
    if len(sketch) != _HEADER + _DENSE_BYTES:
        raise NotASketch
    registers = int.from_bytes(sketch[_HEADER:], "little")
    if any((lanes + _BEYOND) & _CARRIES for lanes in (registers & _LANES, (registers >> _BITS) & _LANES)):
        raise NotASketch
    return registers


def _collect(sketch: bytes, collected: dict[int, int]) -> None:
    """Raises the registers to those of a sparse sketch."""
    runs = list(_runs(sketch))  # decode all before applying any: a malformed sketch changes nothing
    for start, length, value in runs:
        for register in range(start, start + length):
            collected[register] = max(collected.get(register, 0), value)


def _runs(sketch: bytes) -> Iterator[tuple[int, int, int]]:
    """The first register, the number and the value of each run of equal registers that are not zero."""
    codes = iter(sketch[_HEADER:])
    register = 0
    for code in codes:
        if code & 0x80:  # 1vvvvvll
            length = (code & 0x3) + 1
            if register + length > REGISTERS:
                raise NotASketch
            yield register, length, ((code >> 2) & 0x1F) + 1
        elif code & 0x40:  # 01llllll llllllll
            length = ((code & 0x3F) << 8 | next(codes, 0)) + 1
        else:  # 00llllll
            length = code + 1
        register += length
    if register != REGISTERS:
        raise NotASketch


def _integer(registers: Mapping[int, int]) -> int:
    """The registers that are not zero, as lanes of six bits."""
    packed = bytearray(_DENSE_BYTES + 1)
    for register, value in registers.items():
        byte, shift = divmod(register * _BITS, 8)
        packed[byte] |= value << shift & 0xFF
        packed[byte + 1] |= value << shift >> 8
    return int.from_bytes(packed, "little")


def _larger(one: int, other: int) -> int:
    """The larger of the two values in each lane."""
    not_smaller = ((one | _CARRIES) - other) & _CARRIES
    chosen = not_smaller - (not_smaller >> _BITS)
    return other ^ ((one ^ other) & chosen)


def _histogram(registers: int) -> Sequence[int]:
    """The number of registers with each value."""
    numbers = [0] * 64
    for position in range(4):
        fourths = ((registers >> (position * _BITS)) & _FOURTHS).to_bytes(_DENSE_BYTES, "little")[::3]
        for value in set(fourths):
            numbers[value] += fourths.count(value)
    return numbers


def _tau(x: float) -> float:
    if x in {0.0, 1.0}:
        return 0.0
    y, z = 1.0, 1 - x
    previous = math.inf
    while previous != z:
        x = math.sqrt(x)
        previous = z
        y *= 0.5
        z -= (1 - x) ** 2 * y
    return z / 3


def _sigma(x: float) -> float:
    if x == 1.0:
        return math.inf
    y, z = 1.0, x
    previous = math.inf
    while previous != z:
        x *= x
        previous = z
        z += x * y
        y += y
    return z

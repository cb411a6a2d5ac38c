"""A message as it was sent: in gzip, or as it is.

gRPC would unpack it before anybody has looked at it. Here that is done when its sender, its size and its beginning are
known.
"""

import zlib

from shared.serving.errors import Unreadable

# No message of protobuf begins like this: the first byte names a type of field that there is not.
GZIP = b"\x1f\x8b"
GZIP_FORMAT = 16 + zlib.MAX_WBITS

# Of a packed message this much can be looked at before the rest is unpacked.
BEGINNING_BYTES = 16 * 1024


class Sent:
    """The bytes of one message. `size` is how many it has unpacked, as it says itself."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.is_packed = data.startswith(GZIP)
        self.size = int.from_bytes(data[-4:], "little") if self.is_packed else len(data)

    def beginning(self) -> bytes:
        """The first bytes of a packed message. Raises Unreadable."""
        return self._unpack(BEGINNING_BYTES)[0]

    def unpacked(self) -> bytes:
        """All of it. Raises Unreadable, also when it has not the size that it says: zlib checks that at its end."""
        if not self.is_packed:
            return self._data
        data, is_whole = self._unpack(self.size + 1)
        if not is_whole:
            raise Unreadable
        return data

    def _unpack(self, most: int) -> tuple[bytes, bool]:
        """So many bytes at most, and whether these are all."""
        unpacking = zlib.decompressobj(GZIP_FORMAT)
        try:
            data = unpacking.decompress(self._data, most)
        except zlib.error:
            raise Unreadable from None
        return data, unpacking.eof and not unpacking.unused_data

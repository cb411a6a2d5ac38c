"""A message as it was sent: gzipped or plain.

gRPC would decompress it unchecked. Here that happens only when its sender, its size and its beginning are known.
"""

import zlib

from shared.serving.errors import Unreadable

# No protobuf message begins like this: the first byte names a field type that does not exist.
GZIP = b"\x1f\x8b"
GZIP_FORMAT = 16 + zlib.MAX_WBITS

# How much of a compressed message can be read before the rest is decompressed.
BEGINNING_BYTES = 16 * 1024


class Sent:
    """The bytes of one message. `size` is its decompressed size, as its gzip trailer says."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.is_packed = data.startswith(GZIP)
        self.size = int.from_bytes(data[-4:], "little") if self.is_packed else len(data)

    def beginning(self) -> bytes:
        """The first bytes of the decompressed message. Raises Unreadable."""
        return self._unpack(BEGINNING_BYTES)[0]

    def unpacked(self) -> bytes:
        """The whole message. Raises Unreadable, also if its size is not that of the trailer, which zlib checks."""
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

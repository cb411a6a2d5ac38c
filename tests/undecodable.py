"""Documents that MongoDB stores and no driver can decode."""

import struct
from collections.abc import Mapping
from typing import Any

import bson
from bson import Binary
from bson.raw_bson import RawBSONDocument


def undecodable(document: Mapping[str, Any], field: str) -> RawBSONDocument:
    """The document; its field is binary of the old subtype, which says twice and differently how long it is."""
    encoded = bson.encode({**document, field: Binary(b"x", 2)})
    return RawBSONDocument(encoded.replace(struct.pack("<i", 1) + b"x", struct.pack("<i", 99) + b"x"))

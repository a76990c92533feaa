"""The framing of TFRecord files: length (8 bytes), CRC of the length (4), data, CRC of the data (4), little-endian.

Reference: tensorflow/core/lib/io/record_writer.h.
"""

import struct

import google_crc32c

HEADER = 12  # bytes of a length and its CRC
TRAILER = 4  # bytes of the data's CRC


def masked_crc(data: bytes) -> int:
    """Returns the CRC-32C of `data` as it is stored: rotated and shifted, because a CRC of data that holds CRCs is weak."""
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def frame(record: bytes) -> bytes:
    """Returns `record` as files have it."""
    length = struct.pack("<Q", len(record))
    return b"".join((length, struct.pack("<I", masked_crc(length)), record, struct.pack("<I", masked_crc(record))))

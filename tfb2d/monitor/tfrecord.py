"""TFRecord files, read by someone who expects them to be broken.

TensorFlow's own reader ends a file at its first bad byte. Logs are written by servers that get killed and lie on disks that
fill up, so this one says what is broken, goes on behind it, and gives every record that is whole.

Format (tensorflow/core/lib/io/record_writer.h): length (8 bytes), CRC of the length (4), data, CRC of the data (4); the
whole file may be gzip or zlib. CRC-32C, masked.
"""

import zlib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

Broken = Callable[[int, int, int, str], None]  # record number from 1, offset, bytes passed over, reason

HEADER = 12
LONGEST = 2**31  # a message of protobuf is shorter
_CHUNK = 1 << 20
_BLOCK = 2048  # bytes whose CRC is one gather


@cache
def _powers() -> NDArray[np.uint32]:
    """`[block, 256]`: what a byte leaves in the CRC's register when so many zero bytes follow it (Castagnoli)."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(0x82F63B78), table >> 1).astype(np.uint32)
    powers = np.empty((_BLOCK, 256), np.uint32)
    powers[0] = table
    for place in range(1, _BLOCK):
        powers[place] = table[powers[place - 1] & 0xFF] ^ (powers[place - 1] >> 8)
    return powers


def crc32c(data: bytes) -> int:
    """The CRC-32C of some bytes: a CRC is linear, so a block's is the XOR of what each of its bytes leaves."""
    powers, register = _powers().ravel(), 0xFFFFFFFF
    for start in range(0, len(data), _BLOCK):
        block = np.frombuffer(data, np.uint8, min(_BLOCK, len(data) - start), start).astype(np.int64)
        first = min(4, len(block))
        block[:first] ^= np.frombuffer(register.to_bytes(4, "little"), np.uint8, first)
        left = np.bitwise_xor.reduce(powers[np.arange(len(block) - 1, -1, -1) * 256 + block])
        register = int(left) ^ (register >> 8 * first if first < 4 else 0)
    return register ^ 0xFFFFFFFF


def mask(crc: int) -> int:
    """A CRC as it is stored: CRCs of data that holds CRCs would be weak."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def records(path: Path, broken: Broken, consumed: Callable[[int], None] | None = None) -> Iterator[tuple[int, bytes]]:
    """The whole records of a file and their numbers, counted from 1 with the broken ones.

    Args:
      path: the file.
      broken: told of what cannot be read: a record whose data does not match its CRC, bytes that are no record, and an
        end within a record; what is passed over ends at the next record, which may lie where a torn one claims to go on.
      consumed: told how many bytes of the file were read, for a progress bar.

    Raises:
      OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        stream = _Stream(file, consumed)
        number, reason = 0, ""
        while header := stream.take(HEADER):
            number += 1
            at = stream.offset - len(header)
            if len(header) < HEADER:
                return broken(number, at, len(header), stream.failure or "truncated")
            if not _is_header(header):
                stream.back(header[1:])
                skipped = 1 + _seek(stream)
                broken(number, at, skipped, "no record here")
                continue
            length = int.from_bytes(header[:8], "little")
            body = stream.take(length + 4)
            data = body[:length]
            if len(body) < length + 4:
                reason = stream.failure or "truncated"
            elif mask(crc32c(data)) != int.from_bytes(body[-4:], "little"):
                reason = "checksum does not match"
            else:
                yield number, data
                continue
            stream.back(body)
            broken(number, at, HEADER + _seek(stream), reason)
        if stream.failure and stream.failure != reason:
            broken(number + 1, stream.offset, 0, stream.failure)


def _is_header(header: bytes) -> bool:
    fits = int.from_bytes(header[:8], "little") < LONGEST
    return fits and mask(crc32c(header[:8])) == int.from_bytes(header[8:], "little")


def _seek(stream: "_Stream") -> int:
    """Goes on to the next bytes that are a record's header, or to the end; returns how many were passed over."""
    passed = 0
    while True:
        chunk = stream.take(_CHUNK)
        starts = len(chunk) - HEADER + 1
        if starts <= 0:
            return passed + len(chunk)
        found = _headers(np.frombuffer(chunk, np.uint8), starts)
        if len(found):
            stream.back(chunk[found[0] :])
            return passed + int(found[0])
        stream.back(chunk[starts:])
        passed += starts
        if len(chunk) < _CHUNK:
            stream.take(HEADER)
            return passed + HEADER - 1


def _headers(data: NDArray[np.uint8], starts: int) -> NDArray[np.int64]:
    """Places where a header could begin: the CRC of all eight-byte windows at once."""
    powers = _powers()
    crc = np.zeros(starts, np.uint32)
    for place in range(8):
        byte = data[place : place + starts]
        crc ^= powers[7 - place, byte ^ 0xFF if place < 4 else byte]
    crc ^= np.uint32(0xFFFFFFFF)
    masked = ((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(0xA282EAD8)
    stored = sum(data[8 + place : 8 + place + starts].astype(np.uint32) << np.uint32(8 * place) for place in range(4))
    short = (data[7 : 7 + starts] == 0) & (data[6 : 6 + starts] == 0)  # far below LONGEST; zeros alone have no such CRC
    return np.flatnonzero((masked == stored) & short)


class _Stream:
    """The bytes of a file, decompressed where it is compressed, that can be put back.

    Attributes:
      offset: place in the (decompressed) bytes.
      failure: why a compressed file ended early, or "".
    """

    def __init__(self, file: BinaryIO, consumed: Callable[[int], None] | None) -> None:
        self.offset = 0
        self.failure = ""
        self._file, self._consumed = file, consumed
        self._waiting = bytearray()
        head = file.read(HEADER)
        file.seek(0)
        plain = len(head) == HEADER and _is_header(head)
        zipped = not plain and (head[:2] == b"\x1f\x8b" or (head[:1] == b"\x78" and head[1:2] in b"\x01\x5e\x9c\xda"))
        self._zipped = zipped
        self._unzip = zlib.decompressobj(47) if zipped else None  # gzip or zlib, told by the header

    def take(self, count: int) -> bytes:
        """The next bytes; fewer at the end."""
        while len(self._waiting) < count:
            size = 1 << 16 if self._zipped else min(_CHUNK, max(1 << 16, count - len(self._waiting)))
            raw = self._file.read(size)
            if self._consumed is not None:
                self._consumed(len(raw))
            if not raw:
                if self._unzip is not None and not self._unzip.eof:
                    self.failure = self.failure or "truncated"
                break
            self._waiting += self._expanded(raw) if self._zipped else raw
        taken = bytes(self._waiting[:count])
        del self._waiting[:count]
        self.offset += len(taken)
        return taken

    def back(self, data: bytes) -> None:
        """Puts bytes back."""
        self._waiting[:0] = data
        self.offset -= len(data)

    def _expanded(self, raw: bytes) -> bytes:
        found = b""
        while raw and self._unzip is not None:
            try:
                found += self._unzip.decompress(raw)
            except zlib.error:
                self.failure, self._unzip = "corrupt compression", None
                break
            raw = self._unzip.unused_data
            if raw:  # files may be several compressed ones, one behind the other
                self._unzip = zlib.decompressobj(47)
        return found

"""Reads TFRecord files that may be damaged.

TensorFlow's reader ends a file at its first damaged record, and a record with a very long length can end the process.
Servers that write logs get killed, and disks fill up. So this reader reports damage, continues after it, and yields every
whole record.

Format: `tfb2d.serving.tfrecord`; the whole file may be compressed with gzip or zlib.
"""

import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from tfb2d.serving.tfrecord import HEADER, TRAILER, masked_crc

Damaged = Callable[[int, int, int, str], None]  # record number from 1, offset, bytes skipped, reason

LONGEST = 2**31  # bytes; a protobuf message is shorter
_CHUNK = 1 << 20


def records(path: Path, damaged: Damaged, consumed: Callable[[int], None] | None = None) -> Iterator[tuple[int, bytes]]:
    """Yields the whole records of a file with their numbers, counted from 1 with the damaged ones.

    `damaged` is called for each damage: data that does not match its CRC, bytes that are no record, an end within a
    record. The skipped bytes end where the next record begins, which may lie within the length of a torn record.
    `consumed` is called with the number of bytes read, for a progress bar.
    """
    with path.open("rb") as file:
        stream = _Stream(file, consumed)
        number, reason = 0, ""
        while header := stream.take(HEADER):
            number += 1
            offset = stream.offset - len(header)
            if len(header) < HEADER:
                return damaged(number, offset, len(header), stream.failure or "truncated")
            if not _is_header(header):
                stream.put_back(header[1:])
                damaged(number, offset, 1 + _skip_to_header(stream), "no record here")
                continue
            length = int.from_bytes(header[:8], "little")
            body = stream.take(length + TRAILER)
            data = body[:length]
            if len(body) < length + TRAILER:
                reason = stream.failure or "truncated"
            elif masked_crc(data) != int.from_bytes(body[-TRAILER:], "little"):
                reason = "checksum does not match"
            else:
                yield number, data
                continue
            stream.put_back(body)
            damaged(number, offset, HEADER + _skip_to_header(stream), reason)
        if stream.failure and stream.failure != reason:
            damaged(number + 1, stream.offset, 0, stream.failure)


def _is_header(header: bytes) -> bool:
    short = int.from_bytes(header[:8], "little") < LONGEST
    return short and masked_crc(header[:8]) == int.from_bytes(header[8:], "little")


def _skip_to_header(stream: "_Stream") -> int:
    """Goes on to the next record's header, or to the end; returns the number of bytes skipped."""
    skipped = 0
    while len(chunk := stream.take(_CHUNK)) >= HEADER:
        # The upper four bytes of a length below LONGEST are 0, which is rare elsewhere; a run of zeros has no CRC.
        data = np.frombuffer(chunk, np.uint8)
        words = np.lib.stride_tricks.sliding_window_view(data, 4).view(np.uint32)[:, 0]
        for start in np.flatnonzero((words[4:-4] == 0) & (words[8:] != 0)).tolist():
            if _is_header(chunk[start : start + HEADER]):
                stream.put_back(chunk[start:])
                return skipped + start
        if len(chunk) < _CHUNK:
            break
        stream.put_back(chunk[1 - HEADER :])
        skipped += len(chunk) - HEADER + 1
    return skipped + len(chunk)


class _Stream:
    """Reads the bytes of a file, decompressed if need be; bytes can be put back.

    Attributes:
      offset: position in the decompressed bytes.
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
        self._unzip = zlib.decompressobj(47) if zipped else None  # gzip or zlib, by the header

    def take(self, count: int) -> bytes:
        """Returns the next bytes; fewer at the end."""
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

    def put_back(self, data: bytes) -> None:
        """Makes `data` the next bytes."""
        self._waiting[:0] = data
        self.offset -= len(data)

    def _expanded(self, raw: bytes) -> bytes:
        expanded = b""
        while raw and self._unzip is not None:
            try:
                expanded += self._unzip.decompress(raw)
            except zlib.error:
                self.failure, self._unzip = "corrupt compression", None
                break
            raw = self._unzip.unused_data
            if raw:  # a file may hold several compressed streams
                self._unzip = zlib.decompressobj(47)
        return expanded

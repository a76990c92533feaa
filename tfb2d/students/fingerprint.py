"""FarmHash's Fingerprint64 in plain Python: the string hash that `tf.strings.to_hash_bucket_fast` is made of.

The function is frozen by its authors (https://github.com/google/farmhash), so that fingerprints may be stored. Strings are
hashed by one of five formulas, chosen by length; all arithmetic is on unsigned 64-bit integers that wrap around, and
bytes are read as little-endian integers.
"""

from functools import lru_cache

_MASK = (1 << 64) - 1
_K0 = 0xC3A5C85C97CB3127
_K1 = 0xB492B66FBE98F273
_K2 = 0x9AE16A3B2F90404F


def fingerprint64(data: bytes) -> int:
    """Returns FarmHash's Fingerprint64 of any bytes, an unsigned 64-bit integer."""
    return _cached(data) if len(data) <= 64 else _long(data)


@lru_cache(maxsize=1 << 17)
def _cached(data: bytes) -> int:
    """Hashes up to 64 bytes; the cache helps because most words of a text repeat."""
    size = len(data)
    if size > 32:
        return _33_to_64(data, size)
    if size > 16:
        return _17_to_32(data, size)
    return _0_to_16(data, size)


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


def _rotate(value: int, by: int) -> int:
    """Rotates the low 64 bits of `value` right."""
    value &= _MASK
    return (value >> by | value << (64 - by)) & _MASK


def _shift_mix(value: int) -> int:
    value &= _MASK
    return value ^ value >> 47


def _mix(u: int, v: int, multiplier: int) -> int:
    """Hashes 128 bits to 64."""
    a = _shift_mix((u ^ v) * multiplier)
    return _shift_mix((v ^ a) * multiplier) * multiplier & _MASK


def _0_to_16(data: bytes, size: int) -> int:
    multiplier = _K2 + 2 * size
    if size >= 8:
        a, b = _word(data, 0) + _K2, _word(data, size - 8)
        return _mix(_rotate(b, 37) * multiplier + a & _MASK, (_rotate(a, 25) + b) * multiplier & _MASK, multiplier)
    if size >= 4:
        first, last = int.from_bytes(data[:4], "little"), int.from_bytes(data[-4:], "little")
        return _mix(size + (first << 3), last, multiplier)
    if size:
        y, z = data[0] + (data[size >> 1] << 8), size + (data[-1] << 2)
        return _shift_mix(y * _K2 ^ z * _K0) * _K2 & _MASK
    return _K2


def _17_to_32(data: bytes, size: int) -> int:
    multiplier = _K2 + 2 * size
    a, b = _word(data, 0) * _K1, _word(data, 8)
    c, d = _word(data, size - 8) * multiplier, _word(data, size - 16) * _K2
    u, v = _rotate(a + b, 43) + _rotate(c, 30) + d, a + _rotate(b + _K2, 18) + c
    return _mix(u & _MASK, v & _MASK, multiplier)


def _33_to_64(data: bytes, size: int) -> int:
    multiplier = _K2 + 2 * size
    a, b = _word(data, 0) * _K2, _word(data, 8)
    c, d = _word(data, size - 8) * multiplier, _word(data, size - 16) * _K2
    y = _rotate(a + b, 43) + _rotate(c, 30) + d & _MASK
    z = _mix(y, a + _rotate(b + _K2, 18) + c & _MASK, multiplier)
    e, f = _word(data, 16) * multiplier, _word(data, 24)
    g, h = (y + _word(data, size - 32)) * multiplier, (z + _word(data, size - 24)) * multiplier
    u, v = _rotate(e + f, 43) + _rotate(g, 30) + h, e + _rotate(f + a, 18) + g
    return _mix(u & _MASK, v & _MASK, multiplier)


def _weak(data: bytes, at: int, a: int, b: int) -> tuple[int, int]:
    """Takes 32 bytes of `data` into a 128-bit state."""
    w, x, y, z = (_word(data, at + step) for step in (0, 8, 16, 24))
    a += w
    b = _rotate(a + b + z, 21)
    c = a
    a += x + y
    return (a + z) & _MASK, (b + _rotate(a, 44) + c) & _MASK


def _long(data: bytes) -> int:
    """Hashes strings above 64 bytes: blocks of 64, then the last 64 bytes, which may overlap the last block."""
    seed = 81
    x, y = seed * _K2 + _word(data, 0), seed * _K1 + 113
    z = _shift_mix(y * _K2 + 113) * _K2
    v, w = (0, 0), (0, 0)
    last = len(data) - 1
    for at in range(0, last // 64 * 64, 64):
        x = _rotate(x + y + v[0] + _word(data, at + 8), 37) * _K1
        y = _rotate(y + v[1] + _word(data, at + 48), 42) * _K1
        x = (x ^ w[1]) & _MASK
        y = (y + v[0] + _word(data, at + 40)) & _MASK
        z = _rotate(z + w[0], 33) * _K1 & _MASK
        v = _weak(data, at, v[1] * _K1, x + w[0])
        w = _weak(data, at + 32, z + w[1], y + _word(data, at + 16))
        z, x = x, z
    multiplier = _K1 + ((z & 0xFF) << 1)
    at = len(data) - 64
    w = (w[0] + (last & 63), w[1])
    v = (v[0] + w[0], v[1])
    w = (w[0] + v[0], w[1])
    x = _rotate(x + y + v[0] + _word(data, at + 8), 37) * multiplier
    y = _rotate(y + v[1] + _word(data, at + 48), 42) * multiplier
    x = (x ^ w[1] * 9) & _MASK
    y = (y + v[0] * 9 + _word(data, at + 40)) & _MASK
    z = _rotate(z + w[0], 33) * multiplier & _MASK
    v = _weak(data, at, v[1] * multiplier, x + w[0])
    w = _weak(data, at + 32, z + w[1], y + _word(data, at + 16))
    z, x = x, z
    low = _mix(v[0], w[0], multiplier) + _shift_mix(y) * _K0 + z
    return _mix(low & _MASK, (_mix(v[1], w[1], multiplier) + x) & _MASK, multiplier)

"""Turns the caller's rows into requests, and responses back into the caller's order. Nothing here touches a network."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfb2d.serving import wire

Text = str | bytes
Row = Text | Sequence[Text] | Mapping[str, Text]


@dataclass(frozen=True)
class Tensor:
    """An input or output of a signature: numpy's name of its dtype ("string" for text) and its shape, -1 open."""

    dtype: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True)
class Signature:
    """A signature of a served model: its inputs and outputs by name."""

    name: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]

    def output(self, named: str, *usual: str) -> str:
        """Chooses the output to ask for: `named`; where that is "", the first of `usual` that exists, or the only output.

        Raises ValueError where there is no such output.
        """
        for name in [named] if named else usual:
            if name in self.outputs:
                return name
        if not named and len(self.outputs) == 1:
            return next(iter(self.outputs))
        available = ", ".join(sorted(self.outputs))
        raise ValueError(f"signature {self.name!r} has no output {named or usual[0]!r}; it has {available}")


_DTYPES = {1: "float32", 2: "float64", 3: "int32", 7: "string", 9: "int64", 10: "bool", 19: "float16"}


def _tensors(infos: Mapping[str, Any]) -> dict[str, Tensor]:
    return {
        name: Tensor(
            _DTYPES.get(info.dtype, f"DataType {info.dtype}"),
            None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim),
        )
        for name, info in sorted(infos.items())
    }


def parse_signatures(packed: bytes) -> dict[str, Signature]:
    """Returns signatures by name from a serialized SignatureDefMap, without TensorFlow's own initialisation signature."""
    signatures = wire.MESSAGES["SignatureDefMap"].FromString(packed).signature_def
    return {
        name: Signature(name, _tensors(signature.inputs), _tensors(signature.outputs))
        for name, signature in sorted(signatures.items())
        if not name.startswith("__saved_model_")
    }


def field_order(
    signatures: Mapping[str, Signature], signature: Signature, fields: Sequence[str] = ()
) -> tuple[str, ...]:
    """Returns the order in which a row's texts go into the signature's inputs, which have names but no order.

    `fields` decides where there are any. Otherwise one input needs no order, and of a pair the query comes first: it is the
    input called "query", or the one that the model's `rank` signature has too. Raises ValueError where `fields` names other
    inputs, or the order cannot be known.
    """
    names = set(signature.inputs)
    if fields:
        if set(fields) != names or len(fields) != len(names):
            available = ", ".join(sorted(names))
            raise ValueError(f"fields {tuple(fields)} are not the inputs of {signature.name!r}: {available}")
        return tuple(fields)
    if len(names) == 1:
        return tuple(names)
    shared = names & set(signatures["rank"].inputs) if "rank" in signatures else set()
    for first in ({"query"} & names, shared):
        if len(names) == 2 and len(first) == 1:
            return (*first, *(names - first))
    raise ValueError(
        f"signature {signature.name!r} takes {', '.join(sorted(names))} and does not say in which order: "
        "give rows as dicts, or the order as `fields`"
    )


def encode(text: Any, where: str) -> bytes:
    """Returns a text's UTF-8 bytes; bytes are taken as they are.

    Raises TypeError for other types, ValueError for half a surrogate pair, which has no UTF-8.
    """
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str):
        raise TypeError(f"{where} is {type(text).__name__}; a text is str or bytes")
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{where} holds half a surrogate pair and cannot be UTF-8") from None


def columns(rows: Iterable[Row], signature: Signature, order: Sequence[str] | None) -> dict[str, list[bytes]]:
    """Returns a list of byte strings per input of `signature`; `order` says which text of a row is which (`field_order`).

    Raises:
      TypeError, ValueError: a row with the wrong number of texts or other names; the message names the row.
    """
    names = tuple(order or signature.inputs)
    table: dict[str, list[bytes]] = {name: [] for name in names}
    for index, row in enumerate(rows):
        if isinstance(row, Mapping):
            if set(row) != set(names):
                raise ValueError(f"row {index} has {sorted(row)}; {signature.name!r} takes {', '.join(names)}")
            texts: Sequence[Any] = [row[name] for name in names]
        else:
            texts = (row,) if isinstance(row, str | bytes) or not isinstance(row, Sequence) else row
            if len(texts) != len(names):
                count = f"{len(texts)} text{'s' * (len(texts) != 1)}"
                raise ValueError(f"row {index} has {count}; {signature.name!r} takes {len(names)}: {', '.join(names)}")
        for name, text in zip(names, texts, strict=True):
            table[name].append(encode(text, f"row {index}, field {name!r},"))
    return table


def slices(n: int, size: int) -> Iterator[slice]:
    """Yields consecutive slices of at most `size` that cover range(n)."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def join(parts: Sequence[np.ndarray], counts: Sequence[int], what: str) -> np.ndarray:
    """Joins answers of chunks to one float32 array; raises ValueError if one has other rows than its request."""
    for part, count in zip(parts, counts, strict=True):
        if part.ndim == 0 or len(part) != count:
            raise ValueError(f"{what} has shape {part.shape} for {count} rows")
    return np.concatenate(parts).astype(np.float32, copy=False)


@dataclass(frozen=True)
class Piece:
    """A run of one query's titles: titles[start:stop] of query number `query`."""

    query: int
    start: int
    stop: int


def rank_groups(lengths: Sequence[int], cells: int) -> list[list[Piece]]:
    """Returns groups of pieces that each fit one `rank` request of at most `cells` titles, padding counted.

    A request is as wide as its longest list. So a group ends where one more query would take rows * width past `cells`.
    A query with more titles than `cells` is cut. Queries without titles are left out.
    """
    groups: list[list[Piece]] = []
    width = 0
    for query, length in enumerate(lengths):
        for part in slices(length, cells):
            size = part.stop - part.start
            grown = max(width, size)
            if groups and (len(groups[-1]) + 1) * grown <= cells:
                groups[-1].append(Piece(query, part.start, part.stop))
                width = grown
            else:
                groups.append([Piece(query, part.start, part.stop)])
                width = size
    return groups


def scatter(
    groups: Sequence[Sequence[Piece]], answers: Sequence[np.ndarray], lengths: Sequence[int]
) -> list[np.ndarray]:
    """Returns the scores by query without padding: the inverse of `rank_groups`.

    An answer may be wider than its request: a server with pad_variable_length_inputs widens `titles` to the widest
    request of a batch with copies of the first title, and scores these too. Raises ValueError for an answer that is not
    [rows, width or more].
    """
    scores = [np.zeros(length, np.float32) for length in lengths]
    for group, answer in zip(groups, answers, strict=True):
        width = max(piece.stop - piece.start for piece in group)
        if answer.ndim != 2 or len(answer) != len(group) or answer.shape[1] < width:
            raise ValueError(f"the server's scores have shape {answer.shape} for {(len(group), width)} titles")
        for piece, row in zip(group, answer, strict=True):
            scores[piece.query][piece.start : piece.stop] = row[: piece.stop - piece.start]
    return scores

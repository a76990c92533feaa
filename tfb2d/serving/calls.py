"""The steps of a client's calls, without the waiting: shared by `Client` (threads) and `AsyncClient` (asyncio).

An operation is a generator. It yields steps (send this, pause so long, run these together) and is sent their answers, or
has a gRPC error thrown in. The two clients differ only in how they take the steps, so deadlines, retries, chunks and errors
cannot differ between them.
"""

import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import grpc
import numpy as np
from google.protobuf.message import DecodeError

from tfb2d.serving import plan, wire
from tfb2d.serving.client_settings import ClientSettings
from tfb2d.serving.errors import DeadlineExceeded, ServerUnreachable, ServingError

# with these codes the signatures that the client remembers may be out of date
_STALE = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND)
_LEAST = 0.001  # no attempt begins with fewer seconds left to the deadline


@dataclass(frozen=True)
class Send:
    """Step: attempts a call once; answered by the response message."""

    method: str
    request: Any
    deadline: float  # on time.monotonic()'s clock

    @property
    def timeout(self) -> float:
        """Returns the seconds left to the deadline."""
        return max(self.deadline - time.monotonic(), 0.0)


@dataclass(frozen=True)
class Pause:
    """Step: waits."""

    seconds: float


@dataclass(frozen=True)
class Together:
    """Step: runs operations side by side, as many at once as the client allows; answered by their results in order."""

    operations: "Sequence[Operation]"


Step = Send | Pause | Together
Operation = Generator[Step, Any, Any]


class Prediction(NamedTuple):
    """A Predict answer: arrays by output name (strings as bytes objects), and the model version that gave them."""

    outputs: dict[str, np.ndarray]
    version: int


class Calls(ClientSettings):
    """Holds the operations that `Client` and `AsyncClient` run; see `ClientSettings` for the arguments."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._known: dict[str, plan.Signature] | None = None

    def _deadline(self, timeout: float | None) -> float:
        return time.monotonic() + (self.timeout if timeout is None else timeout)

    def _request(self, message: str, signature: str = "") -> Any:
        request = wire.MESSAGES[message]()
        request.model_spec.name = self.model
        if self.version:
            request.model_spec.version.value = self.version
        if self.label:
            request.model_spec.version_label = self.label
        if signature:
            request.model_spec.signature_name = signature
        return request

    def _where(self) -> str:
        which = f" version {self.version}" if self.version else f" label {self.label!r}" if self.label else ""
        return f"model {self.model!r}{which} at {self.address}"

    def _unusable(self, error: ValueError) -> ServingError:
        return ServingError(f"{self._where()} gave an unusable answer: {error}")

    def _ask(self, method: str, request: Any, deadline: float) -> Operation:
        """Makes one call, with its retries."""
        began, attempt, slow = time.monotonic(), 0, False
        last: tuple[grpc.StatusCode, str] = (grpc.StatusCode.UNAVAILABLE, "")
        while deadline - (sent := time.monotonic()) > _LEAST:
            try:
                return (yield Send(method, request, deadline))
            except grpc.RpcError as error:
                code, details = error.code(), error.details() or ""
                if code in _STALE:
                    self._known = None
                if code is grpc.StatusCode.DEADLINE_EXCEEDED:
                    slow = time.monotonic() - sent > sent - began  # this attempt took more time than all before it
                    break
                if not self._may_retry(code, details):
                    raise ServingError(f"{self._where()}: {code.name}: {details}", code, details) from error
                last = code, details
            yield Pause(self.backoff.pause(attempt, deadline - time.monotonic()))
            attempt += 1
        spent = time.monotonic() - began
        if not attempt or slow:
            message = f"{self._where()} gave no answer within {spent:.2f} s"
            raise DeadlineExceeded(message, grpc.StatusCode.DEADLINE_EXCEEDED)
        tries = f"{attempt} attempt{'s' * (attempt > 1)} in {spent:.2f} s"
        code, details = last
        if code is grpc.StatusCode.UNAVAILABLE:
            raise ServerUnreachable(f"{self.address} is not reachable ({tries}): {details}", code, details)
        raise ServingError(f"{self._where()}: {code.name} ({tries}): {details}", code, details)

    def _may_retry(self, code: grpc.StatusCode, details: str) -> bool:
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
            # gRPC refuses a message beyond its size limit with the same code; trying again would not help
            return self.retry_exhausted and "message larger than max" not in details
        return code is grpc.StatusCode.UNAVAILABLE

    def _signatures(self, deadline: float) -> Operation:
        if self._known is None:
            request = self._request("GetModelMetadataRequest")
            request.metadata_field.append("signature_def")
            response = yield from self._ask("GetModelMetadata", request, deadline)
            packed = response.metadata["signature_def"].value if "signature_def" in response.metadata else b""
            self._known = plan.parse_signatures(packed)
        return self._known

    def _signature(self, name: str, deadline: float) -> Operation:
        known = yield from self._signatures(deadline)
        if name not in known:
            names = ", ".join(known) or "none at all"
            raise ServingError(f"{self._where()} has no signature {name!r}; it has {names}")
        texts = [name_of_input for name_of_input, tensor in known[name].inputs.items() if tensor.dtype == "string"]
        if len(texts) != len(known[name].inputs):
            others = ", ".join(sorted(set(known[name].inputs) - set(texts)))
            raise ServingError(f"signature {name!r} of {self._where()} takes more than text: {others}")
        return known[name]

    def _predict(
        self,
        tensors: Mapping[str, tuple[Sequence[bytes], tuple[int, ...]]],
        signature: str,
        outputs: Sequence[str],
        deadline: float,
    ) -> Operation:
        """Sends one Predict request of string tensors, each given as (values, shape)."""
        request = self._request("PredictRequest", signature)
        request.output_filter.extend(outputs)
        for name, (values, shape) in tensors.items():
            wire.fill_strings(request.inputs[name], values, shape)
        return (yield from self._send(request, deadline))

    def _replay(self, packed: bytes, deadline: float) -> Operation:
        try:
            request = wire.MESSAGES["PredictRequest"].FromString(packed)
        except DecodeError:
            raise ValueError("these bytes are no PredictRequest") from None
        request.model_spec.CopyFrom(self._request("PredictRequest", request.model_spec.signature_name).model_spec)
        return (yield from self._send(request, deadline))

    def _send(self, request: Any, deadline: float) -> Operation:
        response = yield from self._ask("Predict", request, deadline)
        if self.request_log is not None:
            self.request_log.sample(self.model, request, response)
        try:
            arrays = {name: wire.to_numpy(tensor) for name, tensor in response.outputs.items()}
        except ValueError as error:
            raise self._unusable(error) from error
        missing = set(request.output_filter) - set(arrays)
        if missing:
            raise self._unusable(ValueError(f"without the output {', '.join(sorted(missing))}"))
        return Prediction(arrays, response.model_spec.version.value)

    def _predict_texts(
        self, inputs: Mapping[str, Any], signature: str, outputs: Sequence[str], deadline: float
    ) -> Operation:
        tensors = {}
        for name, value in inputs.items():
            array = np.asarray(value, dtype=object)
            where = f"input {name!r}"
            tensors[name] = ([plan.encode(text, where) for text in array.ravel()], array.shape)
        return (yield from self._predict(tensors, signature, outputs, deadline))

    def _chunk(
        self, table: Mapping[str, list[bytes]], part: slice, signature: str, output: str, deadline: float
    ) -> Operation:
        tensors = {name: (values[part], (part.stop - part.start,)) for name, values in table.items()}
        answer = yield from self._predict(tensors, signature, [output], deadline)
        return answer.outputs[output]

    def _rows(self, rows: Iterable[plan.Row], name: str, named: str, usual: str, deadline: float) -> Operation:
        """Does the work of `score` and `embed`: asks for the output `named`, or the `usual` one, of all rows."""
        if isinstance(rows, str | bytes | Mapping):
            raise TypeError(f"rows is one {type(rows).__name__}; it takes a list of rows")
        rows = list(rows)
        signature: plan.Signature = yield from self._signature(name, deadline)
        output = signature.output(named, usual)
        shape = signature.outputs[output].shape or (-1,)
        if not rows:
            return np.zeros((0, *(max(size, 0) for size in shape[1:])), np.float32)
        dicts = all(isinstance(row, Mapping) for row in rows)
        order = None if dicts else plan.field_order(self._known or {name: signature}, signature, self.fields)
        table = plan.columns(rows, signature, order)
        parts = list(plan.slices(len(rows), self.chunk_rows))
        chunks = [self._chunk(table, part, name, output, deadline) for part in parts]
        answers = yield Together(chunks)
        try:
            return plan.join(answers, [part.stop - part.start for part in parts], f"output {output!r}")
        except ValueError as error:
            raise self._unusable(error) from error

    def _rank(self, queries: Any, titles: Any, deadline: float) -> Operation:
        single = isinstance(queries, str | bytes)
        if isinstance(titles, str | bytes) or (not single and any(isinstance(group, str | bytes) for group in titles)):
            raise TypeError("titles is one text where a list is needed: a list for one query, a list of lists for many")
        queries, titles = ([queries], [titles]) if single else (list(queries), list(titles))
        if len(queries) != len(titles):
            raise ValueError(f"{len(queries)} queries with {len(titles)} lists of titles")
        heads = [plan.encode(query, f"query {index}") for index, query in enumerate(queries)]
        lists = [
            [plan.encode(title, f"query {index}: title {at}") for at, title in enumerate(group)]
            for index, group in enumerate(titles)
        ]
        signature: plan.Signature = yield from self._signature("rank", deadline)
        by_rank = {len(tensor.shape or ()): name for name, tensor in signature.inputs.items()}
        if len(signature.inputs) != 2 or set(by_rank) != {1, 2}:
            raise self._unusable(ValueError("its signature 'rank' is not one query and a list of titles a row"))
        output = signature.output("", "scores", "score")
        lengths = [len(group) for group in lists]
        groups = plan.rank_groups(lengths, self.chunk_rows)
        asks = [self._rank_group(heads, lists, group, by_rank, output, deadline) for group in groups]
        answers = yield Together(asks)
        try:
            scores = plan.scatter(groups, answers, lengths)
        except ValueError as error:
            raise self._unusable(error) from error
        return scores[0] if single else scores

    def _rank_group(
        self,
        heads: list[bytes],
        lists: list[list[bytes]],
        group: Sequence[plan.Piece],
        names: Mapping[int, str],
        output: str,
        deadline: float,
    ) -> Operation:
        width = max(piece.stop - piece.start for piece in group)
        cells: list[bytes] = []
        for piece in group:
            part = lists[piece.query][piece.start : piece.stop]
            cells += part + [b""] * (width - len(part))
        tensors = {
            names[1]: ([heads[piece.query] for piece in group], (len(group),)),
            names[2]: (cells, (len(group), width)),
        }
        answer = yield from self._predict(tensors, "rank", [output], deadline)
        return answer.outputs[output]

    def _versions(self, deadline: float) -> Operation:
        request = self._request("GetModelStatusRequest")
        response = yield from self._ask("GetModelStatus", request, deadline)
        return {
            status.version: wire.STATES.get(status.state, str(status.state)) for status in response.model_version_status
        }

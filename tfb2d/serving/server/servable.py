"""A loaded version with what answers its requests.

`run` makes it when a version is loaded, `models` keeps it, and `api` hands it the requests of the four inference RPCs.
Predict is answered here, with the checks in TensorFlow Serving's order; `inference` answers the others.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import classification_pb2, inference_pb2, predict_pb2, regression_pb2

from tfb2d.model_folder import ABOUT
from tfb2d.serving.server import inference, tensors
from tfb2d.serving.server.batching import Batcher
from tfb2d.serving.server.errors import Code, StatusError, invalid
from tfb2d.serving.server.options import Options
from tfb2d.serving.server.session import DEFAULT_SIGNATURE, Session
from tfb2d.serving.server.steps import Run, Step, Work
from tfb2d.serving.server.textprotos import read_batching

_PREDICT_METHODS = ("", "tensorflow/serving/predict", "tensorflow/serving/classify", "tensorflow/serving/regress")
_MOST_PLANS = 1000  # that are kept: the output filter's order comes from outside


class Rpc(NamedTuple):
    """Describes an inference RPC: its messages, and its field in PredictionLog."""

    request: Any
    response: Any
    log: str


RPCS = {
    "Predict": Rpc(predict_pb2.PredictRequest, predict_pb2.PredictResponse, "predict_log"),
    "Classify": Rpc(
        classification_pb2.ClassificationRequest, classification_pb2.ClassificationResponse, "classify_log"
    ),
    "Regress": Rpc(regression_pb2.RegressionRequest, regression_pb2.RegressionResponse, "regress_log"),
    "MultiInference": Rpc(
        inference_pb2.MultiInferenceRequest, inference_pb2.MultiInferenceResponse, "multi_inference_log"
    ),
}


class Plan(NamedTuple):
    """Says what a signature fetches, worked out once."""

    aliases: tuple[str, ...]  # outputs
    fetches: tuple[str, ...]  # their tensor names
    rows: bool  # whether every input and output has a first dimension of any size


class Inputs(NamedTuple):
    """Holds a signature's inputs, read from its protobuf once."""

    names: Mapping[str, str]  # alias -> tensor name, aliases in order
    defaults: Mapping[str, tensor_pb2.TensorProto]


class Servable:
    """Holds a version's session, of its folder below the model's base path.

    `batcher` is the server's, None where batching is off; a folder may bring parameters for one of its own.
    """

    def __init__(self, folder: str, base: str, options: Options, batcher: Batcher | None = None) -> None:
        own, file = None, Path(folder, "batching_params.pbtxt")
        if batcher is not None and options.enable_per_model_batching_parameters and file.is_file():
            own = read_batching(str(file))
        if batcher is not None:
            (own or batcher.parameters).check()
        self.session = Session(folder, options, base)
        self._options = options
        self._joins = options.join_requests and Path(folder, ABOUT).is_file()  # rows of a student are independent
        self._own_batcher = Batcher(own, batcher.observe) if batcher is not None and own is not None else None
        self._batcher = self._own_batcher or batcher
        self.run: Run = self.session.run if self._batcher is None else self._batcher.wrap(self.session.run)
        self._inputs: dict[str, Inputs] = {}
        self._plans: dict[tuple[str, tuple[str, ...]], Plan] = {}

    def answer(self, rpc: str, request: Any, response: Any, seconds: float | None) -> Step[None]:
        """Returns the step that fills the response to a request of an RPC of `RPCS`."""
        if rpc != "Predict":
            inference.answer(self.session, self.run, rpc, request, response, seconds)
            return
        signature = request.model_spec.signature_name or DEFAULT_SIGNATURE
        feeds = self._feeds(self._inputs.get(signature) or self._read_inputs(signature), request.inputs)
        key = signature, tuple(request.output_filter)
        plan = self._plans.get(key)
        if plan is None:
            plan = make_plan(self.session, *key)
            if len(self._plans) < _MOST_PLANS:
                self._plans[key] = plan
        results = yield Work(self.run, feeds, plan.fetches, seconds, self._joins and plan.rows)
        as_content = self._options.enable_serialization_as_tensor_content
        for alias, value in zip(plan.aliases, results, strict=True):
            tensors.fill_proto(response.outputs[alias], value, as_content)
        response.model_spec.signature_name = signature

    def _read_inputs(self, name: str) -> Inputs:
        definition = self.session.signatures.get(name)
        if definition is None:
            raise StatusError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
        if self._options.enable_signature_method_name_check and definition.method_name not in _PREDICT_METHODS:
            expected = ", ".join(_PREDICT_METHODS[1:])
            text = f"Expected prediction signature method_name to be one of {{{expected}}}."
            raise StatusError(Code.INTERNAL, f"{text} Was: {definition.method_name}")
        names = {alias: definition.inputs[alias].name for alias in sorted(definition.inputs)}
        self._inputs[name] = inputs = Inputs(names, dict(definition.defaults))
        return inputs

    def _feeds(self, inputs: Inputs, sent: Mapping[str, tensor_pb2.TensorProto]) -> dict[str, np.ndarray]:
        """Returns arrays by tensor name."""
        names, defaults = inputs
        given = set(sent)
        if len(given) > len(names) or (len(given) < len(names) and not defaults):
            raise _wrong_size(given, set(names))
        feeds = {}
        for alias, feed in names.items():
            proto = sent[alias] if alias in given else defaults.get(alias)
            if proto is None:
                raise invalid(
                    f"Signature input alias: {alias}(feed name: {feed}) not found in request and no default"
                    f" value provided. Inputs expected to be in the request {_listed(given)}, or default input"
                    f" alias set: {','.join(sorted(defaults))}"
                )
            feeds[feed] = tensors.to_array(proto, alias, self._options.max_tensor_bytes, self._options.max_string_bytes)
        return feeds

    def close(self) -> None:
        """Frees the session."""
        if self._own_batcher is not None:
            self._own_batcher.stop()
        elif self._batcher is not None:
            self._batcher.forget(self.session.run)
        self.session.close()


def _listed(names: set[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"


def _wrong_size(given: set[str], expected: set[str]) -> StatusError:
    sizes = f"{len(given)}!={len(expected)} len({_listed(given)}) != len({_listed(expected)})"
    extra, missing = _listed(given - expected), _listed(expected - given)
    return invalid(
        f"input size does not match signature: {sizes}. Sent extra: {extra}. Missing but required: {missing}."
    )


def make_plan(session: Session, signature: str, output_filter: Sequence[str] = ()) -> Plan:
    """Returns the fetches of a signature."""
    definition = session.signatures[signature]
    outputs = definition.outputs
    for position, alias in enumerate(output_filter):
        if alias not in outputs:
            expected = f"Outputs expected to be in the set {_listed(set(outputs))}."
            raise invalid(f"output tensor alias not found in signature: {alias} {expected}")
        if alias in output_filter[:position]:
            raise invalid(f"duplicate output tensor alias: {alias}")
    aliases = tuple(output_filter) or tuple(sorted(outputs))
    infos = [*definition.inputs.values(), *(outputs[alias] for alias in aliases)]
    for info in infos:
        session.check(info.name)
    rows = all(info.tensor_shape.dim and info.tensor_shape.dim[0].size == -1 for info in infos)
    return Plan(aliases, tuple(outputs[alias].name for alias in aliases), rows)

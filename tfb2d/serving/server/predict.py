"""Answers Predict: the checks in TensorFlow Serving's order, then a session run.

`servable` makes a predictor for each version; `steps` lets its runs be shared.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import predict_pb2

from tfb2d.serving.server import tensors
from tfb2d.serving.server.errors import Code, StatusError, invalid
from tfb2d.serving.server.options import Options
from tfb2d.serving.server.session import Session
from tfb2d.serving.server.steps import Run, Step, Work

DEFAULT_SIGNATURE = "serving_default"
_PREDICT_METHODS = ("", "tensorflow/serving/predict", "tensorflow/serving/classify", "tensorflow/serving/regress")


class Plan(NamedTuple):
    """Says what a signature feeds and fetches, worked out once."""

    inputs: Mapping[str, str]  # alias -> tensor name
    aliases: tuple[str, ...]  # outputs
    fetches: tuple[str, ...]  # their tensor names
    rows: bool  # whether every input and output has a first dimension of any size


class Inputs(NamedTuple):
    """Holds a signature's inputs, read from its protobuf once."""

    names: Mapping[str, str]  # alias -> tensor name, aliases in order
    defaults: Mapping[str, tensor_pb2.TensorProto]


class Predictor:
    """Answers Predict on a version; `joins` says that its rows are independent, so that requests may share a run."""

    def __init__(self, session: Session, options: Options, joins: bool = False) -> None:
        self._session = session
        self._options = options
        self._joins = joins
        self.run: Run = session.run  # server-side batching takes its place
        self._limits = options.max_tensor_bytes, options.max_string_bytes
        self._inputs: dict[str, Inputs] = {}
        self._plans: dict[tuple[str, tuple[str, ...]], Plan] = {}

    def predict(
        self, request: predict_pb2.PredictRequest, response: predict_pb2.PredictResponse, seconds: float | None
    ) -> Step[None]:
        """Returns the step that fills the response's outputs and signature name.

        Raises:
          StatusError: as TensorFlow Serving answers.
        """
        signature = request.model_spec.signature_name or DEFAULT_SIGNATURE
        inputs = self._inputs.get(signature) or self._read_inputs(signature)
        feeds = self._feeds(inputs, request.inputs)
        plan = self._plan(signature, tuple(request.output_filter))
        named = {plan.inputs[alias]: value for alias, value in feeds.items()}
        results = yield Work(self.run, named, plan.fetches, seconds, self._joins and plan.rows)
        as_content = self._options.enable_serialization_as_tensor_content
        for alias, value in zip(plan.aliases, results, strict=True):
            tensors.fill_proto(response.outputs[alias], value, as_content)
        response.model_spec.signature_name = signature

    def _read_inputs(self, name: str) -> Inputs:
        definition = self._session.signatures.get(name)
        if definition is None:
            raise StatusError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
        if self._options.enable_signature_method_name_check and definition.method_name not in _PREDICT_METHODS:
            expected = ", ".join(_PREDICT_METHODS[1:])
            text = (
                f"Expected prediction signature method_name to be one of {{{expected}}}. Was: {definition.method_name}"
            )
            raise StatusError(Code.INTERNAL, text)
        names = {alias: definition.inputs[alias].name for alias in sorted(definition.inputs)}
        self._inputs[name] = inputs = Inputs(names, dict(definition.defaults))
        return inputs

    def _feeds(self, inputs: Inputs, sent: Mapping[str, tensor_pb2.TensorProto]) -> dict[str, np.ndarray]:
        names, defaults = inputs
        given = set(sent)
        if len(given) > len(names) or (len(given) < len(names) and not defaults):
            raise _wrong_size(given, set(names))
        feeds = {}
        max_bytes, max_string = self._limits
        for alias, feed in names.items():
            proto = sent[alias] if alias in given else defaults.get(alias)
            if proto is None:
                raise invalid(
                    f"Signature input alias: {alias}(feed name: {feed}) not found in request and no default"
                    f" value provided. Inputs expected to be in the request {{{','.join(sorted(given))}}}, or default input"
                    f" alias set: {','.join(sorted(defaults))}"
                )
            feeds[alias] = tensors.to_array(proto, alias, max_bytes, max_string)
        return feeds

    def _plan(self, signature: str, output_filter: tuple[str, ...]) -> Plan:
        key = (signature, output_filter)
        plan = self._plans.get(key)
        if plan is None:
            plan = make_plan(self._session, signature, output_filter)
            if len(self._plans) < 1000:  # the filter's order comes from outside
                self._plans[key] = plan
        return plan


def _wrong_size(given: set[str], expected: set[str]) -> StatusError:
    def show(names: set[str]) -> str:
        return "{" + ",".join(sorted(names)) + "}"

    return invalid(
        f"input size does not match signature: {len(given)}!={len(expected)} len({show(given)}) != len({show(expected)})."
        f" Sent extra: {show(given - expected)}. Missing but required: {show(expected - given)}."
    )


def make_plan(session: Session, signature: str, output_filter: Sequence[str] = ()) -> Plan:
    """Returns the feeds and fetches of a signature.

    Raises:
      StatusError: the filter names an output twice, or one that is not there.
    """
    definition = session.signatures[signature]
    outputs = definition.outputs
    seen: set[str] = set()
    for alias in output_filter:
        if alias not in outputs:
            known = ",".join(sorted(outputs))
            raise invalid(
                f"output tensor alias not found in signature: {alias} Outputs expected to be in the set {{{known}}}."
            )
        if alias in seen:
            raise invalid(f"duplicate output tensor alias: {alias}")
        seen.add(alias)
    aliases = tuple(output_filter) or tuple(sorted(outputs))
    inputs = {alias: info.name for alias, info in definition.inputs.items()}
    fetches = tuple(outputs[alias].name for alias in aliases)
    for name in (*inputs.values(), *fetches):
        session.check(name)
    infos = [*definition.inputs.values(), *(outputs[alias] for alias in aliases)]
    rows = all(info.tensor_shape.dim and info.tensor_shape.dim[0].size == -1 for info in infos)
    return Plan(inputs, aliases, fetches, rows)

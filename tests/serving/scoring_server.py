"""A gRPC server on TensorFlow Serving's official stubs that scores with checksums: small, and real on the wire."""

import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

# model -> signature -> (inputs, outputs), as name -> shape; inputs are text and outputs floats
MODELS = {
    "text": {"serving_default": ({"text": [-1]}, {"score": [-1], "logit": [-1]})},
    "pair": {
        "serving_default": ({"title": [-1], "query": [-1]}, {"score": [-1], "logit": [-1]}),
        "rank": ({"query": [-1], "titles": [-1, -1]}, {"scores": [-1, -1]}),
        "embed": ({"text": [-1]}, {"embedding": [-1, 4]}),
    },
    "ab": {"serving_default": ({"a": [-1], "b": [-1]}, {"score": [-1]})},
    "classes": {"serving_default": ({"text": [-1]}, {"score": [-1, 3], "logit": [-1, 3]})},
}
LIMIT = 64  # rows, as with server-side batching


def score(*texts: str | bytes) -> np.float32:
    """The score of a row, told by its texts alone."""
    row = b"\0".join(text if isinstance(text, bytes) else text.encode() for text in texts)
    return np.float32(zlib.crc32(row) % 100_000 / 100_000)


class ScoringServer(prediction_service_pb2_grpc.PredictionServiceServicer, model_service_pb2_grpc.ModelServiceServicer):
    """Serves MODELS on `address`; `port` is the one that it got. Calls beyond `most` at once are RESOURCE_EXHAUSTED."""

    def __init__(
        self, address: str = "127.0.0.1:0", credentials: grpc.ServerCredentials | None = None, most: int | None = None
    ) -> None:
        self.slow_down = lambda call: 0.0  # seconds that Predict call number `call` takes
        self.refusals: list[grpc.StatusCode] = []  # what the next Predict calls are answered with
        self.content = False  # tensor_content in place of float_val
        self.lost = 0  # values missing at the end of each output
        self.padding = 0  # columns added to `titles`, as TensorFlow Serving's padding adds them
        self.calls = self.busiest = self._busy = 0
        self.peers: set[str] = set()
        self.models = dict(MODELS)
        self._lock = threading.Lock()
        self._server = grpc.server(
            ThreadPoolExecutor(32),
            options=[("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)],
            maximum_concurrent_rpcs=most,
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(self, self._server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(self, self._server)
        bind = self._server.add_secure_port if credentials else self._server.add_insecure_port
        self.port = bind(address, *([credentials] if credentials else []))
        self.address = f"127.0.0.1:{self.port}"
        self._server.start()

    def __enter__(self) -> "ScoringServer":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(None).wait()

    def _model(self, spec, context) -> dict:
        if spec.name not in self.models:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: Latest({spec.name})")
        if spec.version_label not in ("", "stable"):
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT, f"Unrecognized servable version label: {spec.version_label}"
            )
        return self.models[spec.name]

    def Predict(self, request, context):
        with self._lock:
            call, self.calls = self.calls, self.calls + 1
            self._busy += 1
            self.busiest = max(self.busiest, self._busy)
            self.peers.add(context.peer())
            refusal = self.refusals.pop(0) if self.refusals else None
        try:
            time.sleep(self.slow_down(call))
            if refusal:
                context.abort(refusal, "as the test wants it")
            return self._predict(request, context)
        finally:
            with self._lock:
                self._busy -= 1

    def _predict(self, request, context):
        name = request.model_spec.signature_name or "serving_default"
        signatures = self._model(request.model_spec, context)
        if name not in signatures:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
        inputs, outputs = signatures[name]
        arrays = {item: tf.make_ndarray(tensor) for item, tensor in request.inputs.items()}
        if set(arrays) != set(inputs):
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"input size does not match signature: {set(arrays)}")
        if len({len(item) for item in arrays.values()}) != 1:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "unequal 0th dimensions")
        if next(iter(arrays.values())).size > LIMIT:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "larger than the maximum batch size")
        if "titles" in arrays and self.padding:
            titles = arrays["titles"]
            more = np.full((len(titles), self.padding), titles.ravel()[0], object)
            arrays["titles"] = np.concatenate([titles, more], axis=1)
        values = self._run(name, arrays, outputs)
        response = predict_pb2.PredictResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = request.model_spec.version.value or 3
        for item in request.output_filter or outputs:
            tensor = response.outputs[item]
            tensor.CopyFrom(tf.make_tensor_proto(values[item]))  # tensor_content from two values on
            if not self.content:
                tensor.ClearField("tensor_content")
                del tensor.float_val[:]
                tensor.float_val.extend(values[item].ravel().tolist())
            if self.lost:
                del tensor.float_val[-self.lost :]
        return response

    def _run(self, signature, arrays, outputs):
        if signature == "rank":
            rows = zip(arrays["query"], arrays["titles"], strict=True)
            return {"scores": np.array([[score(query, title) for title in titles] for query, titles in rows])}
        if signature == "embed":
            return {"embedding": np.array([[score(text, str(i)) for i in range(4)] for text in arrays["text"]])}
        table = zip(*[arrays[name] for name in sorted(arrays)], strict=True)
        scores = np.array([score(*row) for row in table], np.float32)
        if len(outputs["score"]) == 2:
            scores = np.stack([scores, scores / 2, scores / 4], axis=1)
        return {"score": scores, "logit": scores * 10}

    def GetModelMetadata(self, request, context):
        if list(request.metadata_field) != ["signature_def"]:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, "Metadata field is not supported")
        actual = get_model_metadata_pb2.SignatureDefMap()
        actual.signature_def["__saved_model_init_op"].SetInParent()
        for name, (inputs, outputs) in self._model(request.model_spec, context).items():
            for infos, shapes, dtype in (
                (actual.signature_def[name].inputs, inputs, tf.string),
                (actual.signature_def[name].outputs, outputs, tf.float32),
            ):
                for item, shape in shapes.items():
                    infos[item].dtype = dtype.as_datatype_enum
                    infos[item].tensor_shape.CopyFrom(tf.TensorShape([None if n < 0 else n for n in shape]).as_proto())
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(actual)
        return response

    def GetModelStatus(self, request, context):
        self._model(request.model_spec, context)
        response = get_model_status_pb2.GetModelStatusResponse()
        response.model_version_status.add(version=3, state="AVAILABLE")
        response.model_version_status.add(version=2, state="END")
        return response

"""Versions of a model with different scores, so that an answer shows its version."""

import os
import shutil
from pathlib import Path

import numpy as np

from tfb2d.model_folder import newest_version
from tfb2d.serving import wire

TOLERANCE = 1e-5
_SMALL = 1 << 20  # values; larger variables (the tables) stay as they are


class Versions:
    """Makes versions out of an exported model's newest one by scaling its smaller float variables.

    They appear whole, as `<folder>/<number>`. `expected` has, by number, the floats that each answers to `payload`, a
    serialized PredictRequest. Raises ValueError where the model has no variables, or its answers hold no floats.
    """

    def __init__(self, model: Path, folder: Path, payload: bytes) -> None:
        import tensorflow as tf

        self.source, self.folder, self.payload = newest_version(model), folder, payload
        self.expected: dict[int, np.ndarray] = {}
        reader = tf.train.load_checkpoint(str(self.source / "variables/variables"))
        self._values = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
        if not any(self._scaled(value) for value in self._values.values()):
            raise ValueError(f"{self.source} has no float variables, by which its versions could be distinguished")

    @staticmethod
    def _scaled(value: object) -> bool:
        return isinstance(value, np.ndarray) and value.dtype == np.float32 and 0 < value.size <= _SMALL

    def make(self, number: int, beside: str = "") -> Path:
        """Writes version `number`, into the watched folder or one `beside` it, and computes its answer; returns its folder.

        Raises ValueError where its answer is too close to another version's.
        """
        import tensorflow as tf

        partial = self.folder.with_name(f"{self.folder.name}.{number}.partial")
        shutil.copytree(self.source, partial, ignore=shutil.ignore_patterns("variables.data*", "variables.index"))
        names = sorted(self._values)
        scale = np.float32(1 + number / 50)
        tensors = [
            self._values[name] * scale if self._scaled(self._values[name]) else self._values[name] for name in names
        ]
        prefix = str(partial / "variables/variables")
        tf.raw_ops.SaveV2(prefix=prefix, tensor_names=names, shape_and_slices=[""] * len(names), tensors=tensors)
        answer = self._answer(partial)
        for other, known in self.expected.items():
            if other != number and np.abs(known - answer).max() < 10 * TOLERANCE:
                raise ValueError(f"versions {other} and {number} of {self.source} answer alike")
        self.expected[number] = answer
        target = (Path(beside) if beside else self.folder) / str(number)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(partial, target)
        return target

    def _answer(self, folder: Path) -> np.ndarray:
        from tensorflow_serving.apis import predict_pb2

        from tfb2d.serving.server.options import Options
        from tfb2d.serving.server.servable import Servable
        from tfb2d.serving.server.steps import alone

        servable = Servable(str(folder), str(folder), Options())
        try:
            response = predict_pb2.PredictResponse()
            alone(servable.answer("Predict", predict_pb2.PredictRequest.FromString(self.payload), response, None))
        finally:
            servable.close()
        return values(wire.MESSAGES["PredictResponse"].FromString(response.SerializeToString()))

    def check(self, data: bytes) -> tuple[int, str]:
        """Checks an answer; returns the version that it names, and its fault or ""."""
        answer = wire.MESSAGES["PredictResponse"].FromString(data)
        version = answer.model_spec.version.value
        if version not in self.expected:
            return version, f"an answer of version {version}, which was never written"
        distance = np.abs(values(answer) - self.expected[version]).max()
        return version, f"version {version} answers {distance:g} off" if distance > TOLERANCE else ""


def values(answer: object) -> np.ndarray:
    """Returns an answer's floats, of "logit" if it has them, since scores may saturate; raises ValueError without."""
    outputs = {name: wire.to_numpy(tensor) for name, tensor in answer.outputs.items()}  # type: ignore[attr-defined]
    floats = {name: tensor for name, tensor in outputs.items() if tensor.dtype.kind == "f"}
    if not floats:
        raise ValueError("the model answers no floats, by which its versions could be distinguished")
    return np.asarray(floats["logit"] if "logit" in floats else floats[min(floats)], np.float32).ravel()

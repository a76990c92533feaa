"""TensorFlow Model Optimization, imported without what it leaves behind.

Its import asks, by an environment variable, for the Keras before Keras 3, and every process started from here would heed
that. The modules of this room import it where they need it, after `load`.
"""

import os

_VARIABLE = "TF_USE_LEGACY_KERAS"


def load() -> None:
    """Imports the package; the environment is afterwards as it was."""
    before = os.environ.get(_VARIABLE)
    import tensorflow_model_optimization  # noqa: F401

    if before is None:
        os.environ.pop(_VARIABLE, None)
    else:
        os.environ[_VARIABLE] = before

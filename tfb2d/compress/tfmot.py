"""TensorFlow Model Optimization's public interface, imported without its side effect on the environment.

Nothing else in this package imports it. `load()` returns it, with the names of its API reference
(https://www.tensorflow.org/model_optimization/api_docs/python/tfmot). No private module and no private attribute is used.

Three things (0.8.1) that callers have to know:

* a pruning schedule is looked at in steps `begin_step`, `begin_step + frequency`, ... alone; with the default frequency
  of 100 a short training prunes nothing. `dense.pruned` sets it by the number of steps;
* of `n` weights a sparsity `s` zeroes `round(n * s)`, rounded half to even, but leaves one weight at least;
* a model that is quantised and not trained yet predicts a constant. `quantised.quantised` sets all ranges from data before
  the model is used.
"""

import os
from typing import Any

_VARIABLE = "TF_USE_LEGACY_KERAS"


def load() -> Any:
    """Imports the package and returns it, without changing the environment.

    Its import sets an environment variable that asks for Keras 2. Child processes would inherit it.
    """
    before = os.environ.get(_VARIABLE)
    import tensorflow_model_optimization

    if before is None:
        os.environ.pop(_VARIABLE, None)
    else:
        os.environ[_VARIABLE] = before
    return tensorflow_model_optimization

"""A serving process imports TensorFlow without what it never calls; what was hidden can be imported afterwards."""

import subprocess
import sys

PROGRAM = """
import sys
from tfb2d.serving.lean import UNUSED, give_back_memory, import_tensorflow
import_tensorflow()
assert "tensorflow" in sys.modules
loaded = {name.split(".")[0] for name in sys.modules}
assert loaded.isdisjoint({*UNUSED, "pandas", "sklearn", "matplotlib"}), loaded
import scipy
import tensorflow as tf
assert tf.strings.to_hash_bucket_fast(["a"], 9).shape == (1,)
give_back_memory()
"""


def test_a_server_imports_tensorflow_without_what_it_never_calls() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

"""Finds in the files that the repository brings the paths of the machine that made them."""

import re
from pathlib import Path

from tensorflow.core.protobuf import saved_model_pb2

# A path from the root, the home folder or a drive, of two names or more; random bytes of weights seldom look like one.
ABSOLUTE = re.compile(rb"(?:(?<![\w./:~*-])|file://|\b[A-Za-z]:|~)[/\\]+[\w.-]{2,}[/\\]+[\w.-]{2,}|~/\w{2,}")
OPERATIONS = (b"/MergeV2Checkpoints/", b"/ParseExample/")  # which TensorFlow names from the root


def machine_paths(file: Path) -> list[bytes]:
    """Returns the absolute paths in a file, but those that TensorFlow itself names."""
    content = file.read_bytes()
    assert b"site-packages" not in content, file
    if file.name == "saved_model.pb":  # as text, its strings stand in quotes, not behind a byte of their length
        content = re.sub(rb"\\(\d{3}|.)", b" ", str(saved_model_pb2.SavedModel.FromString(content)).encode())
    least = 12 if "variables.data" in file.name else 0  # among weights, short ones come about by chance
    return [path for path in ABSOLUTE.findall(content) if len(path) >= least and not path.startswith(OPERATIONS)]

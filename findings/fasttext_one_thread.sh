#!/usr/bin/env bash
# fastText: one thread initialises a tenth of the table
#
# Version: fasttext-numpy2 0.10.4 (fastText 0.9), NumPy 2.4.6, Python 3.11
# A good guess: `thread=1` makes training repeatable; the number of threads does not change what is initialised.
# What happens: each thread fills one tenth of the input table with start values. With one thread nine tenths stay as
#   memory was: zeros in a new process, anything later on.
# For whom it matters: `thread=1` for repeatability gives the opposite. With ten threads or more every row is
#   initialised, however few the cores.
# Seen on 2026-11-28:
#   1 thread: 0.1 of the rows hold start values
#   4 threads: 0.4 of the rows hold start values
#   12 threads: 1.0 of the rows hold start values
# The script ends with an error if one of these figures changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check fasttext-numpy2==0.10.4 numpy==2.4.6
cd "$folder"
"$folder/bin/python" - <<'PYTHON'
import subprocess
import sys

TRAIN = """
import sys
import fasttext
import numpy as np

with open("train.txt", "w") as file:
    file.writelines(f"__label__{row % 2} {'good' if row % 2 else 'bad'} film\\n" for row in range(200))
model = fasttext.train_supervised(
    "train.txt", wordNgrams=2, bucket=200_000, lr=0.0, epoch=1, thread=int(sys.argv[1]), verbose=0
)
print(np.abs(model.get_input_matrix()).any(axis=1).mean())
"""
for threads, expected in ((1, 0.1), (4, 0.4), (12, 1.0)):
    # A process each, so that its memory is new.
    done = subprocess.run([sys.executable, "-c", TRAIN, str(threads)], capture_output=True, text=True, check=True)
    share = float(done.stdout)
    print(f"{threads} thread{'s' * (threads > 1)}: {share:.1f} of the rows hold start values")
    assert abs(share - expected) < 0.01
PYTHON

#!/usr/bin/env bash
# fastText: the probabilities of its softmax sum to more than 1
#
# Version: fasttext-numpy2 0.10.4 (fastText 0.9), NumPy 2.4.6, Python 3.11
# A good guess: the probabilities of all labels sum to 1, up to rounding.
# What happens: fastText adds 1e-5 to each of them, so two labels sum to 1.00002.
# For whom it matters: a check that scores lie in [0, 1] refuses fastText's most certain rows. Clip within 1e-4 and
#   refuse what is beyond.
# Seen on 2026-11-28:
#   sum of two labels: 1.00002
# The script ends with an error if one of these figures changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check fasttext-numpy2==0.10.4 numpy==2.4.6
cd "$folder"
"$folder/bin/python" - <<'PYTHON'
import fasttext

with open("train.txt", "w") as file:
    file.writelines(f"__label__{row % 2} {'good' if row % 2 else 'bad'} film\n" for row in range(200))
model = fasttext.train_supervised("train.txt", thread=12, epoch=5, verbose=0)
labels, probabilities = model.predict("good film", k=2)
print(f"sum of two labels: {sum(probabilities):.5f}")
assert len(labels) == 2
assert abs(sum(probabilities) - 1.00002) < 2e-6
PYTHON

#!/usr/bin/env bash
# ml_dtypes: the mean of 1,000 ones in bfloat16 is 0.256
#
# Version: ml_dtypes 0.6.0, NumPy 2.4.6, Python 3.11
# A good guess: `mean` of a bfloat16 array sums in float32, as NumPy does for float16. The error is then that of one rounding.
# What happens: NumPy knows no wider type for ml_dtypes' types and sums in the type itself, one number after the other. A
#   bfloat16 has 8 significant bits: at 256 a further 1 is rounded away. The same holds for `sum` along an axis, for the
#   float8 types, and for int4, whose sum wraps around at 8. Matrix products are right.
# For whom it matters: embeddings and logits as TensorFlow and JAX hand them over in bfloat16. A mean over tokens or a loss over
#   rows is wrong without a warning, the more so the more there are. Give `dtype=np.float32`.
# Seen on 2026-11-29 (mean of so many ones):
#   200: float16 1.000, bfloat16 1.000
#   1000: float16 1.000, bfloat16 0.256, with dtype=np.float32 1.000
#   mean over 1,000 token vectors of 4 ones: [0.256, 0.256, 0.256, 0.256]
#   sum of 20 ones in float8_e4m3fn 16, in int4 4; product of 1,000 ones with 1,000 ones in bfloat16: 1000
# The script ends with an error if one of these figures changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check ml_dtypes==0.6.0 numpy==2.4.6
cd "$folder"
"$folder/bin/python" - <<'PYTHON'
import ml_dtypes
import numpy as np

half, brain = np.float16, ml_dtypes.bfloat16
few = [float(np.ones(200, dtype).mean()) for dtype in (half, brain)]
many = [float(np.ones(1000, dtype).mean()) for dtype in (half, brain)]
wide = float(np.ones(1000, brain).mean(dtype=np.float32))
pooled = np.ones((1000, 4), brain).mean(axis=0).astype(np.float32).round(3).tolist()
eighth = float(np.ones(20, ml_dtypes.float8_e4m3fn).sum())
nibble = int(np.ones(20, ml_dtypes.int4).sum())
product = float(np.ones(1000, brain) @ np.ones(1000, brain))
print("200: float16 {:.3f}, bfloat16 {:.3f}".format(*few))
print("1000: float16 {:.3f}, bfloat16 {:.3f}, with dtype=np.float32 {:.3f}".format(*many, wide))
print("mean over 1,000 token vectors of 4 ones: [{}]".format(", ".join(f"{value:.3f}" for value in pooled)))
print(f"sum of 20 ones in float8_e4m3fn {eighth:.0f}, in int4 {nibble}; ", end="")
print(f"product of 1,000 ones with 1,000 ones in bfloat16: {product:.0f}")
assert few == [1, 1]
assert many[0] == wide == 1 and abs(many[1] - 0.256) < 5e-4
assert all(abs(value - 0.256) < 5e-4 for value in pooled)
assert (eighth, nibble, product) == (16, 4, 1000)
PYTHON

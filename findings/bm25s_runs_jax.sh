#!/usr/bin/env bash
# bm25s: importing it runs a JAX operation where JAX is installed
#
# Version: bm25s 0.3.16, jax 0.10.2, NumPy 2.4.6, Python 3.11
# A good guess: a lexical search library over NumPy does not touch the accelerator, least of all on import.
# What happens: `import bm25s` imports JAX, if it can, and calls jax.lax.top_k once, which starts JAX's backend (here on
#   a CPU). JAX's documentation says that on a GPU it then reserves three quarters of the memory.
# For whom it matters: a search server beside a model on the same GPU, and programs that fork workers after imports. Setting
#   sys.modules["jax"] = None for the length of the import keeps it out; searching by get_scores needs no JAX.
# Seen on 2026-11-28:
#   JAX imported: True, its backends started: ['cpu']
#   kept out: JAX imported: False
# The script ends with an error if this changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check bm25s==0.3.16 jax==0.10.2 jaxlib==0.10.2 numpy==2.4.6
cd "$folder"
"$folder/bin/python" - <<'PYTHON'
import subprocess
import sys

first = "import sys, bm25s; loaded = 'jax' in sys.modules; from jax._src import xla_bridge as b; print(loaded, sorted(b._backends))"
second = "import sys; sys.modules['jax'] = None; import bm25s; del sys.modules['jax']; print('jax' in sys.modules)"
out = [
    subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    for code in (first, second)
]
loaded, backends = out[0].split(" ", 1)
print(f"JAX imported: {loaded}, its backends started: {backends}")
print(f"kept out: JAX imported: {out[1]}")
assert out == ["True ['cpu']", "False"]
PYTHON

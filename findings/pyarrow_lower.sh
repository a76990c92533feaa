#!/usr/bin/env bash
# PyArrow: `utf8_lower` makes other keys than Python's `lower`
#
# Version: pyarrow 26.0.1, Python 3.11
# A good guess: two Unicode lower-casing functions give the same text.
# What happens: PyArrow maps one character to one character. The Turkish capital I with a dot becomes `i`; Python makes
#   it `i` and a combining dot, two characters, as Unicode's full mapping has it.
# For whom it matters: texts joined by lower-cased keys do not meet where one side was lowered by PyArrow (or a data
#   frame on Arrow) and the other by Python.
# Seen on 2026-11-28:
#   PyArrow: 8 characters, Python: 9 characters, equal False
# The script ends with an error if one of these figures changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1
cd "$folder"
"$folder/bin/python" - <<'PYTHON'
import pyarrow as pa
import pyarrow.compute as pc

city = "\u0130STANBUL"
arrow, python = pc.utf8_lower(pa.scalar(city)).as_py(), city.lower()
print(f"PyArrow: {len(arrow)} characters, Python: {len(python)} characters, equal {arrow == python}")
assert arrow == "istanbul"
assert python == "i\u0307stanbul"
PYTHON

#!/usr/bin/env bash
# PyArrow: `open_csv` refuses a file that `read_csv` reads
#
# Version: pyarrow 26.0.1, Python 3.11
# A good guess: the streaming reader gives the same types as the reader of whole files.
# What happens: `open_csv` fixes a column's type by its first block. A price of 1.5 after a block of whole numbers is an
#   error there; `read_csv` makes the column a double.
# For whom it matters: a test on a small file passes, and the same code stops in the middle of a large one. Give
#   `column_types`.
# Seen on 2026-11-28:
#   read_csv: double
#   open_csv: ArrowInvalid
# The script ends with an error if one of these figures changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1
cd "$folder"
"$folder/bin/python" - <<'PYTHON'
import io

import pyarrow as pa
from pyarrow import csv

data = ("price\n" + "1\n" * 50 + "1.5\n").encode()
options = csv.ReadOptions(block_size=64)
whole = csv.read_csv(io.BytesIO(data), read_options=options).schema.field("price").type
try:
    csv.open_csv(io.BytesIO(data), read_options=options).read_all()
    streamed = "no error"
except pa.ArrowInvalid:
    streamed = "ArrowInvalid"
print(f"read_csv: {whole}")
print(f"open_csv: {streamed}")
assert (str(whole), streamed) == ("double", "ArrowInvalid")
PYTHON

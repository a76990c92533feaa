#!/usr/bin/env bash
# Parquet: a filter that looks for NaN finds none in a file, and finds it in memory
#
# Version: pyarrow 26.0.1, duckdb 2.0.1, polars 2.1.0, NumPy 2.4.6, Python 3.11
# A good guess: a filter gives the same rows whether the table is in memory or in a Parquet file.
# What happens: the minimum and maximum that a Parquet file keeps of a column leave NaN out. DuckDB and PyArrow skip a group of
#   rows in which no number between the two can match, and with it the rows that hold NaN. DuckDB's `WHERE isnan(score)` finds
#   nothing, while its `count(*) FILTER (WHERE isnan(score))` counts the row. PyArrow's `is_nan` misses it where all other values
#   are equal. Polars finds the row.
# For whom it matters: whoever checks stored scores, logits or weights for NaN before training on them: the check passes. Read
#   the column first and look for NaN afterwards.
# Seen on 2026-11-29 (rows found in memory / in the file):
#   DuckDB, isnan(score): 1 / 0
#   DuckDB, score > 0.95: 1 / 0, as NaN is the greatest number there
#   DuckDB, counted: 1 / 1
#   PyArrow, ~(score < 0.95): 1 / 0
#   PyArrow, is_nan(score): 1 / 1
#   PyArrow, is_nan(weight): 1 / 0
#   Polars, is_nan(score): 1 / 1
# The script ends with an error if one of these figures changes.
set -euo pipefail
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1 duckdb==2.0.1 polars==2.1.0 numpy==2.4.6
cd "$folder"
"$folder/bin/python" - <<'PYTHON'
import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

nan = float("nan")
memory = pa.table({"score": [0.5, nan, 0.9], "weight": [1.0, nan, 1.0]})
pq.write_table(memory, "scores.parquet")
score, weight = pc.field("score"), pc.field("weight")
seen = {}
for name, condition in (("isnan(score)", "isnan(score)"), ("score > 0.95", "score > 0.95")):
    found = [len(duckdb.sql(f"SELECT * FROM {table} WHERE {condition}").fetchall()) for table in ("memory", "'scores.parquet'")]
    seen[f"DuckDB, {name}"] = found
counts = "SELECT count(*) FILTER (WHERE isnan(score)) FROM"
seen["DuckDB, counted"] = [duckdb.sql(f"{counts} {table}").fetchall()[0][0] for table in ("memory", "'scores.parquet'")]
for name, condition in (
    ("~(score < 0.95)", ~(score < 0.95)),
    ("is_nan(score)", pc.is_nan(score)),
    ("is_nan(weight)", pc.is_nan(weight)),
):
    in_file = pq.read_table("scores.parquet", filters=condition).num_rows
    seen[f"PyArrow, {name}"] = [memory.filter(condition).num_rows, in_file]
condition = pl.col("score").is_nan()
in_file = pl.scan_parquet("scores.parquet").filter(condition).collect().height
seen["Polars, is_nan(score)"] = [pl.from_arrow(memory).filter(condition).height, in_file]
for name, (in_memory, in_file) in seen.items():
    print(f"{name}: {in_memory} / {in_file}")
assert list(seen.values()) == [[1, 0], [1, 0], [1, 1], [1, 0], [1, 1], [1, 0], [1, 1]]
PYTHON

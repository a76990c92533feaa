"""Values come through as they were written, where Arrow's own CSV and JSON readers guess types and lose some of them.

Measured with pyarrow 26: `csv.read_csv` turns 0042 into 42, a column of NA into nulls, 12:30 into a time; `json.read_json`
turns dates into timestamps; a streamed column of 1 and then 1.5 fails; a filter with "!=" drops nulls. So files of users
are read without guessing, texts are never null in tables, and labels that are missing are NaN, never null.
"""

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfb2d.config import DataConfig
from tfb2d.data.examples import read_examples, schema
from tfb2d.data.prepare import prepare
from tfb2d.data.readers import read_rows
from tfb2d.data.rejects import Rejects
from tfb2d.data.tables import iter_batches

TEXTS = [
    "0042",
    "0007",
    "NA",
    "nan",
    "null",
    "None",
    "2020-01-01",
    "2020-01-01T00:00:00",
    "12:30",
    "true",
    "0",
    "1e5",
    "+1",
]


@pytest.mark.parametrize("ending", ["tsv", "csv", "jsonl", "parquet"])
@pytest.mark.parametrize("texts", [TEXTS, *([text] * 2 for text in TEXTS)])
def test_texts_that_look_like_something_else_stay_texts(tmp_path, ending, texts):
    path = tmp_path / f"a.{ending}"
    if ending == "parquet":
        pq.write_table(pa.table({"text": texts}), path)
    elif ending == "jsonl":
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    else:
        path.write_text("\n".join(["text", *texts]))
    assert [row.values[0] for row in read_rows(path, ("text",))] == texts


@pytest.mark.parametrize("ending", ["tsv", "csv", "jsonl"])
def test_a_column_may_change_its_kind_of_number_far_down(tmp_path, ending):
    labels = ["1"] * 30_000 + ["1.5", "2.0"]
    path = tmp_path / f"a.{ending}"
    if ending == "jsonl":
        path.write_text("".join(f'{{"text": "a", "label": {label}}}\n' for label in labels))
    else:
        path.write_text("text\tlabel\n".replace("\t", "," if ending == "csv" else "\t"))
        with path.open("a") as out:
            out.writelines(f"a{',' if ending == 'csv' else chr(9)}{label}\n" for label in labels)
    data = DataConfig(label_range=(1.0, 2.0))
    batches = list(read_examples([path], data, labelled=True, rejects=Rejects(None, 0.0)))
    read = np.concatenate([batch["label"].to_numpy() for batch in batches])
    assert read.tolist() == [0.0] * 30_000 + [0.5, 1.0]


def arrow_columns() -> list[pa.Array]:
    """Makes three texts, one of them missing, in every type in which Arrow holds texts."""
    words = pa.array(["a", None, "b"])
    return [
        words,
        words.cast(pa.large_string()),
        words.cast(pa.string_view()),
        words.cast(pa.binary()),
        words.cast(pa.large_binary()),
        words.dictionary_encode(),
        words.cast(pa.large_string()).dictionary_encode(),
    ]


@pytest.mark.parametrize("titles", arrow_columns(), ids=lambda titles: str(titles.type))
def test_texts_are_python_strings_and_never_null(tmp_path, titles):
    """`tf.constant` refuses nulls, NaN for missing texts and NumPy's own strings, and cuts NULs from bytes."""
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"query": ["x", "y", "z"], "title": titles, "label": [0, 1, 1]}), path)
    data = DataConfig(fields=("query", "title"))
    (batch,) = read_examples([path], data, labelled=True, rejects=Rejects(None, 0.0))
    assert batch["title"].to_pylist() == ["a", "", "b"]
    assert batch["title"].type == pa.string()
    assert batch["title"].null_count == 0


def test_a_missing_text_of_pandas_is_rejected_not_read_as_nan(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": pa.array([math.nan, math.nan]), "label": [0, 1]}), path)
    rejects = Rejects(None, 1.0)
    assert not list(read_examples([path], DataConfig(), labelled=True, rejects=rejects))
    assert dict(rejects.reasons) == {"not text but float": 2}


def test_tables_hold_no_nulls_so_that_filters_lose_nothing(tmp_path):
    (tmp_path / "a.tsv").write_text("text\tlabel\n" + "".join(f"text {i}\t{i % 2}\n" for i in range(200)))
    (tmp_path / "log.jsonl").write_text('{"text": "new"}\n{"text": "other", "label": null}\n')
    data = DataConfig(train=(str(tmp_path / "a.tsv"),), unlabelled=(str(tmp_path / "log.jsonl"),))
    stats = prepare(data, tmp_path / "out", progress=False)
    for name in ("train", "valid", "test", "transfer"):
        for batch in iter_batches(tmp_path / "out" / name):
            assert batch.schema == schema(data)
            assert not any(column.null_count for column in batch.columns)
    table = pq.read_table(tmp_path / "out/transfer", filters=[("label", "!=", 1.0)])
    labels = table["label"].to_numpy()
    assert np.isnan(labels).sum() == stats["unlabelled"] == 2
    assert len(labels) == stats["transfer"] - stats["labels"]["train"]["1"]

import json
import math
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfb2d.config import DataConfig
from tfb2d.data import examples
from tfb2d.data.examples import read_examples
from tfb2d.data.rejects import Rejects
from tfb2d.data.task import Task
from tfb2d.errors import DataError

SENTIMENT = DataConfig(classes=("rotten", "fresh"))


@pytest.fixture
def read(tmp_path):
    """Reads one file's content; returns the columns, and the rejected rows as (row, field, reason)."""

    def read_one(
        content: bytes | str, data: DataConfig = SENTIMENT, name: str = "a.tsv", max_share: float = 1.0, **options
    ):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        options = {"labelled": True, **options}
        with Rejects(tmp_path / "rejected.jsonl", max_share) as rejects:
            batches = list(read_examples([path], data, rejects=rejects, **options))
        apart = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text().splitlines()]
        assert all(row["file"] == str(path) for row in apart)
        assert rejects.count == len(apart)
        table = pa.Table.from_batches(batches, examples.schema(data))
        return table.to_pydict(), [(row["row"], row["field"], row["reason"]) for row in apart]

    return read_one


@pytest.mark.parametrize(
    ("settings", "good", "bad"),
    [
        ({}, {"0": 0, "1": 1, "1.0": 1, " 0 ": 0}, ["2", "0.5", "yes", "nan", "-1"]),
        ({"classes": ("no", "yes")}, {"no": 0, "yes": 1, " yes": 1}, ["Yes", "1", "none"]),
        ({"classes": ("0", "1")}, {"0": 0, "1": 1}, ["1.5"]),
        ({"classes": ("a", "b", "c")}, {"a": 0, "b": 1, "c": 2}, ["d", "0"]),
        ({"label_range": (1.0, 3.0)}, {"1": 0, "2": 0.5, "3": 1, "2.5": 0.75}, ["0", "3.1", "nan", "inf", "good"]),
    ],
)
def test_labels(read, settings, good, bad):
    data = DataConfig(**settings)
    columns, apart = read("text\tlabel\n" + "".join(f"t\t{label}\n" for label in (*good, *bad, "", " ")), data)
    assert columns["label"] == list(good.values())
    known = Task.from_config(data).known_labels()
    assert apart[: len(bad)] == [
        (i, "label", f"unknown label (known: {known})") for i in range(len(good) + 2, 2 + len(good) + len(bad))
    ]
    assert [reason for _, _, reason in apart[len(bad) :]] == ["missing label"] * 2


LABELS = {  # as text, and as the types that JSON and Parquet have
    "1": [1, 1.0, "1.0", " 1. ", "1.000"],
    "0": [0, 0.0, "0.0"],
    "true": [True, "True", "TRUE"],
    "false": [False, "False"],
}


@pytest.mark.parametrize("value", [value for values in LABELS.values() for value in values])
@pytest.mark.parametrize(
    "classes", [("0", "1"), ("0", "1", "2"), ("0.0", "1.0"), ("false", "true"), ("False", "True"), ()]
)
def test_a_label_is_the_same_as_text_and_as_a_number(tmp_path, classes, value):
    data = DataConfig(classes=classes)
    label = next(label for label, values in LABELS.items() if any(value is v for v in values))
    known = {"", *(name.lower().removesuffix(".0") for name in classes)} if classes else set(LABELS)
    expected = [float(label in ("1", "true"))] if label in known else []
    for ending in ("tsv", "csv", "jsonl", "parquet"):
        path = tmp_path / f"a.{ending}"
        if ending == "parquet":
            pq.write_table(pa.table({"text": ["a"], "label": [value]}), path)
        elif ending == "jsonl":
            path.write_text(json.dumps({"text": "a", "label": value}))
        else:
            path.write_text("text\tlabel\na\t{}\n".replace("\t", "\t" if ending == "tsv" else ",").format(value))
        batches = read_examples([path], data, labelled=True, rejects=Rejects(None, 1))
        assert [label for batch in batches for label in batch["label"].to_pylist()] == expected, ending


@pytest.mark.parametrize(
    ("classes", "value"), [(("0", "1"), "01"), (("1", "1.0"), "1.00"), (("1", "2"), "1.5"), ((), "1_0")]
)
def test_labels_that_are_none(classes, value):
    assert Task.from_config(DataConfig(classes=classes)).read_label(value) is None


@pytest.mark.parametrize(
    ("classes", "value", "label"),
    [((), 1, 1), ((), True, 1), ((), 0.0, 0), (("1", "2"), 2, 1), (("1", "2"), 2.0, 1), (("false", "true"), True, 1)],
)
def test_typed_labels(read, classes, value, label):
    line = json.dumps({"text": "a", "label": value})
    assert read(line, DataConfig(classes=classes), "a.jsonl")[0]["label"] == [label]


def test_task_round_trip():
    for data in (
        SENTIMENT,
        DataConfig(fields=("query", "title"), label_range=(1.0, 3.0)),
        DataConfig(classes=tuple("abc")),
    ):
        task = Task.from_config(data)
        assert Task.from_json(json.loads(json.dumps(task.to_json()))) == task
    assert [Task.from_config(replace(SENTIMENT, classes=c)).kind for c in ((), ("a", "b"), ("a", "b", "c"))] == [
        "binary",
        "binary",
        "multiclass",
    ]


def test_many_classes_are_not_all_named():
    assert (
        Task(("text",), "multiclass", tuple(map(str, range(500)))).known_labels().endswith("18, 19, ... (500 classes)")
    )


def test_texts_stand_as_they_are(read):
    data = DataConfig(fields=("query", "title"), valid=("v",), test=("t",))
    columns, _ = read("query\ttitle\tlabel\n  two  spaces \t\t1\n\tｆｕｌｌ\t0\n", data)
    assert columns == {"query": ["  two  spaces ", ""], "title": ["", "ｆｕｌｌ"], "label": [1, 0]}


def test_rows_set_apart(read):
    lines = [
        b"good\tfresh",
        b" \trotten",
        b"a\xffb\tfresh",
        b"a\0b\tfresh",
        b"x" * 11 + b"\tfresh",
        b"good",
        b"ok\tfine",
    ]
    columns, apart = read(b"text\tlabel\n" + b"\n".join(lines), replace(SENTIMENT, max_chars=10))
    assert columns["text"] == ["good"]
    assert apart == [
        (3, "text", "empty text"),
        (4, "text", "invalid UTF-8"),
        (5, "text", "NUL byte"),
        (6, "text", "longer than data.max_chars=10 characters"),
        (7, "", "ragged row: not the header's 2 columns"),
        (8, "label", "unknown label (known: rotten, fresh)"),
    ]


def test_a_field_that_is_no_text(read):
    lines = [
        {"text": 5, "label": 1},
        {"text": ["a"], "label": 1},
        {"text": "a\ud800", "label": 1},
        {"text": "b", "label": {}},
    ]
    columns, apart = read("\n".join(map(json.dumps, lines)), DataConfig(), "a.jsonl")
    assert columns["text"] == []
    assert [reason for *_, reason in apart] == [
        "not text but int",
        "not text but list",
        "invalid UTF-8",
        "unknown label (known: 0, 1)",
    ]


def test_groups_and_ids(read):
    data = DataConfig(group="movie", id="id")
    content = "id\tmovie\ttext\tlabel\n1\tm\ta\t0\n2\t\tb\t1\n1\tn\tc\t1\n\tn\td\t1\n3\tn\te\t1\n"
    columns, apart = read(content, data)
    assert columns == {"text": ["a", "e"], "label": [0, 1], "group": ["m", "n"]}
    assert sorted(apart) == [(3, "movie", "missing value"), (4, "id", "duplicate id"), (5, "id", "missing value")]
    columns, apart = read(content, data, labelled=False)
    assert columns["group"] == ["m", "", "n", "n"]
    assert all(map(math.isnan, columns["label"]))
    assert apart == [(4, "id", "duplicate id")]
    assert read("text\na\n", data, labelled=False)[0]["group"] == [""]
    for column in ("movie", "id"):
        with pytest.raises(DataError, match=rf"a\.tsv has no column '{column}'"):
            read(content.replace(column, "x", 1), data)


def test_pairs_to_be_cut_are_grouped_by_query(read):
    columns, apart = read("query\ttitle\tlabel\na\tb\t1\n\tc\t0\n", DataConfig(fields=("query", "title")))
    assert columns["group"] == ["a"]
    assert apart == [(3, "query", "missing value")]


def test_duplicate_ids_far_apart(read):
    rows = [f"{i}\tt\t1" for i in range(10_000)] + ["17\tu\t1"]
    columns, apart = read("id\ttext\tlabel\n" + "\n".join(rows), DataConfig(id="id"))
    assert len(columns["text"]) == 10_000
    assert apart == [(10_002, "id", "duplicate id")]


def test_columns_under_other_names(read):
    data = DataConfig(fields=("query", "title"), group="query")
    columns, _ = read("q\tt\na\tb\n", data, labelled=False, columns=("q", "t"))
    assert (columns["query"], columns["title"], columns["group"]) == (["a"], ["b"], ["a"])


def test_limit(read):
    content = "text\n" + "".join(f"{i}\n" for i in range(100))
    assert len(read(content, labelled=False, limit=7)[0]["text"]) == 7
    assert len(read(content, labelled=False, limit=700)[0]["text"]) == 100


@pytest.mark.parametrize("lengths", [(1,), (6000, 0, 100), (0, 10, 3000, 20)])
def test_batches_are_bounded(tmp_path, lengths):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["x" * (1 + n) for n in lengths for _ in range(2000)]}), path)
    batches = list(read_examples([path], DataConfig(), labelled=False, rejects=Rejects(None, 0)))
    assert sum(b.num_rows for b in batches) == 2000 * len(lengths)
    assert max(b.num_rows for b in batches) <= examples.BATCH_ROWS
    assert max(b.nbytes for b in batches) < examples.BATCH_CHARS + 10_000 + 8 * examples.BATCH_ROWS


def test_too_many_rows_set_apart(read):
    rows = ["t\t1"] * 98 + ["t\tx", "\t1"]
    assert len(read("text\tlabel\n" + "\n".join(rows), DataConfig(), max_share=0.02)[1]) == 2
    with pytest.raises(DataError) as error:
        read("text\tlabel\n" + "\n".join(rows), DataConfig(), max_share=0.0199)
    message = str(error.value)
    assert message.startswith(
        "2 of 100 rows cannot be used, more than data.max_rejected=0.0199 allows: 1 unknown label"
    )
    assert "a.tsv, row 100, field 'label': unknown label (known: 0, 1): 'x'" in message
    assert message.endswith("rejected.jsonl")


def test_a_hopeless_file_stops_early(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("text\tlabel\n" + "some text of a length\tx\n" * 300_000)
    rejects = Rejects(tmp_path / "rejected.jsonl", 0.01)
    with pytest.raises(DataError, match="rows cannot be used"), rejects:
        list(read_examples([path], DataConfig(), labelled=True, rejects=rejects))
    assert rejects.count < 100_000
    assert len((tmp_path / "rejected.jsonl").read_text().splitlines()) == rejects.count


def test_bad_rows_at_the_beginning_stop_nothing(read):
    rows = ["t\tx"] * 4096 + ["t" * 100 + "\t1"] * 25_000
    assert len(read("text\tlabel\n" + "\n".join(rows), DataConfig(), max_share=0.15)[1]) == 4096


def test_no_rows(read):
    with pytest.raises(DataError, match=r"a\.tsv: no rows below the header"):
        read("text\tlabel\n", DataConfig())
    with pytest.raises(DataError, match=r"a\.csv: no rows below the header"):
        read("text,label\n", DataConfig(), "a.csv")


def test_each_file_set_has_its_own_share(tmp_path):
    for name, label in (("a.tsv", "x"), ("b.tsv", "1")):
        (tmp_path / name).write_text("text\tlabel\n" + f"t\t{label}\n" + "t\t1\n" * 9)
    rejects = Rejects(tmp_path / "rejected.jsonl", 0.1)
    for name in ("a.tsv", "a.tsv", "b.tsv"):
        list(read_examples([tmp_path / name], DataConfig(), labelled=True, rejects=rejects))
    assert rejects.count == 2
    with pytest.raises(DataError, match="1 of 10 rows"):
        list(read_examples([tmp_path / "a.tsv"], DataConfig(), labelled=True, rejects=Rejects(None, 0.0)))

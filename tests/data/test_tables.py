import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tfb2d.data import tables
from tfb2d.errors import DataError

SCHEMA = pa.schema([("text", pa.string()), ("label", pa.float32())])


def batch(start: int, rows: int, text: str = "text") -> pa.RecordBatch:
    numbers = range(start, start + rows)
    return pa.record_batch([pa.array([f"{text} {i}" for i in numbers]), pa.array(numbers, pa.float32())], schema=SCHEMA)


def test_round_trip(tmp_path):
    with tables.ShardWriter(tmp_path / "t", SCHEMA) as writer:
        for start in range(0, 150_000, 50_000):
            writer.write(batch(start, 50_000))
    assert [p.name for p in tables.part_files(tmp_path / "t")] == [f"part-0000{i}.parquet" for i in range(3)]
    assert [pq.read_metadata(p).num_rows for p in tables.part_files(tmp_path / "t")] == [65_536, 65_536, 18_928]
    assert tables.count_rows(tmp_path / "t") == writer.rows == 150_000
    table = tables.read_table(tmp_path / "t")
    assert table.schema == SCHEMA
    assert table["label"].to_pylist() == list(range(150_000))
    assert tables.read_table(tmp_path / "t", ["label", "text"]).schema.names == ["label", "text"]
    streamed = list(tables.iter_batches(tmp_path / "t", ["label"], rows=1000))
    assert max(b.num_rows for b in streamed) == 1000
    assert [v for b in streamed for v in b.column(0).to_pylist()] == list(range(150_000))


def test_batches_do_not_show_in_the_bytes(tmp_path):
    for name, size in (("a", 70_000), ("b", 70)):
        with tables.ShardWriter(tmp_path / name, SCHEMA) as writer:
            for start in range(0, 70_000, size):
                writer.write(batch(start, size))
    for left, right in zip(tables.part_files(tmp_path / "a"), tables.part_files(tmp_path / "b"), strict=True):
        assert left.read_bytes() == right.read_bytes()


def test_long_texts_make_smaller_parts(tmp_path):
    with tables.ShardWriter(tmp_path, SCHEMA) as writer:
        for start in range(0, 400, 10):
            writer.write(batch(start, 10, "x" * 100_000))
    sizes = [pq.read_metadata(p).num_rows for p in tables.part_files(tmp_path)]
    assert sum(sizes) == 400
    assert max(sizes) <= 170


def test_an_empty_table_has_its_schema(tmp_path):
    tables.ShardWriter(tmp_path, SCHEMA).close()
    assert tables.read_table(tmp_path).schema == SCHEMA
    assert tables.count_rows(tmp_path) == 0
    assert sum(b.num_rows for b in tables.iter_batches(tmp_path)) == 0


def test_flush_makes_what_was_taken_readable(tmp_path):
    writer = tables.ShardWriter(tmp_path, SCHEMA)
    writer.write(batch(0, 10))
    writer.flush()
    assert tables.count_rows(tmp_path) == 10
    writer.close()
    assert len(tables.part_files(tmp_path)) == 1


def test_broken_tables(tmp_path):
    with pytest.raises(DataError, match="no part-"):
        tables.read_table(tmp_path)
    with tables.ShardWriter(tmp_path, SCHEMA) as writer:
        writer.write(batch(0, 1000))
    (part,) = tables.part_files(tmp_path)
    part.write_bytes(part.read_bytes()[:-10])
    for read in (tables.read_table, tables.count_rows, lambda folder: list(tables.iter_batches(folder))):
        with pytest.raises(DataError, match=r"part-00000\.parquet: not a whole Parquet file"):
            read(tmp_path)


@given(st.lists(st.integers(0, 7), min_size=1, max_size=6), st.integers(0, 9), st.integers(1, 30))
@settings(max_examples=25, deadline=None)
def test_rows_are_read_by_their_index(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], first: int, rows: int
) -> None:
    folder, start = tmp_path_factory.mktemp("table"), 0
    for part, size in enumerate(sizes, 99_998):  # in the order of their numbers, of five digits and of six
        pq.write_table(pa.Table.from_batches([batch(start, size)]), folder / f"part-{part:05d}.parquet")
        start += size
    first = min(first, max(0, start - 1))
    for known in (None, sizes):
        read = tables.TableRows(folder, ["label"], known).read(first, rows)
        assert read["label"].to_pylist() == list(range(start))[first : first + rows]

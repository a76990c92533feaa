"""Data: files of rows become checked examples, splits and the transfer set, as sharded Parquet.

- `prepare.prepare` does all of it for a run: it reads, checks, splits and writes.
- `readers.read_rows` streams the rows of any file; `delimited`, `quoted`, `json_lines` and `parquet_rows` know the formats.
- `examples.read_examples` checks rows against the `task`; `rejects` collects what does not pass.
- `splits` and `split_checks` decide which split a text belongs to, by the keys of `keys`.
- `transfer.TransferSet` collects what teachers label; `augment`, `indicative_words` and `retrieve` make more of it.
- `tables` reads and writes folders of Parquet parts, in which all of this is kept.
- `scores` and `join` read scores from elsewhere, and match them to rows by text.
- `offers` makes pairs out of a catalogue; `phrases` and `treebank` serve data like SST-2's.
"""

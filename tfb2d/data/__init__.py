"""Data: files of rows become checked examples, splits and the transfer set, as sharded Parquet.

- `prepare.prepare` does all of it for a run: it reads, checks, splits and writes.
- `readers.read_rows` streams the rows of any file; `delimited` and `quoted` know TSV and CSV, `rows` what a row must be.
- `examples.read_examples` checks rows against the `task`; `rejects` collects what does not pass.
- `splits` decides which split a text belongs to, by the keys of `keys`, and keeps held-out texts out of the others.
- `transfer.TransferSet` collects what teachers label; `augment`, `indicative_words` and `retrieve` make more of it.
- `tables` reads and writes folders of Parquet parts, in which all of this is kept.
- `scores` and `join` read scores from elsewhere, and match them to rows by text.
- `offers` makes pairs out of a catalogue; `treebank` serves data like SST-2's.
"""

"""Data: files of rows become checked examples, splits and the transfer set, as sharded Parquet."""

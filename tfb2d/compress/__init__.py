"""Compression: row-wise int8 tables, a size budget, and TFMOT for the dense layers."""

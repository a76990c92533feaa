"""Distil slow Transformer relevance models into n-gram students that score in microseconds on a CPU."""

__version__ = "0.1.0"

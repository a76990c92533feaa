"""Twins: one encoder for queries and one for titles (Keras 3). Importing the package imports nothing heavy."""

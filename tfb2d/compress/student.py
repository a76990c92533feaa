"""A compressed student: the same network over tables in their stored form."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfb2d.students.int8_table import CompressedTable
from tfb2d.students.model import Student
from tfb2d.students.spelling_graph import WORD_BYTES


def with_tables(student: Student, tables: Mapping[str, CompressedTable]) -> Student:
    """Copies a student with other tables, by name as in `Student.embeddings`, with as many buckets.

    The copy serves, saves and loads as any other. Its `compression`, kept in `student.json`, says for each table how
    many rows are stored, and whether ids are mapped to them.
    """
    forms = {name: {"rows": len(table.values), "remapped": table.remap is not None} for name, table in tables.items()}
    made = Student(student.task, student.config, student.seed, {"tables": forms}, student.dictionary)
    for name, layer in made.embeddings.items():
        layer.assign(tables[name])
    if made.ngrams.known is not None:
        made.ngrams.known.assign(student.ngrams.known)
    copy_other_weights(student, made)
    return made


def copy_other_weights(source: Student, target: Student) -> None:
    """Copies all weights but the tables from one student to another."""

    def layers(student: Student) -> list[Any]:
        exits = [*student.cheap_denses, student.exit] if student.exit else []
        return [student.pool, *dense_layers(student), *exits]

    for source_layer, target_layer in zip(layers(source), layers(target), strict=True):
        target_layer.set_weights(source_layer.get_weights())


def dense_layers(student: Student) -> list[Any]:
    """Lists the dense layers in the order in which they run; a pair's query half of the first layer comes first."""
    return [*([student.query_dense] if student.query_dense else []), student.first_dense, *student.denses]


def stored_bytes(student: Student) -> int:
    """Returns the bytes of a student's weights in a file, and of the words that it knows in the served graph."""
    weights = sum(np.asarray(weight).nbytes for weight in student.trunk.weights)
    return int(weights) + WORD_BYTES * len(student.dictionary or ())

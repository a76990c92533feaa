"""A student of each kind of task, which the tests of explanations share."""

import pytest

from tests.explain.students import NEWS, PAIRS, REVIEWS, student
from tfb2d.students.model import Student


@pytest.fixture(scope="session")
def reviews() -> Student:
    return student(REVIEWS, orders=(1, 2))


@pytest.fixture(scope="session")
def pairs() -> Student:
    return student(PAIRS, orders=(1, 3))


@pytest.fixture(scope="session")
def news() -> Student:
    return student(NEWS)

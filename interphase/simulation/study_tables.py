"""Tables of a study as CSV, and how many of their cells are not as expected."""

import csv
import io
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows with the same columns as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def expected_name(table: str) -> str:
    """Return the name of the file beside run.py that says what a table should be.

    >>> expected_name("summary"), expected_name("films")
    ('expected.csv', 'expected_films.csv')
    """
    return "expected.csv" if table == "summary" else f"expected_{table}.csv"


def different_cells(found: str, expected: str, tolerance: float = 0.0) -> int:
    r"""Return how many cells of two tables differ.

    Parameters
    ----------
    found
        The table, as CSV.
    expected
        The table as it should be, as CSV; rows are compared in their order.
    tolerance
        How far a number may be off, as a fraction of the larger of the expected one and 1.

    >>> different_cells("a,b\n1.0,LiF\n", "a,b\n1,LiF\n2,Li\n")
    2
    """
    ours, theirs = (list(csv.DictReader(io.StringIO(text))) for text in (found, expected))
    return sum(
        not _same(one.get(column), other.get(column), tolerance)
        for one, other in zip_longest(ours, theirs, fillvalue=dict[str, str]())
        for column in one.keys() | other.keys()
    )


def _same(found: str | None, expected: str | None, tolerance: float) -> bool:
    if found is None or expected is None:
        return found is expected
    try:
        number = float(expected)
        return found == expected or abs(float(found) - number) <= tolerance * max(1, abs(number))
    except ValueError:
        return found == expected

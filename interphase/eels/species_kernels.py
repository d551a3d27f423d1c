"""Compiled loops of `interphase.eels.species`: what every shape of an edge is worth.

Import it inside functions: numba takes a moment to load.
"""

from typing import Any

import numpy as np
from numba import njit

_compiled: Any = njit(cache=True, nogil=True)
"""The compiler; it is untyped, and so is what it makes."""

_summing: Any = njit(cache=True, nogil=True, fastmath={"reassoc", "nsz", "contract"})
"""The same, free to add numbers up in any order."""

LOWEST, STEPS = -40, 256
"""Standard errors at which the table of `shape_sums` begins, and its steps in one."""


@_compiled  # type: ignore[untyped-decorator]
def next_lowest(values: np.ndarray, number: int) -> np.ndarray:
    """Return the value of each row (P, K) that so many others are below, shape (P,)."""
    found = np.empty(len(values), values.dtype)
    lowest = np.empty(number + 1, values.dtype)
    for p in range(len(values)):
        lowest[:] = np.inf
        for value in values[p]:
            if value < lowest[number]:
                i = number
                while i > 0 and lowest[i - 1] > value:
                    lowest[i] = lowest[i - 1]
                    i -= 1
                lowest[i] = value
        found[p] = lowest[number]
    return found


@_summing  # type: ignore[untyped-decorator]
def shape_sums(
    likelihood: np.ndarray,
    information: np.ndarray,
    moment: np.ndarray,
    about: np.ndarray,
    scale: np.ndarray,
    table: np.ndarray,
) -> np.ndarray:
    """Return sums over shapes, of single precision, (P, L, 4).

    They are of weights, and of these times how far the amount is off some amount, the square of
    that, and the amount's variance.

    Parameters
    ----------
    likelihood
        Of each shape, at its best amount or at none, (P, L, D); overwritten with its weight, the
        integral over amounts.
    information
        Of the amount, (P, L, D).
    moment
        The amount times it, (P, L, D).
    about
        The amount to measure from, so that fewer digits cancel, (P,).
    scale
        By which variances are larger than counting noise, (P,).
    table
        Integral over amounts above 0 as a share of all, for amounts of so many standard errors.
    """
    rows, labels, number = likelihood.shape
    found = np.empty((rows, labels, 4), np.float32)
    one, steps = np.float32(1), np.float32(STEPS)
    start, end = np.float32(-LOWEST * STEPS), np.float32(len(table) - 1)
    for p in range(rows):
        for i in range(labels):
            total, first, second, spread = one - one, one - one, one - one, one - one
            for k in range(number):
                variance = scale[p] / information[p, i, k]
                error = np.sqrt(variance)
                amount = moment[p, i, k] / information[p, i, k]
                place = min(max(amount / error * steps + start, one - one), end)
                weight = likelihood[p, i, k] * error * table[np.uint32(place)]
                likelihood[p, i, k] = weight
                amount -= about[p]
                total += weight
                first += weight * amount
                second += weight * amount * amount
                spread += weight * variance
            found[p, i, 0], found[p, i, 1] = total, first
            found[p, i, 2], found[p, i, 3] = second, spread
    return found

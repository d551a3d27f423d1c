"""Compiled loops over the spectra of windows, of `spectra` and `spots`.

Import it inside functions: numba takes a moment to load.
"""

from typing import Any

import numpy as np
from numba import njit

_compiled: Any = njit(cache=True, nogil=True)


# Sums may be taken in any order, several terms at once.
_compiled_sums: Any = njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})


@_compiled_sums  # type: ignore[untyped-decorator]
def subtract_floor(
    log: np.ndarray, shared: np.ndarray, bands: np.ndarray, weight: np.ndarray, bias: float
) -> None:
    """Turn the logarithm of power into that of power over its local floor, in place.

    A product of matrices would do, but its own threads would be in the way of the caller's.

    Parameters
    ----------
    log
        Spectra, shape (W, F) with the frequencies in one axis; all arrays are float32.
    shared
        Logarithm of the floor that all windows share, shape (F,).
    bands
        Share of each floor band in a frequency, shape (B, F).
    weight
        Weight of each frequency in a window's own floor in each band, shape (B, F).
    bias
        What is added to a mean of logarithms to make it that of the mean.
    """
    level = np.empty(len(bands), dtype=np.float32)
    for w in range(len(log)):
        row = log[w]
        for f in range(len(row)):
            row[f] -= shared[f]
        for b in range(len(bands)):
            total = bias
            for f in range(len(row)):
                total += row[f] * weight[b, f]
            level[b] = total
        for b in range(len(bands)):
            for f in range(len(row)):
                row[f] -= level[b] * bands[b, f]


@_compiled  # type: ignore[untyped-decorator]
def maxima(
    log_ratio: np.ndarray, searched: np.ndarray, least: float, reach: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return window, row and column of the maxima of half spectra above `least`.

    A maximum is no lower than all within `reach` of it along both axes; where kx < 0 the Friedel
    mates of the other half count.
    """
    n_windows, rows, columns = log_ratio.shape
    found = []
    for w in range(n_windows):
        for y in range(rows):
            for x in range(columns):
                value = log_ratio[w, y, x]
                if not (searched[y, x] and value > least):
                    continue
                greatest = True
                for dy in range(-reach, reach + 1):
                    for dx in range(-reach, reach + 1):
                        row, column = y + dy, x + dx
                        if column < 0:
                            row, column = -row, -column
                        column = min(column, columns - 1)
                        if log_ratio[w, row % rows, column] > value:
                            greatest = False
                            break
                    if not greatest:
                        break
                if greatest:
                    found.append((w, y, x))
    window = np.empty(len(found), dtype=np.int64)
    row_of = np.empty(len(found), dtype=np.int64)
    column_of = np.empty(len(found), dtype=np.int64)
    for i, (w, y, x) in enumerate(found):
        window[i], row_of[i], column_of[i] = w, y, x
    return window, row_of, column_of


@_compiled  # type: ignore[untyped-decorator]
def nearest_known(k: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return, per spot, the nearest of `known` or its Friedel mate, and how far and which.

    Parameters
    ----------
    k, known
        Positions x + iy [1/Å], shape (S,) and (T,).

    Returns
    -------
    which, square, sign
        Number of the nearest, squared distance [1/Å²], and -1 where it is the mate, shape (S,).
    """
    which = np.zeros(len(k), dtype=np.int64)
    square = np.full(len(k), np.inf)
    sign = np.ones(len(k))
    for i in range(len(k)):
        for j in range(len(known)):
            for mate in (1.0, -1.0):
                off = k[i] - mate * known[j]
                distance = off.real**2 + off.imag**2
                if distance < square[i]:
                    square[i], which[i], sign[i] = distance, j, mate
    return which, square, sign

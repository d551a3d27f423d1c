"""Compiled loops over the spectra of windows, of `spectra` and `spots`.

Import it inside functions: numba takes a moment to load.
"""

from typing import Any

import numpy as np
from numba import njit

_compiled: Any = njit(cache=True, nogil=True)


@_compiled  # type: ignore[untyped-decorator]
def subtract_floor(
    power: np.ndarray,
    shared: np.ndarray,
    searched: np.ndarray,
    band: np.ndarray,
    share: np.ndarray,
    bands: int,
    least: float,
    bias: float,
) -> None:
    """Turn power into the logarithm of power over its local floor, in place.

    Parameters
    ----------
    power
        Spectra, float32, shape (W, F) with the frequencies in one axis.
    shared
        Logarithm of the floor that all windows share, shape (F,).
    searched
        Whether a frequency takes part in a window's own floor, shape (F,).
    band, share
        Lower of the two floor bands of a frequency and the weight of the upper one, shape (F,).
    bands
        Number of bands.
    least
        Least power that is told from rounding.
    bias
        What is added to a mean of logarithms to make it that of the mean.
    """
    total, weight = np.zeros(bands + 1), np.zeros(bands + 1)
    for w in range(power.shape[0]):
        total[:], weight[:] = 0.0, 1e-6
        for f in range(power.shape[1]):
            value = np.log(max(power[w, f], least)) - shared[f]
            power[w, f] = value
            if searched[f]:
                total[band[f]] += value * (1 - share[f])
                weight[band[f]] += 1 - share[f]
                total[band[f] + 1] += value * share[f]
                weight[band[f] + 1] += share[f]
        for b in range(bands + 1):
            total[b] = total[b] / weight[b] + bias
        for f in range(power.shape[1]):
            power[w, f] -= total[band[f]] * (1 - share[f]) + total[band[f] + 1] * share[f]


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

"""Compiled loops that move spectra along their axis, each by its own shift.

Import it inside functions: numba takes a moment to load.
"""

import numpy as np

from interphase.eels.fit_kernels import _compiled


@_compiled  # type: ignore[untyped-decorator]
def move_rows(rows: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Return spectra moved towards higher channels, shared between two where not by a whole one.

    Parameters
    ----------
    rows
        Shape (N, E).
    moved
        Channels, shape (N,); NaN makes a spectrum NaN.

    Returns
    -------
    ndarray
        Shape (N, E), NaN where nothing was recorded.
    """
    number, channels = rows.shape
    out = np.full((number, channels), np.nan)
    for n in range(number):
        if not abs(moved[n]) < channels:
            continue
        whole = int(np.floor(-moved[n]))
        part = -moved[n] - whole
        # Where a shift is whole, the channel beyond the last has no part in it.
        beyond = 0 if part == 0.0 else 1
        for i in range(max(-whole, 0), min(channels - beyond - whole, channels)):
            left = np.float64(rows[n, i + whole])
            out[n, i] = left
            if beyond:
                out[n, i] = (1 - part) * left + part * np.float64(rows[n, i + whole + 1])
    return out


@_compiled  # type: ignore[untyped-decorator]
def sum_moved(rows: np.ndarray, moved: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of moved spectra, and how many have a part in each channel, (1, E) both.

    Spectra with NaN, and those that are moved by NaN, have no part. See `move_rows`.
    """
    number, channels = rows.shape
    total, parts = np.zeros((1, channels)), np.zeros((1, channels))
    for n in range(number):
        whole_sum = 0.0
        for i in range(channels):
            whole_sum += np.float64(rows[n, i])
        if not abs(whole_sum) < np.inf:
            continue
        out = move_rows(rows[n : n + 1], moved[n : n + 1])
        for i in range(channels):
            if out[0, i] == out[0, i]:
                total[0, i] += out[0, i]
                parts[0, i] += 1
    return total, parts

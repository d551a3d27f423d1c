"""Compiled loops over the spectra of a movie's frames, of `motion`.

Import it inside functions: numba takes a moment to load. All spectra lie in one row per frame;
`rows` and `columns` say where in a grid each frequency is, so that the phase that a shift gives it
is the product of an entry of two short tables.
"""

from typing import Any

import numpy as np
from numba import njit

_compiled: Any = njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})


@_compiled  # type: ignore[untyped-decorator]
def sums(
    spectra: np.ndarray,
    gain: np.ndarray,
    along: np.ndarray,
    across: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    moving: np.ndarray,
    fixed: np.ndarray,
    overlap: np.ndarray,
) -> None:
    """Add up frames as they lie upon the specimen and upon the camera, in place.

    Parameters
    ----------
    spectra
        Spectra of the frames, shape (F, K), complex64.
    gain
        Amplitude of each frame, shape (F,).
    along, across
        Phases that bring each frame to its place, of the rows and the columns of the grid, shapes
        (F, R) and (F, C).
    rows, columns
        Place of each frequency in the grid, shape (K,).
    moving, fixed
        Sum of frames at their places, and of frames as they are, shape (K,).
    overlap
        Sum of the phases with the square of the gain, shape (K,).
    """
    for f in range(len(spectra)):
        g, g2 = gain[f], gain[f] * gain[f]
        y, left, right = spectra[f], along[f], across[f]
        for k in range(len(y)):
            phase = left[rows[k]] * right[columns[k]]
            moving[k] += g * phase * y[k]
            fixed[k] += g * y[k]
            overlap[k] += g2 * phase


@_compiled  # type: ignore[untyped-decorator]
def slopes(
    spectra: np.ndarray,
    gain: np.ndarray,
    along: np.ndarray,
    across: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    specimen: np.ndarray,
    pattern: np.ndarray,
    common: np.ndarray,
    ky: np.ndarray,
    kx: np.ndarray,
    slope: np.ndarray,
) -> None:
    """Write the derivative of the likelihood with respect to the place of each frame.

    Parameters
    ----------
    spectra, gain, along, across, rows, columns
        As in `sums`.
    specimen
        Conjugate of the specimen's estimate over the noise, shape (K,).
    pattern
        Estimate of the fixed pattern, shape (K,).
    common
        What the normalisation of the likelihood adds, shape (K,).
    ky, kx
        4π times the frequency [1/px], shape (K,).
    slope
        Derivatives (row, column), shape (F, 2).
    """
    for f in range(len(spectra)):
        g = gain[f]
        y, left, right = spectra[f], along[f], across[f]
        down, aside = 0.0, 0.0
        for k in range(len(y)):
            phase = left[rows[k]] * right[columns[k]]
            value = phase * g * (specimen[k] * (y[k] - g * pattern[k]) + g * common[k])
            down -= ky[k] * value.imag
            aside -= kx[k] * value.imag
        slope[f, 0] = down
        slope[f, 1] = aside


@_compiled  # type: ignore[untyped-decorator]
def half_sums(
    spectra: np.ndarray,
    gain: np.ndarray,
    along: np.ndarray,
    across: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    pattern: np.ndarray,
    halves: np.ndarray,
) -> None:
    """Add up even and odd frames at their places, without the fixed pattern, in place.

    Parameters
    ----------
    spectra, gain, along, across, rows, columns, pattern
        As in `slopes`.
    halves
        The two sums, shape (2, K).
    """
    for f in range(len(spectra)):
        g = gain[f]
        y, left, right, half = spectra[f], along[f], across[f], halves[f % 2]
        for k in range(len(y)):
            half[k] += left[rows[k]] * right[columns[k]] * g * (y[k] - g * pattern[k])

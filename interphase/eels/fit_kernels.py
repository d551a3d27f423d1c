"""Compiled loops of `interphase.eels.elements`: one small Poisson fit for each pixel.

Import it inside functions: numba takes a moment to load.
"""

from typing import Any

import numpy as np
from numba import njit

_compiled: Any = njit(cache=True, nogil=True)
"""The compiler; it is untyped, and so is what it makes."""

_summing: Any = njit(cache=True, nogil=True, fastmath={"reassoc", "nsz"})
"""The same, free to add numbers up in any order; what is not finite stays so."""

CONVERGED = 0
"""The likelihood is at its maximum, and every channel is expected to hold electrons."""
NO_MAXIMUM = 1
"""Some channel is expected to hold no electrons: they are too few for so many parameters."""
_MOST = 1e300
"""What is above, and what is no number, is not finite."""
_DECREMENT = 1e-5
"""Square of the last step in standard errors: what is left to go is less than 0.3 % of one."""
_SHRINK = 0.05
"""Least share of its expected counts that a step leaves to a channel."""
_NOISE = 4.0
"""Standard errors up to which what is found of an element may be noise, all of it."""
_LENT = 1000.0
"""Counts of usual shape that are lent to a spectrum for what it would be without an element."""
_FEWEST = 1e-4
"""Expected counts below which a channel is empty."""


@_summing  # type: ignore[untyped-decorator]
def bin_spectra(
    spectra: np.ndarray, starts: np.ndarray, stop: int, least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return sums over bins of channels, and whether all of these channels hold counts.

    Parameters
    ----------
    spectra
        Shape (N, E).
    starts
        First channel of each bin, shape (B,).
    stop
        Channel after the last bin.
    least
        What is below is no count.

    Returns
    -------
    tuple of ndarray
        Sums (N, B), zero for spectra that are not usable, and which are usable (N,).
    """
    number, bins = len(spectra), len(starts)
    sums = np.zeros((number, bins))
    good = np.ones(number, dtype=np.bool_)
    for n in range(number):
        for b in range(bins):
            end = starts[b + 1] if b + 1 < bins else stop
            total = 0.0
            low = 0
            for i in range(starts[b], end):
                value = np.float64(spectra[n, i])
                total += value
                low += int(value < least)
            sums[n, b] = total
            # The sum is not finite where one of its terms is not.
            if low > 0 or not abs(total) <= _MOST:
                good[n] = False
        if not good[n]:
            sums[n] = 0.0
    return sums, good


@_summing  # type: ignore[untyped-decorator]
def sum_spectra(
    spectra: np.ndarray, labels: np.ndarray, groups: int, first: int, channels: int, least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return sums of the spectra (N, E) that hold counts, by their labels, and how many they are.

    Returns
    -------
    tuple of ndarray
        Sums (1, G, C) over `channels` from the first on, and numbers (1, G).
    """
    counts = np.zeros((1, groups, channels))
    pixels = np.zeros((1, groups))
    for n in range(len(spectra)):
        total = 0.0
        low = 0
        for i in range(first, first + channels):
            value = np.float64(spectra[n, i])
            total += value
            low += int(value < least)
        if low == 0 and abs(total) <= _MOST:
            pixels[0, labels[n]] += 1
            for i in range(channels):
                counts[0, labels[n], i] += spectra[n, first + i]
    return counts, pixels


@_compiled  # type: ignore[untyped-decorator]
def _information(design: np.ndarray, mean: np.ndarray, active: np.ndarray, out: np.ndarray) -> None:
    """Write the Fisher information of the active parameters; the others get a 1 of their own."""
    bins, size = design.shape
    out[:] = 0.0
    for i in range(bins):
        weight = 1.0 / mean[i]
        for p in range(size):
            part = weight * design[i, p]
            for q in range(p + 1):
                out[p, q] += part * design[i, q]
    for p in range(size):
        for q in range(p + 1):
            if not (active[p] and active[q]):
                out[p, q] = 1.0 if p == q else 0.0


@_compiled  # type: ignore[untyped-decorator]
def _factor(matrix: np.ndarray) -> bool:
    """Replace a matrix's lower triangle by its Cholesky factor, if there is one."""
    size = len(matrix)
    for p in range(size):
        for q in range(p + 1):
            total = matrix[p, q]
            for k in range(q):
                total -= matrix[p, k] * matrix[q, k]
            if p == q:
                # Columns that differ by rounding errors only are one column.
                if not total > 1e-11 * matrix[p, p]:
                    return False
                matrix[p, p] = np.sqrt(total)
            else:
                matrix[p, q] = total / matrix[q, q]
    return True


@_compiled  # type: ignore[untyped-decorator]
def _solve(factor: np.ndarray, vector: np.ndarray) -> None:
    """Replace a vector by the solution for it."""
    size = len(factor)
    for p in range(size):
        for k in range(p):
            vector[p] -= factor[p, k] * vector[k]
        vector[p] /= factor[p, p]
    for p in range(size - 1, -1, -1):
        for k in range(p + 1, size):
            vector[p] -= factor[k, p] * vector[k]
        vector[p] /= factor[p, p]


@_compiled  # type: ignore[untyped-decorator]
def _expected(design: np.ndarray, offset: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
    for i in range(len(design)):
        total = offset[i]
        for p in range(len(b)):
            total += design[i, p] * b[p]
        out[i] = total


@_compiled  # type: ignore[untyped-decorator]
def _climb(
    counts: np.ndarray,
    design: np.ndarray,
    offset: np.ndarray,
    b: np.ndarray,
    active: np.ndarray,
    most: int,
    mean: np.ndarray,
    trial: np.ndarray,
    step: np.ndarray,
    change: np.ndarray,
    matrix: np.ndarray,
) -> bool:
    """Move parameters to the maximum of the likelihood by Fisher scoring, if there is one."""
    bins, size = design.shape
    _expected(design, offset, b, mean)
    for _ in range(most):
        _information(design, mean, active, matrix)
        if not _factor(matrix):
            return False
        step[:] = 0.0
        for i in range(bins):
            ratio = counts[i] / mean[i] - 1.0
            for p in range(size):
                step[p] += design[i, p] * ratio
        for p in range(size):
            if not active[p]:
                step[p] = 0.0
            change[p] = step[p]
        _solve(matrix, step)
        decrement = 0.0
        for p in range(size):
            decrement += step[p] * change[p]
        length = 1.0
        for i in range(bins):
            slope = 0.0
            for p in range(size):
                slope += design[i, p] * step[p]
            trial[i] = slope
            if mean[i] + slope < _SHRINK * mean[i]:
                length = min(length, (_SHRINK - 1.0) * mean[i] / slope)
        for _halving in range(30):
            gain = 0.0
            for i in range(bins):
                ahead = length * trial[i] / mean[i]
                gain += counts[i] * np.log1p(ahead) - mean[i] * ahead
            if gain >= -1e-9:
                break
            length *= 0.5
        for p in range(size):
            b[p] += length * step[p]
        _expected(design, offset, b, mean)
        for i in range(bins):
            if not mean[i] > _FEWEST:
                return False
        if decrement < _DECREMENT and length == 1.0:
            return True
    return False


@_compiled  # type: ignore[untyped-decorator]
def poisson_fits(
    counts: np.ndarray,
    design: np.ndarray,
    offset: np.ndarray,
    typical: np.ndarray,
    starts: np.ndarray,
    bounded: np.ndarray,
    elements: int,
    most: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the most likely parameters of each spectrum, and what its counts can show.

    Parameters
    ----------
    counts
        Counts of the bins, shape (N, B).
    design
        Expected counts per unit of each parameter, shape (B, P).
    offset
        Expected counts beside them, shape (B,).
    typical
        Parameters of the mean spectrum, to be scaled to where a spectrum has no maximum.
    starts
        Parameters to begin with, shape (N, P).
    bounded
        Which parameters may not be negative, shape (P,).
    elements
        The first so many parameters get a detection limit.
    most
        Steps at most.

    Returns
    -------
    tuple of ndarray
        Parameters (N, P), covariance (N, P, P), for each element its variance where there is
        none of it, its variance's growth per unit, and how much the former seems to grow per unit
        (N, K, 3), Pearson's χ² and its variance (N, 2), state (N,).
    """
    number, bins = counts.shape
    size = design.shape[1]
    found = np.empty((number, size))
    covariance = np.zeros((number, size, size))
    absent = np.empty((number, elements, 3))
    chi_square = np.zeros((number, 2))
    state = np.zeros(number, dtype=np.int8)
    mean, trial = np.empty(bins), np.empty(bins)
    step, change = np.empty(size), np.empty(size)
    matrix = np.empty((size, size))
    active = np.ones(size, dtype=np.bool_)
    whole = np.empty(bins)
    _expected(design, offset, typical, whole)
    for n in range(number):
        b = found[n]
        scale = max(counts[n].sum() - offset.sum(), 1.0) / (whole.sum() - offset.sum())
        b[:] = starts[n]
        _expected(design, offset, b, mean)
        if not np.all(mean > 0.1 * scale * whole):
            for p in range(size):
                b[p] = scale * typical[p]
        active[:] = True
        good = _climb(counts[n], design, offset, b, active, most, mean, trial, step, change, matrix)
        for _ in range(size):
            worst = -1
            for p in range(size):
                if bounded[p] and b[p] < 0 and (worst < 0 or b[p] < b[worst]):
                    worst = p
            if worst < 0 or not good:
                break
            # What would be negative is none; the others are fitted again without it.
            active[worst] = False
            for p in range(size):
                b[p] = scale * typical[p] if active[p] else 0.0
            good = _climb(
                counts[n], design, offset, b, active, most, mean, trial, step, change, matrix
            )
        if not good:
            state[n] = NO_MAXIMUM
            for p in range(size):
                b[p] = scale * typical[p]
            _expected(design, offset, b, mean)
        for i in range(bins):
            chi_square[n, 0] += (counts[n, i] - mean[i]) ** 2 / mean[i]
            chi_square[n, 1] += 2.0 + 1.0 / mean[i]
        active[:] = True
        for k in range(-1, elements):
            # Round -1 is for the parameters as they are, round k for none of element k.
            clipped = False
            own, others, lent = 0.0, 1.0, 0.0
            if k >= 0:
                # What may be noise of it is given back to the other parameters: else the variance
                # would be least where noise has made much of the element of the others.
                error = np.sqrt(covariance[n, k, k])
                noise = min(abs(b[k]), max(2 * _NOISE * error - abs(b[k]), 0.0))
                noise = noise if b[k] > 0 else -noise
                for p in range(size):
                    change[p] = noise * covariance[n, p, k] / covariance[n, k, k]
                change[k] = b[k]
                own, others = -offset.sum(), -offset.sum()
                for i in range(bins):
                    own += mean[i]
                    for p in range(size):
                        own -= design[i, p] * change[p]
                    others += whole[i] - design[i, k] * typical[k]
                lent = _LENT / (_LENT + max(own, 0.0)) if others > 0 else 0.0
            for i in range(bins):
                trial[i] = mean[i]
                if k >= 0:
                    for p in range(size):
                        trial[i] -= design[i, p] * change[p]
                    like = whole[i] - design[i, k] * typical[k] - offset[i]
                    trial[i] += lent * (like * own / others + offset[i] - trial[i])
                    if trial[i] < 0.05 * mean[i]:
                        trial[i] = 0.05 * mean[i]
                        clipped = True
            _information(design, trial, active, matrix)
            if not _factor(matrix):
                state[n] = NO_MAXIMUM
                absent[n, max(k, 0) :] = np.nan
                if k < 0:
                    # What follows rests on the covariance, and there is none.
                    break
                continue
            if k < 0:
                for p in range(size):
                    step[:] = 0.0
                    step[p] = 1.0
                    _solve(matrix, step)
                    covariance[n, p] = step
                continue
            step[:] = 0.0
            step[k] = 1.0
            _solve(matrix, step)
            # What leaves less than nothing was held up by other parameters, which would change too.
            absent[n, k, 0] = max(step[k], covariance[n, k, k]) if clipped else step[k]
            growth, hidden, counted = 0.0, 0.0, 0.0
            for i in range(bins):
                weight = 0.0
                for p in range(size):
                    weight += design[i, p] * step[p]
                growth += (weight / trial[i]) ** 2 * design[i, k]
                taken = design[i, k] - weight / step[k]
                hidden += (weight / trial[i]) ** 2 * taken
                counted += taken
            absent[n, k, 1] = growth
            # What is there and taken for none of it is spread over the other parameters.
            absent[n, k, 2] = (1.0 - lent) * hidden + lent * step[k] * counted / max(own, 1.0)
    return found, covariance, absent, chi_square, state


@_compiled  # type: ignore[untyped-decorator]
def non_negative_fits(
    information: np.ndarray, projections: np.ndarray, bounded: np.ndarray
) -> np.ndarray:
    """Return the least squares of each spectrum with some parameters not below zero.

    Parameters
    ----------
    information
        Matrix of the normal equations, common to all, shape (P, P).
    projections
        Right-hand sides, shape (N, P).
    bounded
        Which parameters may not be negative, shape (P,).

    Returns
    -------
    ndarray
        Parameters (N, P).
    """
    number, size = projections.shape
    found = np.zeros((number, size))
    whole = information.copy()
    _factor(whole)
    matrix, step = np.empty((size, size)), np.empty(size)
    active = np.empty(size, dtype=np.bool_)
    for n in range(number):
        active[:] = True
        step[:] = projections[n]
        _solve(whole, step)
        for _ in range(3 * size):
            change = -1
            for p in range(size):
                if bounded[p] and active[p] and step[p] < 0:
                    if change < 0 or step[p] < step[change]:
                        change = p
            if change >= 0:
                active[change] = False
            else:
                # The one whose absence costs most comes back; none does at the minimum.
                pull = 1e-9
                for p in range(size):
                    if not active[p]:
                        slope = projections[n, p]
                        for q in range(size):
                            slope -= information[p, q] * step[q]
                        slope /= np.sqrt(information[p, p])
                        if slope > pull:
                            pull, change = slope, p
                if change < 0:
                    break
                active[change] = True
            for p in range(size):
                step[p] = projections[n, p] if active[p] else 0.0
                for q in range(p + 1):
                    both = active[p] and active[q]
                    matrix[p, q] = information[p, q] if both else (1.0 if p == q else 0.0)
            _factor(matrix)
            _solve(matrix, step)
        for p in range(size):
            found[n, p] = max(step[p], 0.0) if bounded[p] else step[p]
    return found

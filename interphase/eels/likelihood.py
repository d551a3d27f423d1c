"""Poisson fits of many binned spectra with one linear model."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from interphase.eels.background import EXPONENTS, Background
from interphase.eels.design import Design
from interphase.eels.element_maps import FITTED, NEGATIVE, RUNAWAY, TOO_FEW, UNLIKE
from interphase.parallel import threads

_FEW = 256
"""Spectra up to which one core does it all."""
_STEPS = 40
"""Steps of Fisher scoring after which a fit is given up."""
_SIGNIFICANT = 3.0
"""Standard errors from which on a background is not negative or runaway by noise."""
_FEWEST_PER_PARAMETER = 10.0
"""Counts per parameter from which on intervals of simulated spectra cover what they should."""
_UNLIKE_SIGMA = 5.0
"""Standard deviations of χ² from which on a spectrum is unlike the model."""


@dataclass(frozen=True, slots=True)
class Fits:
    """Parameters of N spectra and what is known of them."""

    parameters: np.ndarray
    """Shape (N, P)."""
    covariance: np.ndarray
    """Shape (N, P, P)."""
    absent: np.ndarray
    """Variance of each of the first K parameters where it is zero, growth of its variance with it,
    and growth of the former as it appears, (N, K, 3)."""
    chi_square: np.ndarray
    """Pearson's χ² and its variance, shape (N, 2)."""
    failed: np.ndarray
    """Whether the likelihood has no maximum, shape (N,)."""


def in_threads(
    kernel: Callable[..., tuple[np.ndarray, ...]], *rows: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Return what a compiled loop makes of rows (N, ...), shared out among the cores."""
    number = threads() if len(rows[0]) > _FEW else 1
    if number == 1:
        return kernel(*rows)
    ends = np.linspace(0, len(rows[0]), number + 1).astype(int)
    with ThreadPoolExecutor(number) as pool:
        tasks = [pool.submit(kernel, *(r[a:b] for r in rows)) for a, b in pairwise(ends)]
        parts = [task.result() for task in tasks]
    return tuple(np.concatenate(part) for part in zip(*parts, strict=True))


def poisson_fit(
    matrix: np.ndarray,
    counts: np.ndarray,
    offset: np.ndarray,
    typical: np.ndarray,
    *,
    quantified: int = 0,
    bounded: np.ndarray | None = None,
) -> Fits:
    """Return the maxima of the Poisson likelihood.

    Parameters
    ----------
    matrix
        Expected counts per unit of each parameter, shape (B, P).
    counts
        Shape (N, B).
    offset
        Expected counts beside them, shape (B,).
    typical
        Parameters of a spectrum of usual shape, shape (P,).
    quantified
        The first so many parameters get the variance of their absence.
    bounded
        Which parameters may not be negative, shape (P,); none unless given.

    Returns
    -------
    Fits
        Those that failed have the typical parameters, scaled to their counts.
    """
    from interphase.eels.fit_kernels import poisson_fits

    scale = np.abs(matrix).sum(axis=0)
    design = np.ascontiguousarray(matrix / scale)
    usual = np.asarray(typical * scale)
    inverse, _, weighted = _normal(design, usual, offset)
    # Linear in the counts, so without bias, and with the weights of the usual shape.
    starts = (counts - offset) @ (weighted @ inverse)
    limits = np.zeros(len(usual), dtype=bool) if bounded is None else bounded

    found, covariance, absent, chi, state = in_threads(
        lambda own, start: poisson_fits(
            own, design, offset, usual, start, limits, quantified, _STEPS
        ),
        np.ascontiguousarray(counts),
        np.ascontiguousarray(starts),
    )
    return Fits(
        found / scale,
        covariance / (scale[:, np.newaxis] * scale),
        absent / scale[:quantified, np.newaxis] ** [2, 1, 1],
        chi,
        state != 0,
    )


def linear_fit(
    matrix: np.ndarray,
    counts: np.ndarray,
    offset: np.ndarray,
    typical: np.ndarray,
    *,
    quantified: int = 0,
    bounded: np.ndarray | None = None,
) -> Fits:
    """Return least squares with the weights of a spectrum of usual shape.

    Errors are those of the usual shape, scaled to the counts of each spectrum. See `poisson_fit`.
    """
    from interphase.eels.fit_kernels import non_negative_fits

    scale = np.abs(matrix).sum(axis=0)
    design = matrix / scale
    usual = typical * scale
    inverse, information, weighted = _normal(design, usual, offset)
    mean = design @ usual + offset
    limits = np.zeros(len(usual), dtype=bool) if bounded is None else bounded
    found = non_negative_fits(information, (counts - offset) @ weighted, limits)
    shares = np.maximum((counts - offset).sum(axis=-1), 1.0) / max((mean - offset).sum(), 1e-9)
    one = poisson_fit(matrix, mean[np.newaxis], offset, typical, quantified=quantified)
    absent = np.repeat(one.absent, len(counts), axis=0)
    absent[..., 0] *= shares[:, np.newaxis]
    expected = np.maximum(found @ design.T + offset, 1e-9)
    chi = np.stack(
        [((counts - expected) ** 2 / expected).sum(axis=-1), (2 + 1 / expected).sum(axis=-1)],
        axis=-1,
    )
    covariance = inverse * shares[:, np.newaxis, np.newaxis]
    return Fits(
        found / scale,
        covariance / (scale[:, np.newaxis] * scale),
        absent,
        chi,
        np.zeros(len(counts), dtype=bool),
    )


def usual_spectrum(design: Design, total: np.ndarray, offset: float) -> np.ndarray | None:
    """Return the parameters of a sum of spectra, None where there are too few electrons.

    Parameters
    ----------
    design
        Model; its classes are averaged.
    total
        Counts of the channels, shape (E,).
    offset
        Counts per channel that are none of the model's.
    """
    beside = offset * design.widths
    counts = design.binned(total) + beside
    matrix = design.matrix.mean(axis=0)
    if not counts.sum() > matrix.shape[1]:
        return None
    scale = np.abs(matrix).sum(axis=0)
    weight = 1 / np.sqrt(np.maximum(counts, 1.0))
    start = np.linalg.lstsq(
        matrix / scale * weight[:, np.newaxis], (counts - beside) * weight, rcond=None
    )[0]
    fit = poisson_fit(matrix, counts[np.newaxis], beside, start / scale)
    return None if fit.failed[0] else fit.parameters[0]


def judge(
    fits: Fits, background: Background, matrix: np.ndarray, electrons: np.ndarray
) -> np.ndarray:
    """Return an index into `PIXEL_VERDICTS` for each spectrum, shape (N,).

    Parameters
    ----------
    fits
        Their fits.
    background
        What the last columns mean.
    matrix
        The model's columns, shape (B, P).
    electrons
        What was counted of each spectrum, readout noise not included, shape (N,).
    """
    verdict = np.full(len(fits.failed), FITTED, dtype=np.int8)
    dof = max(matrix.shape[0] - matrix.shape[1], 1)
    excess = (fits.chi_square[:, 0] - dof) / np.sqrt(fits.chi_square[:, 1])
    verdict[excess > _UNLIKE_SIGMA] = UNLIKE
    negative, runaway = impossible_backgrounds(fits, background)
    verdict[runaway] = RUNAWAY
    verdict[negative] = NEGATIVE
    verdict[fits.failed | (electrons < _FEWEST_PER_PARAMETER * matrix.shape[1])] = TOO_FEW
    return verdict


def impossible_backgrounds(fits: Fits, background: Background) -> tuple[np.ndarray, np.ndarray]:
    """Return which backgrounds are below zero, and whose exponents are none, by 3 errors, (N,)."""
    terms = background.terms
    own = fits.parameters[:, -terms:]
    covariance = fits.covariance[:, -terms:, -terms:]
    # A background of few terms is negative at one of these places if it is anywhere.
    columns = background.columns[[0, len(background.columns) // 2, -1]]
    variance = np.einsum("bp,npq,bq->nb", columns, covariance, columns)
    error = np.sqrt(np.maximum(variance, 0.0))
    exponent, slope = background.exponents(own)
    if background.kind == "plasmon tail":
        # It may rise between two plasmons, where it begins.
        exponent, slope = exponent[:, 1:], slope[:, 1:]
    with np.errstate(invalid="ignore"):
        wide = _SIGNIFICANT * np.sqrt(np.einsum("nek,nkl,nel->ne", slope, covariance, slope))
        runaway = (exponent + wide < EXPONENTS[0]) | (exponent - wide > EXPONENTS[1])
    negative = own @ columns.T < -_SIGNIFICANT * error
    return negative.any(axis=-1), runaway.any(axis=-1)


def shifts_by_background(fits: Fits, matrix: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return how much parameters would change with all of a background more in some bins.

    Parameters
    ----------
    fits
        Fits of N spectra.
    matrix
        The model's columns, shape (B, P); whatever is no edge counts as background.
    where
        Bins in which there is more, shape (B,).

    Returns
    -------
    ndarray
        Shape (N, P).
    """
    mean = np.maximum(fits.parameters @ matrix.T, 1e-9)
    share = np.where(where, 1.0, 0.0)
    edges = fits.absent.shape[1]
    background = fits.parameters[:, edges:] @ matrix[:, edges:].T
    pull = (background * share / mean) @ matrix
    return np.asarray(np.einsum("npq,nq->np", fits.covariance, pull))


def _normal(
    design: np.ndarray, usual: np.ndarray, offset: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the inverse of the normal equations' matrix, the matrix, and the weighted design."""
    mean = design @ usual + offset
    weighted = design / np.maximum(mean, 1e-6 * np.abs(mean).max() + 1e-12)[:, np.newaxis]
    information = design.T @ weighted
    return np.linalg.pinv(information, hermitian=True), information, weighted

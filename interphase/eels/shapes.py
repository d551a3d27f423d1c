"""Shapes that an edge of one or two species may have, as far as the table of fingerprints knows.

What the table leaves open (the place within a range, widths, shares, where the edge rises) is drawn
from fixed low-discrepancy sequences, so that the same question has the same answer.
"""

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np

from interphase.eels.fingerprints import Feature, Fingerprint, FingerprintTable

FWHM = 2.3548200450309493
# Shapes that are drawn of an edge in all, about, and of each species, pair or unknown at most.
DRAWN, MOST_DRAWN = 12000, 1024
# Parts, alike in number, that shapes are sorted into by the shift of the axis.
SHIFTS = 8
# Energies from the onset of an edge to either end of what is compared [eV].
BELOW_EV, ABOVE_EV = 6.0, 30.0
# An edge rises at most so far ahead of its binding energy and after it [eV].
EARLY_EV, LATE_EV = 1.0, 7.0
# That of something unknown, which may as well be another edge.
UNKNOWN_EARLY_EV, UNKNOWN_LATE_EV = 5.0, 12.0
# Power with which an edge falls off. A working value.
FALL = (1.5, 4.5)
# Smallest share that the second of two species has of an edge.
LEAST_SHARE = 0.15
# Peaks of an edge of which nothing is known, and the most it may have.
UNKNOWN_PEAKS = 3
# Spectra whose products with all shapes stay near the processor, and χ² of an edge up to which they
# are of single precision.
_AT_ONCE, _FEW_DIGITS = 64, 1e4


def shapes_of(
    members: Sequence[Fingerprint],
    edge: str,
    energy_ev: np.ndarray,
    *,
    table: FingerprintTable,
    axis_error_ev: float,
    resolution_ev: float,
    drawn: int,
) -> np.ndarray:
    """Return shapes of an edge, each of sum 1, as columns (E, D); no members: of an unknown.

    Their number `drawn` is a power of two. The shift of the axis rises from the first to the last,
    so that a part of them has the shifts of the same part of another edge's.
    """
    from scipy.special import ndtri
    from scipy.stats import qmc

    # Two numbers of each member, four of each of its peaks, and the shift and the shares.
    known = [member.of(edge) for member in members] or [()]
    number = 2 + sum(2 + 4 * max(len(f), UNKNOWN_PEAKS) for f in known)
    even = qmc.Sobol(number, scramble=False).random(2 * drawn)[drawn:]
    even = even[np.argsort(even[:, 0])]
    columns: Iterator[np.ndarray] = iter(even.T.clip(1e-6, 1 - 1e-6))
    shift = axis_error_ev * ndtri(next(columns))
    onset = table.onset_ev[edge]
    spectra = np.zeros((len(energy_ev), drawn))
    first = LEAST_SHARE + (1 - 2 * LEAST_SHARE) * next(columns)
    weights = [first, 1 - first] if len(known) == 2 else [np.ones(drawn)]
    for features, weight in zip(known, weights, strict=True):
        peaks = _known_peaks(features, table, columns) if members else _unknown(onset, columns)
        spectra += weight * _edge(
            energy_ev[:, None] - shift, onset, features, peaks, columns, table, resolution_ev
        )
    return spectra


Peaks = list[tuple[np.ndarray, np.ndarray, np.ndarray]]


def _between(ends: tuple[float, float], u: np.ndarray) -> np.ndarray:
    """Return values with even logarithms between two ends."""
    return np.asarray(ends[0] * (ends[1] / ends[0]) ** u)


def _known_peaks(
    features: Sequence[Feature], table: FingerprintTable, columns: Iterator[np.ndarray]
) -> Peaks:
    """Return places, widths and shares of the peaks of the table."""
    from scipy.special import ndtri

    return [
        (
            f.low_ev
            + (f.high_ev - f.low_ev) * next(columns)
            + table.uncertainty_ev[f.grade] * ndtri(next(columns)),
            _between(table.width_ev[f.kind], next(columns)),
            _between(table.share[f.kind], next(columns)),
        )
        for f in features
        if f.kind in table.width_ev
    ]


def _unknown(onset_ev: float, columns: Iterator[np.ndarray]) -> Peaks:
    """Return places, widths and shares of peaks anywhere above an onset."""
    return [
        (
            onset_ev - EARLY_EV + 21 * next(columns),
            _between((0.5, 8.0), next(columns)),
            _between((0.02, 0.3), next(columns)),
        )
        for _ in range(UNKNOWN_PEAKS)
    ]


def _edge(
    energy: np.ndarray,
    onset_ev: float,
    features: Sequence[Feature],
    peaks: Peaks,
    columns: Iterator[np.ndarray],
    table: FingerprintTable,
    resolution_ev: float,
) -> np.ndarray:
    """Return shapes of sum 1 of a step with peaks, (E, D)."""
    from scipy.special import ndtr

    given = [f for f in features if f.kind == "onset"]
    late, fall = next(columns), next(columns)
    early, latest = (EARLY_EV, LATE_EV) if features else (UNKNOWN_EARLY_EV, UNKNOWN_LATE_EV)
    rises = onset_ev - early + (early + latest) * late
    if given:
        spread = table.uncertainty_ev[given[0].grade]
        rises = given[0].low_ev - spread + (given[0].high_ev - given[0].low_ev + 2 * spread) * late
    sigma = resolution_ev / FWHM
    fallen = np.maximum(energy / rises, 1.0) ** -(FALL[0] + (FALL[1] - FALL[0]) * fall)
    step = ndtr((energy - rises) / max(sigma, 0.1)) * fallen
    step /= np.maximum(step.sum(axis=0), 1e-12)
    taken = sum(share for _, _, share in peaks) if peaks else np.zeros(energy.shape[1])
    shapes = np.maximum(1 - taken, 0.1) * step
    for place, width, share in peaks:
        bell = np.exp(-(((energy - place) / np.hypot(width / FWHM, sigma)) ** 2) / 2)
        shapes += share * bell / np.maximum(bell.sum(axis=0), 1e-12)
    return np.asarray(shapes / shapes.sum(axis=0))


def weigh(
    net: np.ndarray, variance: np.ndarray, shapes: np.ndarray, energy_ev: np.ndarray, *, alike: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the log evidence of each label (P, L), and what is said of the edge (P, 4).

    A constant and a slope, that a background may have left, are fitted beside each shape. The last
    are counts, their error with that of the shapes, least misfit per degree of freedom, and error
    by counting alone.

    Parameters
    ----------
    net, variance
        Spectra and their variance, (P, E).
    shapes
        Shapes of each label, (L, E, D).
    energy_ev
        Shape (E,).
    alike
        Shapes among the best that count alike.
    """
    labels, channels, number = shapes.shape
    x = energy_ev - energy_ev.mean()
    # What is fitted beside a shape may as well be taken out of it: fewer digits cancel.
    shapes = shapes.swapaxes(0, 1).reshape(channels, labels * number)
    beside = np.column_stack([np.ones(channels) / np.sqrt(channels), x / np.sqrt((x**2).sum())])
    shapes = shapes - beside @ (beside.T @ shapes)
    weight = 1 / variance
    one = np.broadcast_to(1 / np.sqrt(weight.sum(axis=1, keepdims=True)), net.shape)
    slope = x - (weight * x * one).sum(axis=1, keepdims=True) * one
    slope = slope / np.sqrt((weight * slope**2).sum(axis=1, keepdims=True))
    rest = net
    for base in (one, slope):
        rest = rest - (weight * base * rest).sum(axis=1, keepdims=True) * base
    left = (weight * rest**2).sum(axis=1)
    # Seven digits do unless the misfit without any shape is far more than that with one.
    digits = np.float32 if left.max() < _FEW_DIGITS else np.float64
    shapes = shapes.astype(digits)
    squared = shapes**2
    log, values = np.empty((len(net), labels)), np.empty((len(net), 4))
    for start in range(0, len(net), _AT_ONCE):
        rows = slice(start, start + _AT_ONCE)
        w = weight[rows]
        constant, sloping, moment = (
            (w * part[rows]).astype(digits) @ shapes for part in (one, slope, rest)
        )
        information = w.astype(digits) @ squared - constant**2 - sloping**2
        log[rows], values[rows] = _weights(
            np.maximum(information, 1e-30).reshape(-1, labels, number),
            moment.reshape(-1, labels, number),
            left[rows],
            channels - 3,
            alike,
        )
    return log, values


def _weights(
    information: np.ndarray, moment: np.ndarray, left: np.ndarray, freedom: int, alike: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return what `weigh` does, from the fits of all shapes (P, L, D)."""
    from interphase.eels.species_kernels import next_lowest, shape_sums

    # What a shape takes from the misfit; a negative amount is no fit: as if nothing were there.
    taken = np.maximum(moment, 0) ** 2 / information
    most = taken.max(axis=2)
    behind = most.max(axis=1, keepdims=True) - most
    least = np.maximum(left - most.max(axis=1), 0)
    lacking = (most[..., None] - taken).astype(np.float32)
    others = (behind[..., None] + lacking).reshape(len(left), -1).astype(np.float32)
    scale = np.maximum(np.maximum(least / freedom, next_lowest(others, alike) / 2), 1.0)
    likelihood = np.exp(lacking * (-0.5 / scale[:, None, None]).astype(np.float32))
    rows = np.arange(len(left))
    first = taken.reshape(len(left), -1).argmax(axis=1)
    about = np.divide(*(a.reshape(len(left), -1)[rows, first] for a in (moment, information)))
    about, scales, information, moment = (
        a.astype(np.float32) for a in (about, scale, information, moment)
    )
    sums = shape_sums(likelihood, information, moment, about, scales, _positive()).astype(float)
    log = np.log(sums[..., 0]) - (least[:, None] + behind) / (2 * scale[:, None])
    share = np.exp(-behind / (2 * scale[:, None]))
    total, off, squares, spread = (share[..., None] * sums).sum(axis=1).T
    noise = np.maximum(least / freedom, 1) / scale * spread / total
    best = np.argmax((likelihood.max(axis=2) * share), axis=1)
    shape = np.argmax(likelihood[rows, best], axis=1)
    values = [
        about + off / total,
        np.sqrt(noise + np.maximum(squares / total - (off / total) ** 2, 0)),
        least / freedom,
        1 / np.sqrt(information[rows, best, shape]),
    ]
    return log, np.column_stack(values)


@cache
def _positive() -> np.ndarray:
    """Return the integral of a likelihood over amounts above 0, as a share of all amounts.

    For an amount z standard errors above 0, in even steps; where it is below 0, over the likelihood
    at 0, not at its maximum.
    """
    from scipy.special import erfcx, ndtr

    from interphase.eels.species_kernels import LOWEST, STEPS

    z = np.arange(LOWEST, 6, 1 / STEPS) + 0.5 / STEPS
    share = np.where(z > 0, ndtr(z), erfcx(-np.minimum(z, 0) / np.sqrt(2)) / 2)
    return np.asarray(share, dtype=np.float32)

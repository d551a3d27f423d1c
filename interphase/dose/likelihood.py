"""Likelihoods of fading signals, and their maxima.

Each law is concave in the expected signal, so that the maximum over a sum of positive parts is
unique and is found for many rates at once.
"""

from collections.abc import Callable

import numpy as np

from interphase.dose.signals import FadingSeries, Law

Likelihood = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]

_TINY = 1e-290


def likelihood_of(series: FadingSeries) -> Likelihood:
    """Return the log-likelihood of expected net signals (R, F), its slope and its information.

    All three laws are concave in the expected signal, so that the maximum over a sum of positive
    parts is unique.
    """
    return {Law.COUNTS: _counting, Law.POWER: _powers, Law.VALUES: _gaussian}[series.law](series)


def likeliest_background(series: FadingSeries, s: np.ndarray) -> np.ndarray:
    """Return the background in the signal's area that is likeliest beside net signals (R, F)."""
    if series.background is None:
        return np.zeros_like(s)
    # The root of a quadratic, in a form without cancellation.
    background, more = series.background, 1 + series.background_ratio
    a = series.signal + background - more * s
    root = np.sqrt(a**2 + 4 * more * background * s)
    small = 2 * background * s / np.maximum(root - a, _TINY)
    return np.asarray(np.where(a > 0, (a + root) / (2 * more), small))


def _counting(series: FadingSeries) -> Likelihood:
    counts = series.signal
    background = np.zeros_like(counts) if series.background is None else series.background
    ratio = series.background_ratio

    def likelihood(s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        b = likeliest_background(series, s)
        mean = np.maximum(s + b, _TINY)
        log = counts * np.log(mean) - mean - ratio * b
        log += background * np.log(np.maximum(b, _TINY))
        return log.sum(axis=-1), counts / mean - 1, 1 / (mean + b / ratio)

    return likelihood


def _powers(series: FadingSeries) -> Likelihood:
    from scipy.special import hyp0f1

    k, power = series.spectra, series.signal

    def likelihood(s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        # log of I_ν(x) / x^ν, with ν = k - 1, and I_ν+1(x) / [x I_ν(x)]; two forms, neither of
        # which overflows where it is used.
        x = 2 * k * np.sqrt(np.maximum(s, 0) * power)
        log, ratio = np.empty_like(x), np.empty_like(x)
        # One spectrum is the common case, and its Bessel functions are quick everywhere.
        large = x > (1e-3 if k == 1 else k + 30)
        z = x[~large] ** 2 / 4
        series_0, series_1 = hyp0f1(k, z), hyp0f1(k + 1, z)
        log[~large], ratio[~large] = np.log(series_0), series_1 / series_0 / (2 * k)
        z = x[large]
        scaled = _scaled_bessel(k - 1, z)
        log[large] = np.log(scaled) + z - (k - 1) * np.log(z) + _log_scale(k)
        ratio[large] = _scaled_bessel(k, z) / scaled / z
        slope = -k + 2 * k**2 * power * ratio
        return (log - k * s).sum(axis=-1), slope, k / (1 + 2 * s)

    return likelihood


def _scaled_bessel(order: float, x: np.ndarray) -> np.ndarray:
    """Return exp(-x) I(x); where SciPy gives up, beyond a million, by its expansion."""
    from scipy.special import i0e, i1e, ive

    if order in (0, 1):
        return np.asarray((i0e, i1e)[int(order)](x))
    first = (4 * order**2 - 1) / (8 * x)
    second = first * (4 * order**2 - 9) / (16 * x)
    far = (1 - first + second) / np.sqrt(2 * np.pi * x)
    return np.asarray(np.where(x > 1e6, far, ive(order, np.minimum(x, 1e6))))


def _log_scale(k: float) -> float:
    """Return the logarithm of Γ(k) 2^(k - 1), which makes the two forms of `_powers` one."""
    from scipy.special import gammaln

    return float(gammaln(k) + (k - 1) * np.log(2))


def _gaussian(series: FadingSeries) -> Likelihood:
    values, variance = series.signal, np.asarray(series.variance)

    def likelihood(s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        off = (values - s) / variance
        log = -(off * (values - s)).sum(axis=-1) / 2
        return log, off, np.broadcast_to(1 / variance, s.shape)

    return likelihood


def maximise(series: FadingSeries, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the greatest log-likelihood over positive amounts of the columns (R, F, P), and these.

    Steps by the expected information, shortened until they climb, never onto the border itself;
    of a maximum there the fit with fewer columns knows more.
    """
    likelihood = likelihood_of(series)
    size = columns.shape[-1]
    start = max(float(np.sum(np.maximum(series.net, 0))), 1e-3) / columns.sum(axis=1) / size
    amounts = np.array(start)
    log, slope, information = likelihood((columns @ amounts[..., None])[..., 0])
    for _ in range(60):
        gradient = np.einsum("rfp,rf->rp", columns, slope)
        weight = np.einsum("rfp,rf,rfq->rpq", columns, information, columns)
        diagonal = np.einsum("rpp->rp", weight)
        diagonal *= 1 + 1e-9
        step = np.linalg.solve(weight, gradient[..., None])[..., 0]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            room = np.where(step < 0, -0.9 * amounts / step, 1.0).min(axis=-1)
        length = np.minimum(room, 1.0)
        for _ in range(30):
            tried = amounts + length[:, None] * step
            new, new_slope, new_information = likelihood((columns @ tried[..., None])[..., 0])
            worse = ~(new >= log)
            if not worse.any():
                break
            length = np.where(worse, length / 2, length)
        gain = np.where(worse, 0.0, new - log)
        keep = ~worse
        amounts = np.where(keep[:, None], tried, amounts)
        log = np.where(keep, new, log)
        slope = np.where(keep[:, None], new_slope, slope)
        information = np.where(keep[:, None], new_information, information)
        # What climbs on far below the best does not matter.
        if np.all((gain < 1e-6) | (log + 50 * gain < log.max() - 10)):
            break
    return log, amounts

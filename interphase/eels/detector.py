"""Gain and read noise of the detector, from the scatter of the data themselves."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from interphase.assessment import Assessment
from interphase.eels.checks import blocks, check_spectra

_HALF = 7
"""Channels to either side over which a smooth mean is a parabola."""
_LAGS = 3
"""Neighbours over which a scintillator spreads one electron: this less one."""
_MOST_PAIRS = 1000
_MANY = 20
"""Pairs whose sum needs no smoothing."""
_LEVELS = 40
"""Levels of intensity between which the scatter is compared."""
_SPIKE = 8.0
"""Standard deviations beyond which a difference is a cosmic ray and not the detector."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorNoise:
    """How many counts an electron makes, and what the readout adds.

    The variance of the sum of k channels of mean μ is close to k (gain μ + read_noise²).
    """

    gain: float
    """Counts per electron, with the unevenness of single electrons in it; NaN if not known."""
    gain_error: float
    """Standard error of `gain`."""
    read_noise: float
    """Standard deviation of the readout of a channel [counts]; 0 where none is seen."""
    read_noise_error: float
    """Standard error of `read_noise`, or the upper limit at one standard error where it is 0."""
    channel_gain: float
    """Variance over mean of single channels: below `gain` where electrons spread over channels."""
    pairs: int
    """Pairs of neighbouring spectra that were compared; 0 for one spectrum by itself."""
    assessment: Assessment
    """Whether the estimate can be used."""
    sentence: str
    """The same in words."""


def estimate_detector(counts: Any) -> DetectorNoise:
    r"""Estimate gain and read noise from spectra of a specimen that nobody prepared for it.

    Neighbouring spectra are subtracted after scaling and shifting one to the other; of a single
    spectrum its smooth part is subtracted. What is left scatters as the detector makes it scatter.
    Give data as recorded: spectra that were interpolated, aligned, smoothed, denoised or added
    with a background subtracted have another scatter. In a single spectrum a fixed pattern of the
    detector counts as noise.

    Parameters
    ----------
    counts
        Spectra, shape (..., E), an array or a Dask array [counts].

    Returns
    -------
    DetectorNoise
        With errors; NaN and a sentence where the data cannot tell.

    Notes
    -----
    Photon transfer [1]_ without flat fields. For spectra a and b of totals A and B, c = A / B, the
    residual r of a - c b from its local parabolas has

    .. math::
        \langle r_k r_{k+l} \rangle = \sum_j M_{lj} [g_j (\mu_a + c^2 \mu_b) + (1 + c^2)
        \sigma^2 \delta_{j0}],

    with M from the parabola's weights, the shot noise's covariance :math:`g_j` of channels that
    are j apart, and the read noise σ. A straight line through squares over means gives σ² and
    :math:`g_0`; the gain is :math:`g_0 + 2 \sum_j g_j` over those j that are seen to differ from 0.

    References
    ----------
    .. [1] J. R. Janesick, Photon Transfer (2007), doi:10.1117/3.725073
    .. [2] M. B. Priestley, Spectral Analysis and Time Series (1981), section 6.2: the variance of
           a spectrum estimated with a truncated window of lags

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> mean = 500 * np.exp(-np.arange(500) / 100) * np.ones((200, 1))
    >>> noise = estimate_detector(5 * rng.poisson(mean) + rng.normal(0, 10, mean.shape))
    >>> round(noise.gain, 1), round(noise.read_noise)
    (5.0, 10)
    """
    counts = check_spectra("counts", counts)
    channels = counts.shape[-1]
    if channels < 8 * _HALF:
        return _unknown(
            f"{channels} channels are too few to tell noise from spectrum: gain and read noise "
            "must be given"
        )
    sums, pairs = _moments(counts)
    if sums is None:
        return _unknown("the spectra hold nothing that scatters: gain and read noise must be given")
    x, n, y = sums
    if n.sum() < 200 or not (x[-1] > 0 and y[0].max() > 0):
        return _unknown("there is too little data to see the scatter: give gain and read noise")
    lines = [_line(x, n, values, y[-1], kurtosis=0.5 if pairs else 1.0) for values in y]
    spread = any(abs(line[0]) > 4 * line[2] for line in lines[1:-1])
    slope, offset, slope_error, offset_error = lines[0] if spread else lines[-1]
    if not slope > 3 * slope_error:
        return _unknown(
            f"the scatter does not grow with the intensity (by {slope:.2g} ± {slope_error:.2g} "
            "counts per count): it is not counting noise; was the data smoothed, or is the "
            "intensity even? Give gain and read noise"
        )
    gain, gain_error = slope, slope_error
    if spread:
        gain += 2 * sum(line[0] for line in lines[1:-1])
        # A variance at low frequencies from covariances of 2 L - 1 lags [2].
        gain_error = abs(gain) * slope_error / slope * np.sqrt(2 * _LAGS - 1)
    read = float(np.sqrt(max(offset, 0.0)))
    seen = offset > 2 * offset_error
    read_error = offset_error / (2 * read) if seen else float(np.sqrt(offset_error))
    read = read if seen else 0.0
    counting = abs(gain - 1) < 2 * gain_error + 0.02 and gain_error < 0.2 and not seen
    sentence = (
        f"an electron makes {gain:.3g} ± {gain_error:.1g} counts and the readout adds "
        f"{f'{read:.3g} ± {read_error:.1g}' if seen else f'less than {2 * read_error:.2g}'} counts"
        f"{', as of a counting camera' if counting else ''}"
    )
    if gain <= 0:
        return _unknown(
            "neighbouring channels scatter against each other more than one electron can make "
            "them: the data were sharpened or interpolated; give gain and read noise"
        )
    smooth = gain > 3 * slope
    if smooth:
        sentence += (
            "; neighbouring channels scatter together, as in data that were smoothed: do not "
            "trust errors derived from it"
        )
    if not pairs:
        sentence += "; from one spectrum, in which a fixed pattern of the detector counts as noise"
    return DetectorNoise(
        gain=float(gain),
        gain_error=gain_error,
        read_noise=read,
        read_noise_error=read_error,
        channel_gain=float(slope),
        pairs=pairs,
        assessment=Assessment.AMBIGUOUS if smooth else Assessment.OK,
        sentence=sentence,
    )


def _unknown(sentence: str) -> DetectorNoise:
    nan = float("nan")
    return DetectorNoise(
        gain=nan,
        gain_error=nan,
        read_noise=nan,
        read_noise_error=nan,
        channel_gain=nan,
        pairs=0,
        assessment=Assessment.UNUSABLE,
        sentence=sentence,
    )


def _neighbours(counts: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield finite spectra and their neighbours along the last axis of the scan that has any."""
    scanned = [axis for axis, size in enumerate(counts.shape[:-1]) if size > 1]
    if not scanned:
        return
    total = int(np.prod(counts.shape[:-1])) // 2
    stride = max(1, total // _MOST_PAIRS)
    for _, block in blocks(counts):
        moved = np.moveaxis(block, scanned[-1], -2)
        even = moved[..., : moved.shape[-2] // 2 * 2, :]
        a = even[..., 0::2, :].reshape(-1, block.shape[-1])[::stride]
        b = even[..., 1::2, :].reshape(-1, block.shape[-1])[::stride]
        good = np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1)
        good &= (a.sum(axis=1) > 0) & (b.sum(axis=1) > 0)
        if good.any():
            yield a[good], b[good]


Levels = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Means, numbers of channels and, for each lag and last without lags, mean products."""


def _moments(counts: Any) -> tuple[Levels | None, int]:
    """Return products of residuals at some levels of intensity, and the number of pairs."""
    pairs = list(_neighbours(counts))
    if pairs:
        a, b = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
        return _levels(a, b), len(a)
    if max(counts.shape[:-1], default=1) > 1:
        return None, 0
    rows = [block.reshape(-1, block.shape[-1]) for _, block in blocks(counts)]
    a = np.concatenate([part[np.isfinite(part).all(axis=1)] for part in rows])
    return (_levels(a, None) if len(a) and a.sum() > 0 else None), 0


def _levels(a: np.ndarray, b: np.ndarray | None, *, again: bool = True) -> Levels | None:
    """Return the products of residuals of spectra and, if given, their neighbours."""
    from scipy.ndimage import convolve1d
    from scipy.signal import savgol_coeffs

    keep = np.zeros(2 * _HALF + 1)
    keep[_HALF] = 1
    rest = keep - savgol_coeffs(2 * _HALF + 1, 2)
    apart = [float(rest[lag:] @ rest[: len(rest) - lag]) for lag in range(2 * _LAGS)]
    # Covariances of residuals from those of the data, both up to _LAGS - 1 channels apart.
    mixing = np.array(
        [
            [apart[lag] if j == 0 else apart[abs(lag - j)] + apart[lag + j] for j in range(_LAGS)]
            for lag in range(_LAGS)
        ]
    )
    mean, total = a.sum(axis=0), a.sum(axis=1, keepdims=True)
    difference, share, weight = a, total / mean.sum(), np.ones((len(a), 1))
    if b is not None:
        mean = mean + b.sum(axis=0)
        c = total / b.sum(axis=1, keepdims=True)
        # Scale and shift of one spectrum against the other are no noise. Fitted with the weights
        # of counts, they take a little noise along from where the counts are.
        root = np.sqrt(np.maximum(mean, 1e-3 * mean.mean()))
        both, _ = np.linalg.qr((np.stack([mean, np.gradient(mean)]) / root).T)
        difference = (a - c * b) / root
        difference = difference - (difference @ both) @ both.T
        difference *= root / np.sqrt(np.maximum(1 - (both**2).sum(axis=1), 0.1))
        share, weight = total * (1 + c) / mean.sum(), 1 + c**2
    residual = convolve1d(difference, rest, axis=-1, mode="nearest")
    inner = slice(2 * _HALF, a.shape[1] - 2 * _HALF)
    # The sum of many spectra is smooth by itself, and has its peaks as high as they are.
    if b is None or len(a) < _MANY:
        mean = convolve1d(mean, keep - rest, mode="nearest")
    level = convolve1d(mean.clip(0), rest**2 / apart[0], mode="nearest")
    x = (share / weight * level)[:, inner]
    # One count of a counting camera is no spike where fewer are expected.
    whole = np.gcd.reduce(np.abs(a[:50]).astype(np.int64).ravel()) if _integers(a[:50]) else 0
    square = (residual**2 / weight / apart[0])[:, inner]
    spike = _spikes(square, x, float(whole))
    clean = np.asarray(~spike.any(axis=1))
    if b is not None and again and not clean.all() and clean.sum() > len(clean) / 2:
        # A spike spoils the scale of its spectrum and the mean of all.
        return _levels(a[clean], b[clean], again=False)
    used = _featureless(residual[:, inner], x, float(whole)) & ~_widened(spike)

    products = [residual * np.roll(residual, -lag, axis=1) / weight for lag in range(_LAGS)]
    flat = np.stack([product[:, inner][used] for product in products])
    # Last, the variance if channels do not know of each other, which then is more precise.
    covariance = np.concatenate([np.linalg.solve(mixing, flat), flat[:1] / apart[0]])
    x = x[used]
    # Many pixels have few distinct intensities per channel: levels of even numbers of channels.
    parts = _parts(x)
    if not parts:
        return None
    return (
        np.array([x[part].mean() for part in parts]),
        np.array([len(part) for part in parts]),
        np.array([covariance[:, part].mean(axis=1) for part in parts]).T,
    )


def _featureless(residual: np.ndarray, level: np.ndarray, whole: float) -> np.ndarray:
    """Return the channels in which residuals show no edge or peak that is left, shape (E,)."""
    from scipy.ndimage import binary_dilation, gaussian_filter1d

    smooth = (gaussian_filter1d(residual, 1.5, axis=-1) ** 2).mean(axis=0)
    mean = level.mean(axis=0)
    # Noise grows with the level at most as fast as this; features are far beyond it.
    score = smooth / np.maximum(mean + np.median(mean), 1e-300)
    # The power of few spectra, or of few electrons in some five channels, varies by itself.
    vary = 1 / len(residual) + whole / np.maximum(5 * level.sum(axis=0), 1e-300)
    feature = score > (6 + 29 * vary) * np.median(score)
    return np.asarray(~binary_dilation(feature, iterations=_HALF))


def _parts(x: np.ndarray) -> list[np.ndarray]:
    """Return indices of equal numbers of intensities, parted where they differ by more than 2."""
    order = np.argsort(x, axis=None, kind="stable")
    rank = np.arange(order.size) * _LEVELS // max(order.size, 1)
    octave = np.floor(np.log2(np.maximum(x.ravel()[order], 1e-300)))
    cuts = np.flatnonzero((np.diff(rank) != 0) | (np.diff(octave) != 0)) + 1
    return [part for part in np.split(order, cuts) if len(part)]


def _spikes(square: np.ndarray, level: np.ndarray, whole: float) -> np.ndarray:
    """Return where squares are far beyond those of like intensity, shape (P, E)."""
    limit = np.empty(level.size)
    for part in _parts(level):
        variance = float(np.median(square.ravel()[part])) / 0.45
        limit[part] = _SPIKE**2 * max(variance, whole**2)
    return np.asarray(square > np.maximum(limit.reshape(square.shape), 1e-300))


def _widened(spike: np.ndarray) -> np.ndarray:
    """Return the channels whose smooth part a spike has spoilt."""
    from scipy.ndimage import binary_dilation

    near = np.ones((1, 2 * _HALF + 1), dtype=bool)
    return np.asarray(binary_dilation(spike, structure=near))


def _integers(values: np.ndarray) -> bool:
    return bool((values[:50] == np.round(values[:50])).all())


def _line(
    x: np.ndarray, n: np.ndarray, y: np.ndarray, variance: np.ndarray, *, kurtosis: float
) -> tuple[float, float, float, float]:
    """Return slope and offset of a line and their errors; squares scatter by twice their square."""
    design = np.stack([x, np.ones_like(x)], axis=1)
    # The scatter of squares follows the law, not the squares: those that are low by chance would
    # count too much.
    slope, offset = max(float(n @ variance / (n @ x)), 0.0), 0.0
    for _ in range(10):
        fitted = np.maximum(slope * x + offset, 1e-2 * (n @ variance) / n.sum())
        scatter = 2 * fitted**2 + kurtosis * slope**2 * fitted
        weight = n / scatter
        normal = design.T @ (weight[:, None] * design)
        slope, offset = np.linalg.solve(normal, design.T @ (weight * variance)).clip(0)
    coefficients = np.linalg.solve(normal, design.T @ (weight * y))
    covariance = np.linalg.inv(normal)
    misfit = float(np.sum(weight * (y - design @ coefficients) ** 2)) / max(len(x) - 2, 1)
    # Levels that are all alike leave a singular matrix.
    errors = np.sqrt(np.maximum(np.diag(covariance), 0.0) * max(misfit, 1.0))
    return float(coefficients[0]), float(coefficients[1]), float(errors[0]), float(errors[1])

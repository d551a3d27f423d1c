"""Counting statistics: what a number of electrons can show, and what noise alone shows.

The power of a Fourier coefficient of pure counting noise, over its mean, is exponentially
distributed; averaged over m independent spectra it is a gamma variable of shape m. A fringe
adds a constant amplitude. Everything here follows from these two sentences.
"""

import numpy as np

from interphase.errors import ParameterError


def hann_window(size: int) -> np.ndarray:
    """Return a periodic Hann window.

    Parameters
    ----------
    size
        Number of samples.

    Returns
    -------
    ndarray
        Shape (size,), 0 to 1.

    Examples
    --------
    >>> hann_window(4).round(6).tolist()
    [0.0, 0.5, 1.0, 0.5]
    """
    if size < 2:
        raise ParameterError(f"size is {size!r}: expected at least 2 samples")
    window: np.ndarray = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    return window


def window_efficiency(window: np.ndarray) -> float:
    r"""Return the share of a fringe's power over noise that survives a window.

    Parameters
    ----------
    window
        Weights, any shape.

    Returns
    -------
    float
        :math:`\eta = (\sum w)^2 / (N \sum w^2)`: 1 for a box, 4/9 for a Hann window in two
        dimensions.

    Examples
    --------
    >>> w = hann_window(64)
    >>> round(window_efficiency(np.outer(w, w)), 4)
    0.4444
    """
    return float(np.sum(window) ** 2 / (window.size * np.sum(window**2)))


def effective_spectra(window: np.ndarray, *, step: int, count: int) -> float:
    r"""Return how many independent spectra an average over overlapping windows is worth.

    For windows on a grid multiply the numbers of both directions.

    Parameters
    ----------
    window
        Weights of one window, shape (N,).
    step
        Distance of successive windows [px].
    count
        Number n of windows averaged.

    Returns
    -------
    float
        1 to `count`.

    Notes
    -----
    :math:`n_\mathrm{eff} = n^2 / \sum_{ij} \rho_{ij}^2` with the overlap
    :math:`\rho_{ij} = \sum_x w(x)\,w(x + (i-j)\,\mathrm{step}) / \sum w^2`: powers of Gaussian
    amplitudes correlate as the square of the amplitudes [1]_.

    References
    ----------
    .. [1] P. D. Welch, IEEE Trans. Audio Electroacoust. 15, 70 (1967),
           doi:10.1109/TAU.1967.1161901

    Examples
    --------
    >>> round(effective_spectra(hann_window(128), step=128, count=4), 3)
    4.0
    >>> round(effective_spectra(hann_window(128), step=64, count=4), 3)
    3.84
    """
    if step < 1 or count < 1:
        raise ParameterError(
            f"step is {step!r} and count is {count!r}: expected integers of at least 1"
        )
    size = len(window)
    lags = np.arange(count)
    overlap = np.array(
        [
            window[lag * step :] @ window[: size - lag * step] if lag * step < size else 0.0
            for lag in lags
        ]
    )
    squared = (overlap / overlap[0]) ** 2
    pairs = np.where(lags == 0, count, 2 * (count - lags))
    return float(count**2 / (pairs @ squared))


def tail_probability(power_over_floor: np.ndarray, effective_spectra: float = 1.0) -> np.ndarray:
    """Return the probability that noise alone makes a power this high in one place.

    Parameters
    ----------
    power_over_floor
        Power over the mean power of the noise, any shape.
    effective_spectra
        Number of independent spectra that were averaged.

    Returns
    -------
    ndarray
        Same shape; exp(-power) for a single spectrum.

    Examples
    --------
    >>> round(float(tail_probability(np.array(10.0)) / np.exp(-10)), 6)
    1.0
    """
    from scipy.special import gammaincc

    _check_spectra(effective_spectra)
    probability: np.ndarray = gammaincc(
        effective_spectra, effective_spectra * np.maximum(power_over_floor, 0.0)
    )
    return probability


def p_anywhere(p_value: np.ndarray, places: float) -> np.ndarray:
    """Return the probability that noise does this at least once in many places.

    Parameters
    ----------
    p_value
        Probability in one place, any shape.
    places
        Number of independent places that were searched.

    Returns
    -------
    ndarray
        1 - (1 - p)^n, accurate for the smallest p, same shape.

    Examples
    --------
    >>> float(p_anywhere(1e-30, 1000))
    1e-27
    """
    if not places >= 0:
        raise ParameterError(f"places is {places!r}: expected a number of at least 0")
    p = np.clip(p_value, 0.0, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        anywhere = -np.expm1(places * np.log1p(-p))
    result: np.ndarray = np.where(p >= 1, float(places > 0), anywhere)[()]
    return result


def detection_threshold(
    *, false_alarm: float, places: float, effective_spectra: float = 1.0
) -> float:
    """Return the power over the floor that noise exceeds anywhere with a given probability.

    Parameters
    ----------
    false_alarm
        Probability of at least one false spot in all places.
    places
        Number of independent places searched.
    effective_spectra
        Number of independent spectra averaged.

    Returns
    -------
    float
        Power over the mean power of the noise.

    Examples
    --------
    >>> threshold = detection_threshold(false_alarm=0.05, places=1800)
    >>> round(threshold, 2), round(float(p_anywhere(tail_probability(threshold), 1800)), 4)
    (10.47, 0.05)
    """
    from scipy.special import gammainccinv

    if not 0 < false_alarm < 1 or not places > 0:
        raise ParameterError(
            f"false_alarm is {false_alarm!r} and places is {places!r}: expected a probability "
            "between 0 and 1 and a number above 0"
        )
    _check_spectra(effective_spectra)
    in_one_place = -np.expm1(np.log1p(-false_alarm) / places)
    return float(gammainccinv(effective_spectra, in_one_place) / effective_spectra)


def detection_probability(
    signal: np.ndarray, threshold: float, effective_spectra: float = 1.0
) -> np.ndarray:
    """Return the probability that a spot rises above a threshold.

    Parameters
    ----------
    signal
        The spot's power without noise over the mean power of the noise, any shape.
    threshold
        Power over the mean power of the noise that counts as a detection.
    effective_spectra
        Number of independent spectra averaged, each showing the spot.

    Returns
    -------
    ndarray
        Same shape.

    Notes
    -----
    Twice the power over the floor is a non-central χ² variable with two degrees of freedom
    and non-centrality twice `signal`.

    Examples
    --------
    >>> round(float(detection_probability(20.0, 10.0)), 3)
    0.974
    """
    from scipy.stats import ncx2

    _check_spectra(effective_spectra)
    m = 2 * effective_spectra
    # SciPy's non-central law is undefined without a signal; a vanishing one is its limit.
    non_central = np.maximum(m * np.asarray(signal, dtype=float), 1e-12)
    probability: np.ndarray = ncx2.sf(m * threshold, m, non_central)
    return probability


def fringe_power_ratio(
    *,
    contrast: np.ndarray | float,
    dose_e_per_a2: np.ndarray | float,
    area_a2: np.ndarray | float,
    dqe: np.ndarray | float,
    window_efficiency: float = 1.0,
) -> np.ndarray:
    r"""Return the power of fringes over that of counting noise in the Fourier spectrum.

    The amorphous background is no noise of counting: add its power to the floor.

    Parameters
    ----------
    contrast
        Amplitude of the fringes over the mean intensity.
    dose_e_per_a2
        Fluence [e/Å²].
    area_a2
        Area that shows fringes, all of the window [Å²].
    dqe
        Detective quantum efficiency at the fringes' frequency.
    window_efficiency
        4/9 for a two-dimensional Hann window.

    Returns
    -------
    ndarray
        :math:`P_s / P_n = \eta\, C^2 N A\, \mathrm{DQE} / 4`.

    Examples
    --------
    >>> ratio = fringe_power_ratio(
    ...     contrast=0.05, dose_e_per_a2=100, area_a2=900, dqe=1, window_efficiency=4 / 9
    ... )
    >>> round(float(ratio), 6)
    25.0
    """
    ratio = np.asarray(
        window_efficiency
        * np.square(contrast)
        * np.asarray(dose_e_per_a2)
        * np.asarray(area_a2)
        * np.asarray(dqe)
        / 4
    )
    return ratio


def rose_dose(
    *,
    contrast: float,
    feature_size_a: float,
    signal_to_noise: float = 5.0,
    dqe: float = 1.0,
    used_fraction: float = 1.0,
) -> float:
    r"""Return the fluence that shows one feature by itself, by Rose's criterion.

    Periodic features need far less: see `fringe_power_ratio`.

    Parameters
    ----------
    contrast
        Relative difference of the feature from its surroundings.
    feature_size_a
        Diameter of the feature [Å].
    signal_to_noise
        Rose's k, 3 to 5.
    dqe
        Detective quantum efficiency.
    used_fraction
        Share of the electrons that contribute to the image.

    Returns
    -------
    float
        :math:`N = k^2 / (C^2 \delta^2\, \mathrm{DQE}\, F)` [e/Å²].

    References
    ----------
    .. [1] A. Rose, J. Opt. Soc. Am. 38, 196 (1948), doi:10.1364/JOSA.38.000196

    Examples
    --------
    >>> round(rose_dose(contrast=0.05, feature_size_a=2.0))
    2500
    """
    for name, value in {
        "contrast": contrast,
        "feature_size_a": feature_size_a,
        "dqe": dqe,
        "used_fraction": used_fraction,
    }.items():
        if not 0 < value < float("inf"):
            raise ParameterError(f"{name} is {value!r}: expected a finite number above 0")
    return signal_to_noise**2 / (contrast**2 * feature_size_a**2 * dqe * used_fraction)


def poisson_interval(counts: np.ndarray, *, confidence: float = 0.95) -> np.ndarray:
    """Return the central interval of a Poisson mean, given one count.

    Parameters
    ----------
    counts
        Observed counts, any shape.
    confidence
        Probability that the interval holds the mean, at least.

    Returns
    -------
    ndarray
        Lower and upper end, shape (2, *counts.shape).

    References
    ----------
    .. [1] F. Garwood, Biometrika 28, 437 (1936), doi:10.1093/biomet/28.3-4.437

    Examples
    --------
    >>> poisson_interval(np.array([0, 10])).round(2).tolist()
    [[0.0, 4.8], [3.69, 18.39]]
    """
    from scipy.special import gammaincinv

    if not 0 < confidence < 1:
        raise ParameterError(f"confidence is {confidence!r}: expected a share between 0 and 1")
    n = np.asarray(counts, dtype=float)
    if np.any(n < 0):
        raise ParameterError(f"the smallest of counts is {n.min():g}: expected no negative count")
    tail = (1 - confidence) / 2
    lower = np.where(n > 0, gammaincinv(np.maximum(n, 1), tail), 0.0)
    upper = gammaincinv(n + 1, 1 - tail)
    interval: np.ndarray = np.stack([lower, upper])
    return interval


def _check_spectra(effective_spectra: float) -> None:
    if not effective_spectra > 0:
        raise ParameterError(
            f"effective_spectra is {effective_spectra!r}: expected a number above 0"
        )

"""Up to which exposure a signal shows no decline, whatever the law by which it fades."""

from dataclasses import dataclass

import numpy as np

from interphase.assessment import Assessment
from interphase.dose.signals import FadingSeries, Law
from interphase.errors import ParameterError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Onset:
    """Up to which exposure a signal shows no decline."""

    series: FadingSeries
    """What was looked at."""
    frames: int
    """Number of exposures, from the first, that show none: use frames 1 to this."""
    low_e_per_a2: float | None
    """Dose at their end [e/Å²]: no change was seen below; ``None`` where nothing can be said."""
    high_e_per_a2: float | None
    """Dose at the end of the exposure that shows it [e/Å²]; ``None`` where none does."""
    p_value: float
    """Probability of as strong a sign anywhere in the series without any damage."""
    detectable_loss: float
    """Share lost by the last exposure, at a steady rate, that is seen in half of such series or
    more: at the last exposure alone in half, and where it shows earlier besides."""
    confidence: float
    """Probability that a series without damage is not cut short."""
    assessment: Assessment
    """``ok``, ``too_few_electrons`` where not even the loss of all would be seen, ``unusable``."""
    sentence: str
    """The same in words."""


def estimate_onset(
    series: FadingSeries,
    *,
    rng: np.random.Generator,
    confidence: float = 0.95,
    simulations: int = 1000,
) -> Onset:
    r"""Return up to which exposure a signal is compatible with no damage at all.

    That a decline is not seen does not say that there is none: `Onset.detectable_loss` says what
    would be seen.

    Parameters
    ----------
    series
        The signal.
    rng
        Source of randomness for the calibration.
    confidence
        Probability that a series without damage is kept to its end.
    simulations
        Series without damage that are drawn to calibrate the test.

    Returns
    -------
    Onset
        The last exposure before a decline shows.

    Raises
    ------
    ParameterError
        `confidence` is not between 0 and 1, or there are too few simulations for it.

    Notes
    -----
    For every j the slope of the first j exposures against dose is taken over its standard error
    at their own mean level. The threshold is what the largest of these falls below in the share
    `confidence` of simulated series of that level without damage. The first j that exceeds it
    is the exposure by which the decline shows.
    """
    if not 0 < confidence < 1:
        raise ParameterError(f"confidence is {confidence!r}: expected a share between 0 and 1")
    if not simulations * (1 - confidence) >= 10:
        raise ParameterError(
            f"simulations is {simulations!r}: expected at least "
            f"{10 / (1 - confidence):.0f} for a confidence of {confidence:g}"
        )
    frames = len(series.signal)
    net, (constant, slope) = series.net, series.variance_parts
    level = float(np.sum(net) / np.sum(series.weight))
    error = np.sqrt(np.sum(constant + slope * max(level, 0.0))) / np.sum(series.weight)
    if frames < 2 or not level > 2 * error:
        few = frames < 2
        words = "has one exposure and no series." if few else "does not rise above its noise."
        return Onset(
            series=series,
            frames=frames,
            low_e_per_a2=None,
            high_e_per_a2=None,
            p_value=1.0,
            detectable_loss=float("inf"),
            confidence=confidence,
            assessment=Assessment.UNUSABLE if few else Assessment.TOO_FEW_ELECTRONS,
            sentence=series.say(words),
        )
    observed, per_loss = _declines(series, net[None], constant[None])
    null, _ = _declines(series, *_undamaged(series, level, simulations, rng))
    highest = null.max(axis=1)
    threshold = float(np.quantile(highest, confidence))
    over = observed[0] > threshold
    shows = int(np.argmax(over)) + 1 if over.any() else None
    kept = frames if shows is None else shows
    loss = threshold / max(float(per_loss[0, -1]), 1e-12)
    p_value = float((1 + np.sum(highest >= observed.max())) / (1 + simulations))
    blind = shows is None and loss > 1
    if shows is not None:
        words = (
            f"shows no decline up to {series.after_e_per_a2[kept - 1]:.3g} e/Å² and one by "
            f"{series.after_e_per_a2[shows]:.3g} e/Å²: use frame{'s 1 to' * (kept > 1)} {kept}."
        )
    elif blind:
        words = "shows no decline, and even the loss of all of it would hardly be seen."
    else:
        words = (
            f"shows no decline up to {series.after_e_per_a2[-1]:.3g} e/Å²; a loss of "
            f"{100 * loss:.0f} % by then would be seen in at least half of such series: use all "
            f"{frames} frames."
        )
    return Onset(
        series=series,
        frames=kept,
        low_e_per_a2=None if blind else float(series.after_e_per_a2[kept - 1]),
        high_e_per_a2=None if shows is None else float(series.after_e_per_a2[shows]),
        p_value=p_value,
        detectable_loss=loss,
        confidence=confidence,
        assessment=Assessment.TOO_FEW_ELECTRONS if blind else Assessment.OK,
        sentence=series.say(words),
    )


def _undamaged(
    series: FadingSeries, level: float, number: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return net signals of simulated series without damage and their variance at level 0."""
    shape = (number, len(series.signal))
    constant, _ = series.variance_parts
    mean = level * series.weight
    if series.law is Law.VALUES:
        return rng.normal(mean, np.sqrt(constant), shape), np.broadcast_to(constant, shape)
    if series.law is Law.POWER:
        k = series.spectra
        power = rng.noncentral_chisquare(2 * k, 2 * k * mean, shape) / (2 * k)
        return power - 1, np.broadcast_to(constant, shape)
    if series.background is None:
        return rng.poisson(mean, shape).astype(float), np.zeros(shape)
    ratio = series.background_ratio
    background = rng.poisson(series.background, shape)
    counts = rng.poisson(mean + series.background / ratio, shape)
    return np.asarray(counts - background / ratio), background / ratio * (1 + 1 / ratio)


def _declines(
    series: FadingSeries, net: np.ndarray, constant: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return how far the slope of the first j exposures lies below 0, for j from 2 to F.

    In standard errors, and the same per share that is lost by exposure j; shapes (S, F - 1). `net`
    and `constant`, the variance at level 0, have shape (S, F).
    """
    weight, dose = series.weight, series.dose_e_per_a2 - series.dose_e_per_a2[0]
    usual = series.variance_parts
    trust = weight / (usual[0] + usual[1] * max(float(series.net.mean()), 1e-12))

    def summed(values: np.ndarray) -> np.ndarray:
        return np.cumsum(np.broadcast_to(values, net.shape), axis=1)[:, 1:]

    whole = summed(trust * weight)
    centre = summed(trust * weight * dose) / whole
    level = np.maximum(summed(trust * net) / whole, 0.0)
    fall = centre * summed(trust * net) - summed(trust * dose * net)

    def variance(each: np.ndarray) -> np.ndarray:
        squares, products = summed(trust**2 * dose**2 * each), summed(trust**2 * dose * each)
        return np.asarray(squares - 2 * centre * products + centre**2 * summed(trust**2 * each))

    error = np.sqrt(np.maximum(variance(constant) + level * variance(usual[1]), 1e-300))
    bend = summed(trust * weight * dose**2) - centre**2 * whole
    return fall / error, level * bend / dose[1:] / error

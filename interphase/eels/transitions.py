"""How wide a transition is, beyond the blur of the probe."""

from dataclasses import dataclass

import numpy as np

from interphase.assessment import Assessment
from interphase.eels.checks import check_number
from interphase.eels.profiles import Profile
from interphase.errors import ParameterError

# 10-90 % width over the standard deviation of an error function, and full width at half maximum.
_WIDTH, _FWHM = 2.5631031310892007, 2.3548200450309493
# Standard errors that a step's height must have.
_STEP = 4.0
# Probability of the misfit below which a transition is no error function.
_MISFIT = 1e-3
# Places, widths seen and of the specimen, and blurs that are tried.
_PLACES, _SEEN, _WIDTHS, _BLURS = 41, 48, 401, 13


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """Where a quantity passes from one level to another, and over which width."""

    place_a: float | None
    """Middle of the transition [Å]; ``None`` where no step is above the noise."""
    place_error_a: float | None
    """Its standard error [Å]."""
    width_a: float | None
    """10-90 % width of the specimen, the probe's blur taken out [Å]; ``None`` where blur and
    counts do not allow to tell it from 0."""
    low_a: float
    """Lower end of its interval [Å]; 0 where it may be sharp."""
    high_a: float
    """Upper end [Å]; infinite where nothing bounds it. Without a `width_a` an upper bound, at
    that confidence on one side."""
    confidence: float
    """Share of such intervals that hold the truth."""
    before: float
    """Level before the transition."""
    after: float
    """Level after it."""
    p_value: float
    """Probability of a misfit as large as this if the transition is an error function."""
    assessment: Assessment
    """``ok``: there is a width. ``too_coarse``: an upper bound only. ``too_few_electrons``: no
    step above the noise, or nothing bounds the width. ``ambiguous``: it is no error function."""
    sentence: str
    """The same in words."""


def fit_transition(
    profile: Profile,
    *,
    blur_fwhm_a: float,
    blur_error_a: float = 0.0,
    confidence: float = 0.95,
) -> Transition:
    r"""Return place and 10-90 % width of a transition, with the probe's blur taken out.

    For one transition between two flat levels; cut the profile to it. Not for a layer: its two
    sides are two transitions.

    Parameters
    ----------
    profile
        The profile.
    blur_fwhm_a
        Full width at half maximum of the probe with its delocalisation, a Gaussian [Å].
    blur_error_a
        Standard error of that width [Å].
    confidence
        Share of intervals that shall hold the truth.

    Returns
    -------
    Transition
        A width with its interval, or an upper bound.

    Raises
    ------
    ParameterError
        A number is out of range, or the profile has fewer than six steps.

    Notes
    -----
    :math:`v(x) = a + b\, \Phi[(x - x_0) / \sqrt{\sigma^2 + \sigma_b^2 + h^2/12}]`, with the width h
    of a step and :math:`\sigma_b` that of the blur, which has a normal prior; the 10-90 % width is
    2.563 σ. The interval holds the widths whose profile likelihood is within the quantile of χ²
    [1]_. A width is told from a sharp interface by the same quantile; one that is not has an
    upper bound instead, that of one side. Where few widths are told, those are the large ones:
    their mean is too large, while the intervals hold the truth as often as they say.

    References
    ----------
    .. [1] S. S. Wilks, Ann. Math. Stat. 9, 60 (1938), doi:10.1214/aoms/1177732360

    Examples
    --------
    >>> from scipy.special import ndtr
    >>> x = np.arange(-50.0, 51.0, 2.0)
    >>> profile = Profile(
    ...     distance_a=x, value=ndtr(x / 10), standard_error=np.full(51, 0.01), step_a=2.0
    ... )
    >>> fit_transition(profile, blur_fwhm_a=2.3548 * 6).sentence
    'The transition is 20.5 Å wide (10-90 %, 95 % interval 19.6 to 21.3), blur taken out.'
    """
    from scipy.stats import chi2

    check_number("blur_fwhm_a", blur_fwhm_a, 0, 1e6, "Å")
    check_number("blur_error_a", blur_error_a, 0, 1e6, "Å")
    check_number("confidence", confidence, 0.5, 0.9999)
    steps = len(profile.distance_a)
    if steps < 6:
        raise ParameterError(
            f"the profile has {steps} steps: expected at least 6 to fit levels, place and width"
        )
    span = float(profile.distance_a[-1] - profile.distance_a[0])
    flat = _flat(profile)
    extra = profile.step_a / np.sqrt(12)
    blur = _blurs(blur_fwhm_a / _FWHM, blur_error_a / _FWHM)
    widest = max(span, 2 * float(np.max(blur[0])))
    sigmas = np.concatenate([[0.0], np.geomspace(span / 1000, widest, _WIDTHS)])
    chi, best = _profile_over(profile, sigmas, blur, extra)
    at = int(np.argmin(chi))
    if flat - chi[at] < _STEP**2:
        words = "No step rises above the noise: no place and no width can be told."
        return _no_step(profile, confidence, words)
    two, one = chi2.ppf(confidence, 1), chi2.ppf(2 * confidence - 1, 1)
    inside = chi - chi[at] - two
    sharp = inside[0] <= 0
    low = 0.0 if sharp else _crossing(sigmas, inside, at, -1)
    high = _crossing(sigmas, chi - chi[at] - one if sharp else inside, at, +1)
    place, place_error, before, after = _place(profile, best[at : at + 1])
    p_value = float(chi2.sf(chi[at], steps - 4))
    width = None if sharp or not np.isfinite(high) else _WIDTH * _lowest(sigmas, chi, at)
    bounds = (_WIDTH * low, _WIDTH * high)
    assessment, words = _judge(width, bounds, confidence, p_value)
    return Transition(
        place_a=place,
        place_error_a=place_error,
        width_a=width,
        low_a=bounds[0],
        high_a=bounds[1],
        confidence=confidence,
        before=before,
        after=after,
        p_value=p_value,
        assessment=assessment,
        sentence=words,
    )


def _flat(profile: Profile) -> float:
    """Return the misfit of one level."""
    weight = profile.standard_error**-2
    mean = weight @ profile.value / weight.sum()
    return float(weight @ (profile.value - mean) ** 2)


def _blurs(sigma: float, error: float) -> tuple[np.ndarray, np.ndarray]:
    """Return standard deviations that the blur may have, and the misfit each costs."""
    if error == 0:
        return np.array([sigma]), np.zeros(1)
    off = np.linspace(-3, 3, _BLURS)
    blurs = sigma + off * error
    return blurs[blurs >= 0], off[blurs >= 0] ** 2


def _levels(profile: Profile, place: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the misfit with the best levels, and these, for places and widths that broadcast."""
    from scipy.special import ndtr

    x, v, weight = profile.distance_a, profile.value, profile.standard_error**-2
    shape = ndtr((x - place[..., None]) / sigma[..., None])
    total = weight.sum()
    mean_v, mean_s = weight @ v / total, shape @ weight / total
    sv = shape @ (weight * (v - mean_v))
    ss = np.maximum((shape**2) @ weight - total * mean_s**2, 1e-12 * total)
    height = sv / ss
    return weight @ (v - mean_v) ** 2 - sv * height, mean_v - height * mean_s, height


def _profile_over(
    profile: Profile, sigmas: np.ndarray, blur: tuple[np.ndarray, np.ndarray], extra: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the least misfit at each width of the specimen, and the width seen that has it.

    The specimen's width, the blur and the step add in squares.
    """
    from scipy.interpolate import CubicSpline

    totals = np.sqrt(sigmas[:, None] ** 2 + blur[0] ** 2 + extra**2)
    seen = np.geomspace(totals.min(), totals.max() * (1 + 1e-9), _SEEN)
    misfit = CubicSpline(np.log(seen), _best_place(profile, seen)[0])
    each = misfit(np.log(totals)) + blur[1]
    chosen = np.argmin(each, axis=1)
    rows = np.arange(len(sigmas))
    return each[rows, chosen], totals[rows, chosen]


def _best_place(profile: Profile, widths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the least misfit at each width seen, and the place that has it."""
    x = profile.distance_a
    places = np.linspace(x[0], x[-1], _PLACES)[None]
    reach = places[0, 1] - places[0, 0]
    for _ in range(4):
        misfit = _levels(profile, places, widths[:, None])[0]
        best = np.argmin(misfit, axis=1)[:, None]
        centre = np.take_along_axis(np.broadcast_to(places, misfit.shape), best, axis=1)
        places = centre + np.linspace(-reach, reach, 9)
        reach /= 4
    # A parabola through the last three is exact by then.
    best = best.clip(1, misfit.shape[1] - 2)
    low, middle, high = (np.take_along_axis(misfit, best + i, axis=1)[:, 0] for i in (-1, 0, 1))
    bend = np.maximum(low - 2 * middle + high, 1e-300)
    off = np.clip((low - high) / bend / 2, -1, 1)
    return middle - (low - high) * off / 4, centre[:, 0] + off * reach * 4


def _crossing(sigmas: np.ndarray, inside: np.ndarray, at: int, direction: int) -> float:
    """Return where the misfit leaves what is allowed; 0 or infinity where it does not."""
    end = -1 if direction < 0 else len(sigmas)
    for i in range(at + direction, end, direction):
        if inside[i] > 0:
            j = i - direction
            share = inside[j] / (inside[j] - inside[i])
            return float(sigmas[j] + share * (sigmas[i] - sigmas[j]))
    return 0.0 if direction < 0 else np.inf


def _lowest(sigmas: np.ndarray, chi: np.ndarray, at: int) -> float:
    """Return where a parabola through the least misfit and its neighbours is lowest."""
    if not 0 < at < len(sigmas) - 1:
        return float(sigmas[at])
    a, b, _ = np.polyfit(sigmas[at - 1 : at + 2], chi[at - 1 : at + 2], 2)
    return float(np.clip(-b / (2 * a), sigmas[at - 1], sigmas[at + 1])) if a > 0 else sigmas[at]


def _place(profile: Profile, seen: np.ndarray) -> tuple[float, float, float, float]:
    """Return the place of a transition with its error, and the levels before and after it."""
    from scipy.special import ndtr

    place, sigma = float(_best_place(profile, seen)[1][0]), float(seen[0])
    _, before, height = (float(np.ravel(a)[0]) for a in _levels(profile, np.array([place]), seen))
    at = (profile.distance_a - place) / sigma
    bell = height * np.exp(-(at**2) / 2) / np.sqrt(2 * np.pi) / sigma

    columns = np.column_stack([np.ones_like(at), ndtr(at), bell, bell * at])
    weighted = columns / profile.standard_error[:, None]
    covariance = np.linalg.pinv(weighted.T @ weighted)
    return float(place), float(np.sqrt(covariance[2, 2])), before, before + height


def _no_step(profile: Profile, confidence: float, words: str) -> Transition:
    level = float(np.average(profile.value, weights=profile.standard_error**-2))
    return Transition(
        place_a=None,
        place_error_a=None,
        width_a=None,
        low_a=0.0,
        high_a=np.inf,
        confidence=confidence,
        before=level,
        after=level,
        p_value=1.0,
        assessment=Assessment.TOO_FEW_ELECTRONS,
        sentence=words,
    )


def _judge(
    width: float | None, bounds: tuple[float, float], confidence: float, p_value: float
) -> tuple[Assessment, str]:
    share = f"{100 * confidence:.3g} %"
    low, high = bounds
    if p_value < _MISFIT:
        return (
            Assessment.AMBIGUOUS,
            f"The profile is no single error function (probability of the misfit {p_value:.1g}): "
            "cut it to one transition, or see whether its errors are right.",
        )
    if not np.isfinite(high):
        return (
            Assessment.TOO_FEW_ELECTRONS,
            f"The transition is at least {low:.3g} Å wide ({share}); nothing bounds it above: a "
            "longer profile or more counts would.",
        )
    if width is None:
        return (
            Assessment.TOO_COARSE,
            f"The transition is no wider than {high:.3g} Å (10-90 %, {share}): blur and counts do "
            "not tell it from a sharp one.",
        )
    return (
        Assessment.OK,
        f"The transition is {width:.3g} Å wide (10-90 %, {share} interval {low:.3g} to "
        f"{high:.3g}), blur taken out.",
    )

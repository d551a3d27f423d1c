r"""Critical doses from a series: what is fitted, and how sure it is.

`estimate_fading` fits the exponential law, integrated over the dose of each exposure, to a
`FadingSeries` by maximum likelihood; the interval is where the profile likelihood says so, which
holds as well where it is open on one side.
"""

from dataclasses import dataclass

import numpy as np

from interphase.assessment import Assessment
from interphase.dose.damage import half_dose, mean_decay
from interphase.dose.likelihood import likeliest_background, likelihood_of, maximise
from interphase.dose.signals import FadingSeries, Law
from interphase.errors import ParameterError
from interphase.phases import DamageFact, dose_range

# Products of rate and dose at which nothing has faded, and at which all has within an exposure.
_NOTHING, _ALL = 1e-6, 50.0
# Rounds in which the rates are divided: at the least, and at the most, until so many rates lie
# within the interval; many counts make it narrow.
_LEAST_ROUNDS, _MOST_ROUNDS, _RESOLVED = 4, 12, 9
# Probability of the misfit below which the law does not hold.
_MISFIT = 1e-3
# Share lost up to which a damage table calls a phase unchanged.
_SEEN_LOSS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FadingFit:
    """A critical dose with its interval."""

    series: FadingSeries
    """What was fitted."""
    critical_dose_e_per_a2: float | None
    """Dose that leaves 1/e of what fades [e/Å²]; ``None`` where the best is none or infinite."""
    low_e_per_a2: float | None
    """Lower end of its interval [e/Å²]; ``None`` where all may be gone within one exposure."""
    high_e_per_a2: float | None
    """Upper end [e/Å²]; ``None`` where it may as well not fade at all."""
    confidence: float
    """Share of such intervals that hold the truth."""
    initial: float
    """Signal of a mean exposure of the specimen as it was when the series began, by the fit."""
    final: float
    """Share of it that does not fade; 0 unless it was fitted."""
    expected: np.ndarray
    """Expected net signal of each exposure, shape (F,)."""
    p_value: float
    """Probability of a misfit as large as this if the law holds."""
    assessment: Assessment
    """``ok``: both ends are known. ``too_few_electrons``: the signal is too weak, or the series too
    short for the upper end. ``too_coarse``: too fast for its exposures. ``ambiguous``: it does not
    follow the law. ``unusable``: too few exposures."""
    sentence: str
    """The same in words."""

    @property
    def half_dose_e_per_a2(self) -> float | None:
        """Dose that takes half of what fades [e/Å²]."""
        critical = self.critical_dose_e_per_a2
        return None if critical is None else half_dose(critical)

    def as_damage_fact(
        self,
        *,
        source: str,
        phase: str | None = None,
        process: str = "fading under the beam",
        product: str | None = None,
        beam_energy_kev: float | None = None,
        temperature_k: float | None = None,
        dose_rate_e_per_a2_s: float | None = None,
        conditions: str = "",
    ) -> DamageFact:
        """Return the measurement for the user's table, see `interphase.phases.record_damage`.

        Its lower end is the dose that takes a tenth of what fades, by the lower end of the
        interval: below it no change is known. Its value and upper end are those of the dose that
        leaves 1/e.

        Parameters
        ----------
        source
            Where it was measured: grid, date.
        phase
            Identifier of the phase, if the series does not name it.
        process
            What happens.
        product
            Identifier of the phase that the beam makes.
        beam_energy_kev
            Beam energy [keV].
        temperature_k
            Temperature of the specimen [K].
        dose_rate_e_per_a2_s
            Dose rate [e/Å²/s].
        conditions
            What else of the conditions matters.

        Raises
        ------
        ParameterError
            No phase is named, or the series says nothing of its critical dose.
        """
        phase = phase or self.series.phase
        if phase is None:
            raise ParameterError(f"no phase is named for {self.series.name}: give `phase`")
        bounds = low, high = self.low_e_per_a2, self.high_e_per_a2
        if bounds == (None, None) or self.assessment is Assessment.AMBIGUOUS:
            raise ParameterError(f"there is no critical dose to record: {self.sentence}")
        return DamageFact(
            phase=phase,
            process=process,
            criterion=f"{self.series.name} down to 1/e",
            grade="own",
            source=source,
            product=product,
            value_e_per_a2=self.critical_dose_e_per_a2 if None not in bounds else None,
            low_e_per_a2=None if low is None else float(-np.log(1 - _SEEN_LOSS) * low),
            high_e_per_a2=high,
            beam_energy_kev=beam_energy_kev,
            temperature_k=temperature_k,
            dose_rate_e_per_a2_s=dose_rate_e_per_a2_s,
            conditions=conditions,
            note=(
                f"The {100 * self.confidence:.3g} % interval of the dose that leaves 1/e is "
                f"{dose_range((low, high))}; below the lower end here {100 * _SEEN_LOSS:g} % are "
                "lost at the most."
            ),
        )


def estimate_fading(
    series: FadingSeries, *, fit_rest: bool = False, confidence: float = 0.95
) -> FadingFit:
    r"""Return the critical dose of a signal that fades exponentially, with its interval.

    Not for signals that first stay and then fall, which it calls ``ambiguous`` where they show it:
    ask `estimate_onset`.

    Parameters
    ----------
    series
        The signal.
    fit_rest
        Whether a part of the signal may stay for ever, which is fitted as well. The interval is
        then wider, and open unless the curve is seen to bend.
    confidence
        Share of intervals that shall hold the truth.

    Returns
    -------
    FadingFit
        The estimate, its interval and its assessment.

    Raises
    ------
    ParameterError
        `confidence` is not between 0 and 1.

    Notes
    -----
    Of an exposure from :math:`D` to :math:`D + w` is expected :math:`\mu = w\,(I_\infty + a\,m)`
    with m the mean of :math:`e^{-D/D_c}` over it; a value that is already a ratio has no factor w.
    Fringes fade in amplitude within a frame, so that of their power is expected the square of
    the mean of :math:`e^{-D/2D_c}`. The background of counts is fitted in each exposure with the
    counts of its own area [1]_. The interval holds the rates :math:`1/D_c \ge 0` whose maximum
    of the likelihood over all else is within the quantile of χ² with one degree of freedom [2]_.

    References
    ----------
    .. [1] W. Cash, Astrophys. J. 228, 939 (1979), doi:10.1086/156922
    .. [2] S. S. Wilks, Ann. Math. Stat. 9, 60 (1938), doi:10.1214/aoms/1177732360

    Examples
    --------
    >>> edges = np.arange(0.0, 55.0, 5.0)
    >>> counts = np.round(1000 * mean_decay(1 / 20, edges[:-1], edges[1:]))
    >>> fit = estimate_fading(
    ...     FadingSeries(
    ...         signal=counts, before_e_per_a2=edges[:-1], after_e_per_a2=edges[1:], law=Law.COUNTS
    ...     )
    ... )
    >>> fit.sentence
    'The signal falls to 1/e within 20 e/Å² (95 % interval 19 to 21.1), to half within 13.9 e/Å².'
    """
    from scipy.stats import chi2

    if not 0 < confidence < 1:
        raise ParameterError(f"confidence is {confidence!r}: expected a share between 0 and 1")
    frames, parameters = len(series.signal), 2 + fit_rest
    if frames < parameters:
        exposures = "one exposure" if frames == 1 else f"{frames} exposures"
        words = f"has {exposures}, too few to show how it fades: take a longer series."
        return _no_fit(series, confidence, Assessment.UNUSABLE, words)
    allowed = float(chi2.ppf(confidence, 1)) / 2
    empty = likelihood_of(series)(np.zeros((1, frames)))[0][0]
    rates, logs, best_parts = _explore(series, fit_rest=fit_rest, allowed=allowed)
    best = int(np.argmax(logs))
    if not logs[best] - empty > allowed:
        words = "does not rise above its noise: no critical dose can be told."
        return _no_fit(series, confidence, Assessment.TOO_FEW_ELECTRONS, words)
    slowest, fastest = _crossings(rates, logs, allowed)
    low = None if fastest >= rates[-1] else 1 / fastest
    high = None if slowest <= rates[0] else 1 / slowest
    initial, rest = best_parts[best]
    inside = rates[0] < rates[best] < rates[-1]
    critical = float(1 / rates[best]) if inside else None
    expected = _shapes(series, rates[best : best + 1])[0] * initial + series.weight * rest
    p_value = _misfit(series, expected, frames - parameters)
    assessment, words = _judge(critical, (low, high), confidence, p_value)
    share = rest / (initial + rest) if rest else 0.0
    if rest and low is not None and high is not None:
        words += f" {100 * share:.0f} % of it stays."
    return FadingFit(
        series=series,
        critical_dose_e_per_a2=critical,
        low_e_per_a2=low,
        high_e_per_a2=high,
        confidence=confidence,
        initial=float(initial + rest),
        final=float(share),
        expected=expected,
        p_value=p_value,
        assessment=assessment,
        sentence=series.say(words),
    )


def _no_fit(
    series: FadingSeries, confidence: float, assessment: Assessment, words: str
) -> FadingFit:
    return FadingFit(
        series=series,
        critical_dose_e_per_a2=None,
        low_e_per_a2=None,
        high_e_per_a2=None,
        confidence=confidence,
        initial=float(np.mean(series.net)),
        final=0.0,
        expected=np.full(len(series.signal), np.mean(series.net)),
        p_value=1.0,
        assessment=assessment,
        sentence=series.say(words),
    )


def _judge(
    critical: float | None,
    bounds: tuple[float | None, float | None],
    confidence: float,
    p_value: float,
) -> tuple[Assessment, str]:
    low, high = bounds
    share = f"{100 * confidence:.3g} %"
    if p_value < _MISFIT:
        return (
            Assessment.AMBIGUOUS,
            f"does not fade exponentially (probability of the misfit {p_value:.1g}): the dose of "
            "its onset says more.",
        )
    if low is None and high is None:
        words = "is too weak to tell whether it fades at once or never."
        return Assessment.TOO_FEW_ELECTRONS, words
    if high is None:
        words = f"may not fade at all: 1/e is left after {low:.3g} e/Å² or more ({share})"
        return Assessment.TOO_FEW_ELECTRONS, f"{words}; a longer series would tell."
    if low is None:
        words = f"may be gone within the first exposure: 1/e is left after {high:.3g} e/Å² at most"
        return Assessment.TOO_COARSE, f"{words} ({share}); shorter exposures would tell."
    half = "" if critical is None else f", to half within {half_dose(critical):.3g} e/Å²"
    best = f"{critical:.3g} e/Å² " if critical is not None else ""
    return (
        Assessment.OK,
        f"falls to 1/e within {best}({share} interval {low:.3g} to {high:.3g}){half}.",
    )


def _shapes(series: FadingSeries, rates: np.ndarray) -> np.ndarray:
    """Return the expected net signal of each exposure, over that of a fresh mean one, (R, F)."""
    start = series.before_e_per_a2[0]
    before, after = series.before_e_per_a2 - start, series.after_e_per_a2 - start
    if series.law is Law.POWER:
        return np.asarray(series.weight * mean_decay(rates[:, None] / 2, before, after) ** 2)
    return np.asarray(series.weight * mean_decay(rates[:, None], before, after))


def _explore(
    series: FadingSeries, *, fit_rest: bool, allowed: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rates [Å²/e], the logarithms of their profile likelihood, and the two parts.

    Finer and finer about the maximum and the ends of the interval.
    """
    span = series.after_e_per_a2[-1] - series.before_e_per_a2[0]
    first = series.after_e_per_a2[0] - series.before_e_per_a2[0]
    rates = np.concatenate([[0.0], np.geomspace(_NOTHING / span, _ALL / first, 60)])
    logs, parts = _profile(series, rates, fit_rest=fit_rest)
    for number in range(_MOST_ROUNDS):
        best = int(np.argmax(logs))
        # Of huge counts the logarithms have no digits left for a sum with `allowed`.
        inside = np.flatnonzero(logs - logs[best] + allowed > 0)
        if number >= _LEAST_ROUNDS and len(inside) >= _RESOLVED:
            break
        about = {best - 1, best, inside[0] - 1, inside[-1]} & set(range(1, len(rates) - 1))
        new = np.unique([np.linspace(rates[i], rates[i + 1], 10)[1:-1] for i in about])
        if not len(new):
            break
        more, more_parts = _profile(series, new, fit_rest=fit_rest)
        order = np.argsort(np.concatenate([rates, new]), kind="stable")
        rates = np.concatenate([rates, new])[order]
        logs = np.concatenate([logs, more])[order]
        parts = np.concatenate([parts, more_parts])[order]
    return rates, logs, parts


def _crossings(rates: np.ndarray, logs: np.ndarray, allowed: float) -> tuple[float, float]:
    """Return the slowest and the fastest rate that the likelihood allows."""
    depth = logs - logs.max() + allowed
    inside = np.flatnonzero(depth > 0)
    ends = []
    for at, next_to in ((inside[0], inside[0] - 1), (inside[-1], inside[-1] + 1)):
        if not 0 <= next_to < len(rates):
            ends.append(rates[at])
            continue
        share = depth[at] / (depth[at] - depth[next_to])
        ends.append(rates[at] + share * (rates[next_to] - rates[at]))
    return float(ends[0]), float(ends[1])


def _profile(
    series: FadingSeries, rates: np.ndarray, *, fit_rest: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return the greatest log-likelihood at each rate, and what fades and what stays, (R, 2)."""
    fades = _shapes(series, rates)[..., None]
    log, part = maximise(series, fades)
    parts = np.column_stack([part, np.zeros(len(rates))])
    if not fit_rest:
        return log, parts
    stays = np.broadcast_to(series.weight[:, None], fades.shape)
    both = np.concatenate([fades, stays], axis=-1)
    for columns, where in ((stays, slice(1, 2)), (both, slice(0, 2))):
        other, found = maximise(series, columns)
        better = other > log + 1e-9
        log = np.where(better, other, log)
        parts[better] = 0.0
        parts[better, where] = found[better]
    return log, parts


def _misfit(series: FadingSeries, expected: np.ndarray, freedom: int) -> float:
    """Return the probability of squared residuals as large as these.

    Their sum is taken for a gamma variable with its own mean and variance, which knows that few
    counts and powers scatter further than a normal variable does.
    """
    from scipy.stats import gamma

    if freedom < 1:
        return 1.0
    constant, slope = series.variance_parts
    if series.background is not None:
        # What was counted of the background alone is few where the net signal is large by chance.
        constant = likeliest_background(series, expected) * (1 + 1 / series.background_ratio)
    variance = constant + slope * expected / series.weight
    squares = np.sum((series.net - expected) ** 2 / np.maximum(variance, 1e-12))
    if series.law is Law.COUNTS:
        excess = 1 / np.maximum(variance, 1e-2)
    elif series.law is Law.POWER:
        excess = 6 * (1 + 4 * expected) / (1 + 2 * expected) ** 2 / series.spectra
    else:
        excess = np.zeros_like(expected)
    spread = 2 * freedom + np.sum(excess)
    return float(gamma.sf(squares, freedom**2 / spread, scale=spread / freedom))

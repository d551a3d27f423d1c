"""Critical doses from series: closed form, coverage of the intervals, and poor series."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import ncx2

from interphase.acquisition import Acquisition, Kind
from interphase.assessment import Assessment
from interphase.dose import (
    FadingSeries,
    Law,
    estimate_fading,
    incubation_fading,
    mean_fading,
)
from interphase.dose.fading import _profile, _shapes
from interphase.dose.likelihood import likelihood_of
from interphase.errors import ParameterError
from interphase.phases import (
    DoseLevel,
    damage_facts,
    dose_range,
    dose_verdict,
    record_damage,
)

EDGES = np.linspace(0.0, 50.0, 21)


def drawn(rng, law, level, critical, *, edges=EDGES, rest=0.0, background=None, spectra=1):
    """A series of a known critical dose; `level` is the signal of a fresh mean exposure."""
    before, after = edges[:-1], edges[1:]
    weight = np.diff(edges) / np.diff(edges).mean()
    given = {"before_e_per_a2": before, "after_e_per_a2": after, "law": law}
    mean = mean_fading(before, after, critical_dose_e_per_a2=critical)
    if law is Law.POWER:
        mean = mean_fading(before, after, critical_dose_e_per_a2=2 * critical) ** 2
    expected = level * ((1 - rest) * mean + rest)
    if law is Law.VALUES:
        variance = np.full(len(before), 0.5 * level)
        return FadingSeries(
            signal=rng.normal(expected, np.sqrt(variance)), variance=variance, **given
        )
    expected = expected * weight
    if law is Law.POWER:
        power = rng.noncentral_chisquare(2 * spectra, 2 * spectra * expected) / (2 * spectra)
        return FadingSeries(signal=power, spectra=spectra, **given)
    if background is None:
        return FadingSeries(signal=rng.poisson(expected), **given)
    return FadingSeries(
        signal=rng.poisson(expected + background * weight),
        background=rng.poisson(3 * background * weight),
        background_ratio=3.0,
        **given,
    )


def holds(fit, critical):
    return (fit.low_e_per_a2 or 0.0) <= critical <= (fit.high_e_per_a2 or np.inf)


def coverage(rng, number, law, level, critical, *, fit_rest=False, **given):
    fits = [
        estimate_fading(drawn(rng, law, level, critical, **given), fit_rest=fit_rest)
        for _ in range(number)
    ]
    return np.mean([holds(fit, critical) for fit in fits]), fits


@pytest.mark.parametrize("critical", [5.0, 20.0, 100.0])
@pytest.mark.parametrize("level", [20, 500, 10_000])
def test_an_interval_of_95_percent_holds_the_truth_in_92_to_98(level, critical):
    # 400 draws: the standard error of the share is 1.1 %.
    share, _ = coverage(np.random.default_rng(1), 400, Law.COUNTS, level, critical)
    assert 0.92 <= share <= 0.98


@pytest.mark.parametrize(
    ("law", "level", "given"),
    [
        (Law.COUNTS, 30, {"background": 20.0}),
        (Law.COUNTS, 300, {"rest": 0.3, "fit_rest": True}),
        (Law.POWER, 12, {}),
        (Law.POWER, 4, {"spectra": 6}),
        (Law.VALUES, 100, {}),
        (Law.COUNTS, 100, {"edges": 50 * np.linspace(0, 1, 16) ** 1.5}),
    ],
)
def test_the_intervals_of_all_laws_hold_the_truth(law, level, given):
    share, _ = coverage(np.random.default_rng(2), 100, law, level, 15.0, **given)
    # The standard error of 100 draws is 2.2 %.
    assert 0.885 <= share


def test_other_confidences_mean_what_they_say():
    rng = np.random.default_rng(3)
    series = [drawn(rng, Law.COUNTS, 100, 20.0) for _ in range(400)]
    share = np.mean([holds(estimate_fading(one, confidence=0.68), 20.0) for one in series])
    assert share == pytest.approx(0.68, abs=0.06)


def test_a_series_that_is_too_short_has_a_lower_bound_that_holds():
    share, fits = coverage(np.random.default_rng(4), 300, Law.COUNTS, 100, 2000.0)
    # At a border of what can be, intervals are wider than they need be.
    assert share >= 0.92
    short = [fit for fit in fits if fit.assessment is Assessment.TOO_FEW_ELECTRONS]
    assert len(short) > 200
    for fit in short:
        assert fit.high_e_per_a2 is None
        assert fit.low_e_per_a2 is not None
        assert "may not fade at all" in fit.sentence
        assert "e/Å² or more (95 %)" in fit.sentence


def test_a_series_that_is_too_fast_has_an_upper_bound_that_holds():
    share, fits = coverage(np.random.default_rng(5), 300, Law.COUNTS, 300, 0.2)
    assert share >= 0.92
    fast = [fit for fit in fits if fit.assessment is Assessment.TOO_COARSE]
    assert len(fast) > 200
    assert np.median([fit.high_e_per_a2 for fit in fast]) < 1
    for fit in fast:
        assert fit.low_e_per_a2 is None
        assert "within the first exposure" in fit.sentence


def test_the_estimate_is_right_in_the_mean_and_exact_without_noise():
    for law in (Law.COUNTS, Law.VALUES):
        before, after = EDGES[:-1] + 7.0, EDGES[1:] + 7.0
        exact = 1e5 * mean_fading(before, after, critical_dose_e_per_a2=17.0)
        series = FadingSeries(
            signal=exact,
            before_e_per_a2=before,
            after_e_per_a2=after,
            law=law,
            variance=exact if law is Law.VALUES else None,
        )
        fit = estimate_fading(series)
        assert fit.critical_dose_e_per_a2 == pytest.approx(17.0, rel=1e-4)
        assert fit.expected == pytest.approx(exact, rel=1e-4)
        assert fit.half_dose_e_per_a2 == pytest.approx(np.log(2) * 17.0, rel=1e-4)
        assert fit.assessment is Assessment.OK
    _, fits = coverage(np.random.default_rng(6), 200, Law.COUNTS, 200, 17.0)
    rates = np.array([1 / fit.critical_dose_e_per_a2 for fit in fits])
    assert rates.mean() == pytest.approx(1 / 17.0, abs=3 * rates.std() / np.sqrt(200))


def test_the_share_that_stays_is_found():
    series = drawn(np.random.default_rng(7), Law.COUNTS, 10_000, 8.0, rest=0.25)
    fit = estimate_fading(series, fit_rest=True)
    assert fit.final == pytest.approx(0.25, abs=0.02)
    assert fit.initial == pytest.approx(10_000, rel=0.02)
    assert holds(fit, 8.0)
    assert " % of it stays." in fit.sentence
    # Without it the law does not hold, and it is said.
    assert estimate_fading(series).assessment is Assessment.AMBIGUOUS


def test_incubation_is_no_exponential():
    rng = np.random.default_rng(8)
    middle = (EDGES[:-1] + EDGES[1:]) / 2
    signal = rng.poisson(400 * incubation_fading(middle, hit_dose_e_per_a2=8.0, hits=20))
    series = FadingSeries(
        signal=signal, before_e_per_a2=EDGES[:-1], after_e_per_a2=EDGES[1:], law=Law.COUNTS
    )
    fit = estimate_fading(series)
    assert fit.assessment is Assessment.AMBIGUOUS
    assert "does not fade exponentially" in fit.sentence
    with pytest.raises(ParameterError, match="no critical dose to record"):
        fit.as_damage_fact(source="grid 3", phase="LiF")


@pytest.mark.parametrize(("background", "ratio"), [(5.0, 0.5), (3.0, 1.0)])
def test_a_background_of_few_counts_is_no_misfit(background, ratio):
    """Where few are counted of it by chance, the net signal is large and seems sure."""
    rng = np.random.default_rng(13)
    mean = 20 * mean_fading(EDGES[:-1], EDGES[1:], critical_dose_e_per_a2=20.0)
    p_values = [
        estimate_fading(
            FadingSeries(
                signal=rng.poisson(mean + background),
                background=rng.poisson(background * ratio, 20),
                background_ratio=ratio,
                before_e_per_a2=EDGES[:-1],
                after_e_per_a2=EDGES[1:],
                law=Law.COUNTS,
            )
        ).p_value
        for _ in range(200)
    ]
    assert np.mean(np.array(p_values) < 1e-3) <= 0.01
    assert np.mean(np.array(p_values) < 0.1) == pytest.approx(0.1, abs=0.06)


def test_the_probability_of_the_misfit_is_uniform_where_the_law_holds():
    for law, level in ((Law.COUNTS, 20), (Law.POWER, 20), (Law.VALUES, 100)):
        _, fits = coverage(np.random.default_rng(9), 100, law, level, 20.0)
        p = np.array([fit.p_value for fit in fits])
        assert np.mean(p < 0.05) == pytest.approx(0.05, abs=0.055)
        assert np.mean(p < 0.5) == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize(
    ("law", "level", "given"),
    [
        (Law.COUNTS, 30, {}),
        (Law.COUNTS, 30, {"background": 10.0}),
        (Law.POWER, 5, {"spectra": 2.5}),
        (Law.VALUES, 50, {}),
    ],
)
def test_the_maxima_are_those_of_a_general_optimiser(law, level, given):
    series = drawn(np.random.default_rng(10), law, level, 15.0, rest=0.2, **given)
    rates = np.array([0.0, 1 / 30, 1 / 10, 1 / 3])
    logs, _ = _profile(series, rates, fit_rest=True)
    likelihood = likelihood_of(series)
    for number, log in enumerate(logs):
        shape = _shapes(series, rates[number : number + 1])[0]

        def cost(parts, shape=shape):
            return -float(likelihood((parts[0] * shape + parts[1] * series.weight)[None])[0][0])

        least = min(
            minimize(cost, start, bounds=[(1e-9, None)] * 2, method="L-BFGS-B", tol=1e-12).fun
            for start in ([10.0, 5.0], [1.0, 20.0])
        )
        assert log == pytest.approx(-least, abs=1e-4)


@pytest.mark.parametrize("spectra", [0.5, 1, 6, 40, 300])
def test_the_law_of_powers_is_the_non_central_chi_squared(spectra):
    power = np.array([0.2, 1.0, 3.0, 40.0, 2000.0])
    signals = np.array([1e-6, 0.3, 2.0, 45.0, 1900.0])
    for p in power:
        series = FadingSeries(
            signal=np.array([p]),
            before_e_per_a2=[0.0],
            after_e_per_a2=[1.0],
            law=Law.POWER,
            spectra=spectra,
        )
        ours = likelihood_of(series)(signals[:, None])[0]
        known = ncx2.logpdf(2 * spectra * p, 2 * spectra, 2 * spectra * signals)
        # SciPy's own density is lost far from its maximum.
        good = np.isfinite(known) & (known > -200)
        assert (ours - ours[1])[good] == pytest.approx((known - known[1])[good], rel=1e-6, abs=1e-6)


def test_powers_beyond_all_scales_are_still_fitted():
    for power, spectra in ((1e7, 1), (1e6, 300)):
        exact = power * mean_fading(EDGES[:-1], EDGES[1:], critical_dose_e_per_a2=40.0) ** 2
        fit = estimate_fading(
            FadingSeries(
                signal=exact,
                before_e_per_a2=EDGES[:-1],
                after_e_per_a2=EDGES[1:],
                law=Law.POWER,
                spectra=spectra,
            )
        )
        assert fit.critical_dose_e_per_a2 == pytest.approx(20.0, rel=1e-3)


@pytest.mark.parametrize("law", [Law.COUNTS, Law.POWER, Law.VALUES])
def test_the_slope_of_the_likelihood_is_its_derivative(law):
    series = drawn(
        np.random.default_rng(11), law, 10, 20.0, **({"background": 4.0} if law == "counts" else {})
    )
    s = np.full((1, 20), 6.0)
    likelihood, step = likelihood_of(series), 1e-5
    _, slope, information = likelihood(s)
    for frame in range(20):
        aside = s.copy()
        aside[0, frame] += step
        back = s.copy()
        back[0, frame] -= step
        derivative = (likelihood(aside)[0] - likelihood(back)[0])[0] / (2 * step)
        assert slope[0, frame] == pytest.approx(derivative, rel=1e-5, abs=1e-6)
    assert np.all(information > 0)


def test_units_and_order_of_splitting_do_not_matter():
    series = drawn(np.random.default_rng(12), Law.COUNTS, 200, 20.0)
    fit = estimate_fading(series)
    scaled = replace(
        series,
        before_e_per_a2=series.before_e_per_a2 * 1e3,
        after_e_per_a2=series.after_e_per_a2 * 1e3,
    )
    assert estimate_fading(scaled).low_e_per_a2 == pytest.approx(1e3 * fit.low_e_per_a2, rel=1e-6)
    # What the specimen had before the first exposure does not change what fades from then on.
    later = replace(
        series,
        before_e_per_a2=series.before_e_per_a2 + 500,
        after_e_per_a2=series.after_e_per_a2 + 500,
    )
    assert estimate_fading(later).high_e_per_a2 == pytest.approx(fit.high_e_per_a2, rel=1e-6)


def test_a_gap_between_exposures_counts_as_dose():
    before, after = np.array([0.0, 10.0, 40.0]), np.array([1.0, 11.0, 41.0])
    exact = 1e4 * mean_fading(before, after, critical_dose_e_per_a2=20.0)
    fit = estimate_fading(
        FadingSeries(signal=exact, before_e_per_a2=before, after_e_per_a2=after, law=Law.COUNTS)
    )
    assert fit.critical_dose_e_per_a2 == pytest.approx(20.0, rel=1e-4)


def of(signal, **given):
    edges = np.linspace(0, 10, len(signal) + 1)
    return FadingSeries(
        **{
            "signal": signal,
            "before_e_per_a2": edges[:-1],
            "after_e_per_a2": edges[1:],
            "law": Law.COUNTS,
            **given,
        }
    )


@pytest.mark.parametrize(
    ("series", "assessment", "said"),
    [
        (of([0.0] * 10), "too_few_electrons", "does not rise above its noise"),
        (of([100.0]), "unusable", "has one exposure, too few"),
        (of([5.0] * 8, background=[50.0] * 8, background_ratio=10.0), "too_few_electrons", "noise"),
        (of([1.0] * 8, law=Law.POWER), "too_few_electrons", "does not rise above its noise"),
        (of([2.0, 2.0]), "too_few_electrons", "may not fade at all"),
        (of([30.0, 0.0, 0.0, 0.0]), "too_coarse", "within the first exposure"),
    ],
)
def test_a_poor_series_is_said_to_be_poor(series, assessment, said):
    fit = estimate_fading(series)
    assert fit.assessment.value == assessment
    assert said in fit.sentence
    assert fit.expected.shape == series.signal.shape


def test_a_signal_that_grows_may_not_fade_at_all():
    fit = estimate_fading(of(np.arange(10.0) + 5))
    assert fit.high_e_per_a2 is None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"before_e_per_a2": [-1.0, 1.0, 2.0]}, "begins with -1 e/Å²"),
        ({"after_e_per_a2": [1.0, 1.0, 3.0]}, "exposure 2 ends at 1 e/Å²"),
        (
            {"before_e_per_a2": [0.0, 1.0, 1.5], "after_e_per_a2": [1.0, 2.0, 3.0]},
            "exposure 3 begins at 1.5 e/Å², before the one ahead of it ended",
        ),
        ({"signal": [1.0, np.nan, 2.0]}, "signal of exposure 2 is nan"),
        ({"before_e_per_a2": [0.0, np.inf, 2.0]}, "before_e_per_a2 of exposure 2 is inf"),
        ({"signal": [1.0, -3.0, 2.0]}, "smallest of signal is -3"),
        ({"signal": [1.0, 2.0]}, r"before_e_per_a2 has shape \(3,\) and signal \(2,\)"),
        ({"signal": np.zeros((3, 3))}, "one number per exposure"),
        ({"signal": []}, "one number per exposure"),
        ({"law": Law.VALUES}, "needs a variance above 0"),
        ({"law": Law.VALUES, "variance": [1.0, 0.0, 1.0]}, "needs a variance above 0"),
        ({"background": [1.0, -1.0, 1.0]}, "smallest of background is -1"),
        ({"background_ratio": 0.0}, "background_ratio is 0.0"),
        ({"law": Law.POWER, "spectra": 0}, "spectra is 0"),
        ({"law": Law.POWER, "spectra": 5000}, "Law.VALUES with variance"),
    ],
)
def test_a_series_that_cannot_be_is_refused_by_name(given, said):
    with pytest.raises(ParameterError, match=said):
        FadingSeries(
            **{
                "signal": [3.0, 2.0, 1.0],
                "before_e_per_a2": [0.0, 1.0, 2.0],
                "after_e_per_a2": [1.0, 2.0, 3.0],
                "law": Law.COUNTS,
                **given,
            }
        )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"law": "fading"}, "law is 'fading': expected one of counts, power, values"),
        ({"name": None}, "name is None: expected words"),
        ({"variance": [1.0] * 3}, "variance is given and law is counts"),
        ({"spectra": 3.0}, "spectra is given and law is counts"),
        ({"law": Law.POWER, "background": [1.0] * 3}, "background is given and law is power"),
        ({"signal": [1e15] * 3}, r"the largest of signal is 1e\+15"),
        (
            {"before_e_per_a2": [0.0, 1e20, 2e20], "after_e_per_a2": [1e20, 2e20, 3e20]},
            "was it given in e/nm² or e/m²",
        ),
    ],
)
def test_what_no_law_knows_is_refused(given, said):
    with pytest.raises(ParameterError, match=said):
        of(**{"signal": [3.0, 2.0, 1.0], **given})


def test_a_law_may_be_named_by_its_word():
    edges = np.array([0.0, 1.0, 7.0, 12.0, 30.0])
    signal = mean_fading(edges[:-1], edges[1:], critical_dose_e_per_a2=8.0)
    given = {"before_e_per_a2": edges[:-1], "after_e_per_a2": edges[1:], "variance": [1e-6] * 4}
    for law in (Law.VALUES, "values"):
        fit = estimate_fading(FadingSeries(signal=signal, law=law, **given))
        assert fit.critical_dose_e_per_a2 == pytest.approx(8.0, rel=1e-4)


def test_many_electrons_make_the_interval_narrow_and_it_holds_the_truth():
    widths = []
    for electrons in (1e6, 1e9, 1e11):
        exact = electrons * mean_fading(EDGES[:-1], EDGES[1:], critical_dose_e_per_a2=8.0)
        fit = estimate_fading(
            FadingSeries(
                signal=exact,
                before_e_per_a2=EDGES[:-1],
                after_e_per_a2=EDGES[1:],
                law=Law.COUNTS,
            )
        )
        assert fit.low_e_per_a2 < 8.0 < fit.high_e_per_a2
        assert fit.p_value > 0.5
        widths.append((fit.high_e_per_a2 - fit.low_e_per_a2) * np.sqrt(electrons))
    assert widths == pytest.approx([widths[0]] * 3, rel=0.05)


def test_a_variance_too_small_to_be_true_is_an_assessment():
    fit = estimate_fading(of([3.0, 2.5, 2.0, 0.5], law=Law.VALUES, variance=[1e-30] * 4))
    assert fit.assessment.value == "ambiguous"


def test_a_confidence_is_a_share():
    with pytest.raises(ParameterError, match="confidence is 95"):
        estimate_fading(of([3.0, 2.0, 1.0]), confidence=95)


def test_the_callers_arrays_are_neither_changed_nor_shared():
    signal = np.array([30.0, 20.0, 10.0])
    series = of(signal)
    signal[:] = 0
    assert series.signal.tolist() == [30, 20, 10]
    with pytest.raises(ValueError, match="read-only"):
        series.signal[0] = 1


def test_a_fit_goes_into_the_users_table(tmp_path, monkeypatch):
    monkeypatch.setenv("INTERPHASE_DAMAGE", str(tmp_path / "damage.toml"))
    series = replace(
        drawn(np.random.default_rng(13), Law.COUNTS, 1000, 20.0), name="111 spots", phase="LiF"
    )
    fit = estimate_fading(series)
    fact = fit.as_damage_fact(source="grid 3", beam_energy_kev=300.0, temperature_k=100.0)
    record_damage(fact)
    assert damage_facts("LiF")[0] == fact
    assert fact.criterion == "111 spots down to 1/e"
    assert fact.value_e_per_a2 == fit.critical_dose_e_per_a2
    assert fact.high_e_per_a2 == fit.high_e_per_a2
    # What shall leave the phase as it was takes no more than a tenth of the signal.
    assert math.exp(-fact.low_e_per_a2 / fit.low_e_per_a2) == pytest.approx(0.9)
    assert f"leaves 1/e is {dose_range((fit.low_e_per_a2, fit.high_e_per_a2))};" in fact.note
    nearly = Acquisition(
        kind=Kind.IMAGE, beam_energy_kev=300.0, prior_dose_e_per_a2=0.0,
        dose_e_per_a2=0.95 * fit.low_e_per_a2,
    )  # fmt: skip
    assert dose_verdict("LiF", nearly, own=(fact,)).level is DoseLevel.WITHIN
    short = estimate_fading(of([20.0] * 5, phase="LiF")).as_damage_fact(source="grid 3")
    assert short.value_e_per_a2 is None
    assert short.high_e_per_a2 is None
    with pytest.raises(ParameterError, match="no phase is named"):
        estimate_fading(of([30.0, 20.0, 10.0])).as_damage_fact(source="grid 3")

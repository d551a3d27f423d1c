"""Power laws through counts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interphase.errors import ParameterError
from interphase.power_law import fit_power_law

ENERGY = np.arange(250.0, 330.0, 0.5)
WINDOW = (254.0, 276.0)
AHEAD = (ENERGY >= 254) & (ENERGY <= 276)
UNDER = (ENERGY >= 284) & (ENERGY <= 324)


def background(per_channel: float, exponent: float = 3.0) -> np.ndarray:
    return per_channel * (ENERGY / 284) ** -exponent


def test_a_power_law_without_noise_is_found_exactly() -> None:
    fit = fit_power_law(background(1e6, 4.2), ENERGY, window_ev=WINDOW)
    assert float(fit.exponent) == pytest.approx(4.2, abs=1e-9)
    assert float(fit.amplitude) == pytest.approx(1e6 * (fit.reference_ev / 284) ** -4.2)
    under, variance = fit.total(ENERGY[UNDER])
    truth = background(1e6, 4.2)[UNDER].sum()
    # What is taken off for counting is of the order of the variance over the sum.
    assert 0 < truth - float(under) < variance / truth


@pytest.mark.parametrize("read_variance", [0.0, 4.0])
def test_the_fit_is_the_maximum_of_the_likelihood_and_its_covariance_the_curvature_there(
    rng: np.random.Generator, read_variance: float
) -> None:
    from scipy.optimize import minimize

    noise = rng.normal(0, np.sqrt(read_variance), len(ENERGY))
    counts = rng.poisson(background(30)) + noise
    fit = fit_power_law(counts, ENERGY, window_ev=WINDOW, read_variance=read_variance)
    x = -np.log(ENERGY[AHEAD] / fit.reference_ev)

    def unlikely(parameters: np.ndarray) -> float:
        mean = np.exp(parameters[0] + parameters[1] * x) + read_variance
        return float(np.sum(mean - (counts[AHEAD] + read_variance) * np.log(mean)))

    best = minimize(unlikely, [3.0, 3.0], method="Nelder-Mead", options={"xatol": 1e-8})
    assert np.log(float(fit.amplitude)) == pytest.approx(best.x[0], abs=1e-5)
    assert float(fit.exponent) == pytest.approx(best.x[1], abs=1e-4)
    mean = float(fit.amplitude) * np.exp(float(fit.exponent) * x)
    design = np.stack([np.ones_like(x), x])
    information = design * (mean**2 / (mean + read_variance)) @ design.T
    assert fit.covariance @ information == pytest.approx(np.eye(2), abs=1e-8)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**16), scale=st.floats(1.0, 1e4), stretch=st.floats(0.1, 10.0))
def test_more_electrons_or_another_unit_of_energy_leave_the_exponent(
    seed: int, scale: float, stretch: float
) -> None:
    counts = np.random.default_rng(seed).poisson(background(20), (3, len(ENERGY)))
    usual = fit_power_law(counts, ENERGY, window_ev=WINDOW)
    more = fit_power_law(scale * counts, ENERGY, window_ev=WINDOW)
    limits = (float(stretch * (WINDOW[0] - 0.1)), float(stretch * (WINDOW[1] + 0.1)))
    other = fit_power_law(counts, stretch * ENERGY, window_ev=limits)
    assert more.exponent == pytest.approx(usual.exponent, abs=1e-7)
    assert more.amplitude == pytest.approx(scale * usual.amplitude, rel=1e-7)
    assert more.covariance == pytest.approx(usual.covariance / scale, rel=1e-6)
    assert other.exponent == pytest.approx(usual.exponent, abs=1e-7)
    assert other.mean(stretch * ENERGY) == pytest.approx(usual.mean(ENERGY), rel=1e-6)
    assert more.limits(ENERGY, sigmas=1)[1] == pytest.approx(
        scale * usual.limits(ENERGY, sigmas=scale**-0.5)[1], rel=1e-6
    )


def test_each_spectrum_of_a_map_is_fitted_as_if_alone(rng: np.random.Generator) -> None:
    counts = rng.poisson(background(8), (60, 100, len(ENERGY)))
    fit = fit_power_law(counts, ENERGY, window_ev=WINDOW, read_variance=0.5)
    under, variance = fit.total(ENERGY[UNDER])
    assert under.shape == variance.shape == fit.amplitude.shape == (60, 100)
    assert fit.covariance.shape == (60, 100, 2, 2)
    for at in ((0, 0), (59, 99), (58, 24)):
        alone = fit_power_law(counts[at], ENERGY, window_ev=WINDOW, read_variance=0.5)
        assert float(alone.total(ENERGY[UNDER])[0]) == pytest.approx(under[at])
        assert float(alone.total(ENERGY[UNDER])[1]) == pytest.approx(variance[at])


def test_what_cannot_be_fitted_is_nan_and_spoils_no_other(rng: np.random.Generator) -> None:
    counts = rng.poisson(background(8), (5, len(ENERGY))).astype(float)
    counts[1] = 0
    counts[2, 20] = np.nan
    counts[3] = 0
    counts[3, np.flatnonzero(AHEAD)[0]] = 500
    fit = fit_power_law(counts, ENERGY, window_ev=WINDOW)
    told = [True, False, False, False, True]
    for found in (fit.amplitude, fit.exponent, *fit.total(ENERGY[UNDER])):
        assert np.isfinite(found).tolist() == told
    assert np.isfinite(fit.mean(ENERGY)).all(axis=1).tolist() == told
    assert np.isfinite(fit.covariance).all(axis=(1, 2)).tolist() == told


def test_the_error_of_a_sum_is_what_channels_have_in_common() -> None:
    fit = fit_power_law(background(10), ENERGY, window_ev=WINDOW)
    one = ENERGY[UNDER][:1]
    assert fit.total(one)[1] == pytest.approx(fit.variance(one)[0])
    under, variance = fit.total(ENERGY[UNDER])
    assert float(under) == pytest.approx(fit.mean(ENERGY[UNDER]).sum())
    errors = np.sqrt(fit.variance(ENERGY[UNDER]))
    # Far from the window all channels are wrong together.
    assert 10 * np.sum(errors**2) < variance <= errors.sum() ** 2
    assert np.sqrt(variance) == pytest.approx(errors.sum(), rel=0.01)


@pytest.mark.parametrize(
    ("per_channel", "read_variance"), [(1, 0.0), (3, 0.0), (3, 1.0), (10, 1.0), (100, 0.0)]
)
def test_the_background_is_right_in_the_mean(
    rng: np.random.Generator, per_channel: float, read_variance: float
) -> None:
    truth = background(per_channel)
    counts = rng.poisson(truth, (6000, len(ENERGY)))
    counts = counts + rng.normal(0, np.sqrt(read_variance), counts.shape)
    fit = fit_power_law(counts, ENERGY, window_ev=WINDOW, read_variance=read_variance)
    under, variance = fit.total(ENERGY[UNDER])
    # Its own standard error is 0.013 standard deviations.
    assert np.mean(under - truth[UNDER].sum()) == pytest.approx(0, abs=0.05 * under.std())
    if per_channel >= 10:
        assert under.var() == pytest.approx(variance.mean(), rel=0.15)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"window_ev": (254.0, 254.9)}, "which holds 2 channels of 250 to 329.5 eV"),
        ({"energy_ev": ENERGY - 260.0, "window_ev": (-5.0, 10.0)}, "above 0 eV"),
        ({"energy_ev": ENERGY[:-1]}, r"energy_ev \(159,\): expected one energy"),
        ({"read_variance": -1.0}, "read_variance is -1.0"),
    ],
)
def test_windows_that_hold_no_power_law_are_refused(given: dict, words: str) -> None:
    call = {"counts": background(10), "energy_ev": ENERGY, "window_ev": WINDOW, **given}
    with pytest.raises(ParameterError, match=words):
        fit_power_law(call.pop("counts"), call.pop("energy_ev"), **call)


def test_there_is_no_background_below_0_ev() -> None:
    fit = fit_power_law(background(10), ENERGY, window_ev=WINDOW)
    with pytest.raises(ParameterError, match="begins at -1 eV"):
        fit.mean(np.array([-1.0, 2.0]))

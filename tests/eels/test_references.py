"""Reference spectra of one's own: amounts, shifts, errors, and spectra like none of them."""

import dask.array as da
import numpy as np
import pytest
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import minimize

from interphase.assessment import Assessment
from interphase.eels import fit_references
from interphase.errors import ParameterError

ENERGY = np.arange(50.0, 90.0, 0.25)


def bell(place, sigma):
    return np.exp(-(((ENERGY - place) / sigma) ** 2) / 2)


def step(place):
    return np.where(place < ENERGY, (ENERGY / place) ** -3.0, 0.0)


REFERENCES = {
    name: gaussian_filter1d(spectrum, 1.5, mode="nearest")
    for name, spectrum in {
        "Li2O": bell(58, 1.5) + 0.6 * step(56),
        "LiF": bell(62, 0.8) + 0.5 * bell(69, 1.5) + 0.5 * step(60),
        "rest": (ENERGY / 60) ** -3,
    }.items()
}
TRUTH = np.array([0.6, 0.4, 2.0])


def expected(amounts=TRUTH, *, offset=0.0, stretch=0.0):
    total = np.stack(list(REFERENCES.values()), axis=1) @ amounts
    at = ENERGY + offset + stretch * (ENERGY - ENERGY.mean())
    return CubicSpline(ENERGY, total)(at)


def fit(spectra, **options):
    return fit_references(spectra, energy_ev=ENERGY, references=REFERENCES, **options)


def test_spectra_without_noise_give_their_amounts_and_shifts():
    found = fit(1e4 * expected(offset=0.3, stretch=0.004), axis_error_ev=0.5, stretch_error=0.01)
    assert found.amount / 1e4 == pytest.approx(TRUTH, rel=2e-3)
    assert float(found.offset_ev) == pytest.approx(0.3, abs=3e-3)
    assert float(found.stretch) == pytest.approx(0.004, abs=2e-4)
    assert found.assessment is Assessment.OK


def test_the_maximum_is_that_of_another_program(rng):
    counts = rng.poisson(20 * expected())
    shapes = np.stack(list(REFERENCES.values()), axis=1)

    def minus_log(amounts):
        mean = shapes @ amounts
        return np.sum(mean - counts * np.log(mean))

    other = minimize(
        minus_log, 20 * TRUTH, method="L-BFGS-B", bounds=[(1e-6, None)] * 3, options={"ftol": 1e-14}
    )
    assert fit(counts).amount == pytest.approx(other.x, rel=2e-3)


@pytest.mark.parametrize(("level", "gain", "read_noise"), [(6, 1.0, 0.0), (20, 3.0, 4.0)])
def test_intervals_hold_the_truth(rng, level, gain, read_noise):
    offsets = 0.3 * rng.standard_normal(700)
    electrons = np.array([rng.poisson(level * expected(offset=o)) for o in offsets])
    counts = gain * electrons + read_noise * rng.standard_normal(electrons.shape)
    found = fit(counts, axis_error_ev=0.3, gain=gain, read_noise=read_noise)
    off = (found.amount - gain * level * TRUTH) / found.standard_error
    shift = (found.offset_ev - offsets) / found.offset_error_ev
    # The standard errors of 700 are 1.8 and 0.8 %.
    for error in (*off.T, shift):
        assert np.mean(np.abs(error) < 1) == pytest.approx(0.683, abs=0.05)
        assert np.mean(np.abs(error) < 1.96) == pytest.approx(0.95, abs=0.025)
    assert np.all(np.abs(np.mean(found.amount, axis=0) / (gain * level * TRUTH) - 1) < 0.05)
    assert np.mean(found.p_value < 0.05) == pytest.approx(0.05, abs=0.03)
    assert found.assessment is Assessment.OK


def test_what_is_not_there_is_found_as_seldom_as_stated(rng):
    absent = np.array([0.0, 0.5, 2.0])
    found = fit(rng.poisson(30 * expected(absent), (3000, len(ENERGY))), false_alarm=0.05)
    assert np.mean(found.detected[:, 0]) == pytest.approx(0.05, abs=0.02)
    limit = found.detection_limit[:, 0].mean()
    there = rng.poisson(30 * expected(np.array([limit / 30, 0.5, 2.0])), (3000, len(ENERGY)))
    assert np.mean(fit(there, false_alarm=0.05).detected[:, 0]) == pytest.approx(0.95, abs=0.02)


def test_a_spectrum_like_none_says_so(rng):
    foreign = rng.poisson(30 * (expected() + 0.5 * bell(80, 1.5)))
    found = fit(foreign)
    assert found.assessment is Assessment.AMBIGUOUS
    assert bool(found.unlike)
    assert "unlike every sum of Li2O, LiF, rest" in found.sentence


def test_any_chunks_give_the_same(rng):
    counts = rng.poisson(10 * expected(), (6, 4, len(ENERGY)))
    whole = fit(counts, axis_error_ev=0.2)
    lazy = fit(da.from_array(counts, chunks=(4, 3, 50)), axis_error_ev=0.2)
    assert lazy.amount == pytest.approx(whole.amount, rel=1e-6)
    assert whole.amount.shape == (6, 4, 3)


def test_few_electrons_are_no_finding():
    found = fit(np.zeros(len(ENERGY)))
    assert found.assessment is Assessment.TOO_FEW_ELECTRONS
    assert np.all(found.detection_limit > 0)


def test_what_are_no_counts_is_left_out(rng):
    counts = rng.poisson(10 * expected(), (3, len(ENERGY))).astype(float)
    counts[0, 5], counts[1, 7] = np.nan, -3
    found = fit(counts)
    assert np.isnan(found.amount[:2]).all()
    assert np.isfinite(found.amount[2]).all()
    assert "2 of 3 spectra hold what are no counts" in found.sentence
    assert fit(counts[:2]).assessment is Assessment.UNUSABLE


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"references": {}}, "references are empty"),
        ({"references": {"a": np.ones(9)}}, r"reference of a has shape \(9,\)"),
        ({"references": {"a": -np.ones(160)}}, "goes from -1 to -1"),
        ({"references": {"a": np.ones(160), "b": 2 * np.ones(160)}}, "a sum of the others"),
        ({"energy_ev": ENERGY[::-1]}, "does not rise"),
        ({"energy_ev": ENERGY / 1e3}, "are these keV"),
        ({"energy_ev": ENERGY[:-1]}, r"shape \(159,\)"),
        ({"axis_error_ev": 8.0}, "leave 0 channels"),
        ({"gain": 0}, "gain is 0"),
    ],
)
def test_misuse_is_named(change, words):
    given = {"energy_ev": ENERGY, "references": REFERENCES, **change}
    with pytest.raises(ParameterError, match=words):
        fit_references(expected(), **given)


def test_too_few_channels_are_named():
    with pytest.raises(ParameterError, match="spectra have 4 channels: expected at least 6"):
        fit_references(
            np.ones(4),
            energy_ev=ENERGY[:4],
            references={n: r[:4] for n, r in REFERENCES.items()},
        )

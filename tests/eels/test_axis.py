"""The energy axis against edges: unbiased within its error, honest where edges disagree."""

import numpy as np
import pytest
from scipy.stats import norm

from interphase.assessment import Assessment
from interphase.eels import KnownEdge, check_energy_axis
from interphase.errors import ParameterError

ENERGY = np.arange(400.0, 700.0, 0.5)


def spectrum(onsets, *, height=100.0, width=0.8, decay=300.0):
    counts = 3 * height * (ENERGY / 400) ** -3
    for onset in onsets:
        rise = norm.cdf((ENERGY - onset) / width)
        counts = counts + height * rise * np.exp(-np.maximum(ENERGY - onset, 0) / decay)
    return counts


OXYGEN = KnownEdge(name="O_K", onset_ev=532.0, error_ev=0.01)


@pytest.mark.parametrize("off", [-7.3, 0.0, 4.1])
def test_the_place_of_an_edge_is_unbiased_within_its_error(off):
    results = [
        check_energy_axis(
            np.random.default_rng(seed).poisson(spectrum([532 - off], height=1e3)), ENERGY, [OXYGEN]
        )
        for seed in range(60)
    ]
    error = np.array([check.correction_ev - off for check in results])
    stated = np.array([check.error_ev for check in results])
    assert abs(error.mean()) < 0.1
    assert np.std(error) == pytest.approx(np.median(stated), rel=0.3)
    assert all(check.assessment is Assessment.OK for check in results)
    assert ("it needs none" in results[0].sentence) is (off == 0)


def test_the_first_of_two_white_lines_is_the_onset(rng):
    lines = spectrum([]) * 10 + 4e3 * np.exp(-0.5 * ((ENERGY - 458) / 0.8) ** 2)
    lines += 7e3 * np.exp(-0.5 * ((ENERGY - 463.5) / 0.8) ** 2)
    titanium = KnownEdge(name="Ti_L3", onset_ev=456.0, error_ev=1.0)
    check = check_energy_axis(rng.poisson(lines), ENERGY, [titanium])
    # A Gaussian is steepest one standard deviation, that of both smoothings, before its maximum.
    assert check.edges[0].onset_ev == pytest.approx(458 - np.hypot(0.8, 1.0), abs=0.15)


def test_two_edges_tell_an_offset_from_a_wrong_dispersion(rng):
    edges = [
        KnownEdge(name=name, onset_ev=onset, error_ev=0.7)
        for name, onset in (("Ti_L3", 457.0), ("O_K", 531.0), ("Mn_L3", 640.0))
    ]
    shifted = [edge.onset_ev - 3 for edge in edges]
    check = check_energy_axis(rng.poisson(spectrum(shifted, height=3e3)), ENERGY, edges)
    assert check.correction_ev == pytest.approx(3.0, abs=0.3)
    assert check.error_ev == pytest.approx(0.7 / np.sqrt(3), rel=0.1)
    assert check.dispersion_factor == pytest.approx(1.0, abs=2 * check.dispersion_factor_error)
    # Every channel is 4 % wider than the file says.
    squeezed = [550 + (edge.onset_ev - 550) / 1.04 for edge in edges]
    check = check_energy_axis(rng.poisson(spectrum(squeezed, height=3e3)), ENERGY, edges)
    assert check.assessment is Assessment.AMBIGUOUS
    assert check.dispersion_factor == pytest.approx(1.04, abs=2 * check.dispersion_factor_error)
    assert "multiplied by 1.04" in check.sentence


def test_an_edge_that_is_not_there_corrects_nothing(rng):
    bare = rng.poisson(spectrum([], height=100.0))
    check = check_energy_axis(bare, ENERGY, [OXYGEN])
    assert check.assessment is Assessment.UNCALIBRATED
    assert np.isnan(check.correction_ev)
    assert "stays unchecked" in check.sentence
    # Nor does noise make edges: none in 200 spectra without one.
    found = [
        check_energy_axis(
            np.random.default_rng(seed).poisson(spectrum([], height=30.0)), ENERGY, [OXYGEN]
        )
        .edges[0]
        .significance
        for seed in range(200)
    ]
    assert max(found) == 0


def test_all_spectra_of_an_image_are_added(rng):
    counts = rng.poisson(spectrum([530], height=1.0), (20, 20, len(ENERGY))).astype(float)
    alone = check_energy_axis(counts[0, 0], ENERGY, [OXYGEN])
    together = check_energy_axis(counts, ENERGY, [OXYGEN])
    assert alone.assessment is Assessment.UNCALIBRATED
    assert together.correction_ev == pytest.approx(2.0, abs=1.0)


def test_wrong_calls_are_refused():
    with pytest.raises(ParameterError, match="edges is empty"):
        check_energy_axis(np.ones(len(ENERGY)), ENERGY, [])
    with pytest.raises(ParameterError, match="error_ev is 0"):
        KnownEdge(name="O_K", onset_ev=532.0, error_ev=0.0)
    with pytest.raises(ParameterError, match="keV"):
        check_energy_axis(np.ones(600), ENERGY / 1e3, [OXYGEN])

"""Edges and fine structure against dose."""

import numpy as np
import pytest

from interphase.assessment import Assessment
from interphase.dose import (
    estimate_fading,
    follow_edge,
    follow_references,
    mean_fading,
    sequential_decay,
)
from interphase.errors import ParameterError

ENERGIES = np.arange(200.0, 400.0, 0.5)
EDGES = np.linspace(0.0, 300.0, 16)
DOSES = {"before_e_per_a2": EDGES[:-1], "after_e_per_a2": EDGES[1:]}
WINDOWS = {"energies_ev": ENERGIES, "edge_ev": (284.0, 330.0), "background_ev": (220.0, 280.0)}


def spectra(critical, *, edge=1500.0, background=40.0):
    """Expected spectra whose edge of so many electrons fades, on so many per channel."""
    decay = mean_fading(EDGES[:-1], EDGES[1:], critical_dose_e_per_a2=critical)
    inside = (ENERGIES >= 284) & (ENERGIES <= 330)
    return background * (ENERGIES / 250) ** -3 + np.outer(decay, inside * edge / inside.sum())


def test_net_counts_and_their_errors_are_right():
    rng = np.random.default_rng(1)
    expected = spectra(1e12)
    found = [follow_edge(rng.poisson(expected), **WINDOWS, **DOSES) for _ in range(60)]
    net = np.array([series.signal for series in found])
    assert net.mean() == pytest.approx(1500, rel=0.01)
    stated = np.mean([series.variance for series in found])
    assert net.var() == pytest.approx(stated, rel=0.12)


def test_the_critical_dose_of_an_edge_is_held():
    rng = np.random.default_rng(2)
    fits = [
        estimate_fading(follow_edge(rng.poisson(spectra(120.0)), **WINDOWS, **DOSES))
        for _ in range(150)
    ]
    held = [(f.low_e_per_a2 or 0) <= 120 <= (f.high_e_per_a2 or np.inf) for f in fits]
    # The standard error of 150 is 1.8 %.
    assert np.mean(held) == pytest.approx(0.95, abs=0.045)


def test_exposures_of_different_dose_are_brought_to_one():
    edges = np.array([0.0, 10.0, 40.0, 60.0])
    width = np.diff(edges)
    found = follow_edge(
        # So many that what is taken off for counting statistics does not matter.
        1e6 * np.outer(width / width.mean(), spectra(1e12)[0]),
        **WINDOWS,
        before_e_per_a2=edges[:-1],
        after_e_per_a2=edges[1:],
    )
    assert found.signal == pytest.approx(np.full(3, found.signal[0]), rel=1e-6)


def test_the_background_of_few_counts_is_right_in_the_mean():
    """The exponential of a fitted line is too high by two electrons here, at any dose."""
    rng = np.random.default_rng(4)
    expected = spectra(1e12, edge=0.0, background=0.3)
    found = [follow_edge(rng.poisson(expected), **WINDOWS, **DOSES) for _ in range(200)]
    net = np.array([series.signal for series in found])
    # 3000 exposures of standard deviation 12: the standard error is 0.2.
    assert net.mean() == pytest.approx(0.0, abs=0.7)


@pytest.mark.parametrize("background", [0.02, 0.1])
def test_spectra_too_poor_for_an_exponent_have_that_of_all(background):
    """Two and ten electrons are ahead of the edge, and its exponent alone would be anything."""
    rng = np.random.default_rng(6)
    expected = spectra(1e12, edge=0.0, background=background)
    found = [follow_edge(rng.poisson(expected), **WINDOWS, **DOSES) for _ in range(200)]
    net = np.array([series.signal for series in found])
    assert net.mean() == pytest.approx(0.0, abs=0.08 * net.std())
    assert net.var() == pytest.approx(np.mean([s.variance for s in found]), rel=0.25)


def test_an_edge_without_electrons_says_so():
    found = follow_edge(np.zeros((15, 400)), **WINDOWS, **DOSES)
    assert estimate_fading(found).assessment is Assessment.TOO_FEW_ELECTRONS


def test_carbonate_becomes_oxide_as_the_chain_says():
    rng = np.random.default_rng(3)
    bump = {
        name: np.exp(-((ENERGIES - at) ** 2) / (2 * 4**2))
        for name, at in (("Li2CO3", 290.0), ("Li2O", 300.0))
    }
    references = {**bump, "background": (ENERGIES / 250) ** -3}
    middle = (EDGES[:-1] + EDGES[1:]) / 2
    first, second, _ = sequential_decay(middle, first_dose_e_per_a2=80.0, second_dose_e_per_a2=1e4)
    expected = (
        200 * np.outer(first, bump["Li2CO3"])
        + 200 * np.outer(second, bump["Li2O"])
        + 30 * references["background"]
    )
    pulls = []
    for _ in range(40):
        found = follow_references(rng.poisson(expected), references=references, **DOSES)
        for name, truth in (("Li2CO3", first), ("Li2O", second)):
            pulls.append((found[name].signal - 200 * truth) / np.sqrt(found[name].variance))
    assert np.mean(pulls) == pytest.approx(0.0, abs=0.25)
    assert np.std(pulls) == pytest.approx(1.0, abs=0.08)
    fit = estimate_fading(found["Li2CO3"])
    assert fit.critical_dose_e_per_a2 == pytest.approx(80.0, rel=0.1)


@pytest.mark.parametrize("scale", [0.3, 1.0, 10.0])
def test_few_counts_do_not_pull_the_amounts_down(scale):
    rng = np.random.default_rng(5)
    bump = {
        name: np.exp(-((ENERGIES - at) ** 2) / (2 * 10**2))
        for name, at in (("Li2CO3", 290.0), ("Li2O", 260.0))
    }
    references = {**bump, "background": np.ones_like(ENERGIES)}
    left = np.exp(-np.arange(15) / 10)
    truth = {"Li2CO3": 2 * scale * left, "Li2O": scale * (1 - left), "background": 0.3 * scale}
    expected = sum(
        np.outer(np.broadcast_to(truth[name], 15), references[name]) for name in references
    )
    pulls = []
    for _ in range(40):
        found = follow_references(rng.poisson(expected), references=references, **DOSES)
        pulls.append([(found[n].signal - truth[n]) / np.sqrt(found[n].variance) for n in truth])
    assert np.mean(pulls, axis=(0, 2)) == pytest.approx(np.zeros(3), abs=0.3)
    assert np.std(pulls, axis=(0, 2)) == pytest.approx(np.ones(3), abs=0.2)


COUNTS = np.ones((15, 400))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"edge_ev": (500.0, 600.0)}, "edge_ev is .*holds 0 channels of 200 to 399.5 eV"),
        ({"background_ev": (200.0, 200.6)}, "background_ev is .* holds 2 channels"),
        ({"background_ev": (220.0, 290.0)}, "background_ev ends at 290 eV, not ahead"),
        ({"energies_ev": ENERGIES[::-1]}, "energies_ev has shape"),
        ({"energies_ev": ENERGIES[:-1]}, "expected 400 energies"),
        ({"spectra": -COUNTS}, "no counts"),
        ({"spectra": COUNTS * np.nan}, "no counts"),
        ({"spectra": COUNTS[0]}, r"spectra have shape \(400,\)"),
        ({"counts_per_electron": 0.0}, r"counts_per_electron is 0\.0"),
        ({"after_e_per_a2": EDGES[:-1]}, "not above the dose before it"),
        ({"before_e_per_a2": EDGES}, r"shapes \(16,\) and \(15,\) and there are 15 spectra"),
    ],
)
def test_edges_that_cannot_be_followed_are_refused(given, said):
    call = {"spectra": COUNTS, **WINDOWS, **DOSES, **given}
    with pytest.raises(ParameterError, match=said):
        follow_edge(call.pop("spectra"), **call)


@pytest.mark.parametrize(
    ("references", "said"),
    [
        ({}, "references are empty"),
        ({"a": np.ones(3)}, r"reference of a has shape \(3,\)"),
        ({"a": np.arange(400.0), "b": 2 * np.arange(400.0)}, "one is a sum of the others"),
    ],
)
def test_references_that_cannot_be_told_apart_are_refused(references, said):
    with pytest.raises(ParameterError, match=said):
        follow_references(COUNTS, references=references, **DOSES)


def test_a_reference_may_have_any_scale():
    channel = np.arange(40.0)
    shapes = {"a": np.exp(-(((channel - 12) / 4) ** 2)), "b": 1 / (channel + 9)}
    counts = np.stack([5e4 * shapes["a"] + 9e4 * shapes["b"], 2e4 * shapes["a"]])
    doses = {"before_e_per_a2": [0.0, 1.0], "after_e_per_a2": [1.0, 2.0]}
    usual = follow_references(counts, references=shapes, **doses)
    scaled = {"a": 1e-20 * shapes["a"], "b": 1e20 * shapes["b"]}
    found = follow_references(counts, references=scaled, **doses)
    for name, scale in (("a", 1e20), ("b", 1e-20)):
        assert found[name].signal == pytest.approx(scale * usual[name].signal, rel=1e-9)
        assert found[name].variance == pytest.approx(scale**2 * usual[name].variance, rel=1e-9)
    alike = {"a": shapes["a"], "b": shapes["a"] * (1 + 1e-10 * channel)}
    with pytest.raises(ParameterError, match="one is a sum of the others"):
        follow_references(counts, references=alike, **doses)

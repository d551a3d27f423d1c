"""From likelihoods to probabilities."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interphase.diffraction.matching import SCALE_GRID, scale_prior
from interphase.diffraction.options import ScalePrior
from interphase.diffraction.posterior import ODD_PLACE, combine, credible_set

PRIOR = scale_prior(ScalePrior())


def peak(centre, height, width=0.004):
    return height * np.exp(-0.5 * ((SCALE_GRID - centre) / width) ** 2)


def posterior(phases, unknown=None, *, chance=0.0, scale=PRIOR, misfit=0.0):
    phases = np.asarray(phases)
    return combine(
        phases,
        np.full(len(phases), 1e-3) if unknown is None else np.asarray(unknown),
        chance=np.full(len(phases), chance),
        scale=scale,
        unknown_prior=0.1,
        misfit=misfit,
    )


def test_none_of_the_candidates_is_never_surer_than_misfits_allow():
    """However foreign the spots, the odds against all candidates are those of a misfit."""
    phases = np.stack([peak(0.0, 1e-30), peak(0.0, 4e-30)])[None]
    found = posterior(phases, [1.0], misfit=0.06).probability[0]
    assert found[2] == pytest.approx(0.1 / (0.1 + 0.9 * 0.06))
    # Half the weight of the evidence, the root of the ratio, says which it rather is.
    assert found[1] / found[0] == pytest.approx(2)


def test_misfits_change_nothing_where_a_candidate_fits():
    phases = np.stack([peak(0.0, 1e6), peak(0.02, 1.0)])[None]
    with_misfits, without = (posterior(phases, misfit=m).probability[0] for m in (0.06, 0.0))
    assert with_misfits == pytest.approx(without, abs=1e-6)


@settings(max_examples=40, deadline=None)
@given(
    places=st.integers(1, 5),
    candidates=st.integers(1, 6),
    log_scale=st.floats(-200, 200),
    chance=st.floats(0, 1),
    seed=st.integers(0, 999),
)
def test_probabilities_of_each_place_sum_to_one(places, candidates, log_scale, chance, seed):
    rng = np.random.default_rng(seed)
    phases = np.exp(rng.normal(0, 20, (places, candidates, len(SCALE_GRID))) + log_scale)
    unknown = np.exp(rng.normal(0, 20, places) + log_scale)
    result = posterior(phases, unknown, chance=chance)
    assert result.probability.shape == (places, candidates + 2)
    assert result.probability.sum(axis=1) == pytest.approx(1)
    assert (result.probability >= 0).all()
    assert result.probability[:, -1] == pytest.approx(chance)
    assert result.scale.sum() == pytest.approx(1)
    assert (abs(result.scale_of) <= SCALE_GRID.max() + 1e-9).all()


def test_one_place_has_the_closed_form_of_bayes():
    phases = np.stack([peak(0.0, 3.0), peak(0.02, 5.0)])[None]
    result = posterior(phases, [0.7])
    weight = np.array([0.45 * phases[0, 0] @ PRIOR, 0.45 * phases[0, 1] @ PRIOR, 0.1 * 0.7])
    assert result.probability[0, :3] == pytest.approx(weight / weight.sum())


def test_the_chance_of_noise_is_taken_from_all_others_alike():
    phases = np.stack([peak(0.0, 3.0), peak(0.0, 1.0)])[None]
    sure, doubtful = posterior(phases).probability[0], posterior(phases, chance=0.2).probability[0]
    assert doubtful[:-1] == pytest.approx(0.8 * sure[:-1])
    assert doubtful[-1] == pytest.approx(0.2)


def test_a_place_ambiguous_alone_is_certain_beside_a_place_that_fixes_the_scale():
    # Two rock salts that differ by 4 % in their cell: one fits at -2 %, the other at +2 %.
    ambiguous = [peak(-0.02, 1e6), peak(0.02, 1e6), np.zeros_like(SCALE_GRID)]
    certain = [np.zeros_like(SCALE_GRID), np.zeros_like(SCALE_GRID), peak(0.02, 1e9)]
    alone = posterior([ambiguous])
    assert alone.probability[0, :2] == pytest.approx([0.5, 0.5], abs=1e-3)
    beside = posterior([ambiguous, certain])
    assert beside.probability[0, 1] > 0.9
    assert beside.scale_of[0, 1] == pytest.approx(0.02, abs=0.003)
    # One place in twenty is odd, so the common belief leans a little towards what came before.
    assert 0.013 < beside.scale @ SCALE_GRID < 0.021
    assert beside.scale_sigma < alone.scale_sigma


def test_no_place_counts_twice():
    # What one place says about the scale is not held against itself a second time.
    place = [peak(-0.02, 1e6), peak(0.02, 1.01e6)]
    doubled = posterior([place, [np.zeros_like(SCALE_GRID)] * 2])
    assert doubled.probability[0] == pytest.approx(posterior([place]).probability[0], abs=1e-6)


def test_one_misleading_place_does_not_override_the_others():
    true = [peak(0.0, 1e6), peak(0.05, 1e4)]
    odd = [peak(0.05, 1e30), np.zeros_like(SCALE_GRID)]
    result = posterior([true, true, true, odd])
    assert (result.probability[:3, 0] > 0.95).all()
    assert result.scale @ SCALE_GRID == pytest.approx(0.0, abs=0.005)


def test_a_single_place_moves_the_belief_of_another_by_a_bounded_factor():
    flat = [np.ones_like(SCALE_GRID)]
    strong = posterior([flat, [peak(0.05, 1e200)]])
    stronger = posterior([flat, [peak(0.05, 1e300)]])
    assert stronger.scale == pytest.approx(strong.scale)
    # The flat place learns of the scale what the other says, and at most 1 / ODD_PLACE of it.
    gain = strong.scale / PRIOR
    assert gain.max() / gain.min() <= 1 / ODD_PLACE * (1 + 1e-6)


def test_places_without_any_evidence_are_unknown():
    result = posterior(np.zeros((2, 3, len(SCALE_GRID))), np.zeros(2))
    assert result.probability[:, 3] == pytest.approx(1)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999), places=st.integers(2, 5))
def test_the_order_of_places_and_candidates_is_of_no_matter(seed, places):
    rng = np.random.default_rng(seed)
    centres, powers = rng.normal(0, 0.02, (places, 3, 1)), rng.uniform(0, 6, (places, 3, 1))
    phases = peak(centres, 10**powers)
    unknown = 10 ** rng.uniform(0, 4, places)
    rows, columns = rng.permutation(places), rng.permutation(3)
    plain = posterior(phases, unknown)
    mixed = posterior(phases[rows][:, columns], unknown[rows])
    assert mixed.probability[:, :3] == pytest.approx(plain.probability[rows][:, columns], abs=1e-9)
    assert mixed.scale == pytest.approx(plain.scale)


@given(
    weights=st.lists(st.floats(1e-6, 1), min_size=1, max_size=12),
    content=st.floats(0.05, 0.99),
)
def test_a_credible_set_holds_its_content_with_the_fewest_members(weights, content):
    p = np.array(weights) / np.sum(weights)
    inside = credible_set(p, content)
    assert p[inside].sum() >= content - 1e-9
    assert len(inside) == 1 or p[inside[:-1]].sum() < content
    assert np.all(np.diff(p[inside]) <= 0)
    outside = np.setdiff1d(np.arange(len(p)), inside)
    assert p[outside].max(initial=0) <= p[inside].min() + 1e-12


def test_a_weight_multiplies_the_odds_of_a_place_that_stands_alone():
    phases = np.array([[peak(0.0, 5.0), peak(0.01, 8.0)]])
    common = {"chance": np.zeros(1), "scale": PRIOR, "unknown_prior": 0.2, "misfit": 0.0}
    even = combine(phases, np.ones(1), **common).probability[0]
    weighted = combine(phases, np.ones(1), **common, weights=np.array([1.0, 3.0])).probability[0]
    assert weighted[1] / weighted[0] == pytest.approx(3 * even[1] / even[0])
    # The candidates share what they shared before.
    again = combine(phases, np.ones(1), **common, weights=np.full(2, 0.1)).probability[0]
    assert again == pytest.approx(even)


def test_a_place_is_told_the_scale_by_the_others_alone():
    sure, flat = [peak(0.02, 1e6, width=0.002)], [np.ones_like(SCALE_GRID)]
    prior_sigma = np.sqrt(PRIOR @ SCALE_GRID**2)
    alone = posterior([sure])
    assert alone.scale_sigma_of == pytest.approx([prior_sigma])
    assert alone.scale_sigma < prior_sigma
    both = posterior([sure, flat])
    assert both.scale_sigma_of[0] == pytest.approx(prior_sigma)
    assert both.scale_sigma_of[1] < prior_sigma


def test_places_that_are_noise_do_not_set_the_scale():
    """However many they are, and whatever scale they happen to fit."""
    true, noise = [peak(0.0, 5.0), peak(0.02, 3.0)], [peak(0.02, 1e4), peak(0.04, 1e4)]
    alone = posterior([true])
    among = combine(
        np.asarray([true] + 8 * [noise]),
        np.full(9, 1e-3),
        chance=np.array([0.0] + 8 * [0.99]),
        scale=PRIOR,
        unknown_prior=0.1,
        misfit=0.0,
    )
    assert among.probability[0] == pytest.approx(alone.probability[0], abs=0.05)

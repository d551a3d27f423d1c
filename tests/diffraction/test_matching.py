"""How strongly spots speak for a candidate."""

import numpy as np
import pytest
from hypothesis import Phase as Stage
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from interphase.diffraction.matching import (
    GATE,
    LOG_AMPLITUDES,
    SCALE_GRID,
    expect,
    scale_prior,
    weigh,
)
from interphase.diffraction.matching_kernels import rough_scores
from interphase.diffraction.options import Evidence, ScalePrior
from interphase.diffraction.posterior import combine
from interphase.diffraction.strengths import ODD, SPREAD, STRONGEST

SIGMA = 0.45 / 40
PHASES = st.sampled_from(["Li", "Li2O", "LiF", "Li2CO3", "LiOH", "Li2S", "Cu"])
ANGLES = st.floats(0, 2 * np.pi)
ZONE = (0, 1, 1)
NO_SHRINKING = (Stage.explicit, Stage.reuse, Stage.generate)


def turned(k: np.ndarray, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return k @ np.array([[c, s], [-s, c]])


def total(evidences) -> np.ndarray:
    """Return the evidence of each candidate under the default belief about scale."""
    return evidences.phases @ scale_prior(ScalePrior())


@settings(max_examples=12, deadline=None, phases=NO_SHRINKING)
@given(phase=PHASES, angle=ANGLES, mirrored=st.booleans(), error=st.floats(-0.03, 0.03))
def test_a_perfect_zone_pattern_names_its_phase_and_its_scale(
    library, weighed, along, phase, angle, mirrored, error
):
    g, share = along(phase, ZONE)
    k = turned(g * (-1, 1) if mirrored else g, angle) / (1 + error)
    found = weighed(k, 100 * share)
    of_each = found.phases.sum(axis=1)
    own = library.phases.index(phase)
    assert of_each.argmax() == own
    # Fewer spots than four fix no lattice; these show four or more.
    assert of_each[own] > 10 * found.unknown
    curve = found.phases[own] / of_each[own]
    mean = curve @ SCALE_GRID
    width = np.sqrt(curve @ (SCALE_GRID - mean) ** 2)
    assert width < 0.015
    assert mean == pytest.approx(error, abs=width)
    best = found.best[own]
    assert best.phase == phase
    assert best.scale_error == pytest.approx(error, abs=width)
    assert len(best.matched) >= min(len(g), 8) - 1


@settings(max_examples=6, deadline=None, phases=NO_SHRINKING)
@given(phase=st.sampled_from(["Li2O", "LiF", "LiOH", "Li2CO3", "Li2S"]), angle=ANGLES)
def test_one_spot_of_something_else_and_one_missing_do_not_hide_the_phase(
    library, weighed, along, phase, angle
):
    g, share = along(phase, ZONE)
    k = np.concatenate(
        [np.delete(turned(g, angle), 1, axis=0), [turned(np.array([0.27, 0.41]), angle)]]
    )
    strength = np.append(np.delete(100 * share, 1), 150.0)
    order = np.argsort(-strength)
    found = weighed(k[order], strength[order])
    assert library.phases[int(total(found).argmax())] == phase


@settings(max_examples=8, deadline=None, phases=NO_SHRINKING)
@given(phase=PHASES, angle=ANGLES, seed=st.integers(0, 999))
def test_evidence_depends_neither_on_rotation_nor_on_mirror_nor_on_the_member_of_a_pair(
    weighed, along, phase, angle, seed
):
    rng = np.random.default_rng(seed)
    g, _ = along(phase, ZONE)
    k = g[:4] + rng.normal(0, 0.5 * SIGMA, (len(g[:4]), 2))
    plain = weighed(k)
    same = pytest.approx(plain.phases, rel=1e-6, abs=1e-9 * plain.phases.max())
    mates = k * rng.choice([-1, 1], len(k))[:, None]
    assert weighed(turned(k, angle)).phases == same
    assert weighed(k * (-1, 1)).phases == same
    assert weighed(mates).phases == same
    assert weighed(turned(k, angle)).unknown == pytest.approx(plain.unknown, rel=1e-6)
    assert weighed(mates).unknown == pytest.approx(plain.unknown, rel=1e-6)


@settings(max_examples=8, deadline=None, phases=NO_SHRINKING)
@given(phase=PHASES, seed=st.integers(0, 999))
def test_the_order_of_equal_spots_does_not_change_which_phase_is_likeliest(
    weighed, along, phase, seed
):
    g, _ = along(phase, ZONE)
    plain = weighed(g[:4])
    mixed = weighed(g[:4][np.random.default_rng(seed).permutation(len(g[:4]))])
    assert total(mixed).argmax() == total(plain).argmax()
    # The strengths are tabulated in single precision, and sums take another order.
    assert mixed.unknown == pytest.approx(plain.unknown, rel=1e-3)


def test_wrong_angles_speak_against_a_lattice_of_right_spacings(library, weighed, along):
    g, share = along("LiF", ZONE)
    right = weighed(g, 100 * share)
    bent = g.copy()
    bent[0] = turned(g[:1], np.radians(15))
    wrong = weighed(bent, 100 * share)
    own = library.phases.index("LiF")
    assert total(wrong)[own] < 1e-2 * total(right)[own]
    assert wrong.unknown < right.unknown


def test_a_spot_far_away_costs_no_more_than_a_spot_nearby(library, weighed, along):
    g, share = along("Li2O", ZONE)
    own = library.phases.index("Li2O")

    def with_clutter(position):
        return total(weighed(np.vstack([g, position]), np.append(100 * share, 10.0)))[own]

    # Both lie between the reflections; a misfit has a bounded cost.
    near, far = with_clutter([0.21, 0.11]), with_clutter([-0.55, 0.02])
    assert near == pytest.approx(far, rel=0.3)


def test_a_strong_reflection_that_is_absent_speaks_against_a_phase(library, weighed, along):
    g, share = along("LiF", ZONE)
    own = library.phases.index("LiF")
    without = np.delete(g, 0, axis=0)
    all_there = total(weighed(g, 100 * share))[own]
    assert total(weighed(without, np.delete(100 * share, 0)))[own] < 0.1 * all_there


@pytest.mark.parametrize("d", [2.662, 2.013])
def test_one_spot_speaks_for_the_phases_that_have_its_spacing(library, weighed, d):
    found = weighed(np.array([[0.0, 1 / d]]))
    expected = {2.662: "Li2O", 2.013: "LiF"}[d]
    # The narrowest belief, so that a spacing is a spacing.
    narrow = found.phases @ scale_prior(ScalePrior(sigma=0.001, wide_weight=0.0))
    wide = found.phases @ scale_prior(ScalePrior(sigma=0.04, wide_weight=0.0))
    own, other = library.phases.index(expected), library.phases.index("Li2S")
    assert narrow[own] > narrow.mean()
    assert narrow[own] > wide[own]
    assert found.best == (None,) * len(library.phases)
    assert wide[other] >= 0


def test_one_spot_between_all_spacings_speaks_for_none(weighed):
    # Nothing among these phases has a spacing within 10 % of 5.5 Å.
    assert total(weighed(np.array([[0.0, 1 / 5.5]]))).max() < 1e-6


@given(
    sigma=st.floats(0.005, 0.03),
    wide=st.floats(0.03, 0.06),
    weight=st.floats(0, 0.9),
)
def test_the_belief_about_scale_is_a_probability_and_even(sigma, wide, weight):
    prior = scale_prior(ScalePrior(sigma=sigma, wide_sigma=wide, wide_weight=weight))
    assert prior.sum() == pytest.approx(1)
    assert prior == pytest.approx(prior[::-1])
    assert prior.argmax() == len(SCALE_GRID) // 2


def test_of_matches_stated_with_nine_tenths_nine_in_ten_are_right(templates, library):
    """Point patterns drawn from the model itself, so nothing but the arithmetic is on trial."""
    rng = np.random.default_rng(4)
    evidence, prior = Evidence(), scale_prior(ScalePrior())
    k_min, k_max = 1 / 6, 1 / 1.2
    names = list(templates)
    stated = right = inside = drawn = 0
    expected = 0.0
    while drawn < 200:
        truth = int(rng.integers(len(names)))
        t = templates[names[truth]]
        row = rng.choice(len(t.weight), p=t.weight)
        g, share = (x[t.share[row] > 0] for x in (t.g_per_a[row], t.share[row]))
        power = np.exp(rng.uniform(*LOG_AMPLITUDES[[0, -1]])) * share
        power *= np.exp(rng.normal(0, SPREAD, len(g)))
        strengths = stats.ncx2.rvs(2, 2 * power, random_state=rng) / 2
        odd = rng.random(len(g)) < ODD
        anything = np.exp(rng.uniform(np.log(9.0), STRONGEST, len(g)))
        strengths = np.where(odd, np.where(rng.random(len(g)) < 0.5, anything, 0.0), strengths)
        seen = strengths > 9.0
        error = rng.choice(SCALE_GRID, p=prior) + rng.normal(0, 0.003)
        k = turned(g[seen] * rng.choice([-1, 1], 2), rng.uniform(0, 2 * np.pi)) / (1 + error)
        k += rng.normal(0, SIGMA, k.shape)
        number = rng.poisson(evidence.clutter)
        radius = np.sqrt(rng.uniform(k_min**2, k_max**2, number))
        angle = rng.uniform(0, np.pi, number)
        clutter = np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1)
        k = np.vstack([k, clutter])
        of_clutter = np.exp(rng.uniform(np.log(9.0), STRONGEST, number))
        strength = np.append(strengths[seen], of_clutter)
        order = np.argsort(-strength)
        if len(k) < 2:
            continue
        drawn += 1
        found = weigh(
            k[order],
            strength[order],
            library,
            sigma_per_a=SIGMA,
            k_range_per_a=(k_min, k_max),
            threshold=9.0,
            evidence=evidence,
            scale=ScalePrior(),
        )
        probability = combine(
            found.phases[None],
            np.array([found.unknown]),
            chance=np.zeros(1),
            scale=prior,
            unknown_prior=0.1,
            misfit=0.0,
        ).probability[0]
        stated += probability.max() >= 0.9
        right += probability.max() >= 0.9 and probability.argmax() == truth
        expected += probability.max() if probability.max() >= 0.9 else 0.0
        inside += probability[truth] > 0.01
    assert stated > 0.15 * drawn
    assert right >= stats.binom.ppf(0.001, stated, 0.9)
    assert inside > 0.9 * drawn


def test_the_compiled_score_is_that_of_the_same_sums_in_numpy(library):
    """Every orientation is scored as the definition says, one at a time."""
    rng = np.random.default_rng(8)
    expected = expect(library, 6.0)
    law = expected.law
    template = rng.integers(len(library.weight), size=40)
    turn = np.exp(1j * rng.uniform(0, 2 * np.pi, 40))
    mirrored = rng.random(40) < 0.5
    # Spots near reflections of the first of them, and others.
    g = library.g[template[0]] * turn[0]
    k = np.append(g[library.share[template[0]] > 0][:5] + 0.002, [0.3 + 0.1j, -0.2 + 0.5j])
    mirrored[0] = False
    sigma = rng.uniform(0.003, 0.01, (2, len(k)))
    clutter, strength = rng.uniform(-3, 0, len(k)), rng.uniform(2, 6, len(k))
    score, explained = rough_scores(
        template,
        turn,
        mirrored,
        library.g,
        library.share > 0,
        expected.first_row,
        k,
        *sigma,
        clutter,
        law.column(strength),
        0.003,
        GATE,
        law.seen,
        law.missed,
        expected.all_missed,
        law.rows_apart(LOG_AMPLITUDES),
    )
    for h, t in enumerate(template):
        present = library.share[t] > 0
        lattice = library.g[t][present]
        lattice = (lattice.conj() if mirrored[h] else lattice) * turn[h]
        unit = lattice.conj() / abs(lattice)
        slack = (0.003 * abs(lattice[:, None])) ** 2
        off = [(sign * k - lattice[:, None]) * unit[:, None] for sign in (1, -1)]
        along, across = (np.square(s) + slack for s in sigma)
        square = np.min([o.real**2 / along + o.imag**2 / across for o in off], axis=0)
        nearest = square.argmin(axis=1)
        rows = np.arange(len(lattice))
        mine = (square[rows, nearest] < GATE) & (square.argmin(axis=0)[nearest] == rows)
        assert explained[h] == mine.sum()
        total = expected.all_missed[t].astype(float)
        for j in np.flatnonzero(mine):
            s = nearest[j]
            area = 2 * np.pi * np.sqrt(along[j, s] * across[j, s])
            row = law.row(expected.log_share[t][present][j] + LOG_AMPLITUDES)
            total += law.seen[row, law.column(strength[s])] - law.missed[row]
            total += -np.log(area) - clutter[s] - square[j, s] / 2
        assert score[h] == pytest.approx(total.max(), abs=1e-4)
    assert explained[0] >= 5

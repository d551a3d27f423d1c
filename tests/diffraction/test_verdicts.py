"""Verdicts about places: what a prior changes, and what a known scale separates."""

from collections.abc import Callable

import numpy as np
import pytest

from interphase.assessment import Assessment
from interphase.diffraction import Options, PhaseMap, ScalePrior, identify_image, region_table
from interphase.diffraction.verdicts import INSEPARABLE, separable_from
from interphase.errors import ParameterError
from interphase.phases import ambiguous_pairs, candidates, load_phase

Identify = Callable[..., PhaseMap]


@pytest.fixture(scope="module")
def rock_salt() -> Identify:
    """Identify the [001] fringes of a rock salt whose cell is wrong by a fraction."""

    def identify(phase: str, *, error: float = 0.0, seed: int = 1, **options: object) -> PhaseMap:
        rng = np.random.default_rng(seed)
        spacing = load_phase(phase).lattice[0] / 2 * (1 + error)
        y, x = 2 * np.pi * np.indices((256, 256)) * 0.4 / spacing
        # {200} and {220}, of about the same strength in rock salt of light elements.
        lattice = np.cos(y) + np.cos(x) + 0.8 * (np.cos(y + x) + np.cos(y - x))
        return identify_image(
            rng.poisson(40 * (1 + 0.15 * lattice)),
            pixel_size_a=0.4,
            candidates=candidates("LiF, LiH, Li2O"),
            options=Options(**options),
        )

    return identify


@pytest.mark.parametrize("phase", ["LiF", "LiH"])
@pytest.mark.parametrize("sigma", [0.006, 0.01, 0.02])
def test_fluoride_and_hydride_are_a_set_where_the_scale_is_not_known(rock_salt, phase, sigma):
    found = rock_salt(phase, scale=ScalePrior(sigma=sigma))
    assert set(found.regions[0].credible_set) == {"LiF", "LiH"}
    assert found.assessment is Assessment.AMBIGUOUS


@pytest.mark.parametrize(("phase", "away"), [("LiF", -0.004), ("LiH", 0.004)])
def test_a_scale_known_to_three_in_a_thousand_may_separate_them(rock_salt, phase, away):
    known = ScalePrior(sigma=0.003, wide_weight=0.0)
    assert rock_salt(phase, error=away, scale=known).regions[0].credible_set == (phase,)
    # Half-way between the two cells no scale prior helps.
    between = -1.7 * away
    assert len(rock_salt(phase, error=between, scale=known).regions[0].credible_set) == 2
    # Nor does the same image where one calibration in ten is not to be trusted.
    doubted = ScalePrior(sigma=0.003, wide_weight=0.1)
    assert len(rock_salt(phase, error=away, scale=doubted).regions[0].credible_set) == 2


def test_the_least_separable_difference_lies_between_the_cells_and_the_fixed_limit():
    (pair,) = ambiguous_pairs(candidates("LiF, LiH"), tolerance=0.02)
    assert separable_from(0.003) < pair.scale_difference < separable_from(0.004)
    sigmas = np.linspace(0.0, 0.05, 101)
    least = np.array([separable_from(sigma) for sigma in sigmas])
    assert np.all(np.diff(least) >= 0)
    assert np.all(least >= sigmas)
    # Gold and LiH differ by 0.13 %: their cells alone are not known well enough.
    (calibrant,) = ambiguous_pairs(candidates("Au, LiH"), tolerance=0.02)
    assert abs(calibrant.scale_difference) < separable_from(0.0)
    assert separable_from(0.01) == INSEPARABLE


def test_a_prior_stands_beside_the_answer_and_does_not_change_it(rock_salt):
    plain = rock_salt("LiF").regions[0]
    weighted = rock_salt("LiF", prior={"LiH": 3.0}).regions[0]
    assert plain.informed == {}
    assert plain.informed_phase is None
    assert weighted.alternatives == plain.alternatives
    assert weighted.credible_set == plain.credible_set
    assert sum(weighted.informed.values()) == pytest.approx(1)
    odds, informed = (p["LiH"] / p["LiF"] for p in (weighted.alternatives, weighted.informed))
    # One place alone: nothing else moves the belief about the scale.
    assert informed == pytest.approx(3 * odds)


def test_the_sentence_says_when_the_prior_names_another_phase(rock_salt):
    agrees = rock_salt("LiF", prior={"LiF": 3.0})
    assert "prior" not in agrees.regions[0].sentence
    differs = rock_salt("LiF", prior={"LiH": 1000.0})
    region = differs.regions[0]
    assert region.phase == "LiF"
    assert region.informed_phase == "LiH"
    assert f"With the stated prior: LiH ({region.informed['LiH']:.2f})." in region.sentence
    (row,) = region_table(differs)
    assert (row["phase"], row["phase_with_prior"]) == ("LiF", "LiH")
    assert row["probability_with_prior"] == region.informed["LiF"]


def test_equal_weights_are_no_prior(rock_salt):
    region = rock_salt("LiF", prior=dict.fromkeys(("LiF", "LiH", "Li2O"), 7.0)).regions[0]
    assert region.informed == pytest.approx(region.alternatives)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("inf"), float("nan")])
def test_a_weight_that_excludes_a_phase_is_refused(weight):
    with pytest.raises(ParameterError, match=r"prior weight of LiF is .* take it from the cand"):
        Options(prior={"LiF": weight})

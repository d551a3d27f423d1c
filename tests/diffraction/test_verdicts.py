"""Verdicts about places: what a prior changes, and what a known scale separates."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interphase.assessment import Assessment
from interphase.diffraction import (
    Options,
    PhaseMap,
    ScalePrior,
    identify_image,
    identify_pattern,
    identify_scan,
    region_table,
)
from interphase.diffraction.image import owners
from interphase.diffraction.verdicts import INSEPARABLE, separable_from, summary
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


@pytest.mark.parametrize(
    ("of_image", "answers", "said"),
    [
        (
            True,
            [("LiF", "ok"), ("Li", "ok"), ("LiF", "ok")],
            "3 crystalline places: LiF in 2, Li in 1.",
        ),
        (
            True,
            [("none", "no_periodicity")],
            "1 faint place is more likely noise than any crystal.",
        ),
        (
            True,
            [("none", "no_periodicity"), ("Li", "ambiguous"), ("none", "no_periodicity")],
            "1 crystalline place: ambiguous in 1. "
            "2 faint places are more likely noise than any crystal.",
        ),
        (False, [("unknown", "unknown_phase")], "1 crystal: none of the candidates in 1."),
        (
            False,
            [("none", "no_periodicity")],
            "1 faint lattice is more likely noise than any crystal.",
        ),
    ],
)
def test_places_that_are_rather_noise_are_counted_apart(rock_salt, of_image, answers, said):
    region = rock_salt("LiF").regions[0]
    centre = region.centre_a if of_image else None
    regions = [
        replace(region, phase=phase, assessment=Assessment(assessment), centre_a=centre)
        for phase, assessment in answers
    ]
    assert summary(regions) == said


@settings(max_examples=100, deadline=None)
@given(shown=st.lists(st.sets(st.integers(0, 15), min_size=1), min_size=1, max_size=6))
def test_no_region_is_missing_from_the_map_while_another_can_spare_a_window(shown):
    windows = [np.array(sorted(inside)) for inside in shown]
    labels = owners(windows, 16)
    owned = np.bincount(labels, minlength=len(shown) + 1)
    assert set(np.flatnonzero(labels)) == set().union(*shown)
    for region, inside in enumerate(windows, start=1):
        assert set(np.flatnonzero(labels == region)) <= shown[region - 1]
        if not owned[region]:
            assert np.all(owned[labels[inside]] == 1)
    # Who is not covered keeps what nobody before him shows in.
    assert owned[1] >= 1


@pytest.mark.parametrize("what", ["image", "pattern", "scan"])
def test_a_prior_of_what_is_no_candidate_is_doubted(what):
    rng = np.random.default_rng(0)
    y, x = np.indices((64, 64)) - 32
    pattern = rng.poisson(2000 * np.exp(-(y**2 + x**2) / 8) + 5)
    data, identify, sampling = {
        "image": (rng.poisson(20, (128, 128)), identify_image, {"pixel_size_a": 0.5}),
        "pattern": (pattern, identify_pattern, {"reciprocal_pixel_size_per_a": 0.02}),
        "scan": (
            np.broadcast_to(pattern, (2, 2, 64, 64)),
            identify_scan,
            {"reciprocal_pixel_size_per_a": 0.02},
        ),
    }[what]

    def warnings(prior):
        options = Options(prior=prior)
        found = identify(data, **sampling, candidates=candidates("Li2CO3,LiF"), options=options)
        return (found.phases if what == "scan" else found).warnings

    (doubt,) = warnings({"Li2C03": 2.0, "LiF": 2.0})
    assert doubt == (
        "The prior names Li2C03, which is no candidate: it changes nothing; the closest are Li2CO3."
    )
    assert warnings({"LiF": 2.0}) == ()


def test_a_prior_of_no_candidate_at_all_gives_no_second_answer(rock_salt):
    assert rock_salt("LiF", prior={"L1F": 2.0}).regions[0].informed == {}

"""The reference set grows without changing, and comes back as it was made."""

from collections import Counter
from dataclasses import asdict

import numpy as np
import pytest

from interphase.errors import ParameterError
from interphase.simulation import (
    ARCHITECTURES,
    ImagingRanges,
    InterphaseRanges,
    make_reference,
    pack_reference,
    plan_references,
    unpack_reference,
)

SMALL = InterphaseRanges(
    thickness_a=(45, 50),
    foil_thickness_a=(45, 50),
    length_a=(50, 60),
    crystallite_diameter_a=(15, 20),
)


@pytest.fixture(scope="module")
def member():
    return make_reference(plan_references(1, seed=5)[0], models=SMALL)


def test_a_larger_set_begins_with_the_smaller():
    assert plan_references(240, seed=3)[:100] == plan_references(100, seed=3)
    assert plan_references(240, seed=4)[0].seed != plan_references(240, seed=3)[0].seed


def test_both_halves_hold_every_class_and_architecture_alike():
    plans = plan_references(240, seed=3)
    for half in ("calibration", "test"):
        mine = [plan for plan in plans if plan.half == half]
        classes = Counter(ARCHITECTURES[plan.architecture].structure for plan in mine)
        assert set(classes.values()) == {30}
        assert {plan.architecture for plan in mine} == set(ARCHITECTURES)
    assert len({plan.seed for plan in plans}) == 240


def test_the_same_plan_makes_the_same_member(member):
    again = make_reference(member.plan, models=SMALL)
    assert np.array_equal(again.image, member.image)
    assert again.recipe == member.recipe
    assert again.conditions == member.conditions


def test_a_member_comes_back_as_it_was_packed(member):
    back = unpack_reference(pack_reference(member))
    assert back.plan == member.plan
    assert back.recipe == member.recipe
    assert back.conditions == member.conditions
    assert back.truth.crystallites == member.truth.crystallites
    np.testing.assert_allclose(back.image, member.image, rtol=5e-4)
    for material, map_a in member.truth.projected_thickness_a.items():
        np.testing.assert_allclose(back.truth.projected_thickness_a[material], map_a, atol=0.01)


def test_counts_follow_the_dose_through_the_members_camera(member):
    rng = np.random.default_rng(1)
    pixel = member.conditions.pixel_size_a
    expected = 400.0 * pixel**2 * member.conditions.detector.dqe0 * float(member.image.mean())
    counts = member.counts(rng, dose_e_per_a2=400.0)
    error = float(np.sqrt(expected / counts.size))
    assert counts.mean() == pytest.approx(expected, abs=6 * error)
    assert counts.shape == member.truth.depth_a.shape == member.image.shape


def test_conditions_stay_within_their_ranges():
    from interphase.simulation import sample_conditions

    rng, ranges = np.random.default_rng(2), ImagingRanges()
    for _ in range(200):
        drawn = sample_conditions(rng)
        assert drawn.beam_energy_kev in ranges.beam_energies_kev
        for name in ("pixel_size_a", "dose_e_per_a2"):
            low, high = getattr(ranges, name)
            assert low <= getattr(drawn, name) <= high
        assert abs(drawn.optics.spherical_aberration_mm) <= 2.7
        assert 0 < drawn.detector.dqe0 <= 1
        assert asdict(drawn)


def test_an_empty_set_is_refused():
    with pytest.raises(ParameterError, match="count is 0: expected at least 1"):
        plan_references(0, seed=1)

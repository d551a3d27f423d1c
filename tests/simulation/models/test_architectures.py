"""Recipes stay within their ranges and say what they are."""

import numpy as np
import pytest

from interphase.errors import ParameterError
from interphase.phases import known_phases
from interphase.simulation.models.architectures import (
    ARCHITECTURES,
    GAP_A,
    InterphaseRanges,
    Packing,
    Structure,
    sample_interphase,
)
from interphase.simulation.models.matrices import MATRICES


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_recipes_stay_within_their_ranges(architecture):
    rng = np.random.default_rng(8)
    ranges = InterphaseRanges()
    kind = ARCHITECTURES[architecture]
    for _ in range(200):
        recipe = sample_interphase(architecture, rng)
        low, high = kind.thickness_a or ranges.thickness_a
        assert low <= recipe.thickness_a <= high * (1 + 1e-9)
        assert 50 <= recipe.foil_thickness_a <= 400
        assert abs(recipe.tilt_deg) <= 10
        assert recipe.structure is kind.structure
        materials = {recipe.electrode, recipe.outside} | {x.matrix for x in recipe.layers}
        materials |= {p.phase for x in recipe.layers for p in x.populations}
        assert materials <= {*known_phases(), *MATRICES, "vacuum", None}
        for layer in recipe.layers:
            total = sum(p.volume_fraction for p in layer.populations)
            assert total <= 1 + 1e-9
            if layer.packing is not Packing.EMBEDDED:
                assert total == pytest.approx(1)
            for p in layer.populations if layer.packing is Packing.EMBEDDED else ():
                room = min(layer.thickness_a, recipe.foil_thickness_a)
                assert p.diameter_a <= room - 2 * GAP_A


def test_the_same_seed_gives_the_same_recipe():
    first, again = (sample_interphase("mosaic", np.random.default_rng(3)) for _ in range(2))
    assert first == again
    assert first != sample_interphase("mosaic", np.random.default_rng(4))


def test_all_four_classes_can_be_drawn():
    assert {kind.structure for kind in ARCHITECTURES.values()} == set(Structure)


def test_drawn_values_fill_their_range_evenly():
    rng = np.random.default_rng(11)
    foils = [sample_interphase("amorphous", rng).foil_thickness_a for _ in range(400)]
    share = np.log(np.array(foils) / 50) / np.log(8)
    # The mean of 400 even draws has a standard error of 0.0144.
    assert share.mean() == pytest.approx(0.5, abs=4 * 0.0144)


def test_an_unknown_architecture_is_refused_with_those_known():
    with pytest.raises(ParameterError, match="'mosiac' is unknown: give one of mosaic, layered"):
        sample_interphase("mosiac", np.random.default_rng(0))

"""Reflections, families, symmetry."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interphase.errors import ParameterError, PhaseError
from interphase.phases import (
    families,
    known_phases,
    load_phase,
    point_group_rotations,
    reflections,
    zone_axes,
)
from interphase.phases.elements import atomic_mass, scattering_factor

PHASES = st.sampled_from([i for i in known_phases() if not i.startswith(("LLZO", "La2Zr", "Li6"))])

PROPER_ROTATIONS = {
    "2/m": 2,
    "mmm": 4,
    "mm2": 4,
    "-3m": 6,
    "4/mmm": 8,
    "6/mmm": 12,
    "-43m": 24,
    "m-3m": 24,
}
"""Rotations of the Laue class of each point group in the table."""


@settings(max_examples=20, deadline=None)
@given(identifier=PHASES, d_min=st.floats(1.0, 2.0))
def test_every_reflection_has_its_friedel_mate_and_keeps_the_limit(identifier, d_min):
    spots = reflections(load_phase(identifier), d_min_a=d_min)
    mates = {tuple(hkl) for hkl in spots.hkl}
    assert mates == {tuple(-hkl) for hkl in spots.hkl}
    assert len(mates) == len(spots.hkl)
    assert spots.d_a.min() >= d_min * (1 - 1e-8)
    assert np.all(np.diff(spots.d_a) <= 1e-6)
    assert 1 / np.linalg.norm(spots.g_per_a, axis=1) == pytest.approx(spots.d_a)
    assert spots.g_per_a == pytest.approx(
        spots.hkl @ load_phase(identifier).reciprocal_vectors, abs=1e-12
    )


@settings(max_examples=10, deadline=None)
@given(identifier=PHASES)
def test_intensity_is_unchanged_by_the_rotations_of_the_phase(identifier):
    phase = load_phase(identifier)
    spots = reflections(phase, d_min_a=1.6)
    lookup = {tuple(h): i for h, i in zip(spots.hkl, spots.intensity, strict=True)}
    for rotation in point_group_rotations(phase):
        hkl = np.rint(spots.g_per_a @ rotation.T @ phase.lattice_vectors.T).astype(int)
        turned = [lookup.get(tuple(h), 0.0) for h in hkl]
        assert turned == pytest.approx(spots.intensity, rel=1e-3, abs=1e-4 * spots.intensity.max())


@settings(max_examples=20, deadline=None)
@given(identifier=PHASES)
def test_rotations_form_a_group_of_proper_rotations(identifier):
    rotations = point_group_rotations(load_phase(identifier))
    assert rotations[0] == pytest.approx(np.eye(3))
    assert np.linalg.det(rotations) == pytest.approx(np.ones(len(rotations)))
    products = np.einsum("aij,bjk->abik", rotations, rotations).reshape(-1, 9)
    distance = np.abs(products[:, None] - rotations.reshape(-1, 9)[None]).max(axis=2)
    assert distance.min(axis=1).max() < 1e-8


@cache
def _point_group(space_group):
    from pymatgen.symmetry.groups import SpaceGroup

    return SpaceGroup(space_group).point_group


@pytest.mark.parametrize("identifier", known_phases())
def test_rotations_are_those_of_the_space_group(identifier):
    phase = load_phase(identifier)
    assert len(point_group_rotations(phase)) == PROPER_ROTATIONS[_point_group(phase.space_group)]


def test_body_centring_removes_odd_sums():
    spots = reflections(load_phase("Li"), d_min_a=0.8)
    assert np.all(spots.hkl.sum(axis=1) % 2 == 0)
    assert len(spots.hkl) > 50


def test_diamond_glide_removes_200_and_222_of_silicon():
    found = {tuple(sorted(map(abs, hkl))) for hkl in reflections(load_phase("Si"), d_min_a=1.3).hkl}
    assert found == {(1, 1, 1), (0, 2, 2), (1, 1, 3), (0, 0, 4)}


def test_a_weak_reflection_of_sodium_fluoride_stays():
    rings = families(reflections(load_phase("NaF"), d_min_a=1.3))
    weak = dict(zip(map(tuple, rings.hkl), rings.relative, strict=True))
    assert 0.005 < weak[1, 1, 1] < 0.02
    assert weak[3, 1, 1] < 0.005


def test_relative_min_drops_only_the_weak():
    every = reflections(load_phase("Li2CO3"), d_min_a=1.2)
    strong = reflections(load_phase("Li2CO3"), d_min_a=1.2, relative_min=0.1)
    assert strong.relative.min() >= 0.1
    assert len(strong.d_a) == np.count_nonzero(every.relative >= 0.1)


def test_merged_rings_keep_the_sum():
    spots = reflections(load_phase("La2O3"), d_min_a=1.2)
    apart, merged = families(spots), families(spots, merge_rings=True)
    assert len(merged.d_a) < len(apart.d_a)
    assert merged.intensity.sum() == pytest.approx(apart.intensity.sum())
    assert merged.multiplicity.sum() == len(spots.d_a)


def test_zone_axes_of_ice_and_their_multiplicity():
    axes, multiplicity = zone_axes(load_phase("ice-Ih"), 1)
    of = dict(zip(map(tuple, axes.tolist()), multiplicity.tolist(), strict=True))
    # [1 0 0] is a close-packed row, [1 -1 0] lies between two of them.
    assert of == {(0, 0, 1): 1, (1, 1, 0): 3, (1, -1, 0): 3, (1, 1, 1): 6, (1, -1, 1): 6}


@settings(max_examples=10, deadline=None)
@given(identifier=PHASES, index=st.integers(1, 3))
def test_zone_axes_cover_every_coprime_direction_once(identifier, index):
    axes, multiplicity = zone_axes(load_phase(identifier), index)
    assert np.all(np.gcd.reduce(axes, axis=1) == 1)
    span = np.mgrid[[slice(-index, index + 1)] * 3].reshape(3, -1)
    coprime = np.count_nonzero(np.gcd.reduce(span, axis=0) == 1)
    # A rotation of an oblique cell can carry an axis out of the box of indices.
    assert multiplicity.sum() >= coprime / 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"d_min_a": 0}, "d_min_a is 0: expected a spacing above 0"),
        ({"d_min_a": float("nan")}, "d_min_a is nan"),
        ({"d_min_a": 0.01}, "give a larger d_min_a"),
        ({"d_min_a": 1.0, "relative_min": 2}, "relative_min is 2"),
    ],
)
def test_impossible_limits_are_refused(arguments, message):
    with pytest.raises(ParameterError, match=message):
        reflections(load_phase("LLZO-cubic"), **arguments)


def test_no_reflection_at_all_is_an_error_with_a_remedy():
    with pytest.raises(PhaseError, match=r"Li has no reflection with d >= 3 Å: give a smaller"):
        reflections(load_phase("Li"), d_min_a=3)


def test_elements_outside_the_table_come_from_pymatgen():
    assert atomic_mass("Sr") == pytest.approx(87.62)
    assert scattering_factor("Sr", np.array([0.5])) > scattering_factor("Ge", np.array([0.5]))
    with pytest.raises(PhaseError, match="'Zz' is not an element"):
        atomic_mass("Zz")
    with pytest.raises(PhaseError, match="no electron scattering factor is known for 'Zz'"):
        scattering_factor("Zz", np.array([0.5]))

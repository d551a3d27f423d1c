"""What candidates show from every direction."""

import numpy as np
import pytest

from interphase.diffraction.templates import (
    MAX_REFLECTIONS,
    WEAKEST,
    _asymmetric_directions,
    make_templates,
)
from interphase.phases import load_phase, point_group_rotations


def shown(along_result):
    positions, share = along_result
    return np.hypot(*positions.T), share


def between(a, b):
    """Return the angle of two lattice planes, 0 to 90 degrees."""
    cosine = abs(a @ b) / np.linalg.norm(a) / np.linalg.norm(b)
    return np.degrees(np.arccos(min(cosine, 1)))


@pytest.mark.parametrize(
    ("phase", "a", "planes"),
    [
        ("LiF", 4.0263, {(1, 1, 1): 2, (0, 0, 2): 1, (2, 2, 0): 1}),
        ("Li2O", 4.6114, {(1, 1, 1): 2, (2, 2, 0): 1}),
    ],
)
def test_a_cubic_crystal_along_110_shows_its_planes(along, phase, a, planes):
    positions, _ = along(phase, (0, 1, 1), least=0.01)
    length = np.hypot(*positions.T)
    for plane, number in planes.items():
        expected = np.linalg.norm(plane) / a
        assert (abs(length - expected) < 2e-4 * expected).sum() == number
    first, second = positions[abs(length - np.sqrt(3) / a) < 1e-3]
    assert between(first, second) == pytest.approx(np.degrees(np.arccos(1 / 3)), abs=0.05)
    (long,) = positions[abs(length - np.sqrt(8) / a) < 1e-3]
    assert between(first, long) == pytest.approx(np.degrees(np.arccos(np.sqrt(2 / 3))), abs=0.05)


def test_a_hexagonal_basal_plane_shows_six_planes_sixty_degrees_apart():
    t = make_templates(load_phase("graphite"), d_min_a=1.2, d_max_a=6.0)
    basal = int(
        np.argmax(np.where((t.zone_axis == (0, 0, 1)).all(axis=1), (t.share > 0.1).sum(1), 0))
    )
    positions = t.g_per_a[basal][t.share[basal] > 0]
    length = np.hypot(*positions.T)
    inner = positions[length < 1.05 * length.min()]
    assert len(inner) == 3
    assert [between(inner[i], inner[j]) for i, j in ((0, 1), (0, 2), (1, 2))] == pytest.approx(
        [60] * 3, abs=0.05
    )


def test_weights_are_probabilities_and_padding_is_marked(templates):
    for t in templates.values():
        assert t.weight.sum() == pytest.approx(1)
        assert (t.weight > 0).all()
        assert t.g_per_a.shape == (len(t.weight), MAX_REFLECTIONS, 2)
        assert t.share.max(axis=1) == pytest.approx(1)
        assert ((t.share == 0) | (t.share >= WEAKEST)).all()
        assert (np.isnan(t.g_per_a[..., 0]) == (t.share == 0)).all()
        assert np.all(np.diff(t.share, axis=1) <= 0)


def test_reflections_keep_the_range_and_are_one_of_each_pair(templates):
    for t in templates.values():
        modulus = t.modulus[t.share > 0]
        # Tilted a little, a plane looks longer than it is.
        assert modulus.max() <= 1 / 1.2
        g = t.g_per_a[t.share > 0]
        assert ((g[:, 0] > 0) | ((g[:, 0] == 0) & (g[:, 1] > 0))).all()


@pytest.mark.parametrize("phase", ["Li2O", "LiF", "Li"])
def test_directions_of_a_cubic_phase_cover_the_sphere_evenly(phase):
    p = load_phase(phase)
    rotations = point_group_rotations(p)
    directions = _asymmetric_directions(rotations, p.lattice_vectors, 3.0)
    assert np.linalg.norm(directions, axis=1) == pytest.approx(1)
    everywhere = np.einsum("nij,pj->npi", rotations, directions).reshape(-1, 3)
    # The mean of a quadratic form over the cubic group is a third of its trace, of a quartic one
    # it is that of the sphere only if the directions are even: <x⁴> = 1/5.
    assert np.einsum("pi,pj->ij", everywhere, everywhere) / len(everywhere) == pytest.approx(
        np.eye(3) / 3, abs=1e-9
    )
    assert np.mean(everywhere**4) == pytest.approx(1 / 5, rel=0.02)


def test_no_two_directions_of_a_phase_are_equivalent():
    p = load_phase("Li2O")
    rotations = point_group_rotations(p)
    directions = _asymmetric_directions(rotations, p.lattice_vectors, 3.0)
    cosines = np.einsum("nij,pj,qi->npq", rotations, directions, directions).max(axis=0)
    np.fill_diagonal(cosines, 0)
    assert cosines.max() < 1 - 1e-9
    # As many as the sphere holds, over the 48 operations of m-3m, and those on its edges.
    assert 80 < len(directions) < 150


def test_a_thicker_crystal_is_seen_from_fewer_directions():
    thin, thick = (
        make_templates(load_phase("LiF"), d_min_a=1.2, d_max_a=6.0, thickness_a=t)
        for t in (20.0, 80.0)
    )
    assert (thick.share > 0.1).sum() / len(thick.weight) < (thin.share > 0.1).sum() / len(
        thin.weight
    )


def test_a_phase_without_a_reflection_in_range_has_no_template():
    t = make_templates(load_phase("Cu"), d_min_a=2.5, d_max_a=6.0)
    assert len(t.weight) == 0
    assert t.g_per_a.shape == (0, MAX_REFLECTIONS, 2)
    none = make_templates(load_phase("Cu"), d_min_a=1.0, d_max_a=1.02)
    assert len(none.weight) == 0

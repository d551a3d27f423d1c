"""Films have the density, the distances and the disorder they promise."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from interphase.errors import ParameterError
from interphase.simulation import MATRICES, amorphous_film, atom_counts
from interphase.simulation.models.contacts import BOND, bond_network, donors, pairs_within
from interphase.simulation.models.matrices import (
    AVOGADRO_G_A3,
    SHORTEST_A,
    SMALLEST_FILM_A,
    Network,
    fill_matrix,
)

SIZE_A, THICKNESS_A = (40.0, 36.0), 32.0


def film(identifier, rng, size=SIZE_A, thickness=THICKNESS_A):
    matrix = MATRICES[identifier]
    return amorphous_film(
        size,
        thickness,
        composition=matrix.composition,
        density_g_per_cm3=matrix.density_g_per_cm3,
        rng=rng,
    )


@pytest.mark.parametrize("identifier", MATRICES)
def test_density_is_right_to_one_per_cent(identifier, rng):
    atoms = film(identifier, rng)
    density = atoms.get_masses().sum() / AVOGADRO_G_A3 / np.prod([*SIZE_A, THICKNESS_A])
    assert density == pytest.approx(MATRICES[identifier].density_g_per_cm3, rel=0.01)


@pytest.mark.parametrize("identifier", MATRICES)
def test_composition_is_right(identifier, rng):
    symbols = film(identifier, rng).get_chemical_symbols()
    composition = MATRICES[identifier].composition
    shares = np.array([symbols.count(element) / len(symbols) for element in composition])
    expected = np.array(list(composition.values())) / sum(composition.values())
    np.testing.assert_allclose(shares, expected, atol=0.001)


@pytest.mark.parametrize("identifier", MATRICES)
def test_no_pair_is_closer_than_its_elements_allow(identifier, rng):
    atoms = film(identifier, rng)
    box = atoms.cell.lengths()
    symbols = np.array(atoms.get_chemical_symbols())
    pairs = cKDTree(atoms.positions % box, boxsize=box).query_pairs(2.6, output_type="ndarray")
    step = atoms.positions[pairs[:, 0]] - atoms.positions[pairs[:, 1]]
    distance = np.linalg.norm(step - box * np.rint(step / box), axis=1)
    shortest = np.array([SHORTEST_A[frozenset(pair)] for pair in symbols[pairs]])
    assert len(pairs) > len(atoms)
    assert (distance - shortest).min() > -1e-9


def test_neighbours_are_no_longer_arranged_beyond_six_angstrom(rng):
    atoms = film("LEDC", rng, size=(48.0, 48.0), thickness=48.0)
    tree = cKDTree(atoms.positions % 48, boxsize=48)
    radius = np.arange(6.0, 20.0, 0.5)
    counted = np.diff(tree.count_neighbors(tree, radius))
    expected = len(atoms) ** 2 / 48**3 * 4 / 3 * np.pi * np.diff(radius**3)
    np.testing.assert_allclose(counted / expected, 1, atol=0.02)


def test_no_direction_is_singled_out(rng):
    # Of M independent exponential variables the largest is about ln M; a lattice of 2 % of the
    # atoms would stand at 0.02² N.
    atoms = film("carbon", rng, size=(24.0, 24.0), thickness=24.0)
    k = np.mgrid[1:15, -14:15, -14:15].reshape(3, -1) / 24
    k = k[:, np.linalg.norm(k, axis=0) < 0.6]
    waves = np.exp(2j * np.pi * (atoms.positions @ k))
    power = np.abs(waves.sum(axis=0)) ** 2 / len(atoms)
    assert power.max() < np.log(k.shape[1]) + 7


def test_the_seed_fixes_the_film():
    one, two = (film("LEDC", np.random.default_rng(3)).positions for _ in range(2))
    other = film("LEDC", np.random.default_rng(4)).positions
    np.testing.assert_array_equal(one, two)
    assert not np.allclose(one, other)


def test_atom_counts_of_water():
    # 1 g/cm³ of water holds 0.0334 molecules per Å³.
    counts = atom_counts({"H": 2, "O": 1}, density_g_per_cm3=1.0, volume_a3=1e5)
    assert counts["O"] == pytest.approx(3343, abs=2)
    assert counts["H"] == pytest.approx(6686, abs=3)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"thickness_a": 5.0}, r"at least 9\.6 Å in every direction"),
        ({"composition": {"C": 1, "S": 1}}, "distance of C and S is not known"),
        ({"density_g_per_cm3": 15.0}, "do not fit .* give a lower density"),
    ],
)
def test_films_that_cannot_be_are_refused(changes, match, rng):
    request = {
        "thickness_a": 14.0,
        "composition": MATRICES["LEDC"].composition,
        "density_g_per_cm3": 1.6,
    }
    with pytest.raises(ParameterError, match=match):
        amorphous_film((14.0, 14.0), rng=rng, **(request | changes))


@pytest.mark.parametrize("identifier", ["carbon", "vitreous-ice"])
def test_a_network_has_its_density_and_keeps_its_shortest_distances(identifier, rng):
    material = MATRICES[identifier]
    atoms = fill_matrix(identifier, (26.0, 24.0), 22.0, rng=rng)
    box = atoms.cell.lengths()
    density = atoms.get_masses().sum() / AVOGADRO_G_A3 / box.prod()
    assert density == pytest.approx(material.density_g_per_cm3, rel=0.01)
    symbols = np.array(atoms.get_chemical_symbols())
    pairs = cKDTree(atoms.positions % box, boxsize=box).query_pairs(2.6, output_type="ndarray")
    step = atoms.positions[pairs[:, 0]] - atoms.positions[pairs[:, 1]]
    distance = np.linalg.norm(step - box * np.rint(step / box), axis=1)
    shortest = np.array([material.shortest_a[frozenset(pair)] for pair in symbols[pairs]])
    assert (distance - shortest).min() > -1e-9


@pytest.mark.parametrize("identifier", ["carbon", "vitreous-ice"])
def test_the_seed_fixes_a_network_even_in_the_smallest_film(identifier):
    side = SMALLEST_FILM_A
    one, two = (
        fill_matrix(identifier, (side, side), side, rng=np.random.default_rng(3)) for _ in range(2)
    )
    np.testing.assert_array_equal(one.positions, two.positions)


@pytest.mark.parametrize(("neighbours", "angle_deg"), [(3, 120.0), (4, 109.4712)])
def test_the_second_shell_of_a_network_follows_from_its_angle(neighbours, angle_deg):
    network = Network(element="C", neighbours=neighbours, bond_a=1.5, source="test", grade="C")
    assert network.second_a == pytest.approx(3 * np.sin(np.deg2rad(angle_deg / 2)), rel=1e-6)


def test_every_bond_gives_one_hydrogen_and_no_atom_more_than_two():
    rng = np.random.default_rng(5)
    box = np.full(3, 30.0)
    positions = rng.random((900, 3)) * box
    pairs = pairs_within(positions, box, 5.0)
    expected = cKDTree(positions, boxsize=box).query_pairs(5.0)
    assert {tuple(pair) for pair in pairs.tolist()} == expected
    bonded = pairs[bond_network(positions, box, pairs, 4, 4.5) == BOND]
    given = donors(bonded, len(positions))
    giver, slot = np.nonzero(given >= 0)
    gifts = np.sort(np.stack([giver, given[giver, slot]], axis=1), axis=1)
    assert sorted(map(tuple, gifts.tolist())) == sorted(map(tuple, np.sort(bonded).tolist()))
    degree = np.bincount(bonded.ravel(), minlength=len(positions))
    assert (np.abs(2 * (given >= 0).sum(axis=1) - degree) <= 1).all()

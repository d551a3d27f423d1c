"""Densities, distances and diffuse rings of amorphous films against published values."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from interphase.simulation import MATRICES
from interphase.simulation.models.matrices import fill_matrix

G_PER_DA_A3 = 1.66053907
SIDE_A = 48.0

# From where to where density [g/cm³] is reported; remembered but for ice (Xu et al. 2020).
REPORTED_DENSITY = {
    "LEDC": (1.4, 1.8),
    "LiPxOyFz": (1.6, 2.8),  # between the acid and LiPF6
    "polymer": (1.12, 1.3),  # amorphous PEO, and with salt
    "electrolyte": (1.2, 1.35),
    "LAGP-reacted": (2.8, 3.4),
    "carbon": (1.8, 2.1),
    "LiPON": (2.1, 2.4),
    "vitreous-ice": (0.92, 0.95),
}


@pytest.fixture(scope="module")
def films():
    return {
        name: fill_matrix(name, (SIDE_A, SIDE_A), SIDE_A, rng=np.random.default_rng(i))
        for i, name in enumerate(MATRICES)
    }


@pytest.mark.parametrize("name", MATRICES)
def test_density_is_what_is_reported(films, name):
    low, high = REPORTED_DENSITY[name]
    assert low <= films[name].get_masses().sum() / SIDE_A**3 * G_PER_DA_A3 <= high


@pytest.mark.parametrize("name", MATRICES)
def test_pairs_are_as_frequent_at_all_distances_beyond_the_contact_shells(films, name):
    positions = films[name].positions % SIDE_A
    tree = cKDTree(positions, boxsize=SIDE_A)
    radius = np.arange(9.0, 16.5, 0.5)
    shells = 4 / 3 * np.pi * np.diff(radius**3) / SIDE_A**3
    g = np.diff(tree.count_neighbors(tree, radius)) / (len(positions) ** 2 * shells)
    # Pairs that come independently of each other are counted with a Poisson error.
    counting = 1 / np.sqrt(len(positions) ** 2 * shells / 2)
    deviation = (g - 1) / counting
    assert np.abs(deviation).max() < 5
    assert abs(deviation.mean()) < 5 / np.sqrt(len(g))


@pytest.mark.parametrize(
    ("name", "element", "bond"), [("vitreous-ice", "O", 2.76), ("carbon", "C", 1.45)]
)
def test_neighbours_start_just_below_the_published_bond(films, name, element, bond):
    # O-O of hydrogen bonds, and C-C between graphite (1.42) and diamond (1.54).
    atoms = films[name]
    positions = atoms.positions[atoms.symbols == element] % SIDE_A
    nearest = cKDTree(positions, boxsize=SIDE_A).query(positions, k=2)[0][:, 1]
    assert nearest.min() == pytest.approx(bond, rel=0.06)


def diffuse_maximum_a(atoms, element, low_a, high_a):
    """The spacing between two where the structure factor is largest [Å]."""
    n = 128
    positions = atoms.positions[atoms.symbols == element] % SIDE_A
    edges = np.linspace(0, SIDE_A, n + 1)
    counts = np.histogramdd(positions, bins=[edges] * 3)[0]
    power = np.abs(np.fft.rfftn(counts)) ** 2
    full, half = np.fft.fftfreq(n, SIDE_A / n), np.fft.rfftfreq(n, SIDE_A / n)
    k = np.sqrt(full[:, None, None] ** 2 + full[None, :, None] ** 2 + half**2)
    bins = np.arange(1 / high_a, 1 / low_a, 0.03)
    which = np.digitize(k.ravel(), bins)
    mean = np.bincount(which, power.ravel()) / np.bincount(which)
    peak = 1 + int(np.argmax(mean[1 : len(bins)]))
    return 1 / (bins[peak - 1] + 0.015)


def test_carbon_has_its_ring_at_1_2_angstrom(films):
    # Amorphous carbon: 2.1 and 1.2 Å. The film has no order that makes the first.
    assert diffuse_maximum_a(films["carbon"], "C", 1.0, 4.0) == pytest.approx(1.25, rel=0.1)


def test_the_ring_of_ice_lies_between_its_two_rings(films):
    # Vitreous ice: 3.7 and 2.1-2.2 Å, which only a network has.
    assert 2.15 < diffuse_maximum_a(films["vitreous-ice"], "O", 1.5, 6.0) < 3.7

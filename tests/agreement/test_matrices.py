"""Densities, distances and diffuse rings of amorphous films against published values."""

import numpy as np
import pytest
from scipy.signal import find_peaks
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
    # Amorphous ice has shells to 12 Å: J. Phys. Chem. B 125, 13320 (2021).
    radius = np.arange(12.0 if name == "vitreous-ice" else 9.0, 20.0, 0.5)
    shells = 4 / 3 * np.pi * np.diff(radius**3) / SIDE_A**3
    g = np.diff(tree.count_neighbors(tree, radius)) / (len(positions) ** 2 * shells)
    # Pairs that come independently of each other are counted with a Poisson error.
    counting = 1 / np.sqrt(len(positions) ** 2 * shells / 2)
    deviation = (g - 1) / counting
    assert np.abs(deviation).max() < 5
    assert abs(deviation.mean()) < 5 / np.sqrt(len(g))


# Element, bond, second shell [Å], neighbours and the spacings of rings [Å]. Carbon films: 1.42 to
# 1.46 Å, 2.45 to 2.55 Å, about three, remembered. Ice of low density: 2.75 Å (Mariedahl et al.,
# J. Phys. Chem. B 122, 7616, 2018) and 4.5 Å (Phys. Rev. B 68, 184110, 2003), four. Rings as read
# off electron diffraction patterns, grade B.
NETWORKS = {
    "carbon": ("C", 1.44, 2.50, 3.0, (2.1, 1.2)),
    "vitreous-ice": ("O", 2.75, 4.50, 4.0, (3.7, 2.15)),
}


def network_of(films, name):
    atoms = films[name]
    return atoms.positions[atoms.symbols == NETWORKS[name][0]] % SIDE_A


def pair_distribution(positions, radius):
    """Mean number of neighbours in shells, and over what it would be without order."""
    tree = cKDTree(positions, boxsize=SIDE_A)
    counted = np.diff(tree.count_neighbors(tree, radius)) / len(positions)
    shells = 4 / 3 * np.pi * np.diff(radius**3)
    return counted, counted / (shells * len(positions) / SIDE_A**3)


@pytest.mark.parametrize("name", NETWORKS)
def test_shells_of_a_network_lie_at_the_published_distances(films, name):
    _, bond, second, neighbours, _ = NETWORKS[name]
    radius = np.linspace(0.7 * bond, 2.0 * bond, 66)
    counted, g = pair_distribution(network_of(films, name), radius)
    smooth = np.convolve(g, np.ones(3) / 3, "same")
    centre = (radius[1:] + radius[:-1]) / 2
    near, far = centre < 1.25 * bond, centre > 1.5 * bond
    assert centre[near][smooth[near].argmax()] == pytest.approx(bond, rel=0.03)
    assert centre[far][smooth[far].argmax()] == pytest.approx(second, rel=0.05)
    assert counted[near].sum() == pytest.approx(neighbours, abs=0.2)
    # Next to nothing lies between the shells.
    assert smooth[(centre > 1.2 * bond) & (centre < 1.4 * bond)].min() < 0.2


def structure_factor(positions):
    """Return 1/spacing [1/Å] and the structure factor averaged over directions."""
    n = 128
    counts = np.histogramdd(positions, bins=[np.linspace(0, SIDE_A, n + 1)] * 3)[0]
    power = np.abs(np.fft.rfftn(counts)) ** 2 / len(positions)
    full, half = np.fft.fftfreq(n, SIDE_A / n), np.fft.rfftfreq(n, SIDE_A / n)
    k = np.sqrt(full[:, None, None] ** 2 + full[None, :, None] ** 2 + half**2).ravel()
    bins = np.arange(0.1, 1.1, 0.02)
    which = np.digitize(k, bins)
    number = np.bincount(which)
    mean = (np.bincount(which, power.ravel()) / number)[1 : len(bins)]
    where = (np.bincount(which, k) / number)[1 : len(bins)]
    return where, np.convolve(np.pad(mean, 1, "edge"), np.ones(3) / 3, "valid")


@pytest.mark.parametrize("name", NETWORKS)
def test_rings_of_a_network_lie_within_a_tenth_of_the_published_ones(films, name):
    k, strength = structure_factor(network_of(films, name))
    maxima = k[find_peaks(strength, prominence=0.15)[0]]
    for spacing in NETWORKS[name][4]:
        assert np.abs(maxima * spacing - 1).min() < 0.1


def test_water_keeps_its_shape_and_gives_one_hydrogen_to_a_bond(films):
    atoms = films["vitreous-ice"]
    oxygen = network_of(films, "vitreous-ice")
    arms = atoms.positions[atoms.symbols == "H"].reshape(-1, 2, 3) - oxygen[:, None]
    arms -= SIDE_A * np.rint(arms / SIDE_A)
    length = np.linalg.norm(arms, axis=2)
    angle = np.degrees(np.arccos((arms[:, 0] * arms[:, 1]).sum(axis=1) / length.prod(axis=1)))
    assert np.median(length) == pytest.approx(0.97, abs=0.002)
    assert np.median(angle) == pytest.approx(106.6, abs=0.5)
    # Nine hydrogens in ten point at an oxygen that is not their own: 2.75 - 0.97 = 1.78 Å.
    second = cKDTree(oxygen, boxsize=SIDE_A).query(
        (oxygen[:, None] + arms).reshape(-1, 3) % SIDE_A, k=2
    )[0][:, 1]
    assert np.median(second) == pytest.approx(1.8, abs=0.1)
    assert np.mean(second < 2.2) > 0.85


@pytest.mark.parametrize("name", NETWORKS)
def test_no_direction_of_a_network_is_singled_out(films, name):
    # Of M independent exponential variables of mean S(k) the largest is about S ln M.
    positions = network_of(films, name)
    k = np.mgrid[0:24, -24:25, -24:25].reshape(3, -1) / SIDE_A
    length = np.linalg.norm(k, axis=0)
    k = k[:, (length > 0.15) & (length < 0.5)]
    k = k[:, np.random.default_rng(0).permutation(k.shape[1])[:1000]]
    power = np.abs(np.exp(2j * np.pi * positions @ k).sum(axis=0)) ** 2 / len(positions)
    where, strength = structure_factor(positions)
    mean = np.interp(np.linalg.norm(k, axis=0), where, strength)
    assert (power / mean).max() < np.log(k.shape[1]) + 7

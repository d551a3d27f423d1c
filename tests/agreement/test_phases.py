"""Published spacings, angles and intensities, and pymatgen's TEMCalculator."""

import csv
from itertools import product

import numpy as np
import pytest

from interphase.phases import (
    ambiguous_pairs,
    candidates,
    coincident_spacings,
    families,
    load_phase,
    reflections,
)

RINGS = {
    "Li": "2.482 110 100, 1.755 200 16, 1.433 211 34",
    "Li2O": "2.662 111 46, 2.306 200 0, 1.630 220 100, 1.390 311 46, 1.331 222 1",
    "LiF": "2.325 111 18, 2.013 200 100, 1.423 220 96",
    "Li2CO3": "2.921 20-2 68, 2.812 002 100, 2.486 020 28, 2.430 31-1 50, 1.865 311 33,"
    "1.547 20-4 50, 1.424 33-1 25",
    "LiOH": "4.334 001 35, 2.746 101 100, 1.774 200 62, 1.640 112 46, 1.490 211 74,"
    "1.255 220 26, 1.252 113 33",
    "LiOH.H2O": "2.971 11-1 83, 2.668 220 100, 2.432 021 34, 1.841 131 36, 1.745 33-1 60",
    "Li2O2": "2.564 101 49, 2.217 102 49, 1.861 103 32, 1.571 110 100, 1.565 104 27",
    "LiH": "2.358 111 33, 2.042 200 100, 1.444 220 71",
    "Li3N-alpha": "3.875 001 58, 3.159 100 46, 1.938 002 39, 1.824 110 100, 1.652 102 32",
    "Li3N-beta": "3.155 002 16, 3.076 100 12, 2.765 101 12, 1.776 110 100, 1.736 103 94",
    "Li2S": "3.297 111 74, 2.855 200 8, 2.019 220 100, 1.722 311 64, 1.427 400 19",
    "Li3P": "3.797 002 29, 3.700 100 21, 3.327 101 50, 2.136 110 96, 2.089 103 100",
    "LiCl": "2.967 111 52, 2.570 200 100, 1.817 220 94, 1.550 311 57, 1.484 222 37",
    "LiBr": "3.176 111 67, 2.751 200 96, 1.945 220 100, 1.659 311 83, 1.588 222 42",
    "LiI": "3.471 111 80, 3.006 200 92, 2.126 220 100, 1.813 311 98, 1.736 222 44",
    "Li3PO4-beta": "2.641 210 100, 2.620 020 57, 2.428 002 98, 2.320 211 67, 1.516 230 99",
    "Li3PO4-gamma": "3.982 210 50, 2.643 220 98, 2.623 400 60, 2.463 002 100, 1.530 040 51",
    "LiNO3": "2.777 104 84, 2.536 006 53, 2.129 113 100, 1.722 018 34, 1.371 119 43",
    "Li2C2": "3.611 011 58, 3.031 101 72, 1.987 112 100, 1.826 200 32, 1.629 211 26",
    "NaF": "2.675 111 1, 2.316 200 90, 1.638 220 100, 1.397 311 0, 1.337 222 45",
    "Na2O": "3.210 111 12, 2.780 200 14, 1.966 220 100, 1.676 311 15, 1.605 222 6",
    "Cu": "2.087 111 100, 1.808 200 61, 1.278 220 65",
    "Cu2O": "3.019 110 8, 2.465 111 94, 2.135 200 36, 1.743 211 8, 1.510 220 99",
    "ice-Ih": "3.894 100 36, 2.248 110 88, 2.068 103 100, 1.916 112 69, 1.522 203 57",
    "ice-Ic": "3.671 111 53, 2.248 220 100, 1.917 311 79, 1.589 400 28, 1.459 331 46",
    "graphite": "3.356 002 100, 2.134 100 9, 2.034 101 49, 1.801 102 12, 1.678 004 27",
    "Si": "3.136 111 100, 1.920 220 99, 1.637 311 64, 1.358 400 18",
    "Au": "2.354 111 100, 2.039 200 62, 1.442 220 69",
    "La2Zr2O7": "3.118 222 85, 2.700 400 22, 2.478 331 8, 1.909 440 100, 1.628 622 84",
    "LLZO-tetragonal": "2.664 422 98, 2.395 521 70, 2.326 215 62, 1.736 624 100",
    "LLZO-cubic": "2.900 420 47, 2.647 422 44, 2.368 521 49, 1.733 642 100",
    "LATP": "3.624 113 100, 3.005 024 29, 2.758 211 25, 2.688 116 39",
}
"""Identifier → d [Å], hkl, ring intensity over the strongest [%]: neutral atoms, no thermal
motion, from a computation independent of this package."""

ANGLES = [
    ("LiF", "111", "11-1", 70.53),
    ("LiF", "111", "200", 54.74),
    ("LiF", "111", "220", 35.26),
    ("Li", "110", "101", 60.0),
    ("Li", "110", "200", 45.0),
    ("Li2CO3", "110", "1-10", 113.52),
    ("Li2CO3", "31-1", "3-1-1", 58.50),
    ("Li2CO3", "31-1", "20-2", 50.96),
    ("Li2CO3", "002", "020", 90.0),
    ("Li2CO3", "11-2", "1-1-2", 63.78),
    ("Li2CO3", "11-2", "002", 142.07),
    ("Li2CO3", "11-1", "311", 73.05),
    ("ice-Ih", "102", "012", 40.05),
    ("LiOH.H2O", "220", "2-20", 79.95),
    ("LiOH.H2O", "220", "11-1", 72.79),
    ("Li3P", "110", "103", 60.73),
]


def _hkl(text):
    numbers, sign = [], 1
    for character in text:
        if character == "-":
            sign = -1
        else:
            numbers.append(sign * int(character))
            sign = 1
    return tuple(numbers)


def _angle(phase, one, other):
    g, h = (np.array(v) @ phase.reciprocal_vectors for v in (one, other))
    return np.degrees(np.arccos(g @ h / np.linalg.norm(g) / np.linalg.norm(h)))


@pytest.mark.parametrize("identifier", RINGS)
def test_ring_intensities(identifier):
    spots = reflections(load_phase(identifier), d_min_a=1.0)
    rings = families(spots)
    # A merged reflection is found by its own intensity.
    of = {tuple(hkl): i for hkl, i in zip(spots.hkl, spots.intensity, strict=True)}
    for d, hkl, relative in (row.split() for row in RINGS[identifier].split(",")):
        ring = np.flatnonzero(
            (np.abs(rings.d_a - float(d)) < 6e-4)
            & np.isclose(rings.intensity / rings.multiplicity, of[_hkl(hkl)], rtol=1e-3)
        )
        assert len(ring) == 1, hkl
        assert 100 * rings.relative[ring[0]] == pytest.approx(float(relative), abs=0.55)


@pytest.mark.parametrize(("identifier", "one", "other", "angle"), ANGLES)
def test_angles_between_planes(identifier, one, other, angle):
    assert _angle(load_phase(identifier), _hkl(one), _hkl(other)) == pytest.approx(angle, abs=6e-3)


def test_carbonate_and_garnet_spacings():
    for identifier, expected in {
        "Li2CO3": {"110": 4.1588, "20-2": 2.9209, "002": 2.8123, "11-2": 2.6271, "31-1": 2.4298},
        "LLZO-tetragonal": {"400": 3.2835, "004": 3.1658},
    }.items():
        phase = load_phase(identifier)
        for hkl, d in expected.items():
            g = np.array(_hkl(hkl)) @ phase.reciprocal_vectors
            assert 1 / np.linalg.norm(g) == pytest.approx(d, abs=6e-5)


def test_oxide_200_is_almost_extinct_for_electrons():
    rings = families(reflections(load_phase("Li2O"), d_min_a=1.0))
    assert rings.relative[np.argmin(np.abs(rings.d_a - 2.3057))] < 0.01


@pytest.mark.parametrize("identifier", ["Li2O", "Li2CO3", "ice-Ih", "LiOH", "Si", "LiNO3"])
def test_structure_factors_are_those_of_pymatgens_temcalculator(identifier):
    from pymatgen.analysis.diffraction.tem import TEMCalculator

    phase = load_phase(identifier)
    structure, calculator = phase.structure(), TEMCalculator(voltage=200)
    spots = reflections(phase, d_min_a=1.5)
    points = [tuple(map(int, hkl)) for hkl in spots.hkl]
    spacings = calculator.get_interplanar_spacings(structure, points)
    assert [spacings[p] for p in points] == pytest.approx(spots.d_a, rel=1e-6)
    intensity = calculator.cell_intensity(structure, calculator.bragg_angles(spacings))
    # Its scattering factors pass through X-ray ones, whose constant it keeps to five figures.
    theirs = np.array([intensity[p] for p in points])
    assert theirs == pytest.approx(spots.intensity, rel=1e-3, abs=1e-6 * theirs.max())


def test_angles_of_carbonate_are_those_of_pymatgens_temcalculator():
    """Releases before 2026.9.23 gave 44.89 for the first pair."""
    from pymatgen.analysis.diffraction.tem import TEMCalculator

    phase = load_phase("Li2CO3")
    structure = phase.structure()
    theirs = TEMCalculator.get_interplanar_angle(structure, (1, 1, -1), (3, 1, 1))
    assert theirs == pytest.approx(73.05, abs=5e-3)
    for one, other in product([(1, 1, -1), (0, 2, 1)], [(3, 1, 1), (2, 0, -2)]):
        theirs = TEMCalculator.get_interplanar_angle(structure, one, other)
        assert _angle(phase, one, other) == pytest.approx(theirs, abs=1e-6)


COINCIDENT = [
    ("Li2O", "ice-Ih", 0.0018),
    ("Li2O", "LiOH.H2O", 0.0021),
    ("LiF", "Li2S", 0.0028),
    ("Li", "Li2CO3", 0.0017),
    ("Cu", "Li3P", 0.0011),
    ("Cu2O", "Li3P", 0.0008),
]


@pytest.mark.parametrize(("first", "second", "difference"), COINCIDENT)
def test_closest_spacings_of_two_phases(first, second, difference):
    pairs = coincident_spacings(candidates([first, second]), tolerance=0.02)
    assert min(abs(abs(p.difference) - difference) for p in pairs) < 1e-4


def test_cold_lithium_and_cuprite_share_a_spacing():
    cold = load_phase("Li").at(90)
    (pair, *_) = coincident_spacings([cold, load_phase("Cu2O")], tolerance=0.01)
    assert (pair.first_hkl, pair.second_hkl) == ((1, 1, 0), (1, 1, 1))
    assert abs(pair.difference) < 5e-4


def test_fluoride_and_hydride_come_together_at_their_difference():
    assert ambiguous_pairs(candidates("LiF, LiH"), tolerance=0.015)


def test_cells_agree_with_an_open_collection_of_lithium_conductors(shared_data):
    """OBELiX (CC-BY 4.0) lists the cells of several solid electrolytes."""
    path = shared_data / "structures" / "obelix_all.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row.get("a")]
    cells = np.array([[float(row[name] or "nan") for name in ("a", "b", "c")] for row in rows])
    for identifier in ("Li3N-alpha", "Li3N-beta", "Li3P", "LLZO-tetragonal", "Li2ZrO3", "LAGP"):
        edges = load_phase(identifier).lattice[:3]
        assert np.nanmin(np.abs(cells / edges - 1).max(axis=1)) < 5e-4, identifier

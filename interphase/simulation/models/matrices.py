"""Amorphous matrices: composition, density, and atoms without order."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from interphase.errors import ParameterError

if TYPE_CHECKING:
    from ase import Atoms

AVOGADRO_G_A3 = 0.602214076
"""Formula units per Å³ are this times density [g/cm³] over molar mass [g/mol]."""

SHORTEST_A: Mapping[frozenset[str], float] = MappingProxyType(
    {
        frozenset(pair.split("-")): distance
        for distance, pairs in {
            0.95: "H-O",
            1.00: "H-N",
            1.05: "H-C",
            1.20: "C-O",
            1.30: "C-C C-N C-F",
            1.35: "H-P",
            1.45: "N-N",
            1.50: "H-H P-O P-F P-N",
            1.65: "Al-O Ge-O",
            1.70: "H-F",
            1.80: "C-P Li-O Li-F",
            1.85: "H-Li N-O",
            1.95: "Li-N",
            2.10: "O-O O-F F-F N-F",
            2.20: "C-Li",
            2.40: "Li-Li Li-P Al-Li Ge-Li",
            2.50: "P-P Al-P Ge-P",
            2.60: "Al-Al Al-Ge Ge-Ge",
        }.items()
        for pair in pairs.split()
    }
)
"""Shortest distance of two elements in a matrix [Å]: the bond where they bond, else a contact.

Rounded down from typical bond lengths and contacts of molecular carbonates and phosphates;
grade C.
"""

_SORTING_CELL_A = 6.0
_SWEEPS = 200
_SMALLEST_BOX = 4
"""Extent of a film over its longest distance, below which atoms would meet their own images."""
SMALLEST_FILM_A = _SMALLEST_BOX * max(SHORTEST_A.values())
"""Extent that is large enough for a film of any matrix [Å]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """An amorphous material."""

    identifier: str
    """Key in `MATRICES`."""
    composition: Mapping[str, float]
    """Element → atoms per formula unit."""
    density_g_per_cm3: float
    """Mass density [g/cm³]."""
    farther_a: Mapping[str, float] = field(default_factory=dict)
    """Pairs, such as ``O-O``, that stay farther apart than `SHORTEST_A` says [Å]."""
    source: str
    """Where composition and density come from."""
    grade: str
    """A read or recomputed, B remembered and consistent, C remembered within about 10 %."""

    @property
    def shortest_a(self) -> Mapping[frozenset[str], float]:
        """Pair of elements → shortest distance in this material [Å]."""
        own = {frozenset(pair.split("-")): distance for pair, distance in self.farther_a.items()}
        return {**SHORTEST_A, **own}


MATRICES: Mapping[str, Matrix] = MappingProxyType(
    {
        matrix.identifier: matrix
        for matrix in (
            Matrix(
                identifier="LEDC",
                composition={"C": 4, "H": 4, "O": 6, "Li": 2},
                density_g_per_cm3=1.6,
                source="(CH2OCO2Li)2, stands for the alkyl carbonates of an organic SEI; "
                "density remembered from molecular dynamics studies",
                grade="C",
            ),
            Matrix(
                identifier="LiPxOyFz",
                composition={"Li": 1, "P": 1, "O": 2, "F": 2},
                density_g_per_cm3=2.0,
                source="LiPO2F2, stands for the decomposition products of LiPF6; density guessed "
                "between the salt's 2.8 and the acid's 1.6",
                grade="C",
            ),
            Matrix(
                identifier="polymer",
                composition={"C": 40, "H": 80, "O": 20, "Li": 1, "P": 1, "F": 6},
                density_g_per_cm3=1.2,
                source="poly(ethylene oxide) with LiPF6, EO:Li = 20; amorphous PEO 1.12, the salt "
                "adds to it; remembered",
                grade="C",
            ),
            Matrix(
                identifier="electrolyte",
                composition={"C": 43.1, "H": 71.3, "O": 34.9, "Li": 1, "P": 1, "F": 6},
                density_g_per_cm3=1.3,
                source="1 M LiPF6 in EC:DEC 1:1 by volume, from the densities of the liquids; "
                "vitreous, not cracked",
                grade="C",
            ),
            Matrix(
                identifier="LAGP-reacted",
                composition={"Li": 2.5, "Al": 0.5, "Ge": 1.5, "P": 3, "O": 12},
                density_g_per_cm3=3.1,
                source="Li1.5Al0.5Ge1.5(PO4)3 with one more Li, made amorphous; a tenth below the "
                "crystal's density, guessed",
                grade="C",
            ),
            Matrix(
                identifier="carbon",
                composition={"C": 1},
                density_g_per_cm3=2.0,
                farther_a={"C-C": 1.4},
                source="evaporated carbon film, density remembered (1.8 to 2.1)",
                grade="C",
            ),
            Matrix(
                identifier="LiPON",
                composition={"Li": 2.9, "P": 1, "O": 3.3, "N": 0.46},
                density_g_per_cm3=2.3,
                source="sputtered film, density 2.1 to 2.4, remembered",
                grade="C",
            ),
            Matrix(
                identifier="vitreous-ice",
                composition={"H": 2, "O": 1},
                density_g_per_cm3=0.94,
                farther_a={"O-O": 2.65},
                source="low-density amorphous ice, Xu et al., J. Phys. Chem. B (2020)",
                grade="B",
            ),
        )
    }
)
"""The matrices this package knows."""


def atom_counts(
    composition: Mapping[str, float], *, density_g_per_cm3: float, volume_a3: float
) -> dict[str, int]:
    """Return how many atoms of each element fill a volume at a density.

    Parameters
    ----------
    composition
        Element → atoms per formula unit.
    density_g_per_cm3
        Mass density [g/cm³].
    volume_a3
        Volume [Å³].

    Returns
    -------
    dict
        Element → number of atoms.

    Examples
    --------
    >>> atom_counts({"H": 2, "O": 1}, density_g_per_cm3=0.94, volume_a3=1e4)
    {'H': 628, 'O': 314}
    """
    from ase.data import atomic_masses, atomic_numbers

    molar_mass = sum(atomic_masses[atomic_numbers[el]] * n for el, n in composition.items())
    units = AVOGADRO_G_A3 * density_g_per_cm3 / molar_mass * volume_a3
    return {element: round(units * n) for element, n in composition.items()}


def fill_matrix(
    matrix: str, size_a: tuple[float, float], thickness_a: float, *, rng: np.random.Generator
) -> "Atoms":
    """Return a film of a known matrix, periodic in all directions.

    Density and shortest distances are right, networks and molecules are not there, so the diffuse
    rings are only nearly those of the material: carbon shows its ring near 1.2 Å, broad, but not
    the one at 2.1 Å; the oxygen of ice shows one ring near 2.4 Å, where vitreous ice has two, at
    3.7 Å and 2.1 to 2.2 Å. Do not study diffuse rings with it.

    Parameters
    ----------
    matrix
        Key of `MATRICES`.
    size_a
        Extent (y, x) [Å].
    thickness_a
        Extent along the beam [Å].
    rng
        Source of randomness.

    Returns
    -------
    Atoms
        Positions are (x, y, z) [Å].

    Raises
    ------
    ParameterError
        The matrix is unknown, or the film too small.
    """
    if matrix not in MATRICES:
        raise ParameterError(f"matrix {matrix!r} is unknown: give one of {', '.join(MATRICES)}")
    material = MATRICES[matrix]
    return amorphous_film(
        size_a,
        thickness_a,
        composition=material.composition,
        density_g_per_cm3=material.density_g_per_cm3,
        rng=rng,
        shortest_a=material.shortest_a,
    )


def amorphous_film(
    size_a: tuple[float, float],
    thickness_a: float,
    *,
    composition: Mapping[str, float],
    density_g_per_cm3: float,
    rng: np.random.Generator,
    shortest_a: Mapping[frozenset[str], float] = SHORTEST_A,
) -> "Atoms":
    """Return a random film in which no two atoms are closer than their elements allow.

    Atoms start at random and overlapping pairs push each other apart until none is left. The
    film is periodic in all directions. It has the right density and shortest distances and no
    long-range order, but no molecules: do not use it to study bonding.

    Parameters
    ----------
    size_a
        Extent (y, x) [Å].
    thickness_a
        Extent along the beam [Å].
    composition
        Element → atoms per formula unit.
    density_g_per_cm3
        Mass density [g/cm³].
    rng
        Source of randomness.
    shortest_a
        Pair of elements → shortest distance [Å].

    Returns
    -------
    Atoms
        Positions are (x, y, z) [Å].

    Raises
    ------
    ParameterError
        An extent is too small, a distance is not known, or the density cannot be reached.
    """
    from ase import Atoms
    from ase.data import atomic_numbers

    from interphase.simulation.models.contacts import push_apart, sorted_into_cells

    box = np.array([size_a[1], size_a[0], thickness_a], dtype=float)
    counts = atom_counts(
        composition, density_g_per_cm3=density_g_per_cm3, volume_a3=float(box.prod())
    )
    table = _distance_table(list(counts), shortest_a)
    smallest = _SMALLEST_BOX * table.max()
    if box.min() < smallest:
        raise ParameterError(
            f"a film of {box.min():.3g} Å is too small for its shortest distances: "
            f"give at least {smallest:.3g} Å in every direction"
        )
    kinds = rng.permutation(np.repeat(np.arange(len(counts)), list(counts.values())))
    positions = rng.random((len(kinds), 3)) * box
    # Neighbours in space that are neighbours in memory are found faster.
    cells = np.ceil(box / _SORTING_CELL_A).astype(np.int32)
    positions = positions[sorted_into_cells(positions, cells, box / cells)[2]]
    if not push_apart(positions, kinds, table, box, _SWEEPS):
        raise ParameterError(
            f"{len(kinds)} atoms do not fit into {box.prod():.3g} Å³ at their shortest distances: "
            "give a lower density or shorter distances"
        )
    numbers = np.array([atomic_numbers[element] for element in counts])
    return Atoms(numbers=numbers[kinds], positions=positions, cell=box, pbc=True)


def _distance_table(elements: list[str], shortest_a: Mapping[frozenset[str], float]) -> np.ndarray:
    table = np.zeros((len(elements), len(elements)))
    for i, first in enumerate(elements):
        for j, second in enumerate(elements):
            pair = frozenset((first, second))
            if pair not in shortest_a:
                raise ParameterError(
                    f"the shortest distance of {first} and {second} is not known: "
                    "add the pair to `shortest_a`"
                )
            table[i, j] = shortest_a[pair]
    return table

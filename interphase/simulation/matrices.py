"""Amorphous matrices: composition, density, and atoms without order."""

from collections.abc import Mapping
from dataclasses import dataclass
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
            1.70: "H-F",
            1.80: "C-P Li-O Li-F",
            1.85: "H-Li N-O",
            1.95: "Li-N",
            2.10: "O-O O-F F-F N-F",
            2.20: "C-Li",
            2.40: "Li-Li Li-P",
            2.50: "P-P",
        }.items()
        for pair in pairs.split()
    }
)
"""Shortest distance of two elements in a matrix [Å]: the bond where they bond, else a contact.

Rounded down from typical bond lengths and contacts of molecular carbonates and phosphates;
grade C.
"""

_MARGIN_A = 0.45
_SORTING_CELL_A = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """An amorphous material."""

    identifier: str
    """Key in `MATRICES`."""
    composition: Mapping[str, float]
    """Element → atoms per formula unit."""
    density_g_per_cm3: float
    """Mass density [g/cm³]."""
    source: str
    """Where composition and density come from."""
    grade: str
    """A read or recomputed, B remembered and consistent, C remembered within about 10 %."""


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
                identifier="carbon",
                composition={"C": 1},
                density_g_per_cm3=2.0,
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

    box = np.array([size_a[1], size_a[0], thickness_a], dtype=float)
    counts = atom_counts(
        composition, density_g_per_cm3=density_g_per_cm3, volume_a3=float(box.prod())
    )
    table = _distance_table(list(counts), shortest_a)
    if box.min() < 4 * (table.max() + _MARGIN_A):
        raise ParameterError(
            f"a film of {box.min():.3g} Å is too small for its shortest distances: "
            f"give at least {4 * (table.max() + _MARGIN_A):.3g} Å in every direction"
        )
    kinds = rng.permutation(np.repeat(np.arange(len(counts)), list(counts.values())))
    start = rng.random((len(kinds), 3)) * box
    # Neighbours in space that are neighbours in memory are found twice as fast.
    start = start[np.lexsort((start // _SORTING_CELL_A).T)]
    positions = _push_apart(start, kinds, table, box)
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


def _push_apart(
    positions: np.ndarray, kinds: np.ndarray, table: np.ndarray, box: np.ndarray
) -> np.ndarray:
    """Move overlapping pairs apart until a fresh list of neighbours holds no overlap."""
    n = len(positions)
    overshoot = 1.1  # a pair pushed exactly to its distance would be pushed back by others
    for _ in range(40):
        all_i, all_j, all_shortest = _neighbours(positions, kinds, table, box)
        i, j, shortest = all_i, all_j, all_shortest
        overlap_in_fresh_list = False
        for _ in range(15):
            step = positions[i] - positions[j]
            step -= box * np.rint(step / box)
            squared = np.einsum("ij,ij->i", step, step)
            close = squared < shortest**2
            if not close.any():
                break
            overlap_in_fresh_list = True
            i, j, shortest = i[close], j[close], shortest[close]
            distance = np.sqrt(squared[close])
            push = step[close] * (0.5 * (overshoot * shortest / distance - 1))[:, None]
            for axis in range(3):
                positions[:, axis] += np.bincount(i, push[:, axis], n)
                positions[:, axis] -= np.bincount(j, push[:, axis], n)
            # Only pairs of an atom that has moved can overlap now.
            moved = np.zeros(n, dtype=bool)
            moved[i] = moved[j] = True
            again = moved[all_i] | moved[all_j]
            i, j, shortest = all_i[again], all_j[again], all_shortest[again]
        positions %= box
        if not overlap_in_fresh_list:
            return positions
    raise ParameterError(
        f"{n} atoms do not fit into {box.prod():.3g} Å³ at their shortest distances: "
        "give a lower density or shorter distances"
    )


def _neighbours(
    positions: np.ndarray, kinds: np.ndarray, table: np.ndarray, box: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pairs (i, j) near enough to overlap soon, and their shortest distances."""
    from scipy.spatial import cKDTree

    tree = cKDTree(
        positions % box, boxsize=box, balanced_tree=False, compact_nodes=False, leafsize=8
    )
    pairs = tree.query_pairs(table.max() + _MARGIN_A, output_type="ndarray")
    i, j = pairs[:, 0], pairs[:, 1]
    step = positions[i] - positions[j]
    step -= box * np.rint(step / box)
    shortest = table[kinds[i], kinds[j]]
    near = np.einsum("ij,ij->i", step, step) < (shortest + _MARGIN_A) ** 2
    return i[near], j[near], shortest[near]

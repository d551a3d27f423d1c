"""Amorphous matrices: composition, density, and atoms without order."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from interphase.errors import ParameterError
from interphase.simulation.checks import check_not_negative, check_positive
from interphase.simulation.models.checks import check_atoms, check_name

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
_DENSEST = np.sqrt(2)
"""Balls of diameter 1 per unit of volume where they are packed most closely."""
_SMALLEST_BOX = 4
"""Extent of a film over its longest distance, below which atoms would meet their own images."""
SMALLEST_FILM_A = _SMALLEST_BOX * max(SHORTEST_A.values())
"""Extent that is large enough for a film of any matrix [Å]."""


_REACH = 1.25
"""Pairs within this multiple of the second shell are drawn to their distances; 1.23 is straight."""
_LONGEST_BOND = 1.8
"""Atoms within this multiple of a bond may be bonded, and are then drawn together."""
_STIFFNESS = (0.2, 0.13, 0.05)
"""What part of its deviation a bond, an angle and a contact corrects in one sweep."""
_ROUNDS, _SWEEPS_PER_ROUND, _LAST_SWEEPS = 24, 8, 30
_SHAKE = 0.2
"""Standard deviation of the first shaking over the bond; it dies out evenly."""
_WATER_A, _WATER_DEG = 0.97, 106.6
"""Bond and angle of water in ice; Kuhs & Lehmann (1986), neutrons, remembered; grade C."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Bonds that give an amorphous material its short-range order."""

    element: str
    """The element that is bonded to itself; hydrogen lies along the bonds."""
    neighbours: int
    """Bonds of an atom, as far from each other as they can be."""
    bond_a: float
    """Length of a bond [Å]."""
    source: str
    """Where neighbours and bond come from."""
    grade: str
    """As in `Matrix`."""

    @property
    def second_a(self) -> float:
        """Distance of two neighbours of an atom, flat for three, tetrahedral for four [Å]."""
        n = self.neighbours
        return self.bond_a * float(np.sqrt(2 * n / (n - 1)))


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
    network: Network | None = None
    """Its bonds; ``None`` for atoms at random."""
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
                network=Network(
                    element="C",
                    neighbours=3,
                    bond_a=1.42,
                    source="graphite; evaporated films are mostly threefold",
                    grade="B",
                ),
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
                farther_a={"O-O": 2.4},
                network=Network(
                    element="O",
                    neighbours=4,
                    bond_a=2.75,
                    source="Mariedahl et al., J. Phys. Chem. B 122, 7616 (2018), first O-O shell "
                    "by X-rays; fully bonded and tetrahedral: Bowron et al., J. Chem. Phys. 125, "
                    "194502 (2006)",
                    grade="B",
                ),
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

    Raises
    ------
    ParameterError
        The composition is empty, negative or of an unknown element; the density or the volume
        is not positive.

    Examples
    --------
    >>> atom_counts({"H": 2, "O": 1}, density_g_per_cm3=0.94, volume_a3=1e4)
    {'H': 628, 'O': 314}
    """
    from ase.data import atomic_masses, atomic_numbers

    if not any(composition.values()):
        raise ParameterError(
            f"composition is {dict(composition)!r}: expected atoms per formula unit, such as "
            "{'H': 2, 'O': 1}"
        )
    for element, number in composition.items():
        if element not in atomic_numbers or element == "X":
            raise ParameterError(
                f"composition has {element!r}, which is no element: give its symbol"
            )
        check_not_negative(**{f"composition of {element}": number})
    check_positive(density_g_per_cm3=density_g_per_cm3, volume_a3=volume_a3)
    molar_mass = sum(atomic_masses[atomic_numbers[el]] * n for el, n in composition.items())
    units = AVOGADRO_G_A3 * density_g_per_cm3 / molar_mass * volume_a3
    return {element: round(units * n) for element, n in composition.items()}


def fill_matrix(
    matrix: str, size_a: tuple[float, float], thickness_a: float, *, rng: np.random.Generator
) -> "Atoms":
    """Return a film of a known matrix, periodic in all directions.

    Density and shortest distances are right. Where the material has a network its atoms are
    bonded too, see Notes; the others have no molecules, so that their diffuse rings are only
    nearly those of the material.

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

    Notes
    -----
    A network starts as atoms at random. Again and again it is shaken, less each time; the closest
    atoms are bonded, up to `Network.neighbours` each, without rings of three or four; and all
    move until bonds, neighbours of a neighbour, and other atoms have their distances. Water gives
    its hydrogen along two of its bonds, one to a bond.

    Carbon: 2.9 neighbours at 1.45 Å (films: about 3 at 1.42 to 1.46 Å), second shell at 2.43 Å
    (2.45 to 2.55 Å), maxima of the structure factor at 2.2 and 1.12 Å (rings near 2.1 and 1.2 Å).
    The first is weaker than in films, and the weak one near 3.5 Å, of stacked layers, is missing.
    Ice: 3.9 neighbours at 2.72 Å (2.75 Å), second shell at 4.4 Å (4.5 Å), maxima at 3.45 and
    2.04 Å (rings near 3.7 and 2.1 to 2.2 Å). So shells lie within 4 % and rings within 7 % of what
    is published: do not calibrate with them. One water in twenty or so is stretched where two
    hydrogens would meet.
    """
    check_name("matrix", matrix, MATRICES)
    material = MATRICES[matrix]
    if material.network is not None:
        return _network_film(material, material.network, size_a, thickness_a, rng)
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
        An extent is too small, a composition means nothing, a distance is not known, or the
        density cannot be reached; at once where not even the closest packing reaches it.
    """
    box = _box(size_a, thickness_a)
    counts = atom_counts(
        composition, density_g_per_cm3=density_g_per_cm3, volume_a3=float(box.prod())
    )
    check_atoms(sum(counts.values()))
    table = _distance_table(list(counts), shortest_a)
    kinds = rng.permutation(np.repeat(np.arange(len(counts)), list(counts.values())))
    return _atoms(list(counts), kinds, _packed(kinds, table, box, rng), box)


def _box(size_a: tuple[float, float], thickness_a: float) -> np.ndarray:
    check_positive(size_a=size_a, thickness_a=thickness_a)
    return np.array([size_a[1], size_a[0], thickness_a], dtype=float)


def _packed(
    kinds: np.ndarray, table: np.ndarray, box: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return places at random in a periodic box, no two closer than `table` says."""
    from interphase.simulation.models.contacts import sorted_into_cells

    smallest = _SMALLEST_BOX * table.max()
    if box.min() < smallest:
        raise ParameterError(
            f"a film of {box.min():.3g} Å is too small for its shortest distances: "
            f"give at least {smallest:.3g} Å in every direction"
        )
    # The atoms of one element alone are balls as wide as their shortest distance.
    balls = np.bincount(kinds, minlength=len(table)) * table.diagonal() ** 3
    crowding = float(balls.max() / (_DENSEST * box.prod()))
    if crowding > 1:
        raise ParameterError(
            f"{len(kinds)} atoms do not fit into {box.prod():.3g} Å³ at their shortest distances, "
            f"however they are packed: give a lower density, at most {1 / crowding:.2g} of this one"
        )
    positions = rng.random((len(kinds), 3)) * box
    # Neighbours in space that are neighbours in memory are found faster.
    cells = np.ceil(box / _SORTING_CELL_A).astype(np.int32)
    positions = np.asarray(positions[sorted_into_cells(positions, cells, box / cells)[2]])
    _push_apart(positions, kinds, table, box)
    return positions


def _push_apart(
    positions: np.ndarray, kinds: np.ndarray, table: np.ndarray, box: np.ndarray
) -> None:
    """Move atoms apart, in place, until no two are closer than `table` says."""
    from interphase.simulation.models.contacts import push_apart

    if not push_apart(positions, kinds, table, box, _SWEEPS):
        raise ParameterError(
            f"{len(kinds)} atoms do not fit into {box.prod():.3g} Å³ at their shortest distances: "
            "give a lower density or shorter distances"
        )


def _atoms(
    elements: list[str], kinds: np.ndarray, positions: np.ndarray, box: np.ndarray
) -> "Atoms":
    from ase import Atoms
    from ase.data import atomic_numbers

    numbers = np.array([atomic_numbers[element] for element in elements])
    return Atoms(numbers=numbers[kinds], positions=positions, cell=box, pbc=True)


def _network_film(
    material: Matrix,
    network: Network,
    size_a: tuple[float, float],
    thickness_a: float,
    rng: np.random.Generator,
) -> "Atoms":
    """Return a film of an element bonded to itself, and of water if it has hydrogen."""
    box = _box(size_a, thickness_a)
    count = atom_counts(
        material.composition,
        density_g_per_cm3=material.density_g_per_cm3,
        volume_a3=float(box.prod()),
    )[network.element]
    check_atoms(count)
    elements = [network.element]
    table = _distance_table(elements, material.shortest_a)
    kinds = np.zeros(count, dtype=int)
    positions, bonded = _bonded(_packed(kinds, table, box, rng), network, box, rng)
    if "H" in material.composition:
        hydrogen = _water_hydrogen(positions, bonded, box, rng)
        positions = np.concatenate([positions[:, None], hydrogen], axis=1).reshape(-1, 3)
        elements = [network.element, "H"]
        table = _distance_table(elements, material.shortest_a)
        kinds = np.tile([0, 1, 1], count)
    positions %= box
    _push_apart(positions, kinds, table, box)
    return _atoms(elements, kinds, positions, box)


def _bonded(
    positions: np.ndarray, network: Network, box: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return atoms relaxed into a network, and the pairs that are bonded; shape (K, 2)."""
    from interphase.simulation.models.contacts import (
        BOND,
        bond_network,
        pairs_within,
        relax_network,
    )

    bond, second = network.bond_a, network.second_a
    distance, stiffness = np.array([bond, second, second]), np.array(_STIFFNESS)
    for shake in np.linspace(_SHAKE * bond, 0, _ROUNDS):
        positions = (positions + shake * rng.standard_normal(positions.shape)) % box
        pairs = pairs_within(positions, box, _REACH * second)
        relation = bond_network(positions, box, pairs, network.neighbours, _LONGEST_BOND * bond)
        sweeps = _SWEEPS_PER_ROUND if shake else _LAST_SWEEPS
        relax_network(positions, box, pairs, relation, distance, stiffness, sweeps)
    return positions, pairs[relation == BOND]


def _water_hydrogen(
    oxygen: np.ndarray, bonded: np.ndarray, box: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return two hydrogens per oxygen, along two of its bonds where it has them; (N, 2, 3)."""
    from interphase.simulation.models.contacts import donors

    def units(vectors: np.ndarray) -> np.ndarray:
        normed: np.ndarray = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
        return normed

    def towards(there: np.ndarray, here: np.ndarray) -> np.ndarray:
        step = there - here
        return units(step - box * np.rint(step / box))

    taken = np.zeros_like(oxygen)
    along = towards(oxygen[bonded[:, 1]], oxygen[bonded[:, 0]])
    np.add.at(taken, bonded[:, 0], along)
    np.subtract.at(taken, bonded[:, 1], along)
    given = donors(bonded, len(oxygen))
    # A hydrogen without a bond points away from the others.
    arms = units(0.3 * units(rng.standard_normal((*given.shape, 3))) - taken[:, None])
    gives = given >= 0
    arms[gives] = towards(oxygen[given[gives]], oxygen[np.nonzero(gives)[0]])
    middle, across = units(arms[:, 0] + arms[:, 1]), units(arms[:, 0] - arms[:, 1])
    half = np.deg2rad(_WATER_DEG / 2)
    pair = np.stack([np.cos(half) * middle + s * np.sin(half) * across for s in (1, -1)], axis=1)
    hydrogen: np.ndarray = oxygen[:, None] + _WATER_A * pair
    return hydrogen


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

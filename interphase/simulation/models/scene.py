"""A scene: the atoms in the beam, and what was put where."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from interphase.errors import ParameterError
from interphase.simulation.checks import check_finite, check_positive
from interphase.simulation.models.bodies import Body, assemble, crystallite_table
from interphase.simulation.models.checks import FINITE, LENGTH, check_fields, check_seed
from interphase.simulation.models.crystallites import (
    CrystalliteTruth,
    Orientation,
    crystallite,
    embed,
)
from interphase.simulation.models.matrices import fill_matrix

if TYPE_CHECKING:
    from ase import Atoms

    from interphase.phases import Phase


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """Atoms in a box, periodic across the beam, and the truth about them."""

    atoms: "Atoms"
    """Positions are (x, y, z) [Å]; the beam runs along z."""
    size_a: tuple[float, float]
    """Extent (y, x) [Å]."""
    thickness_a: float
    """Extent along the beam [Å]."""
    matrix: str
    """Identifier of the matrix, or ``vacuum``."""
    truths: tuple[CrystalliteTruth, ...] = ()
    """The crystallites."""
    seed: int | None = None
    """Seed the scene was drawn with."""
    bodies: tuple[Body, ...] = ()
    """What the atoms were made of, in order of priority; empty where atoms were given."""

    def __post_init__(self) -> None:
        check_fields(self, size_a=LENGTH, thickness_a=LENGTH)
        lost = np.count_nonzero(~np.isfinite(self.atoms.positions).all(axis=1))
        if lost:
            raise ParameterError(
                f"{lost} of {len(self.atoms)} atoms have no finite position: give each (x, y, z) Å"
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grain:
    """A crystallite that is to be put into a film."""

    phase: "Phase"
    """The crystal."""
    diameter_a: float
    """Diameter [Å]."""
    centre_a: tuple[float, float, float]
    """Centre (y, x, z) from the first pixel and the upper surface [Å]."""
    orientation: Orientation
    """How it lies."""

    def __post_init__(self) -> None:
        check_fields(self, diameter_a=LENGTH, centre_a=FINITE)


def scene_from_bodies(
    bodies: Sequence[Body],
    *,
    size_a: tuple[float, float],
    thickness_a: float,
    seed: int,
    matrix: str = "vacuum",
) -> Scene:
    """Return a scene whose atoms fill bodies.

    Parameters
    ----------
    bodies
        In order of priority.
    size_a
        Extent (y, x) [Å].
    thickness_a
        Extent along the beam [Å].
    seed
        Seed of the atoms.
    matrix
        The material that surrounds the crystallites, for the record.

    Raises
    ------
    ParameterError
        The seed is no integer >= 0, an extent is not positive, or there would be too many atoms.
    """
    check_seed(seed)
    atoms = assemble(
        bodies, size_a=size_a, thickness_a=thickness_a, rng=np.random.default_rng(seed)
    )
    return Scene(
        atoms=atoms,
        size_a=size_a,
        thickness_a=thickness_a,
        matrix=matrix,
        truths=crystallite_table(bodies, size_a=size_a, thickness_a=thickness_a),
        seed=seed,
        bodies=tuple(bodies),
    )


def film_scene(
    size_a: tuple[float, float],
    thickness_a: float,
    grains: Sequence[Grain] = (),
    *,
    seed: int,
    matrix: str = "LEDC",
    film: "Atoms | None" = None,
) -> Scene:
    """Return an amorphous film with crystallites in it.

    Parameters
    ----------
    size_a
        Extent (y, x) [Å].
    thickness_a
        Extent along the beam [Å].
    grains
        The crystallites.
    seed
        Seed of the film.
    matrix
        Key of `MATRICES`.
    film
        Atoms of the matrix in a box of this size, in place of new ones.

    Raises
    ------
    ParameterError
        The matrix is unknown, a crystallite does not fit, or the seed is no integer >= 0.
    """
    check_seed(seed)
    if film is None:
        film = fill_matrix(matrix, size_a, thickness_a, rng=np.random.default_rng(seed))
    atoms = embed(
        film,
        [crystallite(g.phase, g.diameter_a, orientation=g.orientation) for g in grains],
        [g.centre_a for g in grains],
    )
    return Scene(
        atoms=atoms,
        size_a=size_a,
        thickness_a=thickness_a,
        matrix=matrix,
        truths=tuple(_truth(grain) for grain in grains),
        seed=seed,
    )


def _truth(grain: Grain) -> CrystalliteTruth:
    rows = [tuple(row) for row in grain.orientation.matrix.tolist()]
    y, x, z = (float(value) for value in grain.centre_a)
    return CrystalliteTruth(
        phase=grain.phase.identifier,
        centre_a=(y, x, z),
        diameter_a=float(grain.diameter_a),
        orientation=tuple(rows),
        zone_axis=grain.orientation.zone_axis,
        tilt_deg=grain.orientation.tilt_deg,
    )


def draw_centres(
    size_a: tuple[float, float],
    thickness_a: float,
    diameters_a: Sequence[float],
    *,
    gap_a: float,
    in_projection: bool = True,
    rng: np.random.Generator,
) -> list[tuple[float, float, float]]:
    """Return random centres at which crystallites fit and stay apart.

    Parameters
    ----------
    size_a
        Extent (y, x) of the film [Å].
    thickness_a
        Extent along the beam [Å].
    diameters_a
        Diameters of the crystallites [Å].
    gap_a
        Shortest distance between their edges [Å].
    in_projection
        Whether that is the distance along the beam's view; otherwise they may cover each other.
    rng
        Source of randomness.

    Returns
    -------
    list
        Centre (y, x, z) of each [Å].

    Raises
    ------
    ParameterError
        A crystallite does not fit, no places were found for all of them, or a length means
        nothing.
    """
    check_positive(size_a=size_a, thickness_a=thickness_a, diameters_a=diameters_a)
    check_finite(gap_a=gap_a)
    box = np.array([*size_a, thickness_a], dtype=float)
    axes = 2 if in_projection else 3
    margin = 1.0
    widest = max(diameters_a, default=0.0) + 2 * margin
    if widest > box.min():
        raise ParameterError(
            f"a crystallite of {max(diameters_a)} Å does not fit into a film of "
            f"{np.round(box, 1).tolist()} Å: give at least {widest:.1f} Å in every direction"
        )
    for _ in range(2000):
        centres: list[np.ndarray] = []
        for diameter in diameters_a:
            reach = diameter / 2 + margin
            centre = rng.uniform(reach, box - reach)
            apart = all(
                np.linalg.norm((centre - other)[:axes]) >= (diameter + diameters_a[i]) / 2 + gap_a
                for i, other in enumerate(centres)
            )
            if not apart:
                break
            centres.append(centre)
        if len(centres) == len(diameters_a):
            return [(float(y), float(x), float(z)) for y, x, z in centres]
    raise ParameterError(
        f"no places were found for {len(diameters_a)} crystallites {gap_a} Å apart in "
        f"{size_a[0]} × {size_a[1]} Å: give a larger field or fewer crystallites"
    )

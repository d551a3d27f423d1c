"""Crystallites: cut from a lattice, turned, and embedded in a matrix."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from interphase.errors import ParameterError, PhaseError

if TYPE_CHECKING:
    from ase import Atoms

    from interphase.phases import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Orientation:
    """How a crystal lies in the microscope, x along columns, y along rows, z along the beam."""

    matrix: np.ndarray
    """Rotation from the crystal's Cartesian axes to (x, y, z), shape (3, 3)."""
    zone_axis: tuple[int, int, int] | None = None
    """The lattice direction [uvw] near the beam, where one was asked for."""
    tilt_deg: float | None = None
    """Angle between the beam and `zone_axis` [degrees]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CrystalliteTruth:
    """What was put where."""

    phase: str
    """Identifier of the phase."""
    centre_a: tuple[float, float, float]
    """Centre (y, x, z) from the first pixel and the upper surface [Å]."""
    diameter_a: float
    """Diameter [Å]."""
    orientation: tuple[tuple[float, float, float], ...]
    """Rotation from the crystal's Cartesian axes to (x, y, z)."""
    zone_axis: tuple[int, int, int] | None
    """The lattice direction [uvw] near the beam, where one was asked for."""
    tilt_deg: float | None
    """Angle between the beam and `zone_axis` [degrees]."""


def random_orientation(rng: np.random.Generator) -> Orientation:
    """Return an orientation drawn uniformly from all rotations.

    >>> matrix = random_orientation(np.random.default_rng(0)).matrix
    >>> bool(np.allclose(matrix @ matrix.T, np.eye(3)))
    True
    """
    from scipy.spatial.transform import Rotation

    return Orientation(matrix=Rotation.random(rng=rng).as_matrix())


def zone_axis_orientation(
    phase: "Phase",
    uvw: tuple[int, int, int],
    *,
    in_plane_deg: float = 0.0,
    tilt_deg: float = 0.0,
    tilt_azimuth_deg: float = 0.0,
) -> Orientation:
    """Return the orientation with a lattice direction along the beam, then turned and tilted.

    Parameters
    ----------
    phase
        The crystal; its `lattice_vectors` are rows [Å].
    uvw
        Lattice direction.
    in_plane_deg
        Turn about the beam [degrees].
    tilt_deg
        Angle between `uvw` and the beam afterwards [degrees].
    tilt_azimuth_deg
        Azimuth, from x towards y, of the axis about which the crystal is tilted [degrees].

    Raises
    ------
    ParameterError
        `uvw` is (0, 0, 0).
    """
    from scipy.spatial.transform import Rotation

    if not any(uvw):
        raise ParameterError("zone axis [0, 0, 0] is no direction: give three integers, not all 0")
    vectors = np.asarray(phase.lattice_vectors, dtype=float)
    along = np.asarray(uvw) @ vectors
    along /= np.linalg.norm(along)
    # Any second direction fixes the azimuth; the lattice vector most across is the safest.
    across = vectors[np.argmin(np.abs(vectors @ along) / np.linalg.norm(vectors, axis=1))]
    x = across - (across @ along) * along
    x /= np.linalg.norm(x)
    upright = np.stack([x, np.cross(along, x), along])
    azimuth = np.deg2rad(tilt_azimuth_deg)
    axis = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    turn = Rotation.from_rotvec([0.0, 0.0, np.deg2rad(in_plane_deg)])
    tilt = Rotation.from_rotvec(np.deg2rad(tilt_deg) * axis)
    return Orientation(
        matrix=(tilt * turn).as_matrix() @ upright, zone_axis=uvw, tilt_deg=abs(tilt_deg)
    )


def near_zone_axis(
    phase: "Phase", uvw: tuple[int, int, int], tilt_deg: float, rng: np.random.Generator
) -> Orientation:
    """Return an orientation `tilt_deg` from a zone axis, its azimuths drawn at random.

    Parameters
    ----------
    phase
        The crystal.
    uvw
        Lattice direction.
    tilt_deg
        Angle between `uvw` and the beam [degrees].
    rng
        Source of randomness.
    """
    in_plane, azimuth = rng.uniform(0, 360, size=2)
    return zone_axis_orientation(
        phase, uvw, in_plane_deg=in_plane, tilt_deg=tilt_deg, tilt_azimuth_deg=azimuth
    )


def strong_zone_axes(
    phase: "Phase", *, d_min_a: float = 1.2, relative_min: float = 0.1, largest_index: int = 2
) -> list[tuple[int, int, int]]:
    """Return low-index zone axes that show two strong reflections or more, strongest first.

    Parameters
    ----------
    phase
        The crystal.
    d_min_a
        Shortest spacing that counts [Å].
    relative_min
        Weakest reflection that counts, as a share of the phase's strongest.
    largest_index
        Largest absolute index of [uvw].

    Returns
    -------
    list
        One of each pair [uvw], [-u-v-w], down to a third of the strongest axis's sum of
        intensities.
    """
    from interphase.phases import reflections

    strong = reflections(phase, d_min_a=d_min_a, relative_min=relative_min)
    span = range(-largest_index, largest_index + 1)
    sums: dict[tuple[int, int, int], float] = {}
    for u, v, w in product(span, repeat=3):
        uvw = (u, v, w)
        if uvw <= (0, 0, 0) or np.gcd.reduce(uvw) != 1:
            continue
        in_zone = strong.hkl @ uvw == 0
        if in_zone.any() and np.linalg.matrix_rank(strong.hkl[in_zone]) == 2:
            # Rounded, so that equivalent axes stay in one order on every machine.
            sums[uvw] = round(float(strong.relative[in_zone].sum()), 6)
    if not sums:
        raise PhaseError(
            f"{phase.identifier} has no zone axis up to index {largest_index} with two strong "
            f"reflections above {d_min_a} Å: give a smaller d_min_a or relative_min"
        )
    floor = max(sums.values()) / 3
    return sorted((uvw for uvw in sums if sums[uvw] >= floor), key=lambda uvw: -sums[uvw])


def crystallite(phase: "Phase", diameter_a: float, *, orientation: Orientation) -> "Atoms":
    """Return a sphere cut from a lattice, centred on the origin.

    Parameters
    ----------
    phase
        The crystal.
    diameter_a
        Diameter [Å].
    orientation
        How it lies.

    Returns
    -------
    Atoms
        Positions are (x, y, z) [Å].

    Raises
    ------
    ParameterError
        The diameter is not positive or holds no atom.
    PhaseError
        The phase has sites that are filled only in part.
    """
    from ase import Atoms
    from ase.data import atomic_numbers

    if (np.asarray(phase.occupancies) < 1).any():
        raise PhaseError(
            f"{phase.identifier} has sites that are filled only in part, which a crystallite "
            "cannot hold yet: give an ordered cell"
        )
    if not diameter_a > 0:
        raise ParameterError(f"diameter_a is {diameter_a!r}: expected a length > 0 Å")
    vectors = np.asarray(phase.lattice_vectors, dtype=float)
    basis = np.asarray(phase.fractional, dtype=float)
    radius = diameter_a / 2
    # |a*| bounds how many cells a sphere spans along a.
    reach = np.ceil(radius * np.linalg.norm(np.linalg.inv(vectors), axis=0)).astype(int) + 1
    axes = [np.arange(-n, n + 1) for n in reach]
    cells = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    positions = ((cells + basis - basis.mean(axis=0)) @ vectors).reshape(-1, 3)
    numbers = np.tile([atomic_numbers[element] for element in phase.species], len(cells))
    inside = np.einsum("ij,ij->i", positions, positions) <= radius**2
    if not inside.any():
        raise ParameterError(f"a crystallite of {diameter_a} Å holds no atom: give a larger one")
    return Atoms(numbers=numbers[inside], positions=positions[inside] @ orientation.matrix.T)


def embed(
    film: "Atoms",
    crystallites: Sequence["Atoms"],
    centres_a: Sequence[tuple[float, float, float]],
    *,
    clearance_a: float = 2.0,
) -> "Atoms":
    """Return a film with crystallites in place of the matrix atoms they overlap.

    Parameters
    ----------
    film
        The matrix; periodic in x and y.
    crystallites
        Atoms centred on the origin.
    centres_a
        Centre (y, x, z) of each [Å].
    clearance_a
        Matrix atoms nearer than this to an atom of a crystallite are removed [Å].

    Raises
    ------
    ParameterError
        The numbers of crystallites and centres differ, a crystallite leaves the film, or two
        of them overlap.
    """
    from ase import Atoms
    from scipy.spatial import cKDTree

    if len(crystallites) != len(centres_a):
        raise ParameterError(
            f"{len(crystallites)} crystallites and {len(centres_a)} centres: give one centre each"
        )
    box = film.cell.lengths()
    matrix = film.positions
    keep = np.ones(len(film), dtype=bool)
    placed = Atoms(cell=film.cell, pbc=film.pbc)
    for grain, (y, x, z) in zip(crystallites, centres_a, strict=True):
        new = Atoms(numbers=grain.numbers, positions=grain.positions + np.array([x, y, z]))
        low, high = new.positions.min(axis=0), new.positions.max(axis=0)
        if (low < 0).any() or (high > box).any():
            raise ParameterError(
                f"the crystallite at {(y, x, z)} Å spans {np.round(high - low, 1).tolist()} Å "
                f"(x, y, z) and leaves the film of {np.round(box, 1).tolist()} Å: "
                "move it or give a larger film"
            )
        if len(placed):
            gap = cKDTree(placed.positions).query(new.positions)[0].min()
            if gap < clearance_a:
                raise ParameterError(
                    f"the crystallite at {(y, x, z)} Å comes within {gap:.2f} Å of another: "
                    f"keep them {clearance_a} Å apart"
                )
        near = np.flatnonzero(
            ((matrix > low - clearance_a) & (matrix < high + clearance_a)).all(axis=1)
        )
        radius = np.linalg.norm(grain.positions, axis=1).max()
        inside = np.linalg.norm(matrix[near] - (x, y, z), axis=1) < radius
        distance = cKDTree(new.positions).query(matrix[near], distance_upper_bound=clearance_a)[0]
        keep[near[inside | (distance < clearance_a)]] = False
        placed += new
    kept: Atoms = film[keep]
    kept += placed
    return kept

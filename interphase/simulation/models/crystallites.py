"""Crystallites: cut from a lattice, turned, and embedded in a matrix."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from interphase.errors import ParameterError, PhaseError
from interphase.simulation.checks import check_finite
from interphase.simulation.models.shapes import Shape, Sphere

if TYPE_CHECKING:
    from ase import Atoms

    from interphase.phases import Phase

_LARGEST_SHIFT = 2 * np.sqrt(6) / 6
"""How far stacking faults move a plane, over the cell's edge."""
_SPLIT_SITE_A = 1.9
"""Sites filled in part and nearer than this are never filled at once [Å]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Orientation:
    """How a crystal lies in the microscope, x along columns, y along rows, z along the beam."""

    matrix: np.ndarray
    """Rotation from the crystal's Cartesian axes to (x, y, z), shape (3, 3)."""
    zone_axis: tuple[int, int, int] | None = None
    """The lattice direction [uvw] near the beam, where one was asked for."""
    tilt_deg: float | None = None
    """Angle between the beam and `zone_axis` [degrees]."""

    def __post_init__(self) -> None:
        matrix = np.asarray(self.matrix)
        square = matrix.shape == (3, 3)
        if not (square and np.allclose(matrix @ matrix.T, np.eye(3)) and np.linalg.det(matrix) > 0):
            raise ParameterError(
                f"matrix is {self.matrix!r}: expected a rotation, three orthonormal columns with "
                "determinant +1, such as np.eye(3)"
            )


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
    shape: str = "sphere"
    """What it was cut to; `diameter_a` is that of the sphere of equal volume."""
    volume_a3: float | None = None
    """Volume of what lies in the field [Å³]; ``None`` where it was not measured."""
    strain: tuple[tuple[float, float, float], ...] | None = None
    """Its strain in (x, y, z); ``None`` for none."""
    region: str = ""
    """What it belongs to: the name of a layer, ``electrode`` or ``outside``."""


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
        `uvw` is (0, 0, 0), or an angle is not finite.
    """
    from scipy.spatial.transform import Rotation

    check_finite(
        uvw=uvw, in_plane_deg=in_plane_deg, tilt_deg=tilt_deg, tilt_azimuth_deg=tilt_azimuth_deg
    )
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


def textured_orientation(
    phase: "Phase",
    hkl: tuple[int, int, int],
    direction: np.ndarray,
    spread_deg: float,
    rng: np.random.Generator,
) -> Orientation:
    """Return an orientation whose planes hkl face a direction, anyhow turned about it.

    Parameters
    ----------
    phase
        The crystal.
    hkl
        The planes.
    direction
        Where their normal points (x, y, z), shape (3,).
    spread_deg
        Standard deviation of the normal's deviation about each of two axes [degrees].
    rng
        Source of randomness.

    Raises
    ------
    ParameterError
        `hkl` is (0, 0, 0), or the direction is none.
    """
    from scipy.spatial.transform import Rotation

    normal = np.asarray(hkl) @ phase.reciprocal_vectors
    aim = np.asarray(direction, dtype=float)
    if not np.any(normal) or not np.linalg.norm(aim) > 0:
        raise ParameterError(
            f"planes {tuple(hkl)} cannot face {aim.tolist()}: give indices and a direction that "
            "are not all 0"
        )
    aim = aim / np.linalg.norm(aim)
    upright, _ = Rotation.align_vectors(aim[None], (normal / np.linalg.norm(normal))[None])
    about = Rotation.from_rotvec(aim * rng.uniform(0, 2 * np.pi))
    step = rng.normal(0, np.deg2rad(spread_deg), 3)
    incline = Rotation.from_rotvec(step - (step @ aim) * aim)
    return Orientation(matrix=(incline * about * upright).as_matrix())


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
    ball = Sphere(centre_a=(0.0, 0.0, 0.0), diameter_a=diameter_a)
    grain = fill_crystal(
        phase, ball, orientation=orientation, low_a=ball.bounds[0], high_a=ball.bounds[1]
    )
    if not len(grain):
        raise ParameterError(f"a crystallite of {diameter_a} Å holds no atom: give a larger one")
    return grain


def fill_crystal(
    phase: "Phase",
    shape: Shape,
    *,
    orientation: Orientation,
    low_a: np.ndarray,
    high_a: np.ndarray,
    origin_a: np.ndarray | None = None,
    strain: np.ndarray | None = None,
    stacking_faults: float = 0.0,
    rng: np.random.Generator | None = None,
) -> "Atoms":
    """Return the atoms of a crystal within a shape.

    Parameters
    ----------
    phase
        The crystal.
    shape
        What is filled.
    orientation
        How the crystal lies.
    low_a, high_a
        Lowest and highest (x, y, z) that are wanted [Å].
    origin_a
        Where the mean position of a cell's atoms lies (x, y, z) [Å]; the middle between
        `low_a` and `high_a` by default.
    strain
        Small strain in (x, y, z), symmetric, shape (3, 3); 0.01 is 1 % longer.
    stacking_faults
        Chance that a (111) plane does not continue the stacking, for phases built like copper,
        rock salt or diamond. Distances between nearest neighbours stay as they are.
    rng
        Source of randomness, needed for stacking faults and for sites filled only in part,
        each of which is filled with a chance of its occupancy, but no two that lie within
        1.9 Å.

    Returns
    -------
    Atoms
        Positions are (x, y, z) [Å].

    Raises
    ------
    ParameterError
        The strain is not symmetric or not small, a chance is not one, or `rng` is missing.
    PhaseError
        Stacking faults of a phase that is built otherwise, or sites filled only in part
        without `rng`.
    """
    from ase import Atoms
    from ase.data import atomic_numbers

    occupancies = np.asarray(phase.occupancies, dtype=float)
    if (occupancies < 1).any() and rng is None:
        raise PhaseError(
            f"{phase.identifier} has sites that are filled only in part: give `rng`, so that each "
            "is filled with the chance of its occupancy"
        )
    if not np.isfinite([low_a, high_a]).all():
        raise ParameterError(
            f"a crystal is to fill all from {low_a} to {high_a}: give finite bounds"
        )
    vectors = np.asarray(phase.lattice_vectors, dtype=float) @ orientation.matrix.T
    vectors = vectors @ (np.eye(3) + _checked_strain(strain))
    basis = np.asarray(phase.fractional, dtype=float)
    sites = (basis - basis.mean(axis=0)) @ vectors
    origin = (low_a + high_a) / 2 if origin_a is None else np.asarray(origin_a, dtype=float)
    slack = _LARGEST_SHIFT * phase.lattice[0] if stacking_faults else 0.0
    low, high = low_a - slack - origin, high_a + slack - origin
    cells = _cells_within(vectors, low - sites.max(axis=0), high - sites.min(axis=0))
    positions = ((cells @ vectors)[:, None] + sites).reshape(-1, 3)
    if stacking_faults:
        heights = (cells.sum(axis=1)[:, None] + (basis - basis[0]).sum(axis=1)).reshape(-1)
        positions += _fault_shifts(heights, phase, vectors, stacking_faults, rng)
    positions += origin
    inside = ((positions >= low_a) & (positions <= high_a)).all(axis=1)
    inside[inside] = shape.contains(positions[inside])
    site = np.tile(np.arange(len(sites)), len(cells))[inside]
    positions = positions[inside]
    if rng is not None and (occupancies < 1).any():
        filled = _filled(positions, occupancies[site], rng)
        positions, site = positions[filled], site[filled]
    numbers = np.array([atomic_numbers[element] for element in phase.species])
    return Atoms(numbers=numbers[site], positions=positions)


def _cells_within(vectors: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the lattice points between `low` and `high` as numbers of cells, shape (K, 3)."""
    corners = np.array(list(product(*zip(low, high, strict=True))))
    reach = corners @ np.linalg.inv(vectors)
    spans = zip(np.floor(reach.min(axis=0)), np.ceil(reach.max(axis=0)) + 1, strict=True)
    axes = [np.arange(first, last) for first, last in spans]
    cells = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    places = cells @ vectors
    within: np.ndarray = cells[((places >= low) & (places <= high)).all(axis=1)]
    return within


def _filled(positions: np.ndarray, occupancies: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return which of the sites are filled, each with the chance of its occupancy.

    Sites too near to each other to be filled at once share one draw, so that of the two halves
    of a split site never both are.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    partial = np.flatnonzero(occupancies < 1)
    chance = occupancies[partial]
    pairs = cKDTree(positions[partial]).query_pairs(_SPLIT_SITE_A, output_type="ndarray")
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(partial),) * 2)
    group = connected_components(graph, directed=False)[1]
    # Along each group its chances lie end to end; a draw beyond them all leaves it empty.
    order = np.argsort(group, kind="stable")
    ends = np.cumsum(chance[order])
    first = np.searchsorted(group[order], group[order])
    ends -= ends[first] - chance[order][first]
    total = np.bincount(group, chance)
    draw = (rng.random(len(total)) * np.maximum(total, 1))[group[order]]
    filled = np.ones(len(positions), dtype=bool)
    filled[partial[order]] = (draw < ends) & (draw >= ends - chance[order])
    return filled


def _checked_strain(strain: np.ndarray | None) -> np.ndarray:
    if strain is None:
        return np.zeros((3, 3))
    tensor = np.asarray(strain, dtype=float)
    if tensor.shape != (3, 3) or not np.allclose(tensor, tensor.T) or np.abs(tensor).max() > 0.2:
        raise ParameterError(
            f"strain is {strain!r}: expected a symmetric (3, 3) tensor with entries up to 0.2, "
            "such as 0.01 * np.eye(3) for 1 % longer"
        )
    return tensor


def _fault_shifts(
    heights: np.ndarray,
    phase: "Phase",
    vectors: np.ndarray,
    chance: float,
    rng: np.random.Generator | None,
) -> np.ndarray:
    """Return what stacking faults move atoms by [Å], shape (N, 3).

    Each (111) plane of lattice points, at a whole height, lies over one hollow of the plane
    below or, after a fault, over the other. An atom between two planes keeps the distance to
    its neighbours: one in an octahedral hole goes to the third kind of place, one right above
    an atom stays with it.
    """
    if not 0 < chance <= 1 or rng is None:
        raise ParameterError(
            f"stacking_faults is {chance!r}: expected a chance between 0 and 1, with `rng`"
        )
    plane = np.floor(heights + 1e-6).astype(int)
    above = np.rint((heights - plane) * 4).astype(int)
    known = not np.any(np.abs(heights - plane - above / 4) > 1e-6) and 1 not in above
    if not known or not (is_cubic(phase) and phase.space_group.startswith("F")):
        raise PhaseError(
            f"{phase.identifier} ({phase.space_group}) is not built like copper, rock salt or "
            "diamond: stacking faults of (111) planes are known only there, give stacking_faults=0"
        )
    plane -= plane.min()
    steps = np.cumsum(rng.random(plane.max() + 2) < chance)
    # The regular step from plane to plane is [11-2]/6 too: twice it is the other hollow, three
    # times it none at all.
    shifts = np.where(above == 2, -(steps[plane] + steps[plane + 1]), steps[plane]) % 3
    moves: np.ndarray = shifts[:, None] * (np.array([1.0, 1.0, -2.0]) @ vectors / 6)
    return moves


def is_cubic(phase: "Phase") -> bool:
    """Return whether the cell of a phase is a cube."""
    a, b, c, *angles = phase.lattice
    return bool(np.allclose([b, c], a) and np.allclose(angles, 90))


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

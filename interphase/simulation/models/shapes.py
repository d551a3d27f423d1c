"""Shapes in a specimen: which points lie within. Positions are (x, y, z) [Å]."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np

from interphase.errors import ParameterError
from interphase.simulation.models.checks import FINITE, LENGTH, check_fields

if TYPE_CHECKING:
    from interphase.phases import Phase
    from interphase.simulation.models.crystallites import Orientation

Point = tuple[float, float, float]
Bounds = tuple[np.ndarray, np.ndarray]


class Shape(Protocol):
    """Anything that knows which points lie within it."""

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Return which points (x, y, z) [Å], shape (..., 3), lie within."""
        ...

    @property
    def bounds(self) -> Bounds:
        """Lowest and highest (x, y, z) [Å], each of shape (3,); infinite where it has no end."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sphere:
    """A ball.

    >>> ball = Sphere(centre_a=(0.0, 0.0, 0.0), diameter_a=20.0)
    >>> ball.contains(np.array([[0.0, 0.0, 9.0], [0.0, 8.0, 8.0]])).tolist()
    [True, False]
    """

    centre_a: Point
    """Centre (x, y, z) [Å]."""
    diameter_a: float
    """Diameter [Å]."""

    def __post_init__(self) -> None:
        check_fields(self, centre_a=FINITE, diameter_a=LENGTH)

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Return which points (x, y, z) [Å], shape (..., 3), lie within."""
        step = points - np.asarray(self.centre_a)
        inside: np.ndarray = np.einsum("...i,...i->...", step, step) <= self.diameter_a**2 / 4
        return inside

    @property
    def bounds(self) -> Bounds:
        """Lowest and highest (x, y, z) [Å]."""
        centre = np.asarray(self.centre_a)
        return centre - self.diameter_a / 2, centre + self.diameter_a / 2

    @property
    def reach_a(self) -> float:
        """Distance of its farthest point from the centre [Å]."""
        return self.diameter_a / 2


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ellipsoid:
    """An ellipsoid."""

    centre_a: Point
    """Centre (x, y, z) [Å]."""
    semi_axes_a: Point
    """Half its lengths along its own axes [Å]."""
    matrix: np.ndarray
    """Its axes as columns in (x, y, z), orthonormal, shape (3, 3)."""

    def __post_init__(self) -> None:
        check_fields(self, centre_a=FINITE, semi_axes_a=LENGTH)

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Return which points (x, y, z) [Å], shape (..., 3), lie within."""
        local = (points - np.asarray(self.centre_a)) @ self.matrix / np.asarray(self.semi_axes_a)
        inside: np.ndarray = np.einsum("...i,...i->...", local, local) <= 1
        return inside

    @property
    def bounds(self) -> Bounds:
        """Lowest and highest (x, y, z) [Å]."""
        centre = np.asarray(self.centre_a)
        reach = np.linalg.norm(self.matrix * np.asarray(self.semi_axes_a), axis=1)
        return centre - reach, centre + reach

    @property
    def reach_a(self) -> float:
        """Distance of its farthest point from the centre [Å]."""
        return max(self.semi_axes_a)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Polyhedron:
    """A convex body with flat faces: what lies behind every face."""

    centre_a: Point
    """Centre (x, y, z) [Å]."""
    normals: np.ndarray
    """Unit normals of the faces in (x, y, z), shape (K, 3)."""
    distances_a: np.ndarray
    """Distance of each face from the centre [Å], shape (K,)."""
    vertices: np.ndarray = field(init=False)
    """Corners (x, y, z) [Å], shape (V, 3)."""

    def __post_init__(self) -> None:
        from scipy.spatial import HalfspaceIntersection, QhullError

        halfspaces = np.column_stack([self.normals, -self.distances_a])
        try:
            corners = HalfspaceIntersection(halfspaces, np.zeros(3)).intersections
        except (QhullError, ValueError):
            corners = np.full((1, 3), np.inf)
        if not np.isfinite(corners).all():
            raise ParameterError(
                f"{len(halfspaces)} faces do not close about {self.centre_a!r}: add faces in other "
                "directions, each at a distance > 0 Å"
            )
        object.__setattr__(self, "vertices", corners + np.asarray(self.centre_a))

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Return which points (x, y, z) [Å], shape (..., 3), lie within."""
        step = points - np.asarray(self.centre_a)
        inside: np.ndarray = (step @ self.normals.T <= self.distances_a).all(axis=-1)
        return inside

    @property
    def volume_a3(self) -> float:
        """Volume [Å³]."""
        from scipy.spatial import ConvexHull

        return float(ConvexHull(self.vertices).volume)

    @property
    def bounds(self) -> Bounds:
        """Lowest and highest (x, y, z) [Å]."""
        return self.vertices.min(axis=0), self.vertices.max(axis=0)

    @property
    def reach_a(self) -> float:
        """Distance of its farthest point from the centre [Å]."""
        return float(np.linalg.norm(self.vertices - np.asarray(self.centre_a), axis=1).max())


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A box along the axes; a slab where its bounds are infinite."""

    low_a: Point
    """Lowest (x, y, z) [Å]."""
    high_a: Point
    """Highest (x, y, z) [Å]; itself outside, so that boxes side by side share nothing."""

    def __post_init__(self) -> None:
        if not np.less_equal(*self.bounds).all():
            raise ParameterError(
                f"a box from {self.low_a!r} to {self.high_a!r} Å holds nothing: give `low_a` below "
                "`high_a` along each axis"
            )

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Return which points (x, y, z) [Å], shape (..., 3), lie within."""
        inside = (points >= self.low_a) & (points < self.high_a)
        return np.asarray(inside.all(axis=-1))

    @property
    def bounds(self) -> Bounds:
        """Lowest and highest (x, y, z) [Å]."""
        return np.asarray(self.low_a, dtype=float), np.asarray(self.high_a, dtype=float)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intersection:
    """What lies within all of several shapes."""

    shapes: tuple[Shape, ...]
    """The shapes."""

    def contains(self, points: np.ndarray) -> np.ndarray:
        """Return which points (x, y, z) [Å], shape (..., 3), lie within."""
        inside = np.ones(points.shape[:-1], dtype=bool)
        for shape in self.shapes:
            inside[inside] = shape.contains(points[inside])
        return inside

    @property
    def bounds(self) -> Bounds:
        """Lowest and highest (x, y, z) [Å]."""
        each = [shape.bounds for shape in self.shapes]
        return np.max([low for low, _ in each], axis=0), np.min([high for _, high in each], axis=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell(Intersection):
    """A grain that shares boundaries with others, see `grains`."""


def grains(seeds_a: np.ndarray, within: Shape, *, reach_a: float) -> list[Cell]:
    """Return grains that fill a shape and share boundaries, one per seed.

    A grain is what lies nearer to its seed than to any other: a Voronoi cell. Where the seeds
    lie in one plane the grains are columns.

    Parameters
    ----------
    seeds_a
        Seeds (x, y, z) [Å], shape (K, 3).
    within
        What the grains fill; its bounds are finite.
    reach_a
        Seeds farther apart than this share no boundary within the shape [Å]. Too short a reach
        makes grains overlap, but never leaves a gap.

    Raises
    ------
    ParameterError
        The shape has no end.
    """
    from scipy.spatial import cKDTree

    low, high = (np.asarray(bound, dtype=float) for bound in within.bounds)
    if not np.isfinite([low, high]).all():
        raise ParameterError("grains are to fill a shape without end: give one with finite bounds")
    low = np.minimum(low, seeds_a.min(axis=0)) - 1.0
    high = np.maximum(high, seeds_a.max(axis=0)) + 1.0
    walls = np.vstack([np.eye(3), -np.eye(3)])
    cells = []
    for seed, near in zip(
        seeds_a, cKDTree(seeds_a).query_ball_point(seeds_a, reach_a), strict=True
    ):
        steps = seeds_a[near] - seed
        lengths = np.linalg.norm(steps, axis=1)
        others = lengths > 0
        normals = np.vstack([steps[others] / lengths[others, None], walls])
        distances = np.concatenate([lengths[others] / 2, high - seed, seed - low])
        centre = (float(seed[0]), float(seed[1]), float(seed[2]))
        body = Polyhedron(centre_a=centre, normals=normals, distances_a=distances)
        # Most seeds nearby cut nothing off: only faces that have corners are kept.
        heights = (body.vertices - seed) @ normals.T
        kept = np.abs(heights - distances).min(axis=0) < 1e-6
        body = replace(body, normals=normals[kept], distances_a=distances[kept])
        cells.append(Cell(shapes=(body, within)))
    return cells


def wulff(
    phase: "Phase",
    surface_energies: Mapping[tuple[int, int, int], float],
    *,
    diameter_a: float,
    orientation: "Orientation",
    centre_a: Point,
) -> Polyhedron:
    """Return the equilibrium shape of a crystal: faces as far out as their energy is high.

    Parameters
    ----------
    phase
        The crystal.
    surface_energies
        Face (h, k, l) → surface energy in any one unit; its equivalents are added.
    diameter_a
        Diameter of the sphere of equal volume [Å].
    orientation
        How the crystal lies.
    centre_a
        Centre (x, y, z) [Å].

    Returns
    -------
    Polyhedron
        Closed.

    Raises
    ------
    ParameterError
        An energy is not positive, or the faces do not close.

    Notes
    -----
    Wulff's construction: the distance of a face is proportional to its energy
    (https://doi.org/10.1524/zkri.1901.34.1.449).
    """
    from interphase.phases import point_group_rotations

    if not surface_energies or min(surface_energies.values()) <= 0:
        raise ParameterError(
            f"surface_energies is {dict(surface_energies)!r}: expected at least one face with an "
            "energy > 0"
        )
    turns = point_group_rotations(phase)
    faces: dict[tuple[float, ...], tuple[np.ndarray, float]] = {}
    for hkl, energy in surface_energies.items():
        normal = np.asarray(hkl) @ phase.reciprocal_vectors
        for turn in (*turns, *-turns):  # the Laue class: opposite faces alike
            face = turn @ normal / np.linalg.norm(normal)
            faces[tuple((face.round(6) + 0.0).tolist())] = face, energy
    normals = np.array([face for face, _ in faces.values()]) @ orientation.matrix.T
    distances = np.array([energy for _, energy in faces.values()])
    try:
        body = Polyhedron(centre_a=(0.0, 0.0, 0.0), normals=normals, distances_a=distances)
    except ParameterError as error:
        raise ParameterError(
            f"the faces {', '.join(str(hkl) for hkl in surface_energies)} of {phase.identifier} "
            "do not close: add faces in other directions"
        ) from error
    scale = (np.pi / 6 * diameter_a**3 / body.volume_a3) ** (1 / 3)
    return Polyhedron(centre_a=centre_a, normals=normals, distances_a=distances * scale)

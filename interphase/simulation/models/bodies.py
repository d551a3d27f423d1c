"""A specimen as a labelled volume: atoms fill the labels, and truth is their projection.

One geometry serves both, so what an image shows and what is said of it cannot drift apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from interphase.errors import ParameterError
from interphase.simulation.checks import check_positive
from interphase.simulation.models.checks import ATOMS_PER_A3, check_atoms
from interphase.simulation.models.crystallites import CrystalliteTruth, Orientation, fill_crystal
from interphase.simulation.models.matrices import MATRICES, SMALLEST_FILM_A, fill_matrix
from interphase.simulation.models.shapes import Bounds, Point, Shape

if TYPE_CHECKING:
    from ase import Atoms

    from interphase.phases import Phase

VACUUM = -1
"""Label of a point that lies in no body."""
MATRIX_CLEARANCE_A = 1.9
"""Atoms of a matrix keep this distance from those of crystals and other matrices [Å]."""
CRYSTAL_CLEARANCE_A = 1.6
"""Atoms of crystals that share a boundary keep this distance [Å]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Body:
    """A part of a specimen made of one material."""

    material: str
    """Identifier of the phase, or key of `MATRICES`."""
    shape: Shape
    """Where it is, as far as no body before it claims the place."""
    phase: "Phase | None" = None
    """The crystal; ``None`` for an amorphous body."""
    orientation: Orientation | None = None
    """How the crystal lies."""
    strain: np.ndarray | None = None
    """Small strain in (x, y, z), shape (3, 3); ``None`` for none."""
    stacking_faults: float = 0.0
    """Chance that a close-packed plane does not continue the stacking."""
    region: str = ""
    """What it belongs to: the name of a layer, ``electrode`` or ``outside``."""
    bounds_a: Bounds = field(init=False)
    """Lowest and highest (x, y, z) of the shape [Å]."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "bounds_a", self.shape.bounds)
        if self.phase is None and self.material not in MATRICES:
            raise ParameterError(
                f"matrix {self.material!r} is unknown: give one of {', '.join(MATRICES)}, "
                "or `phase` for a crystal"
            )
        if (self.phase is None) != (self.orientation is None):
            raise ParameterError(
                f"the body of {self.material} has only one of phase and orientation: give both "
                "for a crystal, neither for a matrix"
            )


def label_points(bodies: Sequence[Body], points: np.ndarray) -> np.ndarray:
    """Return which body each point belongs to: the first that contains it.

    Parameters
    ----------
    bodies
        In order of priority.
    points
        Positions (x, y, z) [Å], shape (N, 3).

    Returns
    -------
    ndarray of shape (N,)
        Index into `bodies`; `VACUUM` where there is none.
    """
    labels = np.full(len(points), VACUUM)
    # Sorted along x, the points within the bounds of a small body are a run.
    order = np.argsort(points[:, 0], kind="stable")
    ordered = points[order]
    for index, body in enumerate(bodies):
        low, high = body.bounds_a
        first, last = np.searchsorted(ordered[:, 0], [low[0], np.nextafter(high[0], np.inf)])
        run = order[first:last]
        here = ordered[first:last]
        near = (here[:, 1:] >= low[1:]) & (here[:, 1:] <= high[1:])
        run = run[near.all(axis=1)]
        run = run[labels[run] == VACUUM]
        labels[run[body.shape.contains(points[run])]] = index
    return labels


def assemble(
    bodies: Sequence[Body],
    *,
    size_a: tuple[float, float],
    thickness_a: float,
    rng: np.random.Generator,
) -> "Atoms":
    """Return the atoms of a specimen, no two of them upon each other.

    Crystals are cut from their lattices and matrices from amorphous films of their density.
    Where bodies meet, the atom of the later one gives way within `CRYSTAL_CLEARANCE_A`, or
    `MATRIX_CLEARANCE_A` for a matrix. The box is periodic across the beam: what meets across its
    edge keeps its distance too, but crystals do not continue there.

    Parameters
    ----------
    bodies
        In order of priority.
    size_a
        Extent (y, x) [Å].
    thickness_a
        Extent along the beam [Å].
    rng
        Source of randomness.

    Returns
    -------
    Atoms
        Positions are (x, y, z) [Å]; the array ``body`` holds the index of each atom's body.

    Raises
    ------
    ParameterError
        An extent is not positive, or there would be too many atoms.
    """
    from ase import Atoms

    from interphase.simulation.models.contacts import gives_way

    check_positive(size_a=size_a, thickness_a=thickness_a)
    box = np.array([size_a[1], size_a[0], thickness_a], dtype=float)
    check_atoms(ATOMS_PER_A3 * float(box.prod()))
    crystals = [[i] for i, body in enumerate(bodies) if body.phase is not None]
    # Bodies of one matrix share a film, so that no boundary shows where they meet.
    films: dict[str, list[int]] = {}
    for i, body in enumerate(bodies):
        if body.phase is None:
            films.setdefault(body.material, []).append(i)
    positions, numbers = [np.empty((0, 3))], [np.empty(0, dtype=int)]
    owner, group = [np.empty(0, dtype=int)], [np.empty(0, dtype=int)]
    for rank, mine in enumerate([*crystals, *films.values()]):
        of_crystal = rank < len(crystals)
        atoms = (
            _crystal_of(bodies[mine[0]], box, rng)
            if of_crystal
            else _film_of([bodies[i] for i in mine], box, rng)
        )
        # What an earlier body claims is not this one's.
        labels = label_points(bodies[: mine[-1] + 1], atoms.positions)
        kept = np.isin(labels, mine)
        positions.append(atoms.positions[kept])
        numbers.append(atoms.numbers[kept])
        owner.append(labels[kept])
        group.append(np.full(int(kept.sum()), rank))
    placed, groups = np.concatenate(positions), np.concatenate(group)
    clear = ~gives_way(placed, groups, len(crystals), box, CRYSTAL_CLEARANCE_A, MATRIX_CLEARANCE_A)
    atoms = Atoms(
        numbers=np.concatenate(numbers)[clear],
        positions=placed[clear],
        cell=box,
        pbc=(True, True, False),
    )
    atoms.set_array("body", np.concatenate(owner)[clear])  # type: ignore[no-untyped-call]
    return atoms


def _crystal_of(body: Body, box: np.ndarray, rng: np.random.Generator) -> "Atoms":
    low, high = body.bounds_a
    # Half open, so that no atom at one edge meets its own image at the other.
    low, high = np.maximum(low, 0.0), np.minimum(high, np.nextafter(box, 0))
    return fill_crystal(
        body.phase,  # type: ignore[arg-type]
        body.shape,
        orientation=body.orientation,  # type: ignore[arg-type]
        low_a=low,
        high_a=np.maximum(low, high),
        strain=body.strain,
        stacking_faults=body.stacking_faults,
        rng=rng,
    )


def _film_of(bodies: Sequence[Body], box: np.ndarray, rng: np.random.Generator) -> "Atoms":
    """Return a film of the matrix of bodies, just large enough to hold them."""
    low = np.maximum(np.min([body.bounds_a[0] for body in bodies], axis=0), 0.0)
    high = np.minimum(np.max([body.bounds_a[1] for body in bodies], axis=0), box)
    extent = np.maximum(high - low, SMALLEST_FILM_A)
    film = fill_matrix(
        bodies[0].material, (float(extent[1]), float(extent[0])), float(extent[2]), rng=rng
    )
    film.positions += low
    kept: Atoms = film[(film.positions < box).all(axis=1)]
    return kept


def projected_thickness_a(
    bodies: Sequence[Body],
    *,
    size_a: tuple[float, float],
    thickness_a: float,
    shape: tuple[int, int],
    origin_a: tuple[float, float] = (0.0, 0.0),
    step_a: float = 2.0,
) -> dict[str, np.ndarray]:
    """Return how much of each material the beam passes in every pixel.

    Parameters
    ----------
    bodies
        In order of priority.
    size_a
        Extent (y, x) of the image [Å].
    thickness_a
        Extent along the beam [Å].
    shape
        Pixels (M, N) of the image.
    origin_a
        Where the image's first pixel lies (y, x) [Å].
    step_a
        Largest distance of the points that are looked at [Å]; finer pixels are interpolated.

    Returns
    -------
    dict
        Material → its extent along the beam [Å], shape (M, N), single precision. With vacuum
        they add up to `thickness_a`. Pixel (i, j) is the place (i, j) pixels from the first.

    Raises
    ------
    ParameterError
        There is no pixel, or a length is not positive.
    """
    from scipy.ndimage import map_coordinates

    if min(shape) < 1 or not min(*size_a, thickness_a, step_a) > 0:
        raise ParameterError(
            f"shape {shape!r}, size_a {size_a!r}, thickness_a {thickness_a!r} and step_a "
            f"{step_a!r}: expected all of them > 0"
        )
    pixel = np.array(size_a) / shape
    last = (np.array(shape) - 1) * pixel
    coarse = np.maximum(np.ceil(last / step_a).astype(int) + 1, 2)
    y = origin_a[0] + np.linspace(0, max(last[0], step_a), coarse[0])
    x = origin_a[1] + np.linspace(0, max(last[1], step_a), coarse[1])
    levels = int(np.ceil(thickness_a / step_a))
    depth = thickness_a / levels
    names = list(dict.fromkeys(body.material for body in bodies))
    kind = np.array([names.index(body.material) for body in bodies] + [len(names)])
    sums = np.zeros((len(names) + 1, len(y), len(x)))
    plane = np.empty((len(y), len(x), 3))
    plane[..., 0], plane[..., 1] = x, y[:, None]
    for level in range(levels):
        plane[..., 2] = (level + 0.5) * depth
        found = kind[label_points(bodies, plane.reshape(-1, 3))].reshape(plane.shape[:2])
        for material in range(len(names)):
            sums[material] += found == material
    rows = np.arange(shape[0]) * pixel[0] / (y[1] - y[0])
    columns = np.arange(shape[1]) * pixel[1] / (x[1] - x[0])
    at = np.meshgrid(rows, columns, indexing="ij")
    return {
        name: map_coordinates(sums[i] * depth, at, order=1, mode="nearest").astype(np.float32)
        for i, name in enumerate(names)
    }


def crystallite_table(
    bodies: Sequence[Body],
    *,
    size_a: tuple[float, float],
    thickness_a: float,
    margin_a: float = 0.0,
    step_a: float = 2.0,
) -> tuple[CrystalliteTruth, ...]:
    """Return where each crystal of a field is, how large, and how it lies.

    Measured on points `step_a` apart, so a crystallite that others, the foil's surfaces or the
    edges of the field cut has the centre and the volume of what is left of it; one of which
    nothing is left is not in the table.

    Parameters
    ----------
    bodies
        In order of priority.
    size_a
        Extent (y, x) of the specimen [Å].
    thickness_a
        Extent along the beam [Å].
    margin_a
        How much wider the specimen is than the field, on every side of the image [Å]. Centres
        are counted from the corner of the field.
    step_a
        Distance of the points [Å].
    """
    first = np.array([margin_a, margin_a, 0.0])
    last = np.array([size_a[1], size_a[0], thickness_a]) - first
    rows = []
    for index, body in enumerate(bodies):
        if body.orientation is None:
            continue
        low, high = np.maximum(body.bounds_a[0], first), np.minimum(body.bounds_a[1], last)
        if (high <= low).any():
            continue
        steps = np.maximum(np.ceil((high - low) / step_a), 1).astype(int)
        places = np.indices(tuple(steps)).reshape(3, -1).T + 0.5
        points = low + places * (high - low) / steps
        points = points[body.shape.contains(points)]
        claimed = label_points(bodies[:index], points) != VACUUM
        points = points[~claimed]
        if not len(points):
            continue
        volume = float(len(points) * np.prod((high - low) / steps))
        x, y, z = (points.mean(axis=0) - first).tolist()
        rows.append(
            CrystalliteTruth(
                phase=body.material,
                centre_a=(y, x, z),
                diameter_a=float((6 * volume / np.pi) ** (1 / 3)),
                orientation=_rows(body.orientation.matrix),
                zone_axis=body.orientation.zone_axis,
                tilt_deg=body.orientation.tilt_deg,
                shape=type(body.shape).__name__.lower(),
                volume_a3=volume,
                strain=None if body.strain is None else _rows(body.strain),
                region=body.region,
            )
        )
    return tuple(rows)


def _rows(matrix: np.ndarray) -> tuple[Point, ...]:
    return tuple((float(x), float(y), float(z)) for x, y, z in matrix)

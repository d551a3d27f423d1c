"""How crystallites lie to each other: misorientations, parallel planes, boundaries, chance."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np

from interphase.diffraction.checks import check_number, check_records
from interphase.diffraction.crystallites import (
    Contact,
    Crystallite,
    check_contacts,
    check_grains,
    phases_by_name,
    smallest_angle,
)
from interphase.errors import ParameterError
from interphase.phases import Phase, point_group_rotations, reflections

# Categories of phases that an electrode is made of.
ELECTRODES = ("metal", "electrode")
# Up to this misorientation a grain boundary is made of dislocations [degrees].
LOW_ANGLE_DEG = 15.0
# Coincidence boundaries above this Σ are not looked for: Brandon's criterion would then take in
# too many orientations to mean anything.
LARGEST_SIGMA = 29
# Turns about the beam at which the agreement of planes is counted: every 0.1°.
TURNS = 1800
# Larger tolerances make planes parallel that anyone calls inclined [degrees].
MOST_TOLERANCE_DEG = 45.0
# Planes are named down to this spacing [Å]: finer fringes are rarely seen.
SHORTEST_A = 1.2

Indices = tuple[int, int, int]


class Disorientation(NamedTuple):
    """The smallest rotation between two crystals."""

    angle_deg: float
    """Angle [degrees]."""
    axis: np.ndarray
    """Unit vector of the axis in the first crystal's Cartesian frame, shape (3,); z where there is
    no rotation."""
    matrix: np.ndarray
    """Takes vectors of the second crystal's frame into the first's, shape (3, 3)."""


def disorientation(
    first: np.ndarray, second: np.ndarray, first_group: np.ndarray, second_group: np.ndarray
) -> Disorientation:
    r"""Return the smallest rotation that takes one crystal's axes into another's.

    Between two phases the angle depends on how the frames of their cells are chosen, unless both
    are cubic; then parallel planes say more, see `parallel_planes`.

    Parameters
    ----------
    first, second
        Orientations: rotations from the crystals' Cartesian axes to those of the image,
        shape (3, 3).
    first_group, second_group
        Rotations that leave the crystals as they are, shape (N, 3, 3), from
        `interphase.phases.point_group_rotations`.

    Notes
    -----
    The smallest angle of :math:`S_1\, R_1^T R_2\, S_2` over both groups.

    Examples
    --------
    >>> from interphase.phases import load_phase
    >>> cubic = point_group_rotations(load_phase("Li"))
    >>> twin = rotation_about((1, 1, 1), 60.0)
    >>> round(disorientation(np.eye(3), twin, cubic, cubic).angle_deg, 3)
    60.0
    >>> round(disorientation(np.eye(3), rotation_about((0, 0, 1), 80.0), cubic, cubic).angle_deg, 3)
    10.0
    """
    all_ways = np.einsum("aij,jk,bkl->abil", first_group, first.T @ second, second_group)
    matrix = all_ways.reshape(-1, 3, 3)[np.trace(all_ways, axis1=2, axis2=3).argmax()]
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_matrix(matrix).as_rotvec()
    angle = float(np.linalg.norm(turn))
    axis = turn / angle if angle > 1e-9 else np.array([0.0, 0.0, 1.0])
    return Disorientation(float(np.degrees(angle)), axis, matrix)


def rotation_about(axis: Sequence[float], angle_deg: float) -> np.ndarray:
    """Return the rotation by an angle [degrees] about an axis, shape (3, 3)."""
    from scipy.spatial.transform import Rotation

    unit = np.asarray(axis, dtype=float) / np.linalg.norm(axis)
    return np.asarray(Rotation.from_rotvec(np.radians(angle_deg) * unit).as_matrix())


def ideal_relation(
    first: Phase,
    second: Phase,
    *,
    planes: tuple[Indices, Indices],
    directions: tuple[Indices, Indices],
) -> np.ndarray:
    """Return the rotation of a named orientation relation.

    Parameters
    ----------
    first, second
        The phases.
    planes
        (hkl) of the first and of the second that are parallel.
    directions
        [uvw] of the first and of the second, in these planes, that are parallel.

    Returns
    -------
    ndarray
        Takes vectors of the second crystal's Cartesian frame into the first's, shape (3, 3).

    Raises
    ------
    ParameterError
        A direction does not lie in its plane.

    Examples
    --------
    The relation of Kurdjumov and Sachs is 42.85° from the cube on the cube.

    >>> from interphase.phases import load_phase
    >>> fcc, bcc = load_phase("Cu"), load_phase("Li")
    >>> ks = ideal_relation(
    ...     fcc, bcc, planes=((1, 1, 1), (0, 1, 1)), directions=((-1, 0, 1), (-1, -1, 1))
    ... )
    >>> group = point_group_rotations(fcc)
    >>> round(disorientation(np.eye(3), ks, group, group).angle_deg, 2)
    42.85
    """
    frames = []
    for phase, plane, direction in zip((first, second), planes, directions, strict=True):
        if np.dot(plane, direction) != 0 or not any(plane) or not any(direction):
            raise ParameterError(
                f"{_direction(direction)} does not lie in {_plane(plane)} of {phase.identifier}: "
                "expected hu + kv + lw = 0"
            )
        normal = plane @ phase.reciprocal_vectors
        along = direction @ phase.lattice_vectors
        normal, along = normal / np.linalg.norm(normal), along / np.linalg.norm(along)
        frames.append(np.stack([normal, along, np.cross(normal, along)], axis=1))
    return np.asarray(frames[0] @ frames[1].T)


def deviation(
    matrix: np.ndarray, ideal: np.ndarray, first_group: np.ndarray, second_group: np.ndarray
) -> float:
    """Return how far a misorientation is from an ideal one [degrees], under both symmetries."""
    turned = np.einsum("aij,jk,bkl->abil", first_group, matrix, second_group).reshape(-1, 3, 3)
    trace = np.einsum("nij,ij->n", turned, ideal).max()
    return float(np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1))))


def chance_of_relation(
    deviation_deg: float, ideal: np.ndarray, first_group: np.ndarray, second_group: np.ndarray
) -> float:
    r"""Return how often random orientations come as near to an ideal relation.

    For crystals of which nothing was known before; crystals in a lattice image are seen because
    both have a zone axis along the beam, see `parallel_planes` for these.

    Parameters
    ----------
    deviation_deg
        Angle to the ideal relation [degrees].
    ideal
        Rotation from `ideal_relation`.
    first_group, second_group
        Rotations that leave the crystals as they are.

    Returns
    -------
    float
        Probability; exact where the variants lie farther apart than twice the deviation, and an
        upper bound otherwise.

    Notes
    -----
    A rotation drawn at random is within :math:`\omega` of a given one with probability
    :math:`(\omega - \sin\omega)/\pi`, and a relation has as many variants as different
    rotations follow from it by symmetry.

    Examples
    --------
    Some other crystal lies within Brandon's 8.66° of a twin's orientation once in 60 times.

    >>> from interphase.phases import load_phase
    >>> group = point_group_rotations(load_phase("Cu"))
    >>> twin = rotation_about((1, 1, 1), 60.0)
    >>> round(chance_of_relation(8.66, twin, group, group), 3)
    0.018
    """
    omega = np.radians(deviation_deg)
    share = (omega - np.sin(omega)) / np.pi
    return float(min(1.0, variants(ideal, first_group, second_group) * share))


def variants(ideal: np.ndarray, first_group: np.ndarray, second_group: np.ndarray) -> int:
    """Return how many different rotations follow from one by both symmetries."""
    turned = np.einsum("aij,jk,bkl->abil", first_group, ideal, second_group).reshape(-1, 9)
    return len(np.unique(np.round(turned, 6) + 0.0, axis=0))


class Parallel(NamedTuple):
    """The simplest pair of parallel planes of two crystals, edge on in the image."""

    planes: tuple[Indices, Indices]
    """(hkl) of the first and of the second crystal, as reflections: (002), not (001)."""
    deviation_deg: float
    """Angle between them in the image [degrees]."""
    chance: float
    """Probability that planes chosen in the same way agree at least as well after a random turn
    about the beam."""


def parallel_planes(
    first: Crystallite,
    first_phase: Phase,
    second: Crystallite,
    second_phase: Phase,
    *,
    tolerance_deg: float = 3.0,
) -> Parallel | None:
    """Return the coarsest planes, edge on in the image, in which two crystallites agree.

    The zone axes are parallel already: both lie along the beam, or there would be no lattice
    image of both. What is left to chance is the turn about the beam, and some planes meet often.

    Parameters
    ----------
    first, second
        Crystallites with an orientation.
    first_phase, second_phase
        Their phases.
    tolerance_deg
        Angle up to which planes count as parallel [degrees]; twice the standard error of the
        angle where that is more.

    Returns
    -------
    Parallel or None
        ``None`` if no planes of reflections down to 1.2 Å agree.

    Notes
    -----
    Coarse is a small sum of the lengths of both reciprocal vectors, as the planes that relations
    are named after are. How well planes agree is the share of half a turn over which any planes
    at least as coarse are at least as close, or as close as can be measured. The planes were chosen
    by looking, so this share is not yet a chance: the choice is repeated for all turns about the
    beam, and the chance is the share of turns that agree as well or better.
    """
    (planes_a, angle_a, length_a), (planes_b, angle_b, length_b) = (
        _edge_on(grain, phase) for grain, phase in ((first, first_phase), (second, second_phase))
    )
    sigma = np.degrees(np.sqrt(first.covariance[2, 2] + second.covariance[2, 2]))
    turn = (angle_b - angle_a[:, None] + 90) % 180 - 90
    # Equivalent planes are equally coarse.
    order = np.round(length_a[:, None] + length_b, 6)
    close = np.abs(turn) <= max(tolerance_deg, 2 * sigma)
    if not close.any():
        return None
    coarsest = order[close].min()
    i, j = np.unravel_index(
        np.where(close & (order == coarsest), np.abs(turn), np.inf).argmin(), turn.shape
    )
    agreement = _agreement(turn, order, max(tolerance_deg, 2 * sigma), sigma)
    # The first turn is none at all.
    chance = float(np.mean(agreement <= agreement[0] + 1e-9))
    return Parallel((_triple(planes_a[i]), _triple(planes_b[j])), abs(float(turn[i, j])), chance)


def _agreement(
    turn: np.ndarray, order: np.ndarray, tolerance_deg: float, sigma_deg: float
) -> np.ndarray:
    """Return how well the coarsest planes that are parallel agree at each further turn.

    Shape (TURNS,); infinite where no planes are parallel.
    """
    turns = np.arange(TURNS) * (180.0 / TURNS)
    agreement = np.full(TURNS, np.inf)
    for level in np.unique(order):
        apart = np.abs((turn[order == level][:, None] + turns + 90) % 180 - 90).min(axis=0)
        chosen = np.isinf(agreement) & (apart <= tolerance_deg)
        half_width = np.maximum(apart[chosen], sigma_deg)
        agreement[chosen] = _covered(turn[order <= level], half_width, 180.0)
        if np.isfinite(agreement).all():
            break
    return agreement


def _edge_on(grain: Crystallite, phase: Phase) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return planes of a zone, the directions of their normals and the lengths of these.

    Shapes (P, 3), (P,) [degrees, 0 to 180] and (P,) [1/Å].
    """
    hkl, g = _planes(phase)
    inside = hkl @ np.array(grain.zone_axis) == 0
    hkl, g = hkl[inside], g[inside]
    normal = g @ grain.orientations[0].T
    angle = np.degrees(np.arctan2(normal[:, 1], normal[:, 0])) % 180
    return hkl, angle, np.linalg.norm(g, axis=1)


@lru_cache(maxsize=64)
def _planes(phase: Phase) -> tuple[np.ndarray, np.ndarray]:
    """Return the first order of each plane that reflects, one of each pair of opposites."""
    table = reflections(phase, d_min_a=SHORTEST_A)
    lead = table.hkl[np.arange(len(table.hkl)), (table.hkl != 0).argmax(axis=1)]
    hkl, g = table.hkl[lead > 0], table.g_per_a[lead > 0]
    # Longest spacing first, so that the first of a direction is its first order.
    _, first = np.unique(
        hkl // np.gcd.reduce(hkl, axis=1, keepdims=True), axis=0, return_index=True
    )
    return hkl[first], g[first]


def _covered(centres: np.ndarray, half_width: np.ndarray, period: float) -> np.ndarray:
    """Return the share of a circle within each `half_width`, shape (N,), of any of `centres`."""
    ordered = np.sort(centres % period)
    gaps = np.diff(ordered, append=ordered[0] + period)
    return np.asarray(np.minimum(gaps, 2 * half_width[:, None]).sum(axis=1) / period)


@lru_cache(maxsize=1)
def coincidence_rotations() -> tuple[tuple[int, np.ndarray], ...]:
    """Return the coincidence rotations of cubic lattices: Σ and rotation, one of each kind.

    Notes
    -----
    A rotation whose quaternion has integer components without a common divisor leaves one lattice
    point in Σ, the odd part of the sum of their squares, in place ([1]_).

    References
    ----------
    .. [1] H. Grimmer, Acta Cryst. A 30, 685 (1974), doi:10.1107/S0567739474001719

    Examples
    --------
    >>> [sigma for sigma, _ in coincidence_rotations()][:8]
    [3, 5, 7, 9, 11, 13, 13, 15]
    """
    from scipy.spatial.transform import Rotation

    group = cubic_rotations()
    found: list[tuple[int, float, np.ndarray]] = []
    for m, u, v, w in product(range(8), repeat=4):
        norm = m * m + u * u + v * v + w * w
        if not (m >= 1 and u >= v >= w and np.gcd.reduce([m, u, v, w]) == 1):
            continue
        sigma = norm
        while sigma % 2 == 0:
            sigma //= 2
        if not 3 <= sigma <= LARGEST_SIGMA or norm > 4 * LARGEST_SIGMA:
            continue
        matrix = Rotation.from_quat([u, v, w, m]).as_matrix()
        angle = smallest_angle(matrix, group)
        if all(
            sigma != other or deviation(matrix, known, group, group) > 1e-3
            for other, _, known in found
        ):
            found.append((sigma, angle, matrix))
    found.sort(key=lambda entry: entry[:2])
    return tuple((sigma, matrix) for sigma, _, matrix in found)


@lru_cache(maxsize=1)
def cubic_rotations() -> np.ndarray:
    """Return the 24 rotations of a cube, shape (24, 3, 3)."""
    from scipy.spatial.transform import Rotation

    return np.asarray(Rotation.create_group("O").as_matrix())


def coincidence(matrix: np.ndarray) -> tuple[int, float] | None:
    r"""Return the Σ of a misorientation of two cubic lattices, and how far it is from ideal.

    Parameters
    ----------
    matrix
        Takes one crystal's vectors into the other's, shape (3, 3).

    Returns
    -------
    (sigma, deviation_deg) or None
        Of the rotation that is closest in terms of its own allowance; ``None`` where there is no
        coincidence rotation with Σ up to 29 within the criterion.

    Notes
    -----
    Allowed is :math:`15^\circ/\sqrt{\Sigma}` ([1]_).

    References
    ----------
    .. [1] D. G. Brandon, Acta Metall. 14, 1479 (1966), doi:10.1016/0001-6160(66)90168-4

    Examples
    --------
    >>> coincidence(rotation_about((1, 0, 0), 36.87))[0]
    5
    """
    group = cubic_rotations()
    found = [
        (deviation(matrix, ideal, group, group), sigma) for sigma, ideal in coincidence_rotations()
    ]
    off, sigma = min(found, key=lambda entry: entry[0] * np.sqrt(entry[1]))
    return (sigma, off) if off <= 15.0 / np.sqrt(sigma) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """How two crystallites lie to each other."""

    first: int
    """Region of the one; the electrode's, where it is one of the two."""
    second: int
    """Region of the other."""
    phases: tuple[str, str]
    """Their phases."""
    touching: bool
    """Whether they touch or overlap in projection."""
    to_electrode: bool
    """Whether `first` is the electrode."""
    probability: float
    """Probability that both are what they are called."""
    misorientation_deg: float
    """Smallest angle between their Cartesian axes [degrees], over both symmetries and over the
    orientations that the image does not tell apart."""
    sigma_deg: float
    """Its standard error [degrees], tilts out of the zone axes included; near 0 the angle is
    mostly error."""
    axis: tuple[float, float, float]
    """Axis in the first crystal's Cartesian frame."""
    other_misorientations_deg: tuple[float, ...]
    """Angles of the other ways to read the same image [degrees]."""
    planes: tuple[Indices, Indices] | None
    """Coarsest planes, edge on, that are parallel."""
    zone_axes: tuple[Indices, Indices]
    """The directions along the beam."""
    deviation_deg: float | None
    """Angle between `planes` [degrees]."""
    chance: float | None
    """Probability that a random turn about the beam makes planes as coarse as parallel."""
    boundary: str | None
    """``low angle`` or ``high angle`` between touching crystallites of one phase."""
    coincidence: int | None
    """Σ of a boundary of a cubic phase within Brandon's criterion."""
    trace_a: tuple[tuple[float, float], tuple[float, float]] | None
    """Ends (y, x) of the line along which they meet [Å]."""
    trace_length_a: float
    """Its length [Å]."""
    sentence: str
    """The same in words."""


def find_electrode(
    grains: Sequence[Crystallite], candidates: Sequence[Phase], areas_a2: Sequence[float]
) -> int | None:
    """Return the position in `grains` of what is most likely the electrode.

    The metal or electrode phase of the greatest area times probability; ``None`` without one.
    """
    category = {phase.identifier: phase.category for phase in candidates}
    weight = [
        area * grain.probability if category.get(grain.phase) in ELECTRODES else 0.0
        for grain, area in zip(grains, areas_a2, strict=True)
    ]
    return int(np.argmax(weight)) if weight and max(weight) > 0 else None


def relate_crystallites(
    grains: Sequence[Crystallite],
    touching: Sequence[Contact],
    candidates: Sequence[Phase],
    *,
    electrode: int | None = None,
    tolerance_deg: float = 3.0,
) -> tuple[Relation, ...]:
    """Return how touching crystallites lie to each other, and all of them to the electrode.

    Parameters
    ----------
    grains
        From `measure_crystallites`.
    touching
        From `find_contacts`.
    candidates
        The phases the map was made with.
    electrode
        Region of the electrode; by default the metal or electrode phase with the largest diameter
        weighted by probability, if there is one.
    tolerance_deg
        See `parallel_planes`.

    Returns
    -------
    tuple of Relation
        Of every pair in which both have an orientation: touching pairs first.

    Raises
    ------
    ParameterError
        `electrode` or a contact is no region of the map, a phase is not among the candidates, or
        the tolerance is no angle from 0 to 45°.

    Notes
    -----
    A crystal with a three-fold axis along the beam looks the same turned by 60°: a twin
    boundary about the beam cannot be seen, and both angles are given. Each relation is judged for
    itself; of twenty pairs one will have a chance below 0.05.
    """
    grains, touching = check_grains(grains), check_contacts(touching)
    phases = phases_by_name((grain.phase for grain in grains if grain.orientations), candidates)
    check_number("tolerance_deg", tolerance_deg, 0, MOST_TOLERANCE_DEG, "degrees")
    by_region = {grain.region: grain for grain in grains}
    for contact in touching:
        if not {contact.first, contact.second} <= by_region.keys():
            raise ParameterError(
                f"regions {contact.first} and {contact.second} touch, and are not both among the "
                "crystallites: give the contacts that were found between these"
            )
    if electrode is not None and (
        not isinstance(electrode, Integral) or electrode not in by_region
    ):
        raise ParameterError(
            f"electrode is {electrode!r}: expected a region of the map, "
            f"{min(by_region, default=0)} to {max(by_region, default=0)}"
        )
    if electrode is None:
        place = find_electrode(grains, list(phases.values()), [g.diameter_a**2 for g in grains])
        electrode = grains[place].region if place is not None else None
    pairs: dict[tuple[int, int], Contact | None] = {}
    for contact in touching:
        pair = (contact.first, contact.second)
        pairs[pair[::-1] if pair[1] == electrode else pair] = contact
    for grain in grains:
        if electrode is not None and grain.region != electrode:
            pairs.setdefault((electrode, grain.region), None)
    return tuple(
        _relation(by_region[a], by_region[b], phases, contact, bool(a == electrode), tolerance_deg)
        for (a, b), contact in pairs.items()
        if by_region[a].orientations and by_region[b].orientations
    )


def _relation(
    first: Crystallite,
    second: Crystallite,
    phases: dict[str, Phase],
    contact: Contact | None,
    to_electrode: bool,
    tolerance_deg: float,
) -> Relation:
    phase_a, phase_b = phases[first.phase], phases[second.phase]
    group_a, group_b = point_group_rotations(phase_a), point_group_rotations(phase_b)
    ways = sorted(
        (
            (disorientation(a, b, group_a, group_b), a)
            for a in first.orientations
            for b in second.orientations
        ),
        key=lambda way: way[0].angle_deg,
    )
    least, orientation = ways[0]
    axis = orientation @ least.axis
    sigma = float(np.degrees(np.sqrt(axis @ (first.covariance + second.covariance) @ axis)))
    others: list[float] = []
    for way, _ in ways[1:]:
        if all(abs(way.angle_deg - known) > 2.0 for known in (least.angle_deg, *others)):
            others.append(way.angle_deg)
    planes = parallel_planes(first, phase_a, second, phase_b, tolerance_deg=tolerance_deg)
    assert first.zone_axis is not None
    assert second.zone_axis is not None
    boundary, special = None, None
    if contact is not None and first.phase == second.phase:
        boundary = "low angle" if least.angle_deg <= LOW_ANGLE_DEG else "high angle"
        if boundary == "high angle" and _is_cubic(phase_a):
            special = coincidence(least.matrix)
    x, y, z = (float(n) for n in least.axis)
    return Relation(
        first=first.region,
        second=second.region,
        phases=(first.phase, second.phase),
        touching=contact is not None,
        to_electrode=to_electrode,
        probability=first.probability * second.probability,
        misorientation_deg=least.angle_deg,
        sigma_deg=sigma,
        axis=(x, y, z),
        other_misorientations_deg=tuple(others),
        planes=planes.planes if planes else None,
        zone_axes=(first.zone_axis, second.zone_axis),
        deviation_deg=planes.deviation_deg if planes else None,
        chance=planes.chance if planes else None,
        boundary=boundary,
        coincidence=special[0] if special else None,
        trace_a=contact.trace_a if contact else None,
        trace_length_a=contact.trace_length_a if contact else 0.0,
        sentence=_words(first, second, planes, least.angle_deg, sigma, boundary, special, others),
    )


def _words(
    first: Crystallite,
    second: Crystallite,
    planes: Parallel | None,
    angle_deg: float,
    sigma_deg: float,
    boundary: str | None,
    special: tuple[int, float] | None,
    others: Sequence[float],
) -> str:
    assert first.zone_axis is not None
    assert second.zone_axis is not None
    names = [first.phase, second.phase]
    if first.phase == second.phase:
        names = [f"{grain.phase} {grain.region}" for grain in (first, second)]
    zones = (
        f"{_direction(first.zone_axis)} of {names[0]} ∥ {_direction(second.zone_axis)} of "
        f"{names[1]} along the beam"
    )
    if planes is None:
        sentence = f"{zones}; no planes are parallel."
    else:
        sentence = (
            f"{_plane(planes.planes[0])} of {names[0]} ∥ {_plane(planes.planes[1])} of {names[1]} "
            f"within {planes.deviation_deg:.1f}°, {zones}; a random turn about the beam does as "
            f"much in {100 * planes.chance:.0f} % of cases."
        )
    if boundary is not None:
        sentence += f" A {boundary} boundary, {angle_deg:.1f} ± {sigma_deg:.1f}°"
        if special is not None:
            sentence += f", Σ{special[0]} within {special[1]:.1f}°"
        sentence += "."
    if others:
        sentence += f" The image allows {', '.join(f'{other:.1f}°' for other in others)} as well."
    return sentence


def _is_cubic(phase: Phase) -> bool:
    a, b, c, *angles = phase.lattice
    return bool(np.allclose([b, c], a, rtol=1e-4) and np.allclose(angles, 90, atol=0.01))


def _plane(hkl: Sequence[int]) -> str:
    return f"({' '.join(map(str, hkl))})"


def _direction(uvw: Sequence[int]) -> str:
    return f"[{' '.join(map(str, uvw))}]"


def _triple(indices: np.ndarray) -> Indices:
    h, k, l = (int(n) for n in indices)  # noqa: E741  the field's letters
    return h, k, l


def relation_table(relations: Sequence[Relation]) -> list[dict[str, Any]]:
    """Return one row per pair, ready for a data frame, JSON or a CSV file."""
    relations = check_records("relations", relations, Relation, "the result of relate_crystallites")
    return [
        {
            "first": relation.first,
            "second": relation.second,
            "first_phase": relation.phases[0],
            "second_phase": relation.phases[1],
            "probability": relation.probability,
            "touching": relation.touching,
            "to_electrode": relation.to_electrode,
            "misorientation_deg": relation.misorientation_deg,
            "misorientation_sigma_deg": relation.sigma_deg,
            "axis": " ".join(f"{n:.4f}" for n in relation.axis),
            "other_misorientations_deg": " ".join(
                f"{angle:.1f}" for angle in relation.other_misorientations_deg
            ),
            "first_plane": _plane(relation.planes[0]) if relation.planes else None,
            "second_plane": _plane(relation.planes[1]) if relation.planes else None,
            "first_zone_axis": _direction(relation.zone_axes[0]),
            "second_zone_axis": _direction(relation.zone_axes[1]),
            "deviation_deg": relation.deviation_deg,
            "chance": relation.chance,
            "boundary": relation.boundary,
            "coincidence_sigma": relation.coincidence,
            "trace_y0_a": relation.trace_a[0][0] if relation.trace_a else None,
            "trace_x0_a": relation.trace_a[0][1] if relation.trace_a else None,
            "trace_y1_a": relation.trace_a[1][0] if relation.trace_a else None,
            "trace_x1_a": relation.trace_a[1][1] if relation.trace_a else None,
            "trace_length_a": relation.trace_length_a,
            "sentence": relation.sentence,
        }
        for relation in relations
    ]

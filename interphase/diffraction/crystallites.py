"""Crystallites of an image: how large they are, how they lie, and which of them touch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from interphase.diffraction.checks import (
    check_candidates,
    check_numbers,
    check_record,
    check_records,
)
from interphase.diffraction.options import ScalePrior
from interphase.diffraction.regions import EDGE
from interphase.diffraction.results import PhaseMap, Region
from interphase.diffraction.spots import THRESHOLD
from interphase.errors import ParameterError
from interphase.phases import Phase, point_group_rotations

# Diameters over the window's side at which the blur of the window is tabulated; larger
# crystallites are seen as they are, but for a rim.
LARGEST = 3.0
# Variance of the number of points of a square lattice in a circle thrown on it at random, over
# the circle's radius in lattice steps; it goes up and down between 0.42 and 0.54.
COUNT_VARIANCE = 0.47
# Standard error of a diameter that remains for strong spots, over the window's side: the floor
# beneath a spot is higher where the window cuts the rim. Measured on simulated discs of fringes.
RIM_ERROR = 0.15
# Two spots fix an orientation if the sine of the angle between them exceeds this.
NOT_PARALLEL = 0.1
# Orientations that differ by less than this are the same one [degrees].
SAME_DEG = 2.0
# Misfits, as twice the logarithm of the likelihood, that two indexings may differ by before the
# worse one is given up.
AS_GOOD = 9.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Crystallite:
    """One crystallite: what it may be, how large it is and how it lies."""

    region: int
    """Index of its region in the phase map."""
    phase: str
    """Most probable phase, or ``unknown``."""
    probability: float
    """Posterior probability of `phase`."""
    credible_set: tuple[str, ...]
    """Hypotheses that hold 90 % of the probability."""
    centre_a: tuple[float, float]
    """Centre (y, x) from the image's first pixel [Å]."""
    diameter_a: float
    """Diameter of the disc that would be seen over the same area [Å]; 0 for one that is small
    against the window."""
    diameter_low_a: float
    """One standard error below [Å]."""
    diameter_high_a: float
    """One standard error above [Å]."""
    at_border: bool
    """Whether it reaches the border of the searched area, so that it may be larger."""
    zone_axis: tuple[int, int, int] | None
    """Lattice direction [uvw] along the beam in the first of `orientations`; ``None`` where one
    set of fringes leaves it open."""
    orientations: tuple[np.ndarray, ...]
    """Rotations from the crystal's Cartesian axes (those of ``Phase.lattice_vectors``) to (x, y, z)
    of the image, x along columns, y along rows, z along the beam, that the image does not tell
    apart, best first; empty where one set of fringes leaves it open."""
    in_plane_sigma_deg: float | None
    """Standard error of the turn about the beam [degrees]."""
    tilt_sigma_deg: float | None
    """Standard deviation of the tilt out of the zone axis at which such a crystal still shows its
    spots [degrees]: an image of spots alone measures no tilt."""
    covariance: np.ndarray
    """Of a small turn about (x, y, z) of the image [rad²], shape (3, 3); empty without
    orientation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """Two crystallites that touch or overlap in projection."""

    first: int
    """Region of the one."""
    second: int
    """Region of the other, greater than `first`."""
    distance_a: float
    """From centre to centre [Å]."""
    gap_a: float
    """Between the rims [Å]; negative where the crystallites overlap in projection."""
    gap_sigma_a: float
    """Its standard error [Å]."""
    trace_a: tuple[tuple[float, float], tuple[float, float]] | None
    """Ends (y, x) of the straight line along which their areas meet [Å], good to about half a
    window; ``None`` where they are seen over areas too far apart."""
    trace_length_a: float
    """Length of that line [Å]; 0 without."""


def measure_crystallites(
    phase_map: PhaseMap, candidates: Sequence[Phase]
) -> tuple[Crystallite, ...]:
    """Return the crystallites of an image: phase, size and orientation of each region.

    Parameters
    ----------
    phase_map
        Result of `identify_image`.
    candidates
        The phases it was given.

    Returns
    -------
    tuple of Crystallite
        One per region, in the same order.

    Raises
    ------
    ParameterError
        The map is none or that of a diffraction pattern, or a phase is not among the candidates.

    Notes
    -----
    The *size* is that of a disc: a grain of another shape has the same area about. The area over
    which spots are seen is that of the crystallite blurred by the window, see `seen_area`;
    crystallites below half a window are told from smaller ones badly, and the interval says so.
    A large sphere is seen over 0.87 of its diameter, where its thickness is half of that in the
    middle. Fringes that defocus moves, and a crystal that is bent, are not corrected for.

    The *orientation* takes the beam along the zone of the spots. A flat zone layer is the same
    for a crystal turned by half a turn about the beam, and for the mirror image of a crystal, so
    that two orientations are left unless the zone axis is one of even symmetry; two spots at
    right angles may leave more. It is that of the best match of the most probable phase: where
    the phase is ambiguous, so is the orientation.

    Examples
    --------
    >>> from interphase.assessment import Assessment
    >>> from interphase.phases import candidates
    >>> none = PhaseMap(assessment=Assessment.NO_PERIODICITY, sentence="", candidates=("LiF",))
    >>> measure_crystallites(none, candidates("LiF"))
    ()
    """
    _check_map(phase_map)
    named = [r.phase for r in phase_map.regions if r.phase in phase_map.candidates]
    phases = phases_by_name(named, candidates)
    return tuple(
        _crystallite(number, region, phases.get(region.phase), phase_map)
        for number, region in enumerate(phase_map.regions)
    )


def _check_map(phase_map: PhaseMap) -> None:
    check_record("phase_map", phase_map, PhaseMap, "the result of identify_image")
    if phase_map.centre_px is not None:
        raise ParameterError(
            "the phase map is that of a diffraction pattern, which has no places: give the result "
            "of identify_image"
        )


def phases_by_name(named: Iterable[str], candidates: Iterable[Phase]) -> dict[str, Phase]:
    """Return candidates by identifier, or raise where one of those named is not among them."""
    phases = {phase.identifier: phase for phase in check_candidates(candidates)}
    for name in named:
        if name not in phases:
            raise ParameterError(
                f"the map has {name}, and candidates are {', '.join(phases)}: give the phases that "
                "the map was made with"
            )
    return phases


def check_grains(grains: Iterable[Crystallite]) -> tuple[Crystallite, ...]:
    """Return crystallites, or raise where there are none or their orientations are no rotations."""
    found = check_records("grains", grains, Crystallite, "the result of measure_crystallites")
    for grain in found:
        for rotation in grain.orientations:
            name = f"an orientation of region {grain.region}"
            matrix = check_numbers(name, rotation, (3, 3), "a rotation, shape (3, 3)")
            turned = np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-3)
            if not turned or np.linalg.det(matrix) < 0:
                raise ParameterError(f"{name} is no rotation: expected one of Crystallite")
        if grain.orientations:
            name = f"covariance of region {grain.region}"
            spread = check_numbers(name, grain.covariance, (3, 3), "rad², shape (3, 3)")
            if np.diag(spread).min() < 0:
                raise ParameterError(f"{name} has a variance below 0: expected rad²")
    return found


def check_contacts(touching: Iterable[Contact]) -> tuple[Contact, ...]:
    """Return contacts, or raise where there are none or one is of a region with itself."""
    found = check_records("touching", touching, Contact, "the result of find_contacts")
    for contact in found:
        if contact.first == contact.second:
            raise ParameterError(
                f"region {contact.first} touches itself: expected contacts of two regions"
            )
    return found


def _crystallite(
    number: int, region: Region, phase: Phase | None, phase_map: PhaseMap
) -> Crystallite:
    assert region.centre_a is not None
    assert region.area_a2 is not None
    assert phase_map.window_a is not None
    assert phase_map.step_a is not None
    # The windows that show this place best are the same number of steps wide as all others.
    window = region.window_a or phase_map.window_a
    diameter, low, high = diameter_from_area(
        region.area_a2,
        window_a=window,
        step_a=phase_map.step_a * window / phase_map.window_a,
        strength=float(region.spots.strength.max()),
    )
    rows, columns = np.nonzero(phase_map.labels == number + 1)
    shape = phase_map.labels.shape
    at_border = bool(
        len(rows)
        and (min(rows.min(), columns.min()) == 0)
        | (rows.max() == shape[0] - 1)
        | (columns.max() == shape[1] - 1)
    )
    matrices: tuple[np.ndarray, ...] = ()
    covariance, in_plane, tilt, zone_axis = np.zeros((0, 0)), None, None, None
    if phase is not None and region.matched:
        scale = phase_map.parameters.get("scale")
        known = scale.get("anisotropy") if isinstance(scale, Mapping) else None
        k = region.spots.k_per_a[[spot for spot, _ in region.matched]]
        hkl = np.array([indices for _, indices in region.matched])
        covariance = orientation_covariance(
            k,
            region.spots.strength[[spot for spot, _ in region.matched]],
            sigma_per_a=region.spots.sigma_per_a,
            thickness_a=max(diameter, 1 / np.linalg.norm(k, axis=1).max()),
            anisotropy=ScalePrior().anisotropy if known is None else float(known),
        )
        in_plane = float(np.degrees(np.sqrt(covariance[2, 2])))
        matrices = orientations_of(k, hkl, phase, sigma_per_a=region.spots.sigma_per_a)
        if matrices:
            tilt = float(np.degrees(np.sqrt(np.trace(covariance[:2, :2]) / 2)))
            zone_axis = _zone(hkl, matrices[0][2] @ np.linalg.inv(phase.lattice_vectors))
        else:
            covariance = np.zeros((0, 0))
    return Crystallite(
        region=number,
        phase=region.phase,
        probability=region.probability,
        credible_set=region.credible_set,
        centre_a=region.centre_a,
        diameter_a=diameter,
        diameter_low_a=low,
        diameter_high_a=high,
        at_border=at_border,
        zone_axis=zone_axis,
        orientations=matrices,
        in_plane_sigma_deg=in_plane,
        tilt_sigma_deg=tilt,
        covariance=covariance,
    )


def seen_area(diameter_a: float, *, window_a: float, edge: float = EDGE) -> float:
    r"""Return the area over which a disc's fringes are seen through a Hann window.

    Parameters
    ----------
    diameter_a
        Diameter of the disc [Å].
    window_a
        Side of the window [Å].
    edge
        Share of the greatest power from which on a place counts as inside.

    Returns
    -------
    float
        Area [Å²].

    Notes
    -----
    The amplitude in a window at distance :math:`u` is the part of the window's weight that the
    disc covers. With :math:`h(x) = [1 + \cos(2\pi x/W)]/W` and its integral
    :math:`H(y) = y/W + \sin(2\pi y/W)/2\pi`,

    .. math:: a(u) = \int h(\xi)\,[H(c - u_y) - H(-c - u_y)]\,d\xi,\quad
              c^2 = D^2/4 - (u_x + \xi)^2,

    and the area is that in which :math:`a^2 \ge` `edge` :math:`a(0)^2`. A quarter of the power
    is half the amplitude: that of a straight rim, so that large discs are seen at their true
    size, and a point as 0.51 W across.

    Examples
    --------
    >>> [round(float(np.sqrt(4 / np.pi * seen_area(d, window_a=50.0))), 1) for d in (1, 50, 150)]
    [25.4, 46.3, 148.8]
    """
    if not (window_a > 0 and diameter_a >= 0 and 0 < edge < 1):
        raise ParameterError(
            f"diameter_a is {diameter_a!r}, window_a {window_a!r} and edge {edge!r}: expected a "
            "diameter >= 0, a window > 0 and 0 < edge < 1"
        )
    ratios, areas, _ = _blur(round(edge, 2))
    ratio = diameter_a / window_a
    if ratio <= LARGEST:
        return float(np.interp(ratio, ratios, areas)) * window_a**2
    rim = LARGEST - 2 * np.sqrt(areas[-1] / np.pi)
    return float(np.pi / 4 * (ratio - rim) ** 2) * window_a**2


def diameter_from_area(
    area_a2: float, *, window_a: float, step_a: float, strength: float
) -> tuple[float, float, float]:
    """Return a disc's diameter from the area over which it is seen, and its standard interval.

    Parameters
    ----------
    area_a2
        Number of windows that show it times the area of a step [Å²].
    window_a
        Side of a window [Å].
    step_a
        Distance of neighbouring windows [Å].
    strength
        Its greatest power over the noise floor. Weak crystallites are seen where they rise above
        the threshold of detection, not where they fall to the share `EDGE`.

    Returns
    -------
    diameter, low, high
        The diameter and one standard error below and above it [Å]: 0 where the area is no larger
        than that of a point.

    Notes
    -----
    The area has an error from the grid of windows (the count of lattice points in a circle of
    radius r thrown at random has variance 0.47 r) and from the noise of the amplitude, which
    moves the rim. Both are carried through the inverse of `seen_area`.

    Examples
    --------
    >>> area = seen_area(60.0, window_a=50.0)
    >>> [round(d) for d in diameter_from_area(area, window_a=50.0, step_a=12.5, strength=200.0)]
    [60, 52, 67]
    """
    edge = float(np.clip(max(EDGE, THRESHOLD / max(strength, 1.0)), EDGE, 0.9))
    radius = np.sqrt(area_a2 / np.pi)
    counting = np.sqrt(COUNT_VARIANCE * radius * step_a**3)
    _, _, slope = _blur(round(edge, 2))
    # Standard deviation of an amplitude is 0.7 of the floor's; half a window is independent.
    shift = np.sqrt(0.5 / max(strength, 1.0)) / slope * window_a
    rim = 2 * np.pi * radius
    moved = rim * shift * np.sqrt(edge + 1 / max(1.0, rim / (window_a / 2)))
    uneven = rim * RIM_ERROR / 2 * window_a
    sigma = float(np.linalg.norm([counting, moved, uneven]))
    low, middle, high = (
        _diameter(max(area_a2 + n * sigma, 0.0), window_a, edge) for n in (-1, 0, 1)
    )
    return middle, low, high


def _diameter(area_a2: float, window_a: float, edge: float) -> float:
    ratios, areas, _ = _blur(round(edge, 2))
    area = area_a2 / window_a**2
    if area <= areas[-1]:
        return float(np.interp(area, areas, ratios)) * window_a
    rim = LARGEST - 2 * np.sqrt(areas[-1] / np.pi)
    return float(2 * np.sqrt(area / np.pi) + rim) * window_a


@lru_cache(maxsize=512)
def _blur(edge: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Return diameters, the areas they are seen over, and the amplitude's slope at the rim.

    In units of the window's side; the slope is that of a disc of one side, over its amplitude
    in the middle.
    """
    ratios = np.concatenate([[0.02], np.linspace(0.1, LARGEST, 59)])
    node, weight = np.polynomial.legendre.leggauss(32)

    def below(y: np.ndarray) -> np.ndarray:
        y = np.clip(y, -0.5, 0.5)
        return np.asarray(y + np.sin(2 * np.pi * y) / (2 * np.pi))

    angle = (np.arange(4) + 0.5) * np.pi / 16
    r = np.linspace(0, LARGEST / 2 + 0.75, 91)
    ux, uy = r[:, None, None] * np.cos(angle)[:, None], r[:, None, None] * np.sin(angle)[:, None]
    areas = []
    slope = 1.0
    for ratio in ratios:
        # The part of the window's side over which the disc lies.
        first, last = np.maximum(-0.5, -ux - ratio / 2), np.minimum(0.5, ratio / 2 - ux)
        half = np.maximum(last - first, 0) / 2
        x = (first + last) / 2 + half * node
        chord = np.sqrt(np.maximum(ratio**2 / 4 - (ux + x) ** 2, 0))
        covered = (below(chord - uy) - below(-chord - uy)) * (1 + np.cos(2 * np.pi * x))
        amplitude = (covered * half * weight).sum(axis=-1)
        relative = amplitude / amplitude[:1]
        # Radius at which the amplitude has fallen to the share, along each of the directions.
        rim = [np.interp(-np.sqrt(edge), -column, r) for column in relative.T]
        areas.append(np.pi * np.mean(np.square(rim)))
        if ratio <= 1:
            slope = float(-np.interp(np.mean(rim), r, np.gradient(relative.mean(axis=1), r)))
    return ratios, np.maximum.accumulate(np.array(areas)), slope


def orientations_of(
    k_per_a: np.ndarray, hkl: np.ndarray, phase: Phase, *, sigma_per_a: float
) -> tuple[np.ndarray, ...]:
    """Return the orientations that put reflections onto spots of an image.

    Parameters
    ----------
    k_per_a
        Spots (ky, kx), either one of each Friedel pair [1/Å], shape (S, 2).
    hkl
        Their indices, shape (S, 3).
    phase
        The crystal.
    sigma_per_a
        Standard deviation of a spot's position [1/Å].

    Returns
    -------
    tuple of ndarray
        Rotations from the crystal's axes to (x, y, z), shape (3, 3), best first, of those
        equivalent by symmetry the first; none if all spots are in line.

    Notes
    -----
    Each sign of the second spot against the first is tried, the rest follow. The rotation is that
    of least squares ([1]_), the beam across all reflections.

    References
    ----------
    .. [1] W. Kabsch, Acta Cryst. A 32, 922 (1976), doi:10.1107/S0567739476001873

    Examples
    --------
    >>> from interphase.phases import load_phase
    >>> hkl = np.array([[2, 0, 0], [0, 2, 0]])
    >>> one = orientations_of(hkl[:, 1::-1] / 4.0263, hkl, load_phase("LiF"), sigma_per_a=0.01)
    >>> len(one), bool(np.allclose(one[0], np.eye(3)))
    (1, True)
    """
    g = hkl @ phase.reciprocal_vectors
    k = np.column_stack([k_per_a[:, 1], k_per_a[:, 0], np.zeros(len(k_per_a))])
    # A common error of scale does not turn anything.
    k = k * np.sqrt((g**2).sum() / (k**2).sum())
    sine = np.abs(np.cross(k[:, None], k)[..., 2]) / np.outer(*[np.linalg.norm(k, axis=1)] * 2)
    first, second = np.unravel_index(sine.argmax(), sine.shape)
    if sine[first, second] < NOT_PARALLEL:
        return ()
    solutions = []
    for sign in (1, -1):
        pair = _turned(np.stack([k[first], sign * k[second]]), g[[first, second]])
        signs = np.where((k * (g @ pair.T)).sum(axis=1) < 0, -1, 1)[:, None]
        matrix = _turned(signs * k, g)
        misfit = np.square((signs * k - g @ matrix.T)[:, :2]).sum() / sigma_per_a**2
        solutions.append((misfit, matrix))
    solutions.sort(key=lambda solution: solution[0])
    half_turn = np.diag([-1.0, -1.0, 1.0])
    group = point_group_rotations(phase)
    distinct: list[np.ndarray] = []
    for misfit, matrix in solutions:
        if misfit > solutions[0][0] + AS_GOOD:
            continue
        for turned in (matrix, half_turn @ matrix):
            if all(smallest_angle(turned.T @ other, group) > SAME_DEG for other in distinct):
                distinct.append(turned)
    return tuple(distinct)


def _turned(k: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Return the rotation that best turns rows `g` onto rows `k`."""
    u, _, v = np.linalg.svd(k.T @ g)
    return np.asarray(u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v)


def smallest_angle(matrix: np.ndarray, group: np.ndarray) -> float:
    """Return the smallest angle of a rotation followed by one of a group [degrees]."""
    trace = np.einsum("ij,nji->n", matrix, group).max()
    return float(np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1))))


def _zone(hkl: np.ndarray, beam: np.ndarray) -> tuple[int, int, int]:
    """Return the zone axis of reflections, in the sense of the beam's direction [uvw]."""
    axes = np.cross(hkl[:, None], hkl).reshape(-1, 3)
    axes = axes[np.any(axes != 0, axis=1)]
    axes = axes // np.gcd.reduce(axes, axis=1)[:, None]
    _, index, count = np.unique(np.abs(axes), axis=0, return_index=True, return_counts=True)
    axis = axes[index[count.argmax()]]
    u, v, w = (int(n) for n in (axis if axis @ beam > 0 else -axis))
    return u, v, w


def orientation_covariance(
    k_per_a: np.ndarray,
    strength: np.ndarray,
    *,
    sigma_per_a: float,
    thickness_a: float,
    anisotropy: float,
) -> np.ndarray:
    r"""Return how far an orientation found from spots may be off.

    Parameters
    ----------
    k_per_a
        Spots (ky, kx) that belong to the crystal [1/Å], shape (S, 2).
    strength
        Power over the floor, shape (S,).
    sigma_per_a
        Standard deviation of their positions along each axis [1/Å].
    thickness_a
        Length of the crystal along the beam [Å].
    anisotropy
        Standard deviation of the anisotropic part of the image's distortion (fraction).

    Returns
    -------
    ndarray
        Covariance of a small turn about (x, y, z) [rad²], shape (3, 3). Tilts that spots
        in line leave open are held to 10°.

    Notes
    -----
    With :math:`\kappa = k_x + i k_y` the turn in the plane has the variance
    :math:`\sigma^2/\sum|\kappa|^2 + a^2 |\sum \kappa^2|^2/(\sum|\kappa|^2)^2`: a stretch along
    one direction turns spots that lie on one side, and those spread evenly not at all. A tilt
    moves a reflection off the Ewald sphere by :math:`s = \tau \times k`; its intensity
    falls as :math:`\exp(-2.08 s^2 t^2)` with the thickness t, down to the threshold. Within the
    range in which it is seen every tilt is taken as likely. What makes one spot visible makes
    others so, and all of them together count as two.
    """
    x, y = k_per_a[:, 1], k_per_a[:, 0]
    total = np.square(k_per_a).sum()
    uneven = np.abs(np.square(x + 1j * y).sum()) / total
    covariance = np.zeros((3, 3))
    covariance[2, 2] = sigma_per_a**2 / total + (anisotropy * uneven) ** 2
    arm = np.stack([y, -x])
    seen_to = np.log(np.maximum(strength / THRESHOLD, 2.0)) / (2.08 * thickness_a**2)
    precision = 3 * (arm / seen_to) @ arm.T * min(1.0, 2 / len(k_per_a))
    covariance[:2, :2] = np.linalg.inv(precision + np.eye(2) / np.radians(10) ** 2)
    return covariance


def find_contacts(phase_map: PhaseMap, grains: Sequence[Crystallite]) -> tuple[Contact, ...]:
    """Return which crystallites touch or overlap in projection.

    Two do unless there is a gap between their rims of more than twice its standard error. The gap
    is the smaller of two: that between discs of the measured diameters, and that between the
    areas over which they are seen less the blur of the window, which knows their shape. In an
    image of a film thicker than the crystallites are wide, overlap in projection is no contact.

    Parameters
    ----------
    phase_map
        Result of `identify_image`.
    grains
        Its `measure_crystallites`.

    Returns
    -------
    tuple of Contact
        Ordered by the regions.

    Raises
    ------
    ParameterError
        The map is none or that of a diffraction pattern, or the crystallites are another map's.
    """
    _check_map(phase_map)
    grains = check_grains(grains)
    last = max((grain.region for grain in grains), default=-1)
    if last >= len(phase_map.regions):
        raise ParameterError(
            f"grains have region {last}, and the map has {len(phase_map.regions)} regions: give "
            "the crystallites that were measured in this map"
        )
    if len(grains) < 2:
        return ()
    from scipy.spatial import cKDTree

    assert phase_map.step_a is not None
    step = phase_map.step_a
    radius = np.array([grain.diameter_a / 2 for grain in grains])
    sigma = np.array([(grain.diameter_high_a - grain.diameter_low_a) / 4 for grain in grains])
    seen = [np.sqrt((phase_map.regions[g.region].area_a2 or 0.0) / np.pi) for g in grains]
    blur = np.maximum(np.array(seen) - radius, 0)
    centre = np.array([grain.centre_a for grain in grains])
    distance = np.linalg.norm(centre[:, None] - centre, axis=2)
    # Places lie on a grid: that of a rim is uncertain by an even share of its step.
    error = np.sqrt(sigma[:, None] ** 2 + sigma**2 + step**2 / 12)
    gap = distance - radius[:, None] - radius

    number = np.full(len(phase_map.regions) + 1, -1)
    number[[grain.region + 1 for grain in grains]] = np.arange(len(grains))
    owner = number[phase_map.labels]
    owned = np.argwhere(owner >= 0)
    owner = owner[owned[:, 0], owned[:, 1]]
    cells = owned * step + np.array(phase_map.origin_a)
    reach = step + max(1.5 * step, 2 * float(error.max()))
    near = cKDTree(cells).query_pairs(reach, output_type="ndarray")
    near = near[owner[near[:, 0]] != owner[near[:, 1]]]
    ends = np.sort(owner[near], axis=1)
    apart = np.linalg.norm(cells[near[:, 0]] - cells[near[:, 1]], axis=1)
    between = apart - step + blur[ends[:, 0]] + blur[ends[:, 1]]
    np.minimum.at(gap, (ends[:, 0], ends[:, 1]), between)

    found = []
    for i, j in np.argwhere(np.triu(gap <= 2 * error, 1)):
        meet = (ends == (i, j)).all(axis=1)
        # The places that are as near to each other as any are, within a diagonal's excess.
        meet &= apart < apart[meet].min(initial=np.inf) + 0.3 * step
        trace, length = _line(cells[near[meet]].mean(axis=1), step)
        found.append(
            Contact(
                first=grains[i].region,
                second=grains[j].region,
                distance_a=float(distance[i, j]),
                gap_a=float(gap[i, j]),
                gap_sigma_a=float(error[i, j]),
                trace_a=trace,
                trace_length_a=length,
            )
        )
    return tuple(found)


def _line(
    points: np.ndarray, step: float
) -> tuple[tuple[tuple[float, float], tuple[float, float]] | None, float]:
    """Return ends and length of the straight line through midpoints between windows."""
    if len(points) == 0:
        return None, 0.0
    middle = points.mean(axis=0)
    direction = np.linalg.svd(points - middle, full_matrices=False)[2][0]
    along = (points - middle) @ direction
    ends = [
        middle + (edge + sign * step / 2) * direction
        for edge, sign in ((along.min(), -1), (along.max(), 1))
    ]
    (y0, x0), (y1, x1) = (map(float, end) for end in ends)
    return ((y0, x0), (y1, x1)), float(np.ptp(along) + step)


def crystallite_table(
    grains: Sequence[Crystallite], touching: Sequence[Contact] = ()
) -> list[dict[str, Any]]:
    """Return one row per crystallite, ready for a data frame, JSON or a CSV file.

    Parameters
    ----------
    grains
        From `measure_crystallites`.
    touching
        From `find_contacts`; they fill the column ``neighbours`` with region numbers.

    Returns
    -------
    list of dict
        Numbers, words and ``None``; the orientation is written row by row.
    """
    grains, touching = check_grains(grains), check_contacts(touching)
    neighbours: dict[int, list[int]] = {}
    for contact in touching:
        neighbours.setdefault(contact.first, []).append(contact.second)
        neighbours.setdefault(contact.second, []).append(contact.first)
    return [
        {
            "region": grain.region,
            "phase": grain.phase,
            "probability": grain.probability,
            "credible_set": " ".join(grain.credible_set),
            "centre_y_a": grain.centre_a[0],
            "centre_x_a": grain.centre_a[1],
            "diameter_a": grain.diameter_a,
            "diameter_low_a": grain.diameter_low_a,
            "diameter_high_a": grain.diameter_high_a,
            "at_border": grain.at_border,
            "zone_axis": " ".join(map(str, grain.zone_axis)) if grain.zone_axis else None,
            "orientation": (
                " ".join(f"{n:.5f}" for n in grain.orientations[0].ravel())
                if grain.orientations
                else None
            ),
            "orientations_possible": len(grain.orientations),
            "in_plane_sigma_deg": grain.in_plane_sigma_deg,
            "tilt_sigma_deg": grain.tilt_sigma_deg,
            "neighbours": " ".join(map(str, sorted(neighbours.get(grain.region, [])))),
        }
        for grain in grains
    ]

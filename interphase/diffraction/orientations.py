"""How the crystal of a diffraction pattern lies, to a fraction of a degree.

Two spots that are not in line and the two reflections that may have made them fix an orientation.
All reflections of the phase are tried on the pairs of the strongest spots, and in small steps about
the two strongest, so no grid of all orientations is stepped through. Each trial is judged by all
spots and all reflections that it should excite, and the best are turned until they fit best.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from interphase.diffraction.catalogue import PhaseKey
from interphase.diffraction.checks import (
    check_number,
    check_numbers,
    check_phase,
)
from interphase.diffraction.templates import _lattice_directions
from interphase.errors import ParameterError
from interphase.phases import Phase, point_group_rotations, reflections

if TYPE_CHECKING:
    from interphase.diffraction.orientation_kernels import Problem

# Spots whose pairs propose orientations; the strongest, one of each Friedel pair.
BASE_SPOTS = 6
# Proposed orientations are judged as those of a crystal of this length [Å]: short, so that a
# neighbourhood of some degrees is seen.
FIRST_THICKNESS_A = 40.0
# Lengths of crystals along the beam that are considered [Å].
THICKNESS_RANGE_A = (20.0, 300.0)
# Proposals that a rough score lets pass.
SHORT_LIST = 100
# Proposals that are turned a little, and those of them that are turned to the end.
PROPOSALS, FINALISTS = 6, 3
# Proposals nearer than this are the same [degrees].
APART_DEG = 4.0
# Angles between spots agree with those of reflections to this [degrees]: a spot need not lie in the
# plane, and short ones are least certain.
OFF_ANGLE_DEG = 3.0
# More proposals than this are not looked at.
MOST_PROPOSALS = 20_000
# First steps of the search: tilts and turn [degrees], logarithm of thickness.
STEP_DEG, STEP_LOG_T = (2.0, 2.0, 0.7), 0.35
# Spots about which a crystal is turned.
ROWS = 2
# Distance over which curvature is measured [degrees].
CURVATURE_STEP_DEG = 0.5
# Distance of trials about a row of spots [degrees].
ROW_STEP_DEG = 3.0
# Standard deviation of the logarithm of measured over kinematic intensity: a factor of three, as
# dynamical scattering makes of thin crystals.
SPREAD = 1.1
# Range of the logarithm of the intensities of clutter.
CLUTTER_RANGE = 4.0
# Spots that belong to no reflection: at least so many, and this share of all.
LEAST_CLUTTER, CLUTTER = 2.0, 0.2
# Probability to see a strong reflection.
LARGEST = 0.9
# Errors of a spot's position and spatial frequencies that patterns of crystals have [1/Å]; beyond,
# every spot fits every reflection, and units are mistaken.
SIGMA_RANGE_PER_A = (1e-6, 0.1)
MOST_K_PER_A = 20.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Orientation:
    """An orientation of a crystal that explains a pattern, and how well it does."""

    phase: str
    """The phase's identifier."""
    rotation: np.ndarray
    """Matrix that takes vectors of the crystal, in the frame of ``Phase.lattice_vectors``, to the
    pattern's x (columns), y (rows) and z (along the beam), shape (3, 3)."""
    log_odds: float
    """Logarithm of the likelihood of the spots over that of spots scattered at random; that of
    another orientation may be subtracted from it."""
    zone_axis: tuple[int, int, int]
    """Direction of small integers [u, v, w] nearest to the beam's."""
    zone_axis_off_deg: float
    """Angle between that direction and the beam's [degrees]."""
    in_plane_deg: float
    """Direction, from columns towards rows, of the projection of the first of a, b and c that does
    not run along the beam [degrees], -180 to 180."""
    tilt_sigma_deg: float
    """Standard deviation of the beam's direction in the crystal about either axis across it
    [degrees], from the curvature of `log_odds`; NaN where the spots do not fix it. It knows nothing
    of other orientations, which may explain the spots as well."""
    in_plane_sigma_deg: float
    """Standard deviation of the rotation about the beam [degrees], in the same way."""
    thickness_a: float
    """Length along the beam of the crystal whose reflections are as sharp [Å]; a few of them are
    not found to better than a factor of two."""
    scale_error: float
    """Fraction by which the pattern's reciprocal lengths are too large in this match."""
    matched: tuple[tuple[int, tuple[int, int, int]], ...]
    """Pairs of spot number and hkl, of spots within three standard deviations of a reflection."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Reflections:
    """What matching needs of a phase."""

    hkl: np.ndarray
    g: np.ndarray
    log_intensity: np.ndarray
    fourth_root: np.ndarray
    length: np.ndarray
    unique: np.ndarray
    symmetry: np.ndarray
    uvw: np.ndarray
    zone: np.ndarray


@lru_cache(maxsize=64)
def _prepared(key: PhaseKey, d_min_a: float) -> _Reflections:
    table = reflections(key.phase, d_min_a=d_min_a)
    order = np.argsort(-table.d_a, kind="stable")
    g, symmetry = table.g_per_a[order], point_group_rotations(key.phase)
    # Of reflections that a rotation or inversion makes equal, the first stands for all: the other
    # choices give equal orientations or their half turns about the beam.
    group = np.concatenate([symmetry, -symmetry])
    reference = np.array([0.9123, 0.3517, 0.2098])
    closest = np.einsum("nij,gj,i->ng", group, g, reference).max(axis=0)
    uvw, zone = _lattice_directions(key.phase.lattice_vectors, largest=4)
    return _Reflections(
        hkl=table.hkl[order],
        g=np.ascontiguousarray(np.concatenate([g.T, (g**2).sum(axis=1)[None]])),
        log_intensity=np.log(table.relative[order]),
        fourth_root=table.relative[order] ** 0.25,
        length=np.linalg.norm(g, axis=1),
        unique=g @ reference >= closest - 1e-9,
        symmetry=np.ascontiguousarray(symmetry),
        uvw=uvw,
        zone=zone,
    )


def match_orientation(
    k_per_a: np.ndarray,
    intensity: np.ndarray,
    *,
    phase: Phase,
    beam_energy_kev: float,
    sigma_per_a: float,
    d_min_a: float = 1.1,
    k_range_per_a: tuple[float, float] | None = None,
    scale_sigma: float = 0.0,
    most: int = 1,
) -> tuple[Orientation, ...]:
    r"""Return how a crystal of one phase must lie to make the spots of a pattern.

    It asks where a phase points, not whether it is that phase: something is found for most
    patterns. Which phase it is, `identify_pattern` says.

    Parameters
    ----------
    k_per_a
        Positions (ky, kx) of the spots from the direct beam [1/Å], both of each Friedel pair where
        both are seen, ndarray of shape (S, 2).
    intensity
        Intensity of each spot above its background, any unit, shape (S,).
    phase
        The phase.
    beam_energy_kev
        Beam energy [keV]; it curves the Ewald sphere.
    sigma_per_a
        Standard deviation of a spot's position along each axis [1/Å].
    d_min_a
        Shortest spacing considered [Å].
    k_range_per_a
        Least and greatest spatial frequency that the pattern shows [1/Å]; up to ``1 / d_min_a`` if
        not given.
    scale_sigma
        Standard deviation of the error of the pattern's scale (fraction); with 0 the scale is
        taken as exact.
    most
        Orientations to return.

    Returns
    -------
    tuple of Orientation
        At most `most`, the likeliest first, distinct by more than four degrees; empty if no
        reflection has the length of a spot.

    Raises
    ------
    ParameterError
        The arrays do not belong together, or a number is outside what it can mean.

    Notes
    -----
    An orientation is judged by the logarithm of

    .. math:: L = \prod_j (1 - p_j) \prod_i \max_{j \to i} \Big[ 1, \frac{p_j}{(1 - p_j)\,\rho}
              N(k_i; g_j, \sigma^2)\, f(\ln I_i - \ln I_j) \Big],

    where reflection j is seen with a probability :math:`p_j` that grows with its intensity
    :math:`I_j = |F_j|^2 \exp[-2.08\,(s_j t)^2]`. The excitation error is
    :math:`s = g_z + \lambda g^2 / 2`; the thickness t is found together with the orientation;
    :math:`\rho` is the density of spots that belong to nothing; f is a long-tailed distribution a
    factor of three wide, because dynamical scattering changes intensities. Reflections that should
    be seen and are not count against an orientation; spots that it does not explain count for
    nothing.

    The two orientations that half a turn about the beam makes of each other differ only by the
    curvature of the sphere, and so do two tilts of opposite sign where all spots are of one zone:
    ask for several orientations and compare their `Orientation.log_odds`.

    The correlation of sparse patterns with all orientations of a grid is that of Ophus et al.,
    Microsc. Microanal. 28, 390 (2022), doi:10.1017/S1431927622000101; here the grid is replaced by
    the orientations that pairs of spots propose.

    Examples
    --------
    >>> from interphase.phases import load_phase, reflections
    >>> lif = load_phase("LiF")
    >>> table = reflections(lif, d_min_a=1.1)
    >>> zone = abs(table.g_per_a[:, 2]) < 1e-9
    >>> match_orientation(
    ...     table.g_per_a[zone][:, 1::-1], table.intensity[zone],
    ...     phase=lif, beam_energy_kev=300.0, sigma_per_a=0.005,
    ... )[0].zone_axis in {(1, 0, 0), (0, 1, 0), (0, 0, 1), (-1, 0, 0), (0, -1, 0), (0, 0, -1)}
    True
    """
    from interphase.diffraction import orientation_kernels as kernels
    from interphase.electron import wavelength_from_energy

    k = check_numbers("k_per_a", k_per_a, (None, 2), "a row (ky, kx) per spot [1/Å], (S, 2)")
    intensity = check_numbers("intensity", intensity, (len(k),), f"{len(k)} numbers, one per spot")
    check_phase("phase", phase)
    check_number("beam_energy_kev", beam_energy_kev, 1, 3000, "keV (not eV)")
    check_number("sigma_per_a", sigma_per_a, *SIGMA_RANGE_PER_A, "1/Å")
    check_number("scale_sigma", scale_sigma, 0, 0.1)
    check_number("most", most, 1, 1000, whole=True)
    check_number("d_min_a", d_min_a, 1 / MOST_K_PER_A, 100, "Å")
    k_min, k_max = 0.0, 1 / d_min_a
    if k_range_per_a is not None:
        meaning = "the least and the greatest spatial frequency [1/Å]"
        k_min, k_max = map(float, check_numbers("k_range_per_a", k_range_per_a, (2,), meaning))
        if not 0 <= k_min < k_max <= MOST_K_PER_A:
            raise ParameterError(
                f"k_range_per_a is ({k_min:g}, {k_max:g}) 1/Å: expected two numbers that rise, "
                f"from 0 to {MOST_K_PER_A:g}"
            )
    inside = (np.hypot(*k.T) <= k_max) & (np.hypot(*k.T) >= k_min) & (intensity > 0)
    number = np.flatnonzero(inside)
    if len(number) == 0:
        return ()
    known = _prepared(PhaseKey(phase), d_min_a)
    x, y = np.ascontiguousarray(k[number, 1]), np.ascontiguousarray(k[number, 0])
    log_measured = np.log(intensity[number])
    clutter = max(LEAST_CLUTTER, CLUTTER * len(number)) / (np.pi * (k_max**2 - k_min**2))
    reach = k_max * (1 + 4 * scale_sigma)
    cell = max(sigma_per_a, reach / 128)
    problem = kernels.Problem(
        g=known.g,
        log_intensity=known.log_intensity,
        fourth_root=known.fourth_root,
        half_wavelength=float(wavelength_from_energy(beam_energy_kev)) / 2,
        k_min=k_min,
        k_max=k_max,
        x=x,
        y=y,
        log_measured=log_measured,
        log_threshold=float(log_measured.min()),
        sigma=sigma_per_a,
        log_peak=_log_peak(sigma_per_a, clutter),
        spread=SPREAD,
        largest=LARGEST,
        raster=kernels.paint_spots(x, y, reach, cell, 3 * sigma_per_a),
        cell=cell,
        scratch=np.zeros((4, len(known.length))),
    )
    proposals = _proposals(problem, known, sigma_per_a, scale_sigma)
    wide = problem._replace(sigma=2 * sigma_per_a, log_peak=_log_peak(2 * sigma_per_a, clutter))
    step = np.array([*np.radians(STEP_DEG), STEP_LOG_T, scale_sigma / 2])
    limits = (float(np.log(THICKNESS_RANGE_A[0])), float(np.log(THICKNESS_RANGE_A[1])))
    start = np.array([0.0, 0.0, 0.0, np.log(FIRST_THICKNESS_A), 0.0])
    found = kernels.best_orientations(
        proposals,
        start,
        step,
        (SHORT_LIST, max(PROPOSALS, 2 * most), max(FINALISTS, most), most),
        float(np.radians(APART_DEG)),
        limits,
        scale_sigma,
        known.symmetry,
        wide,
        problem,
    )
    return tuple(
        _described(phase, known, problem, number, rotation, value, trial, scale_sigma)
        for rotation, value, trial in zip(*found, strict=True)
    )


def misorientation_deg(
    first: np.ndarray, second: np.ndarray, symmetry: np.ndarray, *, half_turn: bool = True
) -> float:
    """Return the angle between two orientations of one crystal, equal ones being 0 apart.

    Parameters
    ----------
    first, second
        Matrices from the crystal to the pattern, as `Orientation.rotation`, shape (3, 3).
    symmetry
        Result of `interphase.phases.point_group_rotations`, shape (n, 3, 3).
    half_turn
        Count orientations that half a turn about the beam makes of each other as equal: only the
        curvature of the Ewald sphere tells them apart in a pattern.

    Returns
    -------
    float
        The angle [degrees].

    Raises
    ------
    ParameterError
        A matrix is no rotation, or the symmetry holds none.

    Examples
    --------
    >>> turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    >>> misorientation_deg(np.eye(3), turn, np.eye(3)[None])
    90.0
    >>> misorientation_deg(np.eye(3), turn @ turn, np.eye(3)[None])
    0.0
    """
    symmetry = check_numbers("symmetry", symmetry, (None, 3, 3), "rotations, shape (n, 3, 3)")
    first, second = (
        check_numbers(name, matrix, (3, 3), "a rotation, shape (3, 3)")
        for name, matrix in (("first", first), ("second", second))
    )
    every = np.stack([first, second, *symmetry])
    square = every @ every.transpose(0, 2, 1)
    proper = np.allclose(square, np.eye(3), atol=1e-3) and np.all(np.linalg.det(every) > 0)
    if len(symmetry) == 0 or not proper:
        raise ParameterError(
            f"first, second or one of the {len(symmetry)} matrices of symmetry is no rotation: "
            "expected Orientation.rotation and interphase.phases.point_group_rotations"
        )
    turns = [np.eye(3)] + [np.diag([-1.0, -1.0, 1.0])] * half_turn
    traces = [np.einsum("nij,ji->n", symmetry, second.T @ turn @ first).max() for turn in turns]
    return float(np.degrees(np.arccos(np.clip((max(traces) - 1) / 2, -1, 1))))


def _proposals(
    problem: "Problem", known: _Reflections, sigma: float, scale_sigma: float
) -> np.ndarray:
    """Return the rotations that the strongest spots propose, shape (n, 3, 3)."""
    from interphase.diffraction import orientation_kernels as kernels

    x, y = problem.x, problem.y
    base: list[int] = []
    for spot in np.argsort(-problem.log_measured, kind="stable"):
        # The mate of a spot proposes nothing new.
        apart = [np.hypot(x[spot] + x[b], y[spot] + y[b]) for b in base]
        if not base or min(apart) > 4 * sigma:
            base.append(int(spot))
        if len(base) == BASE_SPOTS:
            break
    length = np.hypot(x, y)
    # A reflection that is excited off the plane is a little longer than its spot.
    tolerance = 3 * np.hypot(sigma, scale_sigma * length) + 0.003 * length
    pairs = np.array(list(combinations(base, 2)), dtype=int).reshape(-1, 2)
    a, b = pairs.T
    sine = np.abs(x[a] * y[b] - y[a] * x[b]) / (length[a] * length[b])
    pairs = pairs[sine > 0.1]
    rows = [
        kernels.row_rotations(
            x[s], y[s], known.g, known.length, known.unique, tolerance[s], np.radians(ROW_STEP_DEG)
        )
        for s in base[:ROWS]
    ]
    if len(pairs):
        found = kernels.pair_rotations(
            x,
            y,
            np.ascontiguousarray(pairs[:, 0]),
            np.ascontiguousarray(pairs[:, 1]),
            known.g,
            known.length,
            known.unique,
            tolerance,
            np.radians(OFF_ANGLE_DEG),
            MOST_PROPOSALS,
        )
        rows.append(found)
    return np.concatenate(rows)


def _log_peak(sigma: float, clutter: float) -> float:
    """Return the logarithm of the greatest density of a reflection's spot over clutter's."""
    # 2.22 is the integral of 1 / (1 + x² / 2) in units of its width over √2·π.
    return float(
        -np.log(2 * np.pi * sigma**2 * clutter)
        + np.log(CLUTTER_RANGE / (np.sqrt(2) * np.pi * SPREAD))
    )


def _described(
    phase: Phase,
    known: _Reflections,
    problem: "Problem",
    number: np.ndarray,
    rotation: np.ndarray,
    value: float,
    trial: np.ndarray,
    scale_sigma: float,
) -> Orientation:
    """Return the record of a match."""
    from interphase.diffraction import orientation_kernels as kernels

    thickness = float(np.exp(trial[3]))
    turned = rotation @ known.g[:3]
    excited = np.abs(turned[2] + problem.half_wavelength * known.g[3]) * thickness < 1.5
    predicted = (1 + trial[4]) * turned[:2, excited]
    hkl = known.hkl[excited]
    matched = []
    for spot in range(len(problem.x)):
        off = np.hypot(predicted[0] - problem.x[spot], predicted[1] - problem.y[spot])
        if len(off) and off.min() < 3 * problem.sigma:
            h, k, l = (int(i) for i in hkl[off.argmin()])  # noqa: E741
            matched.append((int(number[spot]), (h, k, l)))
    # Among directions about equally near, the one of smallest indices is meant.
    off_deg = np.degrees(np.arccos(np.clip(known.zone @ rotation[2], -1, 1)))
    nearest = int(np.argmin(off_deg + np.abs(known.uvw).sum(axis=1)))
    u, v, w = (int(i) for i in known.uvw[nearest])
    axes = phase.lattice_vectors / np.linalg.norm(phase.lattice_vectors, axis=1)[:, None]
    along = axes @ rotation.T
    axis = along[int(np.argmax(np.hypot(along[:, 0], along[:, 1]) > 0.3))]
    hessian = kernels.curvature(rotation, *trial[3:], np.radians(CURVATURE_STEP_DEG), problem)
    tilt_sigma, in_plane_sigma = float("nan"), float("nan")
    if np.isfinite(hessian).all() and np.linalg.eigvalsh(hessian)[0] > 0:
        variance = np.diag(np.linalg.inv(hessian))
        tilt_sigma = float(np.degrees(np.sqrt(variance[:2].mean())))
        in_plane_sigma = float(np.degrees(np.sqrt(variance[2])))
    return Orientation(
        phase=phase.identifier,
        rotation=rotation,
        log_odds=float(value),
        zone_axis=(u, v, w),
        zone_axis_off_deg=float(off_deg[nearest]),
        in_plane_deg=float(np.degrees(np.arctan2(axis[1], axis[0]))),
        tilt_sigma_deg=tilt_sigma,
        in_plane_sigma_deg=in_plane_sigma,
        thickness_a=thickness,
        scale_error=float(trial[4]) if scale_sigma > 0 else 0.0,
        matched=tuple(matched),
    )

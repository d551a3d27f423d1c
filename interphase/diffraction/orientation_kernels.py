"""Compiled loops of `interphase.diffraction.orientations`.

Import it inside functions: numba takes a moment to load.

A trial is a vector (ωx, ωy, ωz, ln t, e): a rotation [rad] applied after a reference rotation, the
logarithm of the crystal's length along the beam [Å], and the fraction by which the pattern's
reciprocal lengths come out too large.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

_compiled: Any = njit(cache=True)
"""The compiler; it is untyped, and so is what it makes."""

TRIALS = 5
"""Coordinates of a trial."""
_FADED = 2.0
"""Excitation error times thickness beyond which a reflection counts as not excited."""


class Problem(NamedTuple):
    """The reflections of a phase and the spots they are compared with."""

    g: np.ndarray
    """Rows gx, gy, gz [1/Å] and g² [1/Å²], shape (4, R)."""
    log_intensity: np.ndarray
    """Logarithm of the expected intensity at no excitation error, shape (R,)."""
    fourth_root: np.ndarray
    """Fourth root of that intensity, shape (R,)."""
    half_wavelength: float
    """[Å]"""
    k_min: float
    k_max: float
    """Range that the pattern shows [1/Å]."""
    x: np.ndarray
    y: np.ndarray
    """Spots [1/Å], shape (S,)."""
    log_measured: np.ndarray
    """Logarithm of the measured intensity, shape (S,)."""
    log_threshold: float
    """The same of the weakest spot that is listed."""
    sigma: float
    """Standard deviation of a spot's position [1/Å]."""
    log_peak: float
    """Logarithm of the density of a reflection's spot at its place and intensity over that of
    clutter."""
    spread: float
    """Standard deviation of the logarithm of measured over kinematic intensity."""
    largest: float
    """Probability to see a strong reflection."""
    raster: np.ndarray
    """Result of `paint_spots`."""
    cell: float
    """Side of the cells of the raster [1/Å]."""
    scratch: np.ndarray
    """Room for the reflections that are excited, shape (4, R)."""


@_compiled  # type: ignore[untyped-decorator]
def paint_spots(
    x: np.ndarray, y: np.ndarray, k_max: float, cell: float, reach: float
) -> np.ndarray:
    """Return for each cell of a square raster the spot nearest to it within reach, else -1."""
    side = 2 * int(np.ceil(k_max / cell)) + 3
    raster = np.full((side, side), -1, dtype=np.int16)
    wide = reach + 0.71 * cell
    steps = int(np.ceil(wide / cell))
    middle = side // 2
    for spot in range(len(x)):
        row, column = middle + int(np.rint(y[spot] / cell)), middle + int(np.rint(x[spot] / cell))
        for i in range(max(0, row - steps), min(side, row + steps + 1)):
            for j in range(max(0, column - steps), min(side, column + steps + 1)):
                cy, cx = (i - middle) * cell, (j - middle) * cell
                square = (cy - y[spot]) ** 2 + (cx - x[spot]) ** 2
                if square > wide * wide:
                    continue
                other = raster[i, j]
                if other < 0 or square < (cy - y[other]) ** 2 + (cx - x[other]) ** 2:
                    raster[i, j] = spot
    return raster


@_compiled  # type: ignore[untyped-decorator]
def turned(trial: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Return the rotation by the vector `trial[:3]` after `reference`."""
    angle = np.sqrt(trial[0] ** 2 + trial[1] ** 2 + trial[2] ** 2)
    if angle < 1e-12:
        return reference.copy()
    x, y, z = trial[0] / angle, trial[1] / angle, trial[2] / angle
    c, s = np.cos(angle), np.sin(angle)
    d = 1 - c
    rotation = np.array(
        [
            [c + x * x * d, x * y * d - z * s, x * z * d + y * s],
            [y * x * d + z * s, c + y * y * d, y * z * d - x * s],
            [z * x * d - y * s, z * y * d + x * s, c + z * z * d],
        ]
    )
    product: np.ndarray = rotation @ reference
    return product


@_compiled  # type: ignore[untyped-decorator]
def rough_score(rotation: np.ndarray, t: float, problem: Problem) -> float:
    """Return a quick measure of how well an orientation explains the spots.

    The sum over reflections that lie on a spot, less a share of those that do not.
    """
    g, raster, cell = problem.g, problem.raster, problem.cell
    furthest, middle = 1 / t, raster.shape[0] // 2
    k_max2, k_min2 = problem.k_max**2, problem.k_min**2
    found, missed = 0.0, 0.0
    for j in range(g.shape[1]):
        along = rotation[2, 0] * g[0, j] + rotation[2, 1] * g[1, j] + rotation[2, 2] * g[2, j]
        excitation = along + problem.half_wavelength * g[3, j]
        if excitation > furthest or excitation < -furthest:
            continue
        kx = rotation[0, 0] * g[0, j] + rotation[0, 1] * g[1, j] + rotation[0, 2] * g[2, j]
        ky = rotation[1, 0] * g[0, j] + rotation[1, 1] * g[1, j] + rotation[1, 2] * g[2, j]
        square = kx * kx + ky * ky
        if square > k_max2 or square < k_min2:
            continue
        near = 1 - (excitation * t) ** 2
        if raster[middle + int(np.rint(ky / cell)), middle + int(np.rint(kx / cell))] >= 0:
            found += problem.fourth_root[j] * near
        else:
            missed += problem.fourth_root[j] * near
    score: float = found / np.sqrt(found + missed + 1e-9)
    return score


@_compiled  # type: ignore[untyped-decorator]
def log_odds(rotation: np.ndarray, log_t: float, scale: float, problem: Problem) -> float:
    """Return the logarithm of the likelihood of the spots over that of clutter alone."""
    g, raster, cell = problem.g, problem.raster, problem.cell
    t, stretch = np.exp(log_t), 1 + scale
    furthest, middle = _FADED / t, raster.shape[0] // 2
    k_max2, k_min2 = problem.k_max**2, problem.k_min**2
    predicted, log_predicted, at, off = problem.scratch
    n = 0
    total_weight, total = 0.0, 0.0
    for j in range(g.shape[1]):
        along = rotation[2, 0] * g[0, j] + rotation[2, 1] * g[1, j] + rotation[2, 2] * g[2, j]
        excitation = along + problem.half_wavelength * g[3, j]
        if excitation > furthest or excitation < -furthest:
            continue
        kx = stretch * (
            rotation[0, 0] * g[0, j] + rotation[0, 1] * g[1, j] + rotation[0, 2] * g[2, j]
        )
        ky = stretch * (
            rotation[1, 0] * g[0, j] + rotation[1, 1] * g[1, j] + rotation[1, 2] * g[2, j]
        )
        square = kx * kx + ky * ky
        if square > k_max2 or square < k_min2:
            continue
        log_predicted[n] = problem.log_intensity[j] - 2.08 * (excitation * t) ** 2
        predicted[n] = np.exp(log_predicted[n])
        at[n] = -1.0
        spot = raster[middle + int(np.rint(ky / cell)), middle + int(np.rint(kx / cell))]
        if spot >= 0:
            square = (kx - problem.x[spot]) ** 2 + (ky - problem.y[spot]) ** 2
            at[n], off[n] = spot, 0.5 * square / problem.sigma**2
            weight = np.sqrt(predicted[n]) * np.exp(-off[n])
            total_weight += weight
            total += weight * (problem.log_measured[spot] - log_predicted[n])
        n += 1
    if total_weight == 0.0:
        return 0.0
    # The strength of the pattern as a whole, from the reflections that have a spot.
    strength = total / total_weight
    over_threshold = np.exp(strength - problem.log_threshold)
    least = 1 - problem.largest
    gain = np.zeros(len(problem.x))
    value, unseen = 0.0, 1.0
    for i in range(n):
        expected = predicted[i] * over_threshold
        # The probability to see a reflection is largest * expected / (1 + expected).
        unseen *= (1 + least * expected) / (1 + expected)
        if unseen < 1e-100:
            value += np.log(unseen)
            unseen = 1.0
        if at[i] >= 0:
            spot = int(at[i])
            misfit = (problem.log_measured[spot] - log_predicted[i] - strength) / problem.spread
            odds = problem.largest * expected / (1 + least * expected)
            odds = np.log(odds / (1 + 0.5 * misfit * misfit)) - off[i] + problem.log_peak
            gain[spot] = max(gain[spot], odds)
    together: float = value + np.log(unseen) + np.sum(gain)
    return together


@_compiled  # type: ignore[untyped-decorator]
def pair_rotations(
    x: np.ndarray,
    y: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    g: np.ndarray,
    length: np.ndarray,
    unique: np.ndarray,
    tolerance: np.ndarray,
    off_angle: float,
    most: int,
) -> np.ndarray:
    """Return the rotations that put two reflections on two spots, shape (n, 3, 3).

    `g` (3, R) is ordered by `length`; the first reflection is one of the `unique`, the second any.
    """
    found = np.empty((most, 3, 3))
    n = 0
    for pair in range(len(first)):
        a, b = first[pair], second[pair]
        la, lb = np.hypot(x[a], y[a]), np.hypot(x[b], y[b])
        cosine = (x[a] * x[b] + y[a] * y[b]) / (la * lb)
        side = 1.0 if x[a] * y[b] - y[a] * x[b] > 0 else -1.0
        between = np.arccos(min(1.0, max(-1.0, cosine)))
        low, high = np.cos(min(np.pi, between + off_angle)), np.cos(max(0.0, between - off_angle))
        j_first = np.searchsorted(length, lb - tolerance[b])
        j_last = np.searchsorted(length, lb + tolerance[b])
        for i in range(
            np.searchsorted(length, la - tolerance[a]), np.searchsorted(length, la + tolerance[a])
        ):
            if not unique[i]:
                continue
            ux, uy, uz = g[0, i] / length[i], g[1, i] / length[i], g[2, i] / length[i]
            for j in range(j_first, j_last):
                vx, vy, vz = g[0, j] / length[j], g[1, j] / length[j], g[2, j] / length[j]
                c = ux * vx + uy * vy + uz * vz
                if c < low or c > high:
                    continue
                nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
                norm = np.sqrt(nx * nx + ny * ny + nz * nz)
                if norm < 0.1:
                    continue
                nx, ny, nz = side * nx / norm, side * ny / norm, side * nz / norm
                # Half of the misfit of the angle goes to either spot.
                turn = np.arctan2(y[a], x[a]) + 0.5 * side * (
                    between - np.arccos(min(1.0, max(-1.0, c)))
                )
                cos_turn, sin_turn = np.cos(turn), np.sin(turn)
                wx, wy, wz = ny * uz - nz * uy, nz * ux - nx * uz, nx * uy - ny * ux
                found[n, 0, 0] = cos_turn * ux - sin_turn * wx
                found[n, 0, 1] = cos_turn * uy - sin_turn * wy
                found[n, 0, 2] = cos_turn * uz - sin_turn * wz
                found[n, 1, 0] = sin_turn * ux + cos_turn * wx
                found[n, 1, 1] = sin_turn * uy + cos_turn * wy
                found[n, 1, 2] = sin_turn * uz + cos_turn * wz
                found[n, 2, 0], found[n, 2, 1], found[n, 2, 2] = nx, ny, nz
                n += 1
                if n == most:
                    return found
    return found[:n]


@_compiled  # type: ignore[untyped-decorator]
def row_rotations(
    x: float,
    y: float,
    g: np.ndarray,
    length: np.ndarray,
    unique: np.ndarray,
    tolerance: float,
    step: float,
) -> np.ndarray:
    """Return the rotations that put a reflection on one spot, `step` [rad] apart, (n, 3, 3)."""
    k = np.hypot(x, y)
    low, high = np.searchsorted(length, k - tolerance), np.searchsorted(length, k + tolerance)
    turns = int(np.ceil(2 * np.pi / step))
    found = np.empty((max(0, high - low) * turns, 3, 3))
    n = 0
    for i in range(low, high):
        if not unique[i]:
            continue
        u = np.ascontiguousarray(g[:3, i]) / length[i]
        helper = np.zeros(3)
        helper[np.argmin(np.abs(u))] = 1.0
        v = np.cross(u, helper)
        v /= np.sqrt(np.sum(v * v))
        w = np.cross(u, v)
        for turn in range(turns):
            c, s = np.cos(turn * step), np.sin(turn * step)
            across, beam = c * v + s * w, c * w - s * v
            found[n, 0] = (x * u - y * across) / k
            found[n, 1] = (y * u + x * across) / k
            found[n, 2] = beam
            n += 1
    return found[:n]


@_compiled  # type: ignore[untyped-decorator]
def same_orientation(
    first: np.ndarray, second: np.ndarray, symmetry: np.ndarray, least_trace: float
) -> bool:
    """Whether two rotations differ little but for symmetry or half a turn about the beam."""
    step = np.empty((3, 3))
    beam = np.empty((3, 3))
    for i in range(3):
        for j in range(3):
            beam[i, j] = first[2, i] * second[2, j]
            step[i, j] = first[0, i] * second[0, j] + first[1, i] * second[1, j]
    for s in range(len(symmetry)):
        plane, along = 0.0, 0.0
        for i in range(3):
            for j in range(3):
                plane += symmetry[s, i, j] * step[i, j]
                along += symmetry[s, i, j] * beam[i, j]
        if abs(plane) + along > least_trace:
            return True
    return False


@_compiled  # type: ignore[untyped-decorator]
def best_distinct(
    rotations: np.ndarray, score: np.ndarray, symmetry: np.ndarray, apart: float, most: int
) -> np.ndarray:
    """Return indices of the highest scores whose rotations differ by more than an angle [rad].

    Rotations that the crystal's symmetry or half a turn about the beam makes equal are equal.
    """
    chosen = np.empty(most, dtype=np.int64)
    n = 0
    least_trace = 1 + 2 * np.cos(apart)
    for index in np.argsort(-score):
        if score[index] <= 0 or n == most:
            break
        new = True
        for other in chosen[:n]:
            if same_orientation(rotations[index], rotations[other], symmetry, least_trace):
                new = False
                break
        if new:
            chosen[n] = index
            n += 1
    return chosen[:n]


@_compiled  # type: ignore[untyped-decorator]
def score_all(
    rotations: np.ndarray, log_t: float, problem: Problem, most: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the rotations that a rough score puts first, and `log_odds` of each."""
    rough = np.empty(len(rotations))
    for n in range(len(rotations)):
        rough[n] = -rough_score(rotations[n], np.exp(log_t), problem)
    first = rotations[np.argsort(rough)[:most]]
    score = np.empty(len(first))
    for n in range(len(first)):
        score[n] = log_odds(first[n], log_t, 0.0, problem)
    return first, score


@_compiled  # type: ignore[untyped-decorator]
def climb(
    reference: np.ndarray,
    start: np.ndarray,
    step: np.ndarray,
    halvings: int,
    thickness_range: tuple[float, float],
    scale_sigma: float,
    problem: Problem,
) -> tuple[np.ndarray, float]:
    """Return the trial of highest value near `start` and its value, by a compass search."""
    best = start.copy()
    width = step.copy()
    value = -np.inf
    trial = best.copy()
    for _ in range(halvings):
        improved = True
        rounds = 0
        while improved and rounds < 5:
            improved = False
            rounds += 1
            for axis in range(TRIALS):
                for sign in (-1.0, 0.0, 1.0):
                    if sign == 0.0 and value > -np.inf:
                        continue
                    if width[axis] == 0.0 and sign != 0.0:
                        continue
                    trial[:] = best
                    trial[axis] += sign * width[axis]
                    trial[3] = min(max(trial[3], thickness_range[0]), thickness_range[1])
                    new = log_odds(turned(trial, reference), trial[3], trial[4], problem)
                    if scale_sigma > 0:
                        new -= 0.5 * (trial[4] / scale_sigma) ** 2
                    if new > value + 1e-4:
                        value = new
                        best[:] = trial
                        improved = True
        width *= 0.5
    return best, value


@_compiled  # type: ignore[untyped-decorator]
def best_orientations(
    proposals: np.ndarray,
    start: np.ndarray,
    step: np.ndarray,
    numbers: tuple[int, int, int, int],
    apart: float,
    limits: tuple[float, float],
    scale_sigma: float,
    symmetry: np.ndarray,
    wide: Problem,
    problem: Problem,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the orientations that explain the spots best, from proposals.

    Parameters
    ----------
    proposals
        Rotations, shape (n, 3, 3).
    start, step
        First trial from each of them and first steps, shape (5,).
    numbers
        Proposals that a rough score lets pass, those that are turned a little, those that are
        turned to the end, and those that are returned.
    apart
        Angle by which they differ at least [rad].
    limits
        Range of the logarithm of thickness.
    scale_sigma
        Standard deviation of the scale error.
    symmetry
        Rotations of the crystal, shape (n, 3, 3).
    wide, problem
        What proposals and what orientations are compared with.

    Returns
    -------
    rotations
        Shape (m, 3, 3).
    values
        `log_odds`, highest first, shape (m,).
    trials
        Their last coordinates give thickness and scale, shape (m, 5).
    """
    short, near, final, most = numbers
    first, score = score_all(proposals, start[3], wide, short)
    chosen = first[best_distinct(first, score, symmetry, apart, near)]
    count = len(chosen)
    trials = np.empty((count, TRIALS))
    values = np.empty(count)
    for n in range(count):
        trials[n], values[n] = climb(chosen[n], start, step, 2, limits, scale_sigma, problem)
    order = np.argsort(-values)[:final]
    count = len(order)
    rotations = np.empty((count, 3, 3))
    ends = np.empty((count, TRIALS))
    reached = np.empty(count)
    for n in range(count):
        reference, begin = chosen[order[n]], trials[order[n]]
        # Half a turn about the beam turns the axes of the tilts too.
        other, other_begin = reference.copy(), begin.copy()
        other[:2] *= -1
        other_begin[:2] *= -1
        here = log_odds(turned(begin, reference), begin[3], begin[4], problem)
        there = log_odds(turned(other_begin, other), begin[3], begin[4], problem)
        if there > here:
            reference, begin = other, other_begin
        ends[n], reached[n] = climb(reference, begin, 0.5 * step, 5, limits, scale_sigma, problem)
        rotations[n] = turned(ends[n], reference)
    kept = best_distinct(rotations, reached, symmetry, apart, most)
    return rotations[kept], reached[kept], ends[kept]


@_compiled  # type: ignore[untyped-decorator]
def curvature(
    rotation: np.ndarray, log_t: float, scale: float, step: float, problem: Problem
) -> np.ndarray:
    """Return minus the second derivatives of `log_odds` by small rotations, shape (3, 3)."""
    hessian = np.empty((3, 3))
    trial = np.zeros(TRIALS)
    for i in range(3):
        for j in range(3):
            total = 0.0
            for a in (-1.0, 1.0):
                for b in (-1.0, 1.0):
                    trial[:] = 0.0
                    trial[i] += 0.5 * a * step
                    trial[j] += 0.5 * b * step
                    total += a * b * log_odds(turned(trial, rotation), log_t, scale, problem)
            hessian[i, j] = -total / step**2
    return hessian

"""Compiled inner loops of `matching`: the orientations to try, and a rough score for each.

Import it inside functions: numba takes a moment to load.
"""

from typing import Any

import numpy as np
from numba import njit

_compiled: Any = njit(cache=True, nogil=True)


@_compiled  # type: ignore[untyped-decorator]
def fitting_pairs(
    pairs: np.ndarray,
    pair_ratio: np.ndarray,
    g: np.ndarray,
    starts: np.ndarray,
    stops: np.ndarray,
    a: complex,
    b: complex,
    ratio_off: float,
    angle_off: float,
    share: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the orientations in which two reflections of a template lie on two spots.

    Parameters
    ----------
    pairs, pair_ratio, g
        Template and the two reflections of each pair, (P, 3); the first over the second, (P,);
        reflections x + iy [1/Å], (T, J).
    starts, stops
        Runs of pairs that are tried.
    a, b
        The two spots x + iy [1/Å].
    ratio_off, angle_off
        By how much the ratio of lengths [fraction] and the angle [rad] may be off.
    share
        Weight of the first spot in the ratio of lengths; the second has the rest.

    Returns
    -------
    template, rotation, mirrored, ratio
        Row of `g`, unit complex number, whether it is mirrored first, and length of the spots
        over that of the reflections, shape (H,).
    """
    most = 2 * np.sum(stops - starts)
    template, mirrored = np.empty(most, dtype=np.int64), np.empty(most, dtype=np.bool_)
    rotation, ratio = np.empty(most, dtype=np.complex128), np.empty(most)
    n = 0
    for mirror in (False, True):
        for run in range(len(starts)):
            for p in range(starts[run], stops[run]):
                # 1 where the second reflection falls upon the second spot, -1 upon its mate.
                relative = b / a * (pair_ratio[p].conjugate() if mirror else pair_ratio[p])
                if abs(abs(relative.real) - 1) < ratio_off and abs(relative.imag) < angle_off:
                    first, second = g[pairs[p, 0], pairs[p, 1]], g[pairs[p, 0], pairs[p, 2]]
                    turn = a / (first.conjugate() if mirror else first)
                    template[n], mirrored[n] = pairs[p, 0], mirror
                    rotation[n] = turn / abs(turn)
                    ratio[n] = share * abs(turn) + (1 - share) * abs(b / second)
                    n += 1
    return template[:n], rotation[:n], mirrored[:n], ratio[:n]


@_compiled  # type: ignore[untyped-decorator]
def rough_scores(
    template: np.ndarray,
    turn: np.ndarray,
    mirrored: np.ndarray,
    g: np.ndarray,
    present: np.ndarray,
    first_row: np.ndarray,
    spots: np.ndarray,
    radial: np.ndarray,
    tangential: np.ndarray,
    log_clutter: np.ndarray,
    column: np.ndarray,
    strain: float,
    gate: float,
    seen: np.ndarray,
    missed: np.ndarray,
    all_missed: np.ndarray,
    row_step: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return about the logarithm of the evidence of orientations, and how many spots each explains.

    Parameters
    ----------
    template
        Row of `g` per orientation, shape (H,).
    turn
        Rotation times ratio of lengths, complex, shape (H,).
    mirrored
        Whether the template is mirrored first, shape (H,).
    g, present, first_row
        Reflections x + iy [1/Å], whether they are any, and the row of the strength law for the
        least amplitude, shape (T, J).
    spots, radial, tangential, log_clutter, column
        Position, its two standard deviations, density of clutter and column of the strength law of
        each spot, shape (S,).
    strain
        Share of its length by which a reflection may be off besides [fraction].
    gate
        Largest squared distance in standard deviations.
    seen, missed
        The strength law, (R, C) and (R,).
    all_missed
        Logarithm of the probability that nothing of a template is listed, per amplitude, (T, A).
    row_step
        Rows of the strength law between two amplitudes.
    """
    n_spots, n_g, n_amplitudes = len(spots), g.shape[1], all_missed.shape[1]
    last_row = len(missed) - 1
    score = np.full(len(template), -np.inf)
    explained = np.zeros(len(template), dtype=np.int64)
    nearest_spot = np.zeros(n_g, dtype=np.int64)
    nearest_area = np.zeros(n_g)
    nearest_square = np.zeros(n_g)
    claim = np.zeros(n_spots, dtype=np.int64)
    claimed = np.zeros(n_spots)
    odds = np.zeros(n_amplitudes)
    for h in range(len(template)):
        t = template[h]
        claimed[:] = np.inf
        for j in range(n_g):
            nearest_square[j] = np.inf
            if not present[t, j]:
                continue
            position = (g[t, j].conjugate() if mirrored[h] else g[t, j]) * turn[h]
            length = abs(position)
            unit = position.conjugate() / length
            slack = (strain * length) ** 2
            for s in range(n_spots):
                plus = (spots[s] - position) * unit
                minus = (-spots[s] - position) * unit
                along, across = radial[s] ** 2 + slack, tangential[s] ** 2 + slack
                area = along * across
                square = (
                    min(
                        plus.real**2 * across + plus.imag**2 * along,
                        minus.real**2 * across + minus.imag**2 * along,
                    )
                    / area
                )
                if square < nearest_square[j]:
                    nearest_square[j], nearest_spot[j], nearest_area[j] = square, s, area
                if square < claimed[s]:
                    claimed[s], claim[s] = square, j
        total, number = 0.0, 0
        odds[:] = all_missed[t]
        for j in range(n_g):
            s = nearest_spot[j]
            if nearest_square[j] < gate and claim[s] == j:
                number += 1
                total -= np.log(2 * np.pi * np.sqrt(nearest_area[j])) + log_clutter[s]
                total -= nearest_square[j] / 2
                for a in range(n_amplitudes):
                    row = min(max(first_row[t, j] + a * row_step, 0), last_row)
                    odds[a] += seen[row, column[s]] - missed[row]
        score[h], explained[h] = total + odds.max(), number
    return score, explained

"""Atoms that are too close: pushed apart, or one of two taken away. Compiled on first use.

Import it inside functions: numba, which abTEM brings along, takes a moment to load.
"""

from typing import Any

import numpy as np
from numba import njit

_compiled: Any = njit(cache=True)
"""The compiler; it is untyped, and so is what it makes."""


@_compiled  # type: ignore[untyped-decorator]
def sorted_into_cells(
    positions: np.ndarray, count: np.ndarray, width: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the cell of each atom, where each cell begins in the list, and the list."""
    n = len(positions)
    cell = np.empty((n, 3), np.int32)
    flat = np.empty(n, np.int32)
    start = np.zeros(count[0] * count[1] * count[2] + 1, np.int32)
    for i in range(n):
        for axis in range(3):
            at = int(positions[i, axis] / width[axis])
            cell[i, axis] = min(max(at, 0), count[axis] - 1)
        flat[i] = (cell[i, 0] * count[1] + cell[i, 1]) * count[2] + cell[i, 2]
        start[flat[i] + 1] += 1
    for k in range(1, len(start)):
        start[k] += start[k - 1]
    free = start.copy()
    members = np.empty(n, np.int32)
    for i in range(n):
        members[free[flat[i]]] = i
        free[flat[i]] += 1
    return cell, start, members


@_compiled  # type: ignore[untyped-decorator]
def _cells_around(cell: np.ndarray, count: np.ndarray, periodic_z: bool, around: np.ndarray) -> int:
    """Write the cells that touch one, wrapped in x and y, into `around`; return their number."""
    found = 0
    for a in range(cell[0] - 1, cell[0] + 2):
        for b in range(cell[1] - 1, cell[1] + 2):
            row = ((a % count[0]) * count[1] + b % count[1]) * count[2]
            for c in range(cell[2] - 1, cell[2] + 2):
                if periodic_z or 0 <= c < count[2]:
                    around[found] = row + c % count[2]
                    found += 1
    return found


@_compiled  # type: ignore[untyped-decorator]
def push_apart(
    positions: np.ndarray, kinds: np.ndarray, table: np.ndarray, box: np.ndarray, sweeps: int
) -> bool:
    """Move atoms of a periodic box apart, in place, and return whether no overlap is left.

    Only atoms that have moved since they were last looked at can overlap, so a sweep that finds
    nothing to move proves that every pair keeps its distance.
    """
    overshoot = 1.1  # a pair pushed exactly to its distance would be pushed back by others
    n = len(positions)
    count = np.maximum((box / table.max()).astype(np.int32), 1)
    around = np.empty(27, np.int32)
    moved = np.ones(n, np.bool_)
    for _ in range(sweeps):
        for i in range(n):
            for axis in range(3):
                positions[i, axis] %= box[axis]
        cell, start, members = sorted_into_cells(positions, count, box / count)
        moves = np.zeros(n, np.bool_)
        done = True
        for i in range(n):
            if not moved[i]:
                continue
            for m in range(_cells_around(cell[i], count, True, around)):
                for k in range(start[around[m]], start[around[m] + 1]):
                    j = members[k]
                    if j == i:
                        continue
                    x = positions[i, 0] - positions[j, 0]
                    y = positions[i, 1] - positions[j, 1]
                    z = positions[i, 2] - positions[j, 2]
                    x -= box[0] * np.rint(x / box[0])
                    y -= box[1] * np.rint(y / box[1])
                    z -= box[2] * np.rint(z / box[2])
                    squared = x * x + y * y + z * z
                    shortest = table[kinds[i], kinds[j]]
                    if squared >= shortest * shortest or squared == 0:
                        continue
                    push = 0.5 * (overshoot * shortest / np.sqrt(squared) - 1)
                    positions[i, 0] += push * x
                    positions[i, 1] += push * y
                    positions[i, 2] += push * z
                    positions[j, 0] -= push * x
                    positions[j, 1] -= push * y
                    positions[j, 2] -= push * z
                    moves[i] = moves[j] = True
                    done = False
        if done:
            return True
        moved = moves
    return False


@_compiled  # type: ignore[untyped-decorator]
def gives_way(
    positions: np.ndarray,
    group: np.ndarray,
    crystals: int,
    box: np.ndarray,
    crystal_clearance: float,
    matrix_clearance: float,
) -> np.ndarray:
    """Return which atoms lie too close to one of an earlier group; periodic in x and y.

    Groups below `crystals` are crystals; they give way to their own image across the edge too.
    """
    n = len(positions)
    count = np.maximum((box / max(crystal_clearance, matrix_clearance)).astype(np.int32), 1)
    cell, start, members = sorted_into_cells(positions, count, box / count)
    around = np.empty(27, np.int32)
    gone = np.zeros(n, np.bool_)
    for i in range(n):
        clearance = crystal_clearance if group[i] < crystals else matrix_clearance
        for m in range(_cells_around(cell[i], count, False, around)):
            for k in range(start[around[m]], start[around[m] + 1]):
                j = members[k]
                if group[j] > group[i] or (group[j] == group[i] and j >= i):
                    continue
                x = abs(positions[i, 0] - positions[j, 0])
                y = abs(positions[i, 1] - positions[j, 1])
                z = positions[i, 2] - positions[j, 2]
                across = x > box[0] / 2 or y > box[1] / 2
                if group[j] == group[i] and not (across and group[i] < crystals):
                    continue
                x, y = min(x, box[0] - x), min(y, box[1] - y)
                if x * x + y * y + z * z < clearance * clearance:
                    gone[i] = True
                    break
            if gone[i]:
                break
    return gone

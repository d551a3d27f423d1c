"""Atoms that are too close are moved apart or taken away, and bonded. Compiled on first use.

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
    # Of fewer than three cells in a row none is named twice.
    beyond_x, beyond_y = cell[0] - 1 + min(count[0], 3), cell[1] - 1 + min(count[1], 3)
    beyond_z = cell[2] - 1 + (min(count[2], 3) if periodic_z else 3)
    for a in range(cell[0] - 1, beyond_x):
        for b in range(cell[1] - 1, beyond_y):
            row = ((a % count[0]) * count[1] + b % count[1]) * count[2]
            for c in range(cell[2] - 1, beyond_z):
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


@_compiled  # type: ignore[untyped-decorator]
def _image(difference: float, extent: float) -> float:
    """Return a difference of places to the nearest image in a periodic box."""
    if difference > extent / 2:
        return difference - extent
    if difference < -extent / 2:
        return difference + extent
    return difference


@_compiled  # type: ignore[untyped-decorator]
def pairs_within(positions: np.ndarray, box: np.ndarray, reach: float) -> np.ndarray:
    """Return the pairs of atoms of a periodic box that are closer than `reach`; shape (K, 2)."""
    count = np.maximum((box / reach).astype(np.int32), 1)
    cell, start, members = sorted_into_cells(positions, count, box / count)
    around = np.empty(27, np.int32)
    pairs = np.empty((8 * len(positions), 2), np.int32)
    found = 0
    for i in range(len(positions)):
        for m in range(_cells_around(cell[i], count, True, around)):
            for k in range(start[around[m]], start[around[m] + 1]):
                j = members[k]
                if j <= i:
                    continue
                x = _image(positions[i, 0] - positions[j, 0], box[0])
                y = _image(positions[i, 1] - positions[j, 1], box[1])
                z = _image(positions[i, 2] - positions[j, 2], box[2])
                if x * x + y * y + z * z < reach * reach:
                    if found == len(pairs):
                        pairs = np.concatenate((pairs, np.empty_like(pairs)))
                    pairs[found, 0], pairs[found, 1] = i, j
                    found += 1
    return pairs[:found].copy()


@_compiled  # type: ignore[untyped-decorator]
def _closes_a_ring(i: int, j: int, bonds: np.ndarray, degree: np.ndarray) -> bool:
    """Return whether a bond of two atoms would close a ring of three or four."""
    for u in range(degree[i]):
        a = bonds[i, u]
        for v in range(degree[j]):
            b = bonds[j, v]
            if a == b:
                return True
            for w in range(degree[a]):
                if bonds[a, w] == b:
                    return True
    return False


BOND, ANGLE, APART = 0, 1, 2
"""Relations of a pair in a network: bonded, bonded to the same atom, neither."""


@_compiled  # type: ignore[untyped-decorator]
def bond_network(
    positions: np.ndarray, box: np.ndarray, pairs: np.ndarray, neighbours: int, longest: float
) -> np.ndarray:
    """Return how each pair is related once atoms are bonded, the closest pairs first.

    No atom has more than `neighbours` bonds, none is longer than `longest`, and none closes a
    ring of three or four.
    """
    squared = np.empty(len(pairs))
    for p in range(len(pairs)):
        i, j = pairs[p]
        x = _image(positions[i, 0] - positions[j, 0], box[0])
        y = _image(positions[i, 1] - positions[j, 1], box[1])
        z = _image(positions[i, 2] - positions[j, 2], box[2])
        squared[p] = x * x + y * y + z * z
    bonds = np.full((len(positions), neighbours), -1, np.int32)
    degree = np.zeros(len(positions), np.int32)
    relation = np.full(len(pairs), APART, np.int8)
    close = np.flatnonzero(squared < longest * longest)
    for p in close[np.argsort(squared[close])]:
        i, j = pairs[p]
        full = degree[i] == neighbours or degree[j] == neighbours
        if not full and not _closes_a_ring(i, j, bonds, degree):
            bonds[i, degree[i]], bonds[j, degree[j]] = j, i
            degree[i] += 1
            degree[j] += 1
            relation[p] = BOND
    for p in range(len(pairs)):
        i, j = pairs[p]
        for u in range(degree[i]):
            for v in range(degree[j]):
                if bonds[i, u] == bonds[j, v]:
                    relation[p] = ANGLE
    return relation


@_compiled  # type: ignore[untyped-decorator]
def relax_network(
    positions: np.ndarray,
    box: np.ndarray,
    pairs: np.ndarray,
    relation: np.ndarray,
    distance: np.ndarray,
    stiffness: np.ndarray,
    sweeps: int,
) -> None:
    """Move atoms, in place, until pairs have the distance of their relation, or are APART by it."""
    move = np.empty_like(positions)
    for _ in range(sweeps):
        move[:] = 0
        for p in range(len(pairs)):
            i, j = pairs[p]
            x = _image(positions[i, 0] - positions[j, 0], box[0])
            y = _image(positions[i, 1] - positions[j, 1], box[1])
            z = _image(positions[i, 2] - positions[j, 2], box[2])
            wanted = distance[relation[p]]
            squared = x * x + y * y + z * z
            if squared == 0 or (relation[p] == APART and squared >= wanted * wanted):
                continue
            push = stiffness[relation[p]] * (wanted / np.sqrt(squared) - 1)
            move[i, 0] += push * x
            move[i, 1] += push * y
            move[i, 2] += push * z
            move[j, 0] -= push * x
            move[j, 1] -= push * y
            move[j, 2] -= push * z
        positions += move


@_compiled  # type: ignore[untyped-decorator]
def donors(bonded: np.ndarray, atoms: int) -> np.ndarray:
    """Return the two neighbours that each atom gives a hydrogen, -1 for none; shape (N, 2).

    Every bond has one hydrogen. Bonds are walked along in trails, each from atom to atom, so that
    one gives to the next; an atom of four bonds is passed twice, gives two and is given two.
    """
    start = np.zeros(atoms + 1, np.int32)
    for pair in bonded:
        for atom in pair:
            start[atom + 1] += 1
    degree = start[1:].copy()
    for i in range(atoms):
        start[i + 1] += start[i]
    free = start[:-1].copy()
    bonds = np.empty(2 * len(bonded), np.int32)
    for bond in range(len(bonded)):
        for atom in bonded[bond]:
            bonds[free[atom]] = bond
            free[atom] += 1
    at = start[:-1].copy()
    used = np.zeros(len(bonded), np.bool_)
    given = np.full((atoms, 2), -1, np.int32)
    gifts = np.zeros(atoms, np.int32)
    # Trails between atoms of an odd number of bonds come first; the rest are closed.
    for odd in (1, 0):
        for first in range(atoms):
            if degree[first] % 2 != odd:
                continue
            i = first
            while at[i] < start[i + 1]:
                bond = bonds[at[i]]
                at[i] += 1
                if not used[bond]:
                    used[bond] = True
                    j = bonded[bond, 0] + bonded[bond, 1] - i
                    given[i, gifts[i]] = j
                    gifts[i] += 1
                    i = j
    return given

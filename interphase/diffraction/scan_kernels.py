"""Compiled loops of `interphase.diffraction.scan`: from patterns to lists of spots.

Import it inside functions: numba takes a moment to load.
"""

from typing import Any

import numpy as np
from numba import njit

_compiled: Any = njit(cache=True, nogil=True)
"""The compiler; it is untyped, and so is what it makes."""

RING = 2.0
"""Width of the circles on which background is measured [pixels]."""
MOST = 160
"""Maxima that are kept of a pattern."""
_RISE = 3.0
"""A maximum is looked at from this height over its circle on, in standard deviations."""
_CLIP = (4.5, 4.0)
"""Discs this far above their circle's mean are no background: standard deviations, and electrons on
top, without which few electrons would be none."""


@_compiled  # type: ignore[untyped-decorator]
def beam_centre(
    pattern: np.ndarray, row: float, column: float, radius: float
) -> tuple[float, float]:
    """Return the centroid of the direct beam near a place, (row, column) [pixels]."""
    reach = int(np.ceil(radius)) + 4
    for _ in range(4):
        r0, c0 = int(np.rint(row)), int(np.rint(column))
        low = np.inf
        total, y, x = 0.0, 0.0, 0.0
        for sweep in range(2):
            for i in range(max(0, r0 - reach), min(pattern.shape[0], r0 + reach + 1)):
                for j in range(max(0, c0 - reach), min(pattern.shape[1], c0 + reach + 1)):
                    if (i - row) ** 2 + (j - column) ** 2 > reach * reach:
                        continue
                    if sweep == 0:
                        low = min(low, pattern[i, j])
                    else:
                        value = pattern[i, j] - low
                        total += value
                        y += value * i
                        x += value * j
        if total <= 0:
            break
        row, column = y / total, x / total
        reach = max(int(np.ceil(radius)) + 1, reach - 1)
    return row, column


@_compiled  # type: ignore[untyped-decorator]
def disc_sums(pattern: np.ndarray, radius: float) -> np.ndarray:
    """Return the sum over the disc about each pixel, less at the border, shape (M, N)."""
    rows, columns = pattern.shape
    r = int(radius)
    total = np.zeros((rows, columns))
    prefix = np.zeros((rows, columns + 1))
    for i in range(rows):
        for j in range(columns):
            prefix[i, j + 1] = prefix[i, j] + pattern[i, j]
    for shift in range(-r, r + 1):
        half = int(np.sqrt(radius * radius - shift * shift))
        for i in range(max(0, -shift), min(rows, rows - shift)):
            source = prefix[i + shift]
            for j in range(columns):
                total[i, j] += source[min(columns, j + half + 1)] - source[max(0, j - half)]
    return total


@_compiled  # type: ignore[untyped-decorator]
def circle_moments(
    sums: np.ndarray, ring: np.ndarray, rings: int, gain: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return mean and variance of the sums on each circle, those on spots left out, and how many.

    Where spots cover a part of a circle they are still above its median by many of the deviations
    below it.
    """
    # The sums of neighbouring discs are nearly the same.
    part, where = sums[::2, ::2], ring[::2, ::2]
    start = np.zeros(rings + 1, dtype=np.int64)
    for at in where.ravel():
        if at >= 0:
            start[at + 1] += 1
    start = np.cumsum(start)
    free = start.copy()
    value = np.empty(start[-1])
    for i in range(part.shape[0]):
        for j in range(part.shape[1]):
            at = where[i, j]
            if at >= 0:
                value[free[at]] = part[i, j]
                free[at] += 1
    mean, variance = np.zeros(rings), np.zeros(rings)
    for at in range(rings):
        own = np.sort(value[start[at] : start[at + 1]])
        if len(own) == 0:
            continue
        middle = own[len(own) // 2]
        spread = max((middle - own[len(own) // 4]) / 0.6745, np.sqrt(gain * max(middle, 0.0)))
        kept = np.searchsorted(own, middle + _CLIP[0] * spread + _CLIP[1] * gain, side="right")
        mean[at] = own[:kept].mean()
        variance[at] = own[:kept].var()
    return mean, variance, np.diff(start)


@_compiled  # type: ignore[untyped-decorator]
def usual_contrast(
    mean: np.ndarray, variance: np.ndarray, number: np.ndarray, gain: float
) -> float:
    """Return the variance of speckle over the squared mean on the median circle, 0 or more."""
    speckle, weight = np.zeros(len(mean)), np.zeros(len(mean))
    for at in range(len(mean)):
        if mean[at] > 0 and variance[at] > 0:
            speckle[at] = (variance[at] - gain * mean[at]) / mean[at] ** 2
            weight[at] = np.sqrt(number[at]) * mean[at] ** 2 / variance[at]
    order = np.argsort(speckle)
    half = np.searchsorted(np.cumsum(weight[order]), 0.5 * weight.sum())
    return float(max(0.0, speckle[order[min(half, len(mean) - 1)]]))


@_compiled  # type: ignore[untyped-decorator]
def circle_statistics(
    sums: np.ndarray, ring: np.ndarray, rings: int, gain: float, area: float, contrast: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of the sums on each circle, those on spots left out.

    What spots leave in the variance is held back by the other circles: none is taken for more than
    twice as speckled as the median one. None is taken for less speckled than `contrast` either: a
    pattern of few electrons does not show its speckle, many such patterns together do.
    """
    mean, variance, number = circle_moments(sums, ring, rings, gain)
    usual = max(contrast, usual_contrast(mean, variance, number, gain))
    for at in range(rings):
        # One electron more on the circle than was seen: where none was, there may still be some.
        mean[at] += gain * area / (4 * max(1, number[at]))
        most = gain * mean[at] + 2 * usual * mean[at] ** 2
        least = gain * mean[at] + contrast * mean[at] ** 2
        variance[at] = min(max(variance[at], least), most)
    return mean, variance


@_compiled  # type: ignore[untyped-decorator]
def circles(
    pattern: np.ndarray, row: float, column: float, radius: float, r_min: float, r_max: float
) -> tuple[np.ndarray, np.ndarray, int, np.ndarray]:
    """Return the sums over discs, the circle of each or -1, the number of circles, and totals.

    Totals are counts in the searched range and in the whole pattern, and pixels searched.
    """
    rows, columns = pattern.shape
    sums = disc_sums(pattern, radius)
    rings = int(np.hypot(rows, columns) / RING) + 2
    ring = np.empty((rows, columns), dtype=np.int16)
    wide = int(radius) + 1
    totals = np.zeros(3)
    for i in range(rows):
        for j in range(columns):
            r = np.sqrt((i - row) ** 2 + (j - column) ** 2)
            ring[i, j] = int(r / RING)
            totals[1] += pattern[i, j]
            if not r_min <= r <= r_max:
                ring[i, j] = -1
                continue
            totals[0] += pattern[i, j]
            totals[2] += 1
            if i < wide or j < wide or i >= rows - wide or j >= columns - wide:
                ring[i, j] = -1
    return sums, ring, rings, totals


@_compiled  # type: ignore[untyped-decorator]
def find_maxima(
    pattern: np.ndarray,
    row: float,
    column: float,
    radius: float,
    r_min: float,
    r_max: float,
    gain: float,
    contrast: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return what stands out of the circles about a centre.

    Parameters
    ----------
    pattern
        Counts, shape (M, N).
    row, column
        The centre [pixels].
    radius
        Radius of a spot's disc [pixels].
    r_min, r_max
        Range of distances that is searched [pixels].
    gain
        Counts per electron.
    contrast
        Least variance of speckle, over the squared mean.

    Returns
    -------
    maxima
        Rows of distance down and right of the centre [pixels], sum over the disc, mean and variance
        of such sums on its circle, and the share of the brightest pixel; shape (S, 6).
    totals
        Counts in the searched range and in the whole pattern, and the number of pixels searched.
    """
    rows, columns = pattern.shape
    sums, ring, rings, totals = circles(pattern, row, column, radius, r_min, r_max)
    wide = int(radius) + 1
    mean, variance = circle_statistics(sums, ring, rings, gain, sums_area(radius), contrast)
    maxima = np.empty((MOST, 6))
    n = 0
    for i in range(wide, rows - wide):
        for j in range(wide, columns - wide):
            at = ring[i, j]
            value = sums[i, j]
            if at < 0 or value <= mean[at] + _RISE * np.sqrt(variance[at]) or value <= 0:
                continue
            highest = True
            for y in range(-wide, wide + 1):
                for x in range(-wide, wide + 1):
                    other = sums[i + y, j + x]
                    before = y < 0 or (y == 0 and x < 0)
                    if other > value or (before and other == value):
                        highest = False
                        break
                if not highest:
                    break
            if not highest:
                continue
            level = mean[at] / sums_area(radius)
            dy, dx, weight, brightest = 0.0, 0.0, 0.0, 0.0
            for y in range(-wide, wide + 1):
                for x in range(-wide, wide + 1):
                    if y * y + x * x > radius * radius:
                        continue
                    over = pattern[i + y, j + x] - level
                    brightest = max(brightest, over)
                    dy += over * y
                    dx += over * x
                    weight += over
            if weight <= 0:
                continue
            dy, dx = dy / weight, dx / weight
            where = n
            if n == MOST:
                # The weakest makes room.
                where = int(np.argmin(maxima[:, 2] - maxima[:, 3]))
                if maxima[where, 2] - maxima[where, 3] > value - mean[at]:
                    continue
            else:
                n += 1
            maxima[where, 0] = i + min(1.0, max(-1.0, dy)) - row
            maxima[where, 1] = j + min(1.0, max(-1.0, dx)) - column
            maxima[where, 2], maxima[where, 3], maxima[where, 4] = value, mean[at], variance[at]
            maxima[where, 5] = brightest / weight
    return maxima[:n], totals


@_compiled  # type: ignore[untyped-decorator]
def sums_area(radius: float) -> float:
    """Return the number of pixels of a disc."""
    area = 0.0
    for shift in range(-int(radius), int(radius) + 1):
        area += 2 * int(np.sqrt(radius * radius - shift * shift)) + 1
    return area


@_compiled  # type: ignore[untyped-decorator]
def pair_up(offset: np.ndarray, log_p: np.ndarray, reach: float) -> np.ndarray:
    """Return the mate of each maximum, the nearest to the opposite place, or -1; least p first."""
    n = len(offset)
    mate = np.full(n, -1, dtype=np.int64)
    for i in np.argsort(log_p):
        if mate[i] < 0:
            best, nearest = -1, reach * reach
            for j in range(n):
                if j == i or mate[j] >= 0:
                    continue
                square = (offset[i, 0] + offset[j, 0]) ** 2 + (offset[i, 1] + offset[j, 1]) ** 2
                if square < nearest:
                    best, nearest = j, square
            if best >= 0:
                mate[i], mate[best] = best, i
    return mate


@_compiled  # type: ignore[untyped-decorator]
def grow(
    seed: int,
    template: np.ndarray,
    offset: np.ndarray,
    start: np.ndarray,
    owner: np.ndarray,
    shape: tuple[int, int],
    reach: float,
    needed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions connected with a seed that show its spots, and which spot is which.

    Parameters
    ----------
    seed
        Position that starts.
    template
        Spots of the crystal, shape (T, 2); opposite ones are equal.
    offset
        Spots of all positions, those of position p from ``start[p]`` to ``start[p + 1]``.
    start
        Shape (P + 1,).
    owner
        Crystal of each spot, -1 where it has none, shape (S,).
    shape
        Rows and columns of the scan.
    reach
        Distance within which spots are the same.
    needed
        Spots of the template that a position must show, if they are not most of its own.
    """
    rows, columns = shape
    seen = np.zeros(rows * columns, dtype=np.bool_)
    member = np.full(len(offset), -1, dtype=np.int32)
    found = np.empty(rows * columns, dtype=np.int64)
    queue = np.empty(rows * columns, dtype=np.int64)
    queue[0], ends, n = seed, 1, 0
    seen[seed] = True
    head = 0
    while head < ends:
        place = queue[head]
        head += 1
        shown, there = 0, 0
        for spot in range(start[place], start[place + 1]):
            if owner[spot] >= 0:
                continue
            there += 1
            nearest, best = reach * reach, -1
            for t in range(len(template)):
                plus = (offset[spot, 0] - template[t, 0]) ** 2 + (
                    offset[spot, 1] - template[t, 1]
                ) ** 2
                minus = (offset[spot, 0] + template[t, 0]) ** 2 + (
                    offset[spot, 1] + template[t, 1]
                ) ** 2
                if min(plus, minus) < nearest:
                    nearest, best = min(plus, minus), t
            member[spot] = best
            if best >= 0:
                shown += 1
        # At its edge a crystal shows little, and little else is seen.
        if shown < needed and not (shown >= 2 and 2 * shown > there):
            for spot in range(start[place], start[place + 1]):
                member[spot] = -1
            continue
        found[n] = place
        n += 1
        i, j = place // columns, place % columns
        for y in range(max(0, i - 1), min(rows, i + 2)):
            for x in range(max(0, j - 1), min(columns, j + 2)):
                other = y * columns + x
                if not seen[other]:
                    seen[other] = True
                    queue[ends] = other
                    ends += 1
    return found[:n], member

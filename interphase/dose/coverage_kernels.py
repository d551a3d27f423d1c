"""Compiled loops that lay polygons upon a raster, each pixel by the area that is covered.

Import it inside functions: numba takes a moment to load.
"""

from typing import Any

import numpy as np
from numba import njit

_compiled: Any = njit(cache=True, nogil=True)
_ROUNDING = 1e-13
"""Part of what was added along a row below which its running sum is nothing but rounding."""


@_compiled  # type: ignore[untyped-decorator]
def add_polygon(
    x: np.ndarray, y: np.ndarray, first: int, last: int, weight: float, buffer: np.ndarray
) -> None:
    """Add a polygon to a buffer whose running sum along each row is `weight` × area covered.

    Parameters
    ----------
    x, y
        Corners of all polygons in pixels: column c reaches from c to c + 1.
    first, last
        The corners of this polygon, the last not included.
    weight
        What one wholly covered pixel gets.
    buffer
        Added to in place, shape (M, N + 1) for a raster of M × N.

    Notes
    -----
    Each edge is cut at the rows and columns it crosses. A piece of height dy leaves dy times the
    part of its pixel to its right in that pixel, the rest in the next one; edges that run up and
    those that run down have opposite signs. The cost is the number of pixels along the edges.
    """
    rows, columns = buffer.shape[0], buffer.shape[1] - 1
    twice_area = 0.0
    for i in range(first, last):
        j = i + 1 if i + 1 < last else first
        twice_area += (x[i] - x[first]) * (y[j] - y[first])
        twice_area -= (x[j] - x[first]) * (y[i] - y[first])
    if twice_area > 0:
        weight = -weight
    for i in range(first, last):
        j = i + 1 if i + 1 < last else first
        if y[i] < y[j]:
            xa, ya, xb, yb, signed = x[i], y[i], x[j], y[j], weight
        else:
            xa, ya, xb, yb, signed = x[j], y[j], x[i], y[i], -weight
        if yb <= 0 or ya >= rows or ya == yb:
            continue
        slope = (xb - xa) / (yb - ya)
        left, right = min(xa, xb), max(xa, xb)
        for row in range(int(max(np.floor(ya), 0)), int(min(np.ceil(yb), rows))):
            y0, y1 = max(ya, row), min(yb, row + 1)
            if y1 <= y0:
                continue
            start = min(max(xa + (y0 - ya) * slope, left), right)
            end = min(max(xa + (y1 - ya) * slope, left), right)
            x0, x1 = min(start, end), max(start, end)
            height = signed * (y1 - y0)
            if x1 <= 0:
                buffer[row, 0] += height
                continue
            if x0 >= columns:
                continue
            column = int(max(np.floor(x0), 0))
            if x1 <= column + 1 and x0 >= 0:
                middle = (x0 + x1) / 2 - column
                buffer[row, column] += height * (1 - middle)
                buffer[row, column + 1] += height * middle
                continue
            per_column = height / (x1 - x0)
            if x0 < 0:
                buffer[row, 0] -= x0 * per_column
            for c in range(column, int(min(np.ceil(x1), columns))):
                p0, p1 = max(x0, c), min(x1, c + 1)
                part = (p1 - p0) * per_column
                middle = (p0 + p1) / 2 - c
                buffer[row, c] += part * (1 - middle)
                buffer[row, c + 1] += part * middle


@_compiled  # type: ignore[untyped-decorator]
def _settle(buffer: np.ndarray, total: np.ndarray, top: int, bottom: int) -> None:
    """Bring what is in a buffer's rows into the total."""
    for row in range(top, bottom):
        running = added = 0.0
        for column in range(total.shape[1]):
            running += buffer[row, column]
            added += abs(buffer[row, column])
            if abs(running) > _ROUNDING * added:
                total[row, column] += running
        buffer[row] = 0.0


@_compiled  # type: ignore[untyped-decorator]
def _rows_of(y: np.ndarray, first: int, last: int, rows: int) -> tuple[int, int]:
    top = int(min(max(np.floor(y[first:last].min()), 0), rows))
    bottom = int(max(min(np.ceil(y[first:last].max()), rows), 0))
    return top, bottom


@_compiled  # type: ignore[untyped-decorator]
def accumulate(
    x: np.ndarray,
    y: np.ndarray,
    starts: np.ndarray,
    dose: np.ndarray,
    prior: np.ndarray,
    total: np.ndarray,
) -> None:
    """Add polygons with their doses to a raster, in the order of time.

    Parameters
    ----------
    x, y
        Corners of all polygons in pixels.
    starts
        First corner of each polygon, and the number of corners, shape (P + 1,).
    dose
        Dose of each, shape (P,).
    prior
        What its place had received before at the least, 0 where nothing is said, shape (P,).
    total
        Added to in place, shape (M, N).
    """
    rows, columns = total.shape
    buffer = np.zeros((rows, columns + 1))
    alone = np.zeros((rows, columns + 1))
    for p in range(len(dose)):
        first, last = starts[p], starts[p + 1]
        if prior[p] > 0:
            top, bottom = _rows_of(y, first, last, rows)
            _settle(buffer, total, top, bottom)
            add_polygon(x, y, first, last, 1.0, alone)
            for row in range(top, bottom):
                covered = 0.0
                for column in range(columns):
                    covered += alone[row, column]
                    if covered > _ROUNDING:
                        total[row, column] = max(total[row, column], prior[p] * covered)
                alone[row] = 0.0
        if dose[p] > 0:
            add_polygon(x, y, first, last, dose[p], buffer)
    _settle(buffer, total, 0, rows)


@_compiled  # type: ignore[untyped-decorator]
def count(x: np.ndarray, y: np.ndarray, starts: np.ndarray, number: np.ndarray) -> None:
    """Count the polygons that touch each pixel, into `number` of shape (M, N)."""
    rows, columns = number.shape
    alone = np.zeros((rows, columns + 1))
    for p in range(len(starts) - 1):
        first, last = starts[p], starts[p + 1]
        top, bottom = _rows_of(y, first, last, rows)
        add_polygon(x, y, first, last, 1.0, alone)
        for row in range(top, bottom):
            covered = 0.0
            for column in range(columns):
                covered += alone[row, column]
                if covered > 1e-9:
                    number[row, column] += 1
            alone[row] = 0.0

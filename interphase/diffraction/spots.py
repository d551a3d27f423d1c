"""Spots: local maxima of a spectrum that stand out of its floor."""

from dataclasses import dataclass

import numpy as np

from interphase.diffraction.spectra import Frequencies

# Power over the floor from which on a maximum is listed as a spot.
THRESHOLD = 6.0
# A maximum is compared with this neighbourhood, about the width of a spot under a Hann window.
REACH = 2
# Distances from a maximum, in frequency pixels, over which its surroundings are judged.
INNER, OUTER = 3, 12
# Logarithm by which the median of the surroundings must exceed the floor to count: medians of
# some twenty neighbours scatter by a third.
RAISED = 0.4
# Windows with a maximum above this are searched for lines in any direction: hard edges make them,
# and Nyquist's frequency folds them past the origin. The median of a line must exceed the floor by
# this factor (logarithm), and lines are no wider than to need so many directions.
BRIGHT = 12.0
LINE = 1.2
DIRECTIONS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class SpotTable:
    """Spots of many windows, one row each."""

    window: np.ndarray
    """Index of the window, shape (S,), int."""
    k_per_a: np.ndarray
    """Position (ky, kx) [1/Å], shape (S, 2)."""
    strength: np.ndarray
    """Power over the floor, shape (S,)."""

    def __len__(self) -> int:
        return len(self.window)


def find_spots(
    log_ratio: np.ndarray, freq: Frequencies, *, threshold: float = THRESHOLD
) -> SpotTable:
    """Return the local maxima of spectra that exceed `threshold` times the floor.

    Parameters
    ----------
    log_ratio
        Logarithm of power over floor, ndarray of shape (W, N, N // 2 + 1).
    freq
        The frequencies, with those that are searched.
    threshold
        Least power over the floor; noise alone exceeds it with probability
        ``exp(-threshold)`` at one frequency.

    Notes
    -----
    The floor is corrected once more at each maximum where its surroundings lie above it: the
    neighbours along the ray from the origin (edges and stripes make streaks there), those along
    the circle (sharp rings of the contrast transfer), and those of any bright line. A maximum must
    stand out of all of them.
    Positions are those of the parabola through the logarithms of three neighbours.
    """
    from interphase.diffraction.spectra_kernels import maxima

    window, row, column = maxima(log_ratio, freq.searched, np.log(threshold), REACH)
    n_rows, n_columns = freq.k.shape
    centre = log_ratio[window, row, column]

    def neighbours(
        dy: np.ndarray, dx: np.ndarray, rows: np.ndarray | slice = slice(None)
    ) -> np.ndarray:
        """Return log ratios around candidates, from the other half where kx < 0."""
        y = row[rows, None] + dy
        x = column[rows, None] + dx
        mirrored = x < 0
        y = np.where(mirrored, -y, y) % n_rows
        x = np.minimum(np.abs(x), n_columns - 1)
        return np.asarray(log_ratio[window[rows, None], y, x])

    ky, kx = freq.ky[row, 0], freq.kx[0, column]
    angle = np.arctan2(ky, kx)
    distance = np.arange(INNER, OUTER + 1)
    distance = np.concatenate([-distance, distance])
    raised = np.zeros(len(centre))

    def raise_by_line(rows: np.ndarray | slice, direction: np.ndarray, least: float) -> None:
        dy = np.rint(np.sin(direction)[:, None] * distance).astype(int)
        dx = np.rint(np.cos(direction)[:, None] * distance).astype(int)
        # The median of an exponential variable is ln 2 of its mean.
        line = np.median(neighbours(dy, dx, rows), axis=1) - np.log(np.log(2))
        raised[rows] = np.maximum(raised[rows], np.where(line > least, line, 0))

    for direction in (angle, angle + np.pi / 2):
        raise_by_line(slice(None), direction, RAISED)
    bright = np.flatnonzero(np.isin(window, window[centre - raised > np.log(BRIGHT)]))
    for direction in np.arange(DIRECTIONS) * np.pi / DIRECTIONS:
        raise_by_line(bright, np.full(len(bright), direction), LINE)
    centre = centre - raised
    keep = centre > np.log(threshold)
    window, row, column, centre = (a[keep] for a in (window, row, column, centre))

    cross = neighbours(np.array([-1, 1, 0, 0, 0]), np.array([0, 0, -1, 1, 0]))
    up, down, left, right, middle = cross.T
    ky = freq.ky[row, 0] + _vertex(up, middle, down) * freq.pixel
    kx = freq.kx[0, column] + _vertex(left, middle, right) * freq.pixel
    return SpotTable(
        window=window, k_per_a=np.stack([ky, kx], axis=1), strength=np.exp(centre.astype(float))
    )


def _vertex(before: np.ndarray, centre: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return where, between -1/2 and 1/2, the parabola through three values has its maximum."""
    curvature = before - 2 * centre + after
    safe = np.where(curvature < 0, curvature, -1)
    return np.clip(np.where(curvature < 0, (before - after) / (2 * safe), 0), -0.5, 0.5)

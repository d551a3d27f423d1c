"""From spots of many windows to crystalline places.

A crystallite makes the same spots in every window that it touches. A place starts at the window
whose spots noise would least likely make, and grows over neighbouring windows that show some of
the same spots. What is left over may start further places.
"""

from dataclasses import dataclass

import numpy as np

from interphase.diffraction.spectra import Frequencies, WindowGrid
from interphase.diffraction.spots import SpotTable

# Spots of neighbouring windows within this many frequency pixels are the same reflection.
SAME = 1.8
# Spots weaker than this share of the strongest of their window are its side lobes (1/1400 for a
# sharp spot under a Hann window, more for a distorted one).
SIDE_LOBE = 1 / 400
# Weaker than this they may belong to the crystal of the strongest, but start no place of their own.
DEPENDENT = 1 / 50
# More places than this are not looked for; an image full of crystals has fewer.
MAX_PLACES = 2000
# A place is drawn over the windows in which it has this share of its greatest strength.
EDGE = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A crystalline place before it is named."""

    k_per_a: np.ndarray
    """Spots (ky, kx) [1/Å], strongest first, shape (S, 2)."""
    strength: np.ndarray
    """Greatest power over the floor of each spot, shape (S,)."""
    p_value: float
    """Probability that noise makes such a place anywhere in the image."""
    windows: np.ndarray
    """Indices of the windows of the place, shape (W,)."""
    centre: tuple[float, float]
    """Centre (row, column) in windows, weighted by strength."""


def noise_probability(
    window: np.ndarray, strength: np.ndarray, *, n_windows: int, frequencies: float, places: float
) -> np.ndarray:
    """Return, per window, the probability that noise makes its spots anywhere in the image.

    Parameters
    ----------
    window
        Index of the window of each spot, shape (S,).
    strength
        Power over the floor, shape (S,).
    n_windows
        Number of windows of the image.
    frequencies
        Number of spatial frequencies searched in a window.
    places
        Number of independent windows.

    Notes
    -----
    The expected number of noise spots of strength z in a window is ``frequencies * exp(-z)``;
    m or more of them happen with about its m-th power over m!. The best m from 1 to 3 is taken
    and paid for with a factor 3, and the result is corrected for the places searched.
    """
    order = np.lexsort((-strength, window))
    ranked_window, ranked = window[order], strength[order]
    first = np.searchsorted(ranked_window, np.arange(n_windows))
    last = np.searchsorted(ranked_window, np.arange(n_windows), side="right")
    best = np.full(n_windows, np.inf)
    for m, factorial in ((1, 1), (2, 2), (3, 6)):
        has = last - first >= m
        z = ranked[first[has] + m - 1]
        expected = (frequencies * np.exp(-z)) ** m / factorial
        best[has] = np.minimum(best[has], expected)
    return np.asarray(-np.expm1(-3 * places * best))


def find_places(
    spots: SpotTable, grid: WindowGrid, freq: Frequencies, *, false_alarm: float
) -> list[Place]:
    """Return the crystalline places of an image, most certain first.

    `false_alarm` is the probability to return any place for an image without crystals.
    """
    from scipy import ndimage

    n_windows = grid.rows * grid.columns
    n_searched = float(freq.searched.sum())
    strongest = np.zeros(n_windows)
    np.maximum.at(strongest, spots.window, spots.strength)
    share = spots.strength / strongest[spots.window]
    free = share > SIDE_LOBE
    reach = SAME * freq.pixel
    places: list[Place] = []
    while len(places) < MAX_PLACES:
        p_value = noise_probability(
            spots.window[free & (share > DEPENDENT)],
            spots.strength[free & (share > DEPENDENT)],
            n_windows=n_windows,
            frequencies=n_searched,
            places=grid.independent,
        )
        # Many windows start places that do not touch each other; p-values change only there.
        started = False
        blocked = np.zeros(n_windows, dtype=bool)
        for seed in np.argsort(p_value, kind="stable"):
            if p_value[seed] > false_alarm or len(places) >= MAX_PLACES:
                break
            if blocked[seed]:
                continue
            started = True
            own = np.flatnonzero(free & (spots.window == seed))
            own = own[np.argsort(-spots.strength[own], kind="stable")]
            template = spots.k_per_a[own]
            same, sign, which = _same_spots(spots.k_per_a, template, reach)
            same &= free
            shown = np.zeros(n_windows)
            np.maximum.at(shown, spots.window[same], spots.strength[same])
            labels, _ = ndimage.label(shown.reshape(grid.rows, grid.columns) > 0, np.ones((3, 3)))
            inside = labels.ravel() == labels.ravel()[seed]
            member = same & inside[spots.window]
            places.append(
                _place(spots, member, sign, which, len(own), shown * inside, p_value[seed], grid)
            )
            free &= ~member
            # Weaker reflections of the same lattice that the first window did not show.
            free &= ~(inside[spots.window] & _on_lattice(spots.k_per_a, places[-1].k_per_a, reach))
            blocked |= inside
        if not started:
            break
    return places


def _same_spots(
    k: np.ndarray, template: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which spots lie on one of `template` or its mate, with what sign, and on which."""
    plus = np.linalg.norm(k[:, None] - template, axis=2)
    minus = np.linalg.norm(k[:, None] + template, axis=2)
    distance = np.minimum(plus, minus)
    which = distance.argmin(axis=1)
    rows = np.arange(len(k))
    sign = np.where(plus[rows, which] <= minus[rows, which], 1.0, -1.0)
    return distance[rows, which] < reach, sign, which


def _on_lattice(k: np.ndarray, known: np.ndarray, reach: float, largest: int = 4) -> np.ndarray:
    """Return which of `k` are small integer combinations of the shortest two of `known`."""
    by_length = known[np.argsort(np.linalg.norm(known, axis=1), kind="stable")]
    first = by_length[0]
    across = first[0] * by_length[:, 1] - first[1] * by_length[:, 0]
    aside = np.abs(across) > 0.2 * np.linalg.norm(first) * np.linalg.norm(by_length, axis=1)
    if not aside.any():
        order = np.rint(k @ first / (first @ first))
        return np.asarray(np.linalg.norm(k - order[:, None] * first, axis=1) < reach)
    vectors = np.stack([first, by_length[np.argmax(aside)]])
    order = np.rint(k @ np.linalg.inv(vectors))
    distance = np.linalg.norm(k - order @ vectors, axis=1)
    return np.asarray((distance < 1.5 * reach) & (np.abs(order).max(axis=1) <= largest))


def _place(
    spots: SpotTable,
    member: np.ndarray,
    sign: np.ndarray,
    which: np.ndarray,
    n_spots: int,
    shown: np.ndarray,
    p_value: float,
    grid: WindowGrid,
) -> Place:
    """Return the place that the spots `member` make; `shown` is its strength per window."""
    rows = np.flatnonzero(member)
    weight = spots.strength[rows]
    total = np.bincount(which[rows], weight, n_spots)
    k = np.stack(
        [
            np.bincount(which[rows], weight * sign[rows] * spots.k_per_a[rows, axis], n_spots)
            / total
            for axis in (0, 1)
        ],
        axis=1,
    )
    strength = np.zeros(n_spots)
    np.maximum.at(strength, which[rows], weight)
    order = np.argsort(-strength, kind="stable")
    y, x = np.divmod(np.arange(len(shown)), grid.columns)
    return Place(
        k_per_a=k[order],
        strength=strength[order],
        p_value=float(p_value),
        windows=np.flatnonzero(shown >= EDGE * shown.max()),
        centre=(float(np.average(y, weights=shown)), float(np.average(x, weights=shown))),
    )

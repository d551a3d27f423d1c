"""From spots of many windows to crystalline places.

A crystallite makes the same spots in every window that it touches. A place starts at the window
whose spots noise would least likely make, and grows over neighbouring windows that show some of
the same spots. What is left over may start further places.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from interphase.diffraction.spectra import Frequencies, WindowGrid
from interphase.diffraction.spots import THRESHOLD, SpotTable

# Spots of neighbouring windows within this many frequency pixels are the same reflection.
SAME = 1.8
# Spots weaker than this share of the strongest of their window are its side lobes (1/1400 for a
# sharp spot under a Hann window, more for a distorted one).
SIDE_LOBE = 1 / 400
# Weaker than this they may belong to the crystal of the strongest, but start no place of their own.
DEPENDENT = 1 / 50
# More places than this are not looked for; an image full of crystals has fewer.
MAX_PLACES = 2000
# Windows hang together where they have this share of the strength of the first.
BRIDGE = 0.05
# Spots that are taken together, at most, to tell a place from noise.
MOST_SPOTS = 4
# Power over the floor from which on a spot is none of the noise of its window.
STRONG = 12.0
# A place is drawn over the windows in which it has this share of its greatest strength.
EDGE = 0.25
# Windows from its first one within which a crystal is looked for at first; it may reach farther.
NEAR = 12


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
    window_a: float | None = None
    """Side of these windows [Å]; ``None`` in a pattern."""
    centre_a: tuple[float, float] | None = None
    """Centre (y, x) from the first pixel, weighted by strength [Å]; ``None`` in a pattern."""


def noise_probability(
    window: np.ndarray, strength: np.ndarray, *, n_windows: int, frequencies: float, places: float
) -> np.ndarray:
    r"""Return, per window, the probability that noise makes its spots anywhere in the image.

    Parameters
    ----------
    window
        Index of the window of each spot, shape (S,).
    strength
        Power over the floor, shape (S,), at least `THRESHOLD`.
    n_windows
        Number of windows of the image.
    frequencies
        Number n of spatial frequencies searched in a window.
    places
        Number of independent windows.

    Notes
    -----
    What is extreme about m spots is the sum of their strengths z. Noise makes
    :math:`\lambda = n e^{-z_0}` spots above the threshold :math:`z_0`, each exceeding it by an
    exponential variable; the expected number of sets of m whose sum is as great is

    .. math:: \frac{\lambda^m}{m!} Q\Big(m, \sum z - m z_0\Big)

    with Q the regularised upper gamma function. The least of all m up to `MOST_SPOTS` is taken and
    paid for with as large a factor, and the result is corrected for the places searched.
    """
    from scipy import special

    order = np.lexsort((-strength, window))
    ranked_window, excess = window[order], strength[order] - THRESHOLD
    first = np.searchsorted(ranked_window, np.arange(n_windows))
    last = np.searchsorted(ranked_window, np.arange(n_windows), side="right")
    best = np.full(n_windows, np.inf)
    total = np.zeros(n_windows)
    log_expected = np.log(frequencies) - THRESHOLD
    for m in range(1, MOST_SPOTS + 1):
        has = last - first >= m
        total[has] += excess[first[has] + m - 1]
        # The tail of a gamma variable underflows where the sum is large.
        tail = special.gammaincc(m, total[has])
        log_tail = np.where(
            tail > 0,
            np.log(np.maximum(tail, 1e-300)),
            (m - 1) * np.log(np.maximum(total[has], 1)) - total[has] - special.gammaln(m),
        )
        log_sets = m * log_expected - special.gammaln(m + 1) + log_tail
        best[has] = np.minimum(best[has], np.exp(np.minimum(log_sets, 50)))
    return np.asarray(-np.expm1(-MOST_SPOTS * places * best))


def find_places(
    spots: SpotTable, grid: WindowGrid, freq: Frequencies, *, false_alarm: float
) -> list[Place]:
    """Return the crystalline places of an image, most certain first.

    `false_alarm` is the probability to return any place for an image without crystals.
    """
    n_windows = grid.rows * grid.columns
    n_searched = float(freq.searched.sum())
    strongest = np.zeros(n_windows)
    np.maximum.at(strongest, spots.window, spots.strength)
    share = spots.strength / strongest[spots.window]
    free = share > SIDE_LOBE
    reach = SAME * freq.pixel
    index = np.stack(np.divmod(np.arange(n_windows), grid.columns))
    whole = max(grid.rows, grid.columns)
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
            distance = np.maximum(*abs(index - index[:, seed, None]))
            away = distance[spots.window]
            own = np.flatnonzero(free & (away == 0))
            own = own[np.argsort(-spots.strength[own], kind="stable")]
            near, ends = NEAR, False
            while not ends:
                rows = np.flatnonzero(free & (away <= near))
                same, sign, which = _same_spots(spots.k_per_a[rows], spots.k_per_a[own], reach)
                shown = np.zeros(n_windows)
                np.maximum.at(shown, spots.window[rows[same]], spots.strength[rows[same]])
                inside = _around(shown.reshape(grid.rows, grid.columns), int(seed), grid)
                ends = distance[inside].max() + grid.size // grid.step < near or near >= whole
                near *= 2
            here = inside[spots.window[rows]]
            member = same & here
            places.append(
                _place(
                    spots,
                    rows[member],
                    sign[member],
                    which[member],
                    shown * inside,
                    p_value[seed],
                    grid,
                    freq,
                )
            )
            # Weaker reflections of the same lattice that the first window did not show.
            rows, taken = rows[here], member[here]
            taken |= _on_lattice(spots.k_per_a[rows], places[-1].k_per_a, reach)
            free[rows[taken]] = False
            blocked |= inside
        if not started:
            break
    return places


def _around(shown: np.ndarray, seed: int, grid: WindowGrid) -> np.ndarray:
    """Return the windows of the crystal that shows in the window `seed`, shape (W,).

    They hang together, and end half a window from where it is strong: what shows the same spots
    farther away is another crystal.
    """
    from scipy import ndimage

    labels, _ = ndimage.label(shown >= BRIDGE * shown.flat[seed], np.ones((3, 3)))
    core = labels == labels.flat[seed]
    reach = 2 * (grid.size // grid.step // 2) + 1
    return np.asarray(ndimage.binary_dilation(core, np.ones((reach, reach))) & (shown > 0)).ravel()


def _same_spots(
    k: np.ndarray, template: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which spots lie on one of `template` or its mate, with what sign, and on which."""
    from interphase.diffraction.spectra_kernels import nearest_known

    spots, known = (np.ascontiguousarray(a[:, 1] + 1j * a[:, 0]) for a in (k, template))
    which, square, sign = nearest_known(spots, known)
    return square < reach**2, sign, which


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
    off = k - order @ vectors
    distance = np.hypot(off[:, 0], off[:, 1])
    return np.asarray((distance < 1.5 * reach) & (np.abs(order).max(axis=1) <= largest))


def _place(
    spots: SpotTable,
    rows: np.ndarray,
    sign: np.ndarray,
    which: np.ndarray,
    shown: np.ndarray,
    p_value: float,
    grid: WindowGrid,
    freq: Frequencies,
) -> Place:
    """Return the place that the spots `rows` make; `shown` is its strength per window."""
    weight = spots.strength[rows]
    total = np.bincount(which, weight)
    k = np.stack(
        [np.bincount(which, weight * sign * spots.k_per_a[rows, axis]) / total for axis in (0, 1)],
        axis=1,
    )
    strength = np.zeros(len(total))
    np.maximum.at(strength, which, weight)
    order = np.argsort(-strength, kind="stable")
    index = np.stack(np.divmod(np.arange(len(shown)), grid.columns), axis=1)
    pixel_size_a = 1 / (freq.pixel * grid.size)
    centre = (grid.centre + grid.step * np.average(index, axis=0, weights=shown)) * pixel_size_a
    return Place(
        k_per_a=k[order],
        strength=strength[order],
        p_value=float(p_value),
        windows=np.flatnonzero(shown >= EDGE * shown.max()),
        window_a=float(1 / freq.pixel),
        centre_a=(float(centre[0]), float(centre[1])),
    )


def merge_places(
    places: Sequence[Place], shift: Callable[[np.ndarray], np.ndarray], *, reach: float = SAME
) -> list[Place]:
    """Return the crystals that places show, each once.

    A place belongs to a more certain one if its strongest spot is one of that place's or of its
    lattice, and if it lies upon it: within a window, and farther along the spot's own direction
    by what the lens displaces fringes, to both sides. It then adds its spots.

    Parameters
    ----------
    places
        Places found with windows of several sizes.
    shift
        Returns how far fringes of a spatial frequency [1/Å] are displaced [Å].
    reach
        Distance within which two spots are one, in frequency pixels of the smaller window.
    """
    kept: list[Place] = []
    # The smallest p-values are all 0; among them the window with most power shows its place best.
    for place in sorted(places, key=lambda place: (place.p_value, -place.strength.sum())):
        for number, other in enumerate(kept):
            if _belongs(place, other, shift, reach):
                kept[number] = _with_spots_of(other, place, reach)
                break
        else:
            kept.append(place)
    return kept


def _belongs(
    place: Place, other: Place, shift: Callable[[np.ndarray], np.ndarray], reach: float
) -> bool:
    assert place.centre_a is not None
    assert other.centre_a is not None
    assert place.window_a is not None
    assert other.window_a is not None
    strongest = place.k_per_a[:1]
    length = np.linalg.norm(strongest)
    away = np.subtract(place.centre_a, other.centre_a)
    along = abs(float(away @ strongest[0])) / length
    across = float(np.sqrt(max(away @ away - along**2, 0)))
    window = (place.window_a + other.window_a) / 2
    if across > window or along > window + 2 * float(shift(np.asarray(length))):
        return False
    if place.window_a == other.window_a and np.hypot(along, across) < window / 2:
        # What is left of the same windows is another crystal.
        return False
    tolerance = reach / min(place.window_a, other.window_a)
    same, _, _ = _same_spots(strongest, other.k_per_a, tolerance)
    return bool(same[0] or _on_lattice(strongest, other.k_per_a, tolerance)[0])


def _with_spots_of(place: Place, other: Place, reach: float) -> Place:
    """Return the place with the strong spots of another that are on its lattice and new."""
    assert place.window_a is not None
    assert other.window_a is not None
    tolerance = reach / min(place.window_a, other.window_a)
    known, _, _ = _same_spots(other.k_per_a, place.k_per_a, 1.5 * tolerance)
    new = ~known & _on_lattice(other.k_per_a, place.k_per_a, tolerance) & (other.strength > STRONG)
    if not new.any():
        return place
    strength = np.append(place.strength, other.strength[new])
    order = np.argsort(-strength, kind="stable")
    k = np.concatenate([place.k_per_a, other.k_per_a[new]])[order]
    return replace(place, k_per_a=k, strength=strength[order])

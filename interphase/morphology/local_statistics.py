"""What an image looks like in small cells: brightness, texture by scale, lattice fringes.

Of each statistic the logarithm of a mean over the cell is taken: it is nearly normal, and whether
counts, arbitrary units or gain stand in the file changes nothing but its mean.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from interphase.noise import effective_spectra, hann_window, p_anywhere, tail_probability

# Scales of the texture: standard deviations of the Gaussians whose differences pass it [Å]. The
# first holds counting noise and fringes, the others amorphous matter and thickness.
SCALES_A = (0.6, 1.2, 2.4, 4.8)
# Pixels larger than this widen all scales with them [Å].
FINE_A = 0.6
# Standard deviation of the Gaussian within which fringes are looked for [Å].
FRINGE_A = 5.0
# Probability that noise makes one lattice spot in a strip.
ALARM = 1e-3
# Most spots of a strip that are followed.
SPOTS = 3
# Longest period of a lattice that is looked for [Å]: graphite's planes; the fringes of an edge are
# wider. The shortest in pixels.
LONGEST_A, SHORTEST_PX = 3.7, 2.2
# A lattice is all along a strip where half of its windows have this much more power at its spot
# than is usual on its circle; noise has 0.7 there, a film with astigmatism up to 2.
ALL_ALONG = 3.0
# Side of the windows in which spots are looked for [Å].
WINDOW_A = 40.0
# Which statistic is which.
BRIGHTNESS, STRUCTURE, FIRST_FRINGE = 0, 3, 1 + len(SCALES_A)


def scale_unit(pixel_size_a: float) -> float:
    """Return by what the scales are widened for large pixels."""
    return max(1.0, pixel_size_a / FINE_A)


def statistic_maps(
    image: np.ndarray, *, pixel_size_a: float, spots_per_a: Sequence[np.ndarray]
) -> Iterator[np.ndarray]:
    """Yield local powers of an image one after the other: brightness, texture, fringes.

    Parameters
    ----------
    image
        ndarray of shape (M, N), finite, of mean 1.
    pixel_size_a
        Size of a pixel [Å].
    spots_per_a
        Lattice spots that are followed together, (row, column) [1/Å], each of shape (S, 2).

    Yields
    ------
    ndarray
        Shape (M, N), not below 0.
    """
    from scipy.ndimage import gaussian_filter

    yield image
    unit = scale_unit(pixel_size_a) / pixel_size_a
    finer = image
    for scale in SCALES_A:
        coarser = gaussian_filter(image, scale * unit)
        yield np.square(finer - coarser)
        finer = coarser
    row, column = np.ogrid[: image.shape[0], : image.shape[1]]
    flat = image - gaussian_filter(image, FRINGE_A * unit)
    for lattice in spots_per_a:
        power = np.zeros(image.shape)
        for spot in lattice:
            phase = 2 * np.pi * pixel_size_a * (spot[0] * row + spot[1] * column)
            for wave in (np.cos(phase), np.sin(phase)):
                power += np.square(gaussian_filter(flat * wave, FRINGE_A * unit))
        yield power


def cell_statistics(
    image: np.ndarray,
    centres_a: np.ndarray,
    *,
    size_a: float,
    pixel_size_a: float,
    spots_per_a: Sequence[np.ndarray],
) -> np.ndarray:
    """Return the statistics of cells.

    Parameters
    ----------
    image
        ndarray of shape (M, N), finite, of mean 1.
    centres_a
        Places (y, x) [Å] whose squares make up each cell, shape (R, D, K, 2).
    size_a
        Side of these squares [Å].
    pixel_size_a
        Size of a pixel [Å].
    spots_per_a
        Lattice spots that are followed together [1/Å], each of shape (S, 2).

    Returns
    -------
    ndarray
        Logarithms, shape (R, D, 5 + L) for spots of L lattices.
    """
    from scipy.ndimage import map_coordinates, uniform_filter

    side = max(round(size_a / pixel_size_a), 1)
    at = np.moveaxis(centres_a, -1, 0) / pixel_size_a
    values = []
    for power in statistic_maps(image, pixel_size_a=pixel_size_a, spots_per_a=spots_per_a):
        smooth = uniform_filter(power, side, mode="nearest")
        mean = map_coordinates(smooth, at, order=1, mode="nearest").mean(axis=-1)
        values.append(np.log(np.maximum(mean, 1e-9 * max(float(power.mean()), 1e-30))))
    return np.stack(values, axis=-1)


def lattice_spots(
    strip: np.ndarray, *, pixel_size_a: float, all_along: float = ALL_ALONG
) -> tuple[np.ndarray, float]:
    """Return the lattice spots that all of a strip shares, or that some of it has.

    Parameters
    ----------
    strip
        Part of an image, shape (M, N).
    pixel_size_a
        Size of a pixel [Å].
    all_along
        Power over the usual that half of the windows have at the least; 0 to ask for none.

    Returns
    -------
    spots_per_a
        (row, column) of each [1/Å], strongest first, one of each Friedel pair, shape (S, 2).
    p_value
        Probability that noise makes one as strong as the strongest; 1 where nothing was searched.

    Notes
    -----
    The mean power of overlapping windows over the median of its circle; of noise it has the gamma
    distribution of as many spectra as the windows are worth.
    """
    none = np.zeros((0, 2)), 1.0
    side = min(int(WINDOW_A * scale_unit(pixel_size_a) / pixel_size_a), *strip.shape)
    if side < 16:
        return none
    hop = side // 2
    window = hann_window(side)
    rows, columns = (range(0, n - side + 1, hop) for n in strip.shape)
    parts = np.array([strip[y : y + side, x : x + side] for y in rows for x in columns])
    parts = (parts - parts.mean(axis=(1, 2), keepdims=True)) * np.outer(window, window)
    powers = np.abs(np.fft.fft2(parts)) ** 2
    power = powers.mean(axis=0)
    worth = effective_spectra(window, step=hop, count=len(rows)) * effective_spectra(
        window, step=hop, count=len(columns)
    )
    k = np.stack(np.meshgrid(*2 * [np.fft.fftfreq(side, pixel_size_a)], indexing="ij"), axis=-1)
    radius = np.linalg.norm(k, axis=-1)
    low = 1 / (LONGEST_A * scale_unit(pixel_size_a))
    searched = (radius > low) & (radius < 1 / (SHORTEST_PX * pixel_size_a))
    searched &= (k[..., 0] > 0) | ((k[..., 0] == 0) & (k[..., 1] > 0))
    if searched.sum() < 20:
        return none
    ring = np.rint(radius * side * pixel_size_a / 2).astype(int)
    floor = np.ones_like(power)
    for n in np.unique(ring[searched]):
        on = (ring == n) & (radius > low)
        floor[on] = max(float(np.median(power[on])), 1e-30)
    from scipy.special import gammaincinv

    # From the median of a gamma distribution to its mean.
    number = int(searched.sum())
    usual = floor * worth / float(gammaincinv(worth, 0.5))
    searched &= np.median(powers, axis=0) > all_along * usual
    p = np.where(searched, tail_probability(power / usual, worth), 1.0)
    spots: list[np.ndarray] = []
    best = float(p_anywhere(p.min(), number))
    for index in np.argsort(p, axis=None):
        place = np.unravel_index(index, p.shape)
        if p_anywhere(p[place], number) > ALARM or len(spots) == SPOTS:
            break
        # A spot is as wide as the transform of the window.
        if all(np.linalg.norm(k[place] - s) > 3 / (side * pixel_size_a) for s in spots):
            spots.append(k[place])
    return np.array(spots).reshape(-1, 2), best

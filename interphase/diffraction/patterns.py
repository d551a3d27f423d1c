"""Spots of a diffraction pattern: its centre, its background, and what stands out of it."""

from dataclasses import dataclass

import numpy as np

# Spots are looked for at this width, standard deviation of the smoothing [pixels].
SPOT_WIDTH = 1.2
# Least height of a spot over the background, in standard deviations of the smoothed background.
LEAST_HEIGHT = 5.0
# The same for a spot whose mate is not seen: a tilted crystal shows one side more than the other.
LEAST_HEIGHT_ALONE = 8.0
# Mates lie opposite each other to within this distance [pixels].
MATE_REACH = 2.0
# A centre is believed if the pattern agrees with itself turned by half a turn this much better,
# in standard deviations, than about other points.
LEAST_SYMMETRY = 10.0
# The direct beam outdoes every spot by this factor, in height times the halo it stands on.
DIRECT_BEAM = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternSpots:
    """Spots of one diffraction pattern, one of each Friedel pair, strongest first."""

    offset: np.ndarray
    """Position (row, column) from the centre [pixels]; of a pair, half its distance, (S, 2)."""
    height: np.ndarray
    """Height over the background in its standard deviations, the higher of a pair, (S,)."""
    p_value: np.ndarray
    """Probability that noise makes such a spot or pair anywhere in the pattern, (S,)."""


def find_centre(pattern: np.ndarray) -> tuple[float, float] | None:
    """Return where the direct beam is, in view or behind a beam stop.

    Parameters
    ----------
    pattern
        Counts, ndarray of shape (M, N), finite.

    Returns
    -------
    centre
        (row, column) [pixels] to half a pixel or better, or ``None`` where no point stands out.

    Notes
    -----
    A maximum in the inner half of the frame that is some times higher than every other is the
    direct beam. Where there is none, the pattern is correlated with itself turned by half a
    turn, which is its own convolution and peaks at twice the centre; spots lie in pairs about it
    unless the crystal is far from a zone axis.
    """
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(pattern.astype(float), SPOT_WIDTH)
    halo = ndimage.gaussian_filter(pattern.astype(float), 12 * SPOT_WIDTH)
    # Height over the halo times the halo: the direct beam, even saturated, is where both are.
    merit = (smooth - halo).clip(0) * (halo - halo.min())
    inner = tuple(slice(n // 4, n - n // 4) for n in pattern.shape)
    row, column = np.unravel_index(int(merit[inner].argmax()), merit[inner].shape)
    peak = (int(row) + inner[0].start, int(column) + inner[1].start)
    y, x = np.indices(pattern.shape)
    elsewhere = np.hypot(y - peak[0], x - peak[1]) > 12 * SPOT_WIDTH
    if elsewhere.any() and merit[peak] > DIRECT_BEAM * merit[elsewhere].max():
        window = smooth[peak[0] - 1 : peak[0] + 2, peak[1] - 1 : peak[1] + 2]
        return peak[0] + _vertex(*window[:, 1]), peak[1] + _vertex(*window[1, :])
    return _centre_of_symmetry(pattern)


def _centre_of_symmetry(pattern: np.ndarray) -> tuple[float, float] | None:
    from scipy import fft, ndimage

    flat = np.arcsinh((pattern - np.median(pattern)) / _spread(pattern))
    flat = ndimage.gaussian_filter(flat, SPOT_WIDTH)
    flat = (flat - ndimage.gaussian_filter(flat, 4 * SPOT_WIDTH)).clip(0)
    rows, columns = (2 * n for n in pattern.shape)
    score = fft.irfft2(fft.rfft2(flat, (rows, columns)) ** 2, (rows, columns))
    inner = tuple(slice(n // 2, 3 * n // 2) for n in pattern.shape)
    searched = score[inner]
    spread = 1.4826 * np.median(np.abs(searched - np.median(searched)))
    if searched.max() - np.median(searched) < LEAST_SYMMETRY * spread:
        return None
    peak = np.unravel_index(int(searched.argmax()), searched.shape)
    row, column = (int(p) + s.start for p, s in zip(peak, inner, strict=True))
    window = score[row - 1 : row + 2, column - 1 : column + 2]
    return (row + _vertex(*window[:, 1])) / 2, (column + _vertex(*window[1, :])) / 2


def find_pattern_spots(
    pattern: np.ndarray, centre: tuple[float, float], *, r_min: float, r_max: float
) -> PatternSpots:
    """Return the spots that stand out of the pattern's background, those with a mate together.

    Parameters
    ----------
    pattern
        Counts, ndarray of shape (M, N), finite.
    centre
        (row, column) [pixels].
    r_min, r_max
        Range of distances from the centre that is searched [pixels].

    Notes
    -----
    The background is the median on a circle about the centre, its noise the median deviation
    there: halos and rings are background, and so is a beam stop. A spot without its mate on the
    other side must stand out further, because detector flaws and cosmic rays have none.
    """
    from scipy import ndimage, stats

    y, x = np.indices(pattern.shape, dtype=float)
    radius = np.hypot(y - centre[0], x - centre[1])
    smooth = ndimage.gaussian_filter(pattern.astype(float), SPOT_WIDTH)
    ring = np.rint(radius / 2).astype(int)
    number = np.arange(ring.max() + 1)
    background = ndimage.median(smooth, ring, number)
    scatter = 1.4826 * ndimage.median(np.abs(smooth - background[ring]), ring, number)
    scatter = np.maximum(ndimage.median_filter(scatter, 5), 1e-12 * max(smooth.max(), 1e-12))
    height = (smooth - background[ring]) / scatter[ring]
    searched = (radius >= r_min) & (radius <= r_max)
    local = ndimage.maximum_filter(height, size=5)
    rows, columns = np.nonzero(searched & (height == local) & (height > LEAST_HEIGHT))
    position = np.stack([rows, columns], axis=1) + _refine(smooth, rows, columns)
    offset = position - np.asarray(centre)
    strength = height[rows, columns]
    order = np.argsort(-strength, kind="stable")
    offset, strength = offset[order], strength[order]

    # Independent places: the smoothing joins about 4 pi sigma^2 pixels. A noise pair needs one
    # maximum anywhere and another within reach of its mate.
    places = searched.sum() / (4 * np.pi * SPOT_WIDTH**2)
    near = max(1.0, MATE_REACH**2 / (4 * SPOT_WIDTH**2))
    kept: list[tuple[float, np.ndarray, float]] = []
    used = np.zeros(len(offset), dtype=bool)
    for i in range(len(offset)):
        if used[i]:
            continue
        distance = np.where(used, np.inf, np.linalg.norm(offset + offset[i], axis=1))
        mate = int(distance.argmin())
        used[i] = True
        if distance[mate] <= MATE_REACH and mate != i:
            used[mate] = True
            log_p = (
                np.log(places * near / 2) + stats.norm.logsf([strength[i], strength[mate]]).sum()
            )
            kept.append((strength[i], (offset[i] - offset[mate]) / 2, log_p))
        elif strength[i] > LEAST_HEIGHT_ALONE:
            kept.append((strength[i], offset[i], np.log(places) + stats.norm.logsf(strength[i])))
    height = np.array([k[0] for k in kept])
    return PatternSpots(
        offset=np.array([k[1] for k in kept]).reshape(-1, 2),
        height=height,
        p_value=np.exp(np.minimum([k[2] for k in kept], 0)),
    )


def _spread(pattern: np.ndarray) -> float:
    return float(1.4826 * np.median(np.abs(pattern - np.median(pattern)))) or 1.0


def _vertex(before: float, centre: float, after: float) -> float:
    curvature = before - 2 * centre + after
    return float(np.clip((before - after) / (2 * curvature), -0.5, 0.5)) if curvature < 0 else 0.0


def _refine(smooth: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return the sub-pixel shift (row, column) of maxima, from parabolas, shape (S, 2)."""
    padded = np.pad(smooth, 1, mode="edge")
    shift = np.zeros((len(rows), 2))
    for i, (r, c) in enumerate(zip(rows + 1, columns + 1, strict=True)):
        shift[i] = (
            _vertex(padded[r - 1, c], padded[r, c], padded[r + 1, c]),
            _vertex(padded[r, c - 1], padded[r, c], padded[r, c + 1]),
        )
    return shift

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
# A centre of symmetry is believed if pairs of spots vote for it with this weight together; a pair
# of equal spots counts one.
LEAST_VOTES = 1.8
# With this weight of votes the highest maximum is the direct beam.
SOME_VOTE = 0.3
# Smoothings with which a centre of symmetry is looked for [pixels]: for rings, and for halos.
SYMMETRY_WIDTHS = (1.2, 4.0)
# Standard deviations by which the symmetry about a point must exceed that about others.
SYMMETRY_CLEAR = 9.0
# Spots that vote.
MOST_VOTERS = 40
# Spots that noise makes somewhere in the pattern with more than this probability are left out.
DOUBTFUL = 0.05
# Radius of the disc in which the electrons of a spot are counted [pixels].
DISC = 2
# The direct beam outdoes every spot by this factor, in height times the halo it stands on.
DIRECT_BEAM = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternSpots:
    """Spots of one diffraction pattern, one of each Friedel pair, strongest first."""

    offset: np.ndarray
    """Position (row, column) from the centre [pixels]; of a pair, half its distance, (S, 2)."""
    height: np.ndarray
    """Height over the background in its standard deviations, the higher of a pair, (S,)."""
    intensity: np.ndarray
    """Height over the background in counts of the smoothed pattern, the mean of a pair, (S,)."""
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
    A maximum in the inner half of the frame that outdoes every other in height times the halo it
    stands on is taken for the direct beam, if any spots lie in pairs of like height about it or
    there are none. Otherwise the point that most pairs have in their middle is the centre: behind
    a beam stop, say.
    """
    beam = _direct_beam(pattern)
    middle, vote = _middles(pattern)
    if beam is not None and (
        len(vote) == 0 or _votes(middle, vote, np.array([beam]))[0] > SOME_VOTE
    ):
        return beam
    if len(vote):
        votes = _votes(middle, vote, middle)
        best = int(votes.argmax())
        if votes[best] > LEAST_VOTES:
            near = np.linalg.norm(middle - middle[best], axis=1) < MATE_REACH
            row, column = np.average(middle[near], axis=0, weights=vote[near])
            # The whole pattern knows better than its spots, where it agrees with them.
            whole = _centre_of_symmetry(pattern)
            if whole is not None and np.hypot(whole[0] - row, whole[1] - column) < MATE_REACH:
                return whole
            return float(row), float(column)
    return beam or _centre_of_symmetry(pattern)


def _centre_of_symmetry(pattern: np.ndarray) -> tuple[float, float] | None:
    """Return the point about which the pattern is its own half turn: rings behind a beam stop.

    It is the maximum of the pattern folded with itself. Places of great contrast, such as the
    edges of the stop, count no more than others.
    """
    from scipy import fft, ndimage

    counts = pattern.astype(float)
    scatter = np.sqrt(np.maximum(ndimage.gaussian_filter(counts, 4 * SPOT_WIDTH), 1e-12))
    best: tuple[float, tuple[float, float]] | None = None
    for width in SYMMETRY_WIDTHS:
        fine, coarse = (ndimage.gaussian_filter(counts, w) for w in (width, 5 * width))
        contrast = np.clip((fine - coarse) / scatter * width, -1, 1)
        contrast -= contrast.mean()
        size = [fft.next_fast_len(2 * n, real=True) for n in pattern.shape]
        folded = fft.irfft2(fft.rfft2(contrast, size) ** 2, size)
        inner = tuple(slice(n // 2, 2 * n - n // 2) for n in pattern.shape)
        view = folded[inner]
        row, column = np.unravel_index(int(view.argmax()), view.shape)
        middle = (int(row) + inner[0].start, int(column) + inner[1].start)
        spread = 1.4826 * float(np.median(np.abs(view - np.median(view))))
        clear = float(view[row, column] - np.median(view)) / max(spread, 1e-30)
        if clear > SYMMETRY_CLEAR and (best is None or clear > best[0]):
            around = folded[middle[0] - 1 : middle[0] + 2, middle[1] - 1 : middle[1] + 2]
            best = (
                clear,
                (
                    (middle[0] + _vertex(*around[:, 1])) / 2,
                    (middle[1] + _vertex(*around[1, :])) / 2,
                ),
            )
    return best[1] if best else None


def _direct_beam(pattern: np.ndarray) -> tuple[float, float] | None:
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
    return None


def _votes(middle: np.ndarray, vote: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the weight of the pairs whose middle lies at each point."""
    return np.asarray((np.linalg.norm(points[:, None] - middle, axis=2) < MATE_REACH) @ vote)


def _middles(pattern: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the middles of all pairs of spots in the inner half of the frame, and their weights.

    A pair weighs as much as the lower of its spots is of the higher.
    """
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(pattern.astype(float), SPOT_WIDTH)
    height = smooth - ndimage.median_filter(smooth, size=15)
    scatter = 1.4826 * np.median(np.abs(height - np.median(height)))
    # A spot must also be more than an electron or two, which this smoothing leaves at 0.1 each.
    least = max(LEAST_HEIGHT_ALONE * scatter, 5 / (2 * np.pi * SPOT_WIDTH**2))
    rows, columns = np.nonzero((height == ndimage.maximum_filter(height, 9)) & (height > least))
    strongest = np.argsort(-height[rows, columns], kind="stable")[:MOST_VOTERS]
    rows, columns = rows[strongest], columns[strongest]
    first, second = np.triu_indices(len(rows), 1)
    tall, low = height[rows, columns][first], height[rows, columns][second]
    middle = np.stack([rows[first] + rows[second], columns[first] + columns[second]], axis=1) / 2
    size = np.array(pattern.shape)
    inner = (np.abs(middle - (size - 1) / 2) < size / 4).all(axis=1)
    # Side lobes lie in pairs about their own spot.
    inner &= np.hypot(rows[first] - rows[second], columns[first] - columns[second]) > size.min() / 8
    return middle[inner], (low / tall)[inner]


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
    # Rings that hold a pixel, from the inside: a centre at the corner leaves some empty.
    _, ring = np.unique(np.rint(radius / 2), return_inverse=True)
    ring = ring.reshape(pattern.shape)
    number = np.arange(ring.max() + 1)
    background = ndimage.median(smooth, ring, number)
    scatter = 1.4826 * ndimage.median(np.abs(smooth - background[ring]), ring, number)
    mean = ndimage.mean(pattern, ring, number)
    ratio = ndimage.variance(pattern, ring, number) / np.maximum(mean, 1e-30)
    gain = float(np.median(ratio[mean > 0])) if (mean > 0).any() else 0.0
    # Where hardly an electron falls the scatter is none, but one electron may fall all the same.
    area = 4 * np.pi * SPOT_WIDTH**2
    single = np.sqrt(max(gain, 0.0) * np.maximum(background, max(gain, 0.0) / area) / area)
    scatter = np.maximum(ndimage.median_filter(scatter, 5), single)
    scatter = np.maximum(scatter, 1e-12 * max(smooth.max(), 1e-12))
    rise = smooth - background[ring]
    height = rise / scatter[ring]
    searched = (radius >= r_min) & (radius <= r_max)
    local = ndimage.maximum_filter(height, size=5)
    rows, columns = np.nonzero(searched & (height == local) & (height > LEAST_HEIGHT))
    counted = _counting_p(
        pattern, np.stack([mean[ring], np.full_like(smooth, gain)], -1), rows, columns
    )
    position = np.stack([rows, columns], axis=1) + _refine(smooth, rows, columns)
    offset = position - np.asarray(centre)
    strength, counts = height[rows, columns], rise[rows, columns]
    # Of the two ways to judge a spot, against the scatter on its circle and against counting
    # statistics, the more doubtful one stands: with few electrons the scatter is no guide.
    log_chance = np.maximum(stats.norm.logsf(strength), counted)
    order = np.argsort(-strength, kind="stable")
    offset, strength, log_chance = offset[order], strength[order], log_chance[order]
    counts = counts[order]

    # A noise pair needs one maximum anywhere and another within reach of its mate.
    places = float(searched.sum())
    near = np.pi * MATE_REACH**2
    kept: list[tuple[float, np.ndarray, float, float]] = []
    used = np.zeros(len(offset), dtype=bool)
    for i in range(len(offset)):
        if used[i]:
            continue
        distance = np.where(used, np.inf, np.linalg.norm(offset + offset[i], axis=1))
        mate = int(distance.argmin())
        used[i] = True
        if distance[mate] <= MATE_REACH and mate != i:
            used[mate] = True
            log_p = np.log(places * near / 2) + log_chance[i] + log_chance[mate]
            both = (counts[i] + counts[mate]) / 2
            kept.append((strength[i], (offset[i] - offset[mate]) / 2, log_p, both))
        elif strength[i] > LEAST_HEIGHT_ALONE:
            kept.append((strength[i], offset[i], np.log(places) + log_chance[i], counts[i]))
    kept = [k for k in kept if k[2] < np.log(DOUBTFUL)]
    height = np.array([k[0] for k in kept])
    return PatternSpots(
        offset=np.array([k[1] for k in kept]).reshape(-1, 2),
        height=height,
        intensity=np.array([k[3] for k in kept]),
        p_value=np.exp(np.minimum([k[2] for k in kept], 0)),
    )


def without_hot_pixels(pattern: np.ndarray) -> np.ndarray:
    """Return the pattern with pixels that tower over all their neighbours set to their median."""
    from scipy import ndimage

    around = np.ones((3, 3), dtype=bool)
    around[1, 1] = False
    highest = ndimage.maximum_filter(pattern, footprint=around)
    median = ndimage.median_filter(pattern, footprint=around)
    scatter = 1.4826 * np.median(np.abs(pattern - np.median(pattern)))
    # Electrons come at random: a pixel of a few of them is no flaw.
    lonely = pattern - highest > 10 * (scatter + np.sqrt(np.maximum(highest, 1)))
    return np.where(lonely, median, pattern)


def _counting_p(
    pattern: np.ndarray, background: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """Return the logarithm of the chance that counting alone fills the spots, shape (S,).

    The counts in a disc about each spot are compared with what the mean background puts there,
    in units of the detector's gain, taken as the median of variance over mean on circles. Data
    whose background is not positive, such as after the subtraction of a dark frame, have no
    counts to speak of; they get 0.
    """
    from scipy import ndimage, stats

    mean, gain = background[..., 0], background[..., 1]
    y, x = np.indices((2 * DISC + 1, 2 * DISC + 1)) - DISC
    disc = (np.hypot(y, x) <= DISC + 0.1).astype(float)
    total = ndimage.convolve(pattern.astype(float), disc, mode="constant")
    expected = disc.sum() * mean
    electrons = np.maximum(total / gain, 0)
    usable = (expected > 0) & (gain > 0)
    log_p = stats.poisson.logsf(np.ceil(electrons) - 1, np.maximum(expected / gain, 1e-12))
    return np.asarray(np.where(usable, log_p, 0.0)[rows, columns])


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

"""Whether an array can be looked at at all, and what in it is not the specimen's."""

from collections.abc import Iterable, Sequence
from numbers import Real

import numpy as np

from interphase.diffraction.results import NONE, UNKNOWN
from interphase.errors import ParameterError, PhaseError
from interphase.phases import Phase, reflections

# Standard deviations above the mean from which on a lone pixel is hot.
HOT = 20.0
# Side of a square of one and the same value that no camera records [pixels].
SQUARE = 8
# Runs of one and the same value along a row or column, as gaps and dead lines have them [pixels].
LINE = 64
# Runs of the greatest value, as text and scale bars have them [pixels].
RUN = 5
# Squares and runs must be this many times as frequent as chance makes them.
UNLIKELY = 10.0
# Pixels within this distance of such areas belong to them [pixels].
MARGIN = 2
# Surroundings whose mean takes the place of what is no image, standard deviation [pixels].
SURROUNDINGS = 8.0
# Largest share of an image that may be replaced.
REPLACED = 0.5
# Periods of cameras and of image formats: channels, interlace, blocks of 8 [pixels]. A pattern of
# a shorter period that divides one of these is found with it.
PERIODS = (32, 16, 12, 10)
# Blocks along each side of an image in which a camera's pattern must have the same phase.
BLOCKS = 6
# Probability to find a camera's pattern in an image that has none.
LOCKED_ALARM = 1e-3
# Reflections weaker than this share of a phase's strongest are not named as out of reach.
NAMED = 0.2


# What regions are called that are none of the candidates.
RESERVED = (UNKNOWN, NONE, "")


def check_array(
    image: np.ndarray, candidates: Iterable[Phase]
) -> tuple[np.ndarray, tuple[Phase, ...]]:
    """Return an array and its candidates, or raise what is misuse.

    That is wrong axes, wrong kind of numbers, no candidates or such that cannot be told apart by
    their names. What a mask hides is not a number.
    """
    if isinstance(image, np.ma.MaskedArray):
        image = np.ma.filled(image.astype(float), np.nan)
    image = np.asarray(image)
    if image.ndim != 2 or 0 in image.shape:
        raise ParameterError(
            f"the array has {image.ndim} axes of lengths {image.shape}: expected (row, column); "
            "sum the frames of a movie first"
        )
    if not np.issubdtype(image.dtype, np.number) or np.iscomplexobj(image):
        raise ParameterError(f"the array is of type {image.dtype}: expected real numbers")
    phases = (candidates,) if isinstance(candidates, Phase) else tuple(candidates)
    if not phases:
        raise ParameterError("no candidate phase is given: expected at least one")
    if not all(isinstance(phase, Phase) for phase in phases):
        raise ParameterError(
            f"candidates are {candidates!r}: expected phases, such as "
            'interphase.phases.candidates("Li2O,LiF")'
        )
    names = [phase.identifier for phase in phases]
    for name in names:
        if name in RESERVED:
            raise ParameterError(
                f"a candidate is called {name!r}, which means another answer: rename its file"
            )
        if names.count(name) > 1:
            raise ParameterError(f"{name} is among the candidates more than once: give each once")
    return image, phases


def check_sampling(name: str, value: float | None, unit: str) -> None:
    """Raise where the sampling is missing or no length; `name` is the parameter that gives it."""
    if value is None:
        raise ParameterError(
            f"{name} is missing: give the sampling in {unit}; without it no spacing can be measured"
        )
    if not (isinstance(value, Real) and np.isfinite(value) and 0 < value < 1e9):
        raise ParameterError(f"{name} is {value!r} {unit}: expected a length > 0")


def lost_spacings(
    candidates: Sequence[Phase], *, pixel_size_a: float, d_min_a: float, d_wanted_a: float
) -> str:
    """Return which strong reflections pixels are too coarse for, or nothing where none is lost.

    >>> from interphase.phases import load_phase
    >>> lost_spacings([load_phase("LiF")], pixel_size_a=0.95, d_min_a=2.0, d_wanted_a=1.2)
    'Pixels of 0.95 Å end at 1.9 Å (Nyquist); spacings below 2.00 Å are out of reach: LiF 1.42 Å.'
    """
    lost = []
    for phase in candidates:
        try:
            table = reflections(phase, d_min_a=d_wanted_a, relative_min=NAMED)
        except PhaseError:  # all its spacings are smaller still
            continue
        spacing = sorted({round(float(d), 2) for d in table.d_a if d < d_min_a}, reverse=True)
        if spacing:
            lost.append(f"{phase.identifier} {', '.join(f'{d:.2f}' for d in spacing[:3])} Å")
    if not lost:
        return ""
    return (
        f"Pixels of {pixel_size_a:.3g} Å end at {2 * pixel_size_a:.3g} Å (Nyquist); spacings below "
        f"{d_min_a:.2f} Å are out of reach: {'; '.join(lost)}."
    )


def usable(image: np.ndarray, *, saturation_matters: bool = True) -> tuple[np.ndarray, str]:
    """Return the image as float32 without gaps, or the sentence that says why it cannot be used."""
    with np.errstate(over="ignore"):  # what is too large is not finite, and told below
        data = image - image.flat[0] if image.dtype.kind == "u" and image.max() > 2**31 else image
        data = data.astype(np.float32)
    finite = np.isfinite(data)
    if finite.mean() < 0.99:
        return data, f"{100 * (1 - finite.mean()):.0f} % of the pixels are not finite numbers."
    if not finite.all():
        data[~finite] = np.median(data[finite])
    if data.min() == data.max():
        return data, f"Every pixel has the value {data.flat[0]:g}."
    if not saturation_matters:
        return data, ""
    values, counts = np.unique(data[:: max(1, data.shape[0] // 512)], return_counts=True)
    if counts[-1] > 0.2 * counts.sum() and len(values) > 2:
        return data, f"{100 * counts[-1] / counts.sum():.0f} % of the pixels are saturated."
    return data / np.float32(max(abs(float(data.max())), abs(float(data.min())))), ""


def repaired(image: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return an image without what is not the specimen's, and what was taken out of it.

    Parameters
    ----------
    image
        ndarray of shape (M, N), float32, finite.

    Returns
    -------
    repaired
        The same shape. Hot pixels, text and scale bars, borders that alignment left empty and dead
        lines hold what their surroundings are like; patterns locked to the pixels are taken off.
    doubts
        One sentence for each kind, hot pixels excepted.
    """
    doubts = []
    hot = hot_pixels(image)
    if hot.any():
        image = _filled(image, hot)
    drawn = drawn_pixels(image)
    if drawn.all():
        return image, ()
    if drawn.any():
        image = _filled(image, drawn)
        doubts.append(
            f"{100 * drawn.mean():.2g} % of the pixels are empty or drawn into the image (text, "
            "bars, borders); nothing was looked for there."
        )
    frequencies, pattern = locked_pattern(image)
    if len(frequencies):
        mean = float(image.mean())
        # A camera's gain multiplies counts; where zero is not zero counts it can but be taken off.
        image = image / (1 + pattern / mean) if pattern.min() > -0.9 * mean else image - pattern
        common = int(np.lcm.reduce(PERIODS))
        steps = np.rint(frequencies * common).astype(int)
        period = common // int(np.gcd.reduce([common, *steps.ravel()]))
        doubts.append(
            f"A pattern that repeats after exactly {period} pixels all over the image was taken "
            "off, as the camera's or the file's. If the image is computed and its crystal repeats "
            "so, resample it."
        )
    return image.astype(np.float32), tuple(doubts)


def hot_pixels(image: np.ndarray) -> np.ndarray:
    """Return which pixels are far brighter than all pixels and than those around them.

    >>> image = np.random.default_rng(0).poisson(5.0, (64, 64)).astype(np.float32)
    >>> image[20, 30] = 900
    >>> np.argwhere(hot_pixels(image)).tolist()
    [[20, 30]]
    """
    sample = image[:: max(1, len(image) // 512)]
    sample = np.minimum(sample, np.quantile(sample, 0.999))
    hot = image > sample.mean() + HOT * sample.std()
    row, column = np.nonzero(hot)
    y, x = (n.ravel() - 1 for n in np.indices((3, 3)))
    rows = np.clip(row[:, None] + y, 0, image.shape[0] - 1)
    columns = np.clip(column[:, None] + x, 0, image.shape[1] - 1)
    # A bright area is no hot pixel.
    hot[row, column] = hot[rows, columns].sum(axis=1) <= 4
    return np.asarray(hot)


def drawn_pixels(image: np.ndarray) -> np.ndarray:
    """Return which pixels hold what no camera records: flat areas, and strokes of the brightest.

    Parameters
    ----------
    image
        ndarray of shape (M, N).

    Returns
    -------
    ndarray
        bool, shape (M, N). At a low dose most counts are equal; only more of such areas than
        chance makes there are taken.

    Examples
    --------
    >>> image = np.random.default_rng(0).poisson(5.0, (64, 64)).astype(np.float32)
    >>> image[40:44, 10:40] = 20
    >>> int(drawn_pixels(image).sum())  # the bar and its margin of two pixels
    272
    """
    from scipy import ndimage

    drawn = np.zeros(image.shape, dtype=bool)
    down, across = image[1:] == image[:-1], image[:, 1:] == image[:, :-1]
    alike = float(across.mean())
    if SQUARE**2 * alike ** (SQUARE**2 - 1) < 1 / UNLIKELY**2:
        # Half a square may lie outside the image, so that narrow borders are areas, too.
        half = SQUARE // 2
        inside = (slice(half, -half), slice(half, -half))
        flat = np.ones([n + 2 * half for n in image.shape], dtype=bool)
        flat[inside][:-1] &= down
        flat[inside][:, :-1] &= across
        # Every square has some of these rows.
        if _all_of(flat[::half], SQUARE, 1).any():
            drawn |= _spread(_all_of(_all_of(flat, SQUARE, 0), SQUARE, 1), SQUARE, SQUARE)[inside]
    if LINE * alike ** (LINE - 1) < 1 / UNLIKELY**2:
        # Every line has seven of every eighth pixel.
        if _all_of(across[:, ::8], LINE // 8 - 1, 1).any():
            drawn |= _spread(_all_of(across, LINE - 1, 1), 1, LINE)
        if _all_of(down[::8], LINE // 8 - 1, 0).any():
            drawn |= _spread(_all_of(down, LINE - 1, 0), LINE, 1)
    brightest = image == image.max()
    runs = _spread(_all_of(brightest, RUN, 0), RUN, 1) | _spread(_all_of(brightest, RUN, 1), 1, RUN)
    if runs.mean() > UNLIKELY * 2 * RUN * float(brightest.mean()) ** RUN:
        labels, _ = ndimage.label(brightest, np.ones((3, 3)))
        drawn |= np.isin(labels, np.unique(labels[runs]))
    if drawn.any():
        drawn = ndimage.binary_dilation(drawn, np.ones((3, 3)), iterations=MARGIN)
    return np.asarray(drawn)


def _all_of(mask: np.ndarray, length: int, axis: int) -> np.ndarray:
    """Return where `length` pixels along an axis, from this one on, all hold."""
    whole, reached = np.moveaxis(mask, axis, 0), 1
    while reached < length:
        step = min(reached, length - reached)
        whole = whole[:-step] & whole[step:]
        reached += step
    return np.moveaxis(whole, 0, axis)


def _spread(first: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return the pixels of the rectangles whose first pixels are `first`."""
    from scipy import ndimage

    whole = np.pad(first, ((0, rows - 1), (0, columns - 1)))
    if not first.any():
        return whole
    for axis, length in enumerate((rows, columns)):
        if length > 1:
            whole = ndimage.maximum_filter1d(
                whole, length, axis, origin=(length - 1) // 2, mode="constant"
            )
    return np.asarray(whole)


def _filled(image: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """Return the image with the mean of the surroundings in its gaps, and noise as elsewhere.

    Without noise a window over a gap would have a floor of its own kind.
    """
    from scipy import ndimage

    kept = (~gaps).astype(np.float32)
    middle = image[~gaps].mean()
    weight = ndimage.gaussian_filter(kept, SURROUNDINGS)
    smooth = ndimage.gaussian_filter((image - middle) * kept, SURROUNDINGS)
    # Far from anything kept it is the mean of all.
    smooth = middle + smooth / (weight + 1e-3)
    noise = (image - smooth)[~gaps]
    # Any order will do, and the same image shall give the same result.
    order = np.random.default_rng(0).integers(0, len(noise), int(gaps.sum()))
    filled = image.copy()
    filled[gaps] = smooth[gaps] + noise[order]
    return filled


def locked_pattern(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the pattern of an image that is locked to its pixels.

    Channels of a camera, interlace, blocks of an image format and tiling repeat after a whole
    number of pixels, all over the image and always with the same phase. A crystal does so in
    computed images only.

    Parameters
    ----------
    image
        ndarray of shape (M, N).

    Returns
    -------
    frequencies
        (row, column) [1/pixel], one of each Friedel pair, shape (L, 2).
    pattern
        What repeats, without its mean, shape (M, N).

    Notes
    -----
    In each of B blocks the image is averaged over a period of p pixels and transformed. Of
    amplitudes with random phases, B times the squared mean over the variance has the F
    distribution of 2 and 2 (B - 1) degrees of freedom.

    Examples
    --------
    >>> image = np.random.default_rng(0).poisson(20.0, (192, 192)) * 1.0
    >>> image[:, ::4] *= 1.1
    >>> frequencies, pattern = locked_pattern(image)
    >>> frequencies.tolist(), (pattern[0, :4] > 0).tolist()
    ([[0.0, 0.25], [0.0, 0.5]], [True, False, False, False])
    """
    found: set[tuple[int, int]] = set()
    rest = image
    common = int(np.lcm.reduce(PERIODS))
    rounding = 1e-5 * float(np.abs(image).max())
    for period in PERIODS:
        side = min(image.shape) // (BLOCKS * 2 * period) * 2 * period
        if side == 0:
            continue
        amplitude = _folded(rest, side, period)
        every = amplitude.reshape(-1, period, period)
        locked = _coherent(every, LOCKED_ALARM / period**2)
        # A stripe has the same phase along its line by itself: it must repeat across, too.
        locked[:, 0] &= _coherent(amplitude.mean(axis=1)[..., 0], LOCKED_ALARM / period)
        locked[0, :] &= _coherent(amplitude.mean(axis=0)[:, 0], LOCKED_ALARM / period)
        locked[0, 0] = False
        mean = every.mean(axis=0)
        locked &= np.abs(mean) > rounding * period**2
        if locked.any():
            once = np.fft.ifft2(np.where(locked, mean, 0)).real.astype(image.dtype)
            repeats = [-(-n // period) for n in image.shape]
            rest = rest - np.tile(once, repeats)[: image.shape[0], : image.shape[1]]
            found |= {(int(m), int(n)) for m, n in np.argwhere(locked) * (common // period)}
    half = sorted(n for n in found if (n[1], n[0]) <= (-n[1] % common, -n[0] % common))
    return np.array(half, dtype=float).reshape(-1, 2) / common, image - rest


def _folded(image: np.ndarray, side: int, period: int) -> np.ndarray:
    """Return the Fourier sums of the mean period of each block of `side` pixels.

    Shape (rows of blocks, columns of blocks, period, period).
    """
    rows, columns = (n // side for n in image.shape)
    used = image[: rows * side, : columns * side]
    # Under a triangle of a whole number of periods a gradient is no sawtooth.
    weight = (1 - np.abs(2 * np.arange(side) / side - 1)).reshape(-1, period)
    weight *= period / weight.sum()
    # Rows first: they lie together in memory.
    mean = np.einsum("rtpn,tp->rpn", used.reshape(rows, -1, period, columns * side), weight)
    mean = np.einsum("rpctq,tq->rcpq", mean.reshape(rows, period, columns, -1, period), weight)
    return np.fft.fft2(mean)


def _coherent(amplitude: np.ndarray, alarm: float) -> np.ndarray:
    """Return which amplitudes have one phase in all blocks; the blocks are the first axis."""
    from scipy.stats import f

    number = len(amplitude)
    mean = amplitude.mean(axis=0)
    variance = np.square(np.abs(amplitude - mean)).sum(axis=0) / (number - 1)
    least = f.isf(alarm, 2, 2 * (number - 1))
    return np.asarray(number * np.square(np.abs(mean)) > least * variance)

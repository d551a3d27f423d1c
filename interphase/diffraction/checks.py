"""Whether an array can be looked at at all, and what in it is not the specimen's."""

from collections.abc import Iterable, Sequence
from itertools import product
from numbers import Integral, Real
from typing import TypeVar

import numpy as np

from interphase.diffraction.options import Options
from interphase.diffraction.results import NONE, UNKNOWN
from interphase.errors import ParameterError, PhaseError
from interphase.phases import Phase, reflections

# Standard deviations above all pixels and those around from which on a lone pixel is hot.
HOT = 20.0
# Pixels within this distance are those around [pixels].
AROUND = 4
# Three neighbours of a lone pixel have less than this share of its height; those of a column of
# atoms have more, however sharp it is.
ALONE = 0.05
# Smallest share of hot pixels that is told, and largest that leaves the rest as good as it was:
# with 0.05 crystals are found and noise is told as without any; with 0.15 no longer.
TOLD_HOT = 1e-3
MOST_HOT = 0.07
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
# Kinds of array that hold real numbers: whole ones with and without a sign, and fractions.
REAL = "iuf"
# Side of the smallest pattern in which a background can be told from spots [pixels].
SMALLEST_PATTERN = 32
# What is measured must lie this far from the direct beam to be told from it [pixels]. A working
# value.
LEAST_RADIUS = 10.0

T = TypeVar("T")


def check_array(
    image: np.ndarray, candidates: Iterable[Phase]
) -> tuple[np.ndarray, tuple[Phase, ...]]:
    """Return an array and its candidates, or raise what is misuse."""
    return check_image(image), check_candidates(candidates)


def check_image(image: np.ndarray) -> np.ndarray:
    """Return an array, or raise where its axes or its kind of numbers are wrong.

    What a mask hides is not a number.
    """
    if isinstance(image, np.ma.MaskedArray):
        image = np.ma.filled(image.astype(float), np.nan)
    image = np.asarray(image)
    if image.ndim != 2 or 0 in image.shape:
        raise ParameterError(
            f"the array has {image.ndim} axes of lengths {image.shape}: expected (row, column); "
            "sum the frames of a movie first"
        )
    if image.dtype.kind not in REAL:
        raise ParameterError(f"the array is of type {image.dtype}: expected real numbers")
    return image


def check_candidates(candidates: Iterable[Phase]) -> tuple[Phase, ...]:
    """Return candidates, or raise where there are none or names do not tell them apart."""
    phases = check_records(
        "candidates", candidates, Phase, 'phases, such as interphase.phases.candidates("Li2O,LiF")'
    )
    if not phases:
        raise ParameterError("no candidate phase is given: expected at least one")
    names = [phase.identifier for phase in phases]
    for identifier in names:
        if identifier in RESERVED:
            raise ParameterError(
                f"a candidate is called {identifier!r}, which means another answer: rename its file"
            )
        if names.count(identifier) > 1:
            raise ParameterError(
                f"{identifier} is among the candidates more than once: give each once"
            )
    return phases


def check_record(name: str, value: object, kind: type[T], expected: str) -> T:
    """Return a record of a kind, or raise; `expected` names it."""
    if not isinstance(value, kind):
        raise ParameterError(f"{name} is {repr(value)[:80]}: expected {expected}")
    return value


def check_phase(name: str, phase: object) -> Phase:
    """Return a phase, or raise."""
    return check_record(name, phase, Phase, 'a phase, such as interphase.phases.load_phase("Au")')


def check_records(name: str, values: object, kind: type[T], expected: str) -> tuple[T, ...]:
    """Return one or several records of a kind as a tuple, or raise; `expected` names them."""
    if isinstance(values, kind):
        return (values,)
    found = tuple(values) if isinstance(values, Iterable) else (None,)
    if not all(isinstance(value, kind) for value in found):
        raise ParameterError(f"{name} are {repr(values)[:80]}: expected {expected}")
    return found


def check_options(options: Options | None) -> Options:
    """Return options, those by default where none are given, or raise."""
    if options is None:
        return Options()
    expected = "interphase.diffraction.Options, such as Options(d_min_a=1.5)"
    return check_record("options", options, Options, expected)


def check_number(
    name: str, value: object, low: float, high: float, unit: str = "", *, whole: bool = False
) -> None:
    """Raise where a value is no number, or not whole, or not from `low` to `high` inclusive."""
    kind = Integral if whole else Real
    if isinstance(value, bool) or not (isinstance(value, kind) and low <= float(value) <= high):
        raise ParameterError(
            f"{name} is {value!r}{unit and ' '}{unit}: expected a {'whole ' * whole}number from "
            f"{low:g} to {high:g}"
        )


def check_numbers(
    name: str, values: object, shape: tuple[int | None, ...], meaning: str
) -> np.ndarray:
    """Return finite real numbers of a shape, in which ``None`` is any length, or raise."""
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        array = np.asarray(None)
    fits = array.ndim == len(shape) and all(
        length in (None, n) for length, n in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype.kind not in REAL:
        shown = f"the shape {array.shape} and type {array.dtype}"
        stated = f"is {values!r}" if array.size < 4 else f"has {shown}"
        raise ParameterError(f"{name} {stated}: expected {meaning}")
    if not np.isfinite(array).all():
        raise ParameterError(
            f"{name} holds {np.count_nonzero(~np.isfinite(array))} values that are not finite: "
            f"expected {meaning}"
        )
    return array.astype(float)


def check_centre(centre: object, shape: tuple[int, ...]) -> tuple[float, float]:
    """Return (row, column) of the direct beam [pixels], or raise where it is not in the frame."""
    meaning = "(row, column) of the direct beam [pixels]"
    row, column = (float(n) for n in check_numbers("centre", centre, (2,), meaning))
    if not (0 <= row < shape[0] and 0 <= column < shape[1]):
        raise ParameterError(
            f"centre is ({row:g}, {column:g}): expected a place in the frame of {shape[0]} × "
            f"{shape[1]} pixels; leave it out to have it found"
        )
    return row, column


def check_sampling(name: str, value: float | None, unit: str) -> None:
    """Raise where the sampling is missing or no length; `name` is the parameter that gives it."""
    if value is None:
        raise ParameterError(
            f"{name} is missing: give the sampling in {unit}; without it no spacing can be measured"
        )
    if isinstance(value, bool) or not (isinstance(value, Real) and 1e-9 <= value <= 1e9):
        raise ParameterError(f"{name} is {value!r} {unit}: expected a number from 1e-9 to 1e9")


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
    sample = data[:: max(1, data.shape[0] // 512)]
    low, high = sample.min(), sample.max()
    saturated = float(np.mean(sample == high))
    if saturated > 0.2 and ((low < sample) & (sample < high)).any():
        return data, f"{100 * saturated:.0f} % of the pixels are saturated."
    return data / np.float32(max(abs(float(data.max())), abs(float(data.min())))), ""


def usable_pattern(pattern: np.ndarray) -> tuple[np.ndarray, str]:
    """Return a diffraction pattern as `usable` does, or why it cannot be used."""
    data, fault = usable(pattern, saturation_matters=False)
    if not fault and min(pattern.shape) < SMALLEST_PATTERN:
        fault = (
            f"The pattern has {pattern.shape[0]} × {pattern.shape[1]} pixels; "
            f"{SMALLEST_PATTERN} × {SMALLEST_PATTERN} are needed."
        )
    return data, fault


def repaired(
    image: np.ndarray, *, hot: np.ndarray | None = None
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return an image without what is not the specimen's, and what was taken out of it.

    Parameters
    ----------
    image
        ndarray of shape (M, N), float32, finite.
    hot
        Which pixels are hot, bool, shape (M, N); `hot_pixels` of the image unless given.

    Returns
    -------
    repaired
        The same shape. Hot pixels, text and scale bars, borders that alignment left empty and dead
        lines hold what their surroundings are like; patterns locked to the pixels are taken off.
    doubts
        One sentence for each kind; nobody wants to know of a few hot pixels.
    """
    doubts = []
    hot = hot_pixels(image) if hot is None else hot
    if hot.any():
        image = _filled(image, hot)
    if (share := float(hot.mean())) > TOLD_HOT:
        doubts.append(f"{100 * share:.2g} % of the pixels are hot and were filled in.")
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
    return image.astype(np.float32, copy=False), tuple(doubts)


def hot_pixels(image: np.ndarray) -> np.ndarray:
    """Return which pixels are far brighter than all pixels and than those around them.

    Bright areas and atomic columns are none. Where hardly any electrons are, a single one that
    towers above the camera's noise looks the same.

    >>> image = np.random.default_rng(0).poisson(5.0, (64, 64)).astype(np.float32)
    >>> image[20, 30] = 900
    >>> np.argwhere(hot_pixels(image)).tolist()
    [[20, 30]]
    """
    from scipy import ndimage

    sample = image[:: max(1, len(image) // 512)]
    # The lower part knows nothing of hot pixels; at a low dose it may be all zeros.
    for share in (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999):
        usual = np.minimum(sample, np.quantile(sample, share))
        middle, scatter = float(usual.mean()), float(usual.std())
        if scatter > 0:
            break
    bright = np.asarray(image > middle + HOT * scatter)
    if not bright.any():
        return bright
    square = np.ones((3, 3))
    core = ndimage.binary_erosion(bright, square)
    hot = bright & ~ndimage.binary_propagation(core, square, mask=bright)
    row, column = np.nonzero(hot)

    def near(y: int, x: int) -> tuple[np.ndarray, np.ndarray]:
        return (
            np.clip(row + y, 0, image.shape[0] - 1),
            np.clip(column + x, 0, image.shape[1] - 1),
        )

    number, total, squares = np.zeros((3, len(row)))
    for y, x in product(range(-AROUND, AROUND + 1), repeat=2):
        value = np.where(bright[near(y, x)], 0, image[near(y, x)] - middle)
        number += ~bright[near(y, x)]
        total += value
        squares += value**2
    mean = total / np.maximum(number, 1)
    deviation = np.sqrt(np.maximum(squares / np.maximum(number, 1) - mean**2, scatter**2))
    height = image[row, column] - middle - mean
    beside = [image[near(y, x)] for y, x in product((-1, 0, 1), repeat=2) if (y, x) != (0, 0)]
    lone = np.sort(beside, axis=0)[2] - middle - mean < ALONE * height
    hot[row, column] = lone & (height > HOT * deviation)
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
    if brightest.sum() >= RUN:
        runs = _spread(_all_of(brightest, RUN, 0), RUN, 1)
        runs |= _spread(_all_of(brightest, RUN, 1), 1, RUN)
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

"""Phases and orientations in a scan of diffraction patterns (4D-STEM), place by place.

Patterns are looked at a few at a time, so a scan may be larger than the memory. Spots are found in
each by themselves; neighbouring places that show the same spots are one crystal, and what a crystal
is, is judged from the spots of all its places.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from interphase.assessment import Assessment
from interphase.diffraction.catalogue import PhaseKey, library_of
from interphase.diffraction.checks import (
    LEAST_RADIUS,
    SMALLEST_PATTERN,
    check_candidates,
    check_options,
    check_sampling,
)
from interphase.diffraction.matching import Evidences, Library, scale_prior, weigh
from interphase.diffraction.options import Options
from interphase.diffraction.orientations import Orientation, match_orientation
from interphase.diffraction.pattern_crystals import MAX_CRYSTALS, PATTERN_SIGMA
from interphase.diffraction.pattern_spots import (
    DISC,
    DOUBTFUL,
    LEAST_HEIGHT,
    MATE_REACH,
    find_centre,
    without_hot_pixels,
)
from interphase.diffraction.regions import Place
from interphase.diffraction.results import PhaseMap, Region
from interphase.diffraction.spots import THRESHOLD
from interphase.diffraction.verdicts import (
    area_fraction,
    describe,
    doubts_of,
    judge,
    overall,
    summary,
)
from interphase.electron import checked_energy
from interphase.errors import ParameterError
from interphase.phases import Phase

# Patterns that are in memory at once [bytes of single precision].
BLOCK_BYTES = 32_000_000
# Patterns, spread over the scan, from which centre, width of spots and gain are taken.
SAMPLE = 36
# Spots kept of a place, most certain first.
MOST_SPOTS = 40
# Share of a crystal's spots that a place must show to belong to it.
SHOWN = 0.34
# Spots that this share of a crystal's places show belong to it.
COMMON = 0.25
# Crystals looked for in one scan.
MAX_PLACES = 2000
# A spot without a mate whose brightest pixel holds more than this share is a flaw of the detector.
LONELY = 0.7
# A pattern with a smaller share of finite numbers is not used.
LEAST_FINITE = 0.99
# Least number of scattered electrons of which a share is stated.
FEW_ELECTRONS = 30
# Logarithm of the smallest probability that is told from zero.
LEAST_LOG_P = -690.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScanMap:
    """What a scan of diffraction patterns shows, place by place."""

    phases: PhaseMap
    """Crystals and what they may be; its `labels` have one entry per position of the scan."""
    orientations: tuple[Orientation | None, ...] = ()
    """How each region of `phases` lies; ``None`` where its phase is not named, two directions of
    spots are not seen, or no beam energy was given."""
    centre_px: np.ndarray = field(default_factory=lambda: np.zeros((0, 0, 2)))
    """(row, column) of the direct beam at each position [pixels], shape (R, C, 2)."""
    spots: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int32))
    """Number of spots at each position, both of a Friedel pair, shape (R, C)."""
    p_value: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    """Probability that counting noise and speckle make such spots at this position, (R, C); NaN
    where the pattern is not usable."""
    amorphous_fraction: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    """Share of the electrons scattered into the searched range that are in no spot, shape (R, C);
    NaN where too few were scattered. Thermal and inelastic scattering of crystals are among them,
    so it is an upper limit of what is amorphous."""
    amorphous_fraction_sigma: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    """Standard deviation of that by counting alone, shape (R, C)."""
    scattered_share: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    """Share of all counts of a pattern that lie in the searched range, shape (R, C): small where
    there is no specimen."""

    @property
    def assessment(self) -> Assessment:
        """What the answer is worth as a whole."""
        return self.phases.assessment

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        return self.phases.sentence

    @property
    def rotation(self) -> np.ndarray:
        """`Orientation.rotation` at each position, NaN where none is known, (R, C, 3, 3)."""
        of_region = np.full((len(self.phases.regions) + 1, 3, 3), np.nan)
        for number, orientation in enumerate(self.orientations, start=1):
            if orientation is not None:
                of_region[number] = orientation.rotation
        return np.asarray(of_region[self.phases.labels])


def identify_scan(
    data: Any,
    *,
    reciprocal_pixel_size_per_a: float,
    candidates: Sequence[Phase],
    beam_energy_kev: float | None = None,
    scan_step_a: float | None = None,
    options: Options | None = None,
) -> ScanMap:
    """Return which phases a scan of diffraction patterns shows, where, and how they lie.

    Parameters
    ----------
    data
        Counts, shape (R, C, M, N): positions, then the pattern of each. A NumPy array, a
        memory-mapped one, a Dask array, or anything else that gives arrays when sliced. Dask arrays
        are computed one chunk of positions at a time.
    reciprocal_pixel_size_per_a
        Sampling of the patterns [1/Å], no 2π.
    candidates
        Phases to consider, from `interphase.phases.candidates`.
    beam_energy_kev
        Beam energy [keV]; without it no orientations are determined.
    scan_step_a
        Distance of neighbouring positions [Å]; without it regions have no place and area in Å.
    options
        Range of spacings, false-alarm rate and prior beliefs; the window is not used.

    Returns
    -------
    ScanMap
        Maps of phase, orientation and amorphous share. Data without spots are results whose
        `assessment` says so.

    Raises
    ------
    ParameterError
        The data have not four axes, the sampling, the energy or the step is out of range, or no
        candidate or one twice is given.

    Notes
    -----
    A spot is the sum over a disc as wide as the direct beam, above what the circle about the centre
    holds. What electrons make of a smooth background and of the speckle of an amorphous film has
    the tail of `log_tail`, with the mean and the variance of the discs on the circle. The speckle
    of a thin film is the same at k and -k, so a Friedel pair is one speckle with the counts of
    both. A place is crystalline if it shows a Friedel pair, or two such pairs or lone spots
    together, that this makes anywhere in the scan with less than ``options.false_alarm``.

    Positions whose pattern is not all finite numbers (99 % suffice) are not looked at: their
    `p_value` is NaN, and a warning counts them.

    The centre is followed from place to place where the direct beam is seen. Convergent beams whose
    discs overlap are not for this function.
    """
    options = check_options(options)
    shape = _checked_shape(data)
    candidates = check_candidates(candidates)
    check_sampling("reciprocal_pixel_size_per_a", reciprocal_pixel_size_per_a, "1/Å per pixel")
    if scan_step_a is not None:
        check_sampling("scan_step_a", scan_step_a, "Å")
    if beam_energy_kev is not None:
        checked_energy(beam_energy_kev)
    names = tuple(phase.identifier for phase in candidates)
    parameters: dict[str, object] = {
        "reciprocal_pixel_size_per_a": reciprocal_pixel_size_per_a,
        "beam_energy_kev": beam_energy_kev,
        "scan_step_a": scan_step_a,
        "candidates": names,
        **asdict(options),
    }

    def without(assessment: Assessment, sentence: str) -> ScanMap:
        return ScanMap(
            phases=PhaseMap(
                assessment=assessment, sentence=sentence, candidates=names, parameters=parameters
            )
        )

    if min(shape[2:]) < SMALLEST_PATTERN:
        return without(
            Assessment.UNUSABLE,
            f"The patterns have {shape[2]} × {shape[3]} pixels; "
            f"{SMALLEST_PATTERN} × {SMALLEST_PATTERN} are needed.",
        )
    sample = _sample(data, shape)
    camera = _look(sample, shape)
    if camera is None:
        return without(
            Assessment.UNUSABLE,
            "In the mean of the patterns neither a direct beam nor a centre of symmetry is in "
            "view, so no spacing can be measured.",
        )
    r_max = min(
        1 / options.d_min_a / reciprocal_pixel_size_per_a, float(np.hypot(shape[2], shape[3]))
    )
    r_min = max(1 / options.d_max_a / reciprocal_pixel_size_per_a, 2 * camera.radius, 3.0)
    if r_min >= min(shape[2:]) / 2:
        return without(
            Assessment.TOO_COARSE,
            f"The patterns end at {2 / reciprocal_pixel_size_per_a / min(shape[2:]):.2f} Å; no "
            f"spacing below {options.d_max_a:.1f} Å is in view.",
        )
    if r_max < max(LEAST_RADIUS, r_min):
        return without(
            Assessment.TOO_COARSE,
            f"Pixels of {reciprocal_pixel_size_per_a:.3g} 1/Å are too coarse: spacings down to "
            f"{options.d_min_a:.1f} Å lie within {r_max:.1f} pixels of the direct beam, and "
            f"{max(LEAST_RADIUS, r_min):.0f} are needed.",
        )
    rows, columns = shape[:2]
    camera = replace(camera, contrast=_contrast(sample, camera, r_min=r_min, r_max=r_max))
    del sample
    found = _find_spots(data, shape, camera, r_min=r_min, r_max=r_max)
    keys = tuple(PhaseKey(phase) for phase in candidates)
    library = library_of(keys, options.d_min_a, options.d_max_a, options.contrast)
    crystals = _crystals(
        found,
        (rows, columns),
        library,
        options,
        sampling=reciprocal_pixel_size_per_a,
        k_range=(r_min * reciprocal_pixel_size_per_a, r_max * reciprocal_pixel_size_per_a),
    )
    judged = _regions(crystals, library, candidates, options, columns, scan_step_a)
    order = sorted(range(len(judged)), key=lambda n: judged[n].p_value)
    crystals, regions = [crystals[n] for n in order], tuple(judged[n] for n in order)
    labels = _labels(crystals, (rows, columns))
    if regions:
        sentence = f"{summary(regions)} {_extent(labels, found.amorphous[:, 0])}"
    else:
        sentence = (
            "No spots rise above the background "
            f"(false alarms in {100 * options.false_alarm:g} % of scans)."
        )
    orientations = tuple(
        _orientation(crystal, region, candidates, beam_energy_kev, options)
        for crystal, region in zip(crystals, regions, strict=True)
    )
    # What all spots and the tilt say of the direction is better than the nearest template.
    regions = tuple(
        region if lies is None else replace(region, zone_axis=lies.zone_axis)
        for region, lies in zip(regions, orientations, strict=True)
    )
    return ScanMap(
        phases=PhaseMap(
            assessment=overall(regions),
            sentence=sentence,
            candidates=names,
            regions=regions,
            labels=labels,
            area_fraction=area_fraction(labels.ravel(), list(regions)),
            window_a=scan_step_a,
            step_a=scan_step_a,
            pixel_size_a=scan_step_a,
            centre_px=camera.centre,
            warnings=(*doubts_of(candidates, options), *_doubts(crystals, found)),
            parameters=parameters,
        ),
        orientations=orientations,
        centre_px=found.centre.reshape(*shape[:2], 2),
        spots=np.diff(found.start).reshape(shape[:2]).astype(np.int32),
        p_value=np.exp(np.minimum(found.log_p_place, 0)).reshape(shape[:2]),
        amorphous_fraction=found.amorphous[:, 0].reshape(shape[:2]),
        amorphous_fraction_sigma=found.amorphous[:, 1].reshape(shape[:2]),
        scattered_share=found.amorphous[:, 2].reshape(shape[:2]),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Camera:
    """What all patterns of a scan share; contrast is the least that their speckle has."""

    centre: tuple[float, float]
    followed: bool
    radius: float
    gain: float
    flaws: tuple[np.ndarray, np.ndarray]
    contrast: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Found:
    """The spots of all places, those of place p from ``start[p]`` to ``start[p + 1]``."""

    start: np.ndarray
    offset: np.ndarray
    height: np.ndarray
    intensity: np.ndarray
    paired: np.ndarray
    log_p: np.ndarray
    log_p_place: np.ndarray
    centre: np.ndarray
    amorphous: np.ndarray


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Crystal:
    """One crystal before it is named."""

    place: Place
    evidence: Evidences
    spot_p: np.ndarray
    paired: np.ndarray
    intensity: np.ndarray
    shown: np.ndarray
    sigma: float
    k_range: tuple[float, float]


def _checked_shape(data: Any) -> tuple[int, ...]:
    """Return the shape of a scan, or raise what is misuse."""
    if not (hasattr(data, "shape") and hasattr(data, "dtype")):
        raise ParameterError(
            f"the data are of type {type(data).__name__}: expected an array of four axes, such as "
            "NumPy's or Dask's"
        )
    shape = tuple(int(n) for n in data.shape)
    if len(shape) != 4 or 0 in shape:
        raise ParameterError(
            f"the data have {len(shape)} axes of lengths {shape}: expected (row, column) of the "
            "scan and (row, column) of the pattern; a single pattern is for `identify_pattern`"
        )
    if not np.issubdtype(data.dtype, np.number) or np.issubdtype(data.dtype, np.complexfloating):
        raise ParameterError(f"the data are of type {data.dtype}: expected real numbers")
    return shape


def _blocks(data: Any, shape: tuple[int, ...]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield numbers of positions and their patterns as of `_counts`, few at a time."""
    rows, columns = shape[:2]
    at_once = max(1, BLOCK_BYTES // (4 * shape[2] * shape[3]))
    chunks = getattr(data, "chunks", None)
    if hasattr(data, "compute") and chunks:
        parts = [
            [slice(end - size, end) for size, end in zip(sizes, np.cumsum(sizes), strict=True)]
            for sizes in chunks[:2]
        ]
    else:
        parts = [[slice(row, row + 1) for row in range(rows)]]
        parts.append([slice(c, min(columns, c + at_once)) for c in range(0, columns, at_once)])
    numbers = np.arange(rows * columns).reshape(rows, columns)
    for down in parts[0]:
        for right in parts[1]:
            block = data[down, right]
            if hasattr(block, "compute"):
                block = block.compute()
            block = block.reshape(-1, *shape[2:])
            number = numbers[down, right].ravel()
            for first in range(0, len(block), at_once):
                yield number[first : first + at_once], _counts(block[first : first + at_once])
            _let_go(data)


def _let_go(data: Any) -> None:
    """Give memory-mapped pages back: they count as used until somebody else wants the memory."""
    import mmap

    mapping = getattr(data, "_mmap", None)
    if mapping is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


def _sample(data: Any, shape: tuple[int, ...]) -> list[np.ndarray]:
    """Return patterns spread over the scan."""
    count = shape[0] * shape[1]
    sample = []
    for number in np.unique(np.linspace(0, count - 1, min(SAMPLE, count)).astype(int)):
        row, column = divmod(int(number), shape[1])
        pattern = data[row, column]
        if hasattr(pattern, "compute"):
            pattern = pattern.compute()
        sample.append(np.nan_to_num(_counts(pattern)))
    _let_go(data)
    return sample


def _counts(patterns: Any) -> np.ndarray:
    """Return patterns in single precision; one that is not all finite numbers is all NaN."""
    with np.errstate(over="ignore"):  # what is too large is not finite, and left out below
        counts = np.array(np.ma.filled(np.ma.asarray(patterns).astype(np.float32), np.nan))
    finite = np.isfinite(counts)
    if not finite.all():
        counts[~finite] = 0
        counts[finite.mean(axis=(-2, -1)) < LEAST_FINITE] = np.nan
    return counts


def _look(sample: list[np.ndarray], shape: tuple[int, ...]) -> _Camera | None:
    """Return centre, width of spots and gain from patterns spread over the scan."""
    from scipy import ndimage

    from interphase.diffraction import scan_kernels as kernels

    mean = np.mean(sample, axis=0)
    if mean.min() == mean.max():
        return None
    clean = without_hot_pixels(mean)
    centre = find_centre(clean)
    if centre is None:
        return None
    near = (slice(max(0, int(c) - shape[2] // 8), int(c) + shape[2] // 8 + 1) for c in centre)
    window = ndimage.uniform_filter(clean, 3)[tuple(near)]
    rim = np.median(np.concatenate([window[0], window[-1], window[:, 0], window[:, -1]]))
    radius, followed = float(DISC), False
    if window.max() > 4 * rim:
        disc = ndimage.label(window > (window.max() + rim) / 2)[0]
        disc = disc == disc[np.unravel_index(int(window.argmax()), window.shape)]
        radius = float(np.clip(np.sqrt(disc.sum() / np.pi), DISC, min(shape[2:]) / 16))
        followed = True
    y, x = np.indices(shape[2:])
    ring = np.rint(np.hypot(y - centre[0], x - centre[1]) / kernels.RING).astype(int)
    _, ring = np.unique(np.where(ring * kernels.RING < 3 * radius, -1, ring), return_inverse=True)
    ring = ring.ravel()
    pixels = np.bincount(ring)
    gains = []
    for pattern in sample:
        level = np.bincount(ring, pattern.ravel()) / pixels
        variance = np.bincount(ring, pattern.ravel() ** 2) / pixels - level**2
        seen = level[1:] > 0
        if seen.any():
            gains.append(float(np.median(variance[1:][seen] / level[1:][seen])))
    gain = float(np.median(gains)) if gains else 0.0
    return _Camera(
        centre=centre,
        followed=followed,
        radius=radius + 0.1,
        gain=gain if gain > 0 else 1.0,
        flaws=np.nonzero(clean != mean),  # type: ignore[arg-type]
    )


def _contrast(sample: list[np.ndarray], camera: _Camera, *, r_min: float, r_max: float) -> float:
    """Return how speckled the circles of all patterns together are.

    Variance of the speckle over the squared mean of discs, on the median circle.
    """
    from interphase.diffraction import scan_kernels as kernels

    mean_square, excess, number = np.zeros((3, 0))
    for pattern in _without_flaws(np.stack(sample), camera):
        row, column = camera.centre
        if camera.followed:
            row, column = kernels.beam_centre(pattern, row, column, camera.radius)
        sums, ring, rings, _ = kernels.circles(pattern, row, column, camera.radius, r_min, r_max)
        mean, variance, here = kernels.circle_moments(sums, ring, rings, camera.gain)
        if not len(number):
            mean_square, excess, number = np.zeros((3, rings))
        mean_square += here * mean**2
        excess += here * (variance - camera.gain * mean)
        number += here
    seen = mean_square > 0
    if not seen.any():
        return 0.0
    ratio, weight = excess[seen] / mean_square[seen], np.sqrt(number[seen])
    order = np.argsort(ratio)
    middle = int(np.searchsorted(np.cumsum(weight[order]), weight.sum() / 2))
    return max(0.0, float(ratio[order[middle]]))


def _without_flaws(block: np.ndarray, camera: _Camera) -> np.ndarray:
    """Return patterns with their medians in the flaws of the camera."""
    if len(camera.flaws[0]):
        block[:, *camera.flaws] = np.median(block, axis=(1, 2))[:, None]
    return block


def log_tail(counts: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    r"""Return the logarithm of the chance of so many electrons or more in a speckled background.

    Parameters
    ----------
    counts
        Electrons, any shape.
    mean, variance
        Of the background, of the same shape; a variance below the mean counts as the mean.

    Notes
    -----
    A smooth background of mean a gives Poisson's distribution, fully developed speckle of mean b on
    top of it a geometric one [1]_; their sum has the mean a + b, the variance a + b + b², and, with
    r = b / (1 + b) and N(μ) for a Poisson number of mean μ,

    .. math:: P(n) = P[N(a) \ge n] + r^n e^{a/r - a} P[N(a/r) < n].

    This is the longest tail that speckle gives for a mean and a variance. More variance than
    b = mean explains is left out. Values are cut at -690.

    References
    ----------
    .. [1] J. W. Goodman, Statistical Optics (1985), section 9.2.

    Examples
    --------
    One electron or more where one is expected, in Poisson noise and in speckle alone:

    >>> one = np.ones(2)
    >>> np.exp(log_tail(one, one, np.array([1.0, 2.0]))).round(3).tolist()
    [0.632, 0.5]
    """
    from scipy import special

    mean = np.maximum(mean, 1e-6)
    speckle = np.clip(np.sqrt(np.maximum(variance - mean, 0)), 1e-6, mean)
    smooth = np.maximum(mean - speckle, 1e-9)
    n = np.maximum(counts, 1e-9)
    ratio = speckle / (1 + speckle)
    rate = smooth / ratio
    below = special.gammaincc(n, rate)
    # Far below its mean a Poisson number falls off faster than floating point does.
    far = (n - 1) * np.log(rate) - rate - special.gammaln(n)
    far -= np.log(np.maximum(1 - (n - 1) / rate, 1e-9))
    log_below = np.where(below > 1e-290, np.log(np.maximum(below, 1e-300)), far)
    geometric = n * np.log(ratio) + rate - smooth + log_below
    poisson = np.log(np.maximum(special.gammainc(n, smooth), 1e-300))
    return np.asarray(np.clip(np.logaddexp(poisson, geometric), LEAST_LOG_P, 0.0))


def _find_spots(
    data: Any, shape: tuple[int, ...], camera: _Camera, *, r_min: float, r_max: float
) -> _Found:
    """Return the spots of every place of a scan."""
    from interphase.diffraction import scan_kernels as kernels

    places = shape[0] * shape[1]
    centre = np.tile(np.array(camera.centre), (places, 1))
    log_p_place = np.zeros(places)
    amorphous = np.full((places, 3), np.nan)
    kept: list[np.ndarray] = [np.zeros((0, 6))] * places
    reach = max(MATE_REACH, camera.radius / 2)
    for numbers, block in _blocks(data, shape):
        log_p_place[numbers[np.isnan(block[:, 0, 0])]] = np.nan
        block = _without_flaws(np.nan_to_num(block, copy=False), camera)
        maxima, totals = [], []
        for number, pattern in zip(numbers, block, strict=True):
            if camera.followed:
                centre[number] = kernels.beam_centre(pattern, *camera.centre, camera.radius)
            listed, total = kernels.find_maxima(
                pattern, *centre[number], camera.radius, r_min, r_max, camera.gain, camera.contrast
            )
            maxima.append(listed)
            totals.append(total)
        joined = np.concatenate(maxima)
        electrons = joined[:, 2:5] / (camera.gain, camera.gain, camera.gain**2)
        grains = np.pi * np.hypot(joined[:, 0], joined[:, 1]) / (2 * camera.radius + 1)
        log_p = _speckle_tail(electrons, grains)
        # Without counts to speak of, the scatter on the circle is the only guide.
        height = (joined[:, 2] - joined[:, 3]) / np.sqrt(
            np.maximum(joined[:, 4], np.maximum(camera.gain * joined[:, 3], 1e-12))
        )
        first = 0
        for number, listed, counts in zip(numbers, maxima, totals, strict=True):
            own = slice(first, first + len(listed))
            first = own.stop
            mate = kernels.pair_up(listed[:, :2], log_p[own], reach)
            chance = np.log(counts[2] + 1) + _pair_tail(
                electrons[own], grains[own], log_p[own], mate
            )
            spots, best = _choose(listed, mate, chance, height[own], camera)
            log_p_place[number] += best  # NaN stays NaN
            kept[number] = spots
            amorphous[number] = _shares(spots, counts, camera.gain)
    table = np.concatenate(kept)
    return _Found(
        start=np.concatenate([[0], np.cumsum([len(spots) for spots in kept])]),
        offset=np.ascontiguousarray(table[:, :2]),
        height=table[:, 2],
        intensity=table[:, 3],
        paired=table[:, 4] > 0,
        log_p=table[:, 5],
        log_p_place=np.minimum(log_p_place + np.log(2 * places), 0),
        centre=centre,
        amorphous=amorphous,
    )


def _speckle_tail(electrons: np.ndarray, grains: np.ndarray) -> np.ndarray:
    """Return `log_tail` of (counts, mean, variance), shape (S, 3), known from so many grains only.

    An exponential number is t times the mean of M others, or more, with (1 + t/M)^-M, not exp(-t).
    """
    log_p = log_tail(*electrons.T)
    _, mean, variance = electrons.T
    grains = grains * variance / np.maximum(variance - mean, 1e-9 * variance + 1e-30)
    return np.asarray(-grains * np.log1p(-log_p / grains))


def _pair_tail(
    electrons: np.ndarray, grains: np.ndarray, log_p: np.ndarray, mate: np.ndarray
) -> np.ndarray:
    """Return `_speckle_tail` of Friedel pairs, the same for both; others are left as they are.

    A weak phase object scatters alike to k and -k, so mates are one speckle seen twice. Given its
    intensity t, exponential of mean 1, they hold Poisson numbers of the means a₁ + b₁t and
    a₂ + b₂t, and both together one of the mean (a₁ + a₂) + (b₁ + b₂)t: the law of one speckle
    again, whose speckle adds up as b does and not as b² does. There are half as many such places.
    A pair is also what its stronger mate is by itself, anywhere: for n places that makes up to
    n + n/2 chances. Where mates are independent (thick films) pairs are rarer than so.
    """
    one = np.flatnonzero(mate >= 0)
    other = mate[one]
    speckle = np.sqrt(np.maximum(electrons[:, 2] - electrons[:, 1], 0))
    both = electrons[one] + electrons[other]
    both[:, 2] = both[:, 1] + (speckle[one] + speckle[other]) ** 2
    stronger = np.minimum(log_p[one], log_p[other])
    log_p = log_p.copy()
    log_p[one] = np.minimum(stronger, _speckle_tail(both, grains[one])) + np.log(1.5)
    return log_p


def _choose(
    listed: np.ndarray,
    mate: np.ndarray,
    chance: np.ndarray,
    height: np.ndarray,
    camera: _Camera,
) -> tuple[np.ndarray, float]:
    """Return the spots of one place, and the logarithm of the chance that they are none."""
    if len(listed) == 0:
        return np.zeros((0, 6)), 0.0
    alone = mate < 0
    flaw = alone & (listed[:, 5] > LONELY) & (listed[:, 2] > 12 * camera.gain)
    chance = np.where(flaw, 0.0, chance)
    sure = np.flatnonzero(chance < np.log(DOUBTFUL))
    sure = sure[np.argsort(chance[sure], kind="stable")][:MOST_SPOTS]
    offset = listed[:, :2].copy()
    pair = ~alone
    offset[pair] = (listed[pair, :2] - listed[mate[pair], :2]) / 2
    once = sure[alone[sure] | (sure < mate[sure])]
    best = float(chance[once][pair[once]].min(initial=0.0))
    if len(once) > 1:
        # Of Poisson events whose expected numbers are up to D, two make a product of c or less
        # c (1/2 + log(D / √c)) times.
        both = float(np.sort(chance[once])[:2].sum())
        best = min(best, both + float(np.log(0.5 + np.log(DOUBTFUL) - both / 2)))
    over = listed[:, 2] - listed[:, 3]
    spots = np.stack(
        [offset[sure, 0], offset[sure, 1], height[sure], over[sure], pair[sure], chance[sure]],
        axis=1,
    )
    return spots, best


def _shares(spots: np.ndarray, counts: np.ndarray, gain: float) -> tuple[float, float, float]:
    """Return the share of diffuse electrons, its standard deviation, and the scattered share."""
    scattered, whole = counts[0], counts[1]
    share = float(scattered / whole) if whole > 0 else np.nan
    if scattered / gain < FEW_ELECTRONS:
        return np.nan, np.nan, share
    in_spots = min(float(spots[:, 3].sum()), scattered) / scattered
    sigma = np.sqrt(max(in_spots * (1 - in_spots), gain / scattered) * gain / scattered)
    return 1 - in_spots, float(sigma), share


def _crystals(
    found: _Found,
    shape: tuple[int, int],
    library: Library,
    options: Options,
    *,
    sampling: float,
    k_range: tuple[float, float],
) -> list[_Crystal]:
    """Return the crystals of a scan, the most certain first."""
    from interphase.diffraction import scan_kernels as kernels

    owner = np.full(len(found.offset), -1, dtype=np.int64)
    taken = np.zeros(shape[0] * shape[1], dtype=bool)
    crystals: list[_Crystal] = []
    place_of = np.repeat(np.arange(len(found.start) - 1), np.diff(found.start))
    for seed in np.argsort(found.log_p_place, kind="stable"):
        certain = found.log_p_place[seed] <= np.log(options.false_alarm)
        if not certain or len(crystals) >= MAX_PLACES:  # places that are not usable come last
            break
        own = np.arange(found.start[seed], found.start[seed + 1])
        free = own[owner[own] < 0]
        # What another crystal leaves of a place must still be more than a pair.
        if taken[seed] and len(free) < 3:
            continue
        template = _one_of_each(found, free)
        needed = min(len(free), max(2, int(np.ceil(SHOWN * len(free)))))
        members, which = kernels.grow(
            int(seed),
            np.ascontiguousarray(found.offset[template]),
            found.offset,
            found.start,
            owner,
            shape,
            MATE_REACH,
            needed,
        )
        rows = np.flatnonzero(which >= 0)
        inside = np.zeros(len(taken), dtype=bool)
        inside[members] = True
        rest = np.flatnonzero(inside[place_of] & (owner < 0) & (which < 0))
        rows, which, n_spots = _with_common(
            found, rows, which[rows], len(template), rest, len(members)
        )
        owner[rows] = len(crystals)
        taken |= inside
        crystals += _named(
            found, rows, which, n_spots, members, place_of, library, options, sampling, k_range,
            float(np.exp(found.log_p_place[seed])),
        )  # fmt: skip
    return crystals


def _one_of_each(found: _Found, spots: np.ndarray) -> np.ndarray:
    """Return those of the spots that are not the mate of one before."""
    kept: list[int] = []
    for spot in spots:
        apart = [np.linalg.norm(found.offset[spot] + found.offset[k]) for k in kept]
        if not kept or min(apart) > MATE_REACH:
            kept.append(int(spot))
    return np.array(kept, dtype=int)


def _with_common(
    found: _Found,
    rows: np.ndarray,
    which: np.ndarray,
    n_spots: int,
    rest: np.ndarray,
    places: int,
) -> tuple[np.ndarray, np.ndarray, int]:
    """Add what many places of a crystal show beside the spots of the first."""
    rest = rest[np.argsort(-found.intensity[rest], kind="stable")][: 50 * places]
    while len(rest):
        first = found.offset[rest[0]]
        same = np.minimum(
            np.linalg.norm(found.offset[rest] - first, axis=1),
            np.linalg.norm(found.offset[rest] + first, axis=1),
        )
        same = same < MATE_REACH
        if same.sum() >= max(2, COMMON * places):
            rows = np.concatenate([rows, rest[same]])
            which = np.concatenate([which, np.full(same.sum(), n_spots)])
            n_spots += 1
        rest = rest[~same]
    return rows, which, n_spots


def _named(
    found: _Found,
    rows: np.ndarray,
    which: np.ndarray,
    n_spots: int,
    members: np.ndarray,
    place_of: np.ndarray,
    library: Library,
    options: Options,
    sampling: float,
    k_range: tuple[float, float],
    p_value: float,
) -> list[_Crystal]:
    """Return the crystal of some spots, and those of what it leaves unexplained."""
    weight = np.maximum(found.height[rows], 1e-9)
    first = np.zeros((n_spots, 2))
    first[which[::-1]] = found.offset[rows[::-1]]
    sign = np.where((found.offset[rows] * first[which]).sum(axis=1) < 0, -1.0, 1.0)
    total = np.bincount(which, weight, n_spots)
    k = sampling * np.stack(
        [
            np.bincount(which, weight * sign * found.offset[rows, axis], n_spots) / total
            for axis in (0, 1)
        ],
        axis=1,
    )
    count = np.bincount(which, minlength=n_spots)
    height, intensity = (
        np.bincount(which, of[rows], n_spots) / count for of in (found.height, found.intensity)
    )
    paired = np.bincount(which, found.paired[rows], n_spots) > count / 2
    log_p = np.full(n_spots, 0.0)
    np.minimum.at(log_p, which, found.log_p[rows])
    order = np.argsort(-height, kind="stable")
    strength = THRESHOLD * height / LEAST_HEIGHT
    sigma = float(np.hypot(PATTERN_SIGMA * sampling, 0.003 * np.linalg.norm(k, axis=1).mean()))
    crystals: list[_Crystal] = []
    left = order
    while len(left) >= (1 if not crystals else 3) and len(crystals) < MAX_CRYSTALS:
        evidence = weigh(
            k[left],
            strength[left],
            library,
            sigma_per_a=sigma,
            k_range_per_a=k_range,
            threshold=THRESHOLD,
            evidence=options.evidence,
            scale=options.scale,
        )
        mass = evidence.phases @ scale_prior(options.scale)
        best = evidence.best[int(mass.argmax())] if len(mass) else None
        explained = {spot for spot, _ in best.matched} if best else set()
        own = left[sorted(explained)] if explained else left
        shown = np.zeros(len(found.start) - 1)
        np.add.at(shown, place_of[rows], found.intensity[rows] * np.isin(which, own))
        here = members[shown[members] > 0] if explained else members
        crystals.append(
            _Crystal(
                place=Place(
                    k_per_a=k[left],
                    strength=strength[left],
                    p_value=p_value if not crystals else float(np.exp(log_p[left].min())),
                    windows=here,
                ),
                evidence=evidence,
                spot_p=np.exp(np.minimum(log_p[left], 0)),
                paired=paired[left],
                intensity=intensity[left],
                shown=shown[here],
                sigma=sigma,
                k_range=k_range,
            )
        )
        if not explained:
            break
        left = np.array([s for n, s in enumerate(left) if n not in explained], dtype=int)
    return crystals


def _regions(
    crystals: list[_Crystal],
    library: Library,
    candidates: Sequence[Phase],
    options: Options,
    columns: int,
    step_a: float | None,
) -> list[Region]:
    """Return the verdicts about all crystals."""
    if not crystals:
        return []
    places = [crystal.place for crystal in crystals]
    evidences = [crystal.evidence for crystal in crystals]
    posterior = judge(places, evidences, options, library.phases)
    regions = []
    for number, crystal in enumerate(crystals):
        where = np.divmod(crystal.place.windows, columns)
        y, x = (float(np.average(axis, weights=crystal.shown + 1e-12)) for axis in where)
        regions.append(
            describe(
                crystal.place,
                crystal.evidence,
                posterior,
                number,
                library.phases,
                candidates,
                sigma=crystal.sigma,
                spot_p=crystal.spot_p,
                centre_a=None if step_a is None else (y * step_a, x * step_a),
                area_a2=None if step_a is None else len(crystal.place.windows) * step_a**2,
            )
        )
    return regions


def _labels(crystals: list[_Crystal], shape: tuple[int, int]) -> np.ndarray:
    """Return the number of the strongest crystal at each position, 0 for none."""
    labels = np.zeros(shape[0] * shape[1], dtype=np.int32)
    strongest = np.zeros(len(labels))
    for number, crystal in enumerate(crystals, start=1):
        where = crystal.place.windows
        wins = crystal.shown > strongest[where]
        labels[where[wins]] = number
        strongest[where[wins]] = crystal.shown[wins]
    return labels.reshape(shape)


def _extent(labels: np.ndarray, amorphous: np.ndarray) -> str:
    known = amorphous[np.isfinite(amorphous)]
    crystalline = f"{int((labels > 0).sum())} of {labels.size} positions show crystals"
    if len(known) == 0:
        return f"{crystalline}."
    return (
        f"{crystalline}; {100 * np.median(known):.0f} % of the scattered electrons are in no spot "
        "(median)."
    )


def _doubts(crystals: list[_Crystal], found: _Found) -> tuple[str, ...]:
    doubts = []
    if unusable := int(np.isnan(found.log_p_place).sum()):
        doubts.append(
            f"The patterns of {unusable} of {len(found.log_p_place)} positions are not usable: "
            "they hold values that are not finite numbers."
        )
    if len(crystals) == MAX_PLACES:
        doubts.append(f"Only the {MAX_PLACES} most certain crystals of the scan were looked at.")
    return tuple(doubts)


def _orientation(
    crystal: _Crystal,
    region: Region,
    candidates: Sequence[Phase],
    beam_energy_kev: float | None,
    options: Options,
) -> Orientation | None:
    """Return how the crystal of a region lies, if its phase and two directions are known."""
    phase = next((c for c in candidates if c.identifier == region.phase), None)
    k, paired = crystal.place.k_per_a, crystal.paired
    if phase is None or beam_energy_kev is None or len(k) < 2:
        return None
    if np.linalg.svd(k, compute_uv=False)[1] < 5 * crystal.sigma:
        return None
    found = match_orientation(
        np.concatenate([k, -k[paired]]),
        np.concatenate([crystal.intensity, crystal.intensity[paired]]),
        phase=phase,
        beam_energy_kev=beam_energy_kev,
        sigma_per_a=crystal.sigma,
        d_min_a=options.d_min_a,
        k_range_per_a=crystal.k_range,
        scale_sigma=options.scale.sigma,
    )
    return found[0] if found else None

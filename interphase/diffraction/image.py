"""Phases in an image, place by place, and how sure that is."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace

import numpy as np

from interphase.assessment import Assessment
from interphase.diffraction.catalogue import PhaseKey, library_of, templates_of
from interphase.diffraction.checks import (
    MOST_HOT,
    check_array,
    check_sampling,
    hot_pixels,
    lost_spacings,
    repaired,
    usable,
)
from interphase.diffraction.limits import DetectionLimit, detection_limit
from interphase.diffraction.matching import Evidences, weigh
from interphase.diffraction.options import Options
from interphase.diffraction.regions import (
    MOST_SPOTS,
    Place,
    find_places,
    merge_places,
)
from interphase.diffraction.results import NONE, PhaseMap
from interphase.diffraction.spectra import (
    Frequencies,
    WindowGrid,
    above_floor,
    frequencies,
    image_floor,
    power_rows,
    window_grid,
    without_cliffs,
)
from interphase.diffraction.spots import THRESHOLD, SpotTable, find_spots
from interphase.diffraction.transfer import in_phase, measure_transfer
from interphase.diffraction.verdicts import (
    area_fraction,
    describe,
    doubts_of,
    judge,
    overall,
    summary,
)
from interphase.noise import p_anywhere
from interphase.parallel import threads
from interphase.phases import Phase

# Sampling up to this share of the Nyquist frequency is used.
USABLE = 0.95
# Smallest window that can hold a crystallite [Å].
SMALLEST_WINDOW_A = 20.0
# Least number of spatial frequencies in a window that tell a spot from noise.
LEAST_FREQUENCIES = 50
# Standard deviations of a spot's position along and across its own direction, times the window's
# side: what noise makes of a spot of strength 1, and what remains of the strongest. Fitted, see
# `Evidence`.
RADIAL = (1.8, 0.08)
TANGENTIAL = (1.0, 0.025)
# Maxima that noise makes in a window per independent Fourier coefficient.
MAXIMA = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    """The windows of one size, and what is compared with their spectra."""

    grid: WindowGrid
    freq: Frequencies
    floor: np.ndarray

    @property
    def window_a(self) -> float:
        return float(1 / self.freq.pixel)


def identify_image(
    image: np.ndarray,
    *,
    pixel_size_a: float,
    candidates: Sequence[Phase],
    options: Options | None = None,
) -> PhaseMap:
    """Return which phases an image's lattice fringes show, where, and how sure that is.

    Parameters
    ----------
    image
        Counts or intensities, ndarray of shape (M, N).
    pixel_size_a
        Sampling [Å].
    candidates
        Phases to consider, from `interphase.phases.candidates`.
    options
        Window, range of spacings, false-alarm rate and prior beliefs.

    Returns
    -------
    PhaseMap
        Regions with probabilities. An image without a lattice, too coarse or unusable is a
        result with the `assessment` that says so.

    Raises
    ------
    ParameterError
        The image has not two axes, the pixel size is not positive, or no candidate is given.

    Notes
    -----
    The contrast transfer is read off the rings that an amorphous film makes, and its signs are
    turned, so that fringes lie upon their crystals (`interphase.diffraction.transfer`). Power
    spectra of overlapping windows of several sizes are compared with a noise floor taken from the
    image. Sets of maxima that noise would make with a probability below ``options.false_alarm``
    anywhere in the image start a region. The spots of a region are weighed against every
    orientation of every candidate (`interphase.diffraction.matching`), with the scale error that
    all regions share left free. What the probabilities are worth is measured in
    ``simulations/phase_identification``.

    Where there is no film, or less than a ring, the transfer stays unknown, and fringes lie beside
    their crystal: 7 Å at 300 keV and 100 nm of defocus. Astigmatism is not corrected.

    Examples
    --------
    >>> from interphase.phases import candidates
    >>> noise = np.random.default_rng(1).poisson(20.0, (256, 256))
    >>> identify_image(noise, pixel_size_a=0.5, candidates=candidates("Li2O,LiF")).assessment
    <Assessment.NO_PERIODICITY: 'no_periodicity'>
    """
    options = options or Options()
    image, candidates = check_array(image, candidates)
    check_sampling("pixel_size_a", pixel_size_a, "Å per pixel")
    names = tuple(phase.identifier for phase in candidates)
    parameters = {"pixel_size_a": pixel_size_a, "candidates": names, **asdict(options)}

    def without(assessment: Assessment, sentence: str) -> PhaseMap:
        return PhaseMap(
            assessment=assessment,
            sentence=sentence,
            candidates=names,
            area_fraction={NONE: 1.0} if assessment is Assessment.NO_PERIODICITY else {},
            pixel_size_a=pixel_size_a,
            parameters=parameters,
        )

    data, fault = usable(image)
    if fault:
        return without(Assessment.UNUSABLE, fault)
    side_a = min(image.shape) * pixel_size_a
    if side_a < SMALLEST_WINDOW_A:
        return without(
            Assessment.UNUSABLE,
            f"The image is {side_a:.1f} Å wide; a window needs {SMALLEST_WINDOW_A:.0f} Å.",
        )
    hot = hot_pixels(data)
    if (share := float(hot.mean())) > MOST_HOT:
        return without(
            Assessment.UNUSABLE,
            f"{100 * share:.0f} % of the pixels are hot: a single pixel towers above its "
            "surroundings there; subtract a dark reference, or sum fewer frames.",
        )
    data, doubts = repaired(data, hot=hot)
    # Once more, without the pixels that towered above all others.
    data = data / np.float32(max(abs(float(data.max())), abs(float(data.min())), 1e-30))
    warnings = [*doubts, *doubts_of(candidates, options)]
    k_max = min(USABLE / (2 * pixel_size_a), 1 / options.d_min_a)
    d_min = 1 / k_max
    keys = tuple(PhaseKey(phase) for phase in candidates)
    templates = [
        templates_of(key, round(d_min, 3), options.d_max_a, options.contrast) for key in keys
    ]
    out_of_reach = [t.phase for t in templates if len(t.weight) == 0]
    if len(out_of_reach) == len(templates):
        return without(
            Assessment.TOO_COARSE,
            f"Pixels of {pixel_size_a:.3g} Å hold no spacing below {d_min:.3g} Å, and no candidate "
            f"has a reflection above that: record with pixels below "
            f"{_coarsest_useful_pixel(candidates):.2f} Å.",
        )

    k_range = (1 / options.d_max_a, k_max)
    transfer = measure_transfer(data, pixel_size_a=pixel_size_a, k_max=k_max)
    counts, data = data, in_phase(data, transfer, pixel_size_a=pixel_size_a)
    scales = [
        _scale(data, size, pixel_size_a, k_range, options)
        for size in _sizes(image.shape, pixel_size_a, options)
    ]
    scales = [s for s in scales if s.freq.searched.sum() >= LEAST_FREQUENCIES]
    if not scales:
        return without(
            Assessment.TOO_COARSE,
            f"Pixels of {pixel_size_a:.3g} Å leave too few spatial frequencies between "
            f"{options.d_max_a:.3g} and {d_min:.3g} Å to tell a spot from noise.",
        )
    false_alarm = options.false_alarm / len(scales)
    places = [
        place
        for s in scales
        for place in find_places(_spots_of_image(data, s), s.grid, s.freq, false_alarm=false_alarm)
    ]
    if d_min > options.d_min_a:
        lost = lost_spacings(
            candidates, pixel_size_a=pixel_size_a, d_min_a=d_min, d_wanted_a=options.d_min_a
        )
        warnings += [lost] if lost else []
    if out_of_reach:
        warnings.append(
            f"Not looked for, since all their spacings are below {d_min:.2f} Å, the smallest "
            f"that these pixels hold: {', '.join(out_of_reach)}."
        )
    if not places:
        limit = _limit(counts, scales, false_alarm)
        result = without(
            Assessment.NO_PERIODICITY,
            f"Nothing periodic between {d_min:.2f} and {options.d_max_a:.1f} Å rises above the "
            f"noise (false alarms in {100 * options.false_alarm:g} % of images). {limit.sentence}",
        )
        return replace(result, warnings=tuple(warnings), limit=limit)

    library = library_of(keys, round(d_min, 3), options.d_max_a, options.contrast)
    places = merge_places(places, transfer.shift)
    sigmas = [position_sigmas(place) for place in places]

    def weighed(place: Place, sigma: tuple[np.ndarray, np.ndarray]) -> Evidences:
        return weigh(
            place.k_per_a,
            place.strength,
            library,
            sigma_per_a=sigma,
            k_range_per_a=k_range,
            threshold=THRESHOLD,
            evidence=options.evidence,
            scale=options.scale,
            transfer=transfer,
            noise_a2=MAXIMA * (place.window_a or 0.0) ** 2,
        )

    # The first prepares what the others share.
    evidences = [weighed(places[0], sigmas[0])]
    with ThreadPoolExecutor(threads()) as pool:
        evidences += pool.map(weighed, places[1:], sigmas[1:])
    posterior = judge(places, evidences, options, library.phases)
    base = scales[len(scales) // 2]
    step_a = base.grid.step * pixel_size_a
    regions = []
    windows = []
    for number, (place, sigma) in enumerate(zip(places, sigmas, strict=True)):
        own = next(s for s in scales if s.window_a == place.window_a)
        regions.append(
            describe(
                place,
                evidences[number],
                posterior,
                number,
                library.phases,
                candidates,
                sigma=float(np.mean(sigma)),
                spot_p=p_anywhere(
                    np.exp(-place.strength),
                    float(own.freq.searched.sum()) * own.grid.independent,
                ),
                centre_a=place.centre_a,
                area_a2=len(place.windows) * (own.grid.step * pixel_size_a) ** 2,
            )
        )
        windows.append(_upon(place, own.grid, base.grid))
    labels = owners(windows, base.grid.rows * base.grid.columns)
    fraction = area_fraction(labels, regions)
    assessment = overall(regions)
    return PhaseMap(
        assessment=assessment,
        sentence=summary(regions),
        candidates=names,
        regions=tuple(regions),
        labels=labels.reshape(base.grid.rows, base.grid.columns),
        area_fraction=fraction,
        window_a=base.window_a,
        step_a=step_a,
        origin_a=(base.grid.centre * pixel_size_a,) * 2,
        pixel_size_a=pixel_size_a,
        warnings=tuple(warnings),
        parameters=parameters,
    )


def position_sigmas(place: Place) -> tuple[np.ndarray, np.ndarray]:
    """Return the standard deviations of a place's spots along and across their directions [1/Å].

    Noise moves weak spots. Along their own direction it moves them more, because what the contrast
    transfer has left of a displaced fringe varies within the width of its spot.
    """
    assert place.window_a is not None
    return (
        np.hypot(RADIAL[0] / np.sqrt(place.strength), RADIAL[1]) / place.window_a,
        np.hypot(TANGENTIAL[0] / np.sqrt(place.strength), TANGENTIAL[1]) / place.window_a,
    )


def _sizes(shape: tuple[int, int], pixel_size_a: float, options: Options) -> list[int]:
    """Return the sides of the windows [pixels], even numbers that fit into the image."""
    largest = min(shape) // 2 * 2
    return sorted({min(2 * round(side / pixel_size_a / 2), largest) for side in options.windows_a})


def _scale(
    data: np.ndarray,
    size: int,
    pixel_size_a: float,
    k_range: tuple[float, float],
    options: Options,
) -> _Scale:
    grid = window_grid((data.shape[0], data.shape[1]), size=size, overlap=options.overlap)
    freq = frequencies(size, pixel_size_a=pixel_size_a, k_min=k_range[0], k_max=k_range[1])
    floor = image_floor(data, grid, freq)
    return _Scale(grid=grid, freq=without_cliffs(freq, floor), floor=floor)


def _upon(place: Place, own: WindowGrid, base: WindowGrid) -> np.ndarray:
    """Return the windows of `base` whose centres are nearest to a window of the place.

    Where a place is so small that there are none, they are those nearest to its windows.
    """
    if own == base:
        return place.windows
    shown = np.zeros((own.rows, own.columns), dtype=bool)
    shown.flat[place.windows] = True
    found = np.flatnonzero(shown[np.ix_(*_nearest(base, own))])
    if len(found):
        return found
    rows, columns = _nearest(own, base)
    row, column = np.divmod(place.windows, own.columns)
    return np.unique(rows[row] * base.columns + columns[column])


def _nearest(grid: WindowGrid, other: WindowGrid) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows and columns of `other` are nearest to those of `grid`."""
    rows, columns = (
        np.clip(
            np.rint((grid.centre + grid.step * np.arange(n) - other.centre) / other.step),
            0,
            most - 1,
        ).astype(int)
        for n, most in ((grid.rows, other.rows), (grid.columns, other.columns))
    )
    return rows, columns


def owners(windows: Sequence[np.ndarray], number: int) -> np.ndarray:
    """Return which of several regions each window belongs to.

    Parameters
    ----------
    windows
        Windows that show each region, most certain region first.
    number
        Windows there are, W.

    Returns
    -------
    ndarray
        Number of the region + 1, 0 where there is none, shape (W,). A window belongs to the first
        that shows in it. A region that others cover is given one window all the same, of an owner
        that has more: what lies upon another crystal shall not be missing from map and areas.

    Examples
    --------
    >>> owners([np.array([0, 1, 2]), np.array([1, 2])], 4).tolist()
    [1, 1, 2, 0]
    """
    labels = np.zeros(number, dtype=np.int32)
    for region, inside in enumerate(windows, start=1):
        labels[inside[labels[inside] == 0]] = region
    for region, inside in enumerate(windows, start=1):
        owned = np.bincount(labels, minlength=len(windows) + 1)
        if owned[region] == 0:
            spare = inside[owned[labels[inside]] > 1]
            labels[spare[len(spare) // 2 :][:1]] = region
    return labels


def _limit(counts: np.ndarray, scales: list[_Scale], false_alarm: float) -> DetectionLimit:
    """Return what would have been found, with the windows that show small crystallites best."""
    limits = [
        detection_limit(
            counts,
            s.floor,
            s.freq,
            step=s.grid.step,
            least_power=float(
                np.log(MOST_SPOTS * s.grid.independent * s.freq.searched.sum() / false_alarm)
            ),
        )
        for s in scales
    ]
    return min(limits, key=lambda limit: min(limit.contrast_of_small, default=np.inf))


def _coarsest_useful_pixel(candidates: Sequence[Phase]) -> float:
    """Return the pixel size [Å] from which on some candidate has a reflection in reach."""
    from interphase.phases import reflections

    longest = [
        r.d_a[r.relative > 0.1].max()
        for r in (reflections(p, d_min_a=1.0) for p in candidates)
        if (r.relative > 0.1).any()
    ]
    return float(USABLE * max(longest) / 2) if longest else float("nan")


def _spots_of_image(data: np.ndarray, scale: _Scale) -> SpotTable:
    """Return the spots of all windows of one size."""
    grid = scale.grid

    def of_rows(rows: range) -> list[SpotTable]:
        tables = []
        for row, power in zip(rows, power_rows(data, grid, rows), strict=True):
            found = find_spots(above_floor(power, scale.floor, scale.freq), scale.freq)
            tables.append(replace(found, window=found.window + row * grid.columns))
        return tables

    # A few rows of windows at a time bound the memory; the transform leaves the threads free.
    with ThreadPoolExecutor(threads()) as pool:
        tables = [table for block in pool.map(of_rows, grid.blocks) for table in block]
    return SpotTable(
        **{name: np.concatenate([getattr(t, name) for t in tables]) for name in _COLUMNS}
    )


_COLUMNS = ("window", "k_per_a", "strength")

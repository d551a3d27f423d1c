"""Phases in an image, place by place, and how sure that is."""

from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np

from interphase.assessment import Assessment
from interphase.diffraction.catalogue import PhaseKey, library_of, templates_of
from interphase.diffraction.checks import check_array, usable
from interphase.diffraction.matching import weigh
from interphase.diffraction.options import Options
from interphase.diffraction.regions import find_places
from interphase.diffraction.results import NONE, PhaseMap
from interphase.diffraction.spectra import (
    Frequencies,
    WindowGrid,
    above_floor,
    frequencies,
    image_floor,
    power_rows,
    window_grid,
)
from interphase.diffraction.spots import THRESHOLD, SpotTable, find_spots
from interphase.diffraction.verdicts import area_fraction, describe, judge, overall, summary
from interphase.errors import ParameterError
from interphase.noise import p_anywhere
from interphase.phases import Phase

# Sampling up to this share of the Nyquist frequency is used.
USABLE = 0.95
# Smallest window that can hold a crystallite [Å].
SMALLEST_WINDOW_A = 20.0
# Range of lengths that are taken to limit the sharpness of a spot [Å]: smaller crystallites are
# not seen, and larger ones are bent or distorted by the scan.
LENGTHS_A = (30.0, 60.0)


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
    Power spectra of overlapping windows are compared with a noise floor taken from the image;
    maxima that noise would make with a probability below ``options.false_alarm`` anywhere in
    the image start a region. The spots of a region are weighed against every orientation of
    every candidate (`interphase.diffraction.matching`), with the scale error that all regions
    share left free.

    It does not know the contrast transfer of the image, and takes delocalised fringes for the
    place of the crystal: at 300 keV and 100 nm of defocus they lie 7 Å beside it.

    Examples
    --------
    >>> from interphase.phases import candidates
    >>> noise = np.random.default_rng(1).poisson(20.0, (256, 256))
    >>> identify_image(noise, pixel_size_a=0.5, candidates=candidates("Li2O,LiF")).assessment
    <Assessment.NO_PERIODICITY: 'no_periodicity'>
    """
    options = options or Options()
    check_array(image, candidates)
    if not (np.isfinite(pixel_size_a) and pixel_size_a > 0):
        raise ParameterError(f"pixel_size_a is {pixel_size_a!r} Å: expected a length > 0")
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

    window = min(options.window_a, side_a)
    size = 2 * round(window / pixel_size_a / 2)
    size = min(size, min(image.shape) // 2 * 2)
    grid = window_grid(image.shape, size=size, overlap=options.overlap)
    freq = frequencies(size, pixel_size_a=pixel_size_a, k_min=1 / options.d_max_a, k_max=k_max)
    if freq.searched.sum() < 50:
        return without(
            Assessment.TOO_COARSE,
            f"Pixels of {pixel_size_a:.3g} Å leave too few spatial frequencies between "
            f"{options.d_max_a:.3g} and {d_min:.3g} Å to tell a spot from noise.",
        )
    spots = _spots_of_image(data, grid, freq)
    places = find_places(spots, grid, freq, false_alarm=options.false_alarm)
    warnings = []
    if out_of_reach:
        warnings.append(
            f"Not looked for, since all their spacings are below {d_min:.2f} Å, the smallest "
            f"that these pixels hold: {', '.join(out_of_reach)}."
        )
    if not places:
        result = without(
            Assessment.NO_PERIODICITY,
            f"Nothing periodic between {d_min:.2f} and {options.d_max_a:.1f} Å rises above the "
            f"noise of {size * pixel_size_a:.0f} Å windows (false alarms in "
            f"{100 * options.false_alarm:g} % of images).",
        )
        return replace(result, warnings=tuple(warnings))

    library = library_of(keys, round(d_min, 3), options.d_max_a, options.contrast)
    # A spot is as sharp as its crystallite is wide; the area over which it shows tells.
    lengths = [
        float(np.clip(np.sqrt(len(place.windows)) * grid.step * pixel_size_a, *LENGTHS_A))
        for place in places
    ]
    evidences = [
        weigh(
            place.k_per_a,
            place.strength,
            library,
            sigma_per_a=options.evidence.position_sigma / length,
            k_range_per_a=(1 / options.d_max_a, k_max),
            threshold=THRESHOLD,
            evidence=options.evidence,
            scale=options.scale,
        )
        for place, length in zip(places, lengths, strict=True)
    ]
    posterior = judge(places, evidences, options)
    step_a = grid.step * pixel_size_a
    origin_a = grid.centre * pixel_size_a
    regions = []
    labels = np.zeros(grid.rows * grid.columns, dtype=np.int32)
    for number, (place, length) in enumerate(zip(places, lengths, strict=True)):
        regions.append(
            describe(
                place,
                evidences[number],
                posterior,
                number,
                library.phases,
                candidates,
                sigma=options.evidence.position_sigma / length,
                spot_p=p_anywhere(
                    np.exp(-place.strength), float(freq.searched.sum()) * grid.independent
                ),
                centre_a=(
                    origin_a + place.centre[0] * step_a,
                    origin_a + place.centre[1] * step_a,
                ),
                area_a2=len(place.windows) * step_a**2,
            )
        )
        inside = place.windows[labels[place.windows] == 0]
        labels[inside] = number + 1
    fraction = area_fraction(labels, regions)
    assessment = overall(regions)
    return PhaseMap(
        assessment=assessment,
        sentence=summary(regions),
        candidates=names,
        regions=tuple(regions),
        labels=labels.reshape(grid.rows, grid.columns),
        area_fraction=fraction,
        window_a=size * pixel_size_a,
        step_a=step_a,
        origin_a=(origin_a, origin_a),
        pixel_size_a=pixel_size_a,
        warnings=tuple(warnings),
        parameters=parameters,
    )


def _coarsest_useful_pixel(candidates: Sequence[Phase]) -> float:
    """Return the pixel size [Å] from which on some candidate has a reflection in reach."""
    from interphase.phases import reflections

    longest = [
        r.d_a[r.relative > 0.1].max()
        for r in (reflections(p, d_min_a=1.0) for p in candidates)
        if (r.relative > 0.1).any()
    ]
    return float(USABLE * max(longest) / 2) if longest else float("nan")


def _spots_of_image(data: np.ndarray, grid: WindowGrid, freq: Frequencies) -> SpotTable:
    """Return the spots of all windows of an image."""
    shared = image_floor(data, grid, freq)
    tables = []
    for row, power in enumerate(power_rows(data, grid)):
        table = find_spots(above_floor(power, shared, freq), freq, threshold=THRESHOLD)
        tables.append((table.window + row * grid.columns, table.k_per_a, table.strength))
    window, k, strength = (np.concatenate(a) for a in zip(*tables, strict=True))
    return SpotTable(window=window, k_per_a=k, strength=strength)

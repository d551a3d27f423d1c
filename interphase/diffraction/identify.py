"""Phases in an image or a diffraction pattern, place by place, and how sure that is."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache

import numpy as np

from interphase.assessment import Assessment
from interphase.diffraction.matching import Evidences, Library, scale_prior, weigh
from interphase.diffraction.options import Options
from interphase.diffraction.patterns import (
    LEAST_HEIGHT,
    find_centre,
    find_pattern_spots,
    without_hot_pixels,
)
from interphase.diffraction.posterior import Posterior, chance_of_noise, combine, credible_set
from interphase.diffraction.regions import Place, find_places
from interphase.diffraction.results import NONE, UNKNOWN, PhaseMap, Region, Spots
from interphase.diffraction.spectra import (
    Frequencies,
    WindowGrid,
    above_floor,
    frequencies,
    image_floor,
    power_rows,
    window_grid,
)
from interphase.diffraction.spots import SpotTable, find_spots
from interphase.diffraction.templates import Templates, make_templates
from interphase.errors import ParameterError
from interphase.noise import p_anywhere
from interphase.phases import Contrast, Phase

# Power over the floor from which on a maximum is listed as a spot.
THRESHOLD = 9.0
# Sampling up to this share of the Nyquist frequency is used.
USABLE = 0.95
# Smallest window that can hold a crystallite [Å].
SMALLEST_WINDOW_A = 20.0
# Range of lengths that are taken to limit the sharpness of a spot [Å]: smaller crystallites are
# not seen, and larger ones are bent or distorted by the scan.
LENGTHS_A = (30.0, 60.0)
# Standard deviation of half the distance of a pair of spots in a pattern [pixels].
PATTERN_SIGMA = 0.4
# Side of the smallest pattern in which a background can be told from spots [pixels].
SMALLEST_PATTERN = 32
# Crystals looked for in one pattern.
MAX_CRYSTALS = 5
# Pairs of candidates whose lattices differ by less than this are not separated: cells in the
# table and their contraction are known to a few tenths of a per cent, scales to one.
INSEPARABLE = 0.015


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
    _check(image, candidates)
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

    data, fault = _usable(image)
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
    keys = tuple(_PhaseKey(phase) for phase in candidates)
    templates = [
        _templates(key, round(d_min, 3), options.d_max_a, options.contrast) for key in keys
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
        return _with_warnings(result, warnings)

    library = _library(keys, round(d_min, 3), options.d_max_a, options.contrast)
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
    posterior = _posterior(places, evidences, options)
    step_a = grid.step * pixel_size_a
    origin_a = grid.centre * pixel_size_a
    regions = []
    labels = np.zeros(grid.rows * grid.columns, dtype=np.int32)
    for number, (place, length) in enumerate(zip(places, lengths, strict=True)):
        regions.append(
            _region(
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
    fraction = _area_fraction(labels, regions)
    assessment = _overall(regions)
    return PhaseMap(
        assessment=assessment,
        sentence=_summary(regions),
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


def identify_pattern(
    pattern: np.ndarray,
    *,
    reciprocal_pixel_size_per_a: float,
    candidates: Sequence[Phase],
    options: Options | None = None,
    centre: tuple[float, float] | None = None,
) -> PhaseMap:
    """Return which phases the spots of a diffraction pattern show, and how sure that is.

    Parameters
    ----------
    pattern
        Counts, ndarray of shape (M, N): a selected-area or nanobeam pattern, or the mean of a scan.
    reciprocal_pixel_size_per_a
        Sampling [1/Å], no 2π.
    candidates
        Phases to consider, from `interphase.phases.candidates`.
    options
        Range of spacings, false-alarm rate and prior beliefs; the window is not used.
    centre
        (row, column) of the direct beam [pixels]; found from the pattern's symmetry if not given.

    Returns
    -------
    PhaseMap
        One region per crystal, without a place. Patterns without spots, or without a centre in
        the frame, are results with the `assessment` that says so.

    Raises
    ------
    ParameterError
        The pattern has not two axes, the sampling is not positive, or no candidate is given.

    Notes
    -----
    Only spots are matched: the rings of a powder are background here, as halos are. Elliptical
    distortion of the camera is covered by the anisotropy of ``options.scale`` and no further.
    """
    options = options or Options()
    _check(pattern, candidates)
    sampling = reciprocal_pixel_size_per_a
    if not (np.isfinite(sampling) and sampling > 0):
        raise ParameterError(
            f"reciprocal_pixel_size_per_a is {sampling!r} 1/Å: expected a number > 0"
        )
    names = tuple(phase.identifier for phase in candidates)
    parameters = {
        "reciprocal_pixel_size_per_a": sampling,
        "candidates": names,
        **asdict(options),
    }

    def without(assessment: Assessment, sentence: str) -> PhaseMap:
        return PhaseMap(
            assessment=assessment,
            sentence=sentence,
            candidates=names,
            centre_px=centre,
            parameters=parameters,
        )

    data, fault = _usable(pattern, saturation_matters=False)
    if fault:
        return without(Assessment.UNUSABLE, fault)
    if min(pattern.shape) < SMALLEST_PATTERN:
        return without(
            Assessment.UNUSABLE,
            f"The pattern has {pattern.shape[0]} × {pattern.shape[1]} pixels; "
            f"{SMALLEST_PATTERN} × {SMALLEST_PATTERN} are needed.",
        )
    data = without_hot_pixels(data)
    if centre is not None and not np.isfinite(centre).all():
        raise ParameterError(f"centre is {centre!r}: expected (row, column) in pixels")
    if centre is None:
        centre = find_centre(data)
        if centre is None:
            return without(
                Assessment.UNUSABLE,
                "Neither a direct beam nor a centre of symmetry is in view, so no spacing can be "
                "measured; in Python the centre can be given.",
            )
    r_max = min(1 / options.d_min_a / sampling, float(np.hypot(*pattern.shape)))
    r_min = max(1 / options.d_max_a / sampling, 3.0)
    if r_min >= min(pattern.shape) / 2:
        return without(
            Assessment.TOO_COARSE,
            f"The pattern ends at {2 / sampling / min(pattern.shape):.2f} Å; no spacing below "
            f"{options.d_max_a:.1f} Å is in view.",
        )
    found = find_pattern_spots(data, centre, r_min=r_min, r_max=r_max)
    if len(found.height) == 0 or found.p_value.min() > options.false_alarm:
        return without(
            Assessment.NO_PERIODICITY,
            "No spot rises above the background "
            f"(false alarms in {100 * options.false_alarm:g} % of patterns).",
        )
    keys = tuple(_PhaseKey(phase) for phase in candidates)
    library = _library(keys, options.d_min_a, options.d_max_a, options.contrast)
    k_range = (r_min * sampling, r_max * sampling)
    k = found.offset * sampling
    strength = THRESHOLD * found.height / LEAST_HEIGHT
    sigma = float(np.hypot(PATTERN_SIGMA * sampling, 0.003 * np.linalg.norm(k, axis=1).mean()))
    places: list[Place] = []
    spot_p: list[np.ndarray] = []
    evidences: list[Evidences] = []
    left = np.arange(len(k))
    while len(left) >= (1 if not places else 3) and len(places) < MAX_CRYSTALS:
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
        places.append(
            Place(
                k_per_a=k[left],
                strength=strength[left],
                p_value=float(found.p_value[left].min()),
                windows=np.zeros(0, dtype=int),
                centre=(0.0, 0.0),
            )
        )
        evidences.append(evidence)
        spot_p.append(found.p_value[left])
        mass = evidence.phases @ scale_prior(options.scale)
        best = evidence.best[int(mass.argmax())]
        explained = {spot for spot, _ in best.matched} if best else set()
        if not explained:
            break
        left = np.array([s for n, s in enumerate(left) if n not in explained], dtype=int)
    posterior = _posterior(places, evidences, options)
    regions = tuple(
        _region(
            place,
            evidences[number],
            posterior,
            number,
            library.phases,
            candidates,
            sigma=sigma,
            spot_p=spot_p[number],
            centre_a=None,
            area_a2=None,
        )
        for number, place in enumerate(places)
    )
    return PhaseMap(
        assessment=_overall(regions),
        sentence=_summary(regions),
        candidates=names,
        regions=regions,
        centre_px=centre,
        parameters=parameters,
    )


def _posterior(places: list[Place], evidences: list[Evidences], options: Options) -> Posterior:
    return combine(
        np.stack([e.phases for e in evidences]),
        np.array([e.unknown for e in evidences]),
        chance=chance_of_noise(np.array([p.p_value for p in places])),
        scale=scale_prior(options.scale),
        unknown_prior=options.evidence.unknown_prior,
    )


def _with_warnings(result: PhaseMap, warnings: list[str]) -> PhaseMap:
    from dataclasses import replace

    return replace(result, warnings=tuple(warnings))


def _check(image: np.ndarray, candidates: Sequence[Phase]) -> None:
    if image.ndim != 2 or 0 in image.shape:
        raise ParameterError(
            f"the array has {image.ndim} axes of lengths {image.shape}: expected (row, column); "
            "sum the frames of a movie first"
        )
    if not np.issubdtype(image.dtype, np.number) or np.iscomplexobj(image):
        raise ParameterError(f"the array is of type {image.dtype}: expected real numbers")
    if not candidates:
        raise ParameterError("no candidate phase is given: expected at least one")


def _usable(image: np.ndarray, *, saturation_matters: bool = True) -> tuple[np.ndarray, str]:
    """Return the image as float32 without gaps, or the sentence that says why it cannot be used."""
    data = image.astype(np.float32)
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


class _PhaseKey:
    """A phase that hashes by what its templates depend on."""

    def __init__(self, phase: Phase) -> None:
        self.phase = phase
        self.key = (phase.identifier, phase.lattice_vectors.tobytes(), phase.temperature_k)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _PhaseKey) and self.key == other.key


@lru_cache(maxsize=256)
def _templates(key: _PhaseKey, d_min: float, d_max: float, contrast: Contrast) -> Templates:
    return make_templates(key.phase, d_min_a=d_min, d_max_a=d_max, contrast=contrast)


@lru_cache(maxsize=4)
def _library(
    keys: tuple[_PhaseKey, ...], d_min: float, d_max: float, contrast: Contrast
) -> Library:
    templates = [_templates(key, d_min, d_max, contrast) for key in keys]
    return Library.from_templates([t for t in templates if len(t.weight)])


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


def _region(
    place: Place,
    evidence: Evidences,
    posterior: Posterior,
    number: int,
    names: tuple[str, ...],
    candidates: Sequence[Phase],
    *,
    sigma: float,
    spot_p: np.ndarray,
    centre_a: tuple[float, float] | None,
    area_a2: float | None,
) -> Region:
    """Return the verdict about one place."""
    keys = (*names, UNKNOWN, NONE)
    probability = posterior.probability[number]
    inside = [keys[i] for i in credible_set(probability)]
    top = inside[0]
    for partner in _inseparable(tuple(candidates), top, max(INSEPARABLE, posterior.scale_sigma)):
        if partner not in inside:
            inside.append(partner)
    match = evidence.best[names.index(top)] if top in names else None
    explained = {spot for spot, _ in match.matched} if match else set()
    if top in names and 0 not in explained and UNKNOWN not in inside:
        # One set of fringes has a spacing, and a spacing alone is no phase; nor is a lattice that
        # the strongest spot does not belong to.
        inside.append(UNKNOWN)
    if top == NONE:
        assessment = Assessment.NO_PERIODICITY
    elif len(inside) > 1:
        assessment = Assessment.AMBIGUOUS
    elif top == UNKNOWN:
        assessment = Assessment.UNKNOWN_PHASE
    else:
        assessment = Assessment.OK
    d_spacings = 1 / np.linalg.norm(place.k_per_a, axis=1)
    return Region(
        phase=top,
        probability=float(probability.max()),
        alternatives={k: float(p) for k, p in zip(keys, probability, strict=True)},
        credible_set=tuple(inside),
        assessment=assessment,
        centre_a=centre_a,
        area_a2=area_a2,
        d_spacings_a=tuple(float(d) for d in d_spacings),
        zone_axis=match.zone_axis if match else None,
        scale_error=(float(posterior.scale_of[number, names.index(top)]) if top in names else None),
        p_value=place.p_value,
        spots=Spots(
            k_per_a=place.k_per_a,
            strength=place.strength,
            p_value=spot_p,
            sigma_per_a=sigma,
        ),
        sentence=_verdict(top, float(probability.max()), inside, d_spacings),
    )


@lru_cache(maxsize=64)
def _partners(keys: tuple[_PhaseKey, ...], tolerance: float) -> dict[str, tuple[str, ...]]:
    from interphase.phases import ambiguous_pairs

    partners: dict[str, list[str]] = {}
    for pair in ambiguous_pairs([key.phase for key in keys], tolerance=tolerance):
        partners.setdefault(pair.first, []).append(pair.second)
        partners.setdefault(pair.second, []).append(pair.first)
    return {name: tuple(found) for name, found in partners.items()}


def _inseparable(candidates: tuple[Phase, ...], phase: str, tolerance: float) -> tuple[str, ...]:
    """Return the candidates whose lattice is that of `phase` within the tolerance of scale."""
    keys = tuple(_PhaseKey(p) for p in candidates)
    return _partners(keys, round(tolerance, 3)).get(phase, ())


def _verdict(top: str, probability: float, inside: list[str], d_spacings: np.ndarray) -> str:
    spacings = ", ".join(f"{d:.2f}" for d in d_spacings[:4])
    if top == UNKNOWN and len(inside) == 1:
        return f"Crystalline, but none of the candidates (spacings {spacings} Å)."
    if len(inside) == 1:
        stated = "above 0.99" if probability > 0.99 else f"{probability:.2f}"
        return f"{top} with probability {stated} (spacings {spacings} Å)."
    other = {UNKNOWN: "none of the candidates", NONE: "noise"}
    words = [other.get(hypothesis, hypothesis) for hypothesis in inside]
    return f"Not told apart: {', '.join(words)} (spacings {spacings} Å)."


def _area_fraction(labels: np.ndarray, regions: list[Region]) -> dict[str, float]:
    """Return the share of windows per phase, weighted by probability."""
    counts = np.bincount(labels, minlength=len(regions) + 1) / labels.size
    fraction: dict[str, float] = {NONE: float(counts[0])}
    for region, share in zip(regions, counts[1:], strict=True):
        for phase, p in region.alternatives.items():
            if p > 0:
                fraction[phase] = fraction.get(phase, 0.0) + float(share * p)
    return {phase: share for phase, share in fraction.items() if share > 1e-4 or phase == NONE}


def _overall(regions: Sequence[Region]) -> Assessment:
    """Return the assessment of an image: that of its best answered region."""
    found = {region.assessment for region in regions}
    for assessment in (Assessment.OK, Assessment.AMBIGUOUS, Assessment.UNKNOWN_PHASE):
        if assessment in found:
            return assessment
    return Assessment.NO_PERIODICITY


def _summary(regions: Sequence[Region]) -> str:
    named: dict[str, int] = {}
    for region in regions:
        if region.assessment is Assessment.OK:
            named[region.phase] = named.get(region.phase, 0) + 1
    ambiguous = sum(region.assessment is Assessment.AMBIGUOUS for region in regions)
    unknown = sum(region.assessment is Assessment.UNKNOWN_PHASE for region in regions)
    parts = [f"{phase} in {n}" for phase, n in sorted(named.items(), key=lambda x: -x[1])]
    if ambiguous:
        parts.append(f"ambiguous in {ambiguous}")
    if unknown:
        parts.append(f"none of the candidates in {unknown}")
    noun = "place" if regions[0].centre_a is not None else "crystal"
    number = f"{len(regions)} {noun}{'' if len(regions) == 1 else 's'}"
    if noun == "place":
        number = f"{len(regions)} crystalline {noun}{'' if len(regions) == 1 else 's'}"
    return f"{number}: {', '.join(parts)}."

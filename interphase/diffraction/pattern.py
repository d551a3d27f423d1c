"""Phases in a diffraction pattern, and how sure that is."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from interphase.assessment import Assessment
from interphase.diffraction.catalogue import PhaseKey, library_of
from interphase.diffraction.checks import check_array, usable
from interphase.diffraction.matching import Evidences, scale_prior, weigh
from interphase.diffraction.options import Options
from interphase.diffraction.pattern_spots import (
    LEAST_HEIGHT,
    find_centre,
    find_pattern_spots,
    without_hot_pixels,
)
from interphase.diffraction.regions import Place
from interphase.diffraction.results import PhaseMap
from interphase.diffraction.spots import THRESHOLD
from interphase.diffraction.verdicts import describe, judge, overall, summary
from interphase.errors import ParameterError
from interphase.phases import Phase

# Standard deviation of half the distance of a pair of spots in a pattern [pixels].
PATTERN_SIGMA = 0.4
# Side of the smallest pattern in which a background can be told from spots [pixels].
SMALLEST_PATTERN = 32
# Crystals looked for in one pattern.
MAX_CRYSTALS = 5


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
    check_array(pattern, candidates)
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

    data, fault = usable(pattern, saturation_matters=False)
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
    keys = tuple(PhaseKey(phase) for phase in candidates)
    library = library_of(keys, options.d_min_a, options.d_max_a, options.contrast)
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
    posterior = judge(places, evidences, options)
    regions = tuple(
        describe(
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
        assessment=overall(regions),
        sentence=summary(regions),
        candidates=names,
        regions=regions,
        centre_px=centre,
        parameters=parameters,
    )

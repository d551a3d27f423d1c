"""Phases in a diffraction pattern, and how sure that is."""

from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np

from interphase.assessment import Assessment
from interphase.diffraction.catalogue import PhaseKey, library_of
from interphase.diffraction.checks import (
    LEAST_RADIUS,
    check_array,
    check_centre,
    check_options,
    check_sampling,
    usable_pattern,
)
from interphase.diffraction.distortion import alone, fit_shape
from interphase.diffraction.options import Options
from interphase.diffraction.pattern_crystals import find_crystals
from interphase.diffraction.pattern_spots import (
    PatternSpots,
    find_centre,
    find_pattern_spots,
    without_hot_pixels,
)
from interphase.diffraction.results import PhaseMap, Region
from interphase.diffraction.ring_regions import halo_words, pattern_summary, ring_regions
from interphase.diffraction.rings import (
    Frame,
    Profile,
    Rings,
    find_halos,
    find_rings,
    radial_profile,
)
from interphase.diffraction.verdicts import doubts_of, overall
from interphase.phases import Phase

# Rings move the centre by no more than this many of their widths, and stretch it no more than so.
MOST_MOVED = 3.0
MOST_STRETCHED = 0.06


def identify_pattern(
    pattern: np.ndarray,
    *,
    reciprocal_pixel_size_per_a: float,
    candidates: Sequence[Phase],
    options: Options | None = None,
    centre: tuple[float, float] | None = None,
) -> PhaseMap:
    """Return which phases a diffraction pattern shows, and how sure that is.

    Not for a nanobeam pattern of an amorphous film, alone: background is taken for smooth here, no
    law of speckle is applied, and a thin film's speckle is the same at k and -k, so its grains pass
    for Friedel pairs of spots and for crystals. `identify_scan` knows speckle.

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
        One region per crystal and per phase of a powder, without a place. Patterns without spots
        and rings, or without a centre in the frame, are results with the `assessment` that says
        so.

    Raises
    ------
    ParameterError
        The pattern has not two axes, the sampling is not positive, or no candidate is given.

    Notes
    -----
    Rings are looked for first: they give the centre and the ellipticity, and a region for each
    phase of a mixture, with ``zone_axis`` ``None`` and the spacings of its rings (a ring has no
    direction; its place among the spots of the region is on the column axis). Spots that lie on
    no ring are matched as crystals, one region each. Broad halos are named in the sentence.
    Without rings the ellipticity is not measured, and is covered by the anisotropy of
    ``options.scale``.
    """
    options = check_options(options)
    pattern, candidates = check_array(pattern, candidates)
    sampling = reciprocal_pixel_size_per_a
    check_sampling("reciprocal_pixel_size_per_a", sampling, "1/Å per pixel")
    if centre is not None:
        centre = check_centre(centre, pattern.shape)
    names = tuple(phase.identifier for phase in candidates)
    parameters = {
        "reciprocal_pixel_size_per_a": sampling,
        "candidates": names,
        **asdict(options),
    }

    warnings = doubts_of(candidates, options)

    def without(assessment: Assessment, sentence: str) -> PhaseMap:
        return PhaseMap(
            assessment=assessment,
            sentence=sentence,
            candidates=names,
            centre_px=centre,
            warnings=warnings,
            parameters=parameters,
        )

    data, fault = usable_pattern(pattern)
    if fault:
        return without(Assessment.UNUSABLE, fault)
    data = without_hot_pixels(data)
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
    if r_max < LEAST_RADIUS:
        return without(
            Assessment.TOO_COARSE,
            f"Pixels of {sampling:.3g} 1/Å are too coarse: all spacings above "
            f"{options.d_min_a:.1f} Å lie within {r_max:.1f} pixels of the direct beam, and "
            f"{LEAST_RADIUS:.0f} are needed.",
        )
    frame, profile, rings = find_frame_and_rings(
        data, centre, sampling=sampling, r_min=r_min, r_max=r_max, false_alarm=options.false_alarm
    )
    centre = frame.centre
    k_range = (r_min * sampling, r_max * sampling)
    powders = ring_regions(
        rings, candidates, sampling=sampling, k_range_per_a=k_range, options=options
    )
    crystals: tuple[Region, ...] = ()
    found = find_pattern_spots(data, centre, r_min=r_min, r_max=r_max)
    found = _undistorted(_outside(found, frame, rings, profile.shadow), frame)
    if len(found.height) and found.p_value.min() <= options.false_alarm:
        keys = tuple(PhaseKey(phase) for phase in candidates)
        library = library_of(keys, options.d_min_a, options.d_max_a, options.contrast)
        crystals = find_crystals(
            found,
            library,
            candidates,
            sampling=sampling,
            k_range_per_a=k_range,
            options=options,
        )
    regions = powders + crystals
    halos = find_halos(data, frame, profile, rings, sampling=sampling, r_min=r_min, r_max=r_max)
    parameters |= {
        "ellipse_cos_2phi": frame.stretch[0],
        "ellipse_sin_2phi": frame.stretch[1],
        "halo_d_spacings_a": tuple(round(float(d), 3) for d in halos),
    }
    if not regions:
        return without(
            Assessment.NO_PERIODICITY,
            f"No spot and no ring rises above the background (false alarms in "
            f"{100 * options.false_alarm:g} % of patterns). {halo_words(halos)}".rstrip(),
        )
    words = pattern_summary(powders, crystals)
    return PhaseMap(
        assessment=overall(regions),
        sentence=f"{words} {halo_words(halos)}".rstrip(),
        candidates=names,
        regions=regions,
        centre_px=centre,
        warnings=warnings,
        parameters=parameters,
    )


def find_frame_and_rings(
    data: np.ndarray,
    centre: tuple[float, float],
    *,
    sampling: float,
    r_min: float,
    r_max: float,
    false_alarm: float,
) -> tuple[Frame, Profile, Rings]:
    """Return the centre and ellipticity that the rings show, if any, and the rings."""
    frame = Frame(centre=centre)
    for last in (False, False, True):
        profile = radial_profile(data, frame)
        rings = find_rings(
            data,
            frame,
            profile,
            sampling=sampling,
            r_min=r_min,
            r_max=r_max,
            false_alarm=false_alarm,
        )
        if last or len(rings) == 0:
            break
        width = float(np.median(rings.width))
        lonely = alone(rings.radius, width)
        shape = fit_shape(data, frame, profile.shadow, rings.radius[lonely], width, rigid=False)
        if shape is None:
            break
        moved = np.hypot(*np.subtract(shape.frame.centre, centre))
        if moved > MOST_MOVED * width or np.hypot(*shape.frame.stretch) > MOST_STRETCHED:
            break
        frame = shape.frame
    return frame, profile, rings


def _outside(found: PatternSpots, frame: Frame, rings: Rings, shadow: np.ndarray) -> PatternSpots:
    """Return the spots that are neither crystals of a ring nor the edge of the beam stop."""
    radius = np.linalg.norm(frame.undistorted(found.offset), axis=1)
    reach = 3 * rings.width + 1
    outside = ~(abs(radius[:, None] - rings.radius) < reach).any(axis=1)
    at = np.rint(found.offset + frame.centre).astype(int).clip(0, np.array(shadow.shape) - 1)
    outside &= ~shadow[at[:, 0], at[:, 1]]
    return PatternSpots(
        offset=found.offset[outside],
        height=found.height[outside],
        intensity=found.intensity[outside],
        p_value=found.p_value[outside],
    )


def _undistorted(found: PatternSpots, frame: Frame) -> PatternSpots:
    return replace(found, offset=frame.undistorted(found.offset))

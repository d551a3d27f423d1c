"""The camera of a diffraction pattern, from the rings of a standard."""

from dataclasses import dataclass

import numpy as np

from interphase.assessment import Assessment
from interphase.diffraction.checks import (
    LEAST_RADIUS,
    check_centre,
    check_image,
    check_phase,
    check_sampling,
    usable_pattern,
)
from interphase.diffraction.distortion import Shape, alone, fit_shape
from interphase.diffraction.matching import CELL_SIGMA
from interphase.diffraction.pattern_spots import find_centre, without_hot_pixels
from interphase.diffraction.rings import Frame, Rings, find_rings, radial_profile
from interphase.errors import PhaseError
from interphase.phases import (
    Phase,
    ambiguous_pairs,
    candidates,
    families,
    load_phase,
    reflections,
)

# The rough sampling may be wrong by this share.
REACH = 0.12
# Rings of the standard below this share of its strongest are not waited for.
WEAK = 0.02
# Stretches that are tried first.
STRETCHES = np.linspace(-0.04, 0.04, 5)
# Lattices as near to the standard's as this are worth a warning.
TOO_NEAR = 0.01
# Rings with which a scale is believed: the ratio of two tells which they are; one may be any.
LEAST_RINGS = 2
# The radii of rings, over those of the standard, differ by no more than so many of `CELL_SIGMA`.
MOST_MISFIT = 3.0
# Share of all rings seen that must be the standard's.
MOST_FIT = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternCalibration:
    """What the rings of a standard say of the camera."""

    assessment: Assessment
    """``ok``, or why there is no calibration."""
    sentence: str
    """The result in words."""
    standard: str
    """Identifier of the phase whose rings were used."""
    reciprocal_pixel_size_per_a: float | None = None
    """Sampling [1/Å], no 2π, for the mean over all azimuths."""
    standard_error_per_a: float | None = None
    """Its standard error [1/Å]: that of the rings, and that of the standard's cell, which is known
    to 0.3 % (temperature, composition)."""
    ring_error_per_a: float | None = None
    """The part of it that the rings make [1/Å]: counting noise, and how far they disagree. With it
    patterns of the same standard are compared."""
    centre_px: tuple[float, float] | None = None
    """(row, column) of the direct beam [pixels]."""
    centre_error_px: tuple[float, float] | None = None
    """Its standard errors [pixels]."""
    stretch: tuple[float, float] | None = None
    """(c, s): a ring has the radius r (1 + c cos 2φ + s sin 2φ), φ from columns towards rows."""
    stretch_error: tuple[float, float] | None = None
    """Their standard errors."""
    ellipticity: float | None = None
    """Longest over shortest diameter of a ring; at least 1, and so a little above it by noise."""
    ellipticity_error: float | None = None
    """Its standard error."""
    axis_deg: float | None = None
    """Azimuth of the longest diameter, from columns towards rows, 0 to 180 [degrees]."""
    axis_error_deg: float | None = None
    """Its standard error; 90 where rings are round within their errors [degrees]."""
    d_spacings_a: tuple[float, ...] = ()
    """Spacings of the rings that were used [Å], as the standard has them."""
    warnings: tuple[str, ...] = ()
    """Doubts, one sentence each."""


def calibrate_pattern(
    pattern: np.ndarray,
    *,
    standard: Phase | str,
    reciprocal_pixel_size_per_a: float,
    centre: tuple[float, float] | None = None,
) -> PatternCalibration:
    """Return sampling, centre and ellipticity of a camera from the rings of a known phase.

    Not for single crystals, and not for a phase that may be another one: the ratios of rings
    tell a wrong standard only if its lattice has another shape.

    Parameters
    ----------
    pattern
        Counts, ndarray of shape (M, N).
    standard
        The phase, or its identifier in the table, such as ``"Au"``.
    reciprocal_pixel_size_per_a
        About the sampling [1/Å], no 2π; right to a tenth.
    centre
        (row, column) of the direct beam [pixels] to a pixel or two; found if not given.

    Returns
    -------
    PatternCalibration
        With standard errors. A pattern without at least two rings that stand alone, or with rings
        in other ratios than the standard's, is a result that says so and holds no numbers.

    Raises
    ------
    ParameterError
        The pattern has not two axes, the sampling is not positive, `centre` is not in the frame, or
        `standard` is no phase.

    Notes
    -----
    Radii of rings that stand alone are fitted in sectors of azimuth: one scale, the centre and
    the second harmonic of the radius. Standard errors hold counting noise, and what else scatters
    between sectors. That of the scale also holds the scatter from ring to ring and the error of
    the standard's cell, which all its rings share and no number of electrons lowers. The pixels
    do not limit it: every pixel is compared at its own radius, and no profile is binned.

    Examples
    --------
    Three rings of gold, drawn with a sampling of 0.004 1/Å.

    >>> y, x = np.indices((300, 300)) - 150.0
    >>> r = np.hypot(y, x) * 0.004
    >>> rings = sum(np.exp(-((r - 1 / d) / 0.008) ** 2) for d in (2.3545, 2.0391, 1.4418))
    >>> counts = np.random.default_rng(1).poisson(20 * rings + 5 + 1e4 * np.exp(-((r / 0.01) ** 2)))
    >>> found = calibrate_pattern(counts, standard="Au", reciprocal_pixel_size_per_a=0.0041)
    >>> round(found.reciprocal_pixel_size_per_a, 5)
    0.004
    """
    phase = load_phase(standard) if isinstance(standard, str) else standard
    phase, pattern = check_phase("standard", phase), check_image(pattern)
    rough = reciprocal_pixel_size_per_a
    check_sampling("reciprocal_pixel_size_per_a", rough, "1/Å per pixel")
    if centre is not None:
        centre = check_centre(centre, pattern.shape)
    warnings = _doubts(phase)

    def without(assessment: Assessment, sentence: str) -> PatternCalibration:
        return PatternCalibration(
            assessment=assessment,
            sentence=sentence,
            standard=phase.identifier,
            warnings=warnings,
        )

    data, fault = usable_pattern(pattern)
    if fault:
        return without(Assessment.UNUSABLE, fault)
    diagonal = float(np.hypot(*pattern.shape))
    k, used = _standard_rings(phase, 1.2 * diagonal * rough)
    in_view = k[used] / rough
    in_view = in_view[(in_view > LEAST_RADIUS) & (in_view < (1 + REACH) * diagonal / 2)]
    if len(in_view) < LEAST_RINGS:
        return without(
            Assessment.TOO_COARSE,
            f"At {rough:g} 1/Å per pixel {len(in_view)} rings of {phase.identifier} lie between "
            f"{LEAST_RADIUS:.0f} pixels from the direct beam and the rim of the frame, and "
            f"{LEAST_RINGS} are needed: choose another camera length or standard.",
        )
    data = without_hot_pixels(data).astype(float)
    start = find_centre(data) if centre is None else centre
    if start is None:
        return without(
            Assessment.UNUSABLE,
            "Neither a direct beam nor a centre of symmetry is in view; the centre can be given.",
        )
    frame, rings = _first_rings(data, start, rough, 0.8 * k[used][0] / rough)
    scale = _rough_scale(rings, k[used], rough)
    if scale is None:
        return without(
            Assessment.NO_PERIODICITY,
            f"{len(rings)} rings are seen, and fewer than {LEAST_RINGS} of them fit those of "
            f"{phase.identifier} within {100 * REACH:.0f} % of {rough:g} 1/Å.",
        )
    width = float(np.median(rings.width))
    shape = None
    for _ in range(2):
        radius = k / scale
        good = used & alone(radius, width, radius[used])
        good &= (abs(radius[:, None] - rings.radius) < 2 * width + 0.01 * radius[:, None]).any(
            axis=1
        )
        if good.sum() < LEAST_RINGS:
            return without(
                Assessment.AMBIGUOUS,
                f"Rings of {phase.identifier} that stand alone, and so can be measured: "
                f"{good.sum()}; {LEAST_RINGS} are needed, since one ring fits any sampling. Give a "
                "pattern with sharper rings or of a shorter camera length.",
            )
        profile = radial_profile(data, frame)
        shape = fit_shape(data, frame, profile.shadow, radius[good], width, rigid=True)
        if shape is None:
            break
        frame, scale = shape.frame, scale / shape.scale
    each = shape and fit_shape(data, frame, profile.shadow, k[good] / scale, width, rigid=False)
    if shape is None or each is None:
        return without(
            Assessment.NO_PERIODICITY,
            f"The rings of {phase.identifier} do not show on enough of the azimuth to be measured.",
        )
    misfit = each.radius * scale / k[good] - 1
    if np.ptp(misfit) > MOST_MISFIT * CELL_SIGMA:
        return without(
            Assessment.UNKNOWN_PHASE,
            f"{good.sum()} rings are seen where {phase.identifier} has some, but the ratios of "
            f"their radii differ from its ratios by {100 * np.ptp(misfit):.1f} %: it is another "
            "phase, or reciprocal_pixel_size_per_a is not right to a tenth.",
        )
    return _record(phase, scale, shape, misfit, 1 / k[good], warnings)


def _record(
    phase: Phase,
    scale: float,
    shape: Shape,
    misfit: np.ndarray,
    d_spacings: np.ndarray,
    warnings: tuple[str, ...],
) -> PatternCalibration:
    frame, covariance = shape.frame, shape.covariance
    row, column, c_error, s_error, log_scale = np.sqrt(np.maximum(np.diag(covariance), 0))
    c, s = frame.stretch
    size = float(np.hypot(c, s))
    along = np.array([c, s]) / max(size, 1e-12)
    size_error = float(np.sqrt(along @ covariance[2:4, 2:4] @ along))
    across = np.array([-along[1], along[0]])
    turn = float(np.sqrt(across @ covariance[2:4, 2:4] @ across)) / max(2 * size, 1e-12)
    ellipticity = (1 + size) / (1 - size)
    rings = float(np.hypot(log_scale, np.std(misfit, ddof=1) / np.sqrt(len(misfit))))
    error = scale * float(np.hypot(rings, CELL_SIGMA))
    return PatternCalibration(
        assessment=Assessment.OK,
        sentence=(
            f"{len(d_spacings)} rings of {phase.identifier}: {_stated(scale, error)} 1/Å per pixel "
            f"({100 * CELL_SIGMA:.1f} % by the cell of the standard, {100 * rings:.1g} % by the "
            f"rings), ellipticity {_stated(ellipticity, 2 * size_error)}."
        ),
        standard=phase.identifier,
        reciprocal_pixel_size_per_a=scale,
        standard_error_per_a=error,
        ring_error_per_a=scale * rings,
        centre_px=frame.centre,
        centre_error_px=(float(row), float(column)),
        stretch=frame.stretch,
        stretch_error=(float(c_error), float(s_error)),
        ellipticity=ellipticity,
        ellipticity_error=2 * size_error / (1 - size) ** 2,
        axis_deg=float(np.degrees(np.arctan2(s, c)) / 2 % 180),
        axis_error_deg=min(float(np.degrees(turn)), 90.0),
        d_spacings_a=tuple(float(d) for d in d_spacings),
        warnings=warnings,
    )


def _stated(value: float, error: float) -> str:
    """Return a value and its error with two digits of the error.

    >>> _stated(0.00749928, 2.31e-5), _stated(1.00012, 0.0)
    ('0.007499 ± 0.000023', '1.000120000 ± 0.000000010')
    """
    error = max(error, 1e-8)
    digits = max(1 - int(np.floor(np.log10(error))), 0)
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _first_rings(
    data: np.ndarray, centre: tuple[float, float], rough: float, r_min: float
) -> tuple[Frame, Rings]:
    """Return the stretch that shows the sharpest rings, and the rings."""
    size = float(max(np.hypot(*data.shape) / 2, 8))

    def look(stretch: tuple[float, float], at: tuple[float, float]) -> tuple[float, Frame, Rings]:
        frame = Frame(centre=at, stretch=stretch)
        rings = find_rings(
            data,
            frame,
            radial_profile(data, frame),
            sampling=rough,
            r_min=r_min,
            r_max=size,
            false_alarm=0.01,
        )
        clear = float(np.sum(np.minimum(rings.area / rings.area_sigma, 100.0) / rings.width))
        return clear, frame, rings

    tried = [look((0.0, 0.0), centre)]
    if len(tried[0][2]) < 2:
        tried += [look((c, s), centre) for c in STRETCHES for s in STRETCHES]
    _, frame, rings = max(tried, key=lambda t: t[0])
    for _ in range(3):
        width = float(np.median(rings.width)) if len(rings) else 1.0
        lonely = alone(rings.radius, width)
        shadow = radial_profile(data, frame).shadow
        shape = fit_shape(data, frame, shadow, rings.radius[lonely], width, rigid=False)
        if shape is None:
            break
        _, frame, rings = look(shape.frame.stretch, shape.frame.centre)
    return frame, rings


def _standard_rings(phase: Phase, k_max: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the radii of the standard's rings [1/Å] and which are strong."""
    try:
        rings = families(reflections(phase, d_min_a=max(1 / k_max, 0.6)), merge_rings=True)
    except PhaseError:  # all its spacings are smaller
        return np.zeros(0), np.zeros(0, dtype=bool)
    return 1 / rings.d_a, np.asarray(rings.relative * rings.d_a > WEAK)


def _rough_scale(rings: Rings, k: np.ndarray, rough: float) -> float | None:
    """Return the sampling at which most of the light lies on rings of the standard."""
    tries = rough * np.exp(np.arange(-REACH, REACH, 0.0005))
    width = np.maximum(rings.width, 1.0)[:, None]
    best, score, matched = rough, 0.0, 0
    for sampling in tries:
        miss = abs(rings.radius[:, None] - k / sampling) / (0.5 * width)
        fits = np.exp(-0.5 * miss.min(axis=1, initial=np.inf) ** 2)
        inside = k / sampling < rings.radius.max(initial=0) * 1.02
        now = float(fits.sum() / np.sqrt(max(inside.sum(), 1)))
        if now > score:
            best, score, matched = float(sampling), now, int((fits > 0.1).sum())
    return best if matched >= max(LEAST_RINGS, MOST_FIT * len(rings)) else None


def _doubts(phase: Phase) -> tuple[str, ...]:
    """Return which phases have the rings of the standard, in words."""
    others = [p for p in candidates("lithium-sei") if p.identifier != phase.identifier]
    pairs = ambiguous_pairs([phase, *others], tolerance=TOO_NEAR)
    near = [
        (pair.second if pair.first == phase.identifier else pair.first, pair.scale_difference)
        for pair in pairs
        if phase.identifier in (pair.first, pair.second)
    ]
    return tuple(
        f"{phase.identifier} has the rings of {name} within {100 * abs(difference):.2f} %: do not "
        f"calibrate with it where {name} may be in view, or {name} becomes the standard."
        for name, difference in near
    )

"""The camera of a diffraction pattern, from the rings of a standard."""

from dataclasses import dataclass

import numpy as np

from interphase.assessment import Assessment
from interphase.diffraction.checks import check_array, usable
from interphase.diffraction.distortion import alone, fit_shape
from interphase.diffraction.pattern_spots import find_centre, without_hot_pixels
from interphase.diffraction.rings import Frame, Rings, find_rings, radial_profile
from interphase.errors import ParameterError
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
# Rings with which a scale is believed.
LEAST_RINGS = 2
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
    """Its standard error by counting statistics [1/Å]; the cell of the standard has its own."""
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
        With standard errors. A pattern without enough rings is a result that says so.

    Raises
    ------
    ParameterError
        The pattern has not two axes or the sampling is not positive.

    Notes
    -----
    Radii of rings that stand alone are fitted in sectors of azimuth: one scale, the centre and
    the second harmonic of the radius. Standard errors hold counting noise, and what else scatters
    between sectors; the error of the standard's own cell and of its temperature come on top.

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
    check_array(pattern, [phase])
    rough = reciprocal_pixel_size_per_a
    if not (np.isfinite(rough) and rough > 0):
        raise ParameterError(f"reciprocal_pixel_size_per_a is {rough!r} 1/Å: expected a number > 0")
    warnings = _doubts(phase)

    def without(assessment: Assessment, sentence: str) -> PatternCalibration:
        return PatternCalibration(
            assessment=assessment,
            sentence=sentence,
            standard=phase.identifier,
            warnings=warnings,
        )

    data, fault = usable(pattern, saturation_matters=False)
    if fault:
        return without(Assessment.UNUSABLE, fault)
    data = without_hot_pixels(data).astype(float)
    start = centre or find_centre(data)
    if start is None:
        return without(
            Assessment.UNUSABLE,
            "Neither a direct beam nor a centre of symmetry is in view; the centre can be given.",
        )
    k, used = _standard_rings(phase, 1.2 * np.hypot(*pattern.shape) * rough)
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
        if not good.any():
            break
        profile = radial_profile(data, frame)
        shape = fit_shape(data, frame, profile.shadow, radius[good], width, rigid=True)
        if shape is None:
            break
        frame, scale = shape.frame, scale / shape.scale
    if shape is None:
        return without(
            Assessment.NO_PERIODICITY,
            f"The rings of {phase.identifier} do not show on enough of the azimuth to be measured.",
        )
    return _record(phase, scale, shape.frame, shape.covariance, 1 / k[good], warnings)


def _record(
    phase: Phase,
    scale: float,
    frame: Frame,
    covariance: np.ndarray,
    d_spacings: np.ndarray,
    warnings: tuple[str, ...],
) -> PatternCalibration:
    row, column, c_error, s_error, log_scale = np.sqrt(np.maximum(np.diag(covariance), 0))
    c, s = frame.stretch
    size = float(np.hypot(c, s))
    along = np.array([c, s]) / max(size, 1e-12)
    size_error = float(np.sqrt(along @ covariance[2:4, 2:4] @ along))
    across = np.array([-along[1], along[0]])
    turn = float(np.sqrt(across @ covariance[2:4, 2:4] @ across)) / max(2 * size, 1e-12)
    ellipticity = (1 + size) / (1 - size)
    error = scale * float(log_scale)
    return PatternCalibration(
        assessment=Assessment.OK,
        sentence=(
            f"{len(d_spacings)} rings of {phase.identifier}: {scale:.6f} ± {error:.6f} 1/Å per "
            f"pixel, ellipticity {ellipticity:.4f} ± {2 * size_error:.4f}."
        ),
        standard=phase.identifier,
        reciprocal_pixel_size_per_a=scale,
        standard_error_per_a=error,
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
    rings = families(reflections(phase, d_min_a=max(1 / k_max, 0.6)), merge_rings=True)
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

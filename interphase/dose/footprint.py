"""Where the electrons of an exposure fell: polygons on the specimen, in stage coordinates.

A polygon is an array of corners (x, y) [µm], in the plane of the specimen. What a microscope
states holds in a plane normal to the beam; :func:`onto_specimen` brings it onto the specimen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real

import numpy as np

from interphase.electron import dose_from_current
from interphase.errors import ParameterError

UM_PER_A = 1e-4
"""1 Å in µm; exact."""
MOST_UM = 1e12
"""Coordinates up to which a footprint keeps its shape [µm]; no stage is anywhere near."""
_DISC_CORNERS = 64
"""Corners of the polygon that stands for a disc: its edge is within 0.1 % of the radius."""


def camera_rectangle(shape: tuple[int, int], *, pixel_size_a: float) -> np.ndarray:
    """Return the area that an image shows, about its middle.

    Parameters
    ----------
    shape
        Rows and columns.
    pixel_size_a
        Side of a pixel in the specimen [Å].

    Returns
    -------
    ndarray of shape (4, 2)
        Corners (x, y) [µm], x along the columns.

    Examples
    --------
    >>> camera_rectangle((1000, 2000), pixel_size_a=1.0).max(axis=0).tolist()
    [0.1, 0.05]
    """
    rows, columns = (_above_zero("shape", size) for size in _pair("shape", shape))
    half = 0.5 * UM_PER_A * _above_zero("pixel_size_a", pixel_size_a)
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], dtype=float)
    return corners * [half * columns, half * rows]


def disc(diameter_um: float, *, corners: int = _DISC_CORNERS) -> np.ndarray:
    """Return a disc of illumination as a polygon of exactly its area, about its middle.

    Parameters
    ----------
    diameter_um
        Diameter [µm].
    corners
        Number of corners.

    Returns
    -------
    ndarray of shape (corners, 2)
        Corners (x, y) [µm].

    Examples
    --------
    >>> round(area_um2(disc(2.0)) / np.pi, 12)
    1.0
    """
    if not isinstance(corners, Integral) or corners < 3:
        raise ParameterError(f"corners is {corners!r}: expected a whole number, at least 3")
    angle = 2 * np.pi * np.arange(corners) / corners
    radius = _above_zero("diameter_um", diameter_um) / 2
    radius *= np.sqrt(2 * np.pi / (corners * np.sin(2 * np.pi / corners)))
    polygon: np.ndarray = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return polygon


def onto_specimen(
    polygon_um: np.ndarray,
    *,
    centre_um: tuple[float, float] = (0.0, 0.0),
    rotation_deg: float = 0.0,
    alpha_deg: float = 0.0,
    beta_deg: float = 0.0,
    tilt_axis_deg: float = 0.0,
) -> np.ndarray:
    r"""Bring a polygon from a plane normal to the beam onto the specimen.

    Parameters
    ----------
    polygon_um
        Corners about the middle, shape (V, 2) [µm].
    centre_um
        Where the middle falls, in stage coordinates [µm].
    rotation_deg
        Angle from the stage's x to the columns of the image, counter-clockwise [degrees].
    alpha_deg
        Tilt about the tilt axis [degrees].
    beta_deg
        Second tilt, about the axis of the specimen across it [degrees].
    tilt_axis_deg
        Angle from the stage's x to the tilt axis [degrees]; a holder tilts about its own x.

    Returns
    -------
    ndarray of shape (V, 2)
        Corners in the plane of the specimen [µm].

    Raises
    ------
    ParameterError
        A tilt reaches 90°, or the polygon has fewer than three corners.

    Notes
    -----
    A tilted specimen is foreshortened along the beam by cos α across the tilt axis, so that what
    the beam covers is longer by its inverse: areas grow by :math:`1/(\cos\alpha\cos\beta)`.

    Examples
    --------
    >>> square = camera_rectangle((10, 10), pixel_size_a=1e3)
    >>> round(area_um2(onto_specimen(square, alpha_deg=60.0)), 12)
    2.0
    """
    polygon = checked_polygon(polygon_um)
    for name, tilt in (("alpha_deg", alpha_deg), ("beta_deg", beta_deg)):
        if not isinstance(tilt, Real) or not abs(tilt) < 90:
            raise ParameterError(f"{name} is {tilt!r}: expected a tilt below 90 degrees")
    for name, turn in (("rotation_deg", rotation_deg), ("tilt_axis_deg", tilt_axis_deg)):
        if not isinstance(turn, Real) or not np.isfinite(turn):
            raise ParameterError(f"{name} is {turn!r}: expected a finite number of degrees")
    if np.shape(centre_um) != (2,) or not np.isfinite(centre_um).all():
        raise ParameterError(f"centre_um is {centre_um!r}: expected (x, y) of the stage in µm")
    stretch = stretching(alpha_deg=alpha_deg, beta_deg=beta_deg, tilt_axis_deg=tilt_axis_deg)
    onto = stretch @ _turn(rotation_deg)
    placed: np.ndarray = polygon @ onto.T + np.asarray(centre_um, dtype=float)
    return placed


def stretching(
    *, alpha_deg: float = 0.0, beta_deg: float = 0.0, tilt_axis_deg: float = 0.0
) -> np.ndarray:
    """Return the matrix from a plane normal to the beam onto the specimen, shape (2, 2).

    Angles are those of `onto_specimen`.

    >>> stretching(alpha_deg=60.0).round(9).tolist()
    [[1.0, 0.0], [0.0, 2.0]]
    """
    alpha, beta = np.radians(alpha_deg), np.radians(beta_deg)
    foreshortened = np.array([[np.cos(beta), 0.0], [np.sin(alpha) * np.sin(beta), np.cos(alpha)]])
    axis = _turn(tilt_axis_deg)
    stretch: np.ndarray = axis @ np.linalg.inv(foreshortened) @ axis.T
    return stretch


def displacement_um(
    shift: tuple[float, float], um_per_unit: float | Sequence[Sequence[float]]
) -> tuple[float, float]:
    """Return how far a shift of the beam or image moves the exposed place.

    Parameters
    ----------
    shift
        The shift (x, y) in the vendor's units.
    um_per_unit
        Its calibration: one factor, or the 2 × 2 matrix to stage x and y [µm per unit].

    Examples
    --------
    >>> displacement_um((0.5, -1.0), ((0.0, 2.0), (2.0, 0.0)))
    (-2.0, 1.0)
    """
    matrix = np.asarray(um_per_unit, dtype=float)
    if matrix.shape not in {(), (2, 2)} or not np.isfinite(matrix).all():
        raise ParameterError(
            f"um_per_unit is {um_per_unit!r}: expected one number or a 2 × 2 matrix, µm per unit"
        )
    if np.shape(shift) != (2,) or not np.isfinite(np.asarray(shift, dtype=float)).all():
        raise ParameterError(f"shift is {shift!r}: expected finite (x, y) in the vendor's units")
    moved = matrix * np.asarray(shift) if matrix.shape == () else matrix @ np.asarray(shift)
    return float(moved[0]), float(moved[1])


def area_um2(polygon_um: np.ndarray) -> float:
    """Return the area of a simple polygon [µm²], whichever way round its corners run.

    Examples
    --------
    >>> area_um2(np.array([(0, 0), (2, 0), (2, 1), (0, 1)]))
    2.0
    """
    # From the first corner, so that far from the origin no digits are lost; the edges that meet
    # there add nothing.
    x, y = (np.asarray(polygon_um, dtype=float) - polygon_um[0]).T
    return float(abs(x[:-1] @ y[1:] - y[:-1] @ x[1:]) / 2)


def checked_polygon(polygon_um: np.ndarray) -> np.ndarray:
    """Return a polygon as floats, if it is one with an area.

    Raises
    ------
    ParameterError
        It has another shape, corners that are not finite, no area, or edges that cross.
    """
    try:
        polygon = np.asarray(polygon_um, dtype=float)
    except (TypeError, ValueError):
        polygon = np.zeros(0)
    if polygon.ndim != 2 or polygon.shape[1] != 2 or len(polygon) < 3:
        raise ParameterError(
            f"a footprint has shape {polygon.shape}: expected at least three corners (x, y) in µm"
        )
    if not np.isfinite(polygon).all():
        raise ParameterError("a footprint has a corner that is not finite: expected µm")
    if np.abs(polygon).max() > MOST_UM:
        raise ParameterError(
            f"a footprint has a corner {np.abs(polygon).max():.4g} µm from the stage's origin: "
            f"expected at most {MOST_UM:g} µm"
        )
    if not area_um2(polygon) > 0:
        raise ParameterError("a footprint has no area: expected the corners of a polygon in µm")
    if not _is_convex(polygon):
        from shapely import Polygon, is_valid

        if not is_valid(Polygon(polygon - polygon[0])):
            raise ParameterError(
                "a footprint crosses or touches itself: expected its corners in their order"
            )
    return polygon


def _is_convex(polygon_um: np.ndarray) -> bool:
    """Return whether all corners turn the same way and the outline runs round once."""
    x, y = (np.concatenate([polygon_um[1:], polygon_um[:1]]) - polygon_um).T
    turn = x * np.concatenate([y[1:], y[:1]]) - y * np.concatenate([x[1:], x[:1]])
    onwards = x >= 0
    back_and_forth = np.count_nonzero(onwards[1:] != onwards[:-1]) + (onwards[0] != onwards[-1])
    return bool(((turn > 0).all() or (turn < 0).all()) and back_and_forth == 2)


def contains(polygons: Sequence[np.ndarray], place_um: tuple[float, float]) -> np.ndarray:
    """Return which of several simple polygons a place is in, shape (N,).

    Of two polygons with a common edge exactly one holds a place on it.

    >>> contains([disc(2.0), disc(0.2)], (0.5, 0.0)).tolist()
    [True, False]
    """
    if not len(polygons):
        return np.zeros(0, dtype=bool)
    starts = np.concatenate([[0], np.cumsum([len(polygon) for polygon in polygons])])
    corners = np.concatenate(polygons)
    x, y = corners.T
    following = np.arange(1, len(corners) + 1)
    following[starts[1:] - 1] = starts[:-1]
    x1, y1 = x[following], y[following]
    px, py = place_um
    spans = (y > py) != (y1 > py)
    with np.errstate(divide="ignore", invalid="ignore"):
        crossed = spans & (px < x + (py - y) / (y1 - y) * (x1 - x))
    odd: np.ndarray = np.add.reduceat(crossed, starts[:-1], dtype=np.int64) % 2 == 1
    return odd


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanDose:
    """What a scanned probe gave to the specimen."""

    mean_e_per_a2: float
    """Mean over the scanned area [e/Å²]."""
    local_e_per_a2: float | None
    """Under the probe [e/Å²]; the mean where positions overlap, ``None`` where the width of the
    probe is unknown."""
    exposed_fraction: float | None
    """Part of the scanned area that the probe touched; ``None`` where its width is unknown."""
    size_a: tuple[float, float]
    """Sides (y, x) of the scanned area [Å]."""


def dose_of_scan(
    *,
    beam_current_pa: float,
    dwell_time_s: float,
    positions: tuple[int, int],
    step_a: float,
    probe_diameter_a: float | None = None,
    scans: int = 1,
) -> ScanDose:
    r"""Return the dose of a scan, whether its positions overlap or leave gaps.

    Parameters
    ----------
    beam_current_pa
        Probe current [pA].
    dwell_time_s
        Time per position and scan, flyback not counted [s].
    positions
        Rows and columns of positions.
    step_a
        Distance of neighbouring positions [Å].
    probe_diameter_a
        Diameter of the probe [Å]; ``None`` if not known.
    scans
        How often the frame was scanned.

    Returns
    -------
    ScanDose
        The mean, what lies under the probe, and the area.

    Notes
    -----
    With n positions of step a and a probe of diameter d, an oversampled scan (d >= a) spreads its
    electrons evenly over n a²; in one row, or on one spot, the probe sets the width. In an
    undersampled one (d < a) the mean is the same, but :math:`\pi d^2 / 4` of every a² has all of
    it: :math:`D_{local} = I t / (e \pi d^2 / 4)`.

    Examples
    --------
    >>> spaced = dose_of_scan(
    ...     beam_current_pa=10, dwell_time_s=1e-3, positions=(64, 64), step_a=10, probe_diameter_a=2
    ... )
    >>> round(spaced.mean_e_per_a2), round(spaced.local_e_per_a2), round(spaced.exposed_fraction, 4)
    (624, 19867, 0.0314)
    """
    rows, columns = (_count("positions", number) for number in _pair("positions", positions))
    step, scans = _above_zero("step_a", step_a), _count("scans", scans)
    probe = None if probe_diameter_a is None else _above_zero("probe_diameter_a", probe_diameter_a)
    electrons_per_a2 = dose_from_current(
        current_pa=beam_current_pa, dwell_time_s=scans * dwell_time_s, pixel_area_a2=1.0
    )
    size = scan_size_a((rows, columns), step_a=step, probe_diameter_a=probe)
    if probe is None or probe < step:
        mean = electrons_per_a2 / step**2
        if probe is None:
            return ScanDose(
                mean_e_per_a2=mean,
                local_e_per_a2=None,
                exposed_fraction=None,
                size_a=size,
            )
        spot = np.pi * probe**2 / 4
        return ScanDose(
            mean_e_per_a2=mean,
            local_e_per_a2=electrons_per_a2 / spot,
            exposed_fraction=spot / step**2,
            size_a=size,
        )
    mean = rows * columns * electrons_per_a2 / (size[0] * size[1])
    return ScanDose(mean_e_per_a2=mean, local_e_per_a2=mean, exposed_fraction=1.0, size_a=size)


def scan_size_a(
    positions: tuple[int, int], *, step_a: float, probe_diameter_a: float | None
) -> tuple[float, float]:
    """Return the sides (y, x) of what a scan exposes [Å]: its cells, or the wider probe.

    >>> scan_size_a((1, 50), step_a=5.0, probe_diameter_a=20.0)
    (20.0, 250.0)
    """
    probe = probe_diameter_a or 0.0
    height, width = (max(number * step_a, probe) for number in positions)
    return height, width


def _turn(angle_deg: float) -> np.ndarray:
    angle = np.radians(angle_deg)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _above_zero(name: str, value: float) -> float:
    if not isinstance(value, Real) or not 0 < value < float("inf"):
        raise ParameterError(f"{name} is {value!r}: expected a finite number above 0")
    return value


def _pair(name: str, values: tuple[int, int]) -> tuple[int, int]:
    if np.shape(values) != (2,):
        raise ParameterError(f"{name} is {values!r}: expected rows and columns")
    return values


def _count(name: str, value: float) -> int:
    if not 1 <= _above_zero(name, value) == int(value):
        raise ParameterError(f"{name} is {value!r}: expected a whole number, at least 1")
    return int(value)

"""The dose as a map: every pixel the exact mean over its area."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np

from interphase.dose.footprint import checked_polygon
from interphase.dose.places import shrunk
from interphase.dose.rows import Rows, reached
from interphase.dose.totals import elapsed
from interphase.errors import ParameterError


@dataclass(frozen=True, slots=True, kw_only=True)
class DoseMap:
    """What each pixel of a map received."""

    dose_e_per_a2: np.ndarray
    """Mean over each pixel of what is certain, shape (M, N), row 0 at the least y [e/Å²]; of a scan
    with gaps the mean of the scan."""
    at_most_e_per_a2: np.ndarray
    """Mean of all that may have hit, shape (M, N); NaN where the dose of any is unknown [e/Å²]."""
    unknown: np.ndarray
    """Exposures without a known dose that may have hit each pixel, shape (M, N)."""
    bounds_um: tuple[float, float, float, float]
    """Left, bottom, right and top (x0, y0, x1, y1) in stage coordinates [µm]."""

    @property
    def pixel_um(self) -> tuple[float, float]:
        """Size (y, x) of a pixel [µm]."""
        x0, y0, x1, y1 = self.bounds_um
        rows, columns = self.dose_e_per_a2.shape
        return (y1 - y0) / rows, (x1 - x0) / columns

    def place_of(self, row: float, column: float) -> tuple[float, float]:
        """Return the place (x, y) of a pixel's centre in stage coordinates [µm]."""
        height, width = self.pixel_um
        return self.bounds_um[0] + (column + 0.5) * width, self.bounds_um[1] + (row + 0.5) * height


def coverage(
    polygons_um: Sequence[np.ndarray],
    weights: np.ndarray,
    *,
    bounds_um: tuple[float, float, float, float],
    shape: tuple[int, int],
    prior: np.ndarray | None = None,
) -> np.ndarray:
    """Return the sum of weighted polygons, averaged over each pixel of a raster.

    Parameters
    ----------
    polygons_um
        Simple polygons, corners (x, y), each of shape (V, 2) [µm].
    weights
        What each has inside, shape (P,).
    bounds_um
        Left, bottom, right and top (x0, y0, x1, y1) [µm].
    shape
        Rows and columns (M, N).
    prior
        What each at the least stands upon, in the order given, shape (P,); by default nothing.

    Returns
    -------
    ndarray of shape (M, N)
        Row 0 at the least y.

    Raises
    ------
    ParameterError
        A polygon is none or crosses itself, there are not as many weights as polygons, or the
        raster has no area or no pixels.

    Notes
    -----
    Exact up to rounding: signed areas of the pieces of each edge are gathered, and summed along
    the rows. The cost is that of the pixels along the edges.

    Examples
    --------
    >>> half = np.array([(0, 0), (2, 0), (2, 2.0)])
    >>> coverage([half], np.array([1.0]), bounds_um=(0, 0, 2, 2), shape=(2, 2)).tolist()
    [[0.5, 1.0], [0.0, 0.5]]
    """
    check_raster(bounds_um, shape)
    for name, values in (("weights", weights), ("prior", prior)):
        if values is not None and (
            np.shape(values) != (len(polygons_um),) or not np.isfinite(values).all()
        ):
            raise ParameterError(
                f"{name} has shape {np.shape(values)}: expected a finite number for each of "
                f"{len(polygons_um)} polygons"
            )
    outlines = [checked_polygon(polygon) for polygon in polygons_um]
    return _covered(outlines, weights, bounds_um=bounds_um, shape=shape, prior=prior)


def _covered(
    polygons_um: Sequence[np.ndarray],
    weights: np.ndarray,
    *,
    bounds_um: tuple[float, float, float, float],
    shape: tuple[int, int],
    prior: np.ndarray | None = None,
) -> np.ndarray:
    """Return what `coverage` does, of what was checked: the compiled loop checks nothing."""
    from interphase.dose.coverage_kernels import accumulate

    x, y, starts = _in_pixels(polygons_um, bounds_um, shape)
    total = np.zeros(shape)
    stated = np.zeros(len(polygons_um)) if prior is None else np.asarray(prior, dtype=float)
    accumulate(x, y, starts, np.asarray(weights, dtype=float), stated, total)
    return total


def check_raster(bounds_um: Sequence[float], shape: Sequence[int]) -> None:
    """Raise where a raster has no area or no pixels."""
    try:
        bounds = np.asarray(bounds_um, dtype=float)
    except (TypeError, ValueError):
        bounds = np.zeros(0)
    if bounds.shape != (4,) or not np.isfinite(bounds).all():
        raise ParameterError(f"bounds_um is {bounds_um!r}: expected (x0, y0, x1, y1) in µm")
    if not (bounds[0] < bounds[2] and bounds[1] < bounds[3]):
        raise ParameterError(f"bounds_um is {bounds_um!r}: expected x0 < x1 and y0 < y1")
    if np.shape(shape) != (2,) or not all(
        isinstance(size, Integral) and 1 <= size <= 16384 for size in shape
    ):
        raise ParameterError(f"shape is {shape!r}: expected rows and columns, 1 to 16384")


def _in_pixels(
    polygons_um: Sequence[np.ndarray],
    bounds_um: tuple[float, float, float, float],
    shape: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    starts = np.zeros(len(polygons_um) + 1, dtype=np.int64)
    np.cumsum([len(polygon) for polygon in polygons_um], out=starts[1:])
    x0, y0, x1, y1 = bounds_um
    corners = np.concatenate(polygons_um) if len(polygons_um) else np.zeros((0, 2))
    x = (corners[:, 0] - x0) * (shape[1] / (x1 - x0))
    y = (corners[:, 1] - y0) * (shape[0] / (y1 - y0))
    return x, y, starts


def draw_map(
    rows: Rows,
    others: Rows,
    *,
    bounds_um: tuple[float, float, float, float],
    shape: tuple[int, int],
    until_s: float | None,
) -> DoseMap:
    """Return the map of exposures, of which `others` holds those that may be everywhere."""
    from interphase.dose.coverage_kernels import count

    check_raster(bounds_um, shape)
    beside = ~np.isin(others.id, rows.id)
    if beside.any():
        rows = rows.joined(others.taken(np.flatnonzero(beside)))
        rows = rows.taken(np.argsort(rows.start_s, kind="stable"))  # NaN comes last
    least, most = elapsed(rows.start_s, rows.duration_s, until_s)
    begun = np.ones(len(rows), dtype=bool) if until_s is None else rows.start_s <= until_s
    prior, timed, series = np.where(begun, rows.prior, 0.0), np.isfinite(rows.start_s), rows.series
    view: dict[str, Any] = {"bounds_um": bounds_um, "shape": shape}
    sure, sure_of = _outlines(rows, bounds_um, certain=True)
    may, may_of = _outlines(rows, bounds_um, certain=False)
    lower, upper = np.nan_to_num(rows.dose) * least, np.nan_to_num(rows.most_dose) * most
    given = possible = _covered(sure, lower[sure_of], **view)
    # Where all is known, which is common, there is nothing to draw a second time.
    if [*map(id, may)] != [*map(id, sure)] or not np.array_equal(upper, lower):
        possible = _covered(may, upper[may_of], **view)
    certain = _with_prior(
        given, sure, lower[sure_of], prior=prior[sure_of], timed=timed[sure_of], view=view
    )
    possible = possible + _beside(
        may, upper[may_of], prior=prior[may_of], series=series[may_of], view=view
    )
    unknown = np.zeros(shape, dtype=np.int64)
    known = np.isfinite(rows.most_dose)
    vague = [n for n, of in enumerate(may_of) if not known[of] and most[of] > 0]
    x, y, starts = _in_pixels([may[n] for n in vague], bounds_um, shape)
    x0, y0, x1, y1 = bounds_um
    count(x, y, starts, unknown)
    possible = np.where(unknown > 0, np.nan, np.maximum(possible, certain))
    return DoseMap(
        dose_e_per_a2=certain,
        at_most_e_per_a2=possible,
        unknown=unknown,
        bounds_um=(float(x0), float(y0), float(x1), float(y1)),
    )


def _with_prior(
    given: np.ndarray,
    outlines: Sequence[np.ndarray],
    dose: np.ndarray,
    *,
    prior: np.ndarray,
    timed: np.ndarray,
    view: dict[str, Any],
) -> np.ndarray:
    """Return what is certain of sums that are `given`, as `accumulated` has it at one place."""
    if not prior.any():
        return given
    # One without a time has all that came before it and its own dose, and nothing else for certain.
    stated = np.where(timed, prior, np.where(prior > 0, prior + dose, 0.0))
    raised = _covered(outlines, np.where(timed, dose, 0.0), prior=stated, **view)
    more: np.ndarray = np.maximum(given, raised)
    return more


def _beside(
    outlines: Sequence[np.ndarray],
    dose: np.ndarray,
    *,
    prior: np.ndarray,
    series: np.ndarray,
    view: dict[str, Any],
) -> np.ndarray:
    """Return what stated prior doses may count beside the exposures that are known."""
    beside = np.zeros(view["shape"])
    if not prior.any():
        return beside
    alone = np.bincount(series)[series] == 1
    first = [outlines[n] for n in np.flatnonzero(alone).tolist()]
    beside += _covered(first, np.zeros(len(first)), prior=prior[alone], **view)
    for number in np.unique(series[(prior > 0) & ~alone]):
        its = np.flatnonzero(series == number)
        polygons = [outlines[n] for n in its.tolist()]
        raised = _covered(polygons, dose[its], prior=prior[its], **view)
        beside = np.maximum(beside, raised - _covered(polygons, dose[its], **view))
    return beside


def _outlines(
    rows: Rows, bounds_um: Sequence[float], *, certain: bool
) -> tuple[list[np.ndarray], np.ndarray]:
    """Return what exposures certainly cover, or may cover within bounds; and of which."""
    x0, y0, x1, y1 = bounds_um
    everything = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], dtype=float)
    outlines: list[np.ndarray] = []
    numbers: list[int] = []
    exact = (rows.uncertain == 0) & (rows.lit | certain)
    for n, (outline, known) in enumerate(zip(rows.footprint, exact.tolist(), strict=True)):
        made, spare = outline, float(rows.uncertain[n])
        if outline is None or not known:
            if certain:
                usable = outline is not None and np.isfinite(spare)
                made = shrunk(outline, spare) if usable and outline is not None else None
            else:
                made = everything if rows.everywhere[n] else reached(rows, n, spare)
        if made is not None:
            outlines.append(made)
            numbers.append(n)
    return outlines, np.array(numbers, dtype=np.int64)

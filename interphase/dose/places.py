"""The place within a region where overlapping footprints add up to most, found exactly."""

from collections.abc import Callable, Sequence

import numpy as np

MOST_STEPS = 2000
"""Regions looked at before the search settles for the best place found so far."""
_SLIVER = 1e-9
"""Regions smaller than this part of the whole are rounding."""


def fullest(
    region_um: np.ndarray,
    polygons_um: Sequence[np.ndarray],
    value: Callable[[np.ndarray], float],
    *,
    beat: float = -np.inf,
) -> tuple[tuple[float, float] | None, float, bool]:
    """Return the place of a region where what the polygons that hold it are worth is largest.

    Parameters
    ----------
    region_um
        Corners of the region, shape (V, 2) [µm].
    polygons_um
        The polygons, each of shape (V, 2) [µm].
    value
        What some polygons together are worth, given which, shape (N,); more of them are never
        worth less.
    beat
        A value that the place must exceed to be looked for.

    Returns
    -------
    place_um : tuple of float or None
        A place (x, y) within the piece of the largest value [µm]; ``None`` where none exceeds
        `beat`.
    value : float
        Its value, or `beat`.
    complete : bool
        Whether no other place can have a larger value; the search ends after `MOST_STEPS`.

    Notes
    -----
    Branch and bound: the region is cut along one polygon after the other, and a part is left out
    where all polygons that still reach it would not be worth more than the best place known.

    Examples
    --------
    >>> square = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)])
    >>> place, most, complete = fullest(square, [square + 0.5, square - 0.25], np.sum)
    >>> place, int(most), complete
    ((0.625, 0.625), 2, True)
    """
    import shapely

    origin = region_um.mean(axis=0)
    region = shapely.Polygon(region_um - origin)
    shapes = np.array([shapely.Polygon(polygon - origin) for polygon in polygons_um], dtype=object)
    shapely.prepare(shapes)
    smallest = _SLIVER * region.area
    place, best, complete, steps = None, beat, True, 0
    left = [(region, np.zeros(len(shapes), dtype=bool), np.arange(len(shapes)))]
    while left:
        part, inside, undecided = left.pop()
        steps += 1
        shapely.prepare(part)
        undecided = undecided[shapely.intersects(shapes[undecided], part)]
        around = shapely.covers(shapes[undecided], part)
        inside = inside.copy()
        inside[undecided[around]] = True
        undecided = undecided[~around]
        hoped = inside.copy()
        hoped[undecided] = True
        if value(hoped) <= best + 1e-12 * abs(best):
            continue
        if len(undecided) and steps <= MOST_STEPS:
            first, others = shapes[undecided[0]], undecided[1:]
            held = inside.copy()
            held[undecided[0]] = True
            for cut, known in (
                (shapely.difference(part, first), inside),
                (shapely.intersection(part, first), held),
            ):
                if cut.area > smallest:
                    left.append((cut, known, others))
            continue
        point = shapely.point_on_surface(part)
        if len(undecided):
            complete = False
            inside[undecided] = shapely.contains(shapes[undecided], point)
        if value(inside) > best:
            place, best = (float(point.x + origin[0]), float(point.y + origin[1])), value(inside)
    return place, float(best), complete


def shrunk(polygon_um: np.ndarray, by_um: float) -> np.ndarray | None:
    """Return what a polygon covers however it is shifted by up to `by_um` [µm], if anything."""
    if by_um == 0:
        return polygon_um
    return _largest(polygon_um, -by_um)


def grown(polygon_um: np.ndarray, by_um: float) -> np.ndarray:
    """Return an outline of all that a polygon covers where it is shifted by up to `by_um` [µm]."""
    larger = polygon_um if by_um == 0 else _largest(polygon_um, by_um)
    return polygon_um if larger is None else larger


def _largest(polygon_um: np.ndarray, by_um: float) -> np.ndarray | None:
    import shapely

    origin = polygon_um.mean(axis=0)
    moved = shapely.Polygon(polygon_um - origin).buffer(by_um, join_style="mitre")
    parts = [part for part in shapely.get_parts(moved) if part.area > 0]
    if not parts:
        return None
    corners: np.ndarray = shapely.get_coordinates(max(parts, key=lambda part: part.area).exterior)
    outline: np.ndarray = corners[:-1] + origin
    return outline


def overlap_um2(polygons_um: Sequence[np.ndarray], region_um: np.ndarray) -> np.ndarray:
    """Return the area that each polygon has in common with a region, shape (N,) [µm²]."""
    import shapely

    origin = region_um.mean(axis=0)
    made = [shapely.Polygon(polygon - origin) for polygon in polygons_um]
    common = shapely.intersection(made, shapely.Polygon(region_um - origin))
    areas: np.ndarray = np.atleast_1d(shapely.area(common))
    return areas

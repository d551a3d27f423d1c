"""Contours of masks, distances from them, and where normals meet them."""

from collections.abc import Sequence

import numpy as np

# Standard deviation of the blur that takes the steps of pixels off a contour [pixels]. A disc of
# radius R shrinks by its square over 2 R.
SMOOTH = 1.0
# Pieces of a contour that are looked at for the point nearest to a place.
NEIGHBOURS = 3


def mask_contours(mask: np.ndarray, *, pixel_size_a: float) -> list[np.ndarray]:
    """Return the lines between the pixels of a mask and those beside it, one for each.

    The frame is no line: a contour that meets it is open.

    Parameters
    ----------
    mask
        ndarray of shape (M, N), bool.
    pixel_size_a
        Size of a pixel [Å].

    Returns
    -------
    list of ndarray
        Points (y, x) [Å] of each, shape (n, 2), with the mask on one and the same side throughout.

    Examples
    --------
    >>> (line,) = mask_contours(np.arange(20) < np.full((9, 1), 6), pixel_size_a=2.0)
    >>> bool(np.allclose(line[:, 1], 11.0))
    True
    """
    from scipy.ndimage import gaussian_filter
    from skimage.measure import find_contours

    if mask.all() or not mask.any():
        return []
    smooth = gaussian_filter(mask.astype(float), SMOOTH, mode="nearest")
    # What one pixel wide islands and holes leave is no surface.
    lines: list[np.ndarray] = find_contours(smooth, 0.5)  # type: ignore[no-untyped-call]
    return [line * pixel_size_a for line in lines if len(line) > 8]


def signed_distance(
    inside: np.ndarray, contours: Sequence[np.ndarray], *, pixel_size_a: float
) -> np.ndarray:
    """Return how far each pixel is from contours, below 0 inside.

    The distance is that from the lines, not from the pixels beside them, so that it holds to a
    small part of a pixel.

    Parameters
    ----------
    inside
        Which pixels are inside, shape (M, N).
    contours
        Points (y, x) [Å], each of shape (n, 2).
    pixel_size_a
        Size of a pixel [Å].

    Returns
    -------
    ndarray
        Distances [Å], shape (M, N).

    Examples
    --------
    >>> line = [np.array([[-9.0, 5.5], [9.0, 5.5]])]
    >>> signed_distance(np.arange(8) < np.full((1, 1), 6), line, pixel_size_a=1.0)[0, 4:].tolist()
    [-1.5, -0.5, 0.5, 1.5]
    """
    points = np.indices(inside.shape).reshape(2, -1).T * float(pixel_size_a)
    distance = np.sqrt(nearest(points, contours)[0]).reshape(inside.shape)
    return np.asarray(np.where(inside, -distance, distance))


def nearest(
    points: np.ndarray, contours: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the squared distance of points from contours, which is nearest, and where along it.

    Parameters
    ----------
    points
        Places (y, x) [Å], shape (P, 2).
    contours
        Points (y, x) [Å], each of shape (n, 2).

    Returns
    -------
    squared, which, along
        Squared distance [Å²], index of the contour, and length along it from its first point [Å];
        each of shape (P,).
    """
    from scipy.spatial import KDTree

    start = np.concatenate([line[:-1] for line in contours])
    step = np.concatenate([np.diff(line, axis=0) for line in contours])
    length = np.linalg.norm(step, axis=1)
    which = np.repeat(np.arange(len(contours)), [len(line) - 1 for line in contours])
    offset = np.concatenate([arc_length(line)[:-1] for line in contours])
    # Pieces are cut to like lengths, so that the nearest point is on one of those whose middles are
    # nearest.
    cuts = np.maximum(np.ceil(length / np.median(length)), 1).astype(int)
    piece = np.repeat(np.arange(len(start)), cuts)
    share = (np.arange(len(piece)) - np.repeat(np.cumsum(cuts) - cuts, cuts) + 0.5) / cuts[piece]
    middles = start[piece] + share[:, None] * step[piece]
    neighbours = min(NEIGHBOURS, len(middles))
    _, found = KDTree(middles).query(points, k=range(1, neighbours + 1))
    best = np.full(len(points), np.inf)
    best_which, best_along = np.zeros(len(points), dtype=int), np.zeros(len(points))
    for index in piece[found].T:
        vector = points - start[index]
        squared = np.maximum(length[index] ** 2, 1e-30)
        at = np.clip(np.einsum("pi,pi->p", vector, step[index]) / squared, 0, 1)
        off = np.square(vector - at[:, None] * step[index]).sum(axis=1)
        nearer = off < best
        best[nearer] = off[nearer]
        best_which[nearer] = which[index[nearer]]
        best_along[nearer] = (offset[index] + at * length[index])[nearer]
    return best, best_which, best_along


def arc_length(line: np.ndarray) -> np.ndarray:
    """Return the length along a contour up to each of its points [Å].

    >>> arc_length(np.array([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]])).tolist()
    [0.0, 5.0, 6.0]
    """
    return np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])


def is_closed(line: np.ndarray) -> bool:
    """Return whether a contour ends where it begins."""
    return len(line) > 3 and bool(np.allclose(line[0], line[-1]))


def resampled(line: np.ndarray, step_a: float) -> tuple[np.ndarray, np.ndarray]:
    """Return points of a contour at even distances.

    Parameters
    ----------
    line
        Points (y, x) [Å], shape (n, 2).
    step_a
        Distance wanted [Å]; it comes out so that a whole number fits.

    Returns
    -------
    along, points
        Length along the contour [Å], shape (R,), and points (y, x) [Å], shape (R, 2), each in the
        middle of its step.

    Examples
    --------
    >>> along, points = resampled(np.array([[0.0, 0.0], [0.0, 9.0]]), 3.0)
    >>> along.tolist(), points[0].tolist()
    ([1.5, 4.5, 7.5], [0.0, 1.5])
    """
    arc = arc_length(line)
    count = max(round(arc[-1] / step_a), 2)
    along = (np.arange(count) + 0.5) * arc[-1] / count
    return along, np.stack([np.interp(along, arc, line[:, i]) for i in (0, 1)], axis=1)


def normals(points: np.ndarray, *, closed: bool, smooth: float) -> np.ndarray:
    """Return the unit normals of a contour, a quarter turn from its direction.

    Parameters
    ----------
    points
        Points (y, x) at even distances [Å], shape (R, 2).
    closed
        Whether the last is the neighbour of the first.
    smooth
        Points over which the direction is averaged (standard deviation): the normal of the line
        as it runs, without its roughness.

    Returns
    -------
    ndarray
        Shape (R, 2); on the left of who follows the contour with y downwards and x to the right.

    Examples
    --------
    >>> line = np.stack([np.arange(5.0), np.zeros(5)], axis=1)
    >>> normals(line, closed=False, smooth=1.0)[2].tolist()
    [-0.0, 1.0]
    """
    from scipy.ndimage import gaussian_filter1d

    if closed:
        steps = np.roll(points, -1, axis=0) - np.roll(points, 1, axis=0)
    else:
        steps = np.gradient(points, axis=0)
    steps = gaussian_filter1d(
        steps, max(smooth, 1e-3), axis=0, mode="wrap" if closed else "nearest"
    )
    unit = steps / np.maximum(np.linalg.norm(steps, axis=1, keepdims=True), 1e-30)
    return np.stack([-unit[:, 1], unit[:, 0]], axis=1)


def hits(points: np.ndarray, directions: np.ndarray, contours: Sequence[np.ndarray]) -> np.ndarray:
    """Return how far rays run before they first meet a contour.

    Parameters
    ----------
    points, directions
        Where rays start (y, x) [Å], and their unit vectors, each of shape (P, 2).
    contours
        Points (y, x) [Å], each of shape (n, 2).

    Returns
    -------
    ndarray
        Distance [Å], shape (P,); infinite where a ray meets none.

    Examples
    --------
    >>> wall = [np.array([[-5.0, 7.0], [5.0, 7.0]])]
    >>> hits(np.array([[0.0, 2.0]]), np.array([[0.0, 1.0]]), wall).tolist()
    [5.0]
    """
    first = np.full(len(points), np.inf)
    if not contours:
        return first
    start = np.concatenate([line[:-1] for line in contours])
    step = np.concatenate([np.diff(line, axis=0) for line in contours])
    for i, (place, ray) in enumerate(zip(points, directions, strict=True)):
        cross = ray[0] * step[:, 1] - ray[1] * step[:, 0]
        way = start - place
        with np.errstate(divide="ignore", invalid="ignore"):
            far = (way[:, 0] * step[:, 1] - way[:, 1] * step[:, 0]) / cross
            share = (way[:, 0] * ray[1] - way[:, 1] * ray[0]) / cross
        # A ray may run through the point at which two pieces join.
        met = (far >= 0) & (share >= -1e-9) & (share <= 1 + 1e-9)
        if met.any():
            first[i] = far[met].min()
    return first

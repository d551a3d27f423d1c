"""The interphase rolled out along its surface, and chance drawn over its columns.

A column is what lies above one place of the surface. Columns of one crystallite are alike, so that
an interval comes from resampling whole blocks of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from interphase.errors import ParameterError
from interphase.morphology.contours import arc_length, nearest

AMORPHOUS = -1
"""Label of a pixel in which nothing is periodic."""
UNKNOWN = -2
"""Label of a pixel that was not seen: it counts nowhere."""

# A map is rolled out into no more columns and rows than this.
_MOST = 400
# Standard deviation of the smoothing of the depth before its contour is drawn [px].
_SMOOTH = 2.0
# Fewer independent lengths of surface bound nothing.
LEAST = 3.0
# 97.5 % point of the normal distribution.
Z = 1.959963984540054


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number with its 95 % interval, or the reason why there is none."""

    value: float
    """The number; NaN where the image does not hold it."""
    low: float
    """Lower end of the interval; NaN where it is not known."""
    high: float
    """Upper end; NaN where it is not known, infinite where nothing bounds it."""
    number: float
    """How many independent things it rests on: lengths of surface, or crystallites."""
    p_value: float | None = None
    """Probability of a value as extreme by chance; ``None`` where there is no such question."""
    reason: str = ""
    """What is missing, or how the number has to be read."""

    @classmethod
    def missing(cls, reason: str, *, number: float = 0.0) -> "Estimate":
        """Return a number that could not be measured, with the reason."""
        return cls(value=np.nan, low=np.nan, high=np.nan, number=number, reason=reason)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Unrolled:
    """A map as depth against place on the surface."""

    source: np.ndarray
    """Flat index of the pixel in each cell, -1 where there is none, shape (D, S)."""
    depth_a: np.ndarray
    """Depth of the rows [Å], shape (D,)."""
    step_a: float
    """Size of a cell along and across [Å]."""
    column: np.ndarray
    """Column of each pixel, -1 outside, shape (M, N)."""

    @property
    def length_a(self) -> float:
        """Length of the surface in view [Å]."""
        return float(self.source.shape[1] * self.step_a)

    def take(self, values: np.ndarray, *, fill: float) -> np.ndarray:
        """Return a map (M, N) rolled out, shape (D, S), `fill` where there is no pixel."""
        return np.where(self.source >= 0, np.ravel(values)[self.source], fill)

    def one_hot(self, labels: np.ndarray, phases: int) -> np.ndarray:
        """Return which class each cell has, shape (phases + 1, D, S) of bool, amorphous last."""
        cells = self.take(labels, fill=UNKNOWN)
        classes = np.array([*range(phases), AMORPHOUS])
        return np.asarray(cells == classes[:, None, None])

    def bins(self, depth_a: np.ndarray, bin_a: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the depth bin of each cell, shape (D, S), -1 for none, and their middles [Å]."""
        there = self.source >= 0
        # Depths that are the same but for rounding belong to the same bin.
        at = np.floor(self.take(depth_a, fill=0.0) / bin_a + 1e-9)
        found, index = np.unique(at[there], return_inverse=True)
        cells = np.full(there.shape, -1)
        cells[there] = index
        return cells, (found + 0.5) * bin_a


def sum_bins(values: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return sums over the cells of each bin and column.

    Parameters
    ----------
    values
        Shape (K, D, S).
    cells
        Bin of each cell, -1 for none, shape (D, S).

    Returns
    -------
    ndarray
        Shape (K, B, S).
    """
    rows, columns = np.nonzero(cells >= 0)
    shape = (int(cells.max()) + 1, cells.shape[1])
    flat = cells[rows, columns] * shape[1] + columns
    sums = [np.bincount(flat, v[rows, columns], minlength=shape[0] * shape[1]) for v in values]
    return np.reshape(sums, (len(values), *shape))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Resampling:
    """How often each column is drawn, and what the spread of such draws is worth."""

    weights: np.ndarray
    """Number of times that each column is drawn, shape (R, S)."""
    number: float
    """Independent lengths of surface."""
    scale: float
    """What deviations are multiplied by: few lengths spread less than they should."""
    block: int
    """Columns of a block."""
    rho: np.ndarray
    """Correlation of columns at lags from 0, up to its first zero, shape (L,)."""

    @property
    def enough(self) -> bool:
        """Whether there are independent lengths enough for an interval."""
        return self.number >= LEAST

    def interval(
        self,
        value: float,
        samples: np.ndarray,
        *,
        bounds: tuple[float, float] = (-np.inf, np.inf),
        p_value: float | None = None,
        reason: str = "",
    ) -> Estimate:
        """Return a number with the interval of its resampled deviations, within bounds."""
        good = samples[np.isfinite(samples)]
        low = high = np.nan
        if self.enough and len(good) > len(samples) / 2:
            low, high = np.clip(np.quantile(self.spread(value, good), [0.025, 0.975]), *bounds)
        elif not reason:
            reason = f"no interval: the surface in view is {self.number:.1f} independent lengths"
        return Estimate(
            value=float(value),
            low=float(low),
            high=float(high),
            number=self.number,
            p_value=p_value,
            reason=reason,
        )

    def spread(self, value: float, samples: np.ndarray) -> np.ndarray:
        """Return samples about a value as far apart as intervals take them to be."""
        finite = np.isfinite(samples)
        middle = samples[finite].mean() if finite.any() else 0.0
        return np.where(finite, value + self.scale * (samples - middle), samples)

    def share_interval(
        self, value: np.ndarray, samples: np.ndarray, *, bins: int = 1
    ) -> np.ndarray:
        r"""Return the interval of shares from 0 to 1, shape (2, *value.shape).

        Notes
        -----
        Jeffreys' interval [1]_ with the number of trials :math:`n = p(1-p)/\sigma^2` that explains
        the spread of the samples [2]_; where they do not spread, that of independent lengths in
        each of so many bins of depth.

        References
        ----------
        .. [1] L. D. Brown, T. T. Cai, A. DasGupta, Stat. Sci. 16, 101 (2001),
               doi:10.1214/ss/1009213286
        .. [2] E. L. Korn, B. I. Graubard, Surv. Methodol. 24, 193 (1998)
        """
        from scipy.special import betaincinv

        if not self.enough:
            return np.full((2, *value.shape), np.nan)
        variance = np.var(samples, axis=0) * self.scale**2
        p = np.clip(value, 0.0, 1.0)
        spread = p * (1 - p)
        trials = np.where(
            (variance > 0) & (spread > 0), spread / np.maximum(variance, 1e-300), self.number * bins
        )
        hits, misses = trials * p, trials * (1 - p)
        low = np.where(p > 0, betaincinv(hits + 0.5, misses + 0.5, 0.025), 0.0)
        high = np.where(p < 1, betaincinv(hits + 0.5, misses + 0.5, 0.975), 1.0)
        return np.where(np.isfinite(value), np.stack([low, high]), np.nan)


def check_maps(
    labels: np.ndarray,
    *,
    names: Sequence[str],
    depth_a: np.ndarray,
    inside: np.ndarray,
    pixel_size_a: float,
    bin_a: float,
) -> None:
    """Raise where the maps of an interphase do not fit each other."""
    label, mask = np.asarray(labels), np.asarray(inside)
    shapes = {label.shape, np.shape(depth_a), mask.shape}
    if len(shapes) != 1 or label.ndim != 2:
        raise ParameterError(
            f"labels, depth_a and inside have shapes {label.shape}, {np.shape(depth_a)} and "
            f"{mask.shape}: expected one, (M, N)"
        )
    if label.dtype.kind not in "iu" or mask.dtype != bool:
        raise ParameterError(
            f"labels are {label.dtype} and inside is {mask.dtype}: expected integers and bool"
        )
    if label.size and not (label.min() >= UNKNOWN and label.max() < len(names)):
        raise ParameterError(
            f"labels go from {label.min()} to {label.max()} with {len(names)} names: expected "
            f"{UNKNOWN} (unknown), {AMORPHOUS} (amorphous) or the index of a name"
        )
    if len(set(names)) != len(names) or "amorphous" in names:
        raise ParameterError(
            f"names are {list(names)}: expected different ones, none of them 'amorphous', which is "
            f"label {AMORPHOUS}"
        )
    for name, size in {"pixel_size_a": pixel_size_a, "bin_a": bin_a}.items():
        if not 0 < size < np.inf:
            raise ParameterError(f"{name} is {size!r} Å: expected a finite number above 0")


def smooth_depth(depth_a: np.ndarray) -> np.ndarray:
    """Return the depth without the steps of its pixels [Å], for contours and normals."""
    from scipy.ndimage import distance_transform_edt, gaussian_filter

    depth = np.asarray(depth_a, dtype=float)
    known = np.isfinite(depth)
    if not known.all():
        nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
        depth = depth[tuple(nearest)]
    return np.asarray(gaussian_filter(depth, _SMOOTH, mode="nearest"))


def place_along_surface(
    depth_a: np.ndarray, *, inside: np.ndarray, pixel_size_a: float
) -> np.ndarray:
    """Return where on the electrode's surface the foot of each pixel is.

    Parameters
    ----------
    depth_a
        Distance from the surface [Å], shape (M, N); best known outside of the interphase, too.
    inside
        The interphase, shape (M, N) of bool.
    pixel_size_a
        Size of a pixel [Å].

    Returns
    -------
    ndarray
        Length along the contour of depth 0 up to the point nearest to the pixel [Å], shape (M, N);
        NaN outside of the interphase. Several surfaces are put one after the other. Where depth 0
        is not in view, the contour at the least depth inside.

    Raises
    ------
    ParameterError
        Nothing is inside, or the depth has no contour.

    Examples
    --------
    >>> depth = np.tile(np.arange(-3.5, 4.0)[:, None], (1, 5))
    >>> along = place_along_surface(depth, inside=depth > 0, pixel_size_a=1.0)
    >>> np.sort(along[5]).round(6).tolist()
    [0.0, 1.0, 2.0, 3.0, 4.0]
    """
    from skimage.measure import find_contours

    depth, mask = smooth_depth(depth_a), np.asarray(inside, dtype=bool)
    if not mask.any():
        raise ParameterError("inside holds no pixel: give the mask of an interphase in view")
    level = 0.0
    if not depth.min() < 0 < depth.max():
        level = depth[mask].min() + pixel_size_a / 2
    lines = [line * float(pixel_size_a) for line in find_contours(depth, level)]  # type: ignore[no-untyped-call]
    if not lines:
        raise ParameterError(
            f"depth_a goes from {depth.min():.4g} to {depth.max():.4g} Å and has no contour at "
            f"{level:.4g} Å: give the distance from the electrode's surface, or along_a"
        )
    _, which, place = nearest(np.argwhere(mask) * float(pixel_size_a), lines)
    ends = np.cumsum([0.0, *(arc_length(line)[-1] + pixel_size_a for line in lines)])
    along = np.full(mask.shape, np.nan)
    along[mask] = place + ends[which]
    return along


def unroll(
    *,
    depth_a: np.ndarray,
    inside: np.ndarray,
    pixel_size_a: float,
    along_a: np.ndarray | None = None,
) -> Unrolled:
    """Return which pixel lies at each depth above each place of the surface.

    Parameters
    ----------
    depth_a
        Distance from the surface [Å], shape (M, N).
    inside
        The interphase, shape (M, N) of bool.
    pixel_size_a
        Size of a pixel [Å].
    along_a
        Place along the surface [Å], shape (M, N), where it is known better than
        `place_along_surface` tells it.

    Returns
    -------
    Unrolled
        Cells of a pixel, or larger ones where the surface is longer than 400 pixels.

    Raises
    ------
    ParameterError
        Nothing is inside, or a place or depth inside is no number.

    Examples
    --------
    >>> depth = np.tile(np.arange(-3.5, 4.0)[:, None], (1, 5))
    >>> unroll(depth_a=depth, inside=depth > 0, pixel_size_a=1.0).source.shape
    (4, 5)
    """
    from scipy.spatial import cKDTree

    mask, depth = np.asarray(inside, dtype=bool), np.asarray(depth_a, dtype=float)
    if along_a is None:
        along_a = place_along_surface(depth, inside=mask, pixel_size_a=pixel_size_a)
    places = np.column_stack([depth[mask], np.asarray(along_a, dtype=float)[mask]])
    if not len(places) or not np.isfinite(places).all():
        raise ParameterError(
            f"{len(places)} pixels are inside, {np.isfinite(places).all(axis=1).sum()} of them "
            "with a finite depth_a and along_a: expected all of at least one"
        )
    first, last = places.min(axis=0), places.max(axis=0)
    step = max(float(pixel_size_a), float((last - first).max()) / _MOST)
    rows, columns = (np.floor((last - first) / step + 0.5).astype(int) + 1).tolist()
    cells = first + step * np.indices((rows, columns)).reshape(2, -1).T
    far, found = cKDTree(places).query(cells, distance_upper_bound=step)
    flat = np.append(np.flatnonzero(mask), -1)
    source = np.where(np.isfinite(far), flat[found], -1).reshape(rows, columns)
    used = (source >= 0).any(axis=0)
    index = np.where(used, np.cumsum(used) - 1, -1)
    column = np.full(mask.shape, -1)
    column[mask] = index[np.floor((places[:, 1] - first[1]) / step + 0.5).astype(int)]
    return Unrolled(
        source=source[:, used],
        depth_a=first[0] + step * np.arange(rows),
        step_a=step,
        column=column,
    )


def lag_sums(
    x: np.ndarray, seen: np.ndarray, *, lags: int, axis: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return sums of products of cells some lag apart, by column, and the number of pairs.

    Parameters
    ----------
    x
        Values, shape (K, D, S), 0 where unseen; products are summed over K.
    seen
        Which cells count, shape (D, S).
    lags
        Number of lags, from 0.
    axis
        0: along depth. 1: along the surface.

    Returns
    -------
    products, pairs
        Shape (S, lags), of the column in which the first of a pair lies.
    """
    size, columns = seen.shape[axis], seen.shape[1]
    products, pairs = np.zeros((columns, lags)), np.zeros((columns, lags))
    count = seen.astype(float)
    for lag in range(lags):
        here, there = [slice(None)] * 2, [slice(None)] * 2
        here[axis], there[axis] = slice(0, size - lag), slice(lag, size)
        h, t = tuple(here), tuple(there)
        product = np.einsum("kds,kds->s", x[:, *h], x[:, *t])
        products[: len(product), lag] = product
        pairs[: len(product), lag] = np.einsum("ds,ds->s", count[h], count[t])
    return products, pairs


def resample_columns(
    one_hot: np.ndarray, *, least: int, replicates: int, rng: np.random.Generator
) -> Resampling:
    r"""Return draws of blocks of columns that keep what neighbouring columns share.

    Parameters
    ----------
    one_hot
        Class of each cell, shape (K, D, S) of bool.
    least
        Columns that a block has at least.
    replicates
        Number of draws.
    rng
        Source of randomness.

    Returns
    -------
    Resampling
        Circular blocks [1]_.

    Notes
    -----
    A block is as long as the integral of the autocorrelation
    :math:`\tau = 1 + 2\sum_\Delta \rho(\Delta)` up to its first zero, of what depth does not
    explain. Deviations are divided by the root of the variance that such blocks keep
    (`variance_kept`), and multiplied by Student's quantile over the normal one with the number of
    lengths less 1.

    References
    ----------
    .. [1] D. N. Politis, J. P. Romano, in Exploring the Limits of Bootstrap, p. 263 (1992)
    """
    from scipy.stats import t as student

    seen = np.asarray(one_hot.any(axis=0))
    columns = seen.shape[1]
    rest = (one_hot - _row_means(one_hot)) * seen
    products, pairs = (
        a.sum(axis=0) for a in lag_sums(rest, seen, lags=max(columns // 2, 1), axis=1)
    )
    rho = np.ones(1)
    if products[0] > 1e-9:
        rho = _until_zero(products / np.maximum(pairs, 1) / (products[0] / pairs[0]))
        # Rows lost their mean, and each correlation as much as it varies.
        lost = (1 + 2 * rho[1:].sum()) / columns
        whole = products / np.maximum(pairs, 1) / (products[0] / pairs[0])
        rho = _until_zero((whole + lost) / (1 + lost))
    tau = 1 + 2 * rho[1:].sum()
    block = int(np.clip(np.ceil(max(tau, least)), 1, columns))
    kept = variance_kept(rho, block)
    number = float(columns / max(tau, least))
    quantile = student.ppf(0.975, max(number - 1, 1.0))
    many = -(-columns // block)
    starts = rng.integers(columns, size=(replicates, many, 1))
    drawn = ((starts + np.arange(block)) % columns).reshape(replicates, -1)[:, :columns]
    weights = np.zeros((replicates, columns))
    np.add.at(weights, (np.arange(replicates)[:, None], drawn), 1.0)
    return Resampling(
        weights=weights,
        number=number,
        scale=float(quantile / Z / np.sqrt(kept)),
        block=block,
        rho=rho,
    )


def variance_kept(rho: np.ndarray, block: int) -> float:
    r"""Return how much of the variance of a mean over columns blocks of them keep.

    :math:`\sum (1 - |\Delta|/b)\,\rho / \sum\rho`.

    >>> variance_kept(np.array([1.0, 0.5]), 2)
    0.75
    """
    short = np.maximum(1 - np.arange(len(rho)) / block, 0)
    return float((2 * short @ rho - 1) / (2 * rho.sum() - 1))


def _until_zero(rho: np.ndarray) -> np.ndarray:
    """Return correlations up to their first zero."""
    ends = np.flatnonzero(rho <= 0)
    return rho[: ends[0]] if len(ends) else rho


def _row_means(one_hot: np.ndarray) -> np.ndarray:
    """Return the share of each class in each row, shape (K, D, 1)."""
    many = np.maximum(one_hot.any(axis=0).sum(axis=1), 1)
    return np.asarray((one_hot.sum(axis=2) / many)[..., None])

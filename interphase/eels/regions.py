"""Which parts of a map differ by more than noise: regions of like spectra, with gaps between them.

Spectra are compared by their shapes, as points in the space of the components above the noise.
Regions are where these points crowd. What changes gradually, a wedge for one, fills the space
between evenly and stays one region.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from interphase.assessment import Assessment
from interphase.eels.checks import blocks, check_number, check_spectra, usable
from interphase.eels.decomposition import decompose
from interphase.errors import ParameterError

# Density between two crowds, over that of the lesser, below which there is a gap between them. A
# working value: a half cuts wedges that another region covers in part.
_VALLEY = 0.25
# Share of the standard deviation that neighbours have in common which noise may have.
_NOISE = 0.5
# Widest average, as a share of the map's shorter side.
_WIDEST = 0.08
# Standard errors by which a quantity must vary more than its noise.
_VARIES = 5.0
# Components that are looked for, normal laws that their density may have, and pixels it is of.
_COMPONENTS, _LAWS, _POINTS = 8, 24, 4000


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpectralRegions:
    """The parts of a map whose spectra differ by more than noise, with a gap between them."""

    labels: np.ndarray
    """Region of each pixel, the largest is 0, shape (M, N); -1 where a spectrum is unusable."""
    number: int
    """Number of regions R."""
    spectra: np.ndarray
    """Sum of each region's spectra [counts], shape (R, E)."""
    pixels: np.ndarray
    """Number of pixels of each, shape (R,)."""
    components: int
    """Number of components, or of quantities, that vary by more than noise."""
    smoothing_px: float
    """Widest standard deviation of the averages of neighbours that were compared [px]; regions
    narrower than some of these are not seen."""
    assessment: Assessment
    """``ok``; ``ambiguous``: spectra differ, but gradually, or too little to tell where;
    ``uncalibrated``: the noise is not that of gain and read noise; ``too_few_electrons``;
    ``unusable``."""
    sentence: str
    """The same in words."""


def find_regions(
    counts: Any,
    *,
    rng: np.random.Generator,
    gain: float = 1.0,
    read_noise: float = 0.0,
    features: np.ndarray | None = None,
    feature_errors: np.ndarray | None = None,
    most: int = 6,
    least_pixels: int = 12,
) -> SpectralRegions:
    r"""Return the parts of a map that differ by more than noise.

    A region may be in several places. Spectra are compared by their shapes, so that a thickness
    that only multiplies them makes none; steps of thickness that change their shapes do. Not for
    a change without a gap between two levels, such as a wedge or a gradient: it stays one region,
    and the sentence says so. Not before spectra are aligned.

    Parameters
    ----------
    counts
        Spectra as they were recorded [counts], shape (M, N, E); a Dask array is read a chunk at a
        time.
    rng
        Source of the pixels that large maps are first looked at in.
    gain
        Counts per electron.
    read_noise
        Standard deviation of the read noise [counts].
    features
        What pixels are compared by instead, such as thickness or areal densities, shape (M, N, F);
        pixels with NaN belong to no region.
    feature_errors
        Standard errors of the features, shape (M, N, F).
    most
        Largest number of regions.
    least_pixels
        Fewest pixels of a region.

    Returns
    -------
    SpectralRegions
        Labels, the sum of each region's spectra, and what they are worth.

    Raises
    ------
    ParameterError
        Shapes do not fit, or a number is out of range.

    Notes
    -----
    Pixels are points: their amounts of each component above the noise over their counts, where
    neighbours have these in common. Each is averaged by a Gaussian, as narrow as brings its noise
    below half of what neighbours have in common and no wider than 8 % of the map's shorter
    side. The density of the points, and of places between pixels, is a sum of normal laws, as
    many as Schwarz's criterion takes [1]_. Two maxima of it are two regions if the density falls
    below a quarter of the lesser on every path along ridges from law to law, after [2]_. A
    quarter allows for what is not spread evenly along a wedge. The place of a border is known to
    about the width of the average; that of a blurred one is its middle. A pixel is expected to be
    of the region that those around it are of.

    Shapes are not known beforehand, so that pixels must show a difference: of 64 × 64 spectra of 60
    channels, layers 1 to 8 pixels wide whose sum differs from the rest by χ² up to 800 showed none,
    and from 1150 on they did, 2 pixels wide or more as a region once there were electrons enough.

    References
    ----------
    .. [1] C. Fraley and A. E. Raftery, J. Am. Stat. Assoc. 97, 611 (2002),
           doi:10.1198/016214502760047131
    .. [2] C. Hennig, Adv. Data Anal. Classif. 4, 3 (2010), doi:10.1007/s11634-010-0058-3

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> energy = np.linspace(0, 1, 40)
    >>> inside = (np.indices((16, 20))[1] < 8)[..., None]
    >>> found = find_regions(rng.poisson(np.where(inside, 40 * energy, 20.0)), rng=rng)
    >>> found.number, found.pixels.tolist()
    (2, [192, 128])
    """
    data = check_spectra("counts", counts)
    if data.ndim != 3 or min(data.shape) < 3:
        raise ParameterError(
            f"counts have shape {data.shape}: expected a map (rows, columns, channels) of at least "
            "3 rows and columns and 3 channels; sum a line's spectra by sum_steps"
        )
    check_number("gain", gain, 1e-9, 1e9, "counts per electron")
    check_number("read_noise", read_noise, 0, 1e9, "counts")
    for name, value in (("most", most), ("least_pixels", least_pixels)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ParameterError(f"{name} is {value!r}: expected a whole number of at least 1")
    if features is None and feature_errors is None:
        points, errors, good, assessment, note = _shapes(data, rng, gain, read_noise)
        what = "spectra"
    else:
        points, errors = _features(features, feature_errors, data.shape[:2])
        good = np.isfinite(points).all(axis=-1) & np.isfinite(errors).all(axis=-1)
        assessment, note, what = Assessment.OK, "", "quantities"
    labels, components, width = _label(points, errors, good, most, least_pixels, rng)
    spectra, labels = _sum(data, labels, read_noise)
    pixels = np.bincount(labels[labels >= 0], minlength=len(spectra))
    order = np.argsort(-pixels, kind="stable")
    order = order[pixels[order] > 0]
    names = np.full(len(pixels) + 1, -1)
    names[order] = np.arange(len(order))
    number = len(order)
    if not number:
        assessment, words = Assessment.UNUSABLE, "No spectrum holds counts, and nothing but counts."
    elif number > 1:
        shares = ", ".join(f"{100 * n / pixels.sum():.3g}" for n in pixels[order])
        words = f"The map has {number} regions that differ by more than noise ({shares} % of it)."
    elif components:
        words = (
            f"The {what} differ by more than noise, but there is no gap between them: the change "
            "is gradual, in parts too small, or too little to tell where."
        )
        assessment = Assessment.AMBIGUOUS if assessment is Assessment.OK else assessment
    else:
        words = (
            "No difference is told pixel by pixel; a layer too faint or too narrow for that may be "
            "there: sum along it."
        )
    return SpectralRegions(
        labels=names[labels],
        number=number,
        spectra=spectra[order],
        pixels=pixels[order],
        components=components,
        smoothing_px=width,
        assessment=assessment,
        sentence=f"{words} {note}".strip(),
    )


def _shapes(
    data: Any, rng: np.random.Generator, gain: float, read_noise: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, Assessment, str]:
    """Return each pixel's shares of the components above noise with their errors (M, N, K).

    And which pixels hold counts.
    """
    found = decompose(data, rng=rng, gain=gain, read_noise=read_noise, most=_COMPONENTS)
    total = found.maps[..., :1]
    note = "" if found.assessment is Assessment.OK else found.sentence
    points, errors = found.maps[..., 1:] / total, found.standard_error / total
    return points, errors, np.isfinite(found.maps[..., 0]), found.assessment, note


def _features(
    features: np.ndarray | None, errors: np.ndarray | None, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    if features is None or errors is None:
        raise ParameterError("features and feature_errors belong together: give both")
    points, spread = (np.asarray(a, dtype=float) for a in (features, errors))
    if points.ndim != 3 or points.shape != spread.shape or points.shape[:2] != shape:
        raise ParameterError(
            f"features and feature_errors have shapes {points.shape} and {spread.shape}: expected "
            f"{(*shape, 'F')} for both"
        )
    if (spread <= 0).any():
        raise ParameterError(f"feature_errors go down to {np.nanmin(spread):g}: expected above 0")
    return points, spread


def _label(
    points: np.ndarray,
    errors: np.ndarray,
    good: np.ndarray,
    most: int,
    least: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, int, float]:
    """Return the region of each pixel, how many quantities vary, and the widest average [px]."""
    from scipy.ndimage import gaussian_filter, uniform_filter

    labels = np.where(good, 0, -1)
    corners = _corners(good)
    one, other = np.tile(corners[0], 2), np.concatenate(corners[1:3])
    if corners.shape[1] < 2 * least:
        return labels, 0, 0.0
    scores, widths = [], []
    for point, error in zip(np.moveaxis(points, -1, 0), np.moveaxis(errors, -1, 0), strict=True):
        weight = np.where(good, np.where(good, error, 1) ** -2.0, 0)
        value = np.where(good, point, 0)
        value = np.where(good, value - (weight * value).sum() / weight.sum(), 0)
        # What neighbours have in common is no noise, whatever is thought of that.
        scaled = (np.sqrt(weight) * value).ravel()
        square, common = np.mean(scaled[good.ravel()] ** 2), np.mean(scaled[one] * scaled[other])
        if common <= _VARIES * square / np.sqrt(len(one)):
            continue
        noise = max(square - common, 1e-9 * square)
        # The deviation of noise averaged by a Gaussian of width s is 1 / (2 sqrt(pi) s) of it.
        width = np.sqrt(noise / common) / (2 * np.sqrt(np.pi) * _NOISE)
        width = 0.0 if noise < _NOISE**2 * common else min(width, _WIDEST * min(good.shape))
        known, sums = (
            gaussian_filter(a, width, mode="constant") if width else a
            for a in (weight, weight * value)
        )
        score = np.divide(sums, known, out=np.zeros(good.shape), where=known > 0)
        unit = np.sqrt(noise / np.median(weight[good])) / max(2 * np.sqrt(np.pi) * width, 1)
        scores.append(score / unit)
        widths.append(float(width))
    if not scores or most == 1:
        return labels, len(scores), max(widths, default=0.0)
    space, widest = np.stack(scores, axis=-1), max(widths)
    number = max(int(good.sum() / max(4 * np.pi * min(widths) ** 2, 1)), 2 * least)
    chosen = rng.choice(corners.shape[1], min(number, corners.shape[1], _POINTS), replace=False)
    # Places between pixels, so that the steps of a gradual change from row to row are no gaps.
    u, v = rng.random((2, len(chosen)))
    shares = np.stack([(1 - u) * (1 - v), u * (1 - v), (1 - u) * v, u * v])
    flat = space.reshape(-1, len(scores))
    laws, groups = _crowds(np.einsum("cp,cpk->pk", shares, flat[corners[:, chosen]]), most)
    if groups.max() == 0:
        return labels, len(scores), widest
    chance = np.zeros((*good.shape, groups.max() + 1))
    chance[good] = _belonging(space[good], laws, groups)
    side = 2 * int(np.ceil(widest)) + 1 if widest else 3
    around = np.stack([uniform_filter(c, side) for c in np.moveaxis(chance, -1, 0)], axis=-1)
    # In averages blurred interfaces pass by other regions: pixels follow those around them. Else
    # what is around is what to expect, and a pixel's own electrons decide.
    chance = around if widest else chance * around
    # An average spreads what is odd in a pixel over as many as this.
    least = max(least, int(8 * np.pi * widest**2))
    while True:
        labels[good] = np.argmax(chance[good], axis=-1)
        sizes = np.bincount(labels[good], minlength=chance.shape[-1])
        few = np.flatnonzero((sizes > 0) & (sizes < least))
        if not len(few) or np.count_nonzero(sizes) == 1:
            return labels, len(scores), widest
        chance[..., few[np.argmin(sizes[few])]] = -1


def _corners(good: np.ndarray) -> np.ndarray:
    """Return the indices of good pixels, of those beside, above and aslant, good too, (4, P)."""
    index = np.arange(good.size).reshape(good.shape)
    four = [np.s_[:-1, :-1], np.s_[:-1, 1:], np.s_[1:, :-1], np.s_[1:, 1:]]
    all_good = np.logical_and.reduce([good[at] for at in four])
    return np.stack([index[at][all_good] for at in four])


def _crowds(points: np.ndarray, most: int) -> tuple[Any, np.ndarray]:
    """Return normal laws of the density of points (P, K), and which crowd each law belongs to."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    laws: Any = None
    best, worse = np.inf, 0
    for number in range(1, max(min(_LAWS, len(points) // 8), 1) + 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            tried = GaussianMixture(number, reg_covar=0.05, random_state=0).fit(points)
        criterion = tried.bic(points)
        worse = 0 if criterion < best else worse + 1
        if criterion < best:
            best, laws = criterion, tried
        if worse > 2:
            break
    centres, precisions, size = laws.means_, laws.precisions_, laws.n_components
    peaks = laws.score_samples(centres)
    # The lowest density on the ridge between two laws, then on the best way over others.
    passes = np.full((size, size), -np.inf)
    share = np.linspace(0, 1, 33)[:, None, None]
    for i in range(size):
        for j in range(i):
            both = (1 - share) * precisions[i] + share * precisions[j]
            pull = (1 - share) * (precisions[i] @ centres[i])[:, None]
            pull = pull + share * (precisions[j] @ centres[j])[:, None]
            ridge = np.linalg.solve(both, pull)[..., 0]
            passes[i, j] = passes[j, i] = laws.score_samples(ridge).min()
    for k in range(size):
        passes = np.maximum(passes, np.minimum(passes[:, k, None], passes[None, k]))
    return laws, _join(peaks, passes, most)


def _belonging(points: np.ndarray, laws: Any, groups: np.ndarray) -> np.ndarray:
    """Return the probability that each point (P, K) belongs to each crowd, shape (P, R).

    Only by laws that are dense for their crowd: others are of blurred interfaces, whose middle is
    the border.
    """
    peaks = laws.score_samples(laws.means_)
    top = np.full(groups.max() + 1, -np.inf)
    np.maximum.at(top, groups, peaks)
    dense = np.flatnonzero(peaks >= top[groups] + np.log(_VALLEY) / 2)
    density = np.empty((len(points), len(dense)))
    for k, law in enumerate(dense):
        scaled = (points - laws.means_[law]) @ laws.precisions_cholesky_[law]
        volume = np.log(np.diagonal(laws.precisions_cholesky_[law])).sum()
        density[:, k] = np.log(laws.weights_[law]) + volume - (scaled**2).sum(axis=1) / 2
    share = np.exp(density - density.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    return np.asarray(share @ np.eye(len(top))[groups[dense]])


def _join(peaks: np.ndarray, passes: np.ndarray, most: int) -> np.ndarray:
    """Return the crowd of each law, from the logarithms of maxima and of the passes between.

    The lesser of two whose gap is shallowest joins the other, until all gaps are deep.
    """
    groups = np.arange(len(peaks))
    tops = list(groups)
    while len(tops) > 1:
        gaps = [
            (min(peaks[i], peaks[j]) - passes[i, j], *sorted((i, j), key=lambda k: peaks[k]))
            for a, i in enumerate(tops)
            for j in tops[:a]
        ]
        depth, lesser, other = min(gaps)
        if depth > -np.log(_VALLEY) and len(tops) <= most:
            break
        groups[groups == lesser] = other
        tops.remove(lesser)
    return np.unique(groups, return_inverse=True)[1]


def _sum(data: Any, labels: np.ndarray, read_noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of each region's spectra, and the labels without what holds no counts."""
    labels = labels.copy()
    spectra = np.zeros((max(labels.max() + 1, 0), data.shape[-1]))
    for where, block in blocks(data):
        good = usable(block, read_noise)
        labels[where][~good] = -1
        own = labels[where]
        for label in np.unique(own[own >= 0]):
            spectra[label] += block[own == label].sum(axis=0)
    return spectra, labels

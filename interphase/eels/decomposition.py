"""Which spectra a map is a sum of: components above the noise, and factors without signs.

Counts are divided by the square roots of what their pixel and their channel lead to expect, so that
noise is the same everywhere; what is then above its largest singular value is no noise.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from interphase.assessment import Assessment
from interphase.eels.checks import blocks, check_number, check_spectra, usable
from interphase.errors import ParameterError

# Law of Tracy and Widom as a shifted gamma law: shape, scale and shift of Chiani (2014).
_SHAPE, _SCALE, _SHIFT = 46.446, 0.186054, 9.84801
# Operations up to which all singular values are computed.
_EXACT = 2e10
# Directions that are followed besides those asked for, and passes through the data.
_SPARE, _PASSES = 10, 6
# Electrons that a pixel and a channel must hold, so that no single one makes a component.
_FEW = 20.0
# Share by which the noise may be off before it is told.
_NOISE_OFF = 0.1
# Bytes of a map that is factorised at once; larger ones go through a block at a time, so often.
_AT_ONCE, _EPOCHS = 2**26, 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decomposition:
    """A map as its mean spectrum and the principal components above the noise."""

    components: int
    """Number of components K beside the mean spectrum."""
    spectra: np.ndarray
    """The mean spectrum, of sum 1, and the components, which sum to about 0, shape (K + 1, E)."""
    maps: np.ndarray
    """How much of each is in each pixel [counts], shape (..., K + 1); NaN where a pixel is left
    out. ``maps @ spectra`` is the map without most of its noise."""
    standard_error: np.ndarray
    """Standard error of the components' maps [counts], shape (..., K): that of what they leave."""
    singular_values: np.ndarray
    """Singular values of the weighted map over the noise's standard deviation, in falling order;
    all, or for large maps the largest."""
    p_values: np.ndarray
    """Probability that noise alone makes a singular value as large as this, K + 1 of them: the
    last is that of the first that is taken for noise."""
    edge: float
    """Singular value that noise exceeds with the probability `false_alarm`."""
    false_alarm: float
    """Probability to find a component in noise."""
    noise_over_counting: float
    """Variance of what the components leave over that of counting with the gain and read noise
    given; 1 where these are right."""
    left_out: int
    """Number of pixels without counts or with what are no counts."""
    assessment: Assessment
    """``ok``; ``uncalibrated``: the noise is not that of the gain and read noise given;
    ``too_few_electrons``; ``unusable``."""
    sentence: str
    """The same in words."""

    def denoised(self, where: tuple[Any, ...] = ()) -> np.ndarray:
        """Return the map, or the pixels at an index, without most of its noise [counts]."""
        return np.asarray(self.maps[where] @ self.spectra)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Factors:
    """A map as a sum of spectra without signs."""

    spectra: np.ndarray
    """The factors, each of sum 1, shape (K, E)."""
    maps: np.ndarray
    """How much of each is in each pixel [counts], shape (..., K); NaN where one is left out."""
    misfit: float
    """Variance of what is left over that of counting; about 1 where nothing is left but noise."""
    converged: bool
    """Whether the iteration ended by itself."""
    assessment: Assessment
    """``ok``; ``ambiguous``: more than noise is left, or the iteration did not end."""
    sentence: str
    """The same in words."""


def tracy_widom_probability(
    singular_value: np.ndarray | float, *, rows: int, columns: int
) -> np.ndarray:
    r"""Return the probability that the largest singular value of noise exceeds one.

    Parameters
    ----------
    singular_value
        Over the standard deviation of the noise, any shape.
    rows, columns
        Size of the matrix of independent noise.

    Returns
    -------
    ndarray
        Same shape.

    Notes
    -----
    With :math:`m = \sqrt{n - 1/2}` and :math:`q = \sqrt{p - 1/2}` the square of the largest
    singular value, less :math:`(m + q)^2` and over :math:`(m + q)(1/m + 1/q)^{1/3}`, follows the
    law of Tracy and Widom [1]_, here a shifted gamma law [2]_; :math:`m + q` is the edge of
    Marchenko and Pastur.

    References
    ----------
    .. [1] I. M. Johnstone, Ann. Stat. 29, 295 (2001), doi:10.1214/aos/1009210544
    .. [2] M. Chiani, J. Multivar. Anal. 129, 69 (2014), doi:10.1016/j.jmva.2014.04.002

    Examples
    --------
    >>> round(float(tracy_widom_probability(40.2, rows=400, columns=400)), 2)
    0.05
    """
    from scipy.stats import gamma

    middle, width = _edge(rows, columns)
    scaled = (np.asarray(singular_value, dtype=float) ** 2 - middle) / width
    return np.asarray(gamma.sf(scaled + _SHIFT, _SHAPE, scale=_SCALE))


def _edge(rows: int, columns: int) -> tuple[float, float]:
    m, q = np.sqrt(max(rows, 1) - 0.5), np.sqrt(max(columns, 1) - 0.5)
    return float((m + q) ** 2), float((m + q) * (1 / m + 1 / q) ** (1 / 3))


def decompose(
    spectra: Any,
    *,
    rng: np.random.Generator,
    gain: float = 1.0,
    read_noise: float = 0.0,
    false_alarm: float = 0.05,
    most: int = 20,
) -> Decomposition:
    r"""Return the principal components of a map that are no noise, and their number.

    For counts as they were recorded, aligned in energy: shifts and gain steps are components, too.
    Not where the camera spreads electrons over channels, which correlates their noise and makes it
    components: bin the channels first.

    Parameters
    ----------
    spectra
        Counts, shape (..., E) of at least three pixels; a Dask array is read a chunk at a time.
    rng
        Source of the directions that large maps are first looked at in.
    gain
        Counts per electron.
    read_noise
        Standard deviation of the read noise [counts].
    false_alarm
        Probability to find a component where there is only noise about one spectrum, times any
        thickness.
    most
        Largest number of components that is looked for.

    Returns
    -------
    Decomposition
        The components, their maps, and how sure it is that they are none of noise.

    Raises
    ------
    ParameterError
        There are fewer than three pixels or channels.

    Notes
    -----
    Of pixel i and channel j are expected :math:`r_i c_j / N` counts from the sums of both, and
    :math:`(D_{ij} - r_i c_j / N) / \sqrt{r_i c_j / N}` has the same noise everywhere [1]_. Its
    scale is that of what the components leave, so that the gain need not be known. A component
    counts while its singular value is above what the largest of noise exceeds with the
    probability `false_alarm`. Maps of many pixels and channels go through a randomised
    subspace iteration [2]_.

    References
    ----------
    .. [1] M. R. Keenan and P. G. Kotula, Surf. Interface Anal. 36, 203 (2004),
           doi:10.1002/sia.1657
    .. [2] N. Halko, P. G. Martinsson and J. A. Tropp, SIAM Rev. 53, 217 (2011),
           doi:10.1137/090771806

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> energy = np.linspace(0, 1, 100)
    >>> share = np.linspace(0, 1, 200)[:, None]
    >>> expected = 50 * (share * energy + (1 - share) * (1 - energy))
    >>> decompose(rng.poisson(expected), rng=rng).components
    1
    """
    weighted = _Weighted(spectra, gain, read_noise)
    check_number("false_alarm", false_alarm, 1e-12, 0.5)
    if isinstance(most, bool) or not isinstance(most, int) or most < 1:
        raise ParameterError(f"most is {most!r}: expected a whole number of at least 1")
    if weighted.fault:
        return _nothing(weighted, false_alarm, *weighted.fault)
    rows, columns = weighted.size
    most = min(most, rows - 2, columns - 2)
    if rows * columns**2 + 10.0 * columns**3 < _EXACT:
        values, vectors = weighted.all_directions()
    else:
        values, vectors = weighted.largest_directions(most + 1, rng)
    total = weighted.total_squares()
    number, p_values, noise = _count(values, total, rows, columns, false_alarm, most)
    maps, shapes, lengths = weighted.expand(vectors[:, :number])
    words = (
        f"{number} component{'s' * (number != 1)} beside the mean spectrum "
        f"{'is' if number == 1 else 'are'} above the noise (false alarm {false_alarm:g})."
    )
    assessment = Assessment.OK
    if abs(np.log(noise)) > _NOISE_OFF:
        assessment = Assessment.UNCALIBRATED
        words += (
            f" The noise has {noise:.2f} of the variance that gain and read noise give: check "
            "them, and that the counts are as recorded."
        )
    if number == most:
        words += f" There may be more: no more than {most} were looked for."
    if weighted.left_out:
        words += f" {weighted.left_out} pixels hold no counts and are left out."
    limit = _threshold(false_alarm, rows - number, columns - number)
    return Decomposition(
        components=number,
        spectra=shapes,
        maps=maps,
        standard_error=np.sqrt(noise)
        * lengths
        * np.where(weighted.good, weighted.row_scale, np.nan)[..., np.newaxis],
        singular_values=np.sqrt(np.maximum(values, 0) / noise),
        p_values=p_values,
        edge=limit,
        false_alarm=false_alarm,
        noise_over_counting=noise,
        left_out=weighted.left_out,
        assessment=assessment,
        sentence=words,
    )


def factorise(
    spectra: Any,
    *,
    components: int,
    rng: np.random.Generator,
    gain: float = 1.0,
    read_noise: float = 0.0,
    most_iterations: int = 500,
) -> Factors:
    """Return a map as a sum of spectra that are nowhere negative.

    Factors are spectra of compounds only where each has pixels, or channels, for itself; else the
    same map is other sums as well. `decompose` says how many there are: its components and one.

    Parameters
    ----------
    spectra
        Counts, shape (..., E); a Dask array is read a chunk at a time.
    components
        Number of factors.
    rng
        Source of the start.
    gain
        Counts per electron.
    read_noise
        Standard deviation of the read noise [counts].
    most_iterations
        Largest number of iterations of a map that is factorised at once.

    Returns
    -------
    Factors
        The factors and their maps.

    Raises
    ------
    ParameterError
        `components` is not at least 1, or the map holds no counts.

    Notes
    -----
    scikit-learn's NMF [1]_ on the counts over the square roots of what is expected of them [2]_;
    maps of more than 64 MB go on in its form for batches, from a start of evenly spaced pixels.

    References
    ----------
    .. [1] A. Cichocki and A.-H. Phan, IEICE Trans. Fundam. E92-A, 708 (2009),
           doi:10.1587/transfun.E92.A.708
    .. [2] M. R. Keenan and P. G. Kotula, Surf. Interface Anal. 36, 203 (2004),
           doi:10.1002/sia.1657

    Examples
    --------
    >>> energy, share = np.linspace(0, 1, 60), np.linspace(0, 1, 40)[:, None]
    >>> counts = np.where(energy < 0.5, 100 * share, 100 * (1 - share))
    >>> factors = factorise(counts, components=2, rng=np.random.default_rng(0))
    >>> bool(np.allclose(factors.maps @ factors.spectra, counts, atol=1))
    True
    """
    weighted = _Weighted(spectra, gain, read_noise)
    if isinstance(components, bool) or not isinstance(components, int) or components < 1:
        raise ParameterError(f"components is {components!r}: expected a whole number, at least 1")
    if weighted.fault:
        raise ParameterError(f"there is nothing to factorise: {weighted.fault[1]}")
    rows, columns = weighted.size
    if components > min(rows, columns):
        raise ParameterError(
            f"components is {components} of {rows} pixels and {columns} channels: expected fewer"
        )
    maps, shapes, misfit, converged = weighted.factors(components, rng, most_iterations)
    words = f"{components} factors leave {misfit:.3g} of the variance of counting."
    assessment = Assessment.OK
    if misfit > 1 + _NOISE_OFF:
        assessment, words = Assessment.AMBIGUOUS, f"{words} More than noise is left."
    if not converged:
        assessment = Assessment.AMBIGUOUS
        words += f" The iteration did not end within {most_iterations}."
    return Factors(
        spectra=shapes,
        maps=maps,
        misfit=misfit,
        converged=converged,
        assessment=assessment,
        sentence=words,
    )


class _Weighted:
    """A map divided by the standard deviation of its noise, read a block at a time."""

    def __init__(self, spectra: Any, gain: float, read_noise: float) -> None:
        self.data = check_spectra("spectra", spectra)
        check_number("gain", gain, 1e-9, 1e9, "counts per electron")
        self.read_noise = check_number("read_noise", read_noise, 0, 1e9, "counts")
        self.shape = self.data.shape[:-1]
        pixels, channels = int(np.prod(self.shape)), self.data.shape[-1]
        if pixels < 3 or channels < 3:
            raise ParameterError(
                f"spectra have {pixels} pixels and {channels} channels: expected a map of at least "
                "3 of each"
            )
        sums, self.channel_sums = np.full(self.shape, np.nan), np.zeros(channels)
        for where, block in blocks(self.data):
            good = usable(block, self.read_noise)
            sums[where] = np.where(good, block.sum(axis=-1), np.nan)
            self.channel_sums += block[good].sum(axis=0)
        self.good = sums > 0
        self.total = float(sums[self.good].sum())
        self.row_sums = np.where(self.good, sums, 0.0)
        self.used = self.channel_sums > 0
        self.left_out = int(pixels - self.good.sum())
        self.size = (int(self.good.sum()), int(self.used.sum()))
        self.fault: tuple[Assessment, str] | None = None
        if min(self.size) < 3:
            few = "hold counts, and nothing else than counts (NaN or negative ones do not)"
            words = f"{self.size[0]} pixels and {self.size[1]} channels {few}: at least 3 must."
            self.fault = (Assessment.UNUSABLE, words)
            return
        least = min(self.total / self.size[0], self.total / self.size[1]) / gain
        if least < _FEW:
            words = (
                f"A pixel or channel holds {least:.2g} electrons on average, fewer than the "
                f"{_FEW:g} by which components are told from noise: bin pixels or channels."
            )
            self.fault = (Assessment.TOO_FEW_ELECTRONS, words)
        mean = self.total / (self.size[0] * self.size[1])
        both = gain * mean + self.read_noise**2
        per_row = gain * self.row_sums / self.size[1] + self.read_noise**2
        per_channel = gain * self.channel_sums / self.size[0] + self.read_noise**2
        self.row_scale = np.sqrt(per_row / np.sqrt(both))
        self.channel_scale = np.sqrt(per_channel / np.sqrt(both))[self.used]

    def blocks(self, *, expected: bool = True) -> Iterator[tuple[Any, np.ndarray, np.ndarray]]:
        """Yield where a block lies, which of its pixels are good, and these, weighted."""
        per_channel = (1 / self.channel_scale).astype(np.float32)
        share = (self.channel_sums[self.used] / self.total / self.channel_scale).astype(np.float32)
        for where, block in blocks(self.data, dtype=np.float32):
            good = self.good[where]
            values = block.reshape(-1, block.shape[-1])
            values = values if good.all() else values[good.ravel()]
            values = values if self.used.all() else values[:, self.used]
            per_row = (1 / self.row_scale[where][good]).astype(np.float32)
            values = values * per_row[:, None]
            values *= per_channel
            if expected:
                thickness = per_row * self.row_sums[where][good].astype(np.float32)
                values -= thickness[:, None] * share
            yield where, good, values

    def product(self, vectors: np.ndarray) -> np.ndarray:
        """Return the weighted map's square times vectors, shape (E, K)."""
        result, single = np.zeros_like(vectors), vectors.astype(np.float32)
        for _, _, values in self.blocks():
            result += values.T @ (values @ single)
        return result

    def total_squares(self) -> float:
        """Return the sum of the squares of the weighted map."""
        return float(sum(np.sum(v**2, dtype=float) for _, _, v in self.blocks()))

    def all_directions(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all squared singular values in falling order, and their channels' vectors."""
        square = np.zeros((self.size[1], self.size[1]))
        for _, _, values in self.blocks():
            square += values.T @ values
        values, vectors = np.linalg.eigh(square)
        number = min(self.size)
        return values[::-1][:number], vectors[:, ::-1][:, :number]

    def largest_directions(
        self, number: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the largest squared singular values, from below, and their vectors."""
        vectors = rng.standard_normal((self.size[1], min(number + _SPARE, *self.size)))
        for _ in range(_PASSES):
            vectors = np.linalg.qr(self.product(vectors))[0]
        values, turned = np.linalg.eigh(vectors.T @ self.product(vectors))
        return values[::-1][:number], (vectors @ turned)[:, ::-1][:, :number]

    def expand(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return maps (..., K + 1) and spectra (K + 1, E) in counts, the mean spectrum first.

        And what the noise of the K others is multiplied by, shape (K,).
        """
        shapes = np.zeros((vectors.shape[1] + 1, len(self.used)))
        shapes[0] = self.channel_sums / self.total
        shapes[1:, self.used] = (vectors * self.channel_scale[:, None]).T
        length = np.linalg.norm(shapes[1:], axis=1)
        shapes[1:] /= length[:, None]
        maps = np.full((*self.shape, len(shapes)), np.nan)
        for where, good, values in self.blocks():
            part = np.full((*good.shape, len(shapes)), np.nan)
            scores = (
                values @ vectors.astype(np.float32) * length * self.row_scale[where][good][:, None]
            )
            part[good] = np.column_stack([self.row_sums[where][good], scores])
            maps[where] = part
        return maps, shapes, length

    def factors(
        self, components: int, rng: np.random.Generator, most: int
    ) -> tuple[np.ndarray, np.ndarray, float, bool]:
        """Return maps and spectra without signs, the misfit, and whether the iteration ended."""
        import warnings

        from sklearn.decomposition import NMF, MiniBatchNMF
        from sklearn.exceptions import ConvergenceWarning

        seed = int(rng.integers(2**31))
        # Of a map that is too large the start comes from evenly spaced pixels.
        every = -(-self.size[0] // max(_AT_ONCE // (4 * self.size[1]), 1))
        some = np.concatenate([v.clip(0)[::every] for _, _, v in self.blocks(expected=False)])
        model = NMF(components, init="nndsvda", max_iter=most, tol=1e-4, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(some)
        converged = model.n_iter_ < most
        if every > 1:
            start = model.components_
            model = MiniBatchNMF(components, init="custom", random_state=seed)
            for _ in range(_EPOCHS):
                for _, _, values in self.blocks(expected=False):
                    amounts = np.ones((len(values), components), dtype=np.float32)
                    model.partial_fit(values.clip(0), W=amounts, H=start.copy())
        found = model.components_
        shapes = np.zeros((components, len(self.used)))
        shapes[:, self.used] = found * self.channel_scale
        sums = np.maximum(shapes.sum(axis=1), 1e-300)
        maps, left = np.full((*self.shape, components), np.nan), 0.0
        for where, good, values in self.blocks(expected=False):
            part = np.full((*good.shape, components), np.nan)
            amounts = model.transform(values.clip(0))
            left += float(np.sum((values - amounts @ found) ** 2, dtype=float))
            part[good] = amounts * sums * self.row_scale[where][good][:, None]
            maps[where] = part
        rows, columns = self.size
        freedom = max((rows - components) * (columns - components), 1)
        return maps, shapes / sums[:, None], left / freedom, converged


def _count(
    values: np.ndarray, total: float, rows: int, columns: int, false_alarm: float, most: int
) -> tuple[int, np.ndarray, float]:
    """Return how many of the squared singular values are no noise, p-values, and its variance."""
    p_values, left = [], total
    for number in range(most + 1):
        # The sums of pixels and of channels are taken out, a direction of each.
        free = rows - 1 - number, columns - 1 - number
        noise = max(left / (free[0] * free[1]), 1e-300)
        if number == len(values):
            p_values.append(1.0)
            break
        chance = tracy_widom_probability(
            np.sqrt(max(values[number], 0) / noise), rows=free[0], columns=free[1]
        )
        p_values.append(float(chance))
        if chance > false_alarm or number == most:
            break
        left -= values[number]
    return number, np.array(p_values), float(noise)


def _threshold(false_alarm: float, rows: int, columns: int) -> float:
    from scipy.stats import gamma

    middle, width = _edge(rows - 1, columns - 1)
    scaled = gamma.isf(false_alarm, _SHAPE, scale=_SCALE) - _SHIFT
    return float(np.sqrt(middle + width * scaled))


def _nothing(
    weighted: _Weighted, false_alarm: float, assessment: Assessment, words: str
) -> Decomposition:
    return Decomposition(
        components=0,
        spectra=weighted.channel_sums[None] / max(weighted.total, 1e-300),
        maps=np.where(weighted.good, weighted.row_sums, np.nan)[..., None],
        standard_error=np.empty((*weighted.shape, 0)),
        singular_values=np.empty(0),
        p_values=np.ones(1),
        edge=np.nan,
        false_alarm=false_alarm,
        noise_over_counting=np.nan,
        left_out=weighted.left_out,
        assessment=assessment,
        sentence=words,
    )

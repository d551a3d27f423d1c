"""Numbers that tell a mosaic from layers: how phases and crystallites lie in an interphase.

Each is a function of arrays with its source; `measure_descriptors` returns all with intervals.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial

import numpy as np

from interphase.assessment import Assessment
from interphase.morphology.columns import (
    AMORPHOUS,
    Estimate,
    Resampling,
    Unrolled,
    check_maps,
    lag_sums,
    sum_bins,
    unroll,
    variance_kept,
)
from interphase.morphology.crystallites import (
    Crystallites,
    clark_evans,
    crystallites_from_labels,
    mean_diameter,
    texture,
)
from interphase.morphology.depth_profile import REPLICATES, DepthProfiles, Recall, profile_columns
from interphase.noise import poisson_interval

# Draws of what there would be by chance; the least probability is one over one more.
_CHANCE = 199
# Correlation lengths that are shifted in one: crystallites that the ends of blocks cut make chance
# look smaller than it is.
_SHIFTED = 3
# Blocks that there are at least: one by itself is as layered wherever it is shifted.
_BLOCKS = 5


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Descriptors:
    """How an interphase is built, in numbers with 95 % intervals."""

    eta_squared: Estimate
    """Share of the variance of phase that depth explains, freed of what chance explains; its
    p-value is against the same columns shifted in depth."""
    eta_squared_seen: float
    """The same with what chance explains."""
    eta_squared_chance: float
    """What chance explains: mean over shifted columns."""
    eta_squared_of_crystals: Estimate
    """The same among crystalline places alone: whether phases follow each other where most is
    glass."""
    correlation_along_a: Estimate
    """Distance along the interface at which phases correlate by 1/e [Å]."""
    correlation_across_a: Estimate
    """The same across the interface [Å]."""
    anisotropy: Estimate
    """The first over the second."""
    amorphous_fraction: Estimate
    """Share of the interphase that is amorphous, corrected for recall where it was given."""
    diameter_a: Estimate
    """Equivalent diameter of crystallites, mean by volume [Å]."""
    number_density_per_nm2: Estimate
    """Crystallites per projected area of interphase [1/nm²]."""
    clark_evans: Estimate
    """Mean distance of nearest neighbours over that of places at random in the same mask: below 1
    clustered, above 1 regular, as what cannot overlap is."""
    texture: Estimate
    """Length of the mean direction of lattice vectors to the interface's normal, freed of what
    chance gives; its p-value is against directions at random."""
    texture_deg: float
    """That direction from the normal, from columns towards rows [degrees]."""
    layering: Estimate
    """First axis, 0 to 1: the larger of `eta_squared` and `eta_squared_of_crystals`."""
    crystallinity: Estimate
    """Second axis, 0 to 1: 1 - `amorphous_fraction`."""
    coverage: Mapping[str, Estimate]
    """Phase → share of the surface above which it lies at any depth."""
    coverage_at_depth: Mapping[str, np.ndarray]
    """Phase → the same within each bin of depth, with the ends of the interval, shape (3, B)."""
    diameter_of_a: Mapping[str, Estimate]
    """Phase → mean diameter by volume of its crystallites [Å]."""
    profiles: DepthProfiles | None
    """Shares against depth; ``None`` where nothing was seen."""
    assessment: Assessment
    """``ok``: both axes have intervals. ``ambiguous``: one has none. ``unusable``: nothing was
    seen."""
    sentence: str
    """The same in words."""

    def table(self) -> dict[str, Estimate]:
        """Return every descriptor that is one number, by name."""
        each = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in each.items() if isinstance(value, Estimate)}


def variance_explained(counts: np.ndarray) -> np.ndarray:
    r"""Return which share of the variance of a class its group explains, η² of classes.

    Parameters
    ----------
    counts
        Amount of each class in each group, shape (..., groups, classes).

    Returns
    -------
    ndarray
        Shape (...); 0 to 1, NaN where there is one class only.

    Notes
    -----
    .. math:: \eta^2 = \frac{\sum_g w_g \sum_k p_{k|g}^2 - \sum_k p_k^2}{1 - \sum_k p_k^2}

    with weights w of the groups. This is τ of Goodman and Kruskal [1]_, and the share of variance
    of the one-hot vector of classes that lies between groups [2]_; with two classes it is the
    ordinary η² of an indicator.

    References
    ----------
    .. [1] L. A. Goodman, W. H. Kruskal, J. Am. Stat. Assoc. 49, 732 (1954),
           doi:10.1080/01621459.1954.10501231
    .. [2] R. J. Light, B. H. Margolin, J. Am. Stat. Assoc. 66, 534 (1971),
           doi:10.1080/01621459.1971.10482297

    Examples
    --------
    >>> variance_explained(np.array([[[4, 0], [0, 4]], [[2, 2], [2, 2]]])).tolist()
    [1.0, 0.0]
    """
    n = np.asarray(counts, dtype=float)
    group = n.sum(axis=-1)
    whole = group.sum(axis=-1)
    within = ((n**2).sum(axis=-1) / np.maximum(group, 1e-12)).sum(axis=-1) / np.maximum(
        whole, 1e-12
    )
    chance = ((n.sum(axis=-2) / np.maximum(whole, 1e-12)[..., None]) ** 2).sum(axis=-1)
    varied = (1 - chance > 1e-9) & (whole > 0)
    return np.asarray(
        np.where(varied, (within - chance) / np.where(varied, 1 - chance, 1.0), np.nan)
    )


def correlation_length(
    correlation: np.ndarray, *, step_a: float, level: float = np.exp(-1)
) -> np.ndarray:
    """Return at which distance correlations first fall to a level.

    Parameters
    ----------
    correlation
        Correlation at lags from 0, shape (..., L).
    step_a
        Distance of lags [Å].
    level
        The level; 1/e is customary.

    Returns
    -------
    ndarray
        Distance [Å], linear between lags, shape (...); infinite where they do not fall to it.

    Examples
    --------
    >>> float(correlation_length(np.array([1.0, 0.5, 0.0]), step_a=2.0, level=0.25))
    3.0
    """
    c = np.asarray(correlation, dtype=float)
    below = c < level
    at = np.argmax(below, axis=-1)[..., None].clip(1)
    after, before = np.take_along_axis(c, at, -1)[..., 0], np.take_along_axis(c, at - 1, -1)[..., 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(before > after, (before - level) / (before - after), 0.0)
    return np.asarray(np.where(below.any(axis=-1), (at[..., 0] - 1 + share) * step_a, np.inf))


def measure_descriptors(
    labels: np.ndarray,
    *,
    names: Sequence[str],
    depth_a: np.ndarray,
    inside: np.ndarray,
    pixel_size_a: float,
    bin_a: float,
    rng: np.random.Generator,
    crystallites: Crystallites | None = None,
    recall: Recall | None = None,
    probability: np.ndarray | None = None,
    along_a: np.ndarray | None = None,
    fold: int = 2,
    smallest_a: float = 0.0,
    replicates: int = REPLICATES,
) -> Descriptors:
    r"""Return how an interphase is built: layered or not, crystalline or not, and in detail.

    For an interphase seen edge-on. A mosaic seen through a thick foil along a rounded surface looks
    layered: numbers are of the projection.

    Parameters
    ----------
    labels
        Phase of each pixel, shape (M, N): index of `names`, -1 amorphous, -2 unknown.
    names
        Names of the phases.
    depth_a
        Distance from the electrode's surface [Å], shape (M, N).
    inside
        Where the interphase is, shape (M, N) of bool.
    pixel_size_a
        Size of a pixel [Å].
    bin_a
        Width of a depth bin [Å]; `eta_squared` and `coverage_at_depth` refer to it.
    rng
        Source of randomness.
    crystallites
        The crystallites; ``None`` takes connected places of `labels`, without directions.
    recall, probability, along_a
        See `depth_profiles`; recall and probability enter the shares, not the geometry.
    fold
        See `mean_direction`.
    smallest_a
        See `crystallites_from_labels`.
    replicates
        Number of draws of columns.

    Returns
    -------
    Descriptors
        A number that the image does not hold is NaN, with the reason.

    Raises
    ------
    ParameterError
        The maps do not fit each other.

    Notes
    -----
    Depth explains some of any map with few crystallites. Blocks of columns as long as phases
    correlate are shifted in depth, each by another part of its thickness and around its ends, which
    keeps the crystallites as they are [1]_: of the η² of such maps the mean m is what chance
    explains, and the value is :math:`(\eta^2 - m) / (1 - m)`. Intervals of all that is counted by
    columns are from draws of blocks of columns.

    References
    ----------
    .. [1] H. W. Lotwick, B. W. Silverman, J. R. Stat. Soc. B 44, 406 (1982),
           doi:10.1111/j.2517-6161.1982.tb01221.x, shifts around a torus

    Examples
    --------
    >>> depth = np.tile(np.arange(-3.5, 8.0)[:, None], (1, 80))
    >>> found = measure_descriptors(
    ...     np.where(depth < 4, 0, -1), names=["Li2O"], depth_a=depth, inside=depth > 0,
    ...     pixel_size_a=1.0, bin_a=2.0, rng=np.random.default_rng(1),
    ... )
    >>> found.layering.value, found.crystallinity.value
    (1.0, 0.5)
    """
    check_maps(
        labels,
        names=names,
        depth_a=depth_a,
        inside=inside,
        pixel_size_a=pixel_size_a,
        bin_a=bin_a,
    )
    label, mask = np.asarray(labels), np.asarray(inside)
    if not (mask & (label >= AMORPHOUS)).any():
        return _nothing(names)
    rolled = unroll(depth_a=depth_a, inside=mask, pixel_size_a=pixel_size_a, along_a=along_a)
    profiles = profile_columns(
        rolled,
        label,
        names=names,
        depth_a=depth_a,
        inside=mask,
        bin_a=bin_a,
        rng=rng,
        recall=recall,
        probability=probability,
        replicates=replicates,
    )
    draw = profiles.resampling
    bins, _ = rolled.bins(depth_a, bin_a)
    one_hot = rolled.one_hot(label, len(names))
    eta, seen, chance = _eta_squared(one_hot, bins, draw, rng)
    of_crystals, *_ = _eta_squared(one_hot[:-1], bins, draw, rng)
    layering = max(eta, of_crystals, key=lambda e: np.nan_to_num(e.value, nan=-1.0))
    along, across, ratio = _correlations(one_hot, rolled.step_a, draw)
    amorphous = _amorphous(profiles)
    coverage, at_depth = _coverage(one_hot, bins, names, draw)
    if crystallites is None:
        crystallites = crystallites_from_labels(
            label, inside=mask, pixel_size_a=pixel_size_a, smallest_a=smallest_a
        )
    mean_size = partial(mean_diameter, length_a=rolled.length_a, rng=rng, replicates=replicates)
    length, direction = texture(crystallites, depth_a, pixel_size_a, fold, rng)
    words = [e.reason for e in (layering, amorphous) if np.isnan(e.low)]
    return Descriptors(
        eta_squared=eta,
        eta_squared_seen=seen,
        eta_squared_chance=chance,
        eta_squared_of_crystals=of_crystals,
        correlation_along_a=along,
        correlation_across_a=across,
        anisotropy=ratio,
        amorphous_fraction=amorphous,
        diameter_a=mean_size(crystallites),
        number_density_per_nm2=_density(crystallites, rolled, mask, pixel_size_a, draw),
        clark_evans=clark_evans(
            crystallites.centre_a, inside=mask, pixel_size_a=pixel_size_a, rng=rng
        ),
        texture=length,
        texture_deg=direction,
        layering=layering,
        crystallinity=_rest_of(amorphous),
        coverage=coverage,
        coverage_at_depth=at_depth,
        diameter_of_a={name: mean_size(crystallites.of_phase(i)) for i, name in enumerate(names)},
        profiles=profiles,
        assessment=Assessment.AMBIGUOUS if words else Assessment.OK,
        sentence=_say(layering, amorphous, words),
    )


def _nothing(names: Sequence[str]) -> Descriptors:
    none = Estimate.missing("no pixel of the interphase was seen")
    return Descriptors(
        eta_squared=none,
        eta_squared_seen=np.nan,
        eta_squared_chance=np.nan,
        eta_squared_of_crystals=none,
        correlation_along_a=none,
        correlation_across_a=none,
        anisotropy=none,
        amorphous_fraction=none,
        diameter_a=none,
        number_density_per_nm2=none,
        clark_evans=none,
        texture=none,
        texture_deg=np.nan,
        layering=none,
        crystallinity=none,
        coverage=dict.fromkeys(names, none),
        coverage_at_depth={},
        diameter_of_a=dict.fromkeys(names, none),
        profiles=None,
        assessment=Assessment.UNUSABLE,
        sentence="No pixel of the interphase was seen: there is nothing to measure.",
    )


def _say(layering: Estimate, amorphous: Estimate, words: list[str]) -> str:
    parts = [
        f"Depth explains {100 * layering.value:.0f} % of the variance of phase beyond chance"
        if np.isfinite(layering.value)
        else "Layering cannot be told",
        f"{100 * amorphous.value:.0f} % is amorphous"
        if np.isfinite(amorphous.value)
        else "the amorphous share cannot be told",
    ]
    return "; ".join([*parts, *dict.fromkeys(words)]) + "."


def _eta_squared(
    one_hot: np.ndarray, cell_bin: np.ndarray, draw: Resampling, rng: np.random.Generator
) -> tuple[Estimate, float, float]:
    """Return η² freed of chance with its interval, as seen, and what chance explains."""
    table = sum_bins(one_hot, cell_bin)
    seen = float(variance_explained(table.sum(axis=-1).T))
    if np.isnan(seen):
        reason = "one phase is all there is: it has no variance for depth to explain"
        return Estimate.missing(reason, number=draw.number), seen, np.nan
    if table.shape[1] < 2:
        reason = "the interphase lies within one bin of depth: take narrower bins"
        return Estimate.missing(reason, number=draw.number), seen, np.nan
    block = max(min(_SHIFTED * draw.block, table.shape[2] // _BLOCKS), 1)
    shifted = _shifted(one_hot, cell_bin, block, rng) / variance_kept(draw.rho, block)
    shifted = np.minimum(shifted, 1.0)
    chance = float(shifted.mean())
    p_value = (1 + (shifted >= seen - 1e-12).sum()) / (_CHANCE + 1)
    drawn = variance_explained(np.einsum("rs,kbs->rbk", draw.weights, table, optimize=True))
    rest = max(1 - chance, 1e-9)
    value = max((seen - chance) / rest, 0.0)
    estimate = draw.interval(value, drawn / rest, bounds=(0.0, 1.0), p_value=float(p_value))
    return estimate, seen, chance


def _shifted(
    one_hot: np.ndarray, cell_bin: np.ndarray, block: int, rng: np.random.Generator
) -> np.ndarray:
    """Return η² with blocks of columns shifted in depth around their ends, shape (_CHANCE,)."""
    classes, bins = len(one_hot), int(cell_bin.max()) + 1
    # Cells one column after the other; what was not seen is one class more.
    column, row = np.nonzero((cell_bin >= 0).T)
    at = cell_bin[row, column] * (classes + 1)
    kind = np.where(one_hot.any(axis=0), one_hot.argmax(axis=0), classes)[row, column]
    many = np.bincount(column)
    start = np.cumsum(many) - many
    rank = np.arange(len(column)) - start[column]
    counts = []
    for _ in range(_CHANCE):
        number = (np.arange(len(many)) + rng.integers(block)) // block
        shift = np.floor(rng.random(number[-1] + 1)[number] * many).astype(int)
        moved = kind[start[column] + (rank + shift[column]) % many[column]]
        counts.append(np.bincount(at + moved, minlength=bins * (classes + 1)))
    return variance_explained(np.reshape(counts, (-1, bins, classes + 1))[..., :-1])


def _correlations(
    one_hot: np.ndarray, step_a: float, draw: Resampling
) -> tuple[Estimate, Estimate, Estimate]:
    """Return correlation lengths along and across the interface, and their ratio."""
    seen = np.asarray(one_hot.any(axis=0))
    x = (one_hot - one_hot.sum(axis=(1, 2), keepdims=True) / seen.sum()) * seen
    if one_hot.any(axis=(1, 2)).sum() < 2:
        none = Estimate.missing("one phase is all there is", number=draw.number)
        return none, none, none
    lengths, drawn, reasons = [], [], []
    for axis in (1, 0):
        lags = max(seen.shape[axis] // 2, 2)
        products, pairs = lag_sums(x, seen, lags=min(lags, seen.shape[axis]), axis=axis)
        limit = (products.shape[1] - 1) * step_a
        found = []
        for weight in (np.ones((1, len(products))), draw.weights):
            c = _ratio(weight @ products, weight @ pairs)
            found.append(correlation_length(_ratio(c, c[:, :1]), step_a=step_a))
        lengths.append(float(np.minimum(found[0][0], limit)))
        drawn.append(np.minimum(found[1], limit))
        reasons.append("" if np.isfinite(found[0][0]) else f"at least {limit:.4g} Å, half the view")
    along, across = (
        draw.interval(value, samples, bounds=(0.0, np.inf), reason=reason)
        if not reason
        else Estimate(value=value, low=value, high=np.inf, number=draw.number, reason=reason)
        for value, samples, reason in zip(lengths, drawn, reasons, strict=True)
    )
    ratio = draw.interval(
        lengths[0] / lengths[1] if lengths[1] > 0 else np.nan,
        drawn[0] / np.maximum(drawn[1], 1e-9),
        bounds=(0.0, np.inf),
        reason="; ".join(
            f"{way} {reason}"
            for way, reason in zip(("along", "across"), reasons, strict=True)
            if reason
        ),
    )
    # A length of which only the least is known bounds their ratio on one side alone.
    ratio = replace(
        ratio, low=0.0 if reasons[1] else ratio.low, high=np.inf if reasons[0] else ratio.high
    )
    return along, across, ratio


def _ratio(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(np.where(b > 0, a / np.where(b > 0, b, 1.0), 0.0))


def _amorphous(profiles: DepthProfiles) -> Estimate:
    """Return the amorphous share of all that was seen."""
    band = profiles.band("amorphous")
    weight = profiles.area * (profiles.area > 0)
    if not np.isfinite(band.value[weight > 0]).all():
        return Estimate.missing("; ".join(profiles.notes), number=profiles.resampling.number)
    value = float(np.nan_to_num(band.value) @ weight / weight.sum())
    samples = np.nan_to_num(band.samples) @ weight / weight.sum()
    low, high = profiles.resampling.share_interval(
        np.array(value), samples, bins=int((weight > 0).sum())
    )
    return Estimate(
        value=value,
        low=float(low),
        high=float(high),
        number=profiles.resampling.number,
        reason="; ".join(profiles.notes),
    )


def _rest_of(share: Estimate) -> Estimate:
    return Estimate(
        value=1 - share.value,
        low=1 - share.high,
        high=1 - share.low,
        number=share.number,
        reason=share.reason,
    )


def _coverage(
    one_hot: np.ndarray, bins: np.ndarray, names: Sequence[str], draw: Resampling
) -> tuple[dict[str, Estimate], dict[str, np.ndarray]]:
    """Return the share of columns that hold each phase, at any depth and in each bin."""
    cells = np.concatenate([one_hot[:-1], one_hot.any(axis=0, keepdims=True)])
    shares = []
    for places in (np.minimum(bins, 0), bins):
        held = (sum_bins(cells, places) > 0).astype(float)
        told = held[-1].sum(axis=-1)
        value = np.where(told > 0, _ratio(held[:-1].sum(axis=-1), told), np.nan)
        drawn = np.einsum("rs,kbs->rkb", draw.weights, held)
        samples = _ratio(drawn[:, :-1], drawn[:, -1:])
        shares.append(np.concatenate([value[None], draw.share_interval(value, samples)]))
    whole = {
        name: Estimate(value=value, low=low, high=high, number=draw.number)
        for name, (value, low, high) in zip(names, shares[0][:, :, 0].T.tolist(), strict=True)
    }
    return whole, {name: shares[1][:, i] for i, name in enumerate(names)}


def _density(
    crystallites: Crystallites,
    rolled: Unrolled,
    inside: np.ndarray,
    pixel_size_a: float,
    draw: Resampling,
) -> Estimate:
    """Return crystallites per area; what the image cuts counts half, as two images share it."""
    from scipy.spatial import cKDTree

    columns = rolled.source.shape[1]
    column = rolled.column[inside]
    area = np.bincount(column[column >= 0], minlength=columns) * pixel_size_a**2 / 100
    count = np.zeros(columns)
    if len(crystallites.area_a2):
        tree = cKDTree(np.argwhere(inside) * pixel_size_a)
        at = column[tree.query(crystallites.centre_a)[1]]
        np.add.at(count, at, np.where(crystallites.at_edge, 0.5, 1.0))
    value = count.sum() / area.sum()
    samples = (draw.weights @ count) / (draw.weights @ area)
    # Centres are points, which the ends of blocks do not cut.
    whole = replace(draw, scale=draw.scale * np.sqrt(variance_kept(draw.rho, draw.block)))
    found = whole.interval(value, samples, bounds=(0.0, np.inf))
    if count.any():
        return found
    high = float(poisson_interval(np.array(0))[1] / area.sum())
    return Estimate(value=0.0, low=0.0, high=high, number=draw.number, reason="none in view")

"""What the interphase consists of against depth, what comes first, and how sharply."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from interphase.assessment import Assessment
from interphase.eels.profiles import Profile, measure_gradient
from interphase.eels.transitions import fit_transition
from interphase.errors import ParameterError
from interphase.morphology.columns import (
    Estimate,
    Resampling,
    Unrolled,
    Z,
    check_maps,
    resample_columns,
    sum_bins,
    unroll,
)

RecallAtDepth = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Depth [Å] → recall, lower and upper end of its 95 % interval, each of the depth's shape; NaN
where it is not known."""
Recall = Mapping[str, tuple[float, float, float] | RecallAtDepth]
"""Phase → share of it that is seen where it is, with its 95 % interval."""

REPLICATES = 400
"""Draws from which intervals are taken; their ends are then good to a tenth of the width."""
# Share of a phase's amount by whose depth it has appeared.
_ONSET = 0.1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Band:
    """A share at each depth, with its 95 % interval at each depth by itself."""

    value: np.ndarray
    """Share from 0 to 1, NaN where it is not known, shape (B,)."""
    low: np.ndarray
    """Lower end of the interval, shape (B,)."""
    high: np.ndarray
    """Upper end, shape (B,)."""
    samples: np.ndarray
    """What it is in other draws of columns, shape (R, B)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Appearance:
    """In which order phases appear from the electrode outwards."""

    names: tuple[str, ...]
    """Phases by the depth at which they appear."""
    onset_a: tuple[Estimate, ...]
    """That depth of each [Å]."""
    probability: tuple[float, ...]
    """Probability that each appears before the next, one fewer."""
    order_probability: float
    """Probability of the whole order; NaN with fewer than two phases."""
    left_out: tuple[str, ...]
    """Phases that are not seen."""
    assessment: Assessment
    """``ok``: each neighbour is told with 95 %. ``ambiguous``. ``too_few_electrons``: fewer than
    two are seen."""
    sentence: str
    """The same in words."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DepthProfiles:
    """Shares of all phases and of the amorphous against depth."""

    depth_a: np.ndarray
    """Middle of each bin [Å], shape (B,)."""
    bin_a: float
    """Width of a bin [Å]."""
    seen: Mapping[str, Band]
    """Phase or ``amorphous`` → its share of what was seen at that depth."""
    corrected: Mapping[str, Band]
    """The same corrected for recall; empty where no recall was given."""
    cut: np.ndarray
    """Where the crystals would take more than there is and were cut to 1, shape (B,)."""
    unnamed: np.ndarray
    """Share whose label is in doubt, by the probabilities given, shape (B,)."""
    seen_share: np.ndarray
    """Share of the interphase at that depth that was seen at all, shape (B,)."""
    area: np.ndarray
    """Pixels seen at that depth, shape (B,)."""
    resampling: Resampling
    """The draws of columns."""
    notes: tuple[str, ...]
    """What could not be corrected, and why."""

    def band(self, name: str) -> Band:
        """Return the corrected share of a phase where recall was given, else what was seen."""
        bands = self.corrected or self.seen
        if name not in bands:
            raise ParameterError(f"there is no profile of {name!r}: give one of {', '.join(bands)}")
        return bands[name]

    def profile(self, name: str) -> Profile:
        """Return the share of a phase for `interphase.eels.measure_gradient` and its kind.

        The standard errors are those of each bin; bins that share crystallites err together, so
        that intervals of a single fit are too narrow: `measure_width` and `measure_slope` repeat
        the fit over the draws.
        """
        band = self.band(name)
        error = (band.high - band.low) / (2 * Z) + 1e-9
        known = np.isfinite(band.value) & np.isfinite(error)
        return Profile(
            distance_a=self.depth_a[known],
            value=band.value[known],
            standard_error=error[known],
            step_a=self.bin_a,
        )


def depth_profiles(
    labels: np.ndarray,
    *,
    names: Sequence[str],
    depth_a: np.ndarray,
    inside: np.ndarray,
    pixel_size_a: float,
    bin_a: float,
    rng: np.random.Generator,
    recall: Recall | None = None,
    probability: np.ndarray | None = None,
    along_a: np.ndarray | None = None,
    replicates: int = REPLICATES,
) -> DepthProfiles:
    r"""Return the share of each phase and of the amorphous against depth, with its interval.

    For an interphase seen edge-on. Not for plan view, where depth lies along the beam.

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
        Width of a depth bin [Å].
    rng
        Source of randomness.
    recall
        Phase → share of it that is seen where it is, with its 95 % interval, or a function of
        depth; from a reference set. ``None`` corrects nothing.
    probability
        Probability that the label is right, shape (M, N); the rest is `unnamed`.
    along_a
        Place along the surface [Å], shape (M, N); ``None`` takes it from the depth.
    replicates
        Number of draws.

    Returns
    -------
    DepthProfiles
        Every place on the surface has the same weight at all depths.

    Raises
    ------
    ParameterError
        The maps do not fit each other, nothing is inside, or a recall is none.

    Notes
    -----
    Columns are drawn in blocks (`resample_columns`). The corrected share is
    :math:`f_p = s_p / r_p` with the share seen s and the recall r, and
    :math:`f_a = 1 - u - \sum f_p` with what is unnamed, u: what was not seen of the phases is among
    the amorphous. One recall per phase is drawn for all depths of a draw, normal in its logarithm
    on each side of the mean. Where :math:`\sum f_p > 1 - u` they are cut to it in proportion. Where
    the interval of a recall reaches 0, any share is possible and none is returned.

    Examples
    --------
    >>> depth = np.tile(np.arange(-3.5, 8.0)[:, None], (1, 40))
    >>> labels = np.where(depth < 4, 0, -1)
    >>> profiles = depth_profiles(
    ...     labels, names=["Li2O"], depth_a=depth, inside=depth > 0, pixel_size_a=1.0, bin_a=2.0,
    ...     rng=np.random.default_rng(1),
    ... )
    >>> profiles.seen["Li2O"].value.tolist(), profiles.depth_a.tolist()
    ([1.0, 1.0, 0.0, 0.0], [1.0, 3.0, 5.0, 7.0])
    """
    check_maps(
        labels,
        names=names,
        depth_a=depth_a,
        inside=inside,
        pixel_size_a=pixel_size_a,
        bin_a=bin_a,
    )
    return profile_columns(
        unroll(depth_a=depth_a, inside=inside, pixel_size_a=pixel_size_a, along_a=along_a),
        labels,
        names=names,
        depth_a=depth_a,
        inside=inside,
        bin_a=bin_a,
        rng=rng,
        recall=recall,
        probability=probability,
        replicates=replicates,
    )


def profile_columns(
    rolled: Unrolled,
    labels: np.ndarray,
    *,
    names: Sequence[str],
    depth_a: np.ndarray,
    inside: np.ndarray,
    bin_a: float,
    rng: np.random.Generator,
    recall: Recall | None,
    probability: np.ndarray | None,
    replicates: int,
) -> DepthProfiles:
    """Return the profiles of a map that is rolled out; see `depth_profiles`."""
    sure = _checked_probability(probability, np.shape(labels))
    one_hot = rolled.one_hot(labels, len(names))
    resampling = resample_columns(
        one_hot, least=int(np.ceil(bin_a / rolled.step_a)), replicates=replicates, rng=rng
    )
    cells, middle = rolled.bins(depth_a, bin_a)
    # Amount of each class (K + 1, B, S), and of all that was seen or is there (B, S).
    amount = sum_bins(one_hot * rolled.take(sure, fill=0.0), cells)
    total, there = sum_bins(np.stack([one_hot.any(axis=0), cells >= 0]), cells)
    value = _share(amount.sum(axis=-1), total.sum(axis=-1))
    samples = _share(
        np.einsum("rs,kbs->rkb", resampling.weights, amount),
        (resampling.weights @ total.T)[:, None],
    )
    low, high = resampling.share_interval(value, samples)
    everything = (*names, "amorphous")
    seen = {
        name: Band(value=value[i], low=low[i], high=high[i], samples=samples[:, i])
        for i, name in enumerate(everything)
    }
    notes: tuple[str, ...] = ()
    corrected: dict[str, Band] = {}
    cut = np.zeros(len(middle), dtype=bool)
    if not resampling.enough:
        notes += (
            f"No intervals: the surface in view is {resampling.number:.1f} independent lengths; "
            "more of it, or more images, would give them.",
        )
    if recall is not None:
        corrected, cut, more = _correct(seen, names, middle, recall, resampling, rng)
        notes += more
    return DepthProfiles(
        depth_a=middle,
        bin_a=float(bin_a),
        seen=seen,
        corrected=corrected,
        cut=cut,
        unnamed=1 - value.sum(axis=0),
        seen_share=total.sum(axis=-1) / there.sum(axis=-1),
        area=_pixels_seen(labels, depth_a, inside, bin_a, middle),
        resampling=resampling,
        notes=notes,
    )


def _checked_probability(probability: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    if probability is None:
        return np.ones(shape)
    sure = np.asarray(probability, dtype=float)
    if sure.shape != shape or not ((sure >= 0) & (sure <= 1)).all():
        raise ParameterError(
            f"probability has shape {sure.shape} and values from {np.min(sure):g} to "
            f"{np.max(sure):g}: expected {shape} and values from 0 to 1"
        )
    return sure


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return parts over the whole, NaN where there is none of it."""
    return np.asarray(np.where(whole > 0, part / np.maximum(whole, 1e-12), np.nan))


def _pixels_seen(
    labels: np.ndarray, depth_a: np.ndarray, inside: np.ndarray, bin_a: float, middle: np.ndarray
) -> np.ndarray:
    """Return the number of pixels of the image that were seen in each bin."""
    depth = np.asarray(depth_a, dtype=float)[np.asarray(inside) & (np.asarray(labels) >= -1)]
    edges = np.append(middle - bin_a / 2, middle[-1] + bin_a / 2)
    at = np.searchsorted(edges, depth + 1e-9 * bin_a, side="right") - 1
    return np.bincount(at.clip(0, len(middle) - 1), minlength=len(middle))


def _correct(
    seen: Mapping[str, Band],
    names: Sequence[str],
    depth: np.ndarray,
    recall: Recall,
    resampling: Resampling,
    rng: np.random.Generator,
) -> tuple[dict[str, Band], np.ndarray, tuple[str, ...]]:
    """Return the shares corrected for recall, where they were cut, and what has to be said."""
    draws = len(resampling.weights)
    notes: list[str] = []
    mean, low, high = (np.full((len(names), len(depth)), np.nan) for _ in range(3))
    for i, name in enumerate(names):
        mean[i], low[i], high[i] = _recall_at(name, recall.get(name), depth)
        # A phase that nobody saw anywhere and of which nothing is known takes no part.
        if not np.isfinite(mean[i]).all():
            where = "at any depth" if np.isnan(mean[i]).all() else "at some depths"
            notes.append(
                f"{name} cannot be corrected {where}: its recall is not known or may be 0 there."
            )
    z = rng.standard_normal((draws, len(names), 1)) / Z
    side = np.where(z > 0, np.log(high / mean), np.log(mean / low))
    drawn = np.minimum(mean * np.exp(z * side), 1.0)
    value = np.stack([seen[name].value for name in names]) / mean
    samples = np.stack([seen[name].samples for name in names], axis=1) / drawn
    named = [seen[name].value for name in (*names, "amorphous")]
    room = np.sum(named, axis=0)
    cut = value.sum(axis=0) > room + 1e-9
    value = value * np.minimum(1.0, room / np.maximum(value.sum(axis=0), 1e-12))
    room_drawn = np.sum([seen[name].samples for name in (*names, "amorphous")], axis=0)
    samples *= np.minimum(1.0, room_drawn / np.maximum(samples.sum(axis=1), 1e-12))[:, None]
    if cut.any():
        notes.append(
            f"In {cut.sum()} of {len(depth)} bins what was seen over its recall is more than there "
            "is: the shares are cut to 1 there, and the recall may be too low for this image."
        )
    value = np.vstack([value, room - value.sum(axis=0)])
    rest = room_drawn - samples.sum(axis=1)
    samples = np.concatenate([samples, rest[:, None]], axis=1)
    # What was seen nowhere in a bin may still be there up to the bound of what is seen.
    bottom, top = resampling.share_interval(value, samples)
    unseen = np.stack([seen[name].value == 0 for name in names])
    bound = np.minimum(np.stack([seen[name].high for name in names]) / low, 1.0)
    top[:-1] = np.where(unseen & np.isfinite(mean), bound, top[:-1])
    nothing = unseen.all(axis=0)
    bottom[-1] = np.where(nothing, np.minimum(bottom[-1], 1 - bound.max(axis=0)), bottom[-1])
    bands = {
        name: Band(value=value[i], low=bottom[i], high=top[i], samples=samples[:, i])
        for i, name in enumerate((*names, "amorphous"))
    }
    return bands, cut, tuple(notes)


def _recall_at(
    name: str, recall: tuple[float, float, float] | RecallAtDepth | None, depth: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the recall with its interval at each depth, NaN where nothing follows from it."""
    if recall is None:
        given: Sequence[np.ndarray | float] = (np.nan, np.nan, np.nan)
    else:
        given = recall(depth) if callable(recall) else recall
    mean, low, high = (np.broadcast_to(np.asarray(a, dtype=float), depth.shape) for a in given)
    known = np.isfinite(mean) & np.isfinite(low) & np.isfinite(high)
    if not ((0 <= low) & (low <= mean) & (mean <= high) & (high <= 1))[known].all():
        raise ParameterError(
            f"the recall of {name} is {given!r}: expected the mean and its interval, "
            "0 <= low <= mean <= high <= 1"
        )
    usable = known & (low > 0)
    return tuple(np.where(usable, a, np.nan) for a in (mean, low, high))  # type: ignore[return-value]


def order_of_appearance(profiles: DepthProfiles, *, onset: float = _ONSET) -> Appearance:
    r"""Return in which order phases appear from the electrode outwards, with probabilities.

    Parameters
    ----------
    profiles
        The profiles; corrected ones where there are.
    onset
        A phase has appeared at the depth above which lies this share of its amount.

    Returns
    -------
    Appearance
        Phases by that depth.

    Raises
    ------
    ParameterError
        `onset` is not between 0 and 1.

    Notes
    -----
    The onset solves :math:`\int_0^x f_p = q \int_0^\infty f_p`: a recall that is the same at all
    depths does not move it. Probabilities are shares of the draws, spread as their intervals are,
    ties counting half; a phase that a draw does not hold appears in none before another.

    Examples
    --------
    >>> depth = np.tile(np.arange(-3.5, 8.0)[:, None], (1, 40))
    >>> profiles = depth_profiles(
    ...     np.where(depth < 4, 1, 0), names=["LiF", "Li2O"], depth_a=depth, inside=depth > 0,
    ...     pixel_size_a=1.0, bin_a=2.0, rng=np.random.default_rng(1),
    ... )
    >>> order_of_appearance(profiles).names
    ('Li2O', 'LiF')
    """
    if not 0 < onset < 1:
        raise ParameterError(f"onset is {onset!r}: expected a share between 0 and 1")
    found, left_out = [], []
    place = partial(_onset, depth=profiles.depth_a, bin_a=profiles.bin_a, share=onset)
    for name in profiles.seen:
        if name == "amorphous":
            continue
        band = profiles.seen[name]
        if profiles.corrected and np.isfinite(profiles.corrected[name].value).all():
            band = profiles.corrected[name]
        at, drawn = place(band.value[None])[0], place(band.samples)
        if np.isfinite(at):
            found.append((at, name, drawn))
        else:
            left_out.append(name)
    found.sort(key=lambda entry: entry[0])
    estimates = tuple(
        profiles.resampling.interval(
            at, drawn, bounds=(profiles.depth_a[0] - profiles.bin_a / 2, np.inf)
        )
        for at, _, drawn in found
    )
    draws = np.stack([profiles.resampling.spread(at, d) for at, _, d in found] or [np.zeros(0)])
    steps = (draws[:-1] < draws[1:]) + 0.5 * (draws[:-1] == draws[1:])
    probability = tuple(float(p) for p in steps.mean(axis=1)) if len(found) > 1 else ()
    whole = float(steps.prod(axis=0).mean()) if len(found) > 1 else np.nan
    names = tuple(name for _, name, _ in found)
    assessment, words = _say_order(names, probability, left_out, profiles.resampling.enough)
    return Appearance(
        names=names,
        onset_a=estimates,
        probability=probability,
        order_probability=whole,
        left_out=tuple(left_out),
        assessment=assessment,
        sentence=words,
    )


def _onset(profile: np.ndarray, *, depth: np.ndarray, bin_a: float, share: float) -> np.ndarray:
    """Return the depth above which lies a share of the amount, shape (R,); infinite without any."""
    amount = np.nan_to_num(profile)
    total = amount.sum(axis=1)
    wanted = share * total
    upto = np.cumsum(amount, axis=1)
    # Rounding must not move a bin that holds the wanted share exactly.
    index = np.argmax(upto >= wanted[:, None] * (1 - 1e-12), axis=1)
    rows = np.arange(len(profile))
    here = np.maximum(amount[rows, index], 1e-300)
    within = (wanted - upto[rows, index] + amount[rows, index]) / here
    return np.where(total > 0, depth[index] + (within - 0.5) * bin_a, np.inf)


def _say_order(
    names: tuple[str, ...], probability: tuple[float, ...], left_out: list[str], enough: bool
) -> tuple[Assessment, str]:
    words = " before ".join(names)
    if len(names) < 2:
        assessment = Assessment.TOO_FEW_ELECTRONS
        words = "Fewer than two phases are seen"
    elif enough and min(probability) >= 0.95:
        assessment = Assessment.OK
        words += f" (each with {min(probability):.3g} or more)"
    else:
        assessment = Assessment.AMBIGUOUS
        doubt = [
            f"{a} and {b} ({p:.2f})"
            for a, b, p in zip(names, names[1:], probability, strict=False)
            if p < 0.95
        ]
        words += (
            f"; cannot tell which comes first: {', '.join(doubt)}"
            if doubt
            else "; the surface in view is too short to be sure"
        )
    words += f"; not seen: {', '.join(left_out)}." if left_out else "."
    return assessment, words


def measure_slope(profiles: DepthProfiles, name: str, *, from_a: float, to_a: float) -> Estimate:
    """Return the change of a share per depth between two depths, with its interval [1/Å].

    Parameters
    ----------
    profiles
        The profiles.
    name
        A phase, or ``amorphous``.
    from_a, to_a
        Depths between which it is taken [Å].

    Returns
    -------
    Estimate
        Slope by `interphase.eels.measure_gradient` with the same weight for each bin, its interval
        from the draws.

    Raises
    ------
    ParameterError
        There is no such profile, or fewer than three bins lie between.

    Examples
    --------
    >>> depth = np.tile(np.arange(-3.5, 9.0)[:, None], (1, 40))
    >>> labels = np.where(np.arange(40) % 10 < depth, 0, -1)
    >>> profiles = depth_profiles(
    ...     labels, names=["Li2O"], depth_a=depth, inside=depth > 0, pixel_size_a=1.0, bin_a=1.0,
    ...     rng=np.random.default_rng(1),
    ... )
    >>> round(measure_slope(profiles, "Li2O", from_a=0, to_a=9).value, 3)
    0.1
    """
    return _over_draws(
        profiles, name, lambda p: measure_gradient(p, from_a=from_a, to_a=to_a).per_a
    )


def measure_width(
    profiles: DepthProfiles,
    name: str,
    *,
    blur_fwhm_a: float,
    from_a: float = -np.inf,
    to_a: float = np.inf,
    draws: int = 100,
) -> Estimate:
    """Return the 10-90 % width of a share's transition, blur taken out, with its interval [Å].

    Parameters
    ----------
    profiles
        The profiles.
    name
        A phase, or ``amorphous``.
    blur_fwhm_a
        Full width at half maximum of what blurs the map, a Gaussian [Å]: window, delocalisation.
    from_a, to_a
        Depths between which one transition lies [Å].
    draws
        Draws of columns in which it is measured again; each takes some milliseconds.

    Returns
    -------
    Estimate
        Width by `interphase.eels.fit_transition` with the same weight for each bin; 0 where it is
        not told from a sharp one, NaN with the reason where no step is above the noise.

    Raises
    ------
    ParameterError
        There is no such profile, or fewer than six bins lie between.

    Examples
    --------
    >>> depth = np.tile(np.arange(-3.5, 20.0)[:, None], (1, 40))
    >>> profiles = depth_profiles(
    ...     np.where(depth < 10, 0, -1), names=["Li2O"], depth_a=depth, inside=depth > 0,
    ...     pixel_size_a=1.0, bin_a=1.0, rng=np.random.default_rng(1),
    ... )
    >>> measure_width(profiles, "Li2O", blur_fwhm_a=1.0).value
    0.0
    """

    def width(profile: Profile) -> float:
        inside = (profile.distance_a >= from_a) & (profile.distance_a <= to_a)
        part = Profile(
            distance_a=profile.distance_a[inside],
            value=profile.value[inside],
            standard_error=profile.standard_error[inside],
            step_a=profile.step_a,
        )
        fit = fit_transition(part, blur_fwhm_a=blur_fwhm_a)
        if fit.place_a is None or not np.isfinite(fit.high_a):
            return np.nan
        return 0.0 if fit.width_a is None else fit.width_a

    found = _over_draws(profiles, name, width, draws=draws, bounds=(0.0, np.inf))
    if np.isnan(found.value):
        return Estimate.missing(
            f"no step of {name} is above the noise, or nothing bounds its width",
            number=found.number,
        )
    return found


def _over_draws(
    profiles: DepthProfiles,
    name: str,
    measure: Callable[[Profile], float],
    *,
    draws: int | None = None,
    bounds: tuple[float, float] = (-np.inf, np.inf),
) -> Estimate:
    """Return what is measured of a profile, with the interval of the same over the draws."""
    band = profiles.band(name)
    if not profiles.resampling.enough:
        return Estimate.missing(
            f"the surface in view is {profiles.resampling.number:.1f} independent lengths: no "
            "errors, no fit",
            number=profiles.resampling.number,
        )
    base = profiles.profile(name)
    # Errors that follow the shares would favour bins where little was seen by chance.
    even = np.full_like(base.value, np.sqrt(np.mean(base.standard_error**2)))
    base = replace(base, standard_error=even)
    known = np.isin(profiles.depth_a, base.distance_a)

    def again(drawn: np.ndarray) -> float:
        return measure(replace(base, value=np.where(np.isfinite(drawn), drawn, base.value)))

    samples = np.array([again(drawn) for drawn in band.samples[:draws, known]])
    return profiles.resampling.interval(measure(base), samples, bounds=bounds)

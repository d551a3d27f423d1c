r"""How strongly a set of spots speaks for each candidate.

The spots of a place are a point pattern: reflections of one crystal, each seen or not, mixed
with clutter (a neighbour's spots, noise). For a lattice in a known orientation whose
reflections :math:`g_j` are seen with probabilities :math:`p_j`, the likelihood over that of
clutter alone is

.. math:: L = \prod_j \Big[ (1 - p_j) + \frac{p_j}{\rho} N(k_{i(j)}; g_j, \sigma^2) \Big],

where :math:`\rho` is the density of clutter and :math:`k_{i(j)}` the spot nearest to
:math:`g_j`. Present reflections count for the lattice, absent ones against it, and spots that
belong to something else count for nothing, however strong they are: a misfit has a bounded cost.
The evidence of a phase is the weighted mean of L over all orientations. The scale error of the
image stays explicit, because all places of an image share it.

The form is that of multi-target tracking with clutter and missed detections
(Bar-Shalom & Li, Multitarget-Multisensor Tracking, 1995), applied to a lattice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from interphase.diffraction.options import Evidence, ScalePrior
from interphase.diffraction.templates import MAX_REFLECTIONS, Templates

# Scale errors at which evidence is tabulated (fraction by which lengths come out too long).
SCALE_GRID = np.linspace(-0.099, 0.099, 67)
# Cells are taken as known to this (fraction): temperature, composition, rounding. A working value.
CELL_SIGMA = 0.003
# Spots that are matched; the strongest of a place.
MAX_SPOTS = 8
# Spots from which an orientation is tried, in pairs.
BASE_SPOTS = 5
# Product of the relative intensities from which on two reflections may be the first two seen.
WEAK_PAIR = 1e-3
# Orientations whose evidence is below the best of their phase by more than this (logarithm) add
# nothing.
NEGLIGIBLE = 9.0
# Factor by which a reflection's strength commonly differs from its kinematic intensity.
STRENGTH_SPREAD = 3.0
# Expected fall of the logarithm of strength with k² [Å²].
FALL_SPREAD = 8.0
# Range of the logarithm of the strengths of clutter.
STRENGTH_RANGE = 4.0
# Width of the bins of the index of pairs [1/Å].
BIN = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """The templates of all candidates in one array, with an index of their pairs of reflections."""

    phases: tuple[str, ...]
    """Identifiers of the candidates."""
    phase: np.ndarray
    """Index into `phases` per template, shape (T,)."""
    g: np.ndarray
    """Reflections as complex numbers x + iy [1/Å], shape (T, J); 0 is padding."""
    share: np.ndarray
    """Relative intensity, shape (T, J); 0 is padding."""
    hkl: np.ndarray
    """Indices, shape (T, J, 3)."""
    zone_axis: np.ndarray
    """[u, v, w], shape (T, 3)."""
    weight: np.ndarray
    """Prior probability among the templates of the same phase, shape (T,)."""
    pairs: np.ndarray
    """Template and the two reflections of each pair, ordered by the bins of their lengths,
    shape (P, 3), int."""
    pair_key: np.ndarray
    """Bin of each pair, sorted, shape (P,)."""

    @classmethod
    def from_templates(cls, templates: Sequence[Templates]) -> Self:
        """Join the templates of the candidates and index their pairs."""
        g = np.concatenate([t.g_per_a[..., 1] + 1j * t.g_per_a[..., 0] for t in templates])
        share = np.concatenate([t.share for t in templates])
        g = np.where(share > 0, g, 0)
        phase = np.repeat(np.arange(len(templates)), [len(t.weight) for t in templates])
        first, second = np.nonzero(~np.eye(MAX_REFLECTIONS, dtype=bool))
        rows = np.broadcast_to(np.arange(len(g))[:, None], (len(g), len(first)))
        pairs = np.stack(
            [rows, np.broadcast_to(first, rows.shape), np.broadcast_to(second, rows.shape)], axis=-1
        ).reshape(-1, 3)
        a, b = g[pairs[:, 0], pairs[:, 1]], g[pairs[:, 0], pairs[:, 2]]
        # Parallel reflections do not fix an orientation any better than one of them, and two weak
        # ones are not what the strongest spots are.
        usable = np.abs((a.conj() * b).imag) > 0.1 * np.abs(a) * np.abs(b)
        usable &= share[pairs[:, 0], pairs[:, 1]] * share[pairs[:, 0], pairs[:, 2]] > WEAK_PAIR
        key = _pair_key(np.abs(a), np.abs(b))
        order = np.flatnonzero(usable)[np.argsort(key[usable], kind="stable")]
        return cls(
            phases=tuple(t.phase for t in templates),
            phase=phase,
            g=g,
            share=share,
            hkl=np.concatenate([t.hkl for t in templates]),
            zone_axis=np.concatenate([t.zone_axis for t in templates]),
            weight=np.concatenate([t.weight for t in templates]),
            pairs=pairs[order].astype(np.int32),
            pair_key=key[order],
        )


def _pair_key(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.asarray((first / BIN).astype(int) * 1000 + (second / BIN).astype(int))


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """The best orientation of one phase for a set of spots."""

    phase: str
    """Identifier."""
    zone_axis: tuple[int, int, int]
    """Beam direction, small integers."""
    matched: tuple[tuple[int, tuple[int, int, int]], ...]
    """Pairs of spot number and hkl."""
    scale_error: float
    """Fraction by which lengths come out too long in this match."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidences:
    """Likelihoods of the hypotheses about one place, relative to clutter alone."""

    phases: np.ndarray
    """Likelihood per candidate and scale error, shape (C, E)."""
    unknown: float
    """Likelihood of a crystal that is none of the candidates."""
    best: tuple[Match | None, ...]
    """Best orientation per candidate, ``None`` where no pair of spots fits."""


def scale_prior(prior: ScalePrior) -> np.ndarray:
    """Return the probability of each value of `SCALE_GRID`, shape (E,), sums to 1."""
    narrow, wide = (
        np.exp(-0.5 * (SCALE_GRID / sigma) ** 2) / sigma
        for sigma in (prior.sigma, prior.wide_sigma)
    )
    density = (1 - prior.wide_weight) * narrow + prior.wide_weight * wide
    return np.asarray(density / density.sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Visibility:
    """What decides whether a reflection of the lattice is seen as a spot."""

    strongest: float
    """Power over the floor of the strongest spot seen."""
    farthest: float
    """Greatest spatial frequency at which a spot was seen [1/Å]."""
    threshold: float
    """Power over the floor from which on spots are listed."""
    largest: float
    """Probability to see a reflection far above the threshold."""


def detection_probability(share: np.ndarray, k: np.ndarray, by: Visibility) -> np.ndarray:
    """Return the probability to see a reflection.

    Parameters
    ----------
    share
        Intensity over that of the strongest reflection of the template.
    k
        Spatial frequency [1/Å], of the shape of `share`.
    by
        What decides.

    Notes
    -----
    Rises as x / (1 + x) with x the predicted power over the threshold: a slow rise, because
    contrast transfer, tilt and dynamical scattering change powers by factors of a few. Beyond
    the farthest spot seen it falls with the fourth power of k, because the transfer of the
    microscope may have ended there.
    """
    predicted = share * by.strongest / by.threshold
    transfer = np.minimum(1, (by.farthest / np.maximum(k, 1e-9)) ** 4)
    return np.asarray(by.largest * transfer * predicted / (1 + predicted))


def weigh(
    k_per_a: np.ndarray,
    strength: np.ndarray,
    library: Library,
    *,
    sigma_per_a: float,
    k_range_per_a: tuple[float, float],
    threshold: float,
    evidence: Evidence,
    scale: ScalePrior,
) -> Evidences:
    """Return how strongly spots speak for each candidate and for an unknown crystal.

    Parameters
    ----------
    k_per_a
        Positions (ky, kx) of the spots [1/Å], strongest first, ndarray of shape (S, 2).
    strength
        Power over the floor, shape (S,).
    library
        Templates of the candidates.
    sigma_per_a
        Standard deviation of a spot's position along each axis [1/Å].
    k_range_per_a
        Least and greatest spatial frequency that was searched [1/Å].
    threshold
        Power over the floor from which on spots were listed.
    evidence
        Numbers of the model.
    scale
        Belief about the scale error: its anisotropy is integrated out here, the common error is
        left to `combine` and only decides which orientation is called the best.
    """
    spots = (k_per_a[:, 1] + 1j * k_per_a[:, 0])[:MAX_SPOTS]
    if len(strength) > MAX_SPOTS:
        # Reflections as weak as the spots left out are not waited for.
        threshold = max(threshold, float(strength[MAX_SPOTS - 1]))
    visibility = Visibility(
        strongest=float(strength[0]),
        farthest=float(abs(spots).max()),
        threshold=threshold,
        largest=evidence.max_detection,
    )
    seen = detection_probability(library.share, abs(library.g), visibility)
    k_min, k_max = k_range_per_a
    clutter = evidence.clutter / (np.pi * (k_max**2 - k_min**2) / 2)
    unseen = np.log1p(-seen)
    background = unseen.sum(axis=1)
    odds = np.log(np.maximum(seen, 1e-12) / clutter) - unseen

    table = np.zeros((len(library.phases), len(SCALE_GRID)))
    _add_singles(table, spots, library, odds, background, sigma_per_a)
    best = _add_orientations(table, spots, strength, library, odds, background, sigma_per_a, scale)
    unknown = _unknown_lattice(
        spots,
        sigma=sigma_per_a,
        anisotropy=scale.anisotropy,
        visibility=visibility,
        clutter=clutter,
        k_max=k_max,
    )
    return Evidences(phases=table, unknown=unknown, best=best)


def _add_singles(
    table: np.ndarray,
    spots: np.ndarray,
    library: Library,
    odds: np.ndarray,
    background: np.ndarray,
    sigma: float,
) -> None:
    """Add the evidence of orientations that explain one spot only, for all rotations at once."""
    modulus = np.abs(library.g)
    log_weight = np.log(library.weight)[:, None] + odds + background[:, None]
    weight = np.where(library.share > 0, np.exp(np.clip(log_weight, -700, 700)), 0)
    shape = (len(library.phases), len(SCALE_GRID))
    step = SCALE_GRID[1] - SCALE_GRID[0]
    row = np.broadcast_to(library.phase[:, None], modulus.shape)
    for spot in np.abs(spots):
        # Lengths too long by e put a spot at g / (1 + e).
        column = np.rint((modulus / spot - 1 - SCALE_GRID[0]) / step).astype(int)
        inside = (column >= 0) & (column < len(SCALE_GRID)) & (weight > 0)
        comb = np.bincount(
            row[inside] * len(SCALE_GRID) + column[inside],
            weight[inside],
            minlength=table.size,
        ).reshape(shape)
        width = np.hypot(sigma / spot, CELL_SIGMA)
        blur = np.exp(-0.5 * ((SCALE_GRID[:, None] - SCALE_GRID) / width) ** 2)
        # The spot may lie anywhere on half a ring of radius k: its density in two dimensions.
        table += comb @ blur / (np.pi * spot * np.sqrt(2 * np.pi) * spot * width)


def _accumulate(
    table: np.ndarray,
    phase: np.ndarray,
    log_weight: np.ndarray,
    centre: np.ndarray,
    width: np.ndarray,
) -> None:
    """Add Gaussians over the scale error, each of height exp(log_weight), to their phases."""
    if len(phase) == 0:
        return
    total = np.hypot(width, CELL_SIGMA)
    height = np.exp(np.clip(log_weight, -700, 700)) * width / total
    curve = height[:, None] * np.exp(-0.5 * ((SCALE_GRID - centre[:, None]) / total[:, None]) ** 2)
    np.add.at(table, phase, curve)


def _candidate_orientations(
    spots: np.ndarray, library: Library, sigma: float, anisotropy: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return template, rotation (unit complex) and mirror (bool) suggested by pairs of spots."""
    found = []
    base = spots[:BASE_SPOTS]
    for i in range(len(base)):
        for j in range(i + 1, len(base)):
            a, b = base[i], base[j]
            if abs((a.conjugate() * b).imag) < 0.1 * abs(a) * abs(b):
                continue
            rows = _pairs_of_length(library, abs(a), abs(b), sigma)
            template, first, second = library.pairs[rows].T
            ga, gb = library.g[template, first], library.g[template, second]
            # Ratio and angle do not depend on the scale.
            spread = sigma * np.hypot(1 / abs(a), 1 / abs(b)) + 2 * anisotropy
            for mirrored in (False, True):
                pa, pb = (ga.conj(), gb.conj()) if mirrored else (ga, gb)
                measured = b / a
                predicted = pb / pa
                off = np.minimum(abs(measured - predicted), abs(measured + predicted))
                good = off < 3.0 * spread * max(abs(measured), 1.0)
                rotation = a / pa[good]
                found.append(
                    (template[good], rotation / abs(rotation), np.full(good.sum(), mirrored))
                )
    if not found:
        empty = np.zeros(0, dtype=int)
        return empty, np.zeros(0, dtype=complex), np.zeros(0, dtype=bool)
    template, rotation, mirror = (np.concatenate(a) for a in zip(*found, strict=True))
    return template, rotation, mirror


def _pairs_of_length(library: Library, first: float, second: float, sigma: float) -> np.ndarray:
    """Return the rows of the pair index whose lengths agree within the widest scale error."""
    reach = [3 * sigma + 0.08 * k for k in (first, second)]
    low, high = (int(max(first - reach[0], 0) / BIN), int((first + reach[0]) / BIN))
    bins = np.arange(low, high + 1) * 1000
    starts = np.searchsorted(library.pair_key, bins + int(max(second - reach[1], 0) / BIN))
    stops = np.searchsorted(library.pair_key, bins + int((second + reach[1]) / BIN), side="right")
    return np.concatenate([np.arange(a, b) for a, b in zip(starts, stops, strict=True)])


def _add_orientations(
    table: np.ndarray,
    spots: np.ndarray,
    strength: np.ndarray,
    library: Library,
    odds: np.ndarray,
    background: np.ndarray,
    sigma: float,
    scale: ScalePrior,
) -> tuple[Match | None, ...]:
    """Add the evidence of orientations that explain two spots or more; return the best of each."""
    none: tuple[Match | None, ...] = (None,) * len(library.phases)
    template, rotation, mirror = _candidate_orientations(spots, library, sigma, scale.anisotropy)
    if len(template) == 0:
        return none
    g = library.g[template]
    g = np.where(mirror[:, None], g.conj(), g) * rotation[:, None]
    measured, nearest, matched = _assign(g, library.share[template] > 0, spots, sigma)
    prior = background[template] + np.log(library.weight[template])
    odds = odds[template] + _strength_odds(
        strength[nearest] / strength[0], library.share[template], abs(g), matched
    )
    rough = prior + _rough_evidence(g, measured, matched, odds, sigma, scale.anisotropy)
    phase = library.phase[template]
    greatest = np.full(len(library.phases), -np.inf)
    np.maximum.at(greatest, phase, rough)
    kept = (matched.sum(axis=1) >= 2) & (rough > greatest[phase] - NEGLIGIBLE)
    template, phase, g, measured, nearest, matched, prior, odds = (
        x[kept] for x in (template, phase, g, measured, nearest, matched, prior, odds)
    )
    log_weight, centre, width, matched = _fit(g, measured, matched, odds, sigma, scale.anisotropy)
    count = matched.sum(axis=1)
    # Every pair among the matched base spots led to this orientation once; and of the two mirror
    # images one is meant.
    base = (matched & (nearest < BASE_SPOTS)).sum(axis=1)
    log_weight += prior - np.log(np.maximum(base * (base - 1), 1))
    keep = (count >= 2) & np.isfinite(log_weight)
    if not keep.any():
        return none
    _accumulate(table, phase[keep], log_weight[keep], centre[keep], width[keep])

    best: list[Match | None] = []
    belief = np.interp(centre, SCALE_GRID, scale_prior(scale), left=0, right=0)
    score = np.where(keep, log_weight + np.log(np.maximum(belief, 1e-300)), -np.inf)
    for number, name in enumerate(library.phases):
        own = np.where(phase == number, score, -np.inf)
        h = int(own.argmax())
        if not np.isfinite(own[h]):
            best.append(None)
            continue
        t = template[h]
        pairs = tuple(
            (int(nearest[h, j]), _triple(library.hkl[t, j])) for j in np.flatnonzero(matched[h])
        )
        best.append(
            Match(
                phase=name,
                zone_axis=_triple(library.zone_axis[t]),
                matched=pairs,
                scale_error=float(centre[h]),
            )
        )
    return tuple(best)


def _triple(indices: np.ndarray) -> tuple[int, int, int]:
    first, second, third = (int(n) for n in indices)
    return first, second, third


def _strength_odds(
    measured: np.ndarray, predicted: np.ndarray, k: np.ndarray, matched: np.ndarray
) -> np.ndarray:
    """Return the logarithm of how much better relative strengths fit a reflection than clutter.

    The transfer of the microscope falls with k as ``exp(-b k²)`` with b to be found for each
    orientation. About that, contrast transfer, tilt and dynamical scattering spread the ratio
    of measured to predicted by a factor of `STRENGTH_SPREAD`, and one time in ten by anything;
    clutter has any strength. All arrays have the shape (H, J).
    """
    sigma = np.log(STRENGTH_SPREAD)
    off = np.log(measured / np.maximum(predicted, 1e-6))
    square = np.where(matched, k**2, 0)
    count = np.maximum(matched.sum(axis=1, keepdims=True), 1)
    mean_off = (off * matched).sum(axis=1, keepdims=True) / count
    mean_square = square.sum(axis=1, keepdims=True) / count
    from_mean = np.where(matched, k**2 - mean_square, 0)
    # A prior keeps two spots from setting any fall.
    fall = -(from_mean * (off - mean_off)).sum(axis=1, keepdims=True) / (
        (from_mean**2).sum(axis=1, keepdims=True) + (sigma / FALL_SPREAD) ** 2
    )
    off = off - mean_off + np.clip(fall, 0, None) * (k**2 - mean_square)
    regular = np.exp(-0.5 * (off / sigma) ** 2) / (np.sqrt(2 * np.pi) * sigma)
    return np.asarray(np.log(0.9 * regular * STRENGTH_RANGE + 0.1))


def _rough_evidence(
    g: np.ndarray,
    measured: np.ndarray,
    matched: np.ndarray,
    odds: np.ndarray,
    sigma: float,
    anisotropy: float,
) -> np.ndarray:
    """Return about the logarithm of the evidence of each orientation, to drop hopeless ones."""
    length2 = np.square(g.real) + np.square(g.imag)
    residual = measured - g
    shift = (matched * (g.conj() * residual).real).sum(axis=1) / np.maximum(
        (matched * length2).sum(axis=1), 1e-9
    )
    residual -= shift[:, None] * g
    spread = sigma**2 + 2 * anisotropy**2 * length2
    misfit = (np.square(residual.real) + np.square(residual.imag)) / spread
    worth = odds - np.log(2 * np.pi * sigma**2) - 0.5 * misfit
    return np.asarray((matched * np.maximum(worth, 0)).sum(axis=1))


def _assign(
    g: np.ndarray, present: np.ndarray, spots: np.ndarray, sigma: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the spot nearest to each reflection, its number, and whether they belong together.

    Each reflection takes the nearest spot (or its Friedel mate), each spot its nearest
    reflection, within four standard deviations and the widest scale error.
    """
    plus, minus = abs(g[..., None] - spots), abs(g[..., None] + spots)
    distance = np.where(present[..., None], np.minimum(plus, minus), np.inf)
    nearest = distance.argmin(axis=2)
    own = np.take_along_axis(distance, nearest[..., None], axis=2)[..., 0]
    mutual = np.take_along_axis(distance.argmin(axis=1), nearest, axis=1) == np.arange(g.shape[1])
    closer = np.take_along_axis(plus <= minus, nearest[..., None], axis=2)[..., 0]
    measured = spots[nearest] * np.where(closer, 1, -1)
    return measured, nearest, mutual & (own < 4 * sigma + 0.08 * abs(g))


def _fit(
    g: np.ndarray,
    measured: np.ndarray,
    matched: np.ndarray,
    odds: np.ndarray,
    sigma: float,
    anisotropy: float | np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the evidence of each orientation with rotation and anisotropic strain integrated out.

    Rotation has a flat prior over half a turn, the two anisotropic strains a normal one of
    standard deviation `anisotropy`; the scale error e stays, as a Gaussian of log height,
    centre and width. A reflection whose misfit makes it worth less than missing it is counted
    as missed.
    """
    log_height = np.zeros(len(g))
    centre = np.zeros(len(g))
    width = np.ones(len(g))
    for _ in range(2):
        weight = matched / sigma**2
        # A spot lies at g (1 - e), turned and strained a little.
        columns = np.stack([1j * g, g.conj(), 1j * g.conj()], axis=-1)
        residual = measured - g
        normal = np.einsum("hj,hja,hjb->hab", weight, columns.conj(), columns).real
        normal[:, 0, 0] += 1e-6
        normal[:, [1, 2], [1, 2]] += np.reshape(anisotropy, (-1, 1)) ** -2.0
        inverse = np.linalg.inv(normal)

        def project(
            a: np.ndarray,
            b: np.ndarray,
            weight: np.ndarray = weight,
            columns: np.ndarray = columns,
            inverse: np.ndarray = inverse,
        ) -> np.ndarray:
            """Return the inner product of two displacement fields, nuisances projected out."""
            plain = np.einsum("hj,hj,hj->h", weight, a.conj(), b).real
            left = np.einsum("hj,hja,hj->ha", weight, columns.conj(), a).real
            right = np.einsum("hj,hja,hj->ha", weight, columns.conj(), b).real
            return np.asarray(plain - np.einsum("ha,hab,hb->h", left, inverse, right))

        curvature = np.maximum(project(g, g), 1e-6)
        centre = -project(g, residual) / curvature
        width = curvature**-0.5
        chi2 = project(residual, residual) - centre**2 * curvature
        count = matched.sum(axis=1)
        log_height = (
            (matched * odds).sum(axis=1)
            - count * np.log(2 * np.pi * sigma**2)
            - 0.5 * chi2
            + 1.5 * np.log(2 * np.pi)
            - 0.5 * np.linalg.slogdet(normal)[1]
            - np.log(2 * np.pi * np.square(anisotropy))
            - np.log(np.pi)
        )
        # Drop what fits worse than it would be missed.
        strain = np.einsum(
            "hab,hb->ha",
            inverse,
            np.einsum("hj,hja,hj->ha", weight, columns.conj(), residual + centre[:, None] * g).real,
        )
        left_over = residual + centre[:, None] * g - np.einsum("hja,ha->hj", columns, strain)
        worth = odds - np.log(2 * np.pi * sigma**2) - 0.5 * abs(left_over) ** 2 / sigma**2
        matched = matched & (worth > 0)
    # Lengths too long by e shorten g by the factor 1 / (1 + e).
    return log_height, centre / (1 - centre), width, matched


# Plane nets that crystals of high symmetry show, as the second basis vector over the first, with
# their share of unknown crystals.
NETS: dict[str, tuple[float, complex]] = {
    "hexagonal": (0.06, np.exp(1j * np.pi / 3)),
    "square": (0.05, 1j),
    "fcc along 110": (0.04, np.exp(1j * np.arccos(1 / 3))),
}
# All other nets are oblique: any two spots, with this share and this freedom of shape.
OBLIQUE_SHARE = 0.85
OBLIQUE_STRAIN = 0.3
# Range of the logarithm of an unknown crystal's spacings.
LOG_RANGE = 1.6
# Half of the points of a net with indices up to 2.
_ORDERS = np.array([(m, n) for m in range(3) for n in range(-2, 3) if m > 0 or n > 0])


def _unknown_lattice(
    spots: np.ndarray,
    *,
    sigma: float,
    anisotropy: float,
    visibility: Visibility,
    clutter: float,
    k_max: float,
) -> float:
    """Return the likelihood of a crystal with a lattice that is not among the candidates.

    Its net has any scale and rotation, and is hexagonal, square, that of a face-centred cubic
    crystal along [110], or oblique. Points of the net count as the reflections of a candidate
    do, with intensities that fall with the square of the spatial frequency.
    """
    first, second, share, strain = [], [], [], []
    symmetric = 2 * len(NETS) * len(spots)
    for prior, ratio in NETS.values():
        # Any spot may be the first point of the net, or that of its second shell.
        for shell in (1.0, 1 + ratio):
            for base in spots:
                first.append(base / shell)
                second.append(base / shell * ratio)
                share.append(prior / 2)
                strain.append(anisotropy)
    for i, a in enumerate(spots):
        for b in spots[:i]:
            if abs((a.conjugate() * b).imag) > 0.1 * abs(a) * abs(b):
                first.append(a)
                second.append(b)
                share.append(OBLIQUE_SHARE)
                strain.append(OBLIQUE_STRAIN)
    g = np.stack([first, second], axis=1) @ _ORDERS.T
    length = abs(g)
    intensity = (length.min(axis=1, keepdims=True) / np.maximum(length, 1e-9)) ** 2
    intensity = np.where(length < k_max, intensity, 0)
    seen = detection_probability(intensity, length, visibility)
    odds = np.log(np.maximum(seen, 1e-12) / (1 - seen) / clutter)
    measured, _, matched = _assign(g, intensity > 0, spots, sigma)
    log_height, _, width, matched = _fit(g, measured, matched, odds, sigma, np.array(strain))
    count = np.maximum(matched.sum(axis=1), 1).astype(float)
    # A net is found from each of its spots, an oblique one from each of its pairs of spots.
    count[symmetric:] *= np.maximum(count[symmetric:] - 1, 1) / 2
    log_weight = (
        log_height
        + np.log1p(-seen).sum(axis=1)
        + np.log(np.array(share) * np.sqrt(2 * np.pi) * width / LOG_RANGE / count)
    )
    several = np.exp(np.clip(log_weight, -700, 700)).sum()
    return float(several + _single_rows(spots, visibility, clutter, k_max))


def _single_rows(spots: np.ndarray, visibility: Visibility, clutter: float, k_max: float) -> float:
    """Return the likelihood of unknown crystals of which one spot is all that shows.

    Its spacing may be any, evenly in the logarithm, and its direction too; the second order, of a
    quarter of the strength, is seen or missed like any reflection.
    """
    k = abs(spots)
    first = detection_probability(np.ones(len(k)), k, visibility)
    order = np.where(
        2 * k < k_max, detection_probability(np.full(len(k), 0.25), 2 * k, visibility), 0
    )
    return float(OBLIQUE_SHARE * (first / clutter / (np.pi * k**2 * LOG_RANGE) * (1 - order)).sum())

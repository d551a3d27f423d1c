r"""How strongly a set of spots speaks for each candidate.

The spots of a place are a point pattern: reflections of one crystal, each listed or not, mixed
with maxima of the noise and with clutter (a neighbour's spots). For a lattice in a known
orientation the likelihood over that of noise and clutter alone is

.. math:: L = \prod_j m(S_j) \prod_{j\,\mathrm{matched}}
          \frac{p(R_{i(j)} | S_j)\, N(k_{i(j)}; g_j, \Sigma_i)}{m(S_j)\, \rho(R_{i(j)})},

where :math:`S_j` is the predicted power of reflection j over the floor, m the probability that it
is not listed, p the density of the strength with which it is (`strengths`), and :math:`\rho` the
density of noise and clutter of that strength. Reflections that are present count for the lattice,
with weak ones counting a little; absent ones count against it as far as they should have been
seen; and spots that belong to something else count for nothing, however strong they are: a misfit
has a bounded cost. The strength of the crystal is averaged over; so is its rotation, and the
anisotropic error of the scale. The evidence of a phase is the weighted mean of L over all
orientations. The scale error of the image stays explicit, because all places of an image share it.

The form is that of multi-target tracking with clutter and missed detections
(Bar-Shalom & Li, Multitarget-Multisensor Tracking, 1995), applied to a lattice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np

from interphase.diffraction.options import Evidence, ScalePrior
from interphase.diffraction.strengths import StrengthLaw, strength_law
from interphase.diffraction.templates import MAX_REFLECTIONS, Templates
from interphase.diffraction.transfer import Transfer

# Scale errors at which evidence is tabulated (fraction by which lengths come out too long).
SCALE_GRID = np.linspace(-0.099, 0.099, 67)
# Cells are taken as known to this (fraction): temperature, composition, rounding. A working value.
CELL_SIGMA = 0.003
# Spots that are matched; the strongest of a place.
MAX_SPOTS = 12
# Spots from which an orientation is tried, in pairs.
BASE_SPOTS = 5
# Reflections of a template, the strongest, whose pairs are indexed.
PAIRED = 14
# Product of the relative intensities from which on two reflections may be the first two seen.
WEAK_PAIR = 1e-3
# Orientations whose evidence is below the best of their phase by more than this (logarithm) add
# nothing.
NEGLIGIBLE = 9.0
# Spots belong to a reflection within this squared distance, in standard deviations.
GATE = 12.0
# Width of the bins of the index of pairs [1/Å].
BIN = 0.01
# Logarithm of the strengths over which a crystal's strongest reflection is averaged, evenly.
LOG_AMPLITUDES = np.arange(1.4, 8.3, 0.6)
# Steps of the logarithm of thresholds.
THRESHOLD_STEP = 0.25
# Strengths of a spot that are told apart where it is all that is seen of a crystal: every so many
# of the law's.
COARSE = 6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
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
    pair_ratio: np.ndarray
    """First over second reflection of each pair, complex, shape (P,)."""

    @classmethod
    def from_templates(cls, templates: Sequence[Templates]) -> Self:
        """Join the templates of the candidates and index their pairs."""
        g = np.concatenate([t.g_per_a[..., 1] + 1j * t.g_per_a[..., 0] for t in templates])
        share = np.concatenate([t.share for t in templates])
        g = np.where(share > 0, g, 0)
        phase = np.repeat(np.arange(len(templates)), [len(t.weight) for t in templates])
        first, second = np.nonzero(~np.eye(min(PAIRED, MAX_REFLECTIONS), dtype=bool))
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
            pair_ratio=a[order] / b[order],
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Expectation:
    """What the strength law expects of every template, at every strength of its crystal."""

    law: StrengthLaw
    """The law."""
    log_share: np.ndarray
    """Logarithm of a reflection's power over that of its template's strongest, (T, J)."""
    first_row: np.ndarray
    """Row of the law for each reflection at the least amplitude, shape (T, J)."""
    all_missed: np.ndarray
    """Logarithm of the probability that no reflection is listed, per amplitude, (T, A)."""
    modulus: np.ndarray
    """Lengths of all reflections, sorted [1/Å], shape (N,)."""
    phase: np.ndarray
    """Index of the phase of each of these, shape (N,)."""
    alone: np.ndarray
    """Density of the logarithm of strength of a reflection that is all that is listed, averaged
    over the amplitudes, times the template's weight, for each of these, shape (R, N)."""


@lru_cache(maxsize=16)
def expect(library: Library, threshold: float, transfer: Transfer | None = None) -> Expectation:
    """Return what is expected of the templates of a library.

    Parameters
    ----------
    library
        The templates.
    threshold
        Power over the floor from which on spots are listed.
    transfer
        How the power of fringes over the floor depends on spatial frequency; ``None`` if not at
        all.
    """
    law = strength_law(threshold)
    log_share = _log_share(library.share, abs(library.g), transfer)
    rows = law.row(log_share[..., None] + LOG_AMPLITUDES)
    present = library.share > 0
    missed = np.where(present[..., None], law.missed[rows], 0)
    all_missed = missed.sum(axis=1)
    template, reflection = np.nonzero(present)
    modulus = abs(library.g[present])
    order = np.argsort(modulus, kind="stable")
    template, reflection = template[order], reflection[order]
    others_missed = np.exp(all_missed[template] - missed[template, reflection])
    others_missed *= library.weight[template, None]
    seen = np.exp(law.seen[:, ::COARSE])
    of_rows = rows[template, reflection]
    alone = np.stack([(others_missed * column[of_rows]).mean(axis=-1) for column in seen.T])
    return Expectation(
        law=law,
        log_share=log_share,
        first_row=np.ascontiguousarray(rows[..., 0]),
        all_missed=all_missed,
        modulus=modulus[order],
        phase=library.phase[template],
        alone=alone,
    )


def _log_share(share: np.ndarray, k: np.ndarray, transfer: Transfer | None) -> np.ndarray:
    """Return the logarithm of the power of reflections over the strongest of their row."""
    visible = share if transfer is None else share * transfer.visibility(k)
    log = np.log(np.maximum(visible, 1e-9), dtype=np.float32)
    log = np.where(share > 0, log, -30)
    return np.asarray(log - log.max(axis=-1, keepdims=True), dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Spots:
    """The spots of one place, as the matching needs them."""

    k: np.ndarray
    """Positions x + iy [1/Å], strongest first, shape (S,)."""
    log_strength: np.ndarray
    """Logarithm of the power over the floor, shape (S,)."""
    radial: np.ndarray
    """Standard deviation of a position along its own direction [1/Å], shape (S,)."""
    tangential: np.ndarray
    """The same across it, shape (S,)."""
    log_clutter: np.ndarray
    """Logarithm of the density of noise and clutter of that strength [Å²], shape (S,)."""


def weigh(
    k_per_a: np.ndarray,
    strength: np.ndarray,
    library: Library,
    *,
    sigma_per_a: float | tuple[np.ndarray, np.ndarray],
    k_range_per_a: tuple[float, float],
    threshold: float,
    evidence: Evidence,
    scale: ScalePrior,
    transfer: Transfer | None = None,
    noise_a2: float = 0.0,
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
        Standard deviation of a spot's position along each axis [1/Å], or those along and across
        its own direction, each of shape (S,).
    k_range_per_a
        Least and greatest spatial frequency that was searched [1/Å].
    threshold
        Power over the floor from which on spots were listed.
    evidence
        Numbers of the model.
    scale
        Belief about the scale error: its anisotropy is integrated out here, the common error is
        left to `combine` and only decides which orientation is called the best.
    transfer
        How the power of fringes over the floor depends on spatial frequency.
    noise_a2
        Independent Fourier coefficients per area of reciprocal space [Å²], of which each makes
        a maximum of strength R or more with probability ``exp(-R)``; 0 where the spots
        listed are stronger than noise makes them.
    """
    number = min(len(strength), MAX_SPOTS)
    if len(strength) > MAX_SPOTS:
        # Reflections as weak as the spots left out are not waited for.
        threshold = max(threshold, float(strength[MAX_SPOTS - 1]))
    # In steps, so that what is expected is tabulated a few times only.
    threshold = float(np.exp(np.rint(np.log(threshold) / THRESHOLD_STEP) * THRESHOLD_STEP))
    along, across = (
        np.broadcast_to(s, len(strength))[:number]
        for s in (sigma_per_a if isinstance(sigma_per_a, tuple) else (sigma_per_a, sigma_per_a))
    )
    power = np.maximum(strength[:number], threshold)
    k_min, k_max = k_range_per_a
    expected = expect(library, threshold, transfer)
    clutter = evidence.clutter / (np.pi * (k_max**2 - k_min**2) / 2) / expected.law.range
    spots = _Spots(
        k=k_per_a[:number, 1] + 1j * k_per_a[:number, 0],
        log_strength=np.log(power),
        radial=along,
        tangential=across,
        log_clutter=np.log(clutter + noise_a2 * power * np.exp(-np.minimum(power, 500.0))),
    )
    table = np.zeros((len(library.phases), len(SCALE_GRID)))
    _add_singles(table, spots, expected)
    best = _add_orientations(table, spots, library, expected, scale)
    unknown = _unknown_lattice(
        spots, law=expected.law, anisotropy=scale.anisotropy, k_max=k_max, transfer=transfer
    )
    # Crystals of structures like those of the candidates, of any size of cell.
    similar = float(table.mean())
    return Evidences(phases=table, unknown=(1 - SIMILAR) * unknown + SIMILAR * similar, best=best)


def _add_singles(table: np.ndarray, spots: _Spots, expected: Expectation) -> None:
    """Add the evidence of orientations that explain one spot only, for all rotations at once."""
    step = SCALE_GRID[1] - SCALE_GRID[0]
    ends = 1 + SCALE_GRID[[0, -1]] + 0.499 * step * np.array([-1, 1])
    bins = np.minimum(expected.law.column(spots.log_strength) // COARSE, len(expected.alone) - 1)
    for k, bin_of, sigma, log_clutter in zip(
        np.abs(spots.k), bins, spots.radial, spots.log_clutter, strict=True
    ):
        # Lengths too long by e put a spot at g / (1 + e).
        near = slice(*np.searchsorted(expected.modulus, k * ends))
        column = np.rint((expected.modulus[near] / k - 1 - SCALE_GRID[0]) / step).astype(int)
        comb = np.bincount(
            expected.phase[near] * len(SCALE_GRID) + column,
            expected.alone[bin_of, near],
            minlength=table.size,
        ).reshape(table.shape)
        width = np.hypot(sigma / k, CELL_SIGMA)
        blur = np.exp(-0.5 * ((SCALE_GRID[:, None] - SCALE_GRID) / width) ** 2)
        # The spot may lie anywhere on half a ring of radius k: its density in two dimensions.
        table += comb @ blur * np.exp(-log_clutter) / (np.pi * k**2 * np.sqrt(2 * np.pi) * width)


def _accumulate(
    table: np.ndarray,
    phase: np.ndarray,
    log_weight: np.ndarray,
    centre: np.ndarray,
    width: np.ndarray,
) -> None:
    """Add Gaussians over the scale error, each of height exp(log_weight), to their phases."""
    total = np.hypot(width, CELL_SIGMA)
    height = np.exp(np.clip(log_weight, -700, 700)) * width / total
    curve = height[:, None] * np.exp(-0.5 * ((SCALE_GRID - centre[:, None]) / total[:, None]) ** 2)
    np.add.at(table, phase, curve)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Orientations:
    """Templates turned so that two of their reflections lie on two spots."""

    template: np.ndarray
    """Row of the library, shape (H,)."""
    rotation: np.ndarray
    """Unit complex numbers, shape (H,)."""
    mirrored: np.ndarray
    """Whether the template is mirrored first, shape (H,)."""
    ratio: np.ndarray
    """Length of the two spots over that of the two reflections, shape (H,)."""


def _candidate_orientations(
    spots: _Spots, library: Library, anisotropy: float
) -> _Orientations | None:
    """Return the orientations that pairs of spots suggest."""
    from interphase.diffraction.matching_kernels import fitting_pairs

    found = []
    base = spots.k[:BASE_SPOTS]
    for i in range(len(base)):
        for j in range(i + 1, len(base)):
            a, b = base[i], base[j]
            if abs((a.conjugate() * b).imag) < 0.1 * abs(a) * abs(b):
                continue
            length = abs(base[[i, j]])
            along, across = spots.radial[[i, j]] / length, spots.tangential[[i, j]] / length
            starts, stops = _pairs_of_length(
                library, float(length[0]), float(length[1]), float((along * length).max())
            )
            # Ratio and angle do not depend on the scale.
            ratio_off, angle_off = (3 * np.hypot(*s) + 2 * anisotropy for s in (along, across))
            found.append(
                fitting_pairs(
                    library.pairs,
                    library.pair_ratio,
                    library.g,
                    starts,
                    stops,
                    a,
                    b,
                    ratio_off,
                    angle_off,
                    along[1] ** 2 / np.sum(along**2),
                )
            )
    if not sum(len(f[0]) for f in found):
        return None
    template, rotation, mirrored, ratio = (np.concatenate(a) for a in zip(*found, strict=True))
    return _Orientations(template=template, rotation=rotation, mirrored=mirrored, ratio=ratio)


def _pairs_of_length(
    library: Library, first: float, second: float, sigma: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return where runs of pairs start and stop whose lengths agree within any scale error."""
    reach = [3 * sigma + 0.08 * k for k in (first, second)]
    low, high = (int(max(first - reach[0], 0) / BIN), int((first + reach[0]) / BIN))
    bins = np.arange(low, high + 1) * 1000
    starts = np.searchsorted(library.pair_key, bins + int(max(second - reach[1], 0) / BIN))
    stops = np.searchsorted(library.pair_key, bins + int((second + reach[1]) / BIN), side="right")
    return starts, stops


def _add_orientations(
    table: np.ndarray,
    spots: _Spots,
    library: Library,
    expected: Expectation,
    scale: ScalePrior,
) -> tuple[Match | None, ...]:
    """Add the evidence of orientations that explain two spots or more; return the best of each."""
    none: tuple[Match | None, ...] = (None,) * len(library.phases)
    tried = _candidate_orientations(spots, library, scale.anisotropy)
    if tried is None:
        return none
    from interphase.diffraction.matching_kernels import rough_scores

    law = expected.law
    rough, explained = rough_scores(
        tried.template,
        tried.rotation * tried.ratio,
        tried.mirrored,
        library.g,
        library.share > 0,
        expected.first_row,
        spots.k,
        spots.radial,
        spots.tangential,
        spots.log_clutter,
        law.column(spots.log_strength),
        scale.anisotropy,
        GATE,
        law.seen,
        law.missed,
        expected.all_missed,
        law.rows_apart(LOG_AMPLITUDES),
    )
    rough += np.log(library.weight[tried.template])
    phase = library.phase[tried.template]
    greatest = np.full(len(library.phases), -np.inf)
    np.maximum.at(greatest, phase, rough)
    kept = (explained >= 2) & (rough > greatest[phase] - NEGLIGIBLE)
    if not kept.any():
        return none
    template, phase = tried.template[kept], phase[kept]
    g = library.g[template]
    g = np.where(tried.mirrored[kept, None], g.conj(), g) * tried.rotation[kept, None]
    present = library.share[template] > 0
    pairing = _pair(g, tried.ratio[kept], present, spots, scale.anisotropy)
    odds = _log_odds(law, expected.log_share[template], pairing, spots)
    background = expected.all_missed[template]
    prior = np.log(library.weight[template])
    log_weight, centre, width, matched = _fit(pairing, spots, odds, background, scale.anisotropy)
    count = matched.sum(axis=1)
    # Every pair among the matched base spots led to this orientation once; and of the two mirror
    # images one is meant.
    base = matched[:, :BASE_SPOTS].sum(axis=1)
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
        shown = np.flatnonzero(matched[h])
        reflection = pairing.reflection[h, shown]
        order = np.argsort(reflection)
        pairs = tuple(
            (int(spot), _triple(library.hkl[t, j]))
            for spot, j in zip(shown[order], reflection[order], strict=True)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pairing:
    """Which reflection each spot is in each orientation, if any; all of shape (H, S)."""

    reflection: np.ndarray
    """Number of the nearest reflection."""
    g: np.ndarray
    """Its position x + iy [1/Å]."""
    measured: np.ndarray
    """The position of the spot or of its mate, x + iy [1/Å]."""
    matched: np.ndarray
    """Whether they belong together."""


def _pair(
    g: np.ndarray,
    ratio: np.ndarray,
    present: np.ndarray,
    spots: _Spots,
    anisotropy: float | np.ndarray,
) -> _Pairing:
    """Pair reflections with spots: the nearest (or its Friedel mate) each, within `GATE`.

    `ratio` is the scale that the orientation was found with; what it leaves of an anisotropic
    strain comes on top of the errors of the spots.
    """
    scaled = g * np.reshape(ratio, (-1, 1))
    direction = (g / np.maximum(abs(g), 1e-9)).conj()
    strain = np.square(np.reshape(np.minimum(anisotropy, 0.03), (-1, 1)) * abs(g))[..., None]
    along, across = (np.square(sigma) + strain for sigma in (spots.radial, spots.tangential))

    def squares(k: np.ndarray) -> np.ndarray:
        off = (k - scaled[..., None]) * direction[..., None]
        return np.asarray(np.square(off.real) / along + np.square(off.imag) / across)

    plus, minus = squares(spots.k), squares(-spots.k)
    distance = np.where(present[..., None], np.minimum(plus, minus), np.inf)
    nearest = distance.argmin(axis=1)
    own, closer = (
        np.take_along_axis(of_all, nearest[:, None], axis=1)[:, 0]
        for of_all in (distance, plus <= minus)
    )
    mutual = np.take_along_axis(distance.argmin(axis=2), nearest, axis=1) == np.arange(len(spots.k))
    return _Pairing(
        reflection=nearest,
        g=np.take_along_axis(g, nearest, axis=1),
        measured=spots.k * np.where(closer, 1, -1),
        matched=mutual & (own < GATE),
    )


def _log_odds(
    law: StrengthLaw, log_share: np.ndarray, pairing: _Pairing, spots: _Spots
) -> np.ndarray:
    """Return the logarithm of listed over missed of matched reflections, shape (H, S, A)."""
    own = np.take_along_axis(log_share, pairing.reflection, axis=1)
    rows = law.row(own[..., None] + LOG_AMPLITUDES)
    odds = law.seen[rows, law.column(spots.log_strength)[:, None]] - law.missed[rows]
    return np.where(pairing.matched[..., None], odds, 0)


def _fit(
    pairing: _Pairing,
    spots: _Spots,
    odds: np.ndarray,
    background: np.ndarray,
    anisotropy: float | np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the evidence of each orientation with rotation and anisotropic strain integrated out.

    Rotation has a flat prior over half a turn, the two anisotropic strains a normal one of
    standard deviation `anisotropy`, and the crystal's strength an even one over `LOG_AMPLITUDES`;
    the scale error e stays, as a Gaussian of log height, centre and width. A reflection whose
    misfit makes it worth less than missing it is counted as missed.
    """
    amplitude = (odds.sum(axis=1) + background).argmax(axis=1)
    likeliest = np.take_along_axis(odds, amplitude[:, None, None], axis=2)[..., 0]
    area = np.log(2 * np.pi * spots.radial * spots.tangential)
    gain = likeliest - area - spots.log_clutter
    # A spot lies at g (1 - e), turned and strained a little. Parts along and across, in standard
    # deviations, shape (H, 2 S, 5): three nuisances, the scale, and what is measured.
    g = pairing.g
    moved = np.stack([1j * g, g.conj(), 1j * g.conj(), g, pairing.measured - g], axis=-1)
    moved *= (g / np.maximum(abs(g), 1e-9)).conj()[..., None]
    parts = np.concatenate(
        [moved.real / spots.radial[:, None], moved.imag / spots.tangential[:, None]], axis=1
    )
    matched = pairing.matched
    for _ in range(2):
        used = parts * np.concatenate([matched, matched], axis=1)[..., None]
        products = used.transpose(0, 2, 1) @ used
        normal, mixed = products[:, :3, :3], products[:, :3, 3:]
        normal[:, 0, 0] += 1e-6
        normal[:, [1, 2], [1, 2]] += np.reshape(anisotropy, (-1, 1)) ** -2.0
        solved = np.linalg.solve(normal, mixed)
        # Products of radius and residual with the nuisances projected out.
        left = products[:, 3:, 3:] - mixed.transpose(0, 2, 1) @ solved
        curvature = np.maximum(left[:, 0, 0], 1e-6)
        centre = -left[:, 0, 1] / curvature
        width = curvature**-0.5
        chi2 = left[:, 1, 1] - centre**2 * curvature
        of_all = (odds * matched[..., None]).sum(axis=1) + background
        greatest = of_all.max(axis=1)
        strength = greatest + np.log(np.exp(of_all - greatest[:, None]).mean(axis=1))
        log_height = (
            strength
            - matched @ (area + spots.log_clutter)
            - 0.5 * chi2
            + 1.5 * np.log(2 * np.pi)
            - 0.5 * np.linalg.slogdet(normal)[1]
            - np.log(2 * np.pi * np.square(anisotropy))
            - np.log(np.pi)
        )
        # Drop what fits worse than it would be missed.
        error = np.stack([centre, np.ones(len(g))], axis=1)[..., None]
        left_over = parts[..., 3:] @ error - parts[..., :3] @ (solved @ error)
        misfit = np.square(left_over).reshape(len(g), 2, -1).sum(axis=1)
        matched = matched & (gain - 0.5 * misfit > 0)
    # Lengths too long by e shorten g by the factor 1 / (1 + e).
    return log_height, centre / (1 - centre), width, matched


# Plane nets that crystals of high symmetry show: their share of unknown crystals, the second basis
# vector over the first, and the number of turns within half a turn that leave them as they are.
NETS: dict[str, tuple[float, complex, int]] = {
    "hexagonal": (0.06, np.exp(1j * np.pi / 3), 3),
    "square": (0.05, 1j, 2),
    "fcc along 110": (0.04, np.exp(1j * np.arccos(1 / 3)), 1),
}
# All other nets are oblique: any two spots, with this share and this freedom of shape.
OBLIQUE_SHARE = 0.85
OBLIQUE_STRAIN = 0.3
# Share of unknown crystals whose structure is like that of a candidate but for the size of its
# cell, which is anything within the range of `SCALE_GRID`.
SIMILAR = 0.8
# Range of the logarithm of an unknown crystal's spacings.
LOG_RANGE = 1.6
# Spots from which the net of an unknown crystal is tried.
NET_SPOTS = 8
# Half of the points of a net with indices up to 2.
_ORDERS = np.array([(m, n) for m in range(3) for n in range(-2, 3) if m > 0 or n > 0])


@lru_cache
def _generators(ratio: complex) -> np.ndarray:
    """Return which points of a net lead to it again, as the first of its first or second shell."""
    points = _ORDERS @ np.array([1, ratio])
    whole = np.concatenate([points, -points])
    found = np.zeros(len(points), dtype=bool)
    for shell in (1.0, 1 + ratio):
        base = points / shell
        known = [abs(vector[:, None] - whole).min(axis=1) < 1e-6 for vector in (base, base * ratio)]
        found |= (abs(abs(base) - 1) < 1e-6) & known[0] & known[1]
    return found


def _unknown_lattice(
    spots: _Spots,
    *,
    law: StrengthLaw,
    anisotropy: float,
    k_max: float,
    transfer: Transfer | None,
) -> float:
    """Return the likelihood of a crystal with a lattice that is not among the candidates.

    Its net has any scale and rotation, and is hexagonal, square, that of a face-centred cubic
    crystal along [110], or oblique. Points of the net count as the reflections of a candidate
    do, with intensities that fall with the square of the spatial frequency.
    """
    first, second, share, strain, equal = [], [], [], [], []
    several = spots.k[:NET_SPOTS]
    for prior, ratio, peaks in NETS.values():
        # Any spot may be the first point of the net, or that of its second shell.
        again = _generators(ratio)
        for shell in (1.0, 1 + ratio):
            for base in several:
                first.append(base / shell)
                second.append(base / shell * ratio)
                share.append(prior * peaks)
                strain.append(anisotropy)
                equal.append(again)
    for i, a in enumerate(several):
        for b in several[:i]:
            if abs((a.conjugate() * b).imag) > 0.1 * abs(a) * abs(b):
                first.append(a)
                second.append(b)
                share.append(OBLIQUE_SHARE)
                strain.append(OBLIQUE_STRAIN)
                equal.append(np.ones(len(_ORDERS), dtype=bool))
    g = np.stack([first, second], axis=1) @ _ORDERS.T
    length = abs(g)
    intensity = (length.min(axis=1, keepdims=True) / np.maximum(length, 1e-9)) ** 2
    intensity = np.where(length < k_max, intensity, 0)
    log_share = _log_share(intensity, length, transfer)
    rows = law.row(log_share[..., None] + LOG_AMPLITUDES)
    background = np.where(intensity[..., None] > 0, law.missed[rows], 0).sum(axis=1)
    pairing = _pair(g, np.ones(len(g)), intensity > 0, spots, np.array(strain))
    odds = _log_odds(law, log_share, pairing, spots)
    log_height, _, width, matched = _fit(pairing, spots, odds, background, np.array(strain))
    # A symmetric net is found from each spot that generates it, an oblique one from each pair.
    generating = np.take_along_axis(np.array(equal), pairing.reflection, axis=1)
    count = np.maximum((matched & generating).sum(axis=1), 1).astype(float)
    symmetric = 2 * len(NETS) * len(several)
    count[symmetric:] *= np.maximum(count[symmetric:] - 1, 1) / 2
    log_weight = log_height + np.log(
        np.array(share) * np.sqrt(2 * np.pi) * width / LOG_RANGE / count
    )
    lattices = np.exp(np.clip(log_weight, -700, 700)).sum()
    return float(lattices + _single_rows(spots, law, k_max))


def _single_rows(spots: _Spots, law: StrengthLaw, k_max: float) -> float:
    """Return the likelihood of unknown crystals of which one spot is all that shows.

    Its spacing may be any, evenly in the logarithm, and its direction too; the second order, of a
    quarter of the strength, is seen or missed like any reflection.
    """
    k = abs(spots.k)
    first = law.seen[law.row(LOG_AMPLITUDES)][:, law.column(spots.log_strength)].T
    second = law.missed[law.row(LOG_AMPLITUDES + np.log(0.25))]
    order = np.where((2 * k < k_max)[:, None], second, 0)
    seen = np.exp(first + order).mean(axis=1)
    density = np.exp(-spots.log_clutter) / (np.pi * k**2 * LOG_RANGE)
    return float(OBLIQUE_SHARE * (seen * density).sum())

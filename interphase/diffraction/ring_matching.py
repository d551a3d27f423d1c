r"""How strongly the rings of a powder speak for each candidate, and for mixtures of them.

Rings are a point pattern in radius and brightness, as spots are one in the plane
(`interphase.diffraction.matching`): ring j of the candidates is seen with probability
:math:`p_j`, at its radius within an error and at its brightness within a factor, and clutter is
seen anywhere. Over that of clutter alone, the likelihood of the rings i is

.. math:: L = \prod_j (1 - p_j) \prod_i \Big[1 + \frac1\rho \sum_j \frac{p_0}{1 - p_j}
          N(k_i; g_j, \sigma^2)\, N(\ln a_i; \ln A I_j, \tau^2)\Big],

where :math:`p_0` is the probability to see a ring whose brightness is above the limit, and
:math:`p_j` is :math:`p_0` times the share of the brightnesses of ring j that are.

Rings of one or several phases that the pattern cannot resolve are one ring at their centre of
gravity. The brightness A of each phase is integrated out, the fall of all brightness with k too,
and the scale error stays explicit until the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from interphase.diffraction.matching import SCALE_GRID
from interphase.diffraction.rings import Rings

# Factor by which a ring's brightness commonly differs from its kinematic one: dynamical
# scattering and few crystals; and where the rings are textured. Working values.
BRIGHTNESS_SPREAD, TEXTURED_SPREAD = 2.0, 3.0
# One ring in so many has any brightness.
ODD_BRIGHTNESS = 0.1
# Range of the logarithm of the brightness of clutter.
BRIGHTNESS_RANGE = 5.0
# Radii of rings are taken as known to this share, each for itself: cells that are not cubic.
CELL_SIGMA = 0.002
# Fall of brightness with k² that is tried, exp(-b k²) [Å²]: half the Debye-Waller factor and more.
FALLS = (0.0, 1.0, 2.5)
# Logarithms of the brightness of a phase's strongest ring over the brightest ring seen.
BRIGHTNESS = np.arange(-5.5, 1.01, 0.5)
# Rings are resolved from this many of their standard deviations on.
RESOLVED = 2.2
# A ring within so many of them of a brighter one is seen if it has this share of it.
NEAR, NEAR_SHARE = 4.0, 0.3
# Weakest ring of a phase that is considered, as a share of its strongest.
WEAKEST = 0.003
# Prior probability of so many phases; none means that all rings are clutter.
NUMBER_OF_PHASES = (0.05, 0.65, 0.2, 0.1)
# Scale errors that are tried for a mixture about that of its part.
SCALE_REACH = 0.02
# Mixtures that are tried further.
BEAM = (6, 4)
# Rings expected of a phase that is no candidate.
UNKNOWN_RINGS = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Powder:
    """The rings that one phase makes."""

    phase: str
    """Identifier."""
    k_per_a: np.ndarray
    """Radii [1/Å], shape (J,)."""
    brightness: np.ndarray
    """Electrons in the ring over those of the strongest, shape (J,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """One set of phases and what speaks for it."""

    members: tuple[int, ...]
    """Indices of the phases."""
    log_evidence: float
    """Logarithm of the likelihood over that of clutter alone, nuisances integrated out."""
    log_unknown: float
    """The same if what is left over is a phase that is none of the candidates."""
    log_isotype: float
    """The same if the cell of a single phase may have any size within the range of scales."""
    brightness: tuple[float, ...]
    """Logarithm of the brightness of each member where the likelihood is greatest."""
    fall: float
    """The fall of brightness there [Å²]."""
    scale_error: float
    """Mean fraction by which lengths come out too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What all mixtures of one pattern have in common."""

    rings: Rings
    """What was seen."""
    k_per_a: np.ndarray
    """Radii of the rings [1/Å], shape (I,)."""
    sigma_per_a: np.ndarray
    """Their standard errors [1/Å], shape (I,)."""
    sampling: float
    """Size of a pixel [1/Å]."""
    k_range_per_a: tuple[float, float]
    """Range that was searched [1/Å]."""
    clutter: float
    """Expected number of rings that belong to nothing."""
    largest: float
    """Probability to see a ring that is far above the limit."""
    log_scale: np.ndarray
    """Logarithm of the prior probability of each scale error, shape (E,)."""

    @property
    def spread(self) -> float:
        """Standard deviation of the logarithm of brightness."""
        return float(np.log(TEXTURED_SPREAD if self.rings.textured else BRIGHTNESS_SPREAD))


def weigh_mixtures(setting: Setting, powders: Sequence[Powder]) -> list[Mixture]:
    """Return the mixtures of up to three phases that are worth a look, the empty one first.

    All single phases are among them; mixtures of more grow from the best of fewer.
    """
    unknown = len(setting.k_per_a) * np.log(UNKNOWN_RINGS / setting.clutter) - (
        UNKNOWN_RINGS - setting.clutter
    )
    empty = Mixture(
        members=(),
        log_evidence=0.0,
        log_unknown=float(unknown),
        log_isotype=0.0,
        brightness=(),
        fall=0.0,
        scale_error=0.0,
    )
    found: dict[tuple[int, ...], Mixture] = {}
    isotypes = []
    for number in range(len(powders)):
        tried = [_grown(setting, powders, replace(empty, fall=b), number) for b in FALLS]
        isotypes += [mixture.log_isotype for mixture in tried]
        best = max(tried, key=lambda m: m.log_evidence)
        found[best.members] = replace(
            best,
            log_evidence=_log_mean([m.log_evidence for m in tried]),
            log_unknown=_log_mean([m.log_unknown for m in tried]),
        )
    if isotypes:
        # An unknown phase is as likely isotypic with a candidate, with a cell of another size.
        empty = replace(empty, log_unknown=_log_mean([empty.log_unknown, _log_mean(isotypes)]))
    parents = list(found.values())
    for width in BEAM:
        parents = sorted(parents, key=lambda m: -m.log_evidence)[:width]
        if len(parents[0].members) >= len(setting.k_per_a):
            break
        grown: dict[tuple[int, ...], Mixture] = {}
        for parent in parents:
            for number in set(range(len(powders))) - set(parent.members):
                child = _grown(setting, powders, parent, number)
                known = grown.get(child.members)
                if known is None or child.log_evidence > known.log_evidence:
                    grown[child.members] = child
        found |= grown
        parents = list(grown.values())
        if not parents:
            break
    return [empty, *found.values()]


def _grown(setting: Setting, powders: Sequence[Powder], parent: Mixture, number: int) -> Mixture:
    """Return the mixture with one phase more, its brightness integrated out."""
    members = (*parent.members, number)
    brightness = np.column_stack(
        [np.broadcast_to(parent.brightness, (len(BRIGHTNESS), len(parent.members))), BRIGHTNESS]
    )
    # A mixture has about the scale of its part.
    near = abs(SCALE_GRID - parent.scale_error) < (SCALE_REACH if parent.members else 1)
    scale, prior = SCALE_GRID[near], setting.log_scale[near]
    plain, unknown = _table(setting, [powders[m] for m in members], brightness, parent.fall, scale)
    log_plain = _log_sum(plain + prior, axis=1)
    best = int(log_plain.argmax())
    # What the integral over the brightness of the parent's phases was worth stays.
    occam = 0.0
    if parent.members:
        at_best, _ = _table(
            setting,
            [powders[m] for m in parent.members],
            np.array([parent.brightness]),
            parent.fall,
            scale,
        )
        occam = min(parent.log_evidence - float(_log_sum(at_best + prior, axis=1)[0]), 0.0)
    weight = np.exp(plain[best] + prior - log_plain[best])
    order = np.argsort(members)
    return Mixture(
        members=tuple(members[i] for i in order),
        log_evidence=_log_mean(log_plain) + occam,
        log_unknown=_log_mean(_log_sum(unknown + prior, axis=1)) + occam,
        log_isotype=_log_mean(plain),
        brightness=tuple(float(brightness[best, i]) for i in order),
        fall=parent.fall,
        scale_error=float(weight @ scale),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lines:
    """Resolved rings of a mixture for several brightnesses, shape (G, J) each."""

    k: np.ndarray
    width: np.ndarray
    log_area: np.ndarray
    share: np.ndarray
    """Share of each member in each ring, (G, J, members)."""


def _lines(
    setting: Setting, powders: Sequence[Powder], brightness: np.ndarray, fall: float
) -> _Lines:
    k = np.concatenate([p.k_per_a for p in powders])
    owner = np.repeat(np.arange(len(powders)), [len(p.k_per_a) for p in powders])
    area = np.concatenate([p.brightness for p in powders]) * np.exp(-fall * k**2)
    for number in range(len(powders)):
        area[owner == number] /= area[owner == number].max()
    order = np.argsort(k)
    k, owner, area = k[order], owner[order], area[order]
    resolved = RESOLVED * float(np.median(setting.rings.width)) * setting.sampling
    first = [0]
    for i in range(1, len(k)):
        if k[i] - k[first[-1]] > resolved:
            first.append(i)
    brightest = setting.rings.area.max()
    each = np.exp(brightness)[:, owner] * area * brightest
    total = np.add.reduceat(each, first, axis=1)
    centre = np.add.reduceat(each * k, first, axis=1) / total
    group = np.repeat(np.arange(len(first)), np.diff([*first, len(k)]))
    off = (each / total[:, group] * (k - centre[:, group])) ** 2
    share = np.stack(
        [np.add.reduceat(each * (owner == n), first, axis=1) / total for n in range(len(powders))],
        axis=2,
    )
    return _Lines(
        k=centre,
        # Brightnesses are not quite known, and the centre of gravity with them.
        width=setting.spread * np.sqrt(np.add.reduceat(off, first, axis=1)),
        log_area=np.log(total),
        share=share,
    )


def _odds(
    setting: Setting, lines: _Lines, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the factors of the odds of rings for lines, and the chance that no line is seen.

    The first is due to the place, shape (G or 1, E, I, J), the second to the brightness, shape
    (G, I, J); the last is a logarithm, shape (G,).
    """
    from scipy import special

    rings = setting.rings
    radius = np.clip(np.rint(lines.k / setting.sampling).astype(int), 0, len(rings.limit) - 1)
    limit = np.log(rings.limit[radius])
    reach = NEAR * float(np.median(rings.width)) * setting.sampling
    near = (abs(lines.k[:, :, None] - lines.k[:, None, :]) < reach) & ~np.eye(
        lines.k.shape[1], dtype=bool
    )
    beside = np.where(near, lines.log_area[:, None, :], -np.inf).max(axis=2) + np.log(NEAR_SHARE)
    limit = np.maximum(limit, beside)
    tau = setting.spread
    seen = setting.largest * special.ndtr((lines.log_area - limit) / tau)
    none = np.log1p(-seen).sum(axis=1)

    off = (np.log(rings.area)[:, None] - lines.log_area[:, None, :]) / tau
    regular = np.exp(-0.5 * off**2) / (np.sqrt(2 * np.pi) * tau)
    bright = (1 - ODD_BRIGHTNESS) * regular + ODD_BRIGHTNESS / BRIGHTNESS_RANGE
    bright *= (setting.largest * seen / np.maximum(seen, 1e-12) / (1 - seen))[:, None, :]
    # A line so weak that it should not be seen is not what is seen.
    bright *= (lines.log_area > limit - 3 * tau)[:, None, :]

    step = SCALE_GRID[1] - SCALE_GRID[0]
    # The lines of one phase stand where they are however bright it is.
    k, width = (x[:1] if np.ptp(x, axis=0).max() < 1e-9 else x for x in (lines.k, lines.width))
    if len(k) != len(width):
        k, width = lines.k, lines.width
    variance = (
        setting.sigma_per_a[:, None] ** 2
        + (np.hypot(CELL_SIGMA, step / np.sqrt(12)) * setting.k_per_a[:, None]) ** 2
        + width[:, None, :] ** 2
    )
    # Lengths too long by e put a ring at g / (1 + e).
    miss = setting.k_per_a[:, None] - k[:, None, None, :] / (1 + scale[:, None, None])
    place = np.exp(-0.5 * miss**2 / variance[:, None]) / np.sqrt(2 * np.pi * variance[:, None])
    low, high = setting.k_range_per_a
    density = setting.clutter / ((high - low) * BRIGHTNESS_RANGE)
    return place, bright / density, none


def _table(
    setting: Setting,
    powders: Sequence[Powder],
    brightness: np.ndarray,
    fall: float,
    scale: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Return log likelihoods, shape (G, E), the rest being clutter or an unknown phase."""
    place, bright, none = _odds(setting, _lines(setting, powders, brightness, fall), scale)
    total = np.einsum(
        "geij,gij->gei", np.broadcast_to(place, (len(bright), *place.shape[1:])), bright
    )
    more = UNKNOWN_RINGS / setting.clutter
    plain = np.log1p(total).sum(axis=2) + none[:, None]
    unknown = np.log(more + total).sum(axis=2) + none[:, None]
    return plain, unknown - (UNKNOWN_RINGS - setting.clutter)


def ring_owners(setting: Setting, powders: Sequence[Powder], mixture: Mixture) -> np.ndarray:
    """Return which rings belong to which member, bool, shape (I, members).

    A ring belongs to a phase if it more likely is one of its lines than clutter and the phase
    makes a good part of that line.
    """
    if not mixture.members:
        return np.zeros((len(setting.k_per_a), 0), dtype=bool)
    members = [powders[m] for m in mixture.members]
    lines = _lines(setting, members, np.array([mixture.brightness]), mixture.fall)
    place, bright, _ = _odds(setting, lines, np.array([mixture.scale_error]))
    weight = place[0, 0] * bright[0]
    total = weight.sum(axis=1)
    part = weight @ lines.share[0] / np.maximum(total, 1e-300)[:, None]
    return np.asarray((total > 1)[:, None] & (part > 0.25))


def mixture_probabilities(
    mixtures: Sequence[Mixture], *, weights: np.ndarray, unknown_prior: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the posterior probability of each mixture alone, and with an unknown phase beside it.

    Parameters
    ----------
    mixtures
        From `weigh_mixtures`.
    weights
        Relative prior weight of each candidate, shape (C,).
    unknown_prior
        Prior probability that a phase is none of the candidates.
    """
    share = weights / weights.sum()
    log_prior = []
    for mixture in mixtures:
        size = len(mixture.members)
        # The phases of a mixture may be named in any order.
        orders = np.sum(np.log(np.arange(1, size + 1)))
        log_prior.append(
            np.log(NUMBER_OF_PHASES[size]) + orders + np.log(share[list(mixture.members)]).sum()
        )
    plain = np.array([m.log_evidence for m in mixtures]) + log_prior + np.log1p(-unknown_prior)
    other = np.array([m.log_unknown for m in mixtures]) + log_prior + np.log(unknown_prior)
    # Alone, an unknown phase is one phase, not clutter and one.
    other[[not m.members for m in mixtures]] += np.log(NUMBER_OF_PHASES[1] / NUMBER_OF_PHASES[0])
    both = np.stack([plain, other])
    both = np.exp(both - both.max())
    both /= both.sum()
    return both[0], both[1]


def _log_sum(values: np.ndarray, axis: int | None = None) -> np.ndarray:
    from scipy import special

    return np.asarray(special.logsumexp(values, axis=axis))


def _log_mean(values: np.ndarray | list[float]) -> float:
    return float(_log_sum(np.asarray(values))) - float(np.log(np.size(values)))

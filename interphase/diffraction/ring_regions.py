"""From the rings of a powder to regions with probabilities, and the words for rings and halos."""

from collections.abc import Sequence

import numpy as np

from interphase.assessment import Assessment
from interphase.diffraction.matching import scale_prior
from interphase.diffraction.options import Options
from interphase.diffraction.posterior import chance_of_noise, credible_set
from interphase.diffraction.results import NONE, UNKNOWN, Region, Spots
from interphase.diffraction.ring_matching import (
    WEAKEST,
    Mixture,
    Powder,
    Setting,
    mixture_probabilities,
    ring_owners,
    weigh_mixtures,
)
from interphase.diffraction.rings import Rings
from interphase.diffraction.verdicts import OTHER_WORDS, inseparable, separable_from, summary
from interphase.phases import Contrast, Phase, families, reflections

# A phase is reported beside others from this probability on.
LEAST_PROBABILITY = 0.5
# Halos of glasses: name, spacings [Å], source and its grade. Remarks, not identifications.
GLASSES = (
    ("vitreous ice", (3.7, 2.15), "grade B"),
    ("amorphous carbon", (2.1, 1.2), "remembered, grade C"),
)
# A halo lies where a glass has it to within this share.
HALO_SHARE = 0.05


def powder(phase: Phase, *, d_min_a: float, d_max_a: float, contrast: Contrast) -> Powder | None:
    """Return the rings of one phase between two spacings, ``None`` if it has none there.

    The electrons in a ring go as multiplicity times |F|² times d: the share of crystals in
    reflecting position falls as 1/g.
    """
    rings = families(reflections(phase, d_min_a=d_min_a, contrast=contrast), merge_rings=True)
    inside = rings.d_a <= d_max_a
    brightness = rings.relative * rings.d_a
    if not inside.any():
        return None
    brightness = brightness / brightness[inside].max()
    inside &= brightness > WEAKEST
    return Powder(
        phase=phase.identifier, k_per_a=1 / rings.d_a[inside], brightness=brightness[inside]
    )


def ring_regions(
    rings: Rings,
    candidates: Sequence[Phase],
    *,
    sampling: float,
    k_range_per_a: tuple[float, float],
    options: Options,
) -> tuple[Region, ...]:
    """Return the phases of a powder, one region each, and one for rings that no candidate makes.

    Parameters
    ----------
    rings
        What was seen.
    candidates
        Phases to consider.
    sampling
        Size of a pixel [1/Å].
    k_range_per_a
        Range of spatial frequencies that was searched [1/Å].
    options
        Beliefs: scale, share of unknown phases, prior weights.

    Notes
    -----
    All mixtures that were weighed share the probability. A region is a member of the likeliest
    one; its alternatives are what other mixtures have in its place.
    """
    if len(rings) == 0:
        return ()
    low, high = k_range_per_a
    made = [
        powder(phase, d_min_a=1 / high, d_max_a=1 / low, contrast=options.contrast)
        for phase in candidates
        if _reaches(phase, 1 / high)
    ]
    powders = [p for p in made if p is not None]
    setting = Setting(
        rings=rings,
        k_per_a=rings.radius * sampling,
        sigma_per_a=rings.radius_sigma * sampling,
        sampling=sampling,
        k_range_per_a=k_range_per_a,
        clutter=options.evidence.clutter,
        largest=options.evidence.max_detection,
        log_scale=np.log(np.maximum(scale_prior(options.scale), 1e-300)),
    )
    mixtures = weigh_mixtures(setting, powders)
    unknown_prior = options.evidence.unknown_prior
    even = mixture_probabilities(
        mixtures, weights=np.ones(len(powders)), unknown_prior=unknown_prior
    )
    informed = None
    prior = options.prior or {}
    if any(phase.identifier in prior for phase in candidates):
        weights = np.array([prior.get(p.phase, 1.0) for p in powders])
        informed = mixture_probabilities(mixtures, weights=weights, unknown_prior=unknown_prior)
    best = mixtures[int((even[0] + even[1]).argmax())]
    owners = ring_owners(setting, powders, best)
    left = np.asarray(~owners.any(axis=1))
    names = (*(p.phase for p in powders), UNKNOWN, NONE)
    regions = []
    if len(best.members) == 1 and left.all():
        owners, left = ~owners, ~left
    for place, member in enumerate(best.members):
        if not owners[:, place].any():
            continue
        rest = set(best.members) - {member}
        regions.append(
            _region(
                setting,
                names,
                _in_place_of(member, rest, mixtures, even, len(powders)),
                informed and _in_place_of(member, rest, mixtures, informed, len(powders)),
                owners[:, place],
                best,
                candidates,
            )
        )
    if left.any() and (even[1].sum() > LEAST_PROBABILITY or not best.members):
        probability = np.zeros(len(names))
        probability[-2] = even[1].sum()
        probability[-1] = 1 - probability[-2]
        if not best.members:
            probability = _in_place_of(-1, set(), mixtures, even, len(powders))
        regions.append(_region(setting, names, probability, None, left, best, candidates))
    return tuple(regions)


def _reaches(phase: Phase, d_min_a: float) -> bool:
    return bool(1 / np.linalg.norm(phase.reciprocal_vectors, axis=1).min() > d_min_a)


def _in_place_of(
    member: int,
    rest: set[int],
    mixtures: Sequence[Mixture],
    probability: tuple[np.ndarray, np.ndarray],
    count: int,
) -> np.ndarray:
    """Return what all mixtures have in the place of a member, shape (C + 2,), sums to 1."""
    place = np.zeros(count + 2)
    for mixture, plain, unknown in zip(mixtures, *probability, strict=True):
        others = set(mixture.members) - rest
        if member in mixture.members:
            place[member] += plain + unknown
        elif others:
            place[list(others)] += (plain + unknown) / len(others)
        else:
            place[-1] += plain
            place[-2] += unknown
    return place


def _region(
    setting: Setting,
    names: tuple[str, ...],
    probability: np.ndarray,
    informed: np.ndarray | None,
    own: np.ndarray,
    best: Mixture,
    candidates: Sequence[Phase],
) -> Region:
    """Return the region of one phase and the rings that are its own."""
    rings = setting.rings
    order = np.flatnonzero(own)[np.argsort(-rings.area[own], kind="stable")]
    p_value = float(rings.p_value[order].min())
    chance = float(chance_of_noise(np.array([p_value]))[0])
    probability = probability * (1 - chance)
    probability[-1] += chance
    inside = [names[i] for i in credible_set(probability)]
    top = inside[0]
    prior = np.exp(setting.log_scale)
    scale = np.linspace(-0.099, 0.099, len(prior))
    sigma = float(np.sqrt(prior @ scale**2 / prior.sum()))
    for partner in inseparable(tuple(candidates), top, separable_from(sigma)):
        if partner not in inside:
            inside.append(partner)
    if top in names[:-2] and len(order) == 1 and UNKNOWN not in inside:
        # A spacing alone is no phase.
        inside.append(UNKNOWN)
    if top == NONE:
        assessment = Assessment.NO_PERIODICITY
    elif len(inside) > 1:
        assessment = Assessment.AMBIGUOUS
    else:
        assessment = Assessment.UNKNOWN_PHASE if top == UNKNOWN else Assessment.OK
    k = setting.k_per_a[order]
    return Region(
        phase=top,
        probability=float(probability.max()),
        alternatives={n: float(p) for n, p in zip(names, probability, strict=True)},
        credible_set=tuple(inside),
        assessment=assessment,
        centre_a=None,
        area_a2=None,
        d_spacings_a=tuple(float(1 / x) for x in k),
        zone_axis=None,
        scale_error=best.scale_error if top in names[:-2] else None,
        p_value=p_value,
        spots=Spots(
            k_per_a=np.stack([np.zeros_like(k), k], axis=1),
            strength=rings.area[order] / rings.area_sigma[order],
            p_value=rings.p_value[order],
            sigma_per_a=float(np.median(setting.sigma_per_a[order])),
        ),
        sentence=_verdict(top, float(probability.max()), inside, k, setting.rings.textured),
        informed=(
            {} if informed is None else {n: float(p) for n, p in zip(names, informed, strict=True)}
        ),
    )


def _verdict(
    top: str, probability: float, inside: Sequence[str], k: np.ndarray, textured: bool
) -> str:
    spacings = ", ".join(f"{1 / x:.3f}" for x in k[:5])
    rings = f"{'textured ' if textured else ''}{'ring' if len(k) == 1 else 'rings'} at {spacings} Å"
    if len(inside) > 1:
        words = [OTHER_WORDS.get(hypothesis, hypothesis) for hypothesis in inside]
        return f"Not told apart: {', '.join(words)} ({rings})."
    if top == UNKNOWN:
        return f"Crystalline, but none of the candidates ({rings})."
    stated = "above 0.99" if probability > 0.99 else f"{probability:.2f}"
    return f"{top} with probability {stated} ({rings})."


def pattern_summary(powders: Sequence[Region], crystals: Sequence[Region]) -> str:
    """Return what the rings and the crystals of a pattern say together."""
    words = []
    if powders:
        words.append(f"Rings: {' '.join(region.sentence for region in powders)}")
    if crystals:
        words.append(summary(crystals))
    return " ".join(words)


def halo_words(d_spacings: np.ndarray) -> str:
    """Return what diffuse halos say, empty where there are none.

    >>> halo_words(np.array([3.69, 2.14]))  # doctest: +NORMALIZE_WHITESPACE
    'Amorphous: diffuse halos at 3.69, 2.14 Å, which vitreous ice would make too (grade B); halos
    name no phase.'
    """
    if len(d_spacings) == 0:
        return ""
    listed = ", ".join(f"{d:.2f}" for d in d_spacings)
    halo = "a diffuse halo" if len(d_spacings) == 1 else "diffuse halos"
    like = [
        f"{name} would make too ({source})"
        for name, glass, source in GLASSES
        if all(np.min(abs(d_spacings / d - 1)) < HALO_SHARE for d in glass)
    ]
    remark = f", which {' and '.join(like)}" if like else ""
    return f"Amorphous: {halo} at {listed} Å{remark}; halos name no phase."

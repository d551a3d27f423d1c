"""From likelihoods to verdicts about places, and to the words for them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from interphase.assessment import Assessment
from interphase.diffraction.catalogue import PhaseKey
from interphase.diffraction.matching import CELL_SIGMA, Evidences, scale_prior
from interphase.diffraction.options import Options
from interphase.diffraction.posterior import Posterior, chance_of_noise, combine, credible_set
from interphase.diffraction.regions import Place
from interphase.diffraction.results import NONE, UNKNOWN, Region, Spots
from interphase.phases import Phase
from interphase.phases.table import closest

# Pairs of candidates whose lattices differ by less than this are not separated: cells in the
# table and their contraction are known to a few tenths of a per cent, scales to one.
INSEPARABLE = 0.015
# What the hypotheses that are no phases are called in a sentence.
OTHER_WORDS = {UNKNOWN: "none of the candidates", NONE: "noise"}
# A scale that is known better than that separates lattices that differ by so many standard
# deviations of scale and of both cells: one in a hundred pairs of equals differs by as much.
SEPARABLE = 2.58


def separable_from(scale_sigma: float) -> float:
    """Return the least difference of two lattices that a scale known so well can separate.

    `SEPARABLE` standard deviations of the scale and of both cells, but capped: at `INSEPARABLE`, or
    at one `scale_sigma` where that is more, so that with 2 % it is 2 % and not 5 %.

    Parameters
    ----------
    scale_sigma
        Standard deviation of the scale error, by other evidence than the place itself (fraction).

    Examples
    --------
    LiF and LiH differ by 1.4 %, which takes a scale known to about 0.3 %.

    >>> [round(100 * separable_from(sigma), 1) for sigma in (0.003, 0.007, 0.02)]
    [1.3, 1.5, 2.0]
    """
    cells = np.sqrt(2) * CELL_SIGMA
    return max(min(INSEPARABLE, SEPARABLE * float(np.hypot(scale_sigma, cells))), scale_sigma)


def doubts_of(candidates: Sequence[Phase], options: Options) -> tuple[str, ...]:
    """Return what is doubtful before looking: structures, and a prior that names no candidate.

    >>> from interphase.phases import candidates
    >>> doubts_of(candidates("LiF,Li2CO3"), Options(prior={"Li2C03": 2.0}))
    ('The prior names Li2C03, which is no candidate: it changes nothing; the closest are Li2CO3.',)
    """
    doubts = [doubt for phase in candidates for doubt in phase.doubts]
    names = [phase.identifier for phase in candidates]
    doubts += [
        f"The prior names {stray}, which is no candidate: it changes nothing; "
        f"{closest(stray, names)}."
        for stray in options.prior or {}
        if stray not in names
    ]
    return tuple(doubts)


def judge(
    places: list[Place], evidences: list[Evidences], options: Options, names: tuple[str, ...]
) -> Posterior:
    """Return the posterior probabilities of all places of one image or pattern.

    `names` are the candidates that `evidences` weigh, in their order.
    """
    given: dict[str, Any] = {
        "phases": np.stack([e.phases for e in evidences]),
        "unknown": np.array([e.unknown for e in evidences]),
        "chance": chance_of_noise(np.array([p.p_value for p in places])),
        "scale": scale_prior(options.scale),
        "unknown_prior": options.evidence.unknown_prior,
        "misfit": options.evidence.misfit,
    }
    even = combine(**given)
    prior = options.prior or {}
    if not any(name in prior for name in names):
        return even
    informed = combine(
        **given,
        weights=np.array([prior.get(name, 1.0) for name in names]),
    )
    return replace(even, informed=informed.probability)


def describe(
    place: Place,
    evidence: Evidences,
    posterior: Posterior,
    number: int,
    names: tuple[str, ...],
    candidates: Sequence[Phase],
    *,
    sigma: float,
    spot_p: np.ndarray,
    centre_a: tuple[float, float] | None,
    area_a2: float | None,
) -> Region:
    """Return the verdict about one place."""
    keys = (*names, UNKNOWN, NONE)
    probability = posterior.probability[number]
    inside = [keys[i] for i in credible_set(probability)]
    top = inside[0]
    tolerance = separable_from(float(posterior.scale_sigma_of[number]))
    for partner in inseparable(tuple(candidates), top, tolerance):
        if partner not in inside:
            inside.append(partner)
    match = evidence.best[names.index(top)] if top in names else None
    explained = {spot for spot, _ in match.matched} if match else set()
    if top in names and 0 not in explained and UNKNOWN not in inside:
        # One set of fringes has a spacing, and a spacing alone is no phase; nor is a lattice that
        # the strongest spot does not belong to.
        inside.append(UNKNOWN)
    if top == NONE:
        assessment = Assessment.NO_PERIODICITY
    elif top == UNKNOWN and probability.max() > 0.5:
        # As sure as that can be: `Evidence.misfit` of the crystals of all candidates look so.
        assessment = Assessment.UNKNOWN_PHASE
    elif len(inside) > 1:
        assessment = Assessment.AMBIGUOUS
    else:
        assessment = Assessment.OK
    d_spacings = 1 / np.linalg.norm(place.k_per_a, axis=1)
    informed = (
        {}
        if posterior.informed is None
        else {k: float(p) for k, p in zip(keys, posterior.informed[number], strict=True)}
    )
    sentence = _verdict(top, float(probability.max()), inside, d_spacings)
    return Region(
        phase=top,
        probability=float(probability.max()),
        alternatives={k: float(p) for k, p in zip(keys, probability, strict=True)},
        credible_set=tuple(inside),
        assessment=assessment,
        centre_a=centre_a,
        area_a2=area_a2,
        d_spacings_a=tuple(float(d) for d in d_spacings),
        zone_axis=match.zone_axis if match else None,
        scale_error=(float(posterior.scale_of[number, names.index(top)]) if top in names else None),
        p_value=place.p_value,
        window_a=place.window_a,
        spots=Spots(
            k_per_a=place.k_per_a,
            strength=place.strength,
            p_value=spot_p,
            sigma_per_a=sigma,
        ),
        sentence=f"{sentence} {_with_prior(top, informed)}".rstrip(),
        informed=informed,
        matched=match.matched if match else (),
    )


@lru_cache(maxsize=64)
def _partners(keys: tuple[PhaseKey, ...], tolerance: float) -> dict[str, tuple[str, ...]]:
    from interphase.phases import ambiguous_pairs

    partners: dict[str, list[str]] = {}
    for pair in ambiguous_pairs([key.phase for key in keys], tolerance=tolerance):
        partners.setdefault(pair.first, []).append(pair.second)
        partners.setdefault(pair.second, []).append(pair.first)
    return {name: tuple(found) for name, found in partners.items()}


def inseparable(candidates: tuple[Phase, ...], phase: str, tolerance: float) -> tuple[str, ...]:
    """Return the candidates whose lattice is that of `phase` within the tolerance of scale."""
    keys = tuple(PhaseKey(p) for p in candidates)
    return _partners(keys, round(tolerance, 3)).get(phase, ())


def _verdict(top: str, probability: float, inside: list[str], d_spacings: np.ndarray) -> str:
    spacings = ", ".join(f"{d:.2f}" for d in d_spacings[:4])
    if top == UNKNOWN and probability > 0.5:
        others = ", ".join(OTHER_WORDS.get(hypothesis, hypothesis) for hypothesis in inside[1:])
        return (
            f"Crystalline, but none of the candidates with probability {probability:.2f}"
            f"{f', else {others}' if others else ''} (spacings {spacings} Å)."
        )
    if len(inside) == 1:
        stated = "above 0.99" if probability > 0.99 else f"{probability:.2f}"
        return f"{top} with probability {stated} (spacings {spacings} Å)."
    words = [OTHER_WORDS.get(hypothesis, hypothesis) for hypothesis in inside]
    return f"Not told apart: {', '.join(words)} (spacings {spacings} Å)."


def _with_prior(top: str, informed: Mapping[str, float]) -> str:
    """Return what the stated prior makes of the answer, where it makes it another."""
    if not informed:
        return ""
    other = max(informed, key=lambda hypothesis: informed[hypothesis])
    if other == top:
        return ""
    return f"With the stated prior: {OTHER_WORDS.get(other, other)} ({informed[other]:.2f})."


def area_fraction(labels: np.ndarray, regions: list[Region]) -> dict[str, float]:
    """Return the share of windows per phase, weighted by probability."""
    counts = np.bincount(labels, minlength=len(regions) + 1) / labels.size
    fraction: dict[str, float] = {NONE: float(counts[0])}
    for region, share in zip(regions, counts[1:], strict=True):
        for phase, p in region.alternatives.items():
            if p > 0:
                fraction[phase] = fraction.get(phase, 0.0) + float(share * p)
    told = {phase: share for phase, share in fraction.items() if share > 1e-4 and phase != NONE}
    # What is too little to be told is given to the others.
    scale = (1 - fraction[NONE]) / max(sum(told.values()), np.finfo(float).tiny)
    return {NONE: fraction[NONE]} | {phase: share * scale for phase, share in told.items()}


def overall(regions: Sequence[Region]) -> Assessment:
    """Return the assessment of an image: that of its best answered region."""
    found = {region.assessment for region in regions}
    for assessment in (Assessment.OK, Assessment.AMBIGUOUS, Assessment.UNKNOWN_PHASE):
        if assessment in found:
            return assessment
    return Assessment.NO_PERIODICITY


def summary(regions: Sequence[Region]) -> str:
    """Return what all regions together say, in a sentence or two."""
    in_image = regions[0].centre_a is not None
    crystals = [region for region in regions if region.assessment is not Assessment.NO_PERIODICITY]
    said = []
    if crystals:
        named = Counter(r.phase for r in crystals if r.assessment is Assessment.OK)
        parts = [f"{phase} in {number}" for phase, number in named.most_common()]
        for assessment, words in _UNNAMED.items():
            if number := sum(region.assessment is assessment for region in crystals):
                parts.append(f"{words} in {number}")
        noun = "crystalline place" if in_image else "crystal"
        said.append(f"{_counted(len(crystals), noun)}: {', '.join(parts)}.")
    if faint := len(regions) - len(crystals):
        noun = "faint place" if in_image else "faint lattice"
        are = "is" if faint == 1 else "are"
        said.append(f"{_counted(faint, noun)} {are} more likely noise than any crystal.")
    return " ".join(said)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


_UNNAMED = {
    Assessment.AMBIGUOUS: "ambiguous",
    Assessment.UNKNOWN_PHASE: "none of the candidates",
}

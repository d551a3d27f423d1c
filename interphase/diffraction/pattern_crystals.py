"""Crystals of a pattern of spots: which spots belong together, and to what."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from interphase.diffraction.matching import Evidences, Library, Match, scale_prior, weigh
from interphase.diffraction.options import Options
from interphase.diffraction.pattern_spots import LEAST_HEIGHT, PatternSpots
from interphase.diffraction.regions import Place
from interphase.diffraction.results import Region
from interphase.diffraction.spots import THRESHOLD
from interphase.diffraction.verdicts import describe, judge
from interphase.phases import Phase

# Crystals looked for in one pattern.
MAX_CRYSTALS = 5
# Standard deviation of half the distance of a pair of spots in a pattern [pixels].
PATTERN_SIGMA = 0.4
# The same as a share of the distance: lenses and cells.
LENGTH_SIGMA = 0.003
# Spots from which on what is left over may be a crystal; two spots are two accidents.
LEAST_SPOTS = 3
# Spots this many standard deviations from a point of a crystal's plane net belong to it.
NET_SIGMAS = 4.0
# Spots below this share of a crystal's strongest do not speak for or against it, beyond the first
# few: what is scattered twice, and the streaks and side maxima of a shape, are as bright.
BRIGHT, BRIGHTEST = 0.1, 4
# A second crystal is not looked for among spots below this share of the first one's strongest.
FAINT = 0.03


def find_crystals(
    found: PatternSpots,
    library: Library,
    candidates: Sequence[Phase],
    *,
    sampling: float,
    k_range_per_a: tuple[float, float],
    options: Options,
) -> tuple[Region, ...]:
    """Return the crystals that make the spots, each with the spots that are its own.

    Parameters
    ----------
    found
        Spots of the pattern, strongest first.
    library, candidates
        Templates of the candidates, and the candidates.
    sampling
        Size of a pixel [1/Å].
    k_range_per_a
        Least and greatest spatial frequency that was searched [1/Å].
    options
        How to look.

    Notes
    -----
    The best crystal of all spots takes those that lie on its plane net, the next one is looked
    for among the rest. Each is then weighed once more by its own spots and those that nobody
    claims, so that no crystal is judged by the spots of another.
    """
    k = found.offset * sampling
    limit = LEAST_HEIGHT * float(np.median(found.intensity / found.height))
    strength = np.maximum(THRESHOLD * found.intensity / limit, THRESHOLD)
    order = np.argsort(-strength, kind="stable")
    k, strength, p_value = k[order], strength[order], found.p_value[order]
    sigma = float(
        np.hypot(PATTERN_SIGMA * sampling, LENGTH_SIGMA * np.linalg.norm(k, axis=1).mean())
    )

    def weighed(spots: np.ndarray) -> Evidences:
        return weigh(
            k[spots],
            strength[spots],
            library,
            sigma_per_a=sigma,
            k_range_per_a=k_range_per_a,
            threshold=max(THRESHOLD, BRIGHT * float(strength[spots[0]])),
            evidence=options.evidence,
            scale=options.scale,
        )

    def bright(spots: np.ndarray) -> np.ndarray:
        enough = strength[spots] >= BRIGHT * strength[spots[0]]
        enough[:BRIGHTEST] = True
        return np.asarray(spots[enough])

    claimed: list[np.ndarray] = []
    left = np.arange(len(k))
    while len(left) >= (LEAST_SPOTS if claimed else 1) and len(claimed) < MAX_CRYSTALS:
        tried = bright(left)
        evidence = weighed(tried)
        match = _best(evidence, options) if _named(evidence, options) else None
        # None of the candidates: what is left is one crystal, or several.
        own = left
        if match is not None:
            own = np.union1d(
                left[_on_net(k[left], k[tried], match, sigma)],
                tried[[spot for spot, _ in match.matched]],
            )
        if claimed and len(own) < LEAST_SPOTS:
            break
        claimed.append(own)
        left = np.setdiff1d(left, own)
        left = left[strength[left] > FAINT * strength[0]]
    if not claimed:
        return ()
    spare = np.setdiff1d(np.arange(len(k)), np.concatenate(claimed))
    places, evidences, members = [], [], []
    for own in claimed:
        judged = bright(np.union1d(own, spare[strength[spare] > FAINT * strength[0]]))
        evidence = weighed(judged)
        evidences.append(_renumbered(evidence, judged, own))
        members.append(own)
        places.append(
            Place(
                k_per_a=k[own],
                strength=strength[own],
                p_value=float(p_value[own].min()),
                windows=np.zeros(0, dtype=int),
            )
        )
    posterior = judge(places, evidences, options, library.phases)
    regions = tuple(
        describe(
            place,
            evidence,
            posterior,
            number,
            library.phases,
            candidates,
            sigma=sigma,
            spot_p=p_value[own],
            centre_a=None,
            area_a2=None,
        )
        for number, (place, evidence, own) in enumerate(
            zip(places, evidences, members, strict=True)
        )
    )
    return regions


def _best(evidence: Evidences, options: Options) -> Match | None:
    """Return the best match of the phase that the spots speak for most."""
    mass = evidence.phases @ scale_prior(options.scale)
    return evidence.best[int(mass.argmax())] if len(mass) else None


def _named(evidence: Evidences, options: Options) -> bool:
    """Return whether a candidate suits the spots better than an unknown crystal."""
    mass = evidence.phases @ scale_prior(options.scale)
    unknown = options.evidence.unknown_prior
    share = (1 - unknown) / max(len(mass), 1)
    return bool(len(mass)) and bool(share * mass.max() > unknown * evidence.unknown)


def _on_net(k: np.ndarray, tried: np.ndarray, match: Match, sigma: float) -> np.ndarray:
    """Return which places k lie on the net that a match of spots spans, bool, shape (S,).

    Every point of the net counts, those that the structure forbids too: scattering twice reaches
    them.
    """
    hkl = np.array([h for _, h in match.matched], dtype=float)
    at = tried[[spot for spot, _ in match.matched]]
    if len(hkl) < 2 or np.linalg.matrix_rank(hkl) < 2:
        return np.zeros(len(k), dtype=bool)
    # A match may hold either spot of a Friedel pair.
    start = _oriented(hkl, at)
    net = np.linalg.lstsq(start, at, rcond=None)[0]
    reach = int(
        np.ceil(np.linalg.norm(k, axis=1).max() / max(np.linalg.norm(at, axis=1).min(), 1e-9))
    )
    reach = int(min(max(2 * np.abs(hkl).max(), reach), 12))
    grid = np.arange(-reach, reach + 1)
    points = np.stack(np.meshgrid(grid, grid, grid, indexing="ij"), axis=-1).reshape(-1, 3)
    axis = np.cross(start[0], start[_second(start)])
    inside = points[np.abs(points @ axis) < 1e-6]
    predicted = inside @ net
    distance = np.linalg.norm(k[:, None] - predicted, axis=2).min(axis=1)
    tolerance = NET_SIGMAS * sigma + 0.01 * np.linalg.norm(k, axis=1)
    # A dense net takes everything: it must stay well below the distance of its points.
    spacing = np.sort(np.linalg.norm(predicted, axis=1))
    nearest = spacing[spacing > 1e-6].min(initial=np.inf)
    return np.asarray(distance < np.minimum(tolerance, 0.25 * nearest))


def _second(hkl: np.ndarray) -> int:
    """Return the first row that is not in line with row 0."""
    return int(np.argmax(np.linalg.norm(np.cross(hkl[0], hkl), axis=1) > 1e-9))


def _oriented(hkl: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return indices with signs such that all spots fit one lattice."""
    second = _second(hkl)
    best, least = hkl, np.inf
    for turn in (1.0, -1.0):
        base = np.stack([hkl[0], turn * hkl[second]])
        net = np.linalg.lstsq(base, at[[0, second]], rcond=None)[0]
        here = hkl @ net
        sign = np.where(
            np.linalg.norm(here - at, axis=1) <= np.linalg.norm(here + at, axis=1), 1.0, -1.0
        )
        miss = float(np.linalg.norm(here * sign[:, None] - at, axis=1).sum())
        if miss < least:
            best, least = hkl * sign[:, None], miss
    return best


def _renumbered(evidence: Evidences, old: np.ndarray, new: np.ndarray) -> Evidences:
    """Return the evidence with its matches counting among other spots."""
    row = {int(spot): number for number, spot in enumerate(new)}

    def moved(match: Match | None) -> Match | None:
        if match is None:
            return None
        matched = tuple((row[int(old[s])], h) for s, h in match.matched if int(old[s]) in row)
        return replace(match, matched=matched) if matched else None

    return replace(evidence, best=tuple(moved(match) for match in evidence.best))

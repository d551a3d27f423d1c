"""How the doses of many exposures add up at one place, and what is not known of the sum."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class DoseTotal:
    """What a place received, between what is certain and what is possible."""

    at_least_e_per_a2: float
    """Sum of what certainly hit, or what a file states to have come before, if that is more
    [e/Å²]."""
    at_most_e_per_a2: float | None
    """Sum of all that may have hit [e/Å²]; ``None`` where the dose of any of them is unknown."""
    exposures: int
    """Exposures that certainly hit."""
    possible: int = 0
    """Further exposures that may have hit."""
    unknown: int = 0
    """How many of both have no known dose."""
    place_um: tuple[float, float] | None = None
    """The place (x, y) in stage coordinates [µm]."""
    mean_e_per_a2: float | None = None
    """Mean of what is certain over an area [e/Å²]; ``None`` for a place alone."""
    sentence: str = ""
    """The total in words."""

    @property
    def is_exact(self) -> bool:
        """Whether nothing is left open."""
        most = self.at_most_e_per_a2
        return most is not None and math.isclose(most, self.at_least_e_per_a2, abs_tol=1e-12)


def elapsed(
    start_s: np.ndarray, duration_s: np.ndarray, until_s: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the least and the greatest part of each exposure that is over at a moment.

    Parameters
    ----------
    start_s, duration_s
        Start and duration [s], NaN where not known, shape (N,).
    until_s
        The moment [s]; ``None`` for the end of all.

    Returns
    -------
    least, most : ndarray of shape (N,)
        One without a start may be over or not have begun; one without a duration, or that began at
        this very moment, is over at the most.

    Examples
    --------
    >>> least, most = elapsed(np.array([0.0, np.nan]), np.array([4.0, 4.0]), 1.0)
    >>> least.tolist(), most.tolist()
    ([0.25, 0.0], [0.25, 1.0])
    """
    if until_s is None:
        return np.ones(len(start_s)), np.ones(len(start_s))
    since = until_s - start_s
    known = np.isfinite(duration_s)
    with np.errstate(invalid="ignore"):
        part = np.clip(since / np.where(known, duration_s, 1.0), 0.0, 1.0)
        least = np.where(known, part, since > 0)
        most = np.where(known, np.where(since == 0, 1.0, part), since >= 0)
    timed = np.isfinite(start_s)
    return np.where(timed, least, 0.0), np.where(timed, most, 1.0)


def accumulated(
    dose: np.ndarray, prior: np.ndarray, timed: np.ndarray, series: np.ndarray | None = None
) -> tuple[float, float]:
    r"""Return the least and the greatest sum of doses in the order of time.

    Parameters
    ----------
    dose
        Doses in the order of time, shape (N,) [e/Å²].
    prior
        What the place had received before each, as its file states it; 0 where none does [e/Å²].
    timed
        Whether its place in the order is known; the others may stand anywhere.
    series
        Number of the series that each belongs to, shape (N,); by default one of its own.

    Returns
    -------
    least, most : float
        [e/Å²].

    Notes
    -----
    A stated prior dose is a lower bound on what came before. Which exposures of this list it counts
    beside those that are in no file is not known, so that at the least nothing counts twice,
    :math:`\max(\sum_j D_j, \max_k (P_k + \sum_{j \ge k} D_j))`. At the most it counts none but
    those of its own series: :math:`\sum_j D_j + \max_k (P_k - \sum_{j < k} D_j)`, the second sum
    over its series.

    Examples
    --------
    Three exposures of 3 e/Å², before the last of which the place had received 9: if they are of one
    series, 3 of these were other exposures, else perhaps all.

    >>> last, timed = np.array([0.0, 0.0, 9.0]), np.ones(3, dtype=bool)
    >>> accumulated(np.full(3, 3.0), last, timed, np.zeros(3))
    (12.0, 12.0)
    >>> accumulated(np.full(3, 3.0), last, timed)
    (12.0, 18.0)
    """
    total, stated, least = math.fsum(dose), prior > 0, certain_sum(dose, prior, timed)
    if not stated.any():
        return total, total
    own = np.arange(len(dose)) if series is None else series
    before: dict[int, float] = {}
    beside = 0.0
    for n in np.flatnonzero(timed | stated):
        counted = before.get(own[n], 0.0) if timed[n] else 0.0
        beside = max(beside, float(prior[n]) - counted)
        if timed[n]:
            before[own[n]] = counted + float(dose[n])
    return least, max(total + beside, least)


def certain_sum(dose: np.ndarray, prior: np.ndarray, timed: np.ndarray) -> float:
    """Return the least sum of doses alone, as `accumulated` has it [e/Å²]."""
    total, stated = math.fsum(dose), prior > 0
    if not stated.any():
        return total
    following = np.cumsum(np.where(timed, dose, 0.0)[::-1])[::-1]
    came_to = prior + np.where(timed, following, dose)
    return max(total, float(came_to[stated].max()))


def total_of(
    *,
    dose: np.ndarray,
    most_dose: np.ndarray,
    prior: np.ndarray,
    begun: np.ndarray,
    timed: np.ndarray,
    least: np.ndarray,
    most: np.ndarray,
    sure: np.ndarray,
    may: np.ndarray,
    gaps: np.ndarray,
    series: np.ndarray,
    more: tuple[float, int, int] = (0.0, 0, 0),
) -> DoseTotal:
    """Add up exposures in the order of time, each with the part of it that is over.

    Parameters
    ----------
    dose, most_dose
        Mean dose and the largest within the footprint, NaN where not known, shape (N,) [e/Å²].
    prior
        Stated prior dose, 0 where none is, shape (N,) [e/Å²].
    begun
        Whether it has begun, so that its prior dose is the past, shape (N,).
    timed
        Whether its place in the order is known, shape (N,).
    least, most
        Parts that are over, shape (N,).
    sure, may
        Whether it certainly hit, and whether it may have, shape (N,).
    gaps
        Which are scans with gaps, one of which the place may be in, shape (N,).
    series
        Number of the series that each belongs to, shape (N,).
    more
        Dose [e/Å²], number and number without a dose of further exposures that may have hit.
    """
    known = np.isfinite(dose)
    past = np.where(begun, prior, 0.0)
    counted = sure & (begun | (least > 0))
    certain = np.where(known & ~gaps, dose, 0.0)[counted] * least[counted]
    at_least = certain_sum(certain, past[counted], timed[counted])
    stated = at_least - math.fsum(certain)
    possible = may & (begun | (most > 0))
    _, at_most = accumulated(
        np.where(known, most_dose, 0.0)[possible] * most[possible],
        past[possible],
        timed[possible],
        series[possible],
    )
    dose_more, number_more, unknown_more = more
    unknown = int((possible & ~known & (most > 0)).sum()) + unknown_more
    exposures = int((sure & ~gaps & (least > 0)).sum())
    others = int((possible & (most > 0)).sum()) - exposures + number_more
    upper = None if unknown else max(at_most + dose_more, at_least)
    return DoseTotal(
        at_least_e_per_a2=at_least,
        at_most_e_per_a2=upper,
        exposures=exposures,
        possible=others,
        unknown=unknown,
        sentence=_sentence(at_least, upper, stated, exposures, others, unknown),
    )


def _sentence(
    least: float,
    most: float | None,
    stated: float,
    exposures: int,
    possible: int,
    unknown: int,
) -> str:
    if not exposures and not possible and not least:
        return "No exposure of the ledger hit this place."
    origin = f"from {exposures} exposure{'s' if exposures != 1 else ''}"
    if not exposures and stated:
        origin = "that a file states"
    elif stated > 1e-6 * least:
        origin += f" and {stated:.4g} e/Å² that a file states besides"
    if most is not None and math.isclose(most, least, rel_tol=1e-9, abs_tol=1e-9):
        return f"{least:.4g} e/Å² {origin}."
    if least or exposures:
        said = f"At least {least:.4g} e/Å² {origin}"
    else:
        said = "No exposure certainly hit this place"
    if possible:
        said += f"; {possible}{' more' if exposures else ''} may have hit it"
    if most is not None:
        said += f", at most {most:.4g} e/Å² in all"
    else:
        said += f"; the dose of {unknown} is unknown, so this is a lower bound"
    return f"{said}."


def chronological(start_s: Sequence[float] | np.ndarray, keys: Sequence[str]) -> list[int]:
    """Return the order of time, those without a time last, ties by name."""
    return sorted(range(len(keys)), key=lambda i: (math.isnan(start_s[i]), start_s[i], keys[i]))

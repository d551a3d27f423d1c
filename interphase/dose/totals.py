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


def accumulated(dose: np.ndarray, prior: np.ndarray, timed: np.ndarray) -> tuple[float, float]:
    r"""Return the least and the greatest sum of doses in the order of time.

    Parameters
    ----------
    dose
        Doses in the order of time, shape (N,) [e/Å²].
    prior
        What the place had received before each, as its file states it; 0 where none does [e/Å²].
    timed
        Whether its place in the order is known; the others may stand anywhere.

    Returns
    -------
    least, most : float
        [e/Å²].

    Notes
    -----
    A stated prior dose counts exposures of this list and others that are in no file. It is a lower
    bound on what came before:
    :math:`\max(\sum_j D_j, \max_k (P_k + \sum_{j \ge k} D_j))`, so that nothing counts twice.

    Examples
    --------
    Three exposures of 3 e/Å², before the last of which the place had received 9:

    >>> accumulated(np.full(3, 3.0), np.array([0.0, 0.0, 9.0]), np.ones(3, dtype=bool))
    (12.0, 12.0)
    """
    total = math.fsum(dose)
    least = most = total
    stated = prior > 0
    if stated.any():
        following = np.cumsum(np.where(timed, dose, 0.0)[::-1])[::-1]
        ordered = stated & timed
        if ordered.any():
            least = max(least, float((prior + following)[ordered].max()))
        alone = stated & ~timed
        if alone.any():
            least = max(least, float((prior + dose)[alone].max()))
            most = max(most, float(prior[alone].max()) + total)
        untimed = math.fsum(dose[~timed])
        most = max(most, least, *((prior + following)[ordered] + untimed))
    return float(least), float(most)


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
    more
        Dose [e/Å²], number and number without a dose of further exposures that may have hit.
    """
    known = np.isfinite(dose)
    past = np.where(begun, prior, 0.0)
    counted = sure & (begun | (least > 0))
    certain = np.where(known, dose, 0.0)[counted] * least[counted]
    at_least, _ = accumulated(certain, past[counted], timed[counted])
    stated = at_least - math.fsum(certain)
    possible = may & (begun | (most > 0))
    _, at_most = accumulated(
        np.where(known, most_dose, 0.0)[possible] * most[possible],
        past[possible],
        timed[possible],
    )
    dose_more, number_more, unknown_more = more
    unknown = int((possible & ~known & (most > 0)).sum()) + unknown_more
    exposures = int((sure & (least > 0)).sum())
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
    if stated > 1e-6 * least:
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

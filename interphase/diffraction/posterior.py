"""From likelihoods of many places to probabilities, with the scale error they share."""

from dataclasses import dataclass

import numpy as np

from interphase.diffraction.matching import SCALE_GRID

# One place in so many misleads about the common scale, whatever its likelihood says.
ODD_PLACE = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """Probabilities of the hypotheses about each place of one image."""

    probability: np.ndarray
    """Candidates, then unknown, then nothing periodic; shape (R, C + 2), rows sum to 1."""
    scale: np.ndarray
    """Probability of each value of `SCALE_GRID` from all places, shape (E,)."""
    scale_of: np.ndarray
    """Mean scale error of each place under each candidate, shape (R, C)."""
    scale_sigma_of: np.ndarray
    """Standard deviation of what the prior and all other places say of the scale error of each
    place, shape (R,)."""
    informed: np.ndarray | None = None
    """`probability` where the candidates do not weigh the same beforehand; ``None`` if they do."""

    @property
    def scale_sigma(self) -> float:
        """Standard deviation of the common scale error (fraction)."""
        mean = float(self.scale @ SCALE_GRID)
        return float(np.sqrt(self.scale @ (SCALE_GRID - mean) ** 2))


def combine(
    phases: np.ndarray,
    unknown: np.ndarray,
    *,
    chance: np.ndarray,
    scale: np.ndarray,
    unknown_prior: float,
    misfit: float,
    weights: np.ndarray | None = None,
) -> Posterior:
    """Return posterior probabilities of all places of an image.

    Parameters
    ----------
    phases
        Likelihood of each candidate per scale error, shape (R, C, E).
    unknown
        Likelihood of a crystal that is none of them, shape (R,).
    chance
        Posterior probability that noise made the place, shape (R,).
    scale
        Prior probability of each scale error, shape (E,).
    unknown_prior
        Prior probability of a crystal that is none of the candidates; the candidates share the
        rest.
    misfit
        Share of a candidate's crystals whose spots are as foreign to it as an unknown crystal's.
    weights
        Relative prior weight of each candidate, shape (C,); even unless given.

    Notes
    -----
    Some crystals of a candidate are seen in a way that its templates do not describe: far from any
    orientation in the table, or under another crystal. Their spots are as likely as those of an
    unknown crystal, which bounds how sure "none of the candidates" can be. Which candidate that is
    the rest of the evidence says with half its weight.

    All places have the same scale error. The belief about it that a place is judged with comes
    from the prior and from all *other* places, so that no place counts twice; one place in
    twenty is allowed to mislead.
    """
    n_places, n_candidates, _ = phases.shape
    weights = np.ones(n_candidates) if weights is None else weights
    share = (1 - unknown_prior) * weights / max(weights.sum(), np.finfo(float).tiny)
    phases = (1 - misfit) * phases + misfit * _of_misfits(phases @ scale, unknown)[:, :, None]
    joint = np.einsum("c,rce->re", share, phases) + unknown_prior * unknown[:, None]
    joint = joint / np.maximum(joint.max(axis=1, keepdims=True), np.finfo(float).tiny)
    # What noise made tells nothing of the scale.
    telling = (1 - ODD_PLACE) * (1 - chance[:, None])
    log_factor = np.log(telling * joint + 1 - telling)
    log_belief = np.log(np.maximum(scale, np.finfo(float).tiny)) + log_factor.sum(axis=0)
    others = _normalised(log_belief - log_factor)

    candidate = share * np.einsum("rce,re->rc", phases, others)
    crystal = np.concatenate([candidate, unknown_prior * unknown[:, None]], axis=1)
    total = crystal.sum(axis=1, keepdims=True)
    crystal = np.where(total > 0, crystal / np.maximum(total, np.finfo(float).tiny), 0)
    crystal[total[:, 0] <= 0, -1] = 1
    weighted = phases * others[:, None, :]
    mass = weighted.sum(axis=2)
    mean = (weighted @ SCALE_GRID) / np.maximum(mass, np.finfo(float).tiny)
    centre = others @ SCALE_GRID
    variance = np.einsum("re,re->r", others, (SCALE_GRID - centre[:, None]) ** 2)
    return Posterior(
        probability=np.concatenate([crystal * (1 - chance[:, None]), chance[:, None]], axis=1),
        scale=_normalised(log_belief[None])[0],
        scale_of=mean.reshape(n_places, n_candidates),
        scale_sigma_of=np.sqrt(variance),
    )


def _of_misfits(phases: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """Return the likelihood of each candidate's crystals that fit no template, shape (R, C)."""
    weight = np.sqrt(np.maximum(phases, np.finfo(float).tiny))
    return np.asarray(unknown[:, None] * weight / weight.mean(axis=1, keepdims=True))


def chance_of_noise(p_value: np.ndarray) -> np.ndarray:
    """Return the least probability that noise made what has this p-value, at even odds before.

    A p-value is not the probability of its null hypothesis. Whatever the alternative, the odds
    for noise are at least ``-e p ln p`` (Sellke, Bayarri & Berger, Am. Stat. 55, 62 (2001),
    doi:10.1198/000313001300339950).

    >>> chance_of_noise(np.array([0.01])).round(2).tolist()
    [0.11]
    """
    p = np.clip(p_value, 1e-300, np.exp(-1))
    odds = -np.exp(1) * p * np.log(p)
    return np.asarray(odds / (1 + odds))


def _normalised(log_weight: np.ndarray) -> np.ndarray:
    weight = np.exp(log_weight - log_weight.max(axis=-1, keepdims=True))
    return np.asarray(weight / weight.sum(axis=-1, keepdims=True))


def credible_set(probability: np.ndarray, content: float = 0.9) -> np.ndarray:
    """Return the indices of the fewest hypotheses that together hold `content`, likeliest first.

    >>> credible_set(np.array([0.3, 0.65, 0.05])).tolist()
    [1, 0]
    """
    order = np.argsort(-probability, kind="stable")
    held = np.cumsum(probability[order])
    return order[: int(np.searchsorted(held, content - 1e-12)) + 1]

"""Follow the edges and the fine structure of energy-loss spectra against accumulated dose."""

from collections.abc import Mapping

import numpy as np

from interphase.dose.signals import FadingSeries, Law
from interphase.errors import ParameterError

# Exposures over which the variance of a net signal is averaged: that of one alone is low where its
# counts are, and would pull the fit down.
_SMOOTH = 5
# Fits of references, each with the variances that the one before expects, and the least of them,
# over the mean of all spectra.
_ROUNDS, _LEAST_SHARE = 3, 0.1
# Ratio of the largest to the smallest singular value of references from which on rounding decides
# about their amounts.
_ALIKE = 1e6


def follow_edge(
    spectra: np.ndarray,
    *,
    energies_ev: np.ndarray,
    edge_ev: tuple[float, float],
    background_ev: tuple[float, float],
    before_e_per_a2: np.ndarray,
    after_e_per_a2: np.ndarray,
    counts_per_electron: float = 1.0,
    name: str = "edge",
    phase: str | None = None,
) -> FadingSeries:
    r"""Return the electrons of an edge above its background, spectrum by spectrum.

    For edges whose background is a power law from the fitting window to the end of the edge's;
    plural scattering and overlapping edges make it another.

    Parameters
    ----------
    spectra
        Counts, shape (F, E).
    energies_ev
        Energy loss of each channel [eV], shape (E,).
    edge_ev
        Window of the edge, from its onset [eV].
    background_ev
        Window ahead of the onset where the background is fitted [eV].
    before_e_per_a2
        Dose accumulated before each spectrum [e/Å²], shape (F,).
    after_e_per_a2
        Dose accumulated after it [e/Å²], shape (F,).
    counts_per_electron
        Gain of the camera.
    name
        What the edge is of.
    phase
        Identifier of the phase that it is of.

    Returns
    -------
    FadingSeries
        Values: net electrons per mean exposure; their variance holds that of the extrapolation.

    Raises
    ------
    ParameterError
        A window holds too few channels or overlaps the other, or the shapes do not fit.

    Notes
    -----
    :math:`\ln B = a + r \ln E` is fitted by Poisson likelihood; the variance of the background
    under the edge is :math:`J^T C J` with C the inverse of the information of (a, r). In the mean
    such a background is too high by some electrons, however many there are; these are taken
    off [1]_.

    References
    ----------
    .. [1] G. M. Cordeiro and P. McCullagh, J. R. Stat. Soc. B 53, 629 (1991), the bias of the
           parameters; that of the exponential of their sum is added

    Examples
    --------
    >>> energies = np.arange(200.0, 400.0)
    >>> counts = 1e9 * energies**-3.0 + np.where(energies >= 284, 20.0, 0.0)
    >>> series = follow_edge(
    ...     counts[None],
    ...     energies_ev=energies,
    ...     edge_ev=(284, 334),
    ...     background_ev=(220, 280),
    ...     before_e_per_a2=[0.0],
    ...     after_e_per_a2=[10.0],
    ... )
    >>> round(float(series.signal[0]), -1)
    1020.0
    """
    from scipy.ndimage import uniform_filter1d

    counts, energies = _checked(spectra, energies_ev, counts_per_electron)
    windows = {"edge_ev": edge_ev, "background_ev": background_ev}
    inside = {n: (energies >= low) & (energies <= high) for n, (low, high) in windows.items()}
    for window, least in (("edge_ev", 1), ("background_ev", 3)):
        if inside[window].sum() < least:
            raise ParameterError(
                f"{window} is {windows[window]!r} eV, which holds {inside[window].sum()} channels "
                f"of {energies[0]:g} to {energies[-1]:g} eV: expected at least {least}"
            )
    if not background_ev[1] < edge_ev[0]:
        raise ParameterError(
            f"background_ev ends at {background_ev[1]:g} eV, not ahead of the edge's window at "
            f"{edge_ev[0]:g} eV"
        )
    x = np.log(energies / energies[inside["background_ev"]].mean())
    under = [_power_law(n[inside["background_ev"]], x, inside) for n in counts]
    background, error2 = np.array(under).T
    gross = counts[:, inside["edge_ev"]].sum(axis=1)
    variance = uniform_filter1d(gross + error2, _SMOOTH, mode="nearest")
    weight = _weight(before_e_per_a2, after_e_per_a2, len(counts))
    return FadingSeries(
        signal=(gross - background) / weight,
        before_e_per_a2=before_e_per_a2,
        after_e_per_a2=after_e_per_a2,
        law=Law.VALUES,
        name=name,
        phase=phase,
        variance=np.maximum(variance, 1.0) / weight**2,
    )


def follow_references(
    spectra: np.ndarray,
    *,
    references: Mapping[str, np.ndarray],
    before_e_per_a2: np.ndarray,
    after_e_per_a2: np.ndarray,
    counts_per_electron: float = 1.0,
) -> dict[str, FadingSeries]:
    """Return how much of each reference spectrum is in each spectrum of a series.

    Follows fine structure: with spectra of Li2CO3 and Li2O and a background as references, how much
    carbonate is left and how much oxide is there. What is in no reference goes into these.

    Parameters
    ----------
    spectra
        Counts, shape (F, E).
    references
        Name → spectrum on the same channels, shape (E,), of any scale.
    before_e_per_a2
        Dose accumulated before each spectrum [e/Å²], shape (F,).
    after_e_per_a2
        Dose accumulated after it [e/Å²], shape (F,).
    counts_per_electron
        Gain of the camera.

    Returns
    -------
    dict
        Name → series of values: the amount per mean exposure, by least squares with the variances
        that the fit itself expects; it may fall below 0 by its error.

    Raises
    ------
    ParameterError
        A reference has other channels, or one is a sum of the others.

    Examples
    --------
    >>> oxide, carbonate = np.array([0.0, 1.0, 3.0, 1.0]), np.array([1.0, 3.0, 1.0, 0.0])
    >>> found = follow_references(
    ...     np.array([100 * carbonate, 50 * carbonate + 40 * oxide]),
    ...     references={"Li2O": oxide, "Li2CO3": carbonate},
    ...     before_e_per_a2=[0.0, 10.0],
    ...     after_e_per_a2=[10.0, 20.0],
    ... )
    >>> [found[name].signal.round().astype(int).tolist() for name in ("Li2O", "Li2CO3")]
    [[0, 40], [100, 50]]
    """
    counts, _ = _checked(spectra, None, counts_per_electron)
    for name, reference in references.items():
        if np.shape(reference) != counts.shape[1:] or not np.all(np.isfinite(reference)):
            raise ParameterError(
                f"the reference of {name} has shape {np.shape(reference)}: expected finite "
                f"numbers, one for each of {counts.shape[1]} channels"
            )
    if not references:
        raise ParameterError("references are empty: give at least one spectrum")
    shapes = np.stack(list(references.values()), axis=1).astype(float)
    # A reference may have any scale, which says nothing of its shape.
    scale = np.abs(shapes).max(axis=0)
    shapes = shapes / np.where(scale > 0, scale, 1.0)
    if np.linalg.cond(shapes) > _ALIKE:
        raise ParameterError(
            f"of the references {', '.join(references)} one is a sum of the others: their amounts "
            "cannot be told apart; leave one out"
        )
    # The variance of a channel is that of all spectra at first, and then that of the fit: that of
    # its own counts is low where these are few by chance, and would pull the amounts down.
    mean = counts.mean(axis=0)
    least = np.maximum(_LEAST_SHARE * mean, 0.5 / len(counts))
    variance = np.maximum(np.broadcast_to(mean, counts.shape), least)
    for _ in range(_ROUNDS):
        information = np.einsum("er,fe,es->frs", shapes, 1 / variance, shapes)
        moments = np.einsum("er,fe->fr", shapes, counts / variance)
        covariance = np.linalg.inv(information)
        amounts = np.einsum("frs,fs->fr", covariance, moments)
        variance = np.maximum(amounts @ shapes.T, least)
    errors2 = np.einsum("frr->fr", covariance)
    weight = _weight(before_e_per_a2, after_e_per_a2, len(counts))
    return {
        name: FadingSeries(
            signal=amounts[:, number] / (scale[number] * weight),
            before_e_per_a2=before_e_per_a2,
            after_e_per_a2=after_e_per_a2,
            law=Law.VALUES,
            name=f"amount of {name}",
            phase=name,
            variance=errors2[:, number] / (scale[number] * weight) ** 2,
        )
        for number, name in enumerate(references)
    }


def _power_law(
    counts: np.ndarray, x: np.ndarray, inside: Mapping[str, np.ndarray]
) -> tuple[float, float]:
    """Return the background under an edge and its variance; x is the logarithm of the energy."""
    at, under = x[inside["background_ev"]], x[inside["edge_ev"]]
    if not counts.any():
        return 0.0, 0.0
    design = np.column_stack([np.ones_like(at), at])
    a, r = np.log(counts.mean()), 0.0
    for _ in range(50):
        mean = np.exp(a + r * at)
        information = design.T @ (mean[:, None] * design)
        step = np.linalg.solve(information, design.T @ (counts - mean))
        # Of few counts the first steps may go too far.
        step *= min(1.0, 3 / np.abs(step).max()) if np.any(step) else 0.0
        a, r = a + step[0], r + step[1]
        if np.abs(step).max() < 1e-10:
            break
    each = np.exp(a + r * under)
    slope = np.array([each.sum(), (each * under).sum()])
    covariance = np.linalg.inv(information)
    spread = np.einsum("ep,pq,eq->e", design, covariance, design)
    bias = -0.5 * covariance @ (design.T @ (mean * spread))
    beyond = np.column_stack([np.ones_like(under), under])
    curved = 0.5 * np.einsum("ep,pq,eq->e", beyond, covariance, beyond)
    # An expansion in the inverse of the counts, which few of them do not bear.
    surplus = min(float(each @ (beyond @ bias + curved)), 0.5 * float(each.sum()))
    return float(each.sum()) - surplus, float(slope @ covariance @ slope)


def _weight(before: np.ndarray, after: np.ndarray, number: int) -> np.ndarray:
    """Return the dose of each exposure over their mean."""
    if np.shape(before) != (number,) or np.shape(after) != (number,):
        raise ParameterError(
            f"the doses have shapes {np.shape(before)} and {np.shape(after)} and there are "
            f"{number} spectra: expected one dose before and one after each"
        )
    width = np.subtract(after, before, dtype=float)
    if not np.all(width > 0):
        raise ParameterError("a dose after a spectrum is not above the dose before it")
    return np.asarray(width / width.mean())


def _checked(
    spectra: np.ndarray, energies_ev: np.ndarray | None, gain: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return electrons (F, E) and the energies of their channels."""
    if not 0 < gain < float("inf"):
        raise ParameterError(f"counts_per_electron is {gain!r}: expected a finite number above 0")
    counts = np.asarray(spectra, dtype=float)
    if counts.ndim != 2 or not counts.size:
        raise ParameterError(f"spectra have shape {counts.shape}: expected (spectra, channels)")
    if not np.all(np.isfinite(counts)) or counts.min() < 0:
        raise ParameterError("spectra hold what are no counts: expected finite numbers, at least 0")
    energies = np.arange(1.0, counts.shape[1] + 1) if energies_ev is None else energies_ev
    energies = np.asarray(energies, dtype=float)
    if energies.shape != counts.shape[1:] or not np.all(np.diff(energies) > 0) or energies[0] <= 0:
        raise ParameterError(
            f"energies_ev has shape {energies.shape}: expected {counts.shape[1]} energies above 0 "
            "eV that rise"
        )
    return counts / gain, energies

"""Follow the edges and the fine structure of energy-loss spectra against accumulated dose."""

from collections.abc import Mapping

import numpy as np

from interphase.dose.signals import FadingSeries, Law
from interphase.errors import ParameterError
from interphase.power_law import fit_power_law

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
    """Return the electrons of an edge above its background, spectrum by spectrum.

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
    The background is that of `interphase.power_law.fit_power_law`, its bias taken off; spectra of
    too few electrons for an exponent of their own have that of all of them together.

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
    background, error2 = _background(counts, energies, background_ev, inside["edge_ev"])
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


def _background(
    counts: np.ndarray, energies: np.ndarray, window_ev: tuple[float, float], under: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the background in the channels `under` an edge, and its variance, shape (F,) each."""
    background, error2 = fit_power_law(counts, energies, window_ev=window_ev).total(energies[under])
    few = np.isnan(background)
    if few.any():
        # The exponent of so few electrons is that of all spectra; flat if these are few too.
        window = (energies >= window_ev[0]) & (energies <= window_ev[1])
        electrons = counts[:, window].sum(axis=1)
        both = counts.sum(axis=0)
        together, spread = fit_power_law(both, energies, window_ev=window_ev).total(energies[under])
        if np.isnan(together):
            share, share2 = under.sum() / window.sum(), 0.0
        else:
            share, share2 = together / electrons.sum(), spread / electrons.sum() ** 2
        background = np.where(few, share * electrons, background)
        error2 = np.where(few, share**2 * electrons + share2 * electrons**2, error2)
    return background, error2


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

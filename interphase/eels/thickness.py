"""Thickness from the share of electrons that lost no energy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from interphase.assessment import Assessment
from interphase.eels.checks import blocks, check_number
from interphase.eels.likelihood import in_threads
from interphase.eels.pixels import rows_of_spectra
from interphase.eels.zero_loss import ZeroLoss, check_aligned, even_step
from interphase.inelastic import mean_free_path_iakoubovskii, mean_free_path_malis

_FEWEST = 20.0
"""Electrons without loss below which the logarithm of their share is not stated."""
_TRUST = 0.2
"""Relative error of either formula of mean free paths, so that two that agree by chance do not
pass for exact. Grade C: 20 to 25 % are usually carried."""
_WIDEST_MALIS_MRAD = 15.0
_LARGEST_OFFSET = 0.02
"""Counts that an offset of the readout makes, over all counts, above which t/λ is doubted."""
LITHIUM_LIMITS = (0.3, 0.5)
"""t/λ above which plural scattering disturbs the Li K edge, and above which it must be taken out
first. Practice of the field, grade C."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Thickness:
    """How many mean free paths thick a specimen is."""

    relative: np.ndarray
    """t/λ of every spectrum, shape (...); NaN where the electrons do not suffice."""
    relative_error: np.ndarray
    """Standard error of counting, shape (...)."""
    systematic: float
    """Error common to all spectra: where the zero-loss peak ends, what lies beyond the axis, and an
    offset of the readout."""
    cut_ev: float
    """Energy loss that ends the zero-loss peak [eV]."""
    beyond_share: float
    """Share of the losses that lie beyond the axis by extrapolation, counted in."""
    smallest: float
    """Detection limit by counting: t/λ that is 3 of its standard errors in a typical spectrum."""
    assessment: Assessment
    """Whether the map can be used."""
    sentence: str
    """The same in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanFreePath:
    """The inelastic mean free path by two formulas."""

    path_a: float
    """Mean of those formulas that hold [Å]."""
    error_a: float
    """Their difference, and at least 20 % [Å]."""
    iakoubovskii_a: float
    """By the density [Å]."""
    malis_a: float | None
    """By the mean atomic number [Å]; ``None`` without a composition or above 15 mrad."""
    sentence: str
    """What was used."""


def mean_free_path(
    *,
    density_g_per_cm3: float,
    composition: Mapping[str, float] | None = None,
    beam_energy_kev: float,
    collection_mrad: float,
    convergence_mrad: float,
) -> MeanFreePath:
    """Return the inelastic mean free path, and how far two formulas disagree on it.

    Parameters
    ----------
    density_g_per_cm3
        Mass density [g/cm³].
    composition
        Element → number or share of atoms; without it only one formula speaks.
    beam_energy_kev
        Beam energy [keV].
    collection_mrad
        Collection semi-angle [mrad].
    convergence_mrad
        Convergence semi-angle [mrad], which only the formula of Iakoubovskii knows.

    Returns
    -------
    MeanFreePath
        See `interphase.inelastic` for the formulas.

    Raises
    ------
    ParameterError
        A number cannot be.

    Examples
    --------
    >>> lithium = mean_free_path(
    ...     density_g_per_cm3=0.533, composition={"Li": 1}, beam_energy_kev=200,
    ...     collection_mrad=10, convergence_mrad=10,
    ... )
    >>> round(lithium.iakoubovskii_a / 10), round(lithium.malis_a / 10)
    (247, 198)
    """
    by_density = mean_free_path_iakoubovskii(
        density_g_per_cm3,
        beam_energy_kev=beam_energy_kev,
        collection_semi_angle_mrad=collection_mrad,
        convergence_semi_angle_mrad=convergence_mrad,
    )
    if composition is not None and collection_mrad <= _WIDEST_MALIS_MRAD:
        by_number = mean_free_path_malis(
            composition, beam_energy_kev=beam_energy_kev, collection_semi_angle_mrad=collection_mrad
        )
        path, error = (by_density + by_number) / 2, abs(by_density - by_number)
        sentence = (
            f"λ is {by_density / 10:.0f} nm by Iakoubovskii and {by_number / 10:.0f} nm by Malis"
        )
    else:
        by_number, path, error = None, by_density, 0.0
        sentence = f"λ is {by_density / 10:.0f} nm by Iakoubovskii; Malis " + (
            "needs a composition"
            if composition is None
            else f"does not hold at {collection_mrad:g} mrad, only up to {_WIDEST_MALIS_MRAD:g}"
        )
    return MeanFreePath(
        path_a=path,
        error_a=max(error, _TRUST * path),
        iakoubovskii_a=by_density,
        malis_a=by_number,
        sentence=sentence,
    )


def absolute_thickness(thickness: Thickness, path: MeanFreePath) -> tuple[np.ndarray, np.ndarray]:
    """Return the thickness of every spectrum and its standard error [Å].

    Parameters
    ----------
    thickness
        From `measure_thickness`.
    path
        From `mean_free_path`; its error is common to all spectra.

    Returns
    -------
    value_a, error_a
        Shape (...); NaN where t/λ is.
    """
    relative = thickness.relative
    by_counts = path.path_a * np.hypot(thickness.relative_error, thickness.systematic)
    return relative * path.path_a, np.hypot(by_counts, relative * path.error_a)


def measure_thickness(
    counts: Any,
    energy_ev: np.ndarray,
    zero_loss: ZeroLoss,
    *,
    cut_ev: float | None = None,
    gain: float = 1.0,
    read_noise: float = 0.0,
) -> Thickness:
    r"""Measure t/λ by the logarithm of all electrons over those without loss.

    Do not use it where the aperture stops many elastic electrons differently at different places,
    for crystals near a zone axis, or where the readout has an offset: subtract that first.

    Parameters
    ----------
    counts
        Low losses with the whole zero-loss peak, shape (..., E), an array or a Dask array [counts].
    energy_ev
        Energy loss of the channels as the file states it, shape (E,) [eV].
    zero_loss
        From `find_zero_loss` of the same counts.
    cut_ev
        Energy loss that ends the zero-loss peak [eV]; by default the valley before the first loss.
    gain
        Counts per electron.
    read_noise
        Standard deviation of the readout per channel [counts].

    Returns
    -------
    Thickness
        Relative to the mean free path, with errors.

    Raises
    ------
    ParameterError
        Shapes differ or a number cannot be.
    MissingValueError
        No zero-loss peak was found, so that there is nothing to compare with.

    Notes
    -----
    :math:`t/\lambda = \ln(N / N_0)` [1]_. With :math:`N_0` and :math:`N - N_0` electrons counted
    independently its variance is :math:`(N - N_0) / (N N_0)`. Losses beyond the axis are added by
    a power law through its last fifth.

    References
    ----------
    .. [1] R. F. Egerton, Electron Energy-Loss Spectroscopy in the Electron Microscope, 3rd ed.
           (2011), doi:10.1007/978-1-4419-9583-4

    Examples
    --------
    >>> from interphase.eels.zero_loss import find_zero_loss
    >>> energy = np.arange(-10, 60, 0.5)
    >>> peak = 4e4 * np.exp(-2 * energy**2)
    >>> loss = 4e3 * np.exp(-(((energy - 20) / 5) ** 2))
    >>> found = find_zero_loss(peak + loss, energy)
    >>> thickness = measure_thickness(peak + loss, energy, found)
    >>> round(float(thickness.relative), 3), round(float(np.log1p(loss.sum() / peak.sum())), 3)
    (0.535, 0.535)
    """
    counts, energy, step = check_aligned(
        counts,
        energy_ev,
        zero_loss,
        gain=gain,
        read_noise=read_noise,
        least=16,
        what="t/λ cannot be measured",
    )
    place = zero_loss.position_ev
    mean, axis = aligned_mean(counts, energy, zero_loss)
    valley = find_valley(mean, axis, zero_loss.fwhm_ev)
    cut = valley if cut_ev is None else check_number("cut_ev", cut_ev, 0, float(axis[-1]), "eV")
    factor = _beyond(mean, axis)
    last = len(energy) - max(len(energy) // 5, 3)

    sums = np.full((*place.shape, 3), np.nan)
    for where, block in blocks(counts):
        loss = energy - place[where][..., None]
        below = loss <= cut
        elastic = np.where(below, block, 0).sum(axis=-1)
        # The channel that holds the cut is shared.
        part = np.clip((cut - loss) / step + 0.5, 0, 1)
        elastic = np.where(np.isfinite(place[where]), (part * block).sum(axis=-1), np.nan)
        sums[where] = np.stack(
            [elastic, block.sum(axis=-1), block[..., last:].sum(axis=-1)], axis=-1
        )
    elastic, total = sums[..., 0] / gain, (sums[..., 1] + factor * sums[..., 2]) / gain
    lost = total - elastic
    readout = len(energy) * (read_noise / gain) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = np.log(total / elastic)
        spread = np.maximum(lost, 0) / (total * elastic) + readout * (lost / (total * elastic)) ** 2
        error = np.sqrt(spread + readout / total**2)
        known = (elastic >= _FEWEST) & (elastic > 5 * np.sqrt(readout)) & (total > 0)
    relative, error = np.where(known, relative, np.nan), np.where(known, error, np.nan)

    beyond = factor * mean[last:].sum() / max(mean[axis > cut].sum(), 1e-300)
    ahead = mean[axis < -4 * zero_loss.fwhm_ev]
    offset = float(np.median(ahead)) * len(mean) / mean.sum() if len(ahead) > 4 else 0.0
    systematic = float(np.hypot(_systematic(mean, axis, cut, step, beyond), abs(offset)))
    typical = float(np.nanmedian(np.where(known, elastic, np.nan))) if known.any() else 0.0
    # So few losses L have the error √(L + readout's variance), which is a third of them.
    fewest = (9 + np.sqrt(81 + 36 * readout)) / 2
    smallest = fewest / typical if typical else float("inf")
    assessment, sentence = _verdict(relative, error, known, systematic, beyond, offset)
    return Thickness(
        relative=relative,
        relative_error=error,
        systematic=systematic,
        cut_ev=cut,
        beyond_share=float(beyond),
        smallest=float(smallest),
        assessment=assessment,
        sentence=sentence,
    )


def plural_share(relative: np.ndarray | float) -> np.ndarray:
    r"""Return the share of those electrons that lost energy which lost it more than once.

    Parameters
    ----------
    relative
        t/λ, any shape.

    Returns
    -------
    ndarray
        :math:`1 - x e^{-x} / (1 - e^{-x})` with x = t/λ, from 0 to 1.

    Examples
    --------
    >>> plural_share(np.array([0.0, 0.5, 1.0])).round(2).tolist()
    [0.0, 0.23, 0.42]
    """
    x = np.asarray(relative, dtype=float)
    safe = np.where(x > 0, x, 1.0)
    return np.where(x > 0, 1 - safe / np.expm1(safe), np.where(x <= 0, 0.0, np.nan))


def lithium_warning(relative: np.ndarray | float) -> str | None:
    """Return what plural scattering does to the Li K edge, ``None`` where it does little.

    Two or three losses to a plasmon of 20 eV lie at 40 to 60 eV, under the edge at 55 eV.

    Parameters
    ----------
    relative
        t/λ, any shape; NaN is passed over.

    Examples
    --------
    >>> lithium_warning(0.2) is None
    True
    >>> lithium_warning(0.8)[:47]
    't/λ is 0.80: of the electrons that lose energy '
    """
    x = np.asarray(relative, dtype=float)
    x = x[np.isfinite(x)]
    thick = x.size and (np.median(x) > LITHIUM_LIMITS[0] or np.mean(x > LITHIUM_LIMITS[1]) >= 0.05)
    if not thick:
        return None
    middle = float(np.median(x)) if np.median(x) > LITHIUM_LIMITS[0] else float(x.max())
    text = (
        f"t/λ is {middle:.2f}: of the electrons that lose energy "
        f"{100 * float(plural_share(middle)):.0f} % do so more than once, and two or three "
        "plasmons lie under Li K; "
    )
    return text + (
        "take plural scattering out first, with `fourier_log`, or fit edges convolved with the "
        "low losses"
        if middle > LITHIUM_LIMITS[1]
        else "convolve the edge with the low losses"
    )


def aligned_mean(
    counts: Any, energy_ev: np.ndarray, zero_loss: ZeroLoss
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean spectrum with every zero-loss peak at 0, and its axis [eV].

    Parameters
    ----------
    counts
        Spectra, shape (..., E).
    energy_ev
        Their axis, shape (E,) [eV].
    zero_loss
        Where their peaks are; spectra without one have no part.

    Returns
    -------
    mean, axis
        Shape (E,); counts shared between two channels where a shift is not whole.
    """
    from interphase.eels.shift_kernels import sum_moved

    step = even_step(energy_ev)
    place = zero_loss.position_ev
    centre = float(np.nanmedian(place))
    total = np.zeros(len(energy_ev))
    number = np.zeros(len(energy_ev))
    for where, rows in rows_of_spectra(counts):
        moved = ((centre - place[where]) / step).reshape(-1)
        for whole, part in zip((total, number), in_threads(sum_moved, rows, moved), strict=True):
            whole += part.sum(axis=0)
    return total / np.maximum(number, 1), np.asarray(energy_ev) - centre


def find_valley(mean: np.ndarray, energy_ev: np.ndarray, fwhm_ev: float) -> float:
    """Return the energy loss [eV] of the valley between the zero-loss peak and the first loss.

    It lies between 1 and 12 full widths of the peak, and below 10 eV or 4 widths.
    """
    from scipy.ndimage import gaussian_filter1d

    step = float(energy_ev[1] - energy_ev[0])
    smooth = gaussian_filter1d(mean, max(fwhm_ev / 2.355 / step, 0.5))
    start = int(np.searchsorted(energy_ev, fwhm_ev))
    stop = int(np.searchsorted(energy_ev, min(12 * fwhm_ev, max(10.0, 4 * fwhm_ev))))
    stop = min(max(stop, start + 2), len(mean))
    rising = np.flatnonzero(np.diff(smooth[start:stop]) > 0)
    at = start + (int(rising[0]) if len(rising) else int(smooth[start:stop].argmin()))
    return float(energy_ev[min(at, len(mean) - 1)])


def _beyond(mean: np.ndarray, energy_ev: np.ndarray) -> float:
    """Return the losses beyond the axis over those in its last fifth, by a power law."""
    last = len(mean) - max(len(mean) // 5, 3)
    tail, loss = mean[last:], energy_ev[last:]
    half = len(tail) // 2
    first, second = tail[:half].sum(), tail[half : 2 * half].sum()
    if not (loss[0] > 0 and first > second > 0):
        return 0.0
    ratio = np.log(loss[half : 2 * half].mean() / loss[:half].mean())
    exponent = float(np.log(first / second) / ratio)
    # Flatter, the losses have no end; steeper, they have ended.
    if not 1.2 < exponent < 30:
        return 0.0
    beyond = loss[-1] ** (1 - exponent)
    return float(beyond / (loss[0] ** (1 - exponent) - beyond))


def _systematic(
    mean: np.ndarray, energy_ev: np.ndarray, cut: float, step: float, beyond: float
) -> float:
    """Return the error of ln(N / N0) by the end of the peak, and by half of what lies beyond."""
    elastic = mean[energy_ev <= cut].sum()
    lost = mean[energy_ev > cut].sum()
    # What is counted from the cut to its mirror image can be the peak's tail or the first losses.
    tail = mean[energy_ev < -cut].sum()
    level = max(mean[np.abs(energy_ev - cut) <= step].mean(), 0.0)
    under = 0.5 * level * cut / step
    doubt = max(float(np.hypot(under, tail)) / max(elastic, 1e-300), 0.0)
    share = lost / max(lost + elastic, 1e-300)
    return float(np.hypot(doubt, 0.5 * beyond * share))


def _verdict(
    relative: np.ndarray,
    error: np.ndarray,
    known: np.ndarray,
    systematic: float,
    beyond: float,
    offset: float,
) -> tuple[Assessment, str]:
    if not known.any():
        return Assessment.TOO_FEW_ELECTRONS, (
            "the zero-loss peaks hold too few electrons for t/λ: too thick, or the dose too low; "
            "bin the spectra"
        )
    middle = float(np.median(relative[known]))
    text = (
        f"t/λ is {middle:.3f} ± {np.median(error[known]):.2g} (counting, one spectrum) "
        f"± {systematic:.2g} (end of the zero-loss peak, end of the axis)"
    )
    if known.mean() < 1:
        text += f"; in {100 * (1 - known.mean()):.1f} % of the spectra the electrons do not suffice"
    if beyond > 0.05:
        text += f"; {100 * beyond:.0f} % of the losses lie beyond the axis and are extrapolated"
    warning = lithium_warning(relative)
    if warning:
        text += f"; {warning}"
    if middle > 3:
        return Assessment.AMBIGUOUS, f"{text}; so thick a specimen has hardly a zero-loss peak"
    if abs(offset) > _LARGEST_OFFSET:
        return Assessment.AMBIGUOUS, (
            f"{text}; channels before the zero-loss peak are not empty: an offset of "
            f"{100 * offset:.0f} % of all counts, subtract the readout's offset first"
        )
    return Assessment.OK if known.mean() > 0.5 else Assessment.TOO_FEW_ELECTRONS, text

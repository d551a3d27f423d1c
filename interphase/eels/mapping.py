"""Maps: zero losses aligned, and each element in the smallest squares that show it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from interphase.eels.checks import blocks, check_axis, check_spectra
from interphase.eels.element_maps import FITTED, UNLIKE, ElementMaps
from interphase.eels.elements import ElementOptions, fit_elements
from interphase.eels.pixels import rows_of_spectra
from interphase.eels.zero_loss import ZeroLoss, even_step, shift_spectra
from interphase.errors import ParameterError

_LEAST_SQUARES = 16
"""Squares that a map is to have."""
_FARTHEST = 0.2
"""Part of the axis by which spectra are moved at most."""
_MOST_HELD_BYTES, _BYTES_AT_ONCE = 2**30, 2**26
"""Maps that are held in memory once they are moved, since all that follows reads them again; larger
ones are moved each time they are read, in blocks of so much."""
_ENOUGH = 0.8
"""Share of an element's atoms that must be in squares in which it is detected."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ElementMap:
    """One element, in squares of pixels."""

    element: str
    """Symbol."""
    binning: int
    """Side of the squares [pixels]; what does not fill one at the ends is left out."""
    areal_density_per_nm2: np.ndarray
    """Atoms per area, NaN without an answer, below zero by noise [1/nm²], shape (m, n)."""
    standard_error_per_nm2: np.ndarray
    """Standard error of counting [1/nm²]."""
    detection_limit_per_nm2: np.ndarray
    """Areal density that would have been detected [1/nm²]."""
    detected: np.ndarray
    """Where it is above noise, and no other element explains its edge as well."""
    contested: tuple[str, ...]
    """Edges of other elements that explain the sums of spectra as well; then it is detected
    nowhere."""
    mean_per_nm2: float
    """Areal density of the sum of all spectra [1/nm²]; NaN where it does not show the element."""
    resolved: bool
    """Whether 80 % of its atoms are in squares in which it is detected, false alarms taken off."""
    sentence: str
    """What the map is worth in words."""

    @property
    def typical_limit_per_nm2(self) -> float:
        """Median detection limit of the squares with an answer [1/nm²]; NaN without any."""
        known = np.isfinite(self.areal_density_per_nm2)
        return float(np.median(self.detection_limit_per_nm2[known])) if known.any() else np.nan

    @property
    def detected_share(self) -> float:
        """Share of the squares with an answer in which the element is detected; NaN without any."""
        known = np.isfinite(self.areal_density_per_nm2)
        return float(np.mean(self.detected[known])) if known.any() else np.nan


def map_elements(
    counts: Any,
    *,
    energy_ev: np.ndarray,
    elements: Sequence[str],
    beam_energy_kev: float,
    collection_mrad: float,
    convergence_mrad: float,
    low_loss: Any = None,
    low_loss_energy_ev: np.ndarray | None = None,
    exposure_ratio: float | None = None,
    electrons: float | None = None,
    gain: float = 1.0,
    read_noise: float = 0.0,
    options: ElementOptions | None = None,
    binning: int | None = None,
) -> dict[str, ElementMap]:
    """Map every element in the smallest squares of pixels that show where its atoms are.

    Where a pixel holds a single electron of an edge a map of pixels means nothing; one of squares
    of 10 × 10 may. Use `fit_elements` where pixels lie on no grid.

    Parameters
    ----------
    counts
        Spectra with their zero loss aligned, an array or a Dask array, shape (M, N, E).
    energy_ev, elements, beam_energy_kev, collection_mrad, convergence_mrad
        As for `fit_elements`.
    low_loss
        Spectra with the zero-loss peak at 0 eV, of the same pixels, shape (M, N, L), or of all of
        them together, shape (L,).
    low_loss_energy_ev, exposure_ratio
        As for `fit_elements`.
    electrons
        Electrons per pixel where there is no low loss. One of both is needed.
    gain, read_noise
        Of the detector, per pixel.
    options
        See `ElementOptions`.
    binning
        Side of the squares [pixels]; chosen for each element unless given.

    Returns
    -------
    dict
        Element → its map, of those whose number of atoms can be told.

    Raises
    ------
    ParameterError
        As for `fit_elements`; or the spectra do not lie on a grid that holds a square.

    Notes
    -----
    Squares have sides of 1, 2, 4 ... pixels, as long as 16 of them fit. Of an element that the sum
    of all spectra shows, the finest map is taken in which the squares that show it hold 80 % of its
    atoms, so that a thin layer is mapped more finely than the same atoms evenly spread; the
    coarsest where there is none. Of one that the sum does not show, it is the coarsest: there the
    limit is lowest.

    Examples
    --------
    >>> from interphase.eels import ElementOptions, edge_cross_section
    >>> energy = np.arange(230.0, 430.0, 1.0)
    >>> optics = dict(beam_energy_kev=300, collection_mrad=10, convergence_mrad=0)
    >>> edge = edge_cross_section("C_K", energy, table="hydrogenic", **optics).per_channel_nm2
    >>> mean = 4 * (energy / 230) ** -3 + 1e5 * 1000 * edge
    >>> counts = np.random.default_rng(0).poisson(mean, (16, 16, len(energy)))
    >>> carbon = map_elements(
    ...     counts, energy_ev=energy, elements=["C"], electrons=1e5,
    ...     options=ElementOptions(table="hydrogenic", background_terms=2), **optics,
    ... )["C"]
    >>> carbon.resolved, carbon.binning
    (True, 2)
    """
    data = check_spectra("counts", counts)
    if data.ndim != 3:
        raise ParameterError(
            f"counts have shape {data.shape}: expected (rows, columns, channels) of a map"
        )
    check_axis(energy_ev, data.shape[-1], least=8)
    if low_loss is None and electrons is None:
        raise ParameterError("areal densities need electrons: give low_loss, or electrons")
    shared = low_loss is not None and np.ndim(low_loss) == 1

    def fit(spectra: Any, low: Any, pixels: int) -> ElementMaps:
        dual: dict[str, Any] = {"electrons": None if electrons is None else electrons * pixels}
        if low is not None:
            # One low loss for all pixels is that of one of them, and a square has as many.
            ratio = exposure_ratio * pixels if shared and exposure_ratio else exposure_ratio
            dual |= {
                "low_loss": low,
                "low_loss_energy_ev": low_loss_energy_ev,
                "exposure_ratio": ratio,
            }
        return fit_elements(
            spectra,
            energy_ev=energy_ev,
            elements=elements,
            beam_energy_kev=beam_energy_kev,
            collection_mrad=collection_mrad,
            convergence_mrad=convergence_mrad,
            gain=gain,
            read_noise=read_noise * np.sqrt(pixels),
            options=options,
            **dual,
        )

    sides = _sides(data.shape[:2]) if binning is None else [_checked_side(binning, data.shape[:2])]
    levels = [(side, bin_pixels(data, side)) for side in sides]
    low = low_loss if shared or low_loss is None else check_spectra("low_loss", low_loss)
    whole = fit(_summed(data), low if shared or low is None else _summed(low), _pixels(data))
    mean = dict(
        zip(
            whole.elements,
            np.where(whole.detected, whole.areal_density_per_nm2, np.nan).tolist(),
            strict=True,
        )
    )
    maps: dict[str, ElementMap] = {}
    for side, spectra in levels:
        binned = low if shared or low is None else bin_pixels(low, side)
        fitted = fit(spectra, binned, _pixels(data[:side, :side]))
        found = [_map_of(fitted, k, side, mean[e]) for k, e in enumerate(fitted.elements)]
        better = {
            one.element: one
            for one in found
            if one.element not in maps or (one.resolved and maps[one.element].resolved)
        }
        maps |= better
        if not any(one.resolved for one in better.values()):
            break
    return maps


def align_map(
    counts: Any, energy_ev: np.ndarray, zero_loss: ZeroLoss, *, dispersion_ev: float | None = None
) -> tuple[Any, slice]:
    """Return a map whose zero losses are in one channel, lazy if it is larger than 1 GB.

    Spectra are moved by whole channels, so that counts stay independent Poisson variables. For
    dual spectra give the zero loss of the low losses with the core losses and their axis.

    Parameters
    ----------
    counts
        Shape (M, N, E), an array or a Dask array.
    energy_ev
        Energy losses of the channels [eV], shape (E,).
    zero_loss
        From `find_zero_loss`; where the peak was not found the spectrum stays where it is, and
        where it lies more than 1/5 of the axis from the others it becomes NaN.
    dispersion_ev
        Width of a channel [eV]; that of `energy_ev` unless given.

    Returns
    -------
    counts : array or Dask array
        Shape (M, N, K), the channels that were recorded in every pixel.
    channels : slice
        Which these are, with every zero loss moved to the median place.

    Examples
    --------
    >>> from interphase.eels import find_zero_loss
    >>> energy = np.arange(-10.0, 30.0)
    >>> counts = 100 * np.exp(-((energy - np.array([[[1.0], [-1.0], [1.0]]])) ** 2))
    >>> moved, channels = align_map(counts, energy, find_zero_loss(counts, energy))
    >>> energy[channels][np.argmax(moved, axis=-1)].tolist()
    [[1.0, 1.0, 1.0]]
    """
    step = even_step(energy_ev) if dispersion_ev is None else dispersion_ev
    place = zero_loss.position_ev
    if place.shape != counts.shape[:-1]:
        raise ParameterError(
            f"zero_loss has shape {place.shape}: expected that of the map, {counts.shape[:-1]}"
        )
    if not np.isfinite(place).any():
        raise ParameterError(f"spectra cannot be aligned: {zero_loss.sentence}")
    moved = np.round((np.nanmedian(place) - place) / step)
    most = _FARTHEST * len(energy_ev)
    moved = np.where(np.isnan(moved), 0.0, np.where(np.abs(moved) <= most, moved, np.nan))
    channels = slice(int(max(np.nanmax(moved), 0)), len(energy_ev) + int(min(np.nanmin(moved), 0)))
    if not (np.isnan(moved) | (moved != 0)).any():
        return counts, channels
    kept = np.float32 if counts.dtype in (np.float32, np.uint8, np.uint16) else np.float64
    shape = (*counts.shape[:-1], channels.stop - channels.start)
    if np.prod(shape, dtype=float) * np.dtype(kept).itemsize <= _MOST_HELD_BYTES:
        held = np.empty(shape, dtype=kept)
        for where, block in blocks(counts, dtype=None):
            by = moved[where] * step
            held[where] = shift_spectra(block, by, dispersion_ev=step)[..., channels]
        return held, channels
    import dask.array as da

    rows = max(1, _BYTES_AT_ONCE // (8 * counts.shape[1] * counts.shape[2]))
    lazy = counts
    if not hasattr(counts, "dask"):
        lazy = da.from_array(counts, chunks=(rows, -1, -1))  # type: ignore[no-untyped-call]
    lazy = lazy.rechunk({2: -1})
    by_pixel = moved[..., np.newaxis] * step
    shifts = da.from_array(by_pixel, chunks=(*lazy.chunks[:-1], (1,)))  # type: ignore[no-untyped-call]
    whole = da.map_blocks(  # type: ignore[no-untyped-call]
        lambda block, by: shift_spectra(block, by[..., 0], dispersion_ev=step),
        lazy,
        shifts,
        dtype=float,
        chunks=lazy.chunks,
        meta=np.empty((0, 0, 0)),
    )
    return whole[..., channels], channels


def bin_pixels(counts: Any, side: int) -> Any:
    """Return the sums of squares of `side` × `side` pixels, lazy where the map is.

    Parameters
    ----------
    counts
        An array or a Dask array, shape (M, N, ...).
    side
        Side of the squares [pixels], at most the map's along either axis; what does not fill a
        square at the ends is cut.

    Returns
    -------
    Shape (M // side, N // side, ...).

    Examples
    --------
    >>> bin_pixels(np.ones((5, 1, 3)), 2).tolist()
    [[[2.0, 2.0, 2.0]], [[2.0, 2.0, 2.0]]]
    """
    if isinstance(side, bool) or not isinstance(side, int) or side < 1:
        raise ParameterError(f"side is {side!r}: expected a whole number of pixels of at least 1")
    if side == 1:
        return counts
    high, wide = (min(side, n) for n in counts.shape[:2])
    if hasattr(counts, "dask"):
        import dask.array as da

        whole = counts.rechunk({0: high * max(counts.chunks[0][0] // high, 1), 1: -1})
        return da.coarsen(np.sum, whole, {0: high, 1: wide}, trim_excess=True)
    rows, columns = counts.shape[0] // high, counts.shape[1] // wide
    cut = counts[: rows * high, : columns * wide]
    return cut.reshape(rows, high, columns, wide, *counts.shape[2:]).sum(axis=(1, 3))


def _sides(shape: tuple[int, int]) -> list[int]:
    """Return sides of squares, the largest first."""
    sides = [1]
    while np.prod([max(n // (2 * sides[-1]), 1) for n in shape]) >= _LEAST_SQUARES:
        sides.append(2 * sides[-1])
    return sides[::-1]


def _checked_side(binning: int, shape: tuple[int, int]) -> int:
    if not (1 <= binning <= max(shape) and binning == int(binning)):
        raise ParameterError(
            f"binning is {binning!r}: expected a whole number of pixels from 1 to {max(shape)}"
        )
    return int(binning)


def _pixels(data: Any) -> int:
    return int(np.prod(data.shape[:2]))


def _summed(data: Any) -> np.ndarray:
    """Return the sum of the spectra that hold numbers alone."""
    total = np.zeros(data.shape[-1])
    for _, block in rows_of_spectra(data):
        total += block[np.isfinite(block).all(axis=-1)].sum(axis=0, dtype=float)
    return total


def _held_by_noise(fit: ElementMaps, k: int, answered: np.ndarray) -> float:
    """Return what false alarms put into the squares with an element, in the mean [1/nm²]."""
    from scipy.stats import norm

    sigma = np.sqrt(fit.absent_variance[..., k]) / fit.electrons
    return float(norm.pdf(norm.isf(fit.false_alarm)) * np.nansum(sigma[answered]))


def _map_of(fit: ElementMaps, k: int, side: int, mean: float) -> ElementMap:
    element = fit.elements[k]
    limit, verdict = fit.detection_limit_per_nm2[..., k], np.asarray(fit.verdict)
    answered = np.isin(verdict, (FITTED, UNLIKE))
    detected, contested = fit.detected[..., k], tuple(fit.contested.get(element, ()))
    amount = fit.areal_density_per_nm2[..., k]
    held = np.nansum(amount[detected]) - _held_by_noise(fit, k, answered)
    squares = "pixels" if side == 1 else f"squares of {side} × {side} pixels"
    typical = np.median(limit[answered]) if answered.any() else np.nan
    resolved = bool(held >= _ENOUGH * mean * amount.size)
    if not answered.any():
        said = f"{element} cannot be mapped: no spectrum of {squares} could be fitted"
    else:
        said = (
            f"{element} is detected in {detected[answered].mean():.0%} of the {squares}, the "
            f"detection limit is {typical:.3g} /nm²"
        )
        if np.isfinite(mean) and not resolved:
            share = max(held / (mean * amount.size), 0.0)
            said += (
                f" and the mean {mean:.3g}: in them is {share:.0%} of what there is, the electrons "
                "do not suffice for a map"
            )
        elif not np.isfinite(mean):
            said += "; the sum of all spectra does not show it"
        if contested:
            said += f"; what looks like it can be {' or '.join(contested).replace('_', ' ')}"
    return ElementMap(
        element=element,
        binning=side,
        areal_density_per_nm2=amount,
        standard_error_per_nm2=fit.standard_error_per_nm2[..., k],
        detection_limit_per_nm2=limit,
        detected=detected,
        contested=contested,
        mean_per_nm2=mean,
        resolved=resolved,
        sentence=f"{said}.",
    )

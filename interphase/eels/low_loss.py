"""Energy and width of the plasmon in every spectrum."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from interphase.assessment import Assessment
from interphase.eels.checks import blocks
from interphase.eels.likelihood import in_threads
from interphase.eels.thickness import aligned_mean, find_valley
from interphase.eels.zero_loss import ZeroLoss, check_aligned
from interphase.errors import ParameterError
from interphase.inelastic import angular_factor

_SIGNIFICANT = 4.0
"""Standard errors that a plasmon must be high."""
_NARROWEST_EV = 0.5
"""Full width of the narrowest plasmon that must be mapped well [eV]: aluminium's, grade C."""
_FINE = 0.6
"""Least standard deviation of the resolution in steps of a model that is moved between them."""
_BEFORE_EV = 5.0
"""Losses looked at begin so far before the zero-loss peak [eV]: more than smoothing reaches."""
_BEYOND = 1.4
"""Losses are fitted up to so many times the window's end: a width is known by both flanks."""
_BLOCK_BYTES = 2**24
"""Of spectra that are fitted at a time, in double precision."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlasmonMap:
    """The strongest plasmon of every spectrum."""

    energy_ev: np.ndarray
    """Where the loss function is largest [eV], shape (...); NaN where no plasmon is seen."""
    energy_error_ev: np.ndarray
    """Standard error [eV]."""
    width_ev: np.ndarray
    """Full width at half maximum, resolution taken out [eV]."""
    width_error_ev: np.ndarray
    """Standard error [eV]."""
    significance: np.ndarray
    """Height over its standard error; 0 where nothing was fitted."""
    misfit: np.ndarray
    """χ² over degrees of freedom: far above 1, one plasmon on a slope is not what is there."""
    window_ev: tuple[float, float]
    """Losses that were looked at [eV]."""
    assessment: Assessment
    """Whether the map can be used."""
    sentence: str
    """The same in words."""


def map_plasmon(
    counts: Any,
    energy_ev: np.ndarray,
    zero_loss: ZeroLoss,
    *,
    model: Literal["losses", "peak"] = "losses",
    gain: float = 1.0,
    read_noise: float = 0.0,
    window_ev: tuple[float, float] | None = None,
    beam_energy_kev: float | None = None,
    collection_mrad: float | None = None,
) -> PlasmonMap:
    r"""Fit the strongest plasmon of every spectrum by its likelihood.

    The cheapest spectroscopic map: some 1000 electrons that lost energy place a plasmon 9 eV wide
    within 0.2 eV, if it is the only one. Do not use it where two plasmons of like height lie within
    a width of each other, as at the boundary of two phases: the misfit says so only with many
    electrons, and bounds the trust in energies of single pixels.

    Parameters
    ----------
    counts
        Low losses, shape (..., E), an array or a Dask array [counts].
    energy_ev
        Energy loss of the channels as the file states it, shape (E,) [eV].
    zero_loss
        From `find_zero_loss` of the same counts: places and width of the zero-loss peaks.
    model
        "losses": all losses of the window are one plasmon, scattered to any number of times; few
        electrons suffice. "peak": only the surroundings of the maximum, upon a slope that is left
        free, which stands interband transitions and costs 30 times the dose.
    gain
        Counts per electron.
    read_noise
        Standard deviation of the readout per channel [counts].
    window_ev
        Losses among which the maximum is looked for [eV]; by default from the valley after the
        zero-loss peak to 35 eV.
    beam_energy_kev, collection_mrad
        Beam energy [keV] and collection semi-angle [mrad]; with both, the aperture's share of
        losses, which falls with their energy, is taken out of the shape.

    Returns
    -------
    PlasmonMap
        Energies, widths, errors.

    Raises
    ------
    ParameterError
        Shapes differ, a number cannot be, or only one of energy and angle is given.
    MissingValueError
        No zero-loss peak was found, so that losses have no origin.

    Notes
    -----
    With p Drude's :math:`\mathrm{Im}(-1/\varepsilon)` of one damped plasmon, of unit area, and Z
    the resolution, the losses are :math:`N_0\, Z \ast \mathcal{F}^{-1}[\exp(a\hat p) - 1]`,
    :math:`N_0` electrons without loss. The peak is :math:`Z \ast p` on a straight line, within 0.4
    of its energy to either side, where a second loss to the same plasmon has no part. Channels are
    added up to the standard deviation of the narrowest peak there can be, from a plasmon 0.5 eV
    wide, which shows as much in less time. Weights are those of counting, 1 / (g μ + r²) at the
    fitted μ. Errors are widened by the root of χ² per degree of freedom where that is above 2. See
    `interphase.inelastic.drude_loss_function`.

    Examples
    --------
    >>> from interphase.eels.zero_loss import find_zero_loss
    >>> from interphase.inelastic import drude_loss_function
    >>> energy = np.arange(-10, 60, 0.25)
    >>> loss = np.where(energy > 0, drude_loss_function(energy, peak_ev=18.5, fwhm_ev=9), 0)
    >>> counts = 4e6 * np.exp(-2 * energy**2) + 600 * loss
    >>> plasmon = map_plasmon(counts, energy, find_zero_loss(counts, energy))
    >>> round(float(plasmon.energy_ev), 1), round(float(plasmon.width_ev))
    (18.5, 9)
    """
    counts, energy, step = check_aligned(
        counts,
        energy_ev,
        zero_loss,
        gain=gain,
        read_noise=read_noise,
        least=32,
        what="losses have no origin",
    )
    place = zero_loss.position_ev
    if model not in ("losses", "peak"):
        raise ParameterError(f"model is {model!r}: expected 'losses' or 'peak'")
    if (beam_energy_kev is None) != (collection_mrad is None):
        raise ParameterError(
            f"beam_energy_kev is {beam_energy_kev!r} and collection_mrad is {collection_mrad!r}: "
            "give both or neither"
        )
    mean, axis = aligned_mean(counts, energy, zero_loss)
    if window_ev is None:
        start = find_valley(mean, axis, zero_loss.fwhm_ev)
        window_ev = (max(start, 3 * zero_loss.fwhm_ev), min(35.0, float(axis[-1]) / _BEYOND))
    low, high = window_ev
    fitted = np.full((*place.shape, 6), np.nan)
    if not axis[0] < low < high <= axis[-1] or high - low < 8 * step:
        return _plasmon_map(fitted, window_ev, None)

    def aperture(loss: np.ndarray) -> np.ndarray:
        if beam_energy_kev is None or collection_mrad is None:
            return np.ones_like(loss)
        share = angular_factor(
            np.maximum(np.append(loss, (low + high) / 2), 1e-3),
            beam_energy_kev=beam_energy_kev,
            semi_angle_mrad=collection_mrad,
        )
        return np.asarray(share[:-1] / share[-1])

    # Channels as wide as the narrowest peak's standard deviation show as much as narrower ones.
    beam = zero_loss.fwhm_ev / 2.355
    spread = float(np.linalg.norm([beam, step / np.sqrt(12), _NARROWEST_EV / 2.355]))
    together = max(int(spread / step), 1)
    first = int(np.searchsorted(energy, np.nanmin(place) - _BEFORE_EV))
    last = int(np.searchsorted(energy, np.nanmax(place) + _BEYOND * high)) + together
    channels = (min(last, len(energy)) - first) // together
    binned = _Binned(
        width_ev=step * together,
        beam_ev=beam,
        window_ev=(low, high),
        top_ev=min(_BEYOND * high, float(energy[-1] - np.nanmin(place))),
        gain=gain,
        read_variance=together * read_noise**2,
    )
    last = first + channels * together
    centre_ev = energy[first] + step * (together - 1) / 2
    fit = _losses_fit(binned, aperture) if model == "losses" else _peak_fit(binned, aperture)

    def kernel(rows: np.ndarray, begin_ev: np.ndarray, elastic: np.ndarray) -> tuple[np.ndarray]:
        sums = rows.reshape(len(rows), channels, together).sum(axis=-1, dtype=float)
        return (fit(sums, begin_ev, elastic),)

    for where, block in blocks(counts, most_bytes=_BLOCK_BYTES, dtype=None):
        rows = block.reshape(-1, block.shape[-1])[:, first:last]
        zero = place[where].reshape(-1)
        good = np.isfinite(zero) & np.isfinite(rows).all(axis=1)
        values = np.full((len(rows), 6), np.nan)
        if good.any():
            electrons = zero_loss.electrons[where].reshape(-1)[good]
            (values[good],) = in_threads(
                kernel, rows[good], centre_ev - zero[good], gain * electrons
            )
        fitted[where] = values.reshape(*block.shape[:-1], 6)
    return _plasmon_map(fitted, window_ev, zero_loss)


def _plasmon_map(
    fitted: np.ndarray, window_ev: tuple[float, float], zero_loss: ZeroLoss | None
) -> PlasmonMap:
    peak, width, peak_error, width_error, significance, misfit = np.moveaxis(fitted, -1, 0)
    seen = significance > _SIGNIFICANT
    share = float(seen.mean())
    low, high = window_ev
    assessment = Assessment.OK
    if zero_loss is None:
        assessment = Assessment.UNUSABLE
        sentence = f"the axis does not hold the losses from {low:.1f} to {high:.1f} eV"
    elif share == 0:
        assessment = Assessment.TOO_FEW_ELECTRONS
        sentence = (
            f"no plasmon rises above the slope between {low:.1f} and {high:.1f} eV: there is none, "
            "or the electrons do not suffice; bin the spectra"
        )
    else:
        found = peak[seen]
        ends = np.percentile(found, [5, 95])
        spread = "" if np.ptp(ends) < 0.05 else f", 90 % between {ends[0]:.1f} and {ends[1]:.1f}"
        sentence = (
            f"plasmon at {np.median(found):.2f} eV ± {np.median(peak_error[seen]):.2g}{spread}, "
            f"{np.median(width[seen]):.2g} eV wide"
        )
        if share < 1:
            sentence += f"; none is seen in {100 * (1 - share):.0f} % of the spectra"
        bad = float(np.median(misfit[seen]))
        if bad > 2:
            assessment = Assessment.AMBIGUOUS
            sentence += (
                f"; χ² is {bad:.2g} per degree of freedom: more than one plasmon is there, or "
                'other losses; model="peak" looks at the surroundings of the maximum only'
            )
        elif share < 0.5:
            assessment = Assessment.TOO_FEW_ELECTRONS

    widened = np.where(misfit > 2, np.sqrt(np.maximum(misfit, 0)), 1.0)

    def shown(values: np.ndarray) -> np.ndarray:
        return np.where(seen, values, np.nan)

    return PlasmonMap(
        energy_ev=shown(peak),
        energy_error_ev=shown(peak_error * widened),
        width_ev=shown(width),
        width_error_ev=shown(width_error * widened),
        significance=np.nan_to_num(significance),
        misfit=shown(misfit),
        window_ev=window_ev,
        assessment=assessment,
        sentence=sentence,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Binned:
    """Channels nearly as wide as the resolution, which show as much as those recorded."""

    width_ev: float
    beam_ev: float
    window_ev: tuple[float, float]
    top_ev: float
    gain: float
    read_variance: float

    @property
    def smear_ev(self) -> float:
        """Standard deviation of the resolution, of beam and channel [eV]."""
        return float(np.hypot(self.beam_ev, self.width_ev / np.sqrt(12)))

    def start(self, rows: np.ndarray, begin_ev: np.ndarray) -> np.ndarray:
        """Return energy and width [eV] of each spectrum's highest maximum, smoothed, (P, 2)."""
        from scipy.ndimage import gaussian_filter1d

        (low, high), step = self.window_ev, self.width_ev
        loss = begin_ev[:, None] + step * np.arange(rows.shape[1])
        smooth = gaussian_filter1d(rows, max(1.0 / step, 1.0), axis=1)
        inside = (loss >= low) & (loss <= high)
        # A maximum must rise: the slope of the zero-loss peak's tail is none.
        rises = np.zeros_like(inside)
        rises[:, 1:-1] = (smooth[:, 1:-1] >= smooth[:, :-2]) & (smooth[:, 1:-1] > smooth[:, 2:])
        sought = np.where(inside & rises, smooth, -np.inf)
        none = ~np.isfinite(sought.max(axis=1, keepdims=True))
        first = np.where(none, np.where(inside, smooth, -np.inf), sought).argmax(axis=1)[:, None]
        peak = np.take_along_axis(loss, first, axis=1)[:, 0].clip(low + step, high)
        high_enough = smooth > 0.5 * np.take_along_axis(smooth, first, axis=1)
        below = np.where(high_enough, 0, loss) * (loss < peak[:, None])
        width = 2 * (peak - np.maximum(below.max(axis=1), low)) - self.smear_ev
        return np.stack([peak, width.clip(2 * step, 0.6 * peak)], axis=1)


_Fit = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Rows (P, E), losses at which they begin [eV], counts without loss → fits (P, 6)."""


def _losses_fit(binned: _Binned, aperture: Callable[[np.ndarray], np.ndarray]) -> _Fit:
    """Return a fit of all losses of the window by one plasmon."""
    from interphase.eels.plasmon_kernels import PARTS, loss_fits

    width, (low, high) = binned.width_ev, binned.window_ev
    # Where channels are wider than the resolution, the model needs narrower ones.
    finer = int(np.ceil(width / max(binned.beam_ev / _FINE, _NARROWEST_EV / 5)))
    step = width / finer
    # Losses are shared between two places of the grid, and those are as wide as its steps.
    sigma = np.sqrt(max(binned.beam_ev**2 - step**2 / 4, (0.05 * step) ** 2))
    span = (int(np.ceil(low / width)), int(binned.top_ev / width) - 1)
    loss = (np.arange(PARTS * int(1.5 * binned.top_ev / step)) + 0.5) * step / PARTS
    collected = aperture(loss)
    limits = np.array([[1e-6, low, 2 * step / PARTS], [10.0, high, 2 * high]])

    def fit(rows: np.ndarray, begin_ev: np.ndarray, elastic: np.ndarray) -> np.ndarray:
        first = np.ceil(-begin_ev / width).astype(np.int64).clip(0)
        part = begin_ev + first * width
        starts = binned.start(rows, begin_ev)
        return np.asarray(
            loss_fits(
                rows, first, part, elastic, starts, limits, span, loss, collected, finer, width,
                sigma, binned.gain, binned.read_variance,
            )
        )  # fmt: skip

    return fit


def _peak_fit(binned: _Binned, aperture: Callable[[np.ndarray], np.ndarray]) -> _Fit:
    """Return a fit of the surroundings of the maximum by a peak upon a straight line."""
    from interphase.eels.plasmon_kernels import peak_fits

    finer = 4 / min(binned.width_ev, 1.0)
    table = aperture(np.arange(0, binned.top_ev * 1.1 + 2, 1 / finer))

    def fit(rows: np.ndarray, begin_ev: np.ndarray, elastic: np.ndarray) -> np.ndarray:
        starts = binned.start(rows, begin_ev)
        return np.asarray(
            peak_fits(
                rows, begin_ev, starts, 0.8 * binned.window_ev[0], table, finer, binned.width_ev,
                binned.smear_ev, binned.gain, binned.read_variance,
            )
        )  # fmt: skip

    return fit

"""Energy and width of the plasmon, and the onset of losses across a band gap."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from interphase.assessment import Assessment
from interphase.eels.checks import blocks, check_axis, check_spectra
from interphase.eels.thickness import aligned_mean, find_valley
from interphase.eels.zero_loss import ZeroLoss, check_aligned, even_step
from interphase.electron import velocity_ratio
from interphase.errors import MissingValueError, ParameterError
from interphase.inelastic import angular_factor, drude_loss_function

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(9)
_SIGNIFICANT = 4.0
"""Standard errors that a plasmon must be high."""
_ROUNDS = 30
_COARSE = 1.0
"""Width of channels over the standard deviation of the resolution that loses no information."""
_PARTS = 4
"""Energies at which a plasmon is taken in each channel."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class BandGap:
    """The onset of losses above the tail of the zero-loss peak."""

    energy_ev: float
    """Band gap [eV]; NaN where no onset is seen."""
    error_ev: float
    """Standard error of counting [eV]."""
    interval_ev: tuple[float, float]
    """Gaps that the likelihood allows at 95 % [eV]."""
    assessment: Assessment
    """Whether an onset is seen."""
    sentence: str
    """The same in words, with what else can make losses in a gap."""


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
    of its energy to either side, where a second loss to the same plasmon has no part. Weights
    are those of counting, 1 / (g μ + r²) at the fitted μ. Errors are widened by the root of χ² per
    degree of freedom where that is above 2. See `interphase.inelastic.drude_loss_function`.

    Examples
    --------
    >>> from interphase.eels.zero_loss import find_zero_loss
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
        window_ev = (max(start, 3 * zero_loss.fwhm_ev), min(35.0, float(axis[-1]) / 1.4))
    low, high = window_ev
    nothing = np.full((*place.shape, 6), np.nan)
    if not axis[0] < low < high <= axis[-1] or high - low < 8 * step:
        return _plasmon_map(nothing, window_ev, None)

    def aperture(loss: np.ndarray) -> np.ndarray:
        if beam_energy_kev is None or collection_mrad is None:
            return np.ones_like(loss)
        return angular_factor(
            np.maximum(loss, 1e-3), beam_energy_kev=beam_energy_kev, semi_angle_mrad=collection_mrad
        )

    # The spread of the peak as recorded: of the beam and of one channel.
    smear = float(np.hypot(zero_loss.fwhm_ev / 2.355, step / np.sqrt(12)))
    reference = aperture(np.array([(low + high) / 2]))[0]
    fitted = nothing
    for where, block in blocks(counts):
        rows = block.reshape(-1, block.shape[-1])
        zero = place[where].reshape(-1)
        values = np.full((len(rows), 6), np.nan)
        good = np.isfinite(zero) & np.isfinite(rows).all(axis=1)
        for part in np.array_split(np.flatnonzero(good), max(1, good.sum() // 400)):
            if len(part):
                task = _Task(
                    rows=rows[part],
                    loss_ev=energy - zero[part, None],
                    elastic=gain * zero_loss.electrons[where].reshape(-1)[part],
                    window_ev=(low, high),
                    smear_ev=smear,
                    aperture=lambda loss: aperture(loss) / reference,
                    gain=gain,
                    read_noise=read_noise,
                )
                values[part] = _fit_losses(_binned(task)) if model == "losses" else _fit_peaks(task)
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Task:
    """Some spectra to be fitted together."""

    rows: np.ndarray
    loss_ev: np.ndarray
    elastic: np.ndarray
    window_ev: tuple[float, float]
    smear_ev: float
    aperture: Callable[[np.ndarray], np.ndarray]
    gain: float
    read_noise: float

    @property
    def step_ev(self) -> float:
        return float(self.loss_ev[0, 1] - self.loss_ev[0, 0])

    def weight(self, expected: np.ndarray) -> np.ndarray:
        """Return one over the variance of counts; none is expected to be almost without any."""
        least = 0.02 * np.maximum(expected.mean(axis=-1, keepdims=True), 0) + 1e-9 * self.gain
        return np.asarray(1 / (self.gain * np.maximum(expected, least) + self.read_noise**2))

    def start(self) -> tuple[np.ndarray, np.ndarray]:
        """Return energy and width [eV] of the highest maximum of each smoothed spectrum."""
        from scipy.ndimage import gaussian_filter1d

        (low, _), step, loss = self.window_ev, self.step_ev, self.loss_ev
        smooth = gaussian_filter1d(self.rows, max(1.0 / step, 1.0), axis=1)
        inside = (loss >= low) & (loss <= self.window_ev[1])
        # A maximum must rise: the slope of the zero-loss peak's tail is none.
        rises = np.zeros_like(inside)
        rises[:, 1:-1] = (smooth[:, 1:-1] >= smooth[:, :-2]) & (smooth[:, 1:-1] > smooth[:, 2:])
        sought = np.where(inside & rises, smooth, -np.inf)
        none = ~np.isfinite(sought.max(axis=1, keepdims=True))
        first = np.where(none, np.where(inside, smooth, -np.inf), sought).argmax(axis=1)[:, None]
        peak = np.take_along_axis(loss, first, axis=1)[:, 0].clip(low + step, self.window_ev[1])
        high = smooth > 0.5 * np.take_along_axis(smooth, first, axis=1)
        below = np.where(high, 0, loss) * (loss < peak[:, None])
        width = 2 * (peak - np.maximum(below.max(axis=1), low)) - self.smear_ev
        return peak, width.clip(2 * step, 0.6 * peak)


def _binned(task: _Task) -> _Task:
    """Return the spectra in channels nearly as wide as the resolution, which show as much."""
    step = task.step_ev
    number = max(int(_COARSE * task.smear_ev / step), 1)
    channels = task.rows.shape[1] // number
    shape = (len(task.rows), channels, number)
    spread = step * np.sqrt((number**2 - 1) / 12)
    return replace(
        task,
        rows=task.rows[:, : channels * number].reshape(shape).sum(axis=-1),
        loss_ev=task.loss_ev[:, : channels * number].reshape(shape).mean(axis=-1),
        smear_ev=float(np.hypot(task.smear_ev, spread)),
        read_noise=task.read_noise * float(np.sqrt(number)),
    )


def _fit_losses(task: _Task) -> np.ndarray:
    """Return energy, width, their errors, significance and misfit of each spectrum, (P, 6)."""
    from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

    step, (low, high) = task.step_ev, task.window_ev
    top = min(1.4 * high, float(task.loss_ev[:, -1].min()))
    grid = np.arange(int(1.5 * top / step))
    length = next_fast_len(2 * len(grid), real=True)
    frequency = rfftfreq(length, step)
    blur = np.exp(-2 * (np.pi * task.smear_ev * frequency) ** 2)
    # The first channel that lost energy lies a part of a channel above zero.
    first = (task.loss_ev < 0).sum(axis=1)
    part = np.take_along_axis(task.loss_ev, first[:, None], axis=1)
    blur = blur * np.exp(2j * np.pi * frequency * part)
    channels = np.arange(int(np.ceil(low / step)), int(top / step) - 1)
    at = first[:, None] + channels
    data = np.take_along_axis(task.rows, at.clip(0, task.rows.shape[1] - 1), axis=1)
    # A plasmon can be narrower than a channel.
    within = (np.arange(_PARTS) + 0.5) / _PARTS - 0.5
    loss = np.maximum((grid[:, None] + within) * step, 1e-3 * step).ravel()
    collected = task.aperture(loss)

    def single_losses(p: np.ndarray) -> np.ndarray:
        """Return the transform of one loss, from the logarithms of t/λ, energy and width."""
        strength, peak, width = np.exp(p.T[:, :, None])
        fine = drude_loss_function(loss, peak_ev=peak, fwhm_ev=width) * collected
        single = fine.reshape(len(fine), -1, _PARTS).sum(axis=-1)
        return np.asarray(rfft(single * (strength / single.sum(axis=1, keepdims=True)), length))

    def counts(spectrum: np.ndarray, rows: np.ndarray) -> np.ndarray:
        shown = irfft(spectrum * blur[rows], length)[:, channels]
        return np.asarray(task.elastic[rows, None] * shown)

    peak, width = task.start()
    ratio = data.clip(0).sum(axis=1) / np.maximum(task.elastic, 1e-9)
    p = np.log(np.stack([np.log1p(ratio).clip(1e-6), peak, width.clip(0.3 * peak)], axis=1))
    lowest = np.log(np.array([1e-6, low, step]))
    highest = np.log(np.array([10.0, high, 2 * high]))
    expected = np.empty_like(data)
    covariance = np.empty((len(p), 3, 3))
    damping = np.full(len(p), 1e-3)
    live, small = np.arange(len(p)), 1e-4
    with np.errstate(all="ignore"):
        expected[:] = counts(np.expm1(single_losses(p)), live)
        for _ in range(_ROUNDS):
            here, seen, q = expected[live], data[live], p[live]
            one = single_losses(q)
            slopes = [counts(one * np.exp(one), live)]
            for unit in np.eye(3)[1:]:
                moved_on = counts(np.expm1(single_losses(q + small * unit)), live)
                slopes.append((moved_on - here) / small)
            design = np.stack(slopes, axis=-1)
            change, _ = _solve(design, task.weight(here), seen - here, damping[live])
            covariance[live] = _solve(design, task.weight(here), seen - here)[1]
            tried = (q + change.clip(-0.4, 0.4)).clip(lowest, highest)
            trial = counts(np.expm1(single_losses(tried)), live)
            better = _deviance(seen, trial, task) <= _deviance(seen, here, task) * (1 + 1e-12)
            p[live[better]], expected[live[better]] = tried[better], trial[better]
            damping[live] = np.where(better, damping[live] / 10, damping[live] * 10 + 1e-6)
            live = live[np.abs(tried - q).max(axis=1) > 3e-4]
            if not len(live):
                break
        errors = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
        values = np.exp(p)
        misfit = (task.weight(expected) * (data - expected) ** 2).sum(axis=1) / (len(channels) - 3)
        edge = ((p <= lowest + 1e-6) | (p >= highest - 1e-6)).any(axis=1)
        edge |= ~np.isfinite(errors).all(axis=1) | (errors[:, 1:] > 0.5).any(axis=1)
    significance = np.where(edge, 0.0, 1 / errors[:, 0])
    return np.stack(
        [
            values[:, 1],
            values[:, 2],
            errors[:, 1] * values[:, 1],
            errors[:, 2] * values[:, 2],
            significance,
            misfit,
        ],
        axis=1,
    )


def _deviance(data: np.ndarray, expected: np.ndarray, task: _Task) -> np.ndarray:
    """Return twice the loss of log-likelihood of each spectrum, counting and readout together."""
    # A Poisson law of the counts, gains and readout noise added to both sides.
    offset = (task.read_noise / task.gain) ** 2
    seen = np.maximum(data / task.gain + offset, 0)
    mean = np.maximum(expected / task.gain + offset, 1e-9)
    log = np.where(seen > 0, seen * np.log(np.maximum(seen, 1e-300) / mean), 0)
    return np.asarray(2 * (log - seen + mean).sum(axis=1))


def _fit_peaks(task: _Task) -> np.ndarray:
    """Return energy, width, their errors, significance and misfit of each spectrum, (P, 6)."""
    step = task.step_ev
    peak, width = task.start()
    centre = peak.copy()
    result = np.full((len(peak), 6), np.nan)
    for attempt in range(3):
        reach = np.clip(3 * width + 3 * task.smear_ev, 8 * step, 0.4 * centre)
        near = np.abs(task.loss_ev - centre[:, None]) <= reach[:, None]
        near &= task.loss_ev >= 0.8 * task.window_ev[0]
        size = int(near.sum(axis=1).max())
        at = near.argmax(axis=1)[:, None] + np.arange(size)
        at = np.minimum(at, task.rows.shape[1] - 1)
        loss, data, used = (
            np.take_along_axis(values, at, axis=1) for values in (task.loss_ev, task.rows, near)
        )
        result = _fit_peak(task, data, loss, used, centre, peak, width)
        # The window follows the plasmon that was found.
        if attempt == 2 or np.nanmax(np.abs(result[:, 0] - centre), initial=0) < step:
            break
        good = np.isfinite(result[:, 0])
        centre = np.where(good, result[:, 0], centre)
        peak, width = centre.copy(), np.where(good, result[:, 1], width)
    return result


def _fit_peak(
    task: _Task,
    data: np.ndarray,
    loss: np.ndarray,
    used: np.ndarray,
    centre: np.ndarray,
    peak: np.ndarray,
    width: np.ndarray,
) -> np.ndarray:
    """Fit height, a straight line, energy and width by scoring, all spectra at once."""

    def shape(peak: np.ndarray, width: np.ndarray) -> np.ndarray:
        value = np.zeros_like(loss)
        for node, weight in zip(_NODES, _WEIGHTS / _WEIGHTS.sum(), strict=True):
            at = np.maximum(loss - node * task.smear_ev, 1e-3)
            drude = drude_loss_function(at, peak_ev=peak[:, None], fwhm_ev=width[:, None])
            value += weight * drude * task.aperture(at)
        return value

    line = np.stack([np.ones_like(loss), (loss - centre[:, None]) / centre[:, None]], axis=-1)
    expected = np.maximum(data, (used * data).sum(axis=1)[:, None] / used.sum(axis=1)[:, None])
    values = np.stack([peak, width], axis=1)
    limits = 0.3 * centre
    with np.errstate(all="ignore"):
        for _ in range(_ROUNDS):
            peak, width = values.T
            here = shape(peak, width)
            small = 1e-4 * peak
            by_peak = (shape(peak + small, width) - here) / small[:, None]
            by_width = (shape(peak, width + small) - here) / small[:, None]
            linear = np.concatenate([here[..., None], line], axis=-1)
            # At given energy and width the rest is linear.
            weight = used * task.weight(expected)
            amplitude = _solve(linear, weight, data)[0]
            expected = np.einsum("pck,pk->pc", linear, amplitude)
            weight = used * task.weight(expected)
            slopes = amplitude[:, :1, None] * np.stack([by_peak, by_width], axis=-1)
            design = np.concatenate([linear, slopes], axis=-1)
            change, covariance = _solve(design, weight, data - expected)
            move = change[:, 3:].clip(-0.2 * width[:, None], 0.2 * width[:, None])
            values = values + move
            values[:, 0] = np.clip(values[:, 0], centre - limits, centre + limits)
            values[:, 1] = np.clip(values[:, 1], 0.02 * centre, 1.2 * centre)
            if np.nanmax(np.abs(move), initial=0) < 1e-4:
                break
        errors = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
        dof = np.maximum(used.sum(axis=1) - 5, 1)
        misfit = (weight * (data - expected) ** 2).sum(axis=1) / dof
        significance = amplitude[:, 0] / errors[:, 0]
        edge = np.abs(values[:, 0] - centre) >= limits * (1 - 1e-6)
        edge |= (values[:, 1] >= 1.2 * centre * (1 - 1e-6)) | (used.sum(axis=1) < 8)
        # Noise makes narrow plasmons, the line makes some as wide as the window.
        edge |= ~np.isfinite(errors).all(axis=1) | (errors[:, 3] > values[:, 1])
    significance = np.where(edge, 0.0, significance)
    return np.stack(
        [values[:, 0], values[:, 1], errors[:, 3], errors[:, 4], significance, misfit], axis=1
    )


def _solve(
    design: np.ndarray, weight: np.ndarray, data: np.ndarray, damping: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return weighted least squares and their covariance, for many spectra at once."""
    normal = np.einsum("pck,pc,pcl->pkl", design, weight, design, optimize=True)
    right = np.einsum("pck,pc->pk", design, weight * data)
    scale = np.sqrt(np.maximum(np.diagonal(normal, axis1=1, axis2=2), 1e-300))
    scaled = normal / scale[:, :, None] / scale[:, None, :]
    ridge = (1e-12 + np.asarray(damping)).reshape(-1, 1, 1) * np.eye(design.shape[-1])
    inverse = np.linalg.inv(np.nan_to_num(scaled) + ridge) / scale[:, :, None] / scale[:, None, :]
    return np.einsum("pkl,pl->pk", inverse, right), inverse


def find_band_gap(
    counts: np.ndarray,
    energy_ev: np.ndarray,
    zero_loss: ZeroLoss,
    *,
    search_ev: tuple[float, float],
    transition: Literal["direct", "indirect"] = "direct",
    refractive_index: float | None = None,
    beam_energy_kev: float | None = None,
    gain: float = 1.0,
    read_noise: float = 0.0,
) -> BandGap:
    r"""Find the onset of losses above the tail of the zero-loss peak.

    Give the sum of a region of one phase. Do not use it where the gap is below about three widths
    of the zero-loss peak, or for metals.

    Parameters
    ----------
    counts
        Low losses: one spectrum, or several that are added once their peaks are in one place,
        shape (..., E) [counts].
    energy_ev
        Energy loss of the channels as the file states it, shape (E,) [eV].
    zero_loss
        From `find_zero_loss` of the same counts.
    search_ev
        Losses within which tail and onset are fitted [eV]: from where the tail of the zero-loss
        peak is smooth to a few eV above the gap, before the first structure of the losses.
    transition
        Direct gaps begin as a square root, indirect ones as its cube.
    refractive_index
        Of the phase; with the beam energy it tells whether Cerenkov radiation fills the gap.
    beam_energy_kev
        Beam energy [keV].
    gain
        Counts per electron.
    read_noise
        Standard deviation of the readout per channel [counts].

    Returns
    -------
    BandGap
        The likeliest onset and its interval.

    Raises
    ------
    ParameterError
        The window lies outside the axis, or a word or number cannot be.
    MissingValueError
        No zero-loss peak was found.

    Notes
    -----
    :math:`a + b e^{-E/c} + d\,(E - E_g)^{p}` above the gap, p = 1/2 or 3/2 [1]_, smeared by the
    resolution; a, b, d not negative. The likelihood is followed over :math:`E_g` and c.

    References
    ----------
    .. [1] B. Rafferty and L. M. Brown, Phys. Rev. B 58, 10326 (1998),
           doi:10.1103/PhysRevB.58.10326
    """
    from scipy.optimize import nnls

    power = {"direct": 0.5, "indirect": 1.5}.get(transition)
    if power is None:
        raise ParameterError(
            f"transition is {transition!r}: expected 'direct' or 'indirect', as theory has it"
        )
    counts = np.asarray(check_spectra("counts", counts), dtype=float)
    energy = check_axis(energy_ev, counts.shape[-1], least=32)
    step = even_step(energy)
    if not np.isfinite(zero_loss.position_ev).any():
        raise MissingValueError(f"losses have no origin: {zero_loss.sentence}")
    mean, axis = aligned_mean(counts, energy, zero_loss)
    number = int(np.isfinite(zero_loss.position_ev).sum())
    low, high = search_ev
    if not (0 < low < high <= axis[-1] and high - low >= 12 * step):
        raise ParameterError(
            f"search_ev is {search_ev!r}: expected at least 12 channels of {step:.3g} eV between "
            f"0 and {axis[-1]:.1f} eV"
        )
    near = (axis >= low) & (axis <= high)
    loss, data = axis[near], mean[near] * number
    smear = float(np.hypot(zero_loss.fwhm_ev / 2.355, step / np.sqrt(12)))

    # A root begins too steeply for the few nodes that do for a plasmon.
    nodes = np.linspace(-4, 4, 81)
    bell = np.exp(-(nodes**2) / 2) / np.exp(-(nodes**2) / 2).sum()

    def onset(gap: float) -> np.ndarray:
        above = loss[:, None] - smear * nodes - gap
        return np.asarray(np.maximum(above, 0) ** power @ bell)

    def cost(columns: list[np.ndarray]) -> float:
        """Return χ² at the best heights; weights follow the fit, as for counts they must."""
        design = np.stack(columns, axis=1)
        design = design / np.maximum(np.abs(design).max(axis=0), 1e-300)
        expected = np.maximum(data, gain)
        for _ in range(3):
            root = 1 / np.sqrt(gain * np.maximum(expected, gain) + number * read_noise**2)
            heights, _ = nnls(design * root[:, None], data * root)
            expected = design @ heights
        level = np.maximum(expected, gain)
        if read_noise:
            variance = gain * level + number * read_noise**2
            return float(np.sum((data - expected) ** 2 / variance + np.log(variance)))
        seen = np.maximum(data, 0)
        log = np.where(seen > 0, seen * np.log(np.maximum(seen, 1e-300) / level), 0)
        return float(2 * np.sum(log - seen + level) / gain)

    flat = np.ones_like(loss)

    def tails(decays: np.ndarray) -> list[np.ndarray]:
        return [np.exp(-(loss - low) / decay) for decay in decays]

    decays = np.geomspace(0.5 * step, high - low, 10)
    gaps, costs = np.empty(0), np.empty(0)
    trial = np.linspace(low + 2 * step, high - 4 * step, 40)
    for _ in range(4):
        fit = np.array([[cost([flat, t, onset(g)]) for t in tails(decays)] for g in trial])
        gaps, costs = np.concatenate([gaps, trial]), np.concatenate([costs, fit.min(axis=1)])
        # Closer around the best of both.
        decay = decays[fit.min(axis=0).argmin()]
        decays = decay * (decays[1] / decays[0]) ** np.linspace(-1, 1, 5)
        spacing = float(np.diff(trial)[0])
        trial = gaps[costs.argmin()] + spacing * np.linspace(-1.5, 1.5, 13)
        trial = trial[(trial >= low + 2 * step) & (trial <= high - 4 * step)]
    without = min(cost([flat, t]) for t in tails(np.geomspace(0.5 * step, high - low, 40)))
    order = np.argsort(gaps)
    gaps, costs = gaps[order], costs[order]
    least = float(costs.min())
    gap = float(gaps[costs.argmin()])
    allowed = gaps[costs <= least + 3.84]
    within = gaps[costs <= least + 1]
    interval = (float(allowed[0]), float(allowed[-1]))
    error = max((float(within[-1]) - float(within[0])) / 2, spacing / np.sqrt(12))
    dof = len(loss) - 5
    nan = float("nan")
    if without - least < 16:
        return BandGap(
            energy_ev=nan,
            error_ev=nan,
            interval_ev=(nan, nan),
            assessment=Assessment.TOO_FEW_ELECTRONS,
            sentence=f"no onset rises above the tail of the zero-loss peak between {low:g} and "
            f"{high:g} eV: the gap lies elsewhere, or the electrons do not suffice",
        )
    sentence = f"losses begin at {gap:.2f} ± {error:.2g} eV, if the gap is {transition}"
    assessment = Assessment.OK
    at_edge = interval[0] <= gaps[1] or interval[1] >= gaps[-2]
    if at_edge or (not read_noise and least > 3 * dof):
        assessment = Assessment.AMBIGUOUS
        sentence += (
            "; the likelihood does not close within search_ev"
            if at_edge
            else f"; χ² is {least / dof:.2g} per degree of freedom: the tail or the onset has "
            "another shape, choose another search_ev"
        )
    if beam_energy_kev is None or refractive_index is None:
        sentence += "; Cerenkov radiation can fill a gap of a phase with refractive index above c/v"
    elif velocity_ratio(beam_energy_kev) * refractive_index > 1:
        assessment = Assessment.AMBIGUOUS
        sentence += (
            f"; at {beam_energy_kev:g} keV Cerenkov radiation is emitted above an index of "
            f"{1 / velocity_ratio(beam_energy_kev):.2f} and makes losses within the gap"
        )
    return BandGap(
        energy_ev=gap,
        error_ev=error,
        interval_ev=interval,
        assessment=assessment,
        sentence=sentence,
    )

"""Where the zero-loss peak is in every spectrum, and spectra moved so that it is in one place."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from interphase.assessment import Assessment
from interphase.eels.checks import blocks, check_axis, check_number, check_spectra
from interphase.eels.likelihood import in_threads
from interphase.errors import MissingValueError, ParameterError

_SAMPLE = 2000
"""Spectra from which the peak's shape is taken."""
_REACH = 1.5
"""Full widths to either side of the maximum that count: a Gaussian has 99.7 % of what can be known
of its place within them, and losses begin beyond."""
_FEWEST = 10.0
"""Electrons in a peak below which its place is not stated."""
_HIGH = 0.2
"""Height over that of the highest maximum from which on the first maximum is a peak."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(5)
_LOPSIDED = 12.0
"""Rise of twice the log-likelihood for which a peak is taken to have two different halves: chance
makes it in 1 of 400 peaks that have not."""
_PARTS = 8
"""Bins per channel of the profile that the shape is fitted to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakShape:
    """A peak of two halves, each between a Gaussian and a Lorentzian."""

    left: float
    """Half width at half maximum towards lower energy losses [channels]."""
    right: float
    """The same towards higher energy losses [channels]."""
    left_tail: float = 1e-3
    """Weight of the left tail: 0 is a Gaussian, 1 a Lorentzian."""
    right_tail: float = 1e-3
    """Weight of the right tail."""

    @property
    def fwhm(self) -> float:
        """Full width at half maximum before channels integrate it [channels]."""
        return self.left + self.right

    def in_channels(self, offset: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the peak's part in channels at offsets from its maximum, and its slope."""
        value, slope = np.zeros_like(offset), np.zeros_like(offset)
        for node, weight in zip(_NODES / 2, _WEIGHTS / 2, strict=True):
            u = offset + node
            half = np.where(u < 0, self.left, self.right)
            q = np.where(u < 0, self.left_tail, self.right_tail)
            scale = (2.0**q - 1) / half**2
            height = np.exp(-np.log1p(scale * u**2) / q)
            value += weight * height
            slope -= weight * height * 2 * scale * u / (q * (1 + scale * u**2))
        return value, slope


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ZeroLoss:
    """The zero-loss peak of every spectrum."""

    position_ev: np.ndarray
    """Where the peak's maximum is on the axis given [eV], shape (...); NaN where it is not found.
    Add its negative to the axis to correct it."""
    error_ev: np.ndarray
    """Standard error by the Fisher information, which no unbiased estimate beats [eV]."""
    electrons: np.ndarray
    """Electrons in the peak, within 1.5 full widths of its maximum; 0 where it is not found."""
    fwhm_ev: float
    """Full width at half maximum of the peak, common to all spectra, NaN without one [eV]."""
    common_error_ev: float
    """Standard error of the maximum of the common shape, which moves all places alike [eV]; 0 where
    the peak is not seen to be lopsided."""
    assessment: Assessment
    """Whether peaks were found."""
    sentence: str
    """The same in words, and what limits the precision."""


def find_zero_loss(
    counts: Any,
    energy_ev: np.ndarray,
    *,
    gain: float = 1.0,
    read_noise: float = 0.0,
    search_ev: tuple[float, float] = (-20.0, 20.0),
) -> ZeroLoss:
    r"""Find the place of the zero-loss peak in every spectrum by its likelihood.

    The peak's shape is taken from all spectra together, each laid upon the others, and then fitted
    to each one. Do not use it for core losses, which have no zero-loss peak: they are moved by the
    shifts of the low losses recorded with them.

    Parameters
    ----------
    counts
        Spectra that hold the peak, shape (..., E), an array or a Dask array [counts].
    energy_ev
        Energy loss of the channels as the file states it, evenly spaced, shape (E,) [eV].
    gain
        Counts per electron.
    read_noise
        Standard deviation of the readout per channel [counts].
    search_ev
        Where on the axis the maximum is looked for [eV].

    Returns
    -------
    ZeroLoss
        Place, error and electrons for each spectrum.

    Raises
    ------
    ParameterError
        The axis is uneven or not in eV, or a number cannot be.

    Notes
    -----
    N electrons in a Gaussian peak of standard deviation σ place it within at best
    :math:`\sqrt{(\sigma^2 + w^2 / 12) / N}` of channels of width w: the Cramér-Rao bound, which
    the maximum of a quasi-likelihood with variance :math:`g\mu + r^2` of a channel reaches. So 100
    electrons give 0.05 channels where the full width is below 0.96 channels, and no method gives
    more in a wider peak: 0.1 of its standard deviation, whatever the dispersion.

    Examples
    --------
    >>> energy = np.arange(-10.0, 40.0, 0.5)
    >>> peaks = 200 * np.exp(-2 * (energy + np.array([[1.0], [2.2]])) ** 2)
    >>> found = find_zero_loss(np.random.default_rng(0).poisson(peaks), energy)
    >>> found.position_ev.round(1).tolist(), found.error_ev.round(2).tolist()
    ([-1.0, -2.2], [0.02, 0.02])
    """
    counts = check_spectra("counts", counts)
    energy = check_axis(energy_ev, counts.shape[-1], least=8)
    step = even_step(energy)
    check_number("gain", gain, 1e-9, 1e12, "counts per electron")
    check_number("read_noise", read_noise, 0, 1e12, "counts")
    first, last = np.searchsorted(energy, search_ev)
    shape = counts.shape[:-1]
    nowhere = np.full(shape, np.nan)
    nothing = ZeroLoss(
        position_ev=nowhere,
        error_ev=nowhere,
        electrons=np.zeros(shape),
        fwhm_ev=float("nan"),
        common_error_ev=float("nan"),
        assessment=Assessment.UNUSABLE,
        sentence=f"no zero-loss peak lies between {search_ev[0]:g} and {search_ev[1]:g} eV on the "
        "axis: give the low losses, or correct an axis that is off by more",
    )
    if energy[0] > 0:
        return replace(
            nothing,
            sentence=f"the axis begins at {energy[0]:g} eV, after the zero-loss peak: give spectra "
            "that hold it, or correct the axis",
        )
    if last - first < 3:
        return nothing
    sample = _sample(counts)
    if not len(sample):
        return nothing
    coarse = _coarse(sample, _width_of(sample.mean(axis=0), first, last), first, last)
    shaped = _shape_from(sample, coarse, gain)
    for _ in range(2):
        if shaped is None:
            return nothing
        coarse = _coarse(sample, shaped[0].fwhm, first, last)
        place = _fit(sample, coarse, shaped[0], gain, read_noise)[:, 0]
        shaped = _shape_from(sample, place, gain, shaped[0])
    if shaped is None:
        return nothing
    peak, common = shaped

    fitted = np.full((*shape, 3), np.nan)
    # No peak reaches further.
    stop = last + int(6 * peak.fwhm) + 8

    def fit(rows: np.ndarray) -> tuple[np.ndarray]:
        rows = np.asarray(rows, dtype=float)
        return (_fit(rows, _coarse(rows, peak.fwhm, first, last), peak, gain, read_noise),)

    for where, block in blocks(counts, dtype=None):
        rows = block.reshape(-1, block.shape[-1])[:, :stop]
        fitted[where] = in_threads(fit, rows)[0].reshape(*block.shape[:-1], 3)
    found = np.isfinite(fitted[..., 0])
    if not found.any():
        return nothing
    electrons = np.where(found, fitted[..., 2], 0.0)
    fwhm = peak.fwhm * step
    typical = float(np.median(electrons[found]))
    share = float(found.mean())
    sentence = (
        f"the zero-loss peak, {fwhm:.2f} eV wide, holds {typical:.0f} electrons in a typical "
        f"spectrum, which place it within {np.median(fitted[..., 1][found]) * step:.2g} eV: the "
        "width and the number of electrons allow no better"
    )
    where = energy[0] + step * fitted[..., 0][found]
    spread = float(np.ptp(np.percentile(where, [5, 95])))
    if abs(np.median(where)) > max(fwhm / 4, step):
        sentence += f"; the axis is off: the peak lies at {np.median(where):.2f} eV"
    if spread > max(fwhm / 4, 5 * step * float(np.median(fitted[..., 1][found]))):
        sentence += (
            f"; nine of ten peaks spread over {spread:.2g} eV: align the spectra before they are "
            "added"
        )
    if share < 1:
        sentence += f"; in {100 * (1 - share):.1f} % of the spectra it is not found"
    return ZeroLoss(
        position_ev=energy[0] + step * fitted[..., 0],
        error_ev=step * fitted[..., 1],
        electrons=electrons,
        fwhm_ev=fwhm,
        common_error_ev=common * step,
        assessment=Assessment.OK if share > 0.5 else Assessment.TOO_FEW_ELECTRONS,
        sentence=sentence,
    )


def even_step(energy_ev: np.ndarray) -> float:
    """Return the distance of evenly spaced energies [eV], or raise where they are uneven."""
    steps = np.diff(energy_ev)
    step = float(steps.mean())
    # Axes in single precision are even to a few of its digits only.
    if np.abs(energy_ev - energy_ev[0] - step * np.arange(len(energy_ev))).max() > 0.05 * step:
        raise ParameterError(
            f"energy_ev has steps from {steps.min():.4g} to {steps.max():.4g} eV: expected even "
            "ones; interpolate the spectra onto an even axis first"
        )
    return step


def check_aligned(
    counts: Any,
    energy_ev: np.ndarray,
    zero_loss: ZeroLoss,
    *,
    gain: float,
    read_noise: float,
    least: int,
    what: str,
) -> tuple[Any, np.ndarray, float]:
    """Return spectra, axis and step, if they and their zero losses belong together.

    `what` begins the sentence that is raised where there is no zero loss at all.
    """
    counts = check_spectra("counts", counts)
    energy = check_axis(energy_ev, counts.shape[-1], least=least)
    step = even_step(energy)
    check_number("gain", gain, 1e-9, 1e12, "counts per electron")
    check_number("read_noise", read_noise, 0, 1e12, "counts")
    place = zero_loss.position_ev
    if place.shape != counts.shape[:-1]:
        raise ParameterError(
            f"zero_loss has shape {place.shape}: expected that of the spectra, {counts.shape[:-1]}"
        )
    if not np.isfinite(place).any():
        raise MissingValueError(f"{what}: {zero_loss.sentence}")
    return counts, energy, step


def shift_spectra(
    counts: np.ndarray, shift_ev: np.ndarray, *, dispersion_ev: float, whole_channels: bool = False
) -> np.ndarray:
    """Move spectra along the energy axis, each by its own shift.

    Dual spectra are moved together: the shifts of the low losses, in eV, go to both ranges, each
    with its own dispersion. A fit that moves its model instead keeps the counts as they are.

    Parameters
    ----------
    counts
        Spectra, shape (..., E).
    shift_ev
        How far each is moved towards higher losses [eV], shape (...); the negative of
        `ZeroLoss.position_ev`. Spectra with NaN become NaN.
    dispersion_ev
        Width of a channel [eV].
    whole_channels
        Move by whole channels, which leaves counts independent Poisson variables; otherwise the
        counts of a channel are shared between two, which keeps their number and their mean
        energy but makes neighbours alike and widens peaks by at most half a channel.

    Returns
    -------
    ndarray of the shape of `counts`
        NaN where nothing was recorded.

    Examples
    --------
    >>> shift_spectra(np.array([4.0, 8.0, 2.0]), np.array(0.5), dispersion_ev=1.0).tolist()
    [nan, 6.0, 5.0]
    """
    from interphase.eels.shift_kernels import move_rows

    data = np.asarray(counts)
    width = check_number("dispersion_ev", dispersion_ev, 1e-6, 1e3, "eV")
    shift = np.asarray(shift_ev, dtype=float)
    if shift.shape != data.shape[:-1]:
        raise ParameterError(
            f"shift_ev has shape {shift.shape}: expected one shift for each spectrum, "
            f"{data.shape[:-1]}"
        )
    moved = shift.reshape(-1) / width
    if whole_channels:
        moved = np.round(moved)
    kept = np.float32 if data.dtype == np.float32 else np.float64
    rows = np.ascontiguousarray(data, dtype=kept).reshape(-1, data.shape[-1])
    (out,) = in_threads(lambda *part: (move_rows(*part),), rows, moved)
    return out.reshape(data.shape)


def align_dual(
    low_loss: Any,
    core_loss: Any,
    zero_loss: ZeroLoss,
    *,
    low_dispersion_ev: float,
    core_dispersion_ev: float,
    whole_channels: bool = False,
) -> tuple[Any, Any]:
    """Move both ranges of dual spectra by the shifts of their zero-loss peaks.

    Where the peak was not found, both are moved by the median shift: the noise of one dark pixel
    is no reason to lose it, but its energies are less certain.

    Parameters
    ----------
    low_loss, core_loss
        Spectra recorded together, shapes (..., E) and (..., K), arrays or Dask arrays.
    zero_loss
        From `find_zero_loss` of the low losses.
    low_dispersion_ev, core_dispersion_ev
        Widths of their channels [eV].
    whole_channels
        See `shift_spectra`.

    Returns
    -------
    low_loss, core_loss
        The zero-loss peak at 0 on the axis of the low losses, lazy where they were; NaN in
        channels at the ends where nothing was recorded.

    Raises
    ------
    ParameterError
        Numbers of spectra differ, or no peak was found.

    Examples
    --------
    >>> energy = np.arange(-10.0, 30.0)
    >>> low = 100 * np.exp(-((energy - np.array([[1.0], [-2.0]])) ** 2))
    >>> moved, core = align_dual(
    ...     low, low, find_zero_loss(low, energy), low_dispersion_ev=1.0, core_dispersion_ev=0.5
    ... )
    >>> energy[np.nanargmax(moved, axis=1)].tolist()
    [0.0, 0.0]
    """
    place = zero_loss.position_ev
    found = np.isfinite(place)
    if not found.any():
        raise ParameterError(f"spectra cannot be aligned: {zero_loss.sentence}")
    shift = -np.where(found, place, np.median(place[found]))

    def moved(counts: Any, dispersion_ev: float) -> Any:
        options: dict[str, Any] = {"dispersion_ev": dispersion_ev, "whole_channels": whole_channels}
        if not hasattr(counts, "dask"):
            return shift_spectra(counts, shift, **options)
        import dask.array as da

        whole = counts.rechunk({counts.ndim - 1: -1})
        shifts = da.from_array(shift[..., None], chunks=(*whole.chunks[:-1], (1,)))  # type: ignore[no-untyped-call]
        return da.map_blocks(  # type: ignore[no-untyped-call]
            lambda block, by: shift_spectra(block, by[..., 0], **options),
            whole,
            shifts,
            dtype=float,
            chunks=whole.chunks,
            meta=np.empty((0,) * counts.ndim),
        )

    return moved(low_loss, low_dispersion_ev), moved(core_loss, core_dispersion_ev)


def _sample(counts: Any) -> np.ndarray:
    """Return up to about `_SAMPLE` finite spectra from all parts of an image, shape (P, E)."""
    pixels = int(np.prod(counts.shape[:-1], dtype=int))
    stride = max(1, pixels // _SAMPLE)
    kept, start = [], 0
    for _, block in blocks(counts, dtype=None):
        flat = block.reshape(-1, block.shape[-1])
        rows = np.asarray(flat[(-start) % stride :: stride], dtype=float)
        kept.append(rows[np.isfinite(rows).all(axis=1)])
        start += len(flat)
    return np.concatenate(kept)


def _coarse(spectra: np.ndarray, fwhm: float, first: int, last: int) -> np.ndarray:
    """Return the channel in which the first peak of each spectrum, smoothed, is largest.

    The plasmon of a thick specimen can be higher than the zero-loss peak, but never before it.
    """
    from scipy.ndimage import gaussian_filter1d

    width = max(fwhm / 2.355, 0.6)
    start, stop = max(first - int(5 * width) - 1, 0), last + int(5 * width) + 1
    part = np.nan_to_num(spectra[:, start:stop])
    sought = gaussian_filter1d(part, width, axis=-1)[:, first - start : last - start]
    padded = np.pad(sought, ((0, 0), (1, 1)), constant_values=-np.inf)
    rises = (sought >= padded[:, :-2]) & (sought >= padded[:, 2:])
    high = rises & (sought > _HIGH * sought.max(axis=1, keepdims=True))
    # Of one peak noise makes several maxima, the first of which need not be its largest.
    start = np.where(high.any(axis=1), high.argmax(axis=1), sought.argmax(axis=1))
    at = start[:, None] + np.arange(int(np.ceil(1.5 * fwhm)) + 1)
    near = np.take_along_axis(sought, at.clip(0, last - first - 1), axis=1).argmax(axis=1)
    return np.asarray(first + np.minimum(start + near, last - first - 1), dtype=float)


def _width_of(spectrum: np.ndarray, first: int, last: int) -> float:
    """Return about how many channels wide the first peak of a spectrum is."""
    at = int(_coarse(spectrum[None], 1.0, first, last)[0])
    below = spectrum < spectrum[at] / 2
    left, right = np.flatnonzero(below[:at]), np.flatnonzero(below[at:])
    return float(right[0] if len(right) else 3) + float(at - left[-1] if len(left) else 3) - 1


def _shape_from(
    spectra: np.ndarray, place: np.ndarray, gain: float, start: PeakShape | None = None
) -> tuple[PeakShape, float] | None:
    """Return the peak's shape at known places and the error of its maximum, if there is one."""
    from scipy.optimize import least_squares

    good = np.isfinite(place)
    if not good.any():
        return None
    spectra, place = spectra[good], place[good]
    channels = spectra.shape[1]
    offset = np.arange(channels) - place[:, None]
    if start is None:
        bins = np.rint(offset).astype(int) + channels
        number = np.bincount(bins.ravel(), minlength=2 * channels + 1)
        total: np.ndarray = np.bincount(bins.ravel(), spectra.ravel(), 2 * channels + 1)
        mean = total / np.maximum(number, 1)
        top = mean[channels]
        lower = np.flatnonzero(mean[:channels] < top / 2)
        upper = np.flatnonzero(mean[channels + 1 :] < top / 2)
        if not (top > 0 and len(lower) and len(upper)):
            return None
        start = PeakShape(left=max(channels - lower[-1] - 0.5, 0.5), right=upper[0] + 0.5)
    reach = _REACH * start.fwhm + 1
    near = np.abs(offset) <= reach
    height = np.where(near, spectra, 0).sum(axis=1, keepdims=True)
    if height.sum() <= 0:
        return None
    bins = np.rint((offset[near] + reach) * _PARTS).astype(int)
    exposure: np.ndarray = np.bincount(bins, np.broadcast_to(height, near.shape)[near])
    seen: np.ndarray = np.bincount(bins, spectra[near].clip(0))
    used = exposure > 0
    at = np.bincount(bins, offset[near])[used] / np.bincount(bins)[used]
    seen, exposure = seen[used], exposure[used]

    def residual(p: np.ndarray) -> np.ndarray:
        value = _shape_of(p).in_channels(at - p[-1])[0]
        expected = exposure * value
        expected = np.maximum(expected * (seen.sum() / expected.sum()), 1e-300)
        deviance = seen * np.log(np.maximum(seen, 1e-300) / expected) - seen + expected
        return np.asarray(np.sign(seen - expected) * np.sqrt(2 * np.maximum(deviance, 0)))

    half, wide = np.log(start.fwhm / 2), np.log(reach + 1)
    even = least_squares(
        residual, [half, 0.1, 0.0], bounds=([np.log(0.1), 1e-3, -2.0], [wide, 1.5, 2.0])
    )
    width, tail, shift = even.x
    split = least_squares(
        residual,
        [width, width, tail, tail, shift],
        bounds=(
            [np.log(0.1)] * 2 + [1e-3] * 2 + [-2.001],
            [wide + 1e-3] * 2 + [1.501] * 2 + [2.001],
        ),
    )
    # The maximum of a lopsided peak is less well known: lopsided is what is seen to be so.
    best = split if 2 * (even.cost - split.cost) > _LOPSIDED * gain else even
    # The error of the place in a peak of known shape is part of each spectrum's own error.
    errors = [gain * np.linalg.pinv(fit.jac.T @ fit.jac)[-1, -1] for fit in (best, even)]
    return _shape_of(best.x), float(np.sqrt(max(errors[0] - errors[1], 0.0)))


def _shape_of(p: np.ndarray) -> PeakShape:
    """Return a peak from its logarithmic widths, tails and, last, its place."""
    left, right, left_tail, right_tail = p[:4] if len(p) == 5 else np.repeat(p[:2], 2)
    return PeakShape(
        left=float(np.exp(left)),
        right=float(np.exp(right)),
        left_tail=float(left_tail),
        right_tail=float(right_tail),
    )


def _fit(
    spectra: np.ndarray, coarse: np.ndarray, shape: PeakShape, gain: float, read_noise: float
) -> np.ndarray:
    """Return place and error [channels] and electrons of each peak, NaN without one, (P, 3)."""
    channels = spectra.shape[1]
    reach = int(np.ceil(_REACH * shape.fwhm)) + 1
    at = coarse.astype(int)[:, None] + np.arange(-reach, reach + 1)
    whole = (at[:, 0] >= 0) & (at[:, -1] < channels)
    data = np.take_along_axis(spectra, at.clip(0, channels - 1), axis=1)
    place = coarse.astype(float)
    height = np.maximum(data.sum(axis=1), 1e-9) / shape.in_channels(at - place[:, None])[0].sum(1)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for _ in range(12):
            value, slope = shape.in_channels(at - place[:, None])
            expected = height[:, None] * value
            weight = 1 / (gain * expected + read_noise**2 + 1e-12 * gain)
            # Derivatives with respect to the logarithm of the height, and to the place.
            by_height, by_place = expected, -height[:, None] * slope
            rest = data - expected
            a = (weight * by_height**2).sum(axis=1)
            b = (weight * by_height * by_place).sum(axis=1)
            c = (weight * by_place**2).sum(axis=1)
            u, v = (weight * by_height * rest).sum(axis=1), (weight * by_place * rest).sum(axis=1)
            determinant = a * c - b**2
            step = ((a * v - b * u) / determinant).clip(-shape.fwhm / 3, shape.fwhm / 3)
            height = height * np.exp(((c * u - b * v) / determinant).clip(-1, 1))
            place = place + step
            if np.nanmax(np.abs(step), initial=0) < 1e-5:
                break
        error = np.sqrt(a / determinant)
        electrons = data.sum(axis=1) / gain
        noise = np.sqrt(gain * np.maximum(data, 0).sum(axis=1) + data.shape[1] * read_noise**2)
        # Nothing comes before the zero-loss peak but its own tail and noise.
        ahead = max(int(at[:, 0].max()), 1)
        before = np.arange(ahead) < at[:, :1]
        many = np.maximum(before.sum(axis=1), 1)
        floor = np.where(before, spectra[:, :ahead], 0).sum(axis=1) / many
        found = (
            whole
            & (np.abs(place - coarse) < shape.fwhm + 1)
            & (electrons >= _FEWEST)
            & (data.sum(axis=1) > 5 * noise * (read_noise > 0))
            & (floor < 0.1 * data.mean(axis=1) + 3 * read_noise / np.sqrt(many))
            & np.isfinite(error)
        )
    return np.where(found[:, None], np.stack([place, error, electrons], axis=1), np.nan)

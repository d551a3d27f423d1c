"""Plural scattering taken out of spectra, with the noise that this makes.

eXSpy has both methods for its signals. These work on arrays, take the logarithm on its continuous
branch, so that thick specimens do not fold, stop at the frequencies where only noise is left, and
say what error each channel has afterwards.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from interphase.eels.checks import blocks, check_number, check_spectra
from interphase.errors import ParameterError

_BLOCK_BYTES = 2**22
"""Of spectra that are transformed at a time, in double precision; transforms take 20 times that."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Deconvolved:
    """Spectra of single scattering: arrays, or lazy Dask arrays for lazy spectra."""

    counts: Any
    """Counts per channel that single scattering would have made, shape (..., E)."""
    error: Any
    """Standard error of each channel, shape (..., E); neighbours are correlated."""
    noise_gain: Any
    """Variance after over variance before for white noise, shape (...): above 1, noise grew."""
    sentence: str
    """What was done, or will be once lazy spectra are computed."""


def elastic_peak(spectrum: np.ndarray, energy_ev: np.ndarray, *, cut_ev: float) -> np.ndarray:
    """Return the zero-loss peak of a spectrum, its right tail continued under the losses.

    Parameters
    ----------
    spectrum
        One spectrum with much of the signal, such as from `aligned_mean`, shape (E,) [counts].
    energy_ev
        Its axis, 0 at the peak, shape (E,) [eV].
    cut_ev
        Where the losses begin [eV], such as `Thickness.cut_ev`.

    Returns
    -------
    ndarray of shape (E,)
        The spectrum up to the cut; beyond it an exponential tail as steep as the left one is at
        the same distance.

    Raises
    ------
    ParameterError
        The cut lies outside the axis.

    Examples
    --------
    >>> energy = np.arange(-5.0, 20.0)
    >>> peak = 100 * np.exp(-np.abs(energy))
    >>> bool(np.allclose(elastic_peak(peak, energy, cut_ev=3.0), peak))
    True
    """
    check_number("cut_ev", cut_ev, float(energy_ev[0]), float(energy_ev[-1]), "eV")
    peak = np.array(spectrum, dtype=float)
    edge = int(np.searchsorted(energy_ev, cut_ev))
    far = int(np.searchsorted(energy_ev, -cut_ev))
    near = int(np.searchsorted(energy_ev, -cut_ev / 2))
    step = float(energy_ev[1] - energy_ev[0])
    left = np.maximum(peak[max(far, 0) : near + 1], 1e-300)
    rate = np.log(left[-1] / left[0]) / max((len(left) - 1) * step, step) if len(left) > 1 else 0.0
    rate = max(rate, 2 / cut_ev) if cut_ev > 0 else 1 / step
    beyond = energy_ev[edge + 1 :] - energy_ev[edge]
    peak[edge + 1 :] = max(peak[edge], 0.0) * np.exp(-rate * beyond)
    return peak


def fourier_log(
    counts: Any, zero_loss: Any, *, gain: float = 1.0, read_noise: float = 0.0
) -> Deconvolved:
    r"""Return the single-scattering spectrum of low losses, at the resolution they have.

    It needs all losses from the zero-loss peak on, on one axis, and many electrons: at low dose
    fit a model that is convolved instead, and deconvolve sums of many pixels only.

    Parameters
    ----------
    counts
        Spectra from before the zero-loss peak on, shape (..., E), an array or a Dask array
        [counts].
    zero_loss
        The zero-loss peak within them, at the same place, shape (..., E) or (E,) [counts].
    gain
        Counts per electron.
    read_noise
        Standard deviation of the readout per channel [counts].

    Returns
    -------
    Deconvolved
        Without the zero-loss peak.

    Raises
    ------
    ParameterError
        Shapes differ, or the peak is empty or exceeds the spectrum; of lazy spectra this is seen
        when they are computed.

    Notes
    -----
    :math:`s = \mathcal{F}^{-1}[z \ln(j / z)]` [1]_; to first order an error δj of the spectrum
    becomes :math:`\mathcal{F}^{-1}[z\,\delta j / j]`.

    References
    ----------
    .. [1] D. W. Johnson and J. C. H. Spence, J. Phys. D 7, 771 (1974),
           doi:10.1088/0022-3727/7/6/304

    Examples
    --------
    >>> from scipy.stats import norm
    >>> energy = np.arange(-20.0, 236.0)
    >>> peak = 1000 * norm.pdf(energy, 0, 1)
    >>> single = 500 * norm.pdf(energy, 20, 3)
    >>> double = 125 * norm.pdf(energy, 40, np.sqrt(2 * 9 - 1))
    >>> result = fourier_log(peak + single + double, peak)
    >>> round(float(result.counts[20:60].sum()), -1)
    500.0
    """
    counts = check_spectra("counts", counts)
    peak = _beside("zero_loss", zero_loss, counts.shape)

    def single(data: np.ndarray, peak: np.ndarray) -> np.ndarray:
        _check_finite(data, peak)
        elastic, total = peak.sum(axis=-1), data.sum(axis=-1)
        if not ((elastic > 0) & (elastic <= total * (1 + 1e-9))).all():
            raise ParameterError(
                "zero_loss holds no counts, or more than the spectrum: give the part of the "
                "spectrum up to the first losses, as from `elastic_peak`"
            )
        padded, size = _padded(data)
        variance = gain * np.maximum(data, 0) + read_noise**2
        z, j = np.fft.rfft(peak, size), np.fft.rfft(padded, size)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = j / z
            known = _above_noise(j, z, variance)
            phase = np.unwrap(np.where(known, np.angle(ratio), 0.0), axis=-1)
            log = np.log(np.abs(ratio)) + 1j * phase
            result = np.fft.irfft(np.where(known, z * log, 0), size)[..., : data.shape[-1]]
            kernel = np.fft.irfft(np.where(known, z / j, 0), size)
        return _joined(result, *_propagated(kernel, variance), np.log(total / elastic))

    result, error, growth, relative = _each(single, counts, peak, numbers=2)
    return Deconvolved(
        counts=result,
        error=error,
        noise_gain=growth,
        sentence="plural scattering is taken out by Fourier-log deconvolution"
        + (
            ""
            if hasattr(counts, "dask")
            else f"; t/λ is {float(np.median(relative)):.2f}, and the variance of white noise "
            f"changes by {float(np.median(growth)):.2g}"
        ),
    )


def fourier_ratio(
    counts: Any,
    low_loss: Any,
    zero_loss: Any,
    *,
    gain: float = 1.0,
    read_noise: float = 0.0,
    variance: Any = None,
) -> Deconvolved:
    r"""Return a core loss as single scattering would have made it.

    Parameters
    ----------
    counts
        An edge whose background has been subtracted, shape (..., E), an array or a Dask array
        [counts].
    low_loss
        Low losses with the zero-loss peak in channels of the same width, shape (..., L) or (L,);
        their exposure may be another.
    zero_loss
        The zero-loss peak within them, shape (..., L) or (L,).
    gain
        Counts per electron.
    read_noise
        Standard deviation of the readout per channel [counts].
    variance
        Variance of each channel of `counts` if the subtracted background is to count, shape
        (..., E) or (E,).

    Returns
    -------
    Deconvolved
        The edge at the resolution of the low losses, its sum that of `counts` times
        :math:`e^{-t/\lambda}`. The zero-loss peak's place is taken for 0: nothing is shifted.

    Raises
    ------
    ParameterError
        Shapes differ, or the zero-loss peak is empty; of lazy spectra this is seen when they are
        computed.

    Notes
    -----
    :math:`\mathcal{F}^{-1}[z c / l]` [1]_.

    References
    ----------
    .. [1] R. F. Egerton, Electron Energy-Loss Spectroscopy in the Electron Microscope, 3rd ed.
           (2011), section 4.3, doi:10.1007/978-1-4419-9583-4

    Examples
    --------
    >>> from scipy.stats import norm
    >>> energy = np.arange(-20.0, 108.0)
    >>> peak = 1000 * norm.pdf(energy, 0, 1)
    >>> low = peak + 500 * norm.pdf(energy, 20, 3)
    >>> edge = np.convolve(np.exp(-np.arange(400) / 50), low / peak.sum())[20:420]
    >>> result = fourier_ratio(edge, low, peak)
    >>> round(float(result.counts.sum() / edge.sum()), 2)
    0.67
    """
    counts = check_spectra("counts", counts)
    shape = counts.shape
    low = _beside("low_loss", low_loss, (*shape[:-1], np.shape(low_loss)[-1]))
    peak = _beside("zero_loss", zero_loss, (*shape[:-1], low.shape[-1]))
    spread = () if variance is None else (_beside("variance", variance, shape),)

    def single(data: np.ndarray, low: np.ndarray, peak: np.ndarray, *own: np.ndarray) -> np.ndarray:
        _check_finite(data, low, peak, *own)
        if not (peak.sum(axis=-1) > 0).all():
            raise ParameterError("zero_loss holds no counts: give the peak within low_loss")
        padded, size = _padded(data, low.shape[-1])
        z, l = np.fft.rfft(peak, size), np.fft.rfft(_padded(low)[0], size)  # noqa: E741
        known = _above_noise(l, z, gain * np.maximum(low, 0) + read_noise**2)
        with np.errstate(divide="ignore", invalid="ignore"):
            transfer = np.where(known, z / l, 0)
        result = np.fft.irfft(np.fft.rfft(padded, size) * transfer, size)[..., : data.shape[-1]]
        kernel = np.fft.irfft(transfer, size)
        noise = own[0] if own else gain * np.maximum(data, 0) + read_noise**2
        return _joined(result, *_propagated(kernel, np.broadcast_to(noise, data.shape)))

    result, error, growth = _each(single, counts, low, peak, *spread, numbers=1)
    return Deconvolved(
        counts=result,
        error=error,
        noise_gain=growth,
        sentence="plural scattering is taken out by Fourier-ratio deconvolution"
        + (
            ""
            if hasattr(counts, "dask")
            else f"; the variance of white noise changes by {float(np.median(growth)):.2g}"
        ),
    )


def _beside(name: str, spectra: Any, shape: tuple[int, ...]) -> Any:
    """Return spectra that belong to others, one for each or one for all."""
    spectra = check_spectra(name, spectra)
    if spectra.shape not in (shape, shape[-1:]):
        raise ParameterError(f"{name} has shape {spectra.shape}: expected {shape} or {shape[-1:]}")
    return spectra


def _check_finite(*spectra: np.ndarray) -> None:
    if not all(np.isfinite(part).all() for part in spectra):
        raise ParameterError(
            "the spectra hold NaN or infinite counts: repair or leave out those spectra"
        )


def _joined(result: np.ndarray, error: np.ndarray, *numbers: np.ndarray) -> np.ndarray:
    """Return two rows and some numbers of each spectrum in one row."""
    columns = [np.broadcast_to(n, result.shape[:-1])[..., np.newaxis] for n in numbers]
    return np.concatenate([result, error, *columns], axis=-1)


def _each(
    function: Callable[..., np.ndarray], counts: Any, *beside: Any, numbers: int
) -> list[Any]:
    """Return what a function joins of spectra and those beside them, a block at a time.

    That are two rows and some numbers for each spectrum: arrays, or lazy ones if spectra are.
    """
    channels, axes = counts.shape[-1], counts.ndim
    columns = 2 * channels + numbers
    shared = [np.asarray(part) if part.ndim < axes else None for part in beside]
    own = [part for part in beside if part.ndim == axes]

    def run(counts: np.ndarray, *own: Any) -> np.ndarray:
        out = np.empty((*counts.shape[:-1], columns))
        for where, block in blocks(counts, most_bytes=_BLOCK_BYTES):
            parts = (np.asarray(part[where]) for part in own)
            out[where] = function(block, *(next(parts) if s is None else s for s in shared))
        return out

    if not hasattr(counts, "dask"):
        joined = run(counts, *own)
    else:
        import dask.array as da

        whole = counts.rechunk({axes - 1: -1})
        matched = [da.asarray(part).rechunk((*whole.chunks[:-1], -1)) for part in own]  # type: ignore[no-untyped-call]
        joined = da.map_blocks(  # type: ignore[no-untyped-call]
            run,
            whole,
            *matched,
            dtype=float,
            chunks=(*whole.chunks[:-1], (columns,)),
            meta=np.empty((0,) * axes),
        )
    rows = [joined[..., :channels], joined[..., channels : 2 * channels]]
    return [*rows, *(joined[..., k] for k in range(2 * channels, columns))]


def _padded(data: np.ndarray, more: int = 0) -> tuple[np.ndarray, int]:
    """Return spectra that go to 0 smoothly after their end, and a length that none wraps round."""
    from scipy.fft import next_fast_len

    channels = data.shape[-1]
    fall = max(channels // 4, 4)
    end = data[..., -max(channels // 50, 3) :].mean(axis=-1, keepdims=True)
    taper = 0.5 * (1 + np.cos(np.pi * np.arange(1, fall + 1) / fall))
    size = next_fast_len(2 * channels + fall + more, real=True)
    return np.concatenate([data, end * taper], axis=-1), size


def _above_noise(j: np.ndarray, z: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return the frequencies, from 0 on, before the first at which noise is as large as signal."""
    noise = np.sqrt(variance.sum(axis=-1, keepdims=True))
    level = np.maximum(2 * noise, 1e-9 * np.abs(z[..., :1]))
    clear = (np.abs(j) > level) & (np.abs(z) > level)
    return np.logical_and.accumulate(clear, axis=-1)


def _propagated(kernel: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the error of each channel after a convolution, and the gain of white noise."""
    size, channels = kernel.shape[-1], variance.shape[-1]
    square = np.fft.rfft(kernel**2, size)
    spread = np.fft.irfft(np.fft.rfft(variance, size) * square, size)[..., :channels]
    return np.sqrt(np.maximum(spread, 0)), np.asarray((kernel**2).sum(axis=-1))

"""Plural scattering taken out of spectra, with the noise that this makes.

eXSpy has both methods for its signals. These work on arrays, take the logarithm on its continuous
branch, so that thick specimens do not fold, stop at the frequencies where only noise is left, and
say what error each channel has afterwards.
"""

from dataclasses import dataclass

import numpy as np

from interphase.eels.checks import check_number, check_spectra
from interphase.errors import ParameterError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Deconvolved:
    """Spectra of single scattering."""

    counts: np.ndarray
    """Counts per channel that single scattering would have made, shape (..., E)."""
    error: np.ndarray
    """Standard error of each channel, shape (..., E); neighbours are correlated."""
    noise_gain: np.ndarray
    """Variance after over variance before for white noise, shape (...): above 1, noise grew."""
    sentence: str
    """What was done."""


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
    counts: np.ndarray, zero_loss: np.ndarray, *, gain: float = 1.0, read_noise: float = 0.0
) -> Deconvolved:
    r"""Return the single-scattering spectrum of low losses, at the resolution they have.

    It needs all losses from the zero-loss peak on, on one axis, and many electrons: at low dose
    fit a model that is convolved instead, and deconvolve sums of many pixels only.

    Parameters
    ----------
    counts
        Spectra from before the zero-loss peak on, shape (..., E) [counts].
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
        Shapes differ, or the peak is empty or exceeds the spectrum.

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
    data, peak = _checked(counts, zero_loss)
    elastic, total = peak.sum(axis=-1), data.sum(axis=-1)
    if not ((elastic > 0) & (elastic <= total * (1 + 1e-9))).all():
        raise ParameterError(
            "zero_loss holds no counts, or more than the spectrum: give the part of the spectrum "
            "up to the first losses, as from `elastic_peak`"
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
    error, growth = _propagated(kernel, variance)
    return Deconvolved(
        counts=result,
        error=error,
        noise_gain=growth,
        sentence=f"plural scattering was taken out by Fourier-log deconvolution; t/λ is "
        f"{float(np.median(np.log(total / elastic))):.2f}, and the variance of white noise changes "
        f"by {float(np.median(growth)):.2g}",
    )


def fourier_ratio(
    counts: np.ndarray,
    low_loss: np.ndarray,
    zero_loss: np.ndarray,
    *,
    gain: float = 1.0,
    read_noise: float = 0.0,
    variance: np.ndarray | None = None,
) -> Deconvolved:
    r"""Return a core loss as single scattering would have made it.

    Parameters
    ----------
    counts
        An edge whose background has been subtracted, shape (..., E) [counts].
    low_loss
        Low losses with the zero-loss peak in channels of the same width, shape (..., L) or (L,);
        their exposure may be another.
    zero_loss
        The zero-loss peak within them, same shape as `low_loss`.
    gain
        Counts per electron.
    read_noise
        Standard deviation of the readout per channel [counts].
    variance
        Variance of each channel of `counts` if the subtracted background is to count, (..., E).

    Returns
    -------
    Deconvolved
        The edge at the resolution of the low losses, its sum that of `counts` times
        :math:`e^{-t/\lambda}`. The zero-loss peak's place is taken for 0: nothing is shifted.

    Raises
    ------
    ParameterError
        Shapes differ, or the zero-loss peak is empty.

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
    data = np.asarray(check_spectra("counts", counts), dtype=float)
    low, peak = _checked(low_loss, zero_loss)
    if not (peak.sum(axis=-1) > 0).all():
        raise ParameterError("zero_loss holds no counts: give the peak within low_loss")
    padded, size = _padded(data, low.shape[-1])
    low_padded, _ = _padded(low)
    spread = np.maximum(data, 0) * gain + read_noise**2 if variance is None else variance
    z, l = np.fft.rfft(peak, size), np.fft.rfft(low_padded, size)  # noqa: E741
    known = _above_noise(l, z, gain * np.maximum(low, 0) + read_noise**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        transfer = np.where(known, z / l, 0)
    result = np.fft.irfft(np.fft.rfft(padded, size) * transfer, size)[..., : data.shape[-1]]
    kernel = np.fft.irfft(transfer, size)
    error, growth = _propagated(kernel, np.broadcast_to(spread, data.shape))
    return Deconvolved(
        counts=result,
        error=error,
        noise_gain=growth,
        sentence="plural scattering was taken out by Fourier-ratio deconvolution; the variance of "
        f"white noise changes by {float(np.median(growth)):.2g}",
    )


def _checked(counts: np.ndarray, zero_loss: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    data = np.asarray(check_spectra("counts", counts), dtype=float)
    peak = np.asarray(check_spectra("zero_loss", zero_loss), dtype=float)
    if peak.shape not in (data.shape, data.shape[-1:]):
        raise ParameterError(
            f"zero_loss has shape {peak.shape}: expected {data.shape} or {data.shape[-1:]}"
        )
    if not (np.isfinite(data).all() and np.isfinite(peak).all()):
        raise ParameterError(
            "the spectra hold NaN or infinite counts: repair or leave out those spectra"
        )
    return data, peak


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

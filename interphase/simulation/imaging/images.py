"""Noiseless images, from an exit wave."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from interphase.errors import ParameterError
from interphase.simulation.checks import check_count, check_finite, check_positive
from interphase.simulation.imaging.optics import Optics
from interphase.simulation.imaging.waves import ExitWave, quiet

if TYPE_CHECKING:
    import abtem


def image_from_exit_wave(wave: ExitWave, optics: Optics) -> np.ndarray:
    r"""Return the expected intensity of an image, 1 in vacuum.

    Of frozen phonons it is the mean over the configurations.

    Parameters
    ----------
    wave
        The exit wave.
    optics
        Aberrations and coherence.

    Returns
    -------
    ndarray of shape (M, N)
        Single precision.

    Notes
    -----
    Partial coherence is quasi-coherent: envelopes on the wave (see `Optics.transfer`) give the
    interference of the undiffracted beam with each of the others rightly. That of two diffracted
    beams is damped too much, which matters for thick crystals on a zone axis. There, average
    over the focus: `images_from_exit_wave` of a series of defoci without `focal_spread_a`.
    """
    return np.asarray(images_from_exit_wave(wave, [optics])[0])


def images_from_exit_wave(wave: ExitWave, series: Sequence[Optics]) -> np.ndarray:
    """Return a series of images of one exit wave, such as a defocus series.

    Parameters
    ----------
    wave
        The exit wave; it is transformed once.
    series
        Aberrations and coherence of each of K images.

    Returns
    -------
    ndarray of shape (K, M, N)
        As from `image_from_exit_wave`.

    Examples
    --------
    >>> flat = np.ones((8, 8), dtype=np.complex64)
    >>> vacuum = ExitWave(array=flat, pixel_size_a=(0.5, 0.5), beam_energy_kev=300.0)
    >>> images = images_from_exit_wave(vacuum, [Optics(defocus_a=f) for f in (0.0, 500.0)])
    >>> images.mean(axis=(1, 2)).tolist()
    [1.0, 1.0]
    """
    spectrum = wave_spectrum(wave)
    images = np.empty((len(series), *wave.array.shape[-2:]), dtype=np.float32)
    for image, optics in zip(images, series, strict=True):
        image[:] = intensity(image_wave(spectrum, optics, wave.beam_energy_kev))
    return images


def wave_spectrum(wave: ExitWave) -> "abtem.Waves":
    """Return an exit wave in reciprocal space as abTEM's waves, axes (x, y)."""
    import abtem
    from abtem.core.axes import FrozenPhononsAxis

    with abtem.config.set(quiet("cpu")):
        return abtem.Waves(
            np.swapaxes(wave.array, -2, -1),
            energy=wave.beam_energy_kev * 1e3,
            sampling=wave.pixel_size_a[::-1],
            ensemble_axes_metadata=[FrozenPhononsAxis()] * (wave.array.ndim - 2),
        ).ensure_reciprocal_space()


def image_wave(spectrum: "abtem.Waves", optics: Optics, beam_energy_kev: float) -> np.ndarray:
    """Return the complex amplitude in the image plane, shape (..., M, N)."""
    import abtem

    with abtem.config.set(quiet("cpu")):
        waves = spectrum.apply_ctf(optics.transfer(beam_energy_kev)).ensure_real_space()
    return np.swapaxes(waves.array, -2, -1)


def intensity(amplitude: np.ndarray) -> np.ndarray:
    """Return the squared modulus, averaged over configurations, shape (M, N)."""
    squared: np.ndarray = amplitude.real**2 + amplitude.imag**2
    return squared.mean(axis=0) if squared.ndim == 3 else squared


def resample(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a periodic image on a coarser grid, free of aliasing.

    Parameters
    ----------
    image
        Shape (M, N).
    shape
        Pixels afterwards, at most (M, N).

    Returns
    -------
    ndarray of shape `shape`
        Single precision; the mean is kept.

    Raises
    ------
    ParameterError
        `shape` is finer than the image, or no number of pixels.

    Examples
    --------
    >>> wave = np.cos(2 * np.pi * np.arange(12) / 12) * np.ones((12, 1))
    >>> np.round(resample(wave, (6, 6))[0], 3).tolist()
    [1.0, 0.5, -0.5, -1.0, -0.5, 0.5]
    """
    check_count(shape=shape)
    rows, columns = image.shape
    if shape[0] > rows or shape[1] > columns:
        raise ParameterError(
            f"an image of {image.shape} pixels cannot be resampled to {shape}: give at most as many"
        )
    return sample_window(
        image,
        (rows, columns),
        origin_a=(0.0, 0.0),
        pixel_size_a=(rows / shape[0], columns / shape[1]),
        shape=shape,
    )


def sample_window(
    image: np.ndarray,
    size_a: tuple[float, float],
    *,
    origin_a: tuple[float, float],
    pixel_size_a: float | tuple[float, float],
    shape: tuple[int, int],
) -> np.ndarray:
    """Return part of a periodic image on another grid, exactly and free of aliasing.

    The Fourier series of the image is summed at the new points, less the frequencies that the
    old or new pixels cannot show, Nyquist's included. An image whose darkest places are sharper
    than the new pixels may ring a little below 0 around them.

    Parameters
    ----------
    image
        Shape (M, N), periodic.
    size_a
        Its extent (y, x) [Å].
    origin_a
        Where the new first pixel lies (y, x) [Å].
    pixel_size_a
        Size of the new pixels, or (y, x) of it [Å].
    shape
        Number of the new pixels.

    Returns
    -------
    ndarray of shape `shape`
        Single precision.

    Raises
    ------
    ParameterError
        A size is not positive, or a number of pixels is not whole.

    Examples
    --------
    >>> wave = np.cos(2 * np.pi * np.arange(12) / 12) * np.ones((12, 1))
    >>> part = sample_window(
    ...     wave, (6.0, 6.0), origin_a=(0.0, 1.5), pixel_size_a=0.75, shape=(1, 3)
    ... )
    >>> (part[0].astype(float).round(3) + 0.0).tolist()
    [0.0, -0.707, -1.0]
    """
    from scipy.fft import fft2

    check_positive(size_a=size_a, pixel_size_a=pixel_size_a)
    check_finite(origin_a=origin_a)
    check_count(shape=shape)
    pixel = np.broadcast_to(pixel_size_a, 2)
    series = fft2(np.asarray(image, dtype=np.float32), norm="forward")
    for axis in (0, 1):
        series = _summed(
            np.moveaxis(series, axis, -1), size_a[axis], origin_a[axis], pixel[axis], shape[axis]
        )
        series = np.moveaxis(series, -1, axis)
    return np.asarray(series.real, dtype=np.float32)


def _summed(
    series: np.ndarray, size_a: float, origin_a: float, pixel_a: float, pixels: int
) -> np.ndarray:
    """Return a Fourier series over the last axis at new points.

    By a chirp z-transform, which unlike a product of matrices gives the same digits on any number
    of threads.
    """
    from scipy.signal import czt

    old = size_a / series.shape[-1]
    # Less a little, so that rounding does not let Nyquist's frequency through.
    highest = int(np.ceil(size_a * (0.5 - 1e-9) / max(old, pixel_a))) - 1
    orders = np.arange(-highest, highest + 1)
    turn = 2j * np.pi / size_a
    at = origin_a + np.arange(pixels) * pixel_a
    summed = czt(series[..., orders], pixels, w=np.exp(turn * pixel_a), a=np.exp(-turn * origin_a))
    return np.asarray(summed * np.exp(-turn * highest * at))

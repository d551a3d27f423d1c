"""Noiseless images, from an exit wave."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from interphase.errors import ParameterError
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
        `shape` is finer than the image.

    Examples
    --------
    >>> wave = np.cos(2 * np.pi * np.arange(12) / 12) * np.ones((12, 1))
    >>> np.round(resample(wave, (6, 6))[0], 3).tolist()
    [1.0, 0.5, -0.5, -1.0, -0.5, 0.5]
    """
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
    old or new pixels cannot show, Nyquist's included.

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

    pixel = np.broadcast_to(pixel_size_a, 2)
    spectrum = fft2(np.asarray(image, dtype=np.float32), norm="forward")
    waves = []
    for axis in (0, 1):
        old = size_a[axis] / image.shape[axis]
        frequency = np.fft.fftfreq(image.shape[axis], old)
        # Less a little, so that rounding does not let Nyquist's frequency through.
        shown = np.abs(frequency) * max(old, pixel[axis]) < 0.5 - 1e-9
        spectrum = np.compress(shown, spectrum, axis=axis)
        at = origin_a[axis] + np.arange(shape[axis]) * pixel[axis]
        waves.append(np.exp(2j * np.pi * at[:, None] * frequency[shown]).astype(np.complex64))
    return np.asarray((waves[0] @ spectrum @ waves[1].T).real, dtype=np.float32)

"""From expected intensities to recorded counts."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from interphase.errors import ParameterError


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """A camera: which electrons it sees, and what it writes down for them.

    The noise is that of counting; the transfer acts on the signal alone, so the detective
    quantum efficiency is ``dqe0 * mtf(k)**2``.
    """

    dqe0: float = 1.0
    """Detective quantum efficiency at zero frequency: the share of electrons that count."""
    mtf: Callable[[np.ndarray], np.ndarray] | None = None
    """Transfer as a function of frequency over Nyquist's; ``None`` for 1 everywhere."""
    gain: float = 1.0
    """Counts per detected electron."""
    read_noise: float = 0.0
    """Standard deviation of the readout [counts]; 0 for a counting camera."""

    def __post_init__(self) -> None:
        if not 0 < self.dqe0 <= 1:
            raise ParameterError(f"dqe0 is {self.dqe0!r}: expected a share above 0, at most 1")
        if not self.gain > 0:
            raise ParameterError(f"gain is {self.gain!r}: expected counts per electron > 0")
        if not self.read_noise >= 0:
            raise ParameterError(f"read_noise is {self.read_noise!r}: expected counts >= 0")


IDEAL_COUNTER = Detector()
"""Counts every electron once, in the pixel it hits."""


def record_counts(
    intensity: np.ndarray,
    *,
    dose_e_per_a2: float,
    pixel_size_a: float,
    detector: Detector = IDEAL_COUNTER,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return what a camera records of an expected image.

    Parameters
    ----------
    intensity
        Expected intensity, 1 in vacuum, shape (..., M, N).
    dose_e_per_a2
        Dose at the specimen [e/Å²].
    pixel_size_a
        Size of a pixel at the specimen [Å].
    detector
        The camera.
    rng
        Source of randomness.

    Returns
    -------
    ndarray of the shape of `intensity`
        Counts, single precision.

    Raises
    ------
    ParameterError
        Dose or pixel size is not a positive number.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> counts = record_counts(
    ...     np.ones((400, 400)), dose_e_per_a2=100, pixel_size_a=0.5, rng=rng
    ... )
    >>> round(float(counts.mean()), 1), round(float(counts.var()), 1)
    (25.0, 25.0)
    """
    if not 0 <= dose_e_per_a2 < float("inf"):
        raise ParameterError(f"dose_e_per_a2 is {dose_e_per_a2!r}: expected a number >= 0")
    if not 0 < pixel_size_a < float("inf"):
        raise ParameterError(f"pixel_size_a is {pixel_size_a!r}: expected a number > 0")
    electrons = intensity * (dose_e_per_a2 * pixel_size_a**2)
    return record_electrons(electrons, detector=detector, rng=rng)


def record_electrons(
    electrons: np.ndarray, *, detector: Detector = IDEAL_COUNTER, rng: np.random.Generator
) -> np.ndarray:
    """Return what a camera records where so many electrons are expected per pixel.

    Parameters
    ----------
    electrons
        Expected electrons per pixel, shape (..., M, N).
    detector
        The camera.
    rng
        Source of randomness.

    Returns
    -------
    ndarray of the shape of `electrons`
        Counts, single precision.
    """
    if detector.mtf is not None:
        shape = electrons.shape[-2:]
        over_nyquist = 2 * np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1]))
        electrons = np.fft.irfft2(np.fft.rfft2(electrons) * detector.mtf(over_nyquist), s=shape)
        electrons = np.clip(electrons, 0, None)
    counts = detector.gain * rng.poisson(detector.dqe0 * electrons)
    if detector.read_noise:
        counts = counts + rng.normal(0, detector.read_noise, counts.shape)
    return np.asarray(counts, dtype=np.float32)


def movie(
    intensity: np.ndarray,
    *,
    dose_e_per_a2: float,
    frames: int,
    pixel_size_a: float,
    drift_a: np.ndarray | tuple[float, float] = (0.0, 0.0),
    detector: Detector = IDEAL_COUNTER,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return frames of a drifting specimen that share a dose equally.

    Parameters
    ----------
    intensity
        Expected intensity, 1 in vacuum, periodic, shape (M, N).
    dose_e_per_a2
        Dose of all frames together [e/Å²].
    frames
        Number of frames F.
    pixel_size_a
        Size of a pixel at the specimen [Å].
    drift_a
        Movement (y, x) from one frame to the next [Å], or the position in every frame,
        shape (F, 2).
    detector
        The camera.
    rng
        Source of randomness.

    Returns
    -------
    ndarray of shape (F, M, N)
        Counts, single precision.

    Raises
    ------
    ParameterError
        There is no frame, or `drift_a` has another shape.
    """
    if frames < 1:
        raise ParameterError(f"frames is {frames!r}: expected at least 1")
    drift = np.asarray(drift_a, dtype=float)
    positions = np.arange(frames)[:, None] * drift if drift.shape == (2,) else drift
    if positions.shape != (frames, 2):
        raise ParameterError(
            f"drift_a has shape {drift.shape}: expected (2,) for a steady drift or ({frames}, 2)"
        )
    rows, columns = intensity.shape
    spectrum = np.fft.rfft2(intensity)
    ky, kx = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)
    recorded = np.empty((frames, rows, columns), dtype=np.float32)
    for frame, (y, x) in enumerate(positions / pixel_size_a):
        moved = np.fft.irfft2(spectrum * np.exp(-2j * np.pi * (ky * y + kx * x)), s=(rows, columns))
        recorded[frame] = record_counts(
            np.clip(moved, 0, None),
            dose_e_per_a2=dose_e_per_a2 / frames,
            pixel_size_a=pixel_size_a,
            detector=detector,
            rng=rng,
        )
    return recorded

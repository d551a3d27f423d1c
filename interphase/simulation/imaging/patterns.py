"""Diffraction patterns of a selected area, from an exit wave."""

from dataclasses import dataclass

import numpy as np

from interphase.errors import ParameterError
from interphase.simulation.checks import check_count, check_finite, check_not_negative
from interphase.simulation.imaging.detectors import IDEAL_COUNTER, Detector, record_electrons
from interphase.simulation.imaging.waves import ExitWave


@dataclass(frozen=True, slots=True, kw_only=True)
class BeamStop:
    """A disc on an arm that keeps the undiffracted beam from the camera."""

    radius_per_a: float
    """Radius of the disc [1/Å]."""
    arm_width_per_a: float = 0.0
    """Width of the arm, a bar from the centre to the edge; 0 for none [1/Å]."""
    arm_deg: float = 0.0
    """Where the arm comes from, from columns towards rows [degrees]."""

    def __post_init__(self) -> None:
        check_not_negative(radius_per_a=self.radius_per_a, arm_width_per_a=self.arm_width_per_a)
        check_finite(arm_deg=self.arm_deg)

    def blocks(self, ky: np.ndarray, kx: np.ndarray) -> np.ndarray:
        """Return which places of a pattern [1/Å] lie in the shadow.

        >>> stop = BeamStop(radius_per_a=0.1, arm_width_per_a=0.04, arm_deg=90.0)
        >>> stop.blocks(np.array([0.05, 0.5, -0.5]), np.zeros(3)).tolist()
        [True, True, False]
        """
        azimuth = np.deg2rad(self.arm_deg)
        along = kx * np.cos(azimuth) + ky * np.sin(azimuth)
        across = ky * np.cos(azimuth) - kx * np.sin(azimuth)
        arm = (along > 0) & (np.abs(across) < self.arm_width_per_a / 2)
        blocked: np.ndarray = (np.hypot(ky, kx) < self.radius_per_a) | arm
        return blocked


def diffraction_intensity(
    wave: ExitWave,
    *,
    aperture_diameter_a: float,
    pixels: int | None = None,
    reciprocal_pixel_size_per_a: float | None = None,
) -> tuple[np.ndarray, float]:
    r"""Return the expected share of electrons in each pixel of a selected-area pattern.

    The beam is parallel and the aperture lies in the plane of the specimen. Of frozen phonons it
    is the mean over the configurations.

    Parameters
    ----------
    wave
        The exit wave, of a field of any shape.
    aperture_diameter_a
        Diameter of the selected area, in the middle of the field [Å]; its edge is soft over
        a tenth of it.
    pixels
        Pixels K along each side of the camera; by default as many as the sampling of the wave
        has frequencies for.
    reciprocal_pixel_size_per_a
        Size of a pixel [1/Å], at most one over the aperture's diameter, so that no spot falls
        between pixels; by default one over the longer side of the field.

    Returns
    -------
    pattern
        Share of the electrons that pass the aperture, undiffracted beam at (K // 2, K // 2),
        shape (K, K). It sums to 1 if the camera shows all frequencies of the wave.
    reciprocal_pixel_size_per_a
        Size of a pixel [1/Å].

    Raises
    ------
    ParameterError
        The aperture is larger than the field, or the pixels are too large or too many.

    Notes
    -----
    :math:`|\sum_\mathbf{r} a\psi\, e^{-2\pi i \mathbf{kr}}|^2\, q^2 p_y p_x / \sum |a\psi|^2`
    with the aperture's amplitude a and pixels p of the wave and q of the pattern.
    """
    sides = np.asarray(wave.array.shape[-2:]) * wave.pixel_size_a
    step = 1 / sides.max() if reciprocal_pixel_size_per_a is None else reciprocal_pixel_size_per_a
    if not 0 < aperture_diameter_a <= sides.min() * (1 + 1e-9):
        raise ParameterError(
            f"aperture_diameter_a is {aperture_diameter_a!r}: expected more than 0 and at most "
            f"the field of {sides.min():.1f} Å"
        )
    if not 0 < step * aperture_diameter_a <= 1 + 1e-9:
        raise ParameterError(
            f"reciprocal_pixel_size_per_a is {step!r}: expected more than 0 and at most "
            f"{1 / aperture_diameter_a:.6f} 1/Å for an aperture of {aperture_diameter_a} Å"
        )
    largest = int(1 / (max(wave.pixel_size_a) * step) + 1e-6)
    pixels = largest if pixels is None else pixels
    check_count(pixels=pixels)
    if pixels > largest:
        raise ParameterError(
            f"{pixels} pixels of {step:.5f} 1/Å do not lie within the frequencies of a wave "
            f"sampled at {max(wave.pixel_size_a):.3f} Å: give at most {largest}, or larger pixels"
        )
    passed = wave.array * _soft_aperture(wave, aperture_diameter_a)
    power = np.abs(_spectrum_at(passed, wave.pixel_size_a, step, pixels)) ** 2
    total = np.sum(np.abs(passed) ** 2)
    if power.ndim == 3:
        power = power.sum(axis=0)
    return power * (step**2 * np.prod(wave.pixel_size_a) / total), step


def _spectrum_at(
    array: np.ndarray, pixel_size_a: tuple[float, float], step: float, pixels: int
) -> np.ndarray:
    """Return the Fourier sum over the last two axes at pixels of a size, 0 in the middle."""
    from scipy.signal import zoom_fft

    first = -(pixels // 2) * step
    for axis in (-2, -1):
        array = zoom_fft(
            array, [first, first + pixels * step], m=pixels, fs=1 / pixel_size_a[axis], axis=axis
        )
    return array


def _soft_aperture(wave: ExitWave, diameter_a: float) -> np.ndarray:
    """Return the transmitted amplitude of a disc with a soft rim, shape of the field."""
    y, x = (
        (np.arange(n) - n // 2) * pixel
        for n, pixel in zip(wave.array.shape[-2:], wave.pixel_size_a, strict=True)
    )
    radius = np.hypot(y[:, None], x)
    aperture: np.ndarray = np.clip((diameter_a / 2 - radius) / (0.1 * diameter_a), 0, 1)
    return aperture


def diffraction_pattern(
    wave: ExitWave,
    *,
    aperture_diameter_a: float,
    dose_e_per_a2: float,
    pixels: int | None = None,
    reciprocal_pixel_size_per_a: float | None = None,
    beam_stop: BeamStop | None = None,
    detector: Detector = IDEAL_COUNTER,
    exposure_time_s: float | None = None,
    rng: np.random.Generator,
) -> tuple[np.ndarray, float]:
    """Return a recorded selected-area pattern.

    Parameters
    ----------
    wave
        The exit wave.
    aperture_diameter_a
        Diameter of the selected area [Å].
    dose_e_per_a2
        Dose at the specimen [e/Å²].
    pixels, reciprocal_pixel_size_per_a
        See `diffraction_intensity`.
    beam_stop
        What shades the camera; ``None`` for nothing.
    detector
        The camera.
    exposure_time_s
        See `record_counts`.
    rng
        Source of randomness.

    Returns
    -------
    pattern
        Counts, undiffracted beam at (K // 2, K // 2), shape (K, K). An ideal counter without a
        beam stop counts every electron that passes the aperture.
    reciprocal_pixel_size_per_a
        Size of a pixel [1/Å].
    """
    check_not_negative(dose_e_per_a2=dose_e_per_a2)
    share, step = diffraction_intensity(
        wave,
        aperture_diameter_a=aperture_diameter_a,
        pixels=pixels,
        reciprocal_pixel_size_per_a=reciprocal_pixel_size_per_a,
    )
    if beam_stop is not None:
        k = (np.arange(len(share)) - len(share) // 2) * step
        share = np.where(beam_stop.blocks(*np.meshgrid(k, k, indexing="ij")), 0.0, share)
    passed = np.abs(wave.array * _soft_aperture(wave, aperture_diameter_a)) ** 2
    area_a2 = passed.sum(axis=(-2, -1)).mean() * np.prod(wave.pixel_size_a)
    electrons = share * (dose_e_per_a2 * area_a2)
    counts = record_electrons(
        electrons, detector=detector, exposure_time_s=exposure_time_s, rng=rng
    )
    return counts, step

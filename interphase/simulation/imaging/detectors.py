"""From expected intensities to recorded counts."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

import numpy as np

from interphase.errors import ParameterError
from interphase.simulation.checks import check_count, check_not_negative, check_positive

_LARGEST_UNDERSHOOT = 1e-3
"""Electrons below 0 over all of an image that are taken for the ringing of its resampling, which
reaches 3e-5 in images of interphases; more of them are a mistake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    r"""A transfer function through two values that a camera's user has measured.

    With the detective quantum efficiency measured at three frequencies, the roots of its ratios
    are such values: ``Transfer(at_half_nyquist=(dqe_half / dqe0) ** 0.5, ...)``.

    Notes
    -----
    :math:`T(f) = \exp(-a f^b)` for f over Nyquist's frequency, which is 1 at f = 0.

    Examples
    --------
    >>> transfer = Transfer(at_half_nyquist=0.8, at_nyquist=0.4)
    >>> transfer(np.array([0.0, 0.5, 1.0])).round(3).tolist()
    [1.0, 0.8, 0.4]
    """

    at_half_nyquist: float
    """Transfer at half of Nyquist's frequency."""
    at_nyquist: float
    """Transfer at Nyquist's frequency."""

    def __post_init__(self) -> None:
        if not 0 < self.at_nyquist < self.at_half_nyquist < 1:
            raise ParameterError(
                f"a transfer of {self.at_half_nyquist!r} at half of Nyquist's frequency and "
                f"{self.at_nyquist!r} at Nyquist's: expected values that fall, between 1 and 0"
            )

    def __call__(self, over_nyquist: np.ndarray) -> np.ndarray:
        """Return the transfer at frequencies over Nyquist's."""
        steepness = -np.log(self.at_nyquist)
        power = np.log2(np.log(self.at_nyquist) / np.log(self.at_half_nyquist))
        return np.asarray(np.exp(-steepness * np.asarray(over_nyquist) ** power))


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    r"""A camera: which electrons it sees, and what it writes down for them.

    No camera's figures are built in: they depend on dose rate, energy and method, so measure
    them or take those of your own.

    Notes
    -----
    In the order of what happens to an electron: it is scattered in the sensor before it acts,
    with transfer MTF/NTF, which blurs the signal and leaves noise white; it is detected or not;
    it is lost beside another one (`coincidence_px`); it makes counts, not always as many; these
    spread over pixels with transfer NTF, which shapes signal and noise alike; the readout adds
    white noise. So the detective quantum efficiency is
    :math:`\mathrm{DQE}(k) = \mathrm{DQE}_0\,[\mathrm{MTF}(k)/\mathrm{NTF}(k)]^2` before readout, as
    for any chain of such stages [1]_. The MTF includes the pixel's own.

    In a frame of a counting camera electrons that share a square of A pixels are counted as one,
    so of :math:`\lambda` electrons per pixel and frame :math:`(1 - e^{-\lambda A})/A` are
    counted [2]_. That coincidence also makes counts at low frequencies more even than Poisson's
    is left out.

    References
    ----------
    .. [1] I. A. Cunningham et al., Med. Phys. 21, 417 (1994), doi:10.1118/1.597401
    .. [2] P. Zambon, Front. Phys. 12, 1408430 (2024), doi:10.3389/fphy.2024.1408430

    Examples
    --------
    >>> camera = Detector(dqe0=0.8, mtf=Transfer(at_half_nyquist=0.8, at_nyquist=0.5))
    >>> camera.dqe(np.array([0.0, 1.0])).round(3).tolist()
    [0.8, 0.2]
    """

    dqe0: float = 1.0
    """Detective quantum efficiency at zero frequency, before readout."""
    mtf: Callable[[np.ndarray], np.ndarray] | None = None
    """Transfer of signal as a function of frequency over Nyquist's, such as `Transfer`; ``None``
    for 1 everywhere."""
    ntf: Callable[[np.ndarray], np.ndarray] | None = None
    """Transfer of noise, at least that of signal; ``None`` for 1 everywhere, as in a counting
    camera."""
    gain: float = 1.0
    """Counts per detected electron, on average."""
    gain_spread: float = 0.0
    """Standard deviation of the counts of one electron over their mean, which follow a gamma
    distribution; 0 for a counting camera."""
    read_noise: float = 0.0
    """Standard deviation of the readout [counts]; 0 for a counting camera."""
    saturation: float = float("inf")
    """Largest number that a pixel can hold [counts]."""
    coincidence_px: int = 0
    """Side of the square in which two electrons of one frame are counted as one [px]; 0 where
    none is lost."""
    frame_rate_hz: float | None = None
    """Frames per second that a counting camera counts in, not those that it saves [Hz]."""

    def __post_init__(self) -> None:
        if not 0 < self.dqe0 <= 1:
            raise ParameterError(f"dqe0 is {self.dqe0!r}: expected a share above 0, at most 1")
        check_positive(gain=self.gain)
        check_not_negative(gain_spread=self.gain_spread, read_noise=self.read_noise)
        check_count(0, coincidence_px=self.coincidence_px)
        if self.frame_rate_hz is not None:
            check_positive(frame_rate_hz=self.frame_rate_hz)
        if not self.saturation > 0:
            raise ParameterError(f"saturation is {self.saturation!r}: expected counts > 0")
        if self.detected_share > 1:
            raise ParameterError(
                f"dqe0 is {self.dqe0} with a gain_spread of {self.gain_spread}: such a camera "
                f"reaches {1 / (1 + self.gain_spread**2):.3f} if it sees every electron"
            )
        if self.coincidence_px and self.frame_rate_hz is None:
            raise ParameterError(
                f"frame_rate_hz is {self.frame_rate_hz!r} with a coincidence_px of "
                f"{self.coincidence_px}: give the rate of the frames the camera counts in [Hz]"
            )
        self._check_transfers()

    def _check_transfers(self) -> None:
        for name in ("mtf", "ntf"):
            transfer = getattr(self, name)
            if transfer is not None and not callable(transfer):
                raise ParameterError(
                    f"{name} is {transfer!r}: expected a function of frequency over Nyquist's, "
                    "such as Transfer(at_half_nyquist=0.8, at_nyquist=0.4)"
                )
        at = np.linspace(0, np.sqrt(2), 33)
        signal, noise = self._signal(at), self._noise(at)
        if not (np.isclose(signal[0], 1) and np.isclose(noise[0], 1)):
            raise ParameterError(
                f"mtf(0) is {signal[0]:.3g} and ntf(0) is {noise[0]:.3g}: expected 1 at zero "
                "frequency, put the loss of electrons into dqe0"
            )
        if not ((signal <= noise * (1 + 1e-9)) & (noise > 0)).all():
            raise ParameterError(
                "mtf is above ntf, or ntf is 0: no camera transfers signal better than noise, give "
                "ntf >= mtf and above 0 up to √2 times Nyquist's frequency"
            )

    @property
    def detected_share(self) -> float:
        """Share of electrons that make counts: uneven counts cost 1 / (1 + gain_spread²)."""
        return self.dqe0 * (1 + self.gain_spread**2)

    def dqe(
        self, over_nyquist: np.ndarray, *, electrons_per_pixel: float = float("inf")
    ) -> np.ndarray:
        """Return the detective quantum efficiency without loss by coincidence.

        Parameters
        ----------
        over_nyquist
            Frequency over Nyquist's, any shape.
        electrons_per_pixel
            Exposure, which decides how much read noise matters.
        """
        share, noise = self.detected_share, self._noise(over_nyquist)
        counting = share * self.gain**2 * (1 + self.gain_spread**2) * noise**2
        signal = (share * self.gain * self._signal(over_nyquist)) ** 2
        return np.asarray(signal / (counting + self.read_noise**2 / electrons_per_pixel))

    def scattering(self, over_nyquist: np.ndarray) -> np.ndarray:
        """Return the transfer of signal that leaves noise as it is, MTF over NTF."""
        return np.asarray(self._signal(over_nyquist) / self._noise(over_nyquist))

    def _signal(self, over_nyquist: np.ndarray) -> np.ndarray:
        return np.ones_like(over_nyquist) if self.mtf is None else self.mtf(over_nyquist)

    def _noise(self, over_nyquist: np.ndarray) -> np.ndarray:
        return np.ones_like(over_nyquist) if self.ntf is None else self.ntf(over_nyquist)


IDEAL_COUNTER = Detector()
"""Counts every electron once, in the pixel it hits."""


def record_counts(
    intensity: np.ndarray,
    *,
    dose_e_per_a2: float,
    pixel_size_a: float,
    detector: Detector = IDEAL_COUNTER,
    exposure_time_s: float | None = None,
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
    exposure_time_s
        Time in which the dose is spread [s]; needed only where the camera loses electrons by
        coincidence.
    rng
        Source of randomness.

    Returns
    -------
    ndarray of the shape of `intensity`
        Counts, single precision.

    Raises
    ------
    ParameterError
        Dose or pixel size is not a positive number, the exposure time is missing, or the
        intensity is negative or no number somewhere.

    Notes
    -----
    An image that was resampled may ring a little below 0 around its darkest places. That is set
    to 0, and the rest is scaled to keep the electrons.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> counts = record_counts(
    ...     np.ones((400, 400)), dose_e_per_a2=100, pixel_size_a=0.5, rng=rng
    ... )
    >>> round(float(counts.mean()), 1), round(float(counts.var()), 1)
    (25.0, 25.0)
    """
    check_not_negative(dose_e_per_a2=dose_e_per_a2)
    check_positive(pixel_size_a=pixel_size_a)
    electrons = intensity * (dose_e_per_a2 * pixel_size_a**2)
    return record_electrons(electrons, detector=detector, exposure_time_s=exposure_time_s, rng=rng)


def record_electrons(
    electrons: np.ndarray,
    *,
    detector: Detector = IDEAL_COUNTER,
    exposure_time_s: float | None = None,
    axes: tuple[int, ...] = (-2, -1),
    rng: np.random.Generator,
) -> np.ndarray:
    """Return what a camera records where so many electrons are expected per pixel.

    Parameters
    ----------
    electrons
        Expected electrons per pixel, shape (..., M, N).
    detector
        The camera.
    exposure_time_s
        See `record_counts`.
    axes
        Axes that are the camera's, last among the axes: two for images, one for spectra. The
        others hold exposures that know nothing of each other.
    rng
        Source of randomness.

    Returns
    -------
    ndarray of the shape of `electrons`
        Counts, single precision; whole numbers from a counting camera.

    Raises
    ------
    ParameterError
        Electrons are negative or no number somewhere, or the exposure time is missing or not
        positive.
    """
    refuse_unexpected(electrons)
    if exposure_time_s is not None:
        check_positive(exposure_time_s=exposure_time_s)
    if detector.mtf is not None:
        electrons = _filtered(electrons, detector.scattering, axes)
    electrons = above_zero(electrons, axes)
    if detector.coincidence_px:
        electrons = electrons * _counted_share(electrons, detector, exposure_time_s, axes)
    counts: np.ndarray = rng.poisson(detector.detected_share * electrons)
    if detector.gain_spread:
        # The counts of n electrons are the sum of n gamma variables, which is one again.
        variance = detector.gain_spread**2
        counts = rng.gamma(counts / variance, variance)
    counts = detector.gain * counts
    if detector.ntf is not None:
        counts = _filtered(counts, detector.ntf, axes)
    if detector.read_noise:
        counts = counts + rng.normal(0, detector.read_noise, counts.shape)
    return np.asarray(np.minimum(counts, detector.saturation), dtype=np.float32)


def refuse_unexpected(intensity: np.ndarray) -> None:
    """Raise where an expected image is negative or no number.

    Parameters
    ----------
    intensity
        Expected intensity or electrons, any shape.
    """
    low, high = np.min(intensity, initial=0), np.max(intensity, initial=0)
    if low >= 0 and high < np.inf:
        return
    negative = intensity < 0
    if np.isfinite([low, high]).all():
        below = -np.sum(intensity, where=negative, dtype=float)
        if below <= _LARGEST_UNDERSHOOT * np.sum(intensity, dtype=float):
            return
    wrong = {
        "NaN": np.isnan(intensity),
        "infinite": np.isinf(intensity),
        "negative": negative & np.isfinite(intensity),
    }
    said = ", ".join(f"{where.sum()} are {word}" for word, where in wrong.items() if where.any())
    raise ParameterError(f"of {negative.size} expected pixels {said}: give finite intensities >= 0")


def above_zero(image: np.ndarray, axes: tuple[int, ...] = (-2, -1)) -> np.ndarray:
    """Return images whose negative values are 0, scaled to keep their sums over the axes.

    Examples
    --------
    >>> above_zero(np.array([[3.0, 1.0, -1.0]])).tolist()
    [[2.25, 0.75, 0.0]]
    """
    if np.min(image, initial=0) >= 0:
        return image
    clipped = np.clip(image, 0, None)
    sums = [np.sum(part, axis=axes, keepdims=True, dtype=float) for part in (image, clipped)]
    # What is empty but for rounding stays empty.
    kept = np.divide(np.maximum(sums[0], 0), sums[1], out=np.ones_like(sums[0]), where=sums[1] > 0)
    return np.asarray(clipped * kept)


def _filtered(
    image: np.ndarray, transfer: Callable[[np.ndarray], np.ndarray], axes: tuple[int, ...]
) -> np.ndarray:
    shape = tuple(image.shape[axis] for axis in axes)
    along = (*map(np.fft.fftfreq, shape[:-1]), np.fft.rfftfreq(shape[-1]))
    over_nyquist = 2 * reduce(np.hypot, np.ix_(*along))
    spectrum = np.fft.rfftn(image, axes=axes) * transfer(over_nyquist)
    return np.asarray(np.fft.irfftn(spectrum, s=shape, axes=axes))


def _counted_share(
    electrons: np.ndarray,
    detector: Detector,
    exposure_time_s: float | None,
    axes: tuple[int, ...],
) -> np.ndarray:
    """Return which share of electrons is counted, from how many are near in one frame."""
    from scipy.ndimage import uniform_filter

    if exposure_time_s is None:
        raise ParameterError(
            f"exposure_time_s is {exposure_time_s!r}: a camera that loses electrons by "
            "coincidence needs the time in which they arrive [s]"
        )
    frames = exposure_time_s * (detector.frame_rate_hz or 0.0)
    side = detector.coincidence_px
    per_frame = detector.detected_share * electrons / frames
    near = uniform_filter(per_frame, size=side, axes=axes, mode="wrap") * side ** len(axes)
    counted: np.ndarray = np.divide(-np.expm1(-near), near, out=np.ones_like(near), where=near > 0)
    return counted

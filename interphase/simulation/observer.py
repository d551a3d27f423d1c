r"""The best that any observer can do who knows what to look for, and where.

A crystallite's fringes of one set of planes are a plane wave under an envelope. Of an observer who
knows all but its phase, the best measure is the power behind the matched filter, and in units of
the mean power that noise and film leave there it is exponentially distributed without the
crystallite and a non-central χ² variable with it. Powers of several planes add.
"""

from dataclasses import dataclass

import numpy as np

from interphase.errors import ParameterError
from interphase.noise import detection_probability, detection_threshold
from interphase.simulation.checks import check_positive
from interphase.simulation.imaging.detectors import IDEAL_COUNTER, Detector

_RING_PER_A = 0.02
"""Half the width of the ring of frequencies over which the film's power is averaged [1/Å]."""
_LOWEST_DOSE, _HIGHEST_DOSE = 1e-2, 1e7
"""Between these doses half of the chance is looked for [e/Å²]."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FringePowers:
    """What one crystallite puts into an image, plane by plane, and what stands against it."""

    signal: np.ndarray
    """Power of the fringes behind their matched filters, in squares of the intensity in vacuum,
    shape (R,)."""
    film: np.ndarray
    """Mean power of the film behind the same filters, shape (R,)."""
    shot: np.ndarray
    """The same of counting noise, times the dose [e/Å²], shape (R,)."""

    def over_floor(self, dose_e_per_a2: float) -> np.ndarray:
        """Return the power of the fringes over that of film and noise together, shape (R,)."""
        return np.asarray(self.signal / (self.film + self.shot / dose_e_per_a2))


def fringe_powers(
    intensity: np.ndarray,
    film: np.ndarray,
    k_per_a: np.ndarray,
    *,
    centre_a: tuple[float, float],
    reach_a: float,
    spot_radius_per_a: float,
    pixel_size_a: float,
    detector: Detector = IDEAL_COUNTER,
) -> FringePowers:
    r"""Return the powers of a crystallite's fringes from noiseless images with and without it.

    Parameters
    ----------
    intensity
        Expected intensity, 1 in vacuum, shape (M, N).
    film
        The same without the crystallite, shape (M, N).
    k_per_a
        Spatial frequency (ky, kx) of its fringes, one of each Friedel pair [1/Å], shape (R, 2).
    centre_a
        Its centre (y, x) from the first pixel [Å].
    reach_a
        How far from there its fringes are, displaced ones included [Å].
    spot_radius_per_a
        How far from `k_per_a` their power lies [1/Å]; about 1.2 / diameter.
    pixel_size_a
        Size of a pixel [Å].
    detector
        The camera.

    Returns
    -------
    FringePowers
        Planes whose fringes the pixels cannot show have no signal.

    Notes
    -----
    With fringes :math:`\mathrm{Re}[e(\mathbf r) \exp 2\pi i \mathbf{k r}]` the matched filter is
    :math:`e / \sqrt{\sum |e|^2}` and the power behind it :math:`\sum |e|^2 / 4`, which by
    Parseval's theorem is the power around k in the transform of the difference of both images.
    Counting noise leaves :math:`\bar I / (N a^2\,\mathrm{DQE}(k))` for pixels a at the dose N.
    The difference also holds the film whose place the crystallite has taken. Its power, from the
    median around the ring of the same frequency, is taken off.
    """
    check_positive(reach_a=reach_a, spot_radius_per_a=spot_radius_per_a, pixel_size_a=pixel_size_a)
    if intensity.shape != film.shape:
        raise ParameterError(
            f"intensity is {intensity.shape} and film is {film.shape} pixels: expected the same "
            "field with and without crystallites"
        )
    axes = [np.fft.fftfreq(n, pixel_size_a) for n in film.shape]
    ky, kx = axes[0][:, None], axes[1]
    modulus = np.hypot(ky, kx)
    y, x = (np.arange(n) * pixel_size_a for n in film.shape)
    inside = np.hypot(y[:, None] - centre_a[0], x - centre_a[1]) <= reach_a
    fringes = np.abs(np.fft.fft2((intensity - film) * inside)) ** 2 / film.size
    diffuse = np.abs(np.fft.fft2(film - film.mean())) ** 2 / film.size
    nyquist = 0.5 / pixel_size_a
    k = np.linalg.norm(k_per_a, axis=1)
    shown = k < nyquist
    # Where neighbouring spots would meet, each keeps its half.
    all_k = np.concatenate([k_per_a, -k_per_a])
    apart = np.linalg.norm(k_per_a[:, None] - all_k, axis=2)
    apart[np.arange(len(k)), np.arange(len(k))] = np.inf
    radius = np.minimum(spot_radius_per_a, apart.min(axis=1, initial=np.inf) / 2)
    signal, ring = np.zeros(len(k)), np.zeros(len(k))
    for row in np.flatnonzero(shown):
        spot = np.hypot(ky - k_per_a[row, 0], kx - k_per_a[row, 1]) <= radius[row]
        around = np.abs(modulus - k[row]) <= _RING_PER_A
        lost_film = np.median(fringes[around]) / np.log(2)
        signal[row] = max(fringes[spot].sum() - lost_film * spot.sum(), 0.0)
        ring[row] = diffuse[around].mean()
    dqe = detector.dqe(np.where(shown, k, 0) / nyquist)
    return FringePowers(
        signal=signal,
        film=ring,
        shot=np.asarray(intensity[inside].mean() / (pixel_size_a**2 * dqe)),
    )


def observed_share(
    powers: FringePowers, dose_e_per_a2: float, *, false_alarm: float, places: float = 1.0
) -> float:
    """Return the probability that the observer sees a crystallite at a dose.

    Parameters
    ----------
    powers
        From `fringe_powers`.
    dose_e_per_a2
        Dose [e/Å²].
    false_alarm
        Probability to report one where there is none.
    places
        Number of independent places among which it has to be looked for; 1 for an observer who
        knows where it would be.

    Notes
    -----
    The powers of the m strongest planes, each over its floor, are added; of all m the best is
    taken. The likelihood ratio, which is better still, saves less than a tenth of the dose.

    Examples
    --------
    >>> one = FringePowers(signal=np.ones(1), film=np.zeros(1), shot=np.array([100.0]))
    >>> round(observed_share(one, 500.0, false_alarm=0.01), 3)
    0.615
    """
    check_positive(dose_e_per_a2=dose_e_per_a2)
    strongest = np.sort(powers.over_floor(dose_e_per_a2))[::-1]
    shares = [
        detection_probability(
            strongest[:m].mean(),
            detection_threshold(false_alarm=false_alarm, places=places, effective_spectra=m),
            effective_spectra=m,
        )
        for m in range(1, len(strongest) + 1)
    ]
    return float(max(shares, default=0.0))


def half_dose(powers: FringePowers, *, false_alarm: float, places: float = 1.0) -> float:
    """Return the dose at which the observer sees a crystallite in half of all exposures [e/Å²].

    Parameters
    ----------
    powers
        From `fringe_powers`.
    false_alarm, places
        See `observed_share`.

    Returns
    -------
    float
        Infinite where the film hides the fringes at any dose.

    Examples
    --------
    >>> one = FringePowers(signal=np.ones(1), film=np.zeros(1), shot=np.array([100.0]))
    >>> round(half_dose(one, false_alarm=0.01))
    409
    """
    from scipy.optimize import brentq

    def excess(log_dose: float) -> float:
        share = observed_share(
            powers, float(np.exp(log_dose)), false_alarm=false_alarm, places=places
        )
        return share - 0.5

    low, high = np.log([_LOWEST_DOSE, _HIGHEST_DOSE])
    if excess(high) < 0:
        return float("inf")
    if excess(low) > 0:
        return _LOWEST_DOSE
    return float(np.exp(brentq(excess, low, high, xtol=1e-4)))

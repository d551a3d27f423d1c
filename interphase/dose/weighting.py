r"""Frames of a movie added up with weights, as much of each as the beam has left of the specimen.

Structure of spacing 1/k whose power fades as :math:`e^{-N/N_e(k)}` with the accumulated dose N has
an amplitude of :math:`q = e^{-N/2N_e(k)}`. Counting noise does not fade. Of all ways to add frames
up, weights q give the largest ratio of signal to noise at every k, whatever the signal.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from interphase.dose.damage import mean_decay
from interphase.dose.exposure import Moment
from interphase.dose.frames import each_frame, movie_shape
from interphase.errors import ParameterError

OPTIMAL_EXPOSURE = 2.512862417252339
"""Dose over the critical dose up to which frames of equal weight should be added up: the root of
:math:`e^{x/2} = 1 + x`."""

_GRANT_GRIGORIEFF = {300.0: 1.0, 200.0: 0.8}


def grant_grigorieff_dose(k_per_a: np.ndarray | float, *, beam_energy_kev: float) -> np.ndarray:
    r"""Return the critical dose of vitrified protein at each spatial frequency.

    It stands for organic matter in ice. For the crystals of an interphase give their own
    critical dose.

    Parameters
    ----------
    k_per_a
        Spatial frequency [1/Å], any shape.
    beam_energy_kev
        200 or 300 keV: no others are published.

    Returns
    -------
    ndarray
        :math:`N_e` [e/Å²], at which power has fallen to 1/e; infinite at k = 0; same shape.

    Raises
    ------
    ParameterError
        A frequency is negative or no number, or the beam energy is another.

    Notes
    -----
    :math:`N_e = 0.24499\, k^{-1.6649} + 2.8141` at 300 kV, and 0.8 of that at 200 kV [1]_.

    References
    ----------
    .. [1] T. Grant and N. Grigorieff, eLife 4, e06980 (2015), doi:10.7554/eLife.06980

    Examples
    --------
    >>> grant_grigorieff_dose([0.1, 0.25, 0.5], beam_energy_kev=300).round(3).tolist()
    [14.139, 5.277, 3.591]
    """
    if beam_energy_kev not in _GRANT_GRIGORIEFF:
        raise ParameterError(
            f"beam_energy_kev is {beam_energy_kev!r}: the law is known at 200 and 300 keV; for "
            "another give a critical dose scaled with interphase.phases.dose_at_energy"
        )
    k = np.asarray(k_per_a, dtype=float)
    if not np.all(k >= 0):
        raise ParameterError(
            f"k_per_a is {k_per_a!r}: expected spatial frequencies of at least 0 1/Å"
        )
    with np.errstate(divide="ignore"):
        dose = 0.24499 * k**-1.6649 + 2.8141
    return np.asarray(_GRANT_GRIGORIEFF[beam_energy_kev] * dose)


def dose_weights(
    frame_dose_e_per_a2: np.ndarray,
    critical_dose_e_per_a2: np.ndarray | float,
    *,
    pre_exposure_e_per_a2: float = 0.0,
    at: Moment | None = None,
    stop_at_optimum: bool = False,
) -> np.ndarray:
    r"""Return what is left of amplitudes in each frame of a movie.

    Parameters
    ----------
    frame_dose_e_per_a2
        Dose of each frame [e/Å²], shape (F,).
    critical_dose_e_per_a2
        Dose at which power has fallen to 1/e [e/Å²], a number or one for each spatial frequency,
        shape (K, ...); infinite where nothing fades.
    pre_exposure_e_per_a2
        Dose before the first frame [e/Å²].
    at
        The moment of a frame whose accumulated dose stands for all of it. ``None``: the mean
        over the frame, which is what it recorded.
    stop_at_optimum
        Give no weight to frames that begin beyond `OPTIMAL_EXPOSURE` times the critical dose, the
        first frame excepted. They would add little, and only if the law of fading still holds
        there.

    Returns
    -------
    ndarray
        Shape (F, K, ...), 0 to 1.

    Raises
    ------
    ParameterError
        A dose is negative, not finite or no number.

    Notes
    -----
    :math:`q = e^{-N/2N_e}`; its mean over a frame from :math:`N` to :math:`N + n` is
    :math:`\frac{2N_e}{n} (e^{-N/2N_e} - e^{-(N+n)/2N_e})`.

    Examples
    --------
    >>> weights = dose_weights([20.0], [14.139, 5.277], at=Moment.END)
    >>> weights.round(4).tolist()
    [[0.493, 0.1503]]
    """
    doses = _checked_doses(frame_dose_e_per_a2)
    _check_pre_exposure(pre_exposure_e_per_a2)
    critical = np.asarray(critical_dose_e_per_a2, dtype=float)
    if not np.all(critical > 0):
        raise ParameterError(
            f"critical_dose_e_per_a2 is {critical.min():g} somewhere: expected doses above 0 e/Å²"
        )
    after = (pre_exposure_e_per_a2 + np.cumsum(doses)).reshape(-1, *[1] * critical.ndim)
    dose = doses.reshape(after.shape)
    before = after - dose
    if at is not None:
        before = after = before + Moment(at).fraction * dose
    weights = mean_decay(0.5 / critical, before, after)
    if stop_at_optimum:
        beyond = np.asarray(after - dose >= OPTIMAL_EXPOSURE * critical)
        beyond[0] = False
        weights = np.where(beyond, 0.0, weights)
    return weights


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DoseWeighting:
    """How frames are weighted by what the beam has left of the specimen.

    Examples
    --------
    >>> weighting = DoseWeighting(
    ...     frame_dose_e_per_a2=np.full(40, 1.0), pixel_size_a=0.5, critical_dose_e_per_a2=750.0
    ... )
    >>> weighting.weights(np.array([0.0, 0.376]))[[0, -1]].round(3).tolist()
    [[1.0, 1.0], [1.0, 0.974]]
    """

    frame_dose_e_per_a2: np.ndarray
    """Dose of each frame [e/Å²], shape (F,)."""
    pixel_size_a: float
    """Size of a pixel [Å]."""
    critical_dose_e_per_a2: float | Callable[[np.ndarray], np.ndarray]
    """Dose at which power has fallen to 1/e [e/Å²]: that of a phase, or a function of spatial
    frequency [1/Å] such as `grant_grigorieff_dose`."""
    pre_exposure_e_per_a2: float = 0.0
    """Dose before the first frame [e/Å²]."""
    at: Moment | None = None
    """The moment whose dose stands for a frame; ``None`` for the mean over it."""
    stop_at_optimum: bool = False
    """Whether frames beyond the optimal exposure are left out, see `dose_weights`."""

    def __post_init__(self) -> None:
        doses = _checked_doses(self.frame_dose_e_per_a2).copy()
        doses.setflags(write=False)
        object.__setattr__(self, "frame_dose_e_per_a2", doses)
        _check_pre_exposure(self.pre_exposure_e_per_a2)
        if not 0 < self.pixel_size_a < math.inf:
            raise ParameterError(f"pixel_size_a is {self.pixel_size_a!r}: expected a size in Å")
        critical = self.critical_dose_e_per_a2
        if not callable(critical) and not critical > 0:
            raise ParameterError(
                f"critical_dose_e_per_a2 is {critical!r}: expected a dose above 0 e/Å², or a "
                "function of spatial frequency [1/Å]"
            )

    def weights(self, k_per_a: np.ndarray) -> np.ndarray:
        """Return the weights of all frames at spatial frequencies [1/Å], shape (F, K, ...).

        That of k = 0 is 1: the mean counts do not fade.
        """
        k = np.asarray(k_per_a)
        fresh = np.exp(-self.pre_exposure_e_per_a2 / (2 * self._critical(k)))
        fresh = np.where(k == 0, 1.0, fresh)
        return np.stack([self.relative(f, k) * fresh for f in range(len(self.frame_dose_e_per_a2))])

    def relative(self, frame: int, k_per_a: np.ndarray) -> np.ndarray:
        """Return the weights of one frame over what was left before the first, same shape as k.

        Sums are the same with these, and they do not vanish after a large pre-exposure.
        """
        doses = self.frame_dose_e_per_a2
        before = float(doses[:frame].sum())
        critical = self._critical(k_per_a)
        weight = dose_weights(doses[[frame]], critical, pre_exposure_e_per_a2=before, at=self.at)[0]
        if self.stop_at_optimum and frame > 0:
            late = self.pre_exposure_e_per_a2 + before >= OPTIMAL_EXPOSURE * critical
            weight = np.where(late, 0.0, weight)
        return np.where(np.asarray(k_per_a) == 0, 1.0, weight)

    def _critical(self, k_per_a: np.ndarray) -> np.ndarray:
        critical = self.critical_dose_e_per_a2
        if not callable(critical):
            return np.full(np.shape(k_per_a), float(critical))
        found = np.asarray(critical(np.asarray(k_per_a)), dtype=float)
        if found.shape != np.shape(k_per_a) or not np.all(found > 0):
            raise ParameterError(
                "the function critical_dose_e_per_a2 gives no dose above 0 e/Å² for each of the "
                f"spatial frequencies: it returned shape {found.shape} for {np.shape(k_per_a)}"
            )
        return found


def aligned_sum(
    frames: Any, *, shifts_px: np.ndarray | None = None, weighting: DoseWeighting | None = None
) -> np.ndarray:
    r"""Return the sum of a movie's frames at their places, with weights, in one pass.

    Frames are read one after another and nothing but their sum is kept.

    Parameters
    ----------
    frames
        Counts, shape (F, M, N), an array of NumPy or Dask or a sequence of images.
    shifts_px
        How far the specimen is displaced in each frame (row, column) [px], shape (F, 2), as
        `Alignment.shifts_px`; ``None``: not at all.
    weighting
        Weights of the frames; ``None``: all alike.

    Returns
    -------
    ndarray of shape (M, N)
        Counts, single precision. What left the field on one side comes in on the other:
        `common_field` tells where all frames saw the specimen.

    Raises
    ------
    ParameterError
        The numbers of frames, shifts and doses differ, or there are values that are not finite.

    Notes
    -----
    Weighted frames are added up as

    .. math:: F = \sqrt{\frac{\sum_f n_f}{\sum_f n_f q_f^2}} \sum_f q_f F_f e^{2\pi i k \cdot s_f}

    with the dose :math:`n_f` of each frame. Counting noise has the power that it has in the plain
    sum, at every frequency, so what expects white noise of that power still finds it; at k = 0
    q is 1, so the counts are those of the plain sum, too.

    Examples
    --------
    >>> frames = np.random.default_rng(0).poisson(2.0, (3, 16, 16))
    >>> bool(np.allclose(aligned_sum(frames), frames.sum(axis=0), atol=1e-4))
    True
    """
    from scipy import fft

    from interphase.parallel import threads

    number, rows, columns = movie_shape(frames)
    shifts = np.zeros((number, 2)) if shifts_px is None else np.asarray(shifts_px, dtype=float)
    if shifts.shape != (number, 2) or not np.isfinite(shifts).all():
        raise ParameterError(
            f"shifts_px has the shape {shifts.shape}: expected finite (row, column) of each of the "
            f"{number} frames; a movie that could not be aligned has none"
        )
    if weighting is not None and len(weighting.frame_dose_e_per_a2) != number:
        raise ParameterError(
            f"weighting has the doses of {len(weighting.frame_dose_e_per_a2)} frames and there are "
            f"{number}: give one dose for each"
        )
    ky, kx = np.fft.fftfreq(rows)[:, None], np.fft.rfftfreq(columns)
    k = None if weighting is None else np.hypot(ky, kx) / weighting.pixel_size_a
    total = np.zeros((rows, len(kx)), dtype=np.complex64)
    power = np.zeros((rows, len(kx)), dtype=np.float32)
    for f, frame in enumerate(each_frame(frames)):
        spectrum = fft.rfft2(frame.astype(np.float32), workers=threads())
        if not np.isfinite(spectrum[0, 0]):
            raise ParameterError(
                f"frame {f} holds values that are not finite: leave it out, or fill them in"
            )
        along, across = (
            np.exp(2j * np.pi * q * s) for q, s in zip((ky, kx), shifts[f], strict=True)
        )
        spectrum *= (along * across).astype(np.complex64)
        if weighting is not None and k is not None:
            weight = weighting.relative(f, k).astype(np.float32)
            spectrum *= weight
            power += np.float32(weighting.frame_dose_e_per_a2[f]) * np.square(weight)
        total += spectrum
    if weighting is not None:
        # Where nothing is left there is nothing to add up.
        share = power / np.float32(weighting.frame_dose_e_per_a2.sum())
        total *= np.where(share > 0, 1 / np.sqrt(np.where(share > 0, share, 1)), 0)
    return np.asarray(fft.irfft2(total, s=(rows, columns), workers=threads()))


def common_field(shifts_px: np.ndarray, shape: tuple[int, int]) -> tuple[slice, slice]:
    """Return the rows and columns of an aligned sum that every frame saw.

    Parameters
    ----------
    shifts_px
        As of `aligned_sum`, shape (F, 2) [px].
    shape
        Rows and columns of the sum.

    Raises
    ------
    ParameterError
        No pixel was seen by all.

    Examples
    --------
    >>> common_field(np.array([[-2.5, 0.0], [2.5, 4.0]]), (64, 64))
    (slice(3, 61, None), slice(0, 60, None))
    """
    shifts = np.asarray(shifts_px, dtype=float)
    # A frame displaced by s shows rows -s to n - s of the specimen.
    first = np.ceil(np.maximum(-shifts.min(axis=0), 0)).astype(int)
    last = np.asarray(shape) - np.ceil(np.maximum(shifts.max(axis=0), 0)).astype(int)
    if np.any(first >= last):
        raise ParameterError(
            f"shifts_px reach from {shifts.min():g} to {shifts.max():g} px in a field of "
            f"{shape[0]} × {shape[1]}: no pixel was seen by all frames"
        )
    return slice(int(first[0]), int(last[0])), slice(int(first[1]), int(last[1]))


def _checked_doses(frame_dose_e_per_a2: np.ndarray) -> np.ndarray:
    doses = np.asarray(frame_dose_e_per_a2, dtype=float)
    if doses.ndim != 1 or not len(doses) or not np.all((doses > 0) & np.isfinite(doses)):
        raise ParameterError(
            f"frame_dose_e_per_a2 is {np.array2string(doses, threshold=6)}: expected a finite dose "
            "above 0 e/Å² for each frame; a 0 in a header means that the dose is not known"
        )
    return doses


def _check_pre_exposure(dose_e_per_a2: float) -> None:
    if not 0 <= dose_e_per_a2 < math.inf:
        raise ParameterError(
            f"pre_exposure_e_per_a2 is {dose_e_per_a2!r}: expected a finite dose of at least 0 e/Å²"
        )

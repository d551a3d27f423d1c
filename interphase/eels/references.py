"""How much of each reference spectrum is in a spectrum, and whether it is like any of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from interphase.assessment import Assessment
from interphase.eels.checks import (
    BLOCK_BYTES,
    blocks,
    check_axis,
    check_number,
    check_spectra,
    usable,
)
from interphase.errors import ParameterError

# Probability of the misfit below which a spectrum is like no sum of the references.
_MISFIT = 1e-3
# Standard errors of the offset within which a start is sought.
_WITHIN = 2.5
# Distance of starts, less than the width of any peak [eV], and most of them to either side.
_START_EV, _MOST_STARTS = 0.5, 20
# Probability that an amount at its detection limit is told from none.
_DETECTION = 0.95
# Probability that what is said of a map is chance.
_CHANCE = 0.01
# Steps at most, and gain of the log-likelihood below which a spectrum is done.
_ITERATIONS, _CLIMB = 50, 1e-9
# Amount over the mean count of a channel that is none.
_NONE = 1e-6
# Channels over which residuals are summed, to see what no channel by itself shows.
_SCALES = (1, 8, 32)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReferenceFit:
    """How much of each reference is in each spectrum."""

    names: tuple[str, ...]
    """The references, K of them."""
    amount: np.ndarray
    """Multiples of each reference as it was given, shape (..., K); NaN where a spectrum holds what
    are no counts."""
    standard_error: np.ndarray
    """Their standard errors, by the Fisher information, shape (..., K)."""
    absent_error: np.ndarray
    """Standard error that each amount has where there is none of it, shape (..., K)."""
    detection_limit: np.ndarray
    """Amount that is detected in 95 of 100 spectra, shape (..., K)."""
    false_alarm: float
    """Probability that a reference that is not there is called detected in a spectrum."""
    offset_ev: np.ndarray
    """What to add to the spectrum's energies so that they are those of the references [eV],
    shape (...)."""
    offset_error_ev: np.ndarray
    """Its standard error [eV]; 0 where the offset was not fitted."""
    stretch: np.ndarray
    """Share by which the spectrum's channels are wider than was said, shape (...)."""
    stretch_error: np.ndarray
    """Its standard error; 0 where it was not fitted."""
    p_value: np.ndarray
    """Probability of a misfit as large as this for a sum of the references, shape (...)."""
    assessment: Assessment
    """``ok``; ``ambiguous``: a spectrum, or more of a map than chance makes, is unlike every sum
    of the references; ``too_few_electrons``: no reference is detected; ``unusable``."""
    sentence: str
    """The same in words."""

    @property
    def unlike(self) -> np.ndarray:
        """Whether a spectrum is like no sum of the references, shape (...)."""
        return np.asarray(self.p_value < _MISFIT)

    @property
    def detected(self) -> np.ndarray:
        """Whether each reference is there, with the stated rate of false alarms, (..., K)."""
        return _above(self.amount, self.absent_error, self.false_alarm)


def fit_references(
    spectra: Any,
    *,
    energy_ev: np.ndarray,
    references: Mapping[str, np.ndarray],
    axis_error_ev: float = 0.0,
    stretch_error: float = 0.0,
    gain: float = 1.0,
    read_noise: float = 0.0,
    false_alarm: float = 0.01,
) -> ReferenceFit:
    r"""Return how much of each of the user's reference spectra is in each spectrum.

    For spectra as they were counted: a background is a reference like the others. Not for
    references of few electrons: their own noise is not in the errors.

    Parameters
    ----------
    spectra
        Counts, shape (..., E); a Dask array is read a chunk at a time.
    energy_ev
        Energy loss of each channel [eV], shape (E,).
    references
        Name → spectrum on the same channels, shape (E,), nowhere below 0, of any scale.
    axis_error_ev
        Standard error of the offset between the axes [eV]; 0: there is none, and none is fitted.
    stretch_error
        Standard error of the width of the channels, as a share; 0: none is fitted.
    gain
        Counts per electron.
    read_noise
        Standard deviation of the read noise [counts].
    false_alarm
        Probability to call a reference detected where there is none of it.

    Returns
    -------
    ReferenceFit
        Amounts, shifts, their errors and how good the fit is.

    Raises
    ------
    ParameterError
        A reference has other channels, is nothing, or is a sum of the others; an axis does not
        rise; too few channels are left.

    Notes
    -----
    The likelihood is :math:`y/g + r^2/g^2 \sim \mathrm{Poisson}(\mu/g + r^2/g^2)`, which is exact
    without read noise and has the right mean and variance with it; :math:`\mu(E) = \sum_k a_k
    R_k(E + \delta + \gamma (E - \bar E))` with :math:`a_k > 0` and normal priors of δ and γ. Its
    maximum is found by scoring; errors are the inverse of the Fisher information [1]_, detection
    limits are Currie's [2]_, from the error where there is none and where there is as much.

    References
    ----------
    .. [1] W. Cash, Astrophys. J. 228, 939 (1979), doi:10.1086/156922
    .. [2] L. A. Currie, Anal. Chem. 40, 586 (1968), doi:10.1021/ac60259a007

    Examples
    --------
    >>> energy = np.arange(50.0, 80.0)
    >>> oxide, fluoride = np.exp(-(((energy - 58) / 3) ** 2)), np.exp(-(((energy - 62) / 2) ** 2))
    >>> fit = fit_references(
    ...     np.round(300 * oxide + 200 * fluoride + 20),
    ...     energy_ev=energy,
    ...     references={"Li2O": oxide, "LiF": fluoride, "rest": np.ones(30)},
    ... )
    >>> fit.amount.round().astype(int).tolist(), fit.sentence
    ([300, 200, 20], 'Found: Li2O, LiF, rest.')
    """
    data = check_spectra("spectra", spectra)
    energy = check_axis(energy_ev, data.shape[-1], least=len(references) + 3)
    check_number("axis_error_ev", axis_error_ev, 0, 100, "eV")
    check_number("stretch_error", stretch_error, 0, 0.2)
    check_number("gain", gain, 1e-9, 1e9, "counts per electron")
    check_number("read_noise", read_noise, 0, 1e9, "counts")
    check_number("false_alarm", false_alarm, 1e-9, 0.5)
    shapes = _checked(references, len(energy))
    scale = shapes.sum(axis=0)
    fitter = _Fitter(
        energy, shapes / scale, (axis_error_ev, stretch_error), read_noise / gain, false_alarm
    )
    size = len(references)
    found = np.full((*data.shape[:-1], 4 * size + 5), np.nan)
    most = BLOCK_BYTES // (2 * size + 8)
    for where, block in blocks(data, most_bytes=most):
        flat = block.reshape(-1, len(energy))
        good = usable(flat, read_noise)
        part = np.full((len(flat), found.shape[-1]), np.nan)
        if good.any():
            part[good] = fitter(flat[good] / gain)
        found[where] = part.reshape(found[where].shape)
    amounts = [found[..., i * size : (i + 1) * size] * (gain / scale) for i in range(4)]
    offset, offset_error, stretch, error, p_value = np.moveaxis(found[..., 4 * size :], -1, 0)
    assessment, sentence = _judge(
        tuple(references), _above(amounts[0], amounts[2], false_alarm), p_value, false_alarm
    )
    return ReferenceFit(
        names=tuple(references),
        amount=amounts[0],
        standard_error=amounts[1],
        absent_error=amounts[2],
        detection_limit=amounts[3],
        false_alarm=false_alarm,
        offset_ev=offset,
        offset_error_ev=offset_error,
        stretch=stretch,
        stretch_error=error,
        p_value=p_value,
        assessment=assessment,
        sentence=sentence,
    )


def _checked(references: Mapping[str, np.ndarray], channels: int) -> np.ndarray:
    """Return the references as columns, shape (E, K)."""
    if not references:
        raise ParameterError("references are empty: give at least one spectrum")
    for name, reference in references.items():
        values = np.asarray(reference)
        if values.shape != (channels,):
            raise ParameterError(
                f"the reference of {name} has shape {values.shape}: expected one number for each "
                f"of {channels} channels; bring it onto the spectra's axis first"
            )
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() > 0):
            raise ParameterError(
                f"the reference of {name} goes from {values.min():g} to {values.max():g}: expected "
                "finite numbers, none below 0 and some above"
            )
    shapes = np.stack(list(references.values()), axis=1).astype(float)
    if np.linalg.matrix_rank(shapes / shapes.max(axis=0), tol=1e-6) < shapes.shape[1]:
        raise ParameterError(
            f"of the references {', '.join(references)} one is a sum of the others: their amounts "
            "cannot be told apart; leave one out"
        )
    return shapes


class _Fitter:
    """Fits references to electrons per channel, many spectra at once."""

    def __init__(
        self,
        energy: np.ndarray,
        shapes: np.ndarray,
        priors: tuple[float, float],
        noise: float,
        false_alarm: float,
    ) -> None:
        from scipy.interpolate import CubicSpline

        self.false_alarm = false_alarm
        self.middle = energy.mean()
        offset, stretch = priors
        # What the shifts carry past the ends of the references is not compared.
        margin = 3 * offset + 3 * stretch * (energy[-1] - self.middle)
        self.used = (energy >= energy[0] + margin) & (energy <= energy[-1] - margin)
        if self.used.sum() < shapes.shape[1] + 3:
            raise ParameterError(
                f"axis_error_ev {offset:g} eV and stretch_error {stretch:g} leave "
                f"{self.used.sum()} channels of {energy[0]:g} to {energy[-1]:g} eV that the "
                "references are sure to cover: give longer references or a better known axis"
            )
        self.energy, self.fixed = energy[self.used], shapes[self.used]
        self.spline = CubicSpline(energy, shapes)
        self.slope = self.spline.derivative()
        self.floor = max(noise**2, 1e-9)
        self.priors = np.array([p for p in priors if p > 0])
        self.fitted = [p > 0 for p in priors]
        steps = min(int(np.ceil(_WITHIN * offset / _START_EV)), _MOST_STARTS)
        self.starts = np.linspace(-_WITHIN * offset, _WITHIN * offset, 2 * steps + 1)

    def shapes(self, shifts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the references at the shifts (P, S), and their slopes, each (P, E, K)."""
        if not any(self.fitted):
            return self.fixed[None], np.zeros_like(self.fixed[None])
        at = self.energy + shifts @ self.levers()
        at = np.clip(at, self.spline.x[0], self.spline.x[-1])
        return np.maximum(self.spline(at), 0), self.slope(at)

    def levers(self) -> np.ndarray:
        """Return by what each shift moves each channel, shape (S, E)."""
        both = np.stack([np.ones_like(self.energy), self.energy - self.middle])
        return both[self.fitted]

    def start(self, electrons: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return amounts (P, K) and shifts (P, S) to begin with, by least squares."""
        from scipy.ndimage import uniform_filter1d

        weight = 1 / (np.maximum(uniform_filter1d(electrons, 9, axis=1), 0) + 1 + self.floor)
        size = self.fixed.shape[1]
        best = np.full(len(electrons), np.inf)
        amounts, shifts = np.zeros((len(electrons), size)), np.zeros((len(electrons), 2))
        for offset in self.starts if self.fitted[0] else [0.0]:
            shape = self.spline(self.energy + offset)
            information = np.einsum("ek,pe,el->pkl", shape, weight, shape)
            information += (
                1e-12 * np.trace(information, axis1=1, axis2=2)[:, None, None] * np.eye(size)
            )
            moments = (weight * electrons) @ shape
            tried = np.linalg.solve(information, moments[..., None])[..., 0]
            least = 1e-3 * np.maximum(electrons.sum(axis=1), 1)[:, None]
            tried = np.maximum(tried, least)
            misfit = (weight * (electrons - tried @ shape.T) ** 2).sum(axis=1)
            misfit = misfit + (offset / self.priors[0]) ** 2 if self.fitted[0] else misfit
            better = misfit < best
            best[better], amounts[better], shifts[better, 0] = misfit[better], tried[better], offset
        return amounts, shifts[:, self.fitted]

    def log(self, z: np.ndarray, mean: np.ndarray, shifts: np.ndarray) -> np.ndarray:
        """Return the logarithms of likelihood and prior."""
        likelihood = (z * np.log(mean) - mean).sum(axis=1)
        return np.asarray(likelihood - ((shifts / self.priors) ** 2).sum(axis=1) / 2)

    def design(self, amounts: np.ndarray, shifts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the expected electrons (P, E), and how they depend on all that is fitted."""
        shape, slope = self.shapes(shifts)
        mean = (shape @ amounts[..., None])[..., 0] + self.floor
        moved = (slope @ amounts[..., None])[..., 0]
        columns = moved[..., None] * self.levers().T
        return mean, np.concatenate(
            [np.broadcast_to(shape, (len(amounts), *shape.shape[1:])), columns], axis=-1
        )

    def information(self, mean: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the Fisher information of amounts and shifts with that of the priors."""
        weighted = columns / np.sqrt(mean)[..., None]
        information: np.ndarray = np.swapaxes(weighted, 1, 2) @ weighted
        shifts = np.arange(self.fixed.shape[1], columns.shape[-1])
        information[:, shifts, shifts] += 1 / self.priors**2
        diagonal = np.arange(columns.shape[-1])
        information[:, diagonal, diagonal] *= 1 + 1e-10
        return information

    def __call__(self, electrons: np.ndarray) -> np.ndarray:
        """Return amounts, errors and limits of K references, shifts with errors, and p-values."""
        electrons = electrons[:, self.used]
        z, size = electrons + self.floor, self.fixed.shape[1]
        amounts, shifts = self.start(electrons)
        active = np.arange(len(z))
        for _ in range(_ITERATIONS):
            part = self.step(z[active], amounts[active], shifts[active])
            amounts[active], shifts[active] = part[:2]
            active = active[part[2] > _CLIMB]
            if not len(active):
                break
        mean, columns = self.design(amounts, shifts)
        covariance = np.linalg.inv(self.information(mean, columns))
        errors = np.sqrt(np.einsum("pkk->pk", covariance))
        found = np.zeros((len(z), 2, 2))
        found[:, self.fitted, 0], found[:, self.fitted, 1] = shifts, errors[:, size:]
        return np.column_stack(
            [
                amounts,
                errors[:, :size],
                self.limits(amounts, mean, columns),
                found.reshape(-1, 4),
                _misfit(z, mean, columns, covariance),
            ]
        )

    def step(
        self, z: np.ndarray, amounts: np.ndarray, shifts: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return amounts and shifts that are likelier, and by how much.

        A step by the information, never onto the border and shortened until it climbs.
        """
        size = self.fixed.shape[1]
        mean, columns = self.design(amounts, shifts)
        log = self.log(z, mean, shifts)
        gradient = (np.swapaxes(columns, 1, 2) @ (z / mean - 1)[..., None])[..., 0]
        gradient[:, size:] -= shifts / self.priors**2
        # What is as good as none and would be less stays, lest it shorten the steps of the others.
        none = np.zeros(gradient.shape, dtype=bool)
        none[:, :size] = (amounts < _NONE * z.mean(axis=1)[:, None]) & (gradient[:, :size] < 0)
        either, one = none[:, :, None] | none[:, None, :], np.eye(gradient.shape[1])
        matrix = np.where(either, one, self.information(mean, columns))
        step = np.linalg.solve(matrix, np.where(none, 0.0, gradient)[..., None])[..., 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            room = np.where(step[:, :size] < 0, -0.95 * amounts / step[:, :size], 1.0)
        length = np.minimum(room.min(axis=1), 1.0)[:, None]
        for _ in range(12):
            new = amounts + length * step[:, :size], shifts + length * step[:, size:]
            gain = self.log(z, self.design(*new)[0], new[1]) - log
            worse = ~(gain >= 0)[:, None]
            if not worse.any():
                break
            length = np.where(worse, length / 3, length)
        kept = np.where(worse, amounts, new[0]), np.where(worse, shifts, new[1])
        return *kept, np.where(worse[:, 0], 0.0, gain)

    def limits(self, amounts: np.ndarray, mean: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return the error of each amount where it is 0 and its detection limit, (P, 2 K).

        The others are as they are.
        """
        from scipy.stats import norm

        errors, limits = np.empty_like(amounts), np.empty_like(amounts)
        for k in range(amounts.shape[1]):
            without = mean - amounts[:, k, None] * columns[..., k]
            # Where nothing else is, one electron over all channels stands for none.
            without = np.maximum(without, max(self.floor, 1 / mean.shape[1]))
            errors[:, k] = self.error(without, columns, k)
            decision = norm.isf(self.false_alarm) * errors[:, k]
            first = decision + norm.isf(1 - _DETECTION) * errors[:, k]
            there = self.error(without + first[:, None] * columns[..., k], columns, k)
            limits[:, k] = decision + norm.isf(1 - _DETECTION) * there
        return np.concatenate([errors, limits], axis=1)

    def error(self, mean: np.ndarray, columns: np.ndarray, k: int) -> np.ndarray:
        """Return the standard error of one amount, shape (P,)."""
        return np.asarray(np.sqrt(np.linalg.inv(self.information(mean, columns))[:, k, k]))


def _misfit(
    z: np.ndarray, mean: np.ndarray, columns: np.ndarray, covariance: np.ndarray
) -> np.ndarray:
    """Return the probability of squared residuals as large as these on any of some scales.

    Their sum is taken for a gamma variable with its own mean, from which the fit has taken what
    it explains, and variance, which knows that few counts scatter further than normal ones.
    """
    from scipy.stats import gamma

    worst, scales = np.ones(len(z)), 0
    for width in _SCALES:
        number = z.shape[1] // width
        if number < 2 * columns.shape[-1]:
            break
        scales += 1
        starts = np.arange(number) * width
        total, residual = (np.add.reduceat(values, starts, axis=1) for values in (mean, z - mean))
        lever = np.add.reduceat(columns, starts, axis=1)
        taken = np.einsum("pek,pkl,pel->pe", lever, covariance, lever) / total
        freedom = np.maximum((1 - taken).sum(axis=1), 1.0)
        squares = (residual**2 / total).sum(axis=1)
        spread = 2 * freedom + (1 / np.maximum(total, 1e-2)).sum(axis=1)
        worst = np.minimum(worst, gamma.sf(squares, freedom**2 / spread, scale=spread / freedom))
    return np.asarray(1 - (1 - worst) ** max(scales, 1))


def _above(amount: np.ndarray, absent_error: np.ndarray, false_alarm: float) -> np.ndarray:
    from scipy.stats import norm

    with np.errstate(invalid="ignore"):
        return np.asarray(amount > norm.isf(false_alarm) * absent_error)


def _judge(
    names: tuple[str, ...], detected: np.ndarray, p_value: np.ndarray, false_alarm: float
) -> tuple[Assessment, str]:
    from scipy.stats import binom

    known = np.isfinite(p_value)
    if not known.any():
        return (
            Assessment.UNUSABLE,
            "Every spectrum holds what are no counts (NaN, or negative beyond the read noise): "
            "nothing was fitted.",
        )
    number, unlike = int(known.sum()), int((p_value[known] < _MISFIT).sum())
    left_out = int(known.size - number)
    words = f" {left_out} of {known.size} spectra hold what are no counts." if left_out else ""
    if unlike and binom.sf(unlike - 1, number, _MISFIT) < _CHANCE:
        what = "The spectrum is" if known.size == 1 else f"{unlike} of {number} spectra are"
        least = f"{np.nanmin(p_value):.1g}"
        return (
            Assessment.AMBIGUOUS,
            f"{what} unlike every sum of {', '.join(names)} (probability of the misfit {least}): "
            f"the amounts there mean little.{words}",
        )
    # In a map more spectra must show it than false alarms would.
    chance = binom.isf(_CHANCE, number, false_alarm) if number > 1 else 0
    seen = [name for k, name in enumerate(names) if detected[..., k].sum() > chance]
    if not seen:
        return (
            Assessment.TOO_FEW_ELECTRONS,
            f"No reference rises above the noise: sum spectra or count more.{words}",
        )
    return Assessment.OK, f"Found: {', '.join(seen)}.{words}"

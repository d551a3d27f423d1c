"""What a spectrum would be without its edges: power laws, and the tail of plural plasmon losses."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from interphase.errors import ParameterError
from interphase.inelastic import angular_factor, drude_loss_function

EXPONENTS = (0.5, 8.0)
"""Exponents that backgrounds have: 2 to 6 in the literature, with room for plural scattering."""
_MOST_TERMS = 4
"""Parameters of a power law that varies: more would follow the edges."""
_MOST_TAIL_TERMS = 3
"""Parameters of a plasmon tail: changes of a third plasmon are too much like an edge."""
_PADDING_EV = 300.0
"""Losses this far above the last channel are followed, so that none wraps round to the first."""
_MODEL_ERROR = 0.02
"""Part of a low loss that a sum of Drude peaks is not expected to describe; a working value."""
_MISFIT_FROM_EV = 10.0
"""Losses from which on the model is compared with the low loss [eV]: the tail of the zero-loss peak
ends below, of which the model holds nothing."""
_SPREAD = (1.0, 0.1, 0.2)
"""Relative spread of strengths, energies and widths of plasmons about those of the mean spectrum;
working values."""


_PLACES_EV = (22.0, 7.5, 14.0, 33.0)
"""Energies at which one more plasmon is looked for [eV]: of salts and oxides, of lithium, between
them, and above them, where F 2s and the like are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """Known shapes whose amounts are free: a background that is linear in its parameters."""

    kind: str
    """``power law`` or ``plasmon tail``."""
    energy_ev: np.ndarray
    """Energy losses of the channels [eV], shape (E,)."""
    shapes: np.ndarray
    """Counts per parameter, the positive main shape first, then those that change it, the most
    needed first, shape (E, S)."""
    terms: int
    """How many of the shapes are in use, T."""
    description: str
    """The main shape in words."""
    plasmons: np.ndarray | None = None
    """Strength (collisions), energy and width [eV] of the J plasmons of a tail, shape (J, 3)."""
    misfit: float = 0.0
    """Relative root mean square by which the plasmons miss the low loss below the first edge,
    beyond what counting explains."""

    def __post_init__(self) -> None:
        most = self.shapes.shape[1]
        if self.terms not in range(1, most + 1):
            raise ParameterError(
                f"a {self.kind} of {self.terms!r} terms was asked for: expected 1 to {most}"
            )

    @property
    def columns(self) -> np.ndarray:
        """The shapes in use, shape (E, T)."""
        return self.shapes[:, : self.terms]

    def with_terms(self, terms: int) -> "Background":
        """Return the same background with another number of shapes in use."""
        return replace(self, terms=terms)

    def exponents(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the exponents -d ln B / d ln E at both ends, and their derivatives.

        Parameters
        ----------
        parameters
            Shape (..., T).

        Returns
        -------
        tuple of ndarray
            Exponents (..., 2) and their derivatives by the parameters (..., 2, T).
        """
        first = np.gradient(self.columns[:3], self.energy_ev[:3], axis=0, edge_order=2)[0]
        last = np.gradient(self.columns[-3:], self.energy_ev[-3:], axis=0, edge_order=2)[-1]
        values = self.columns[[0, -1]]
        slopes = np.stack([first * self.energy_ev[0], last * self.energy_ev[-1]])
        with np.errstate(divide="ignore", invalid="ignore"):
            value = (parameters @ values.T)[..., np.newaxis]
            slope = (parameters @ slopes.T)[..., np.newaxis]
            return -(slope / value)[..., 0], (slope * values - value * slopes) / value**2


def power_law(energy_ev: np.ndarray, *, exponent: float, terms: int = 2) -> Background:
    r"""Return power laws with exponents about a given one.

    Parameters
    ----------
    energy_ev
        Energy losses of the channels [eV], above 0 and rising, shape (E,).
    exponent
        Exponent r0 of the most common background.
    terms
        Number of parameters: 2 are those of one power law with an exponent near r0, each further
        one allows for more deviation of its exponent, or of the background from a power law.

    Returns
    -------
    Background
        Linear in its parameters.

    Raises
    ------
    ParameterError
        Energies are not above 0, or `terms` is not from 1 to 4.

    Notes
    -----
    :math:`E^{-r} = E^{-r_0} \sum_k (r_0 - r)^k \ln^k(E) / k!`. Sums of a few fixed power laws
    [1]_ span the same shapes; powers of the logarithm do so with the fewest parameters, and leave
    none at the limit of a constraint, where standard errors lose their meaning.

    References
    ----------
    .. [1] W. Van den Broek et al., Ultramicroscopy 254, 113830 (2023),
           doi:10.1016/j.ultramic.2023.113830

    Examples
    --------
    >>> energy = np.array([250.0, 500.0, 1000.0])
    >>> columns = power_law(energy, exponent=3.0).columns
    >>> np.allclose(columns[:, 0], (energy / 500) ** -3.0)
    True
    """
    energy = np.asarray(energy_ev, dtype=float)
    if not (energy > 0).all():
        raise ParameterError(
            f"a power law was asked for from {energy.min():g} eV on: expected energies above 0; "
            "give fit_range_ev"
        )
    relative = energy / np.sqrt(energy[0] * energy[-1])
    logarithms = np.log(relative)[:, np.newaxis] ** np.arange(_MOST_TERMS)
    return Background(
        kind="power law",
        energy_ev=energy,
        shapes=(relative**-exponent)[:, np.newaxis] * logarithms,
        terms=terms,
        description=f"power laws about E^-{exponent:.2f}",
    )


def plasmon_tail(
    energy_ev: np.ndarray,
    low_loss: np.ndarray,
    *,
    low_loss_energy_ev: np.ndarray,
    up_to_ev: float,
    beam_energy_kev: float,
    collection_mrad: float,
    convergence_mrad: float,
    terms: int = 2,
    like: Background | None = None,
) -> Background:
    r"""Return the tail of plural plasmon losses, from a model of the low loss.

    The background of Li K and of the shallow edges beside it: below 100 eV there is no power law.
    Do not use it where the low loss was not measured with the same angles.

    Parameters
    ----------
    energy_ev
        Energy losses of the channels to be fitted [eV], equally spaced, shape (E,).
    low_loss
        Mean spectrum with the zero-loss peak [counts], shape (L,).
    low_loss_energy_ev
        Its energy losses, the zero-loss peak at 0 [eV], equally spaced.
    up_to_ev
        The model is fitted up to here, below the first edge [eV].
    beam_energy_kev
        Beam energy [keV].
    collection_mrad, convergence_mrad
        Semi-angles [mrad].
    terms
        Number of parameters, 3 at most: the tail as it is, then changes of the strength of each
        plasmon, or of the strength and energy of the only one, as from material to material.
    like
        Tail of the mean of spectra of which this is one: its plasmons are where the fit begins, and
        stay as they are as far as the counts do not tell.

    Returns
    -------
    Background
        Linear in its parameters.

    Raises
    ------
    ParameterError
        The low loss does not hold its zero-loss peak and 10 eV of losses below `up_to_ev`.

    Notes
    -----
    :math:`J = Z \ast \mathcal{F}^{-1} \exp(\hat S - \int S)` with the zero-loss peak Z, a Gaussian
    of the measured width, and single losses :math:`S = \sum_j \tau_j\, \mathrm{Im}(-1/\epsilon_j)
    \ln(1 + \beta^2/\theta_E^2)` of one to three Drude peaks: as many as Schwarz's criterion
    wants when 2 % of the counts are left to the model's error.

    Examples
    --------
    >>> energy = np.arange(-10.0, 80.0, 0.5)
    >>> peaks = np.exp(-(energy**2)) + 0.02 * drude_loss_function(
    ...     np.maximum(energy, 0), peak_ev=15.0, fwhm_ev=3.0
    ... )
    >>> tail = plasmon_tail(np.arange(40.0, 80.0, 0.5), 1e6 * peaks, low_loss_energy_ev=energy,
    ...     up_to_ev=50.0, beam_energy_kev=300, collection_mrad=20, convergence_mrad=0)
    >>> bool((np.diff(tail.columns[:, 0]) < 0).all())
    True
    """
    low_energy = np.asarray(low_loss_energy_ev, dtype=float)
    counts = np.asarray(low_loss, dtype=float)
    step = (low_energy[-1] - low_energy[0]) / (len(low_energy) - 1)
    peak = np.abs(low_energy) < 3
    if not (low_energy[0] <= -2 * step and peak.any() and counts[peak].sum() > 0):
        raise ParameterError(
            f"the low loss begins at {low_energy[0]:g} eV: expected its zero-loss peak, at 0 eV"
        )
    above_half = peak & (counts > counts[peak].max() / 2)
    fwhm = max(step * above_half.sum(), step)
    start = max(3.0, 2.5 * fwhm)
    fitted = (low_energy > start) & (low_energy < up_to_ev)
    if low_energy[fitted].size < 10 or np.ptp(low_energy[fitted]) < 10:
        raise ParameterError(
            f"{low_energy[fitted].size} channels of the low loss lie between {start:.1f} and "
            f"{up_to_ev:g} eV: expected 10 eV of losses below the first edge"
        )
    grid = _TailGrid(
        step, max(energy_ev[-1], low_energy[-1]) + _PADDING_EV, fwhm,
        beam_energy_kev, max(collection_mrad, convergence_mrad),
    )  # fmt: skip
    known = None if like is None else like.plasmons
    peaks = _fit_peaks(grid, low_energy[fitted], counts[fitted], counts[peak].sum(), known)
    beyond = fitted & (low_energy > min(_MISFIT_FROM_EV, up_to_ev - 10))
    model = counts[peak].sum() * np.interp(low_energy[beyond], grid.energy, grid.losses(peaks))
    misfit = _misfit(counts[beyond], model)
    if not energy_ev[0] > 0:
        raise ParameterError(
            f"a plasmon tail was asked for from {energy_ev[0]:g} eV on: expected energies above 0"
        )
    shapes = np.stack(
        [
            np.interp(energy_ev, grid.energy, shape)
            for shape in grid.tangents(peaks)[:_MOST_TAIL_TERMS]
        ],
        axis=1,
    )
    words = " and ".join(f"{peak:.1f} eV ({width:.1f} eV wide)" for _, peak, width in peaks)
    return Background(
        kind="plasmon tail",
        energy_ev=np.asarray(energy_ev, dtype=float),
        shapes=shapes,
        terms=terms,
        description=f"tail of plasmons at {words}",
        plasmons=peaks,
        misfit=misfit if like is None else max(misfit, like.misfit),
    )


def _misfit(counts: np.ndarray, model: np.ndarray) -> float:
    """Return the relative error of a model beyond two standard errors of counting."""
    expected = np.maximum(model, 1.0)
    excess = np.mean(((counts - expected) ** 2 - expected) / expected**2)
    noise = np.sqrt(np.mean((2 + 1 / expected) / expected**2) / len(counts))
    return float(np.sqrt(max(excess - 2 * noise, 0.0)))


class _TailGrid:
    """Energies on which losses are stacked, and what is common to all Drude peaks there."""

    def __init__(
        self, step: float, top: float, fwhm: float, beam_energy_kev: float, semi_angle_mrad: float
    ) -> None:
        from scipy.fft import next_fast_len

        self.length = next_fast_len(int(top / step) + 1, real=True)
        self.energy = step * np.arange(self.length)
        self.factor = np.zeros(self.length)
        self.factor[1:] = angular_factor(
            self.energy[1:], beam_energy_kev=beam_energy_kev, semi_angle_mrad=semi_angle_mrad
        )
        sigma = fwhm / np.sqrt(8 * np.log(2)) / step
        self.blur = np.exp(-2 * (np.pi * sigma * np.fft.rfftfreq(self.length)) ** 2)

    def losses(self, peaks: np.ndarray) -> np.ndarray:
        """Return the spectrum without zero loss, per electron of the zero-loss peak."""
        single = np.fft.rfft(sum(row[0] * self._single(row) for row in peaks))
        return np.fft.irfft(np.expm1(single) * self.blur, self.length)

    def tangents(self, peaks: np.ndarray) -> list[np.ndarray]:
        """Return the spectrum without zero loss, and its changes with each plasmon's strength.

        A single plasmon's energy is one more change.
        """
        all_losses = np.fft.rfft(sum(row[0] * self._single(row) for row in peaks))
        factor = np.exp(all_losses) * self.blur
        changes = [
            np.fft.irfft(np.fft.rfft(self._single(row)) * factor, self.length) for row in peaks
        ]
        if len(peaks) == 1:
            # Where one plasmon stands for those of several materials it moves with their shares.
            moved = self._single(peaks[0] * [1, 1.02, 1]) - self._single(peaks[0])
            changes.append(np.fft.irfft(np.fft.rfft(50 * moved) * factor, self.length))
        return [self.losses(peaks), *changes]

    def _single(self, row: np.ndarray) -> np.ndarray:
        one = drude_loss_function(self.energy, peak_ev=row[1], fwhm_ev=row[2]) * self.factor
        return np.asarray(one / one.sum())


def _fit_peaks(
    grid: _TailGrid,
    energy: np.ndarray,
    counts: np.ndarray,
    zero_loss: float,
    known: np.ndarray | None,
) -> np.ndarray:
    """Return strength, energy and width of one to three Drude peaks, as many as are needed.

    Where plasmons are known only their strengths are fitted, and stay near where counts say little.
    """
    from scipy.optimize import least_squares

    error = np.sqrt(np.maximum(counts, 1) + (_MODEL_ERROR * counts) ** 2)

    def residual(peaks: np.ndarray) -> np.ndarray:
        model = zero_loss * np.interp(energy, grid.energy, grid.losses(peaks))
        return np.asarray((model - counts) / error)

    if known is not None:
        # What the counts do not tell stays as it is known.
        fit = least_squares(
            lambda p: np.append(residual(known * np.exp(p.reshape(-1, 3) * _SPREAD)), p),
            np.zeros(known.size),
            max_nfev=20,
        )
        return np.asarray(known * np.exp(fit.x.reshape(-1, 3) * _SPREAD))
    share = np.clip(counts.sum() / zero_loss, 1e-3, 10)
    strongest = float(energy[np.argmax(counts)])
    # The last place only where the window reaches it; places near the strongest loss come last.
    reached = _PLACES_EV if _PLACES_EV[-1] < energy[-1] else _PLACES_EV[:-1]
    others = sorted(reached, key=lambda e: abs(e - strongest) < 4)
    best = found = np.empty((0, 3))
    least = np.inf
    penalty = 3 * np.log(len(energy))
    for number in (1, 2, 3):
        low = np.tile(np.log([1e-4, 2.0, 0.5]), number)
        high = np.tile(np.log([20.0, 60.0, 60.0]), number)

        def fitted(start: np.ndarray, most: int, low: Any = low, high: Any = high) -> Any:
            return least_squares(
                lambda p: residual(np.exp(p).reshape(-1, 3)),
                np.clip(start, low, high), bounds=(low, high), max_nfev=most, x_scale=0.1,
            )  # fmt: skip

        equal = [[share / number, e, 0.4 * e] for e in [strongest, *others][:number]]
        # One more peak than before, wherever it may be; of a short way each the best goes on.
        more = [[*found, [share / 10, e, 0.4 * e]] for e in (others if number > 1 else ())]
        ways = [fitted(np.log(start).ravel(), 15) for start in [equal, *more]]
        fit = fitted(min(ways, key=lambda way: way.cost).x, 60)
        found = np.exp(fit.x).reshape(-1, 3)
        cost = 2 * fit.cost + number * penalty
        if cost < least:
            best, least = found, cost
        if 2 * fit.cost < penalty:
            break  # no further peak can be worth it
    return best

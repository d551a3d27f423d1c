"""A power law through counts: what lies under an edge, and how well that is known."""

from dataclasses import dataclass

import numpy as np

from interphase.errors import ParameterError

_FEWEST_CHANNELS = 3
# Steps of Fisher scoring, the change of the logarithm of the mean that one of them may make, and
# the change below which the maximum is reached.
_STEPS, _LONGEST, _CONVERGED = 50, 3.0, 1e-10
# Determinant of the information over the product of its diagonal: below it the counts lie in one
# channel and tell no exponent.
_SINGULAR = 1e-12
# Electrons in the window, those amid readout noise counted for less, below which an exponent may be
# anything and the background many times the truth. A working value: ten for each parameter.
_FEWEST_ELECTRONS = 20.0
# Counts that are fitted at once: arrays of so many stay in the cache.
_AT_ONCE = 2**18


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLawFit:
    """Power laws B = A (E / E0)^-r, one for each spectrum; NaN where none could be fitted."""

    reference_ev: float
    """Energy E0 where A is the background of a channel [eV]."""
    amplitude: np.ndarray
    """A of greatest likelihood [electrons], shape (...)."""
    exponent: np.ndarray
    """Exponent r of greatest likelihood, shape (...)."""
    covariance: np.ndarray
    """Covariance of ln A and r by counting, shape (..., 2, 2)."""
    bias: np.ndarray
    """By how much ln A and r are too high in the mean, shape (..., 2)."""

    def mean(self, energy_ev: np.ndarray) -> np.ndarray:
        """Return the expected background, free of the bias that the exponential brings.

        Parameters
        ----------
        energy_ev
            Energy losses of any channels [eV], shape (K,).

        Returns
        -------
        ndarray
            Electrons per channel, shape (..., K).
        """
        design = self._design(energy_ev)
        surplus = self.bias @ design.T + self._spread(design) / 2
        return np.asarray(self._likeliest(design) * np.exp(-surplus))

    def variance(self, energy_ev: np.ndarray) -> np.ndarray:
        """Return the variance of the background of single channels [electrons²], shape (..., K).

        Channels have it in common: do not add it up, `total` does.
        """
        design = self._design(energy_ev)
        return np.asarray(self._likeliest(design) ** 2 * self._spread(design))

    def total(self, energy_ev: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the background of channels together, and the variance of this sum.

        Parameters
        ----------
        energy_ev
            Energy losses of the channels [eV], such as ``energy_ev[mask]``, shape (K,).

        Returns
        -------
        tuple of ndarray
            Electrons and electrons², shape (...); the channels' common error is in the variance.
        """
        design = self._design(energy_ev)
        slope = self._likeliest(design) @ design
        variance = np.einsum("...p,...pq,...q->...", slope, self.covariance, slope)
        return self.mean(energy_ev).sum(axis=-1), variance

    def limits(self, energy_ev: np.ndarray, *, sigmas: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the limits between which the background of channels together is.

        What is normally distributed is its logarithm, so that they are not alike far from it.

        Parameters
        ----------
        energy_ev
            Energy losses of the channels [eV], shape (K,).
        sigmas
            Standard errors of the logarithm: 1.96 for 95 %.

        Returns
        -------
        tuple of ndarray
            Electrons, shape (...).
        """
        likeliest = self._likeliest(self._design(energy_ev)).sum(axis=-1)
        factor = np.exp(sigmas * np.sqrt(self.total(energy_ev)[1]) / likeliest)
        return likeliest / factor, likeliest * factor

    def _design(self, energy_ev: np.ndarray) -> np.ndarray:
        energy = np.atleast_1d(np.asarray(energy_ev, dtype=float))
        if energy.ndim != 1 or not (energy > 0).all():
            raise ParameterError(
                f"energy_ev has shape {energy.shape} and begins at {energy.min(initial=np.inf):g} "
                "eV: expected a row of energies above 0, since there is no power law below"
            )
        return np.stack([np.ones_like(energy), -np.log(energy / self.reference_ev)], axis=-1)

    def _likeliest(self, design: np.ndarray) -> np.ndarray:
        exponent = self.exponent[..., np.newaxis] * design[:, 1]
        return np.asarray(self.amplitude[..., np.newaxis] * np.exp(exponent))

    def _spread(self, design: np.ndarray) -> np.ndarray:
        """Return the variance of the logarithm of the background."""
        products = (design[:, :, np.newaxis] * design[:, np.newaxis, :]).reshape(-1, 4)
        return np.asarray(self.covariance.reshape(*self.exponent.shape, 4) @ products.T)


def fit_power_law(
    counts: np.ndarray,
    energy_ev: np.ndarray,
    *,
    window_ev: tuple[float, float],
    read_variance: float = 0.0,
) -> PowerLawFit:
    r"""Fit a power law to the counts of a window ahead of an edge, spectrum by spectrum.

    For a background that one exponent describes from the window to the end of the edge. Below
    100 eV, on the tail of plasmons, it is none, and plural scattering and a neighbouring edge bend
    it too.

    Parameters
    ----------
    counts
        Electrons (counts over the gain), shape (..., E). Channels without any are as good as
        others.
    energy_ev
        Energy losses of the channels [eV], shape (E,).
    window_ev
        First and last energy of the window [eV].
    read_variance
        Variance of the readout of a channel [electrons²].

    Returns
    -------
    PowerLawFit
        NaN for spectra whose counts in the window are not finite, or tell no exponent: fewer than
        twenty electrons, or all of them in one channel at an end.

    Raises
    ------
    ParameterError
        The window holds fewer than three channels or begins at 0 eV or below, the shapes do not
        fit, or the variance is negative.

    Notes
    -----
    :math:`\ln B = \ln A - r \ln(E / E_0)` is fitted by Fisher scoring to the Poisson likelihood,
    where readout of variance v counts as v further electrons in data and model [1]_. With C the
    inverse of the information the variance of a sum under the edge is :math:`J^T C J`. The
    likeliest background is too high in the mean by some electrons, however many there are: in its
    logarithm by the bias of ln A and r [2]_ and, since the exponential of what is normal has the
    larger mean, by :math:`x^T C x / 2`. `PowerLawFit.mean` has both taken off.

    References
    ----------
    .. [1] D. L. Snyder et al., J. Opt. Soc. Am. A 12, 272 (1995), doi:10.1364/JOSAA.12.000272
    .. [2] G. M. Cordeiro and P. McCullagh, J. R. Stat. Soc. B 53, 629 (1991)

    Examples
    --------
    >>> energy = np.arange(200.0, 400.0)
    >>> fit = fit_power_law(1e9 * energy**-3.0, energy, window_ev=(220, 280))
    >>> round(float(fit.exponent), 6)
    3.0
    >>> under, variance = fit.total(energy[(energy >= 284) & (energy < 334)])
    >>> round(float(under), -1), round(float(np.sqrt(variance)), -1)
    (1720.0, 90.0)
    """
    counts = np.asarray(counts)
    energy = np.asarray(energy_ev, dtype=float)
    if energy.ndim != 1 or counts.shape[-1:] != energy.shape:
        raise ParameterError(
            f"counts have shape {counts.shape} and energy_ev {energy.shape}: expected one energy "
            "for each channel, the spectrum axis last"
        )
    if not 0 <= read_variance < float("inf"):
        raise ParameterError(f"read_variance is {read_variance!r}: expected a number from 0 on")
    low, high = window_ev
    inside = (energy >= low) & (energy <= high)
    if inside.sum() < _FEWEST_CHANNELS or not energy[inside].min() > 0:
        raise ParameterError(
            f"window_ev is {(low, high)!r} eV, which holds {inside.sum()} channels of "
            f"{energy.min(initial=np.inf):g} to {energy.max(initial=-np.inf):g} eV: expected at "
            f"least {_FEWEST_CHANNELS}, above 0 eV"
        )
    logarithm = np.log(energy[inside])
    x = logarithm.mean() - logarithm
    shape = counts.shape[:-1]
    number = int(np.prod(shape))
    rows = counts[..., inside].reshape(number, len(x))
    parameters = np.full((number, 2), np.nan)
    covariance, bias = np.full((number, 2, 2), np.nan), np.full((number, 2), np.nan)
    step = max(_AT_ONCE // len(x), 1)
    for block in (slice(first, first + step) for first in range(0, number, step)):
        parameters[block], covariance[block], bias[block] = _fitted(
            rows[block].astype(float), x, read_variance
        )
    return PowerLawFit(
        reference_ev=float(np.exp(logarithm.mean())),
        amplitude=np.exp(parameters[:, 0]).reshape(shape),
        exponent=parameters[:, 1].reshape(shape),
        covariance=covariance.reshape(*shape, 2, 2),
        bias=bias.reshape(*shape, 2),
    )


def _fitted(
    counts: np.ndarray, x: np.ndarray, read_variance: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ln A and r (N, 2), their covariance and their bias, of counts (N, W)."""
    at = np.full((len(counts), 2), np.nan)
    covariance, bias = np.full((len(counts), 2, 2), np.nan), np.full((len(counts), 2), np.nan)
    powers = np.stack([np.ones_like(x), x, x**2], axis=1)
    mean = counts.mean(axis=1)
    left = np.flatnonzero((mean > 0) & np.isfinite(mean))
    now = np.stack([np.log(mean[left]), np.zeros(len(left))], axis=1)
    for _ in range(_STEPS):
        if not len(left):
            break
        expected = np.exp(now[:, :1] + now[:, 1:] * x)
        # The share of a channel's variance that the electrons make.
        share = expected / (expected + read_variance)
        weight = share * expected
        s0, s1, s2 = (weight @ powers).T
        determinant = s0 * s2 - s1**2
        known = determinant > _SINGULAR * s0 * s2
        inverse = np.stack([s2, -s1, -s1, s0], axis=1) / np.where(known, determinant, 1)[:, None]
        inverse = inverse.reshape(-1, 2, 2)
        change = (inverse @ ((share * (counts[left] - expected)) @ powers[:, :2])[..., None])[
            ..., 0
        ]
        length = np.abs(change[:, 0]) + np.abs(change[:, 1]) * np.abs(x).max()
        done = known & (length < _CONVERGED)
        going = known & ~done
        done &= s0 >= _FEWEST_ELECTRONS
        at[left[done]], covariance[left[done]] = now[done], inverse[done]
        spread = inverse[done].reshape(-1, 4) @ np.stack([x**0, x, x, x**2])
        moments = (weight[done] * spread) @ powers[:, :2]
        bias[left[done]] = -0.5 * (inverse[done] @ moments[..., None])[..., 0]
        shorter = np.minimum(1.0, _LONGEST / np.maximum(length, _CONVERGED))[:, None]
        now, left = (now + shorter * change)[going], left[going]
    return at, covariance, bias

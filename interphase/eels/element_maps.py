"""What a fit of elements found: amounts, errors, and what could have been seen."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from interphase.assessment import Assessment
from interphase.eels.checks import check_number
from interphase.errors import ParameterError

PIXEL_VERDICTS = (
    "fitted",
    "too few electrons",
    "negative background",
    "runaway background",
    "unlike the model",
    "unusable spectrum",
)
"""What is said of a pixel; only the first and the fifth have numbers."""
_STEPS = 48
"""Of halving an interval, or its error."""
_MOST_LOG_PIXELS = 40.0
"""Logarithm of a number of pixels that nobody has: e^40 is 2e17."""
FITTED, TOO_FEW, NEGATIVE, RUNAWAY, UNLIKE, UNUSABLE = range(len(PIXEL_VERDICTS))


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedCurves:
    """Fitted spectra on their channels, to be drawn; in electrons per channel.

    Of a near-edge window the fit uses the sum alone, and smooth cross-sections are drawn there:
    what is left over in it is fine structure, white lines among it, not a poor fit. Curves are NaN
    where there is no answer.
    """

    energy_ev: np.ndarray
    """Energy losses of the channels that were fitted [eV], shape (E,)."""
    recorded: np.ndarray
    """Counts over gain, shape (..., E)."""
    fitted: np.ndarray
    """Background and all edges, shape (..., E)."""
    background: np.ndarray
    """Shape (..., E)."""
    names: tuple[str, ...]
    """The N edges or sets of edges that share a strength, keys of `ElementMaps.edges`: the K
    elements first, then edges of unknown cross-section."""
    parts: np.ndarray
    """What each of them adds to the background, shape (..., N, E)."""
    residual: np.ndarray
    """What was recorded less what was fitted, over its standard error, shape (..., E)."""
    near_edge: np.ndarray
    """Whether a channel lies in a near-edge window, shape (E,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementMaps:
    """Areal densities of elements, how well they are known, and what could have been seen.

    Standard errors are those of counting (Fisher information) and, on a plasmon tail, of the tail,
    which more electrons or pixels do not reduce; the cross-sections' uncertainty is common to all
    pixels and beside them.
    """

    elements: tuple[str, ...]
    """Symbols of the K elements whose strength is a number of atoms."""
    edges: Mapping[str, tuple[str, ...]]
    """Element → its edges in the fit, elements of unknown cross-section among them."""
    cross_sections: Mapping[str, str]
    """Edge → the table its cross-section comes from."""
    relative_uncertainty: Mapping[str, float]
    """Element → trust in its cross-section, one standard deviation over the value."""
    strength: np.ndarray
    """Areal density times electrons [1/nm²], NaN without an answer, shape (..., K)."""
    covariance: np.ndarray
    """Covariance of the strengths [1/nm⁴], shape (..., K, K)."""
    absent_variance: np.ndarray
    """Variance of each strength where there is none of the element [1/nm⁴], shape (..., K)."""
    variance_growth: np.ndarray
    """How much the variance grows with the strength [1/nm²], shape (..., K)."""
    apparent_growth: np.ndarray
    """How much `absent_variance` grows with the strength: of what may be noise it takes an element
    for background [1/nm²], shape (..., K)."""
    tail_variance: np.ndarray
    """Part of the variances that is due to the tail of plasmons, common to pixels: it is in
    `covariance` and `absent_variance` [1/nm⁴], shape (..., K)."""
    electrons: np.ndarray
    """Electrons that the areal densities refer to, NaN where unknown, shape (...)."""
    chi_square_per_dof: np.ndarray
    """Pearson's χ² over its degrees of freedom, shape (...)."""
    verdict: np.ndarray
    """Index into `PIXEL_VERDICTS`, shape (...)."""
    contested: Mapping[str, tuple[str, ...]]
    """Element with an edge below 100 eV → edges of other elements that explain the sum of the
    spectra as well, to a factor of 100 in likelihood; it is detected nowhere."""
    background: str
    """Model of the background in words."""
    false_alarm: float
    """Probability that an absent element is called detected in a pixel."""
    detection: float
    """Probability that an amount at the detection limit is called detected."""
    assessment: Assessment
    """What the maps are worth."""
    sentence: str
    """The same in words."""
    curves: FittedCurves | None = None
    """The fits on their channels, where `ElementOptions.curves` asks for them."""

    @property
    def areal_density_per_nm2(self) -> np.ndarray:
        """Atoms per area [1/nm²], shape (..., K).

        Values below zero are noise of what is absent, kept so that means are unbiased.
        """
        return np.asarray(self.strength / np.asarray(self.electrons)[..., np.newaxis])

    @property
    def standard_error_per_nm2(self) -> np.ndarray:
        """Standard error of the areal densities [1/nm²], shape (..., K)."""
        variance = np.diagonal(self.covariance, axis1=-2, axis2=-1)
        return np.asarray(np.sqrt(variance) / np.asarray(self.electrons)[..., np.newaxis])

    @property
    def above_noise(self) -> np.ndarray:
        """Whether each strength is above noise, with the stated false alarms, shape (..., K)."""
        from scipy.stats import norm

        with np.errstate(invalid="ignore"):
            threshold = norm.isf(self.false_alarm) * np.sqrt(self.absent_variance)
            return np.asarray(self.strength > threshold)

    @property
    def detected(self) -> np.ndarray:
        """Whether each element is above noise and uncontested, shape (..., K)."""
        return np.asarray(self.above_noise & [e not in self.contested for e in self.elements])

    @property
    def detection_limit_per_nm2(self) -> np.ndarray:
        """Areal density that is detected with probability `detection` [1/nm²], shape (..., K)."""
        variance, limit = self.absent_variance, np.zeros_like(self.absent_variance)
        for _ in range(_STEPS):  # each leaves half of the error, or less
            limit = self._just_detected(
                variance + self.apparent_growth * limit, variance + self.variance_growth * limit
            )
        return np.asarray(limit / np.asarray(self.electrons)[..., np.newaxis])

    def interval_per_nm2(self, element: str, confidence: float = 0.95) -> np.ndarray:
        """Return a confidence interval of an element's areal density.

        It is cut at zero, which loses no coverage: no density is negative. An interval that lies
        wholly below zero becomes the point 0.

        Parameters
        ----------
        element
            One of `elements`.
        confidence
            Probability that the interval holds the density.

        Returns
        -------
        ndarray
            Lower and upper end [1/nm²], shape (2, ...).
        """
        from scipy.stats import norm

        check_number("confidence", confidence, 0, 1)
        k = self._index(element)
        half = norm.isf((1 - confidence) / 2) * self.standard_error_per_nm2[..., k]
        value = self.areal_density_per_nm2[..., k]
        return np.asarray(np.maximum(np.stack([value - half, value + half]), 0.0))

    def ratio(self, one: str, other: str) -> tuple[np.ndarray, np.ndarray]:
        """Return the ratio of the atoms of two elements and its standard error, shape (...).

        It is NaN where the second element is not detected: that quotient has no mean. It needs no
        number of electrons; the cross-sections' uncertainty is not in the error.

        Parameters
        ----------
        one, other
            Two of `elements`, numerator and denominator.

        Returns
        -------
        tuple of ndarray
            Ratio and standard error.
        """
        i, j = self._index(one), self._index(other)
        known = self.detected[..., j]
        a = np.where(known, self.strength[..., i], np.nan)
        b = np.where(known, self.strength[..., j], np.nan)
        c = self.covariance
        ratio = a / b
        variance = c[..., i, i] - 2 * ratio * c[..., i, j] + ratio**2 * c[..., j, j]
        return ratio, np.sqrt(np.maximum(variance, 0.0)) / b

    def binning_for_limit(self, element: str, wished_per_nm2: float) -> np.ndarray:
        r"""Return how many pixels to add up so that an areal density can be detected.

        Parameters
        ----------
        element
            One of `elements`.
        wished_per_nm2
            Areal density that is to be the detection limit [1/nm²].

        Returns
        -------
        ndarray
            Number of pixels like this one, 1 or more, infinite where the error of a plasmon tail,
            common to all of them, is larger than what is wished, shape (...).

        Notes
        -----
        The tail's variance t stays, the others of n pixels are :math:`(\sigma^2 - t) / n`; the
        limit is the density a of :math:`a = k_\alpha \sigma_n + k_\beta \sqrt{\sigma_n^2 + c_n a}`.
        """
        check_number("wished_per_nm2", wished_per_nm2, np.finfo(float).tiny, np.inf, "1/nm²")
        k = self._index(element)
        wished = wished_per_nm2 * self.electrons
        stays = self.tail_variance[..., k]
        counting = self.absent_variance[..., k] - stays
        absent = counting + self.apparent_growth[..., k] * wished
        there = counting + self.variance_growth[..., k] * wished
        low, high = np.zeros_like(absent), np.full_like(absent, _MOST_LOG_PIXELS)
        for _ in range(_STEPS):
            middle = (low + high) / 2
            with np.errstate(invalid="ignore"):
                share = np.exp(-middle)
                enough = self._just_detected(absent * share + stays, there * share + stays) < wished
            low, high = np.where(enough, low, middle), np.where(enough, middle, high)
        pixels = np.where(high < _MOST_LOG_PIXELS, np.exp(high), np.inf)
        return _whole(np.where(np.isfinite(absent), pixels, np.nan))

    def binning_for_error(
        self, element: str, relative_error: float, *, at_per_nm2: float
    ) -> np.ndarray:
        """Return how many pixels to add up so that an areal density is known well enough.

        Parameters
        ----------
        element
            One of `elements`.
        relative_error
            Standard error over value that is wished.
        at_per_nm2
            Areal density for which it is wished [1/nm²].

        Returns
        -------
        ndarray
            Number of pixels like this one, 1 or more, infinite where the error of a plasmon tail,
            common to all of them, is larger than what is wished, shape (...).
        """
        tiny = np.finfo(float).tiny
        check_number("relative_error", relative_error, tiny, np.inf)
        check_number("at_per_nm2", at_per_nm2, tiny, np.inf, "1/nm²")
        k = self._index(element)
        strength = at_per_nm2 * self.electrons
        stays = self.tail_variance[..., k]
        counting = self.absent_variance[..., k] - stays + self.variance_growth[..., k] * strength
        left = (relative_error * strength) ** 2 - stays
        with np.errstate(divide="ignore", invalid="ignore"):
            return _whole(np.where(left <= 0, np.inf, counting / left))

    def _just_detected(self, absent: np.ndarray, there: np.ndarray) -> np.ndarray:
        """Return the strength that is detected as often as wished (Currie).

        `absent` is the variance that the threshold is made of, `there` that of the strength.
        """
        from scipy.stats import norm

        with np.errstate(invalid="ignore"):
            return np.asarray(
                norm.isf(self.false_alarm) * np.sqrt(np.maximum(absent, 0.0))
                + norm.ppf(self.detection) * np.sqrt(np.maximum(there, 0.0))
            )

    def _index(self, element: str) -> int:
        if element not in self.elements:
            raise ParameterError(
                f"{element!r} was not quantified: expected one of {', '.join(self.elements)}"
            )
        return self.elements.index(element)


def _whole(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(np.ceil(pixels), 1.0))

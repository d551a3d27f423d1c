r"""How strong a reflection's spot is, and with what probability it is missed.

The power of a Fourier coefficient over its floor, R, is exponentially distributed where there is
nothing; about a fringe whose power over the floor is S it has the density
:math:`e^{-R-S} I_0(2\sqrt{RS})`. What a candidate predicts of S is good to a factor of a few only:
dynamical scattering, tilt, contrast transfer and overlap change it. So the law used here is that
density averaged over a log-normal spread of S, and over anything for one reflection in so many.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

# Standard deviation of the logarithm of a reflection's strength about its prediction, and the
# share of reflections whose strength is anything. Fitted, see `Evidence`.
SPREAD = 1.2
ODD = 0.08
# Greatest logarithm of a spot's strength that is told apart.
STRONGEST = 10.0
_LOG_S = np.linspace(-6.0, 12.0, 181)
_STEPS = 97


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StrengthLaw:
    """Probabilities of the strengths of spots, tabulated over logarithms."""

    threshold: float
    """Power over the floor from which on spots are listed."""
    seen: np.ndarray
    """Logarithm of the density of ln R, per ln S and ln R; shape (S, R)."""
    missed: np.ndarray
    """Logarithm of the probability that no spot is listed, per ln S; shape (S,)."""

    @property
    def range(self) -> float:
        """Width of the range of ln R."""
        return float(STRONGEST - np.log(self.threshold))

    def row(self, log_s: np.ndarray) -> np.ndarray:
        """Return the rows of `seen` and `missed` for predicted strengths."""
        step = _LOG_S[1] - _LOG_S[0]
        rows = np.rint((log_s - _LOG_S[0]) / step)
        return np.asarray(np.clip(rows, 0, len(_LOG_S) - 1), dtype=np.int16)

    def rows_apart(self, log_s: np.ndarray) -> int:
        """Return how many rows two neighbours of an even range of strengths lie apart."""
        return int(np.rint((log_s[1] - log_s[0]) / (_LOG_S[1] - _LOG_S[0])))

    def column(self, log_r: np.ndarray) -> np.ndarray:
        """Return the columns of `seen` for measured strengths."""
        columns = np.rint((log_r - np.log(self.threshold)) / self.range * (_STEPS - 1))
        return np.asarray(np.clip(columns, 0, _STEPS - 1), dtype=np.int16)


@lru_cache(maxsize=32)
def strength_law(threshold: float, spread: float = SPREAD, odd: float = ODD) -> StrengthLaw:
    """Return the law of the strengths of spots.

    Parameters
    ----------
    threshold
        Power over the floor from which on spots are listed.
    spread
        Standard deviation of the logarithm of a strength about its prediction.
    odd
        Share of reflections whose strength is anything: half of them are missed.

    Examples
    --------
    >>> law = strength_law(6.0)
    >>> weak, strong = np.exp(law.missed[law.row(np.log([0.1, 1000.0]))])
    >>> weak > 0.9, strong < 0.1
    (np.True_, np.True_)
    """
    from scipy import special

    log_r = np.linspace(np.log(threshold), STRONGEST, _STEPS)
    fine = np.linspace(_LOG_S[0] - 4 * spread, _LOG_S[-1] + 4 * spread, 700)
    s, r = np.exp(fine)[:, None], np.exp(log_r)
    density = r * np.exp(-np.square(np.sqrt(s) - np.sqrt(r))) * special.ive(0, 2 * np.sqrt(s * r))
    # The distribution function, by Gauss-Legendre over the square root of R.
    node, weight = np.polynomial.legendre.leggauss(40)
    root = np.sqrt(threshold) * (node + 1) / 2
    below = 2 * root * np.exp(-np.square(np.sqrt(s) - root)) * special.ive(0, 2 * np.sqrt(s) * root)
    hidden = below @ weight * np.sqrt(threshold) / 2
    kernel = np.exp(-0.5 * ((fine - _LOG_S[:, None]) / spread) ** 2)
    kernel /= kernel.sum(axis=1, keepdims=True)
    anything = odd / 2 / (log_r[-1] - log_r[0])
    return StrengthLaw(
        threshold=threshold,
        seen=np.log((1 - odd) * (kernel @ density) + anything).astype(np.float32),
        missed=np.log((1 - odd) * (kernel @ hidden) + odd / 2).astype(np.float32),
    )

r"""How a signal fades with accumulated dose: three laws, as functions of the dose.

The doses of the exponential are 1/e doses, :math:`D_c`; half of the signal is gone at
:math:`D_{1/2} = D_c \ln 2`. How doses go from one beam energy to another says
`interphase.phases.dose_at_energy`. No function here knows the temperature: no gain by cooling is
known that holds for more than the material it was measured on.
"""

import math
from numbers import Real

import numpy as np

from interphase.errors import ParameterError


def half_dose(critical_dose_e_per_a2: float) -> float:
    """Return the dose that takes half of a signal, of one that fades exponentially.

    Parameters
    ----------
    critical_dose_e_per_a2
        Dose that leaves 1/e [e/Å²].

    Returns
    -------
    float
        ln 2 times that [e/Å²].

    Examples
    --------
    >>> round(half_dose(100.0), 1)
    69.3
    """
    return math.log(2) * _dose("critical_dose_e_per_a2", critical_dose_e_per_a2)


def exponential_fading(
    dose_e_per_a2: np.ndarray | float,
    *,
    critical_dose_e_per_a2: float,
    initial: float = 1.0,
    final: float = 0.0,
) -> np.ndarray:
    r"""Return a signal that each electron destroys in proportion to what is left of it.

    One hit is enough, and places do not know of each other: spots of organic crystals, mostly.
    Where damage must first accumulate, see `incubation_fading`.

    Parameters
    ----------
    dose_e_per_a2
        Accumulated dose [e/Å²], any shape.
    critical_dose_e_per_a2
        Dose that leaves 1/e of what fades [e/Å²].
    initial
        Signal of the fresh specimen.
    final
        Signal that stays.

    Returns
    -------
    ndarray
        :math:`I_\infty + (I_0 - I_\infty) e^{-D/D_c}`, same shape.

    Raises
    ------
    ParameterError
        A dose is negative or no number, or the critical dose is not above 0.

    Examples
    --------
    >>> exponential_fading([0.0, 10.0], critical_dose_e_per_a2=10.0, final=0.5).round(3).tolist()
    [1.0, 0.684]
    """
    critical = _dose("critical_dose_e_per_a2", critical_dose_e_per_a2)
    decay: np.ndarray = np.exp(-_accumulated(dose_e_per_a2) / critical)
    return np.asarray(final + (initial - final) * decay)


def mean_fading(
    before_e_per_a2: np.ndarray, after_e_per_a2: np.ndarray, *, critical_dose_e_per_a2: float
) -> np.ndarray:
    r"""Return the mean of an exponential decay over exposures of finite dose.

    Parameters
    ----------
    before_e_per_a2
        Dose accumulated before each exposure [e/Å²].
    after_e_per_a2
        Dose accumulated after it [e/Å²], same shape.
    critical_dose_e_per_a2
        Dose that leaves 1/e [e/Å²]; infinite for a signal that does not fade.

    Returns
    -------
    ndarray
        :math:`\frac{D_c}{w} (e^{-D/D_c} - e^{-(D+w)/D_c})` with w the dose of the exposure,
        :math:`e^{-D/D_c}` where it has none.

    Examples
    --------
    >>> before, after = np.array([0.0]), np.array([10.0])
    >>> mean_fading(before, after, critical_dose_e_per_a2=10.0).round(4).tolist()
    [0.6321]
    """
    before, after = _accumulated(before_e_per_a2), _accumulated(after_e_per_a2)
    if before.shape != after.shape:
        raise ParameterError(
            f"before_e_per_a2 has shape {before.shape} and after_e_per_a2 {after.shape}: expected "
            "one dose before and one after each exposure"
        )
    if np.any(after < before):
        raise ParameterError(
            "after_e_per_a2 is smaller than before_e_per_a2 somewhere: an exposure adds dose"
        )
    if not isinstance(critical_dose_e_per_a2, Real) or not critical_dose_e_per_a2 > 0:
        raise ParameterError(
            f"critical_dose_e_per_a2 is {critical_dose_e_per_a2!r}: expected a dose above 0 e/Å²"
        )
    return mean_decay(np.asarray(1 / critical_dose_e_per_a2), before, after)


def mean_decay(rate_a2_per_e: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return the mean of exp(-rate · dose) over exposures; the arrays broadcast."""
    step = rate_a2_per_e * (after - before)
    mean = np.divide(-np.expm1(-step), step, out=np.ones_like(step), where=step > 1e-12)
    return np.asarray(np.exp(-rate_a2_per_e * before) * mean)


def incubation_fading(
    dose_e_per_a2: np.ndarray | float, *, hit_dose_e_per_a2: float, hits: float
) -> np.ndarray:
    r"""Return a signal that stays at first: one that vanishes when every part of it has been hit.

    Parameters
    ----------
    dose_e_per_a2
        Accumulated dose [e/Å²], any shape.
    hit_dose_e_per_a2
        Dose :math:`D_1` at which 1/e of the parts are still whole [e/Å²]; more than 1/e of the
        signal is left then, unless n = 1.
    hits
        Number n of parts, at least 1; 1 is the exponential law.

    Returns
    -------
    ndarray
        :math:`1 - (1 - e^{-D/D_1})^n`, same shape.

    Raises
    ------
    ParameterError
        A dose is negative or no number, or `hits` is below 1.

    Examples
    --------
    >>> incubation_fading([0.0, 10.0, 50.0], hit_dose_e_per_a2=10.0, hits=3).round(3).tolist()
    [1.0, 0.747, 0.02]
    """
    hit = _dose("hit_dose_e_per_a2", hit_dose_e_per_a2)
    if not isinstance(hits, Real) or not 1 <= hits < math.inf:
        raise ParameterError(f"hits is {hits!r}: expected a finite number of at least 1")
    with np.errstate(divide="ignore"):
        whole = np.log(-np.expm1(-_accumulated(dose_e_per_a2) / hit))
    return np.asarray(-np.expm1(hits * whole))


def sequential_decay(
    dose_e_per_a2: np.ndarray | float,
    *,
    first_dose_e_per_a2: float,
    second_dose_e_per_a2: float,
) -> np.ndarray:
    r"""Return the shares of A, B and C where the beam makes B out of A and C out of B.

    Li2CO3 → Li2O → lithium is such a chain; each step is exponential.

    Parameters
    ----------
    dose_e_per_a2
        Accumulated dose [e/Å²], any shape.
    first_dose_e_per_a2
        Dose that leaves 1/e of A [e/Å²].
    second_dose_e_per_a2
        Dose that leaves 1/e of a given amount of B [e/Å²].

    Returns
    -------
    ndarray of shape (3, ...)
        Shares of A, B and C; they add up to 1.

    Notes
    -----
    :math:`A = e^{-D/D_1}` and, with rates :math:`k = 1/D`,
    :math:`B = k_1 (e^{-k_1 D} - e^{-k_2 D}) / (k_2 - k_1)`, which for equal rates becomes
    :math:`k D e^{-k D}`.

    Examples
    --------
    >>> shares = sequential_decay(10.0, first_dose_e_per_a2=10.0, second_dose_e_per_a2=10.0)
    >>> shares.round(4).tolist()
    [0.3679, 0.3679, 0.2642]
    """
    dose = _accumulated(dose_e_per_a2)
    k1 = 1 / _dose("first_dose_e_per_a2", first_dose_e_per_a2)
    k2 = 1 / _dose("second_dose_e_per_a2", second_dose_e_per_a2)
    first = np.exp(-k1 * dose)
    # The mean of exp(-k D) between the two rates: a form without a difference of equal numbers.
    second = k1 * dose * mean_decay(dose, np.minimum(k1, k2), np.maximum(k1, k2))
    return np.stack([first, second, np.maximum(1 - first - second, 0.0)])


def _accumulated(dose_e_per_a2: np.ndarray | float) -> np.ndarray:
    try:
        dose = np.asarray(dose_e_per_a2, dtype=float)
    except (TypeError, ValueError):
        dose = np.array(math.nan)
    if not np.all((dose >= 0) & np.isfinite(dose)):
        raise ParameterError(
            f"an accumulated dose is {dose_e_per_a2!r}: expected finite numbers of e/Å², at least 0"
        )
    return dose


def _dose(name: str, value: float) -> float:
    if not isinstance(value, Real) or not 0 < value < math.inf:
        raise ParameterError(f"{name} is {value!r}: expected a finite dose above 0 e/Å²")
    return value

"""Atoms do not rest: thermal displacements for frozen-phonon images."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from interphase.errors import ParameterError

DEBYE_TEMPERATURE_K = {"Li": 344.0, "Na": 158.0, "Al": 428.0, "Si": 645.0, "Cu": 343.0, "Au": 165.0}
"""Debye temperatures of elements at low temperature [K], remembered from C. Kittel, Introduction
to Solid State Physics, chapter 5; grade B. Compounds are not in it: give the displacements that
their refinement reports."""

_HBAR2_PER_BOLTZMANN_DALTON_A2_K = 48.508734
"""ħ² / (k u) [Å² K]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vibrations:
    """Atoms caught in independent random displacements, one exit wave for each configuration."""

    rms_a: Mapping[str, float]
    """Root mean square displacement along one direction, √U, for every element [Å]."""
    configurations: int = 8
    """Number C of configurations; images average their intensities."""

    def __post_init__(self) -> None:
        if self.configurations < 1:
            raise ParameterError(
                f"configurations is {self.configurations!r}: expected at least 1, 8 to 30 are usual"
            )
        for element, value in self.rms_a.items():
            if not 0 <= value < 1:
                raise ParameterError(
                    f"rms_a of {element} is {value!r}: expected Å from 0 to 1, about 0.1"
                )


def debye_displacement(mass_u: float, *, debye_temperature_k: float, temperature_k: float) -> float:
    r"""Return how far atoms of a monatomic solid are displaced along one direction.

    Parameters
    ----------
    mass_u
        Mass of the atom [u].
    debye_temperature_k
        Debye temperature Θ [K]; `DEBYE_TEMPERATURE_K` has some.
    temperature_k
        Temperature T [K]; 0 leaves the zero-point motion.

    Returns
    -------
    float
        Root mean square displacement [Å].

    Raises
    ------
    ParameterError
        A mass or temperature makes no sense.

    Notes
    -----
    :math:`\langle u^2 \rangle = \frac{3\hbar^2}{m k \Theta}\left[\frac14 +
    \left(\frac{T}{\Theta}\right)^2 \int_0^{\Theta/T} \frac{x\,dx}{e^x - 1}\right]` [1]_.

    References
    ----------
    .. [1] B. E. Warren, X-ray Diffraction (1969), chapter 11

    Examples
    --------
    >>> round(debye_displacement(63.546, debye_temperature_k=343, temperature_k=293), 3)
    0.077
    """
    for name, value in (("mass_u", mass_u), ("debye_temperature_k", debye_temperature_k)):
        if not 0 < value < float("inf"):
            raise ParameterError(f"{name} is {value!r}: expected a finite number > 0")
    if not 0 <= temperature_k < float("inf"):
        raise ParameterError(f"temperature_k is {temperature_k!r}: expected kelvins >= 0")
    thermal = 0.0
    if temperature_k:
        from scipy.integrate import quad

        integral, _ = quad(
            lambda x: x / np.expm1(x) if x else 1.0, 0, debye_temperature_k / temperature_k
        )
        thermal = (temperature_k / debye_temperature_k) ** 2 * integral
    scale = 3 * _HBAR2_PER_BOLTZMANN_DALTON_A2_K / (mass_u * debye_temperature_k)
    return float(np.sqrt(scale * (0.25 + thermal)))

"""Formulas of inelastic scattering: mean free path, plasmon energy, loss function."""

from collections.abc import Mapping

import numpy as np

from interphase.electron import (
    REST_ENERGY_KEV,
    checked_energy,
    lorentz_factor,
    velocity_ratio,
)
from interphase.errors import ParameterError
from interphase.phases.elements import atomic_number

_WIDEST_ANGLE_MRAD = 20.0
_REST_ENERGY_OF_THE_FITS_KEV = 511.0


def _reduced_energy(beam_energy_kev: float) -> float:
    """Return F E0 [keV], which is m v² / 2 of a relativistic electron to the fits' precision."""
    over_rest = checked_energy(beam_energy_kev) / _REST_ENERGY_OF_THE_FITS_KEV
    return float(beam_energy_kev * (1 + over_rest / 2) / (1 + over_rest) ** 2)


def mean_free_path_iakoubovskii(
    density_g_per_cm3: float,
    *,
    beam_energy_kev: float,
    collection_semi_angle_mrad: float,
    convergence_semi_angle_mrad: float = 0.0,
) -> float:
    r"""Return the inelastic mean free path from the density, for any pair of angles.

    Parameters
    ----------
    density_g_per_cm3
        Mass density ρ [g/cm³].
    beam_energy_kev
        Beam energy E0 [keV].
    collection_semi_angle_mrad
        Collection semi-angle β [mrad].
    convergence_semi_angle_mrad
        Convergence semi-angle α [mrad].

    Returns
    -------
    float
        λ [Å], trusted within about 20 %.

    Notes
    -----
    Eq. 9 of [1]_,

    .. math:: \frac{1}{\lambda} = \frac{11 \rho^{0.3}}{200 F E_0} \ln\left(
        \frac{\alpha^2 + \beta^2 + 2\theta_E^2 + |\alpha^2 - \beta^2|}
             {\alpha^2 + \beta^2 + 2\theta_C^2 + |\alpha^2 - \beta^2|}
        \frac{\theta_C^2}{\theta_E^2} \right),

    λ in nm, :math:`\theta_C` = 20 mrad and :math:`\theta_E = 5.5 \rho^{0.3} / (F E_0)` mrad.

    References
    ----------
    .. [1] K. Iakoubovskii et al., Microsc. Res. Tech. 71, 626 (2008), doi:10.1002/jemt.20597

    Examples
    --------
    >>> path = mean_free_path_iakoubovskii(
    ...     2.02, beam_energy_kev=200, collection_semi_angle_mrad=10
    ... )
    >>> round(path / 10)
    179
    """
    _check(
        density_g_per_cm3=density_g_per_cm3, collection_semi_angle_mrad=collection_semi_angle_mrad
    )
    if not 0 <= convergence_semi_angle_mrad < np.inf:
        raise ParameterError(
            f"convergence_semi_angle_mrad is {convergence_semi_angle_mrad!r}: expected a finite "
            "number >= 0; 0 is a parallel beam"
        )
    energy = _reduced_energy(beam_energy_kev)
    theta_e = 5.5 * density_g_per_cm3**0.3 / energy
    wider = max(convergence_semi_angle_mrad, collection_semi_angle_mrad)
    share = (wider**2 + theta_e**2) / (wider**2 + _WIDEST_ANGLE_MRAD**2)
    logarithm = np.log(share * (_WIDEST_ANGLE_MRAD / theta_e) ** 2)
    return float(10 * 200 * energy / (11 * density_g_per_cm3**0.3 * logarithm))


def mean_free_path_malis(
    composition: Mapping[str, float], *, beam_energy_kev: float, collection_semi_angle_mrad: float
) -> float:
    r"""Return the inelastic mean free path from the mean atomic number.

    Do not use it for collection semi-angles above about 15 mrad.

    Parameters
    ----------
    composition
        Element → number or share of atoms f.
    beam_energy_kev
        Beam energy E0 [keV].
    collection_semi_angle_mrad
        Collection semi-angle β [mrad].

    Returns
    -------
    float
        λ [Å], trusted within about 20 %.

    Notes
    -----
    :math:`\lambda = 106 F E_0 / [E_m \ln(2 \beta E_0 / E_m)]` nm with
    :math:`E_m = 7.6\, Z^{0.36}` eV and :math:`Z = \sum f Z^{1.3} / \sum f Z^{0.3}` [1]_.

    References
    ----------
    .. [1] T. Malis, S. C. Cheng and R. F. Egerton, J. Electron Microsc. Tech. 8, 193 (1988),
           doi:10.1002/jemt.1060080206

    Examples
    --------
    >>> path = mean_free_path_malis(
    ...     {"C": 1}, beam_energy_kev=200, collection_semi_angle_mrad=10
    ... )
    >>> round(path / 10, 1)
    160.8
    """
    _check(collection_semi_angle_mrad=collection_semi_angle_mrad)
    z = np.array([atomic_number(element) for element in composition], dtype=float)
    shares = np.array(list(composition.values()))
    mean = float(shares @ z**1.3 / (shares @ z**0.3))
    loss_ev = 7.6 * mean**0.36
    logarithm = np.log(2 * collection_semi_angle_mrad * beam_energy_kev / loss_ev)
    return float(10 * 106 * _reduced_energy(beam_energy_kev) / (loss_ev * logarithm))


def free_electron_plasmon(electrons_per_a3: float) -> float:
    r"""Return the plasmon energy of a gas of free electrons.

    Parameters
    ----------
    electrons_per_a3
        Density n of the electrons that take part [1/Å³].

    Returns
    -------
    float
        :math:`E_p = \hbar \sqrt{n e^2 / \varepsilon_0 m}` [eV].

    Examples
    --------
    >>> round(free_electron_plasmon(2 / 3.5101**3), 1)  # lithium, one electron per atom
    8.0
    """
    from scipy.constants import epsilon_0, hbar, m_e

    # ħ √(n e² / ε0 m) in joules over e: the charge cancels.
    return float(hbar * np.sqrt(electrons_per_a3 * 1e30 / (epsilon_0 * m_e)))


def drude_loss_function(
    energy_ev: np.ndarray, *, peak_ev: float | np.ndarray, fwhm_ev: float | np.ndarray
) -> np.ndarray:
    r"""Return the loss function of one damped plasmon.

    Parameters
    ----------
    energy_ev
        Energy loss E [eV], any shape.
    peak_ev
        Where the loss function is largest [eV].
    fwhm_ev
        Width Γ of the peak [eV].

    Returns
    -------
    ndarray
        Im(-1/ε), same shape.

    Notes
    -----
    :math:`E \Gamma E_p^2 / [(E^2 - E_p^2)^2 + (E \Gamma)^2]`. Damping puts the largest value below
    the resonance: :math:`E_p^2 = x (\sqrt{4 + \Gamma^2 / x} - 1)`, x the square of `peak_ev`.

    Examples
    --------
    >>> energy = np.linspace(0, 50, 5001)
    >>> loss = drude_loss_function(energy, peak_ev=18.5, fwhm_ev=9)
    >>> round(float(energy[loss.argmax()]), 2)
    18.5
    """
    square = peak_ev**2
    resonance = square * (np.sqrt(4 + fwhm_ev**2 / square) - 1)
    damping = (energy_ev * fwhm_ev) ** 2
    loss: np.ndarray = energy_ev * fwhm_ev * resonance / ((energy_ev**2 - resonance) ** 2 + damping)
    return loss


def angular_factor(
    energy_ev: np.ndarray, *, beam_energy_kev: float, semi_angle_mrad: float
) -> np.ndarray:
    r"""Return how the collected share of losses depends on their energy, ln(1 + β²/θ_E²).

    Parameters
    ----------
    energy_ev
        Energy loss E [eV], any shape, above 0.
    beam_energy_kev
        Beam energy [keV].
    semi_angle_mrad
        Collection semi-angle β [mrad].

    Returns
    -------
    ndarray
        Same shape; :math:`\theta_E = E / \gamma m v^2`.

    Examples
    --------
    >>> factor = angular_factor(np.array([20.0]), beam_energy_kev=300, semi_angle_mrad=10)
    >>> round(float(factor[0]), 1)
    11.0
    """
    twice = (
        1e3
        * REST_ENERGY_KEV
        * lorentz_factor(beam_energy_kev)
        * velocity_ratio(beam_energy_kev) ** 2
    )
    factor: np.ndarray = np.log1p((semi_angle_mrad * 1e-3 * twice / energy_ev) ** 2)
    return factor


def _check(**values: float) -> None:
    for name, value in values.items():
        if not 0 < value < np.inf:
            raise ParameterError(f"{name} is {value!r}: expected a finite number > 0")

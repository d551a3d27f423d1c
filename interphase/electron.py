"""Formulas of the fast electron: wavelength, contrast transfer, energy transfer, dose.

Each function is one formula on plain numbers or arrays, in the package's units: beam energy
keV, lengths Å, spatial frequency 1/Å without 2π, dose (fluence) e/Å². Signs: defocus is
positive for underfocus, and the electron's phase shift χ is negative for it.
"""

from typing import TypeVar

import numpy as np

from interphase.errors import ParameterError

Real = TypeVar("Real", float, np.ndarray)

PLANCK_J_S = 6.62607015e-34
"""Planck constant [J s], exact (SI)."""
ELEMENTARY_CHARGE_C = 1.602176634e-19
"""Elementary charge [C], exact (SI)."""
LIGHT_M_PER_S = 299792458.0
"""Speed of light [m/s], exact (SI)."""
ELECTRON_MASS_KG = 9.1093837139e-31
"""Electron mass [kg], CODATA 2022."""
REST_ENERGY_KEV = ELECTRON_MASS_KG * LIGHT_M_PER_S**2 / ELEMENTARY_CHARGE_C / 1e3
"""Rest energy of the electron [keV]."""
DALTON_KEV = 931494.10372
"""Rest energy of the atomic mass unit [keV], CODATA 2022."""
FINE_STRUCTURE = 7.2973525643e-3
"""Fine-structure constant, CODATA 2022."""
CLASSICAL_RADIUS_A = 2.8179403205e-5
"""Classical radius of the electron [Å], CODATA 2022."""
BARN_A2 = 1e-8
"""One barn [Å²], exact."""
BETHE_CONSTANT_MEV_CM2_PER_MOL = 0.307075
"""4π N_A r_e² m c² [MeV cm²/mol], Particle Data Group."""
ENERGIES_KEV = (1.0, 3000.0)
"""Beam energies that microscopes have had, and more [keV]: outside them the unit is wrong."""
_A_PER_MM = 1e7


def checked_energy(beam_energy_kev: Real) -> Real:
    """Return a beam energy, if it can be one.

    Parameters
    ----------
    beam_energy_kev
        Beam energy [keV].

    Returns
    -------
    float or ndarray
        The same.

    Raises
    ------
    ParameterError
        It is not within `ENERGIES_KEV`, as where it was given in eV.

    Examples
    --------
    >>> checked_energy(300.0)
    300.0
    """
    energy, (least, most) = np.asarray(beam_energy_kev), ENERGIES_KEV
    if energy.dtype.kind not in "iuf" or not ((least <= energy) & (energy <= most)).all():
        raise ParameterError(
            f"beam_energy_kev is {beam_energy_kev!r}: expected keV, {least:g} to {most:g}; did you "
            "give eV?"
        )
    return beam_energy_kev


def lorentz_factor(beam_energy_kev: Real) -> Real:
    """Return γ = 1 + E/mc² of an electron of kinetic energy E.

    Parameters
    ----------
    beam_energy_kev
        Beam energy [keV].

    Returns
    -------
    float or ndarray
        γ.

    Examples
    --------
    >>> round(lorentz_factor(300.0), 5)
    1.58709
    """
    return 1 + checked_energy(beam_energy_kev) / REST_ENERGY_KEV


def velocity_ratio(beam_energy_kev: Real) -> Real:
    """Return β = v/c of an electron.

    Parameters
    ----------
    beam_energy_kev
        Beam energy [keV].

    Returns
    -------
    float or ndarray
        β.

    Examples
    --------
    >>> round(velocity_ratio(200.0), 5)
    0.69531
    """
    ratio: Real = np.sqrt(1 - lorentz_factor(beam_energy_kev) ** -2)
    return _plain(ratio)


def wavelength_from_energy(beam_energy_kev: Real) -> Real:
    r"""Return the relativistic wavelength of an electron.

    Parameters
    ----------
    beam_energy_kev
        Beam energy [keV].

    Returns
    -------
    float or ndarray
        λ [Å].

    Notes
    -----
    :math:`\lambda = hc / \sqrt{E (E + 2 m c^2)}`.

    Examples
    --------
    >>> round(wavelength_from_energy(300.0), 6)
    0.019687
    """
    energy = checked_energy(beam_energy_kev)
    hc_kev_a = PLANCK_J_S * LIGHT_M_PER_S / ELEMENTARY_CHARGE_C * 1e7
    wavelength: Real = hc_kev_a / np.sqrt(energy * (energy + 2 * REST_ENERGY_KEV))
    return _plain(wavelength)


def interaction_parameter(beam_energy_kev: Real) -> Real:
    r"""Return the phase shift per projected potential.

    Parameters
    ----------
    beam_energy_kev
        Beam energy [keV].

    Returns
    -------
    float or ndarray
        σ [rad/(V Å)].

    Notes
    -----
    :math:`\sigma = 2\pi m \gamma e \lambda / h^2`.

    Examples
    --------
    >>> round(1e4 * interaction_parameter(300.0), 4)
    6.5262
    """
    per_v_m2 = 2 * np.pi * ELECTRON_MASS_KG * ELEMENTARY_CHARGE_C / PLANCK_J_S**2
    sigma: Real = (
        per_v_m2 * lorentz_factor(beam_energy_kev) * wavelength_from_energy(beam_energy_kev) * 1e-20
    )
    return _plain(sigma)


def aberration_phase(
    k_per_a: Real,
    *,
    beam_energy_kev: float,
    defocus_a: float,
    spherical_aberration_mm: float = 0.0,
) -> Real:
    r"""Return the phase shift χ of the objective lens.

    Parameters
    ----------
    k_per_a
        Spatial frequency [1/Å].
    beam_energy_kev
        Beam energy [keV].
    defocus_a
        Defocus, positive = underfocus [Å].
    spherical_aberration_mm
        Spherical aberration [mm].

    Returns
    -------
    float or ndarray
        χ [rad], like `k_per_a`.

    Notes
    -----
    :math:`\chi(k) = -\pi \lambda \Delta f k^2 + \tfrac12 \pi C_s \lambda^3 k^4`; with abTEM's
    :math:`C_{10} = -\Delta f` this is its phase.

    Examples
    --------
    >>> round(aberration_phase(0.1, beam_energy_kev=300.0, defocus_a=1000.0), 4)
    -0.6185
    """
    wavelength = wavelength_from_energy(beam_energy_kev)
    cs = spherical_aberration_mm * _A_PER_MM
    chi: Real = np.pi * wavelength * k_per_a**2 * (-defocus_a + cs * wavelength**2 * k_per_a**2 / 2)
    return _plain(chi)


def temporal_envelope(k_per_a: Real, *, beam_energy_kev: float, focal_spread_a: float) -> Real:
    r"""Return the damping of contrast by a spread of defocus.

    Parameters
    ----------
    k_per_a
        Spatial frequency [1/Å].
    beam_energy_kev
        Beam energy [keV].
    focal_spread_a
        Standard deviation δ of the defocus [Å]; a program that states the 1/e width gives
        √2 times as much.

    Returns
    -------
    float or ndarray
        :math:`\exp[-\tfrac12 (\pi\lambda\delta k^2)^2]`.

    Examples
    --------
    >>> temporal_envelope(0.0, beam_energy_kev=300.0, focal_spread_a=50.0)
    1.0
    """
    wavelength = wavelength_from_energy(beam_energy_kev)
    envelope: Real = np.exp(-0.5 * (np.pi * wavelength * focal_spread_a * k_per_a**2) ** 2)
    return _plain(envelope)


def spatial_envelope(
    k_per_a: Real,
    *,
    beam_energy_kev: float,
    defocus_a: float,
    spherical_aberration_mm: float = 0.0,
    semi_convergence_angle_mrad: float,
) -> Real:
    r"""Return the damping of contrast by a convergent illumination.

    Parameters
    ----------
    k_per_a
        Spatial frequency [1/Å].
    beam_energy_kev
        Beam energy [keV].
    defocus_a
        Defocus, positive = underfocus [Å].
    spherical_aberration_mm
        Spherical aberration [mm].
    semi_convergence_angle_mrad
        Semi-angle α at which the angular distribution of the illumination falls to 1/e [mrad].

    Returns
    -------
    float or ndarray
        :math:`\exp[-(\pi\alpha/\lambda)^2 (C_s\lambda^3 k^3 - \Delta f \lambda k)^2]`.

    Examples
    --------
    >>> spatial_envelope(
    ...     0.3, beam_energy_kev=300.0, defocus_a=500.0, semi_convergence_angle_mrad=0.0
    ... )
    1.0
    """
    shift = delocalisation(
        k_per_a,
        beam_energy_kev=beam_energy_kev,
        defocus_a=defocus_a,
        spherical_aberration_mm=spherical_aberration_mm,
    )
    alpha = semi_convergence_angle_mrad * 1e-3
    wavelength = wavelength_from_energy(beam_energy_kev)
    envelope: Real = np.exp(-((np.pi * alpha / wavelength * shift) ** 2))
    return _plain(envelope)


def contrast_transfer(
    k_per_a: Real,
    *,
    beam_energy_kev: float,
    defocus_a: float,
    spherical_aberration_mm: float = 0.0,
    amplitude_contrast: float = 0.0,
    focal_spread_a: float = 0.0,
    semi_convergence_angle_mrad: float = 0.0,
) -> Real:
    r"""Return the contrast transfer function of a thin, weakly scattering object.

    Crystallites thicker than some 5 nm, or near a zone axis, scatter too strongly for it.

    Parameters
    ----------
    k_per_a
        Spatial frequency [1/Å].
    beam_energy_kev
        Beam energy [keV].
    defocus_a
        Defocus, positive = underfocus [Å].
    spherical_aberration_mm
        Spherical aberration [mm].
    amplitude_contrast
        Share Q of amplitude contrast, 0 to 1; 0.07 to 0.1 is usual for organic matter.
    focal_spread_a
        Standard deviation of the defocus [Å].
    semi_convergence_angle_mrad
        Semi-angle of illumination at 1/e [mrad].

    Returns
    -------
    float or ndarray
        :math:`-[\sqrt{1-Q^2}\sin\chi - Q\cos\chi]` times both envelopes, -1 to 1: with
        underfocus, where :math:`\chi` starts negative, phase and amplitude contrast add up. The
        overall sign is a convention; powers use its square.

    Examples
    --------
    >>> round(contrast_transfer(0.2, beam_energy_kev=300.0, defocus_a=635.0), 4)
    1.0
    """
    if not 0 <= amplitude_contrast <= 1:
        raise ParameterError(
            f"amplitude_contrast is {amplitude_contrast!r}: expected a share from 0 to 1"
        )
    chi = aberration_phase(
        k_per_a,
        beam_energy_kev=beam_energy_kev,
        defocus_a=defocus_a,
        spherical_aberration_mm=spherical_aberration_mm,
    )
    phase_share = np.sqrt(1 - amplitude_contrast**2)
    temporal = temporal_envelope(
        k_per_a, beam_energy_kev=beam_energy_kev, focal_spread_a=focal_spread_a
    )
    spatial = spatial_envelope(
        k_per_a,
        beam_energy_kev=beam_energy_kev,
        defocus_a=defocus_a,
        spherical_aberration_mm=spherical_aberration_mm,
        semi_convergence_angle_mrad=semi_convergence_angle_mrad,
    )
    transfer: Real = -(phase_share * np.sin(chi) - amplitude_contrast * np.cos(chi))
    return _plain(transfer * temporal * spatial)


def focal_spread(
    *,
    chromatic_aberration_mm: float,
    beam_energy_kev: float,
    energy_spread_ev: float = 0.0,
    lens_current_ripple: float = 0.0,
    voltage_ripple: float = 0.0,
) -> float:
    r"""Return the standard deviation of defocus that energy spread and instabilities make.

    Parameters
    ----------
    chromatic_aberration_mm
        Chromatic aberration [mm].
    beam_energy_kev
        Beam energy [keV].
    energy_spread_ev
        Standard deviation of the beam's energy [eV].
    lens_current_ripple
        Relative standard deviation of the objective current.
    voltage_ripple
        Relative standard deviation of the high voltage.

    Returns
    -------
    float
        δ [Å], :math:`C_c \sqrt{(\Delta E/E)^2 + (2\Delta I/I)^2 + (\Delta V/V)^2}`.

    Examples
    --------
    >>> round(
    ...     focal_spread(
    ...         chromatic_aberration_mm=2.7, beam_energy_kev=300.0, energy_spread_ev=0.3
    ...     ),
    ...     2,
    ... )
    27.0
    """
    relative = (
        energy_spread_ev / (1e3 * checked_energy(beam_energy_kev)),
        2 * lens_current_ripple,
        voltage_ripple,
    )
    return float(chromatic_aberration_mm * _A_PER_MM * np.linalg.norm(relative))


def scherzer_defocus(
    *, beam_energy_kev: float, spherical_aberration_mm: float, factor: float = 1.2
) -> float:
    r"""Return the defocus that passes the widest band of spatial frequencies.

    Parameters
    ----------
    beam_energy_kev
        Beam energy [keV].
    spherical_aberration_mm
        Spherical aberration [mm].
    factor
        1.2 for the extended optimum; √(4/3) is also in use.

    Returns
    -------
    float
        Defocus, positive = underfocus [Å], :math:`1.2\sqrt{C_s\lambda}`.

    Examples
    --------
    >>> round(scherzer_defocus(beam_energy_kev=300.0, spherical_aberration_mm=2.7), 1)
    874.9
    """
    cs = _positive("spherical_aberration_mm", spherical_aberration_mm) * _A_PER_MM
    return float(factor * np.sqrt(cs * wavelength_from_energy(beam_energy_kev)))


def point_resolution(
    *, beam_energy_kev: float, spherical_aberration_mm: float, factor: float = 0.64
) -> float:
    r"""Return the point resolution at Scherzer defocus.

    Parameters
    ----------
    beam_energy_kev
        Beam energy [keV].
    spherical_aberration_mm
        Spherical aberration [mm].
    factor
        0.64 to 0.66 by convention.

    Returns
    -------
    float
        Spacing [Å], :math:`0.64\, C_s^{1/4} \lambda^{3/4}`.

    Examples
    --------
    >>> round(point_resolution(beam_energy_kev=300.0, spherical_aberration_mm=2.7), 3)
    2.425
    """
    cs = _positive("spherical_aberration_mm", spherical_aberration_mm) * _A_PER_MM
    return float(factor * cs**0.25 * wavelength_from_energy(beam_energy_kev) ** 0.75)


def delocalisation(
    k_per_a: Real,
    *,
    beam_energy_kev: float,
    defocus_a: float,
    spherical_aberration_mm: float = 0.0,
) -> Real:
    r"""Return how far fringes are displaced from the crystallite that makes them.

    Parameters
    ----------
    k_per_a
        Spatial frequency of the fringes, 1/d [1/Å].
    beam_energy_kev
        Beam energy [keV].
    defocus_a
        Defocus, positive = underfocus [Å].
    spherical_aberration_mm
        Spherical aberration [mm].

    Returns
    -------
    float or ndarray
        :math:`|\lambda\Delta f k - C_s\lambda^3 k^3|` [Å].

    Examples
    --------
    >>> round(delocalisation(1 / 2.66, beam_energy_kev=300.0, defocus_a=1000.0), 1)
    7.4
    """
    wavelength = wavelength_from_energy(beam_energy_kev)
    cs = spherical_aberration_mm * _A_PER_MM
    shift: Real = np.abs(wavelength * k_per_a * (defocus_a - cs * wavelength**2 * k_per_a**2))
    return _plain(shift)


def max_transferred_energy(beam_energy_kev: Real, mass_u: float) -> Real:
    r"""Return the most energy an electron can give a nucleus in one collision.

    Parameters
    ----------
    beam_energy_kev
        Beam energy [keV].
    mass_u
        Mass of the atom [u].

    Returns
    -------
    float or ndarray
        T_max [eV].

    Notes
    -----
    :math:`T = 2 E (E + 2mc^2) M c^2 / [(Mc^2 + mc^2)^2 + 2 M c^2 E]`, exact for two free
    particles.

    Examples
    --------
    >>> round(max_transferred_energy(300.0, 6.941), 2)
    122.65
    """
    energy = checked_energy(beam_energy_kev)
    atom = _positive("mass_u", mass_u) * DALTON_KEV
    transferred: Real = (
        2e3
        * energy
        * (energy + 2 * REST_ENERGY_KEV)
        * atom
        / ((atom + REST_ENERGY_KEV) ** 2 + 2 * atom * energy)
    )
    return transferred


def knock_on_threshold(displacement_energy_ev: Real, mass_u: float) -> Real:
    """Return the beam energy above which a nucleus can be knocked from its place.

    Parameters
    ----------
    displacement_energy_ev
        Energy the atom needs to leave its site [eV].
    mass_u
        Mass of the atom [u].

    Returns
    -------
    float or ndarray
        Threshold [keV], the inverse of `max_transferred_energy`.

    Examples
    --------
    >>> round(knock_on_threshold(10.0, 6.941), 1)
    30.7
    """
    if not np.all(np.asarray(displacement_energy_ev) > 0):
        raise ParameterError(
            f"displacement_energy_ev is {displacement_energy_ev!r}: expected above 0 eV"
        )
    atom = _positive("mass_u", mass_u) * DALTON_KEV
    transferred = displacement_energy_ev / 1e3
    # 2 M E² + (4 m - 2 T) M E - T (M + m)² = 0
    half_b = atom * (2 * REST_ENERGY_KEV - transferred)
    c = transferred * (atom + REST_ENERGY_KEV) ** 2
    threshold: Real = (np.sqrt(half_b**2 + 2 * atom * c) - half_b) / (2 * atom)
    return _plain(threshold)


def knock_on_cross_section(
    beam_energy_kev: Real, *, displacement_energy_ev: float, atomic_number: int, mass_u: float
) -> Real:
    r"""Return the cross-section for knocking an atom from its place in one collision.

    For light atoms, Z α < 0.2: it expands in that number. What falls back into its vacancy, and
    what others knock out in cascades, is not counted.

    Parameters
    ----------
    beam_energy_kev
        Beam energy [keV].
    displacement_energy_ev
        Energy the atom needs to leave its site [eV]; of compounds rarely known within a factor 2.
    atomic_number
        Charge Z of the nucleus.
    mass_u
        Mass of the atom [u].

    Returns
    -------
    float or ndarray
        Cross-section [barn], 0 below `knock_on_threshold`; see `displacement_dose`.

    Raises
    ------
    ParameterError
        A value is not above 0, or the energy is none of a microscope.

    Notes
    -----
    Mott scattering after McKinley and Feshbach [1]_, integrated from :math:`E_d` to
    :math:`T_\mathrm{max}`; with :math:`t = T_\mathrm{max}/E_d` and :math:`a = \pi Z \alpha \beta`

    .. math::
        \sigma = \pi Z^2 r_e^2 \frac{1-\beta^2}{\beta^4}
        \left[t - 1 - \beta^2 \ln t + a \left(2\sqrt t - 2 - \ln t\right)\right]

    References
    ----------
    .. [1] W. A. McKinley and H. Feshbach, Phys. Rev. 74, 1759 (1948), doi:10.1103/PhysRev.74.1759

    Examples
    --------
    >>> lithium = {"displacement_energy_ev": 10.0, "atomic_number": 3, "mass_u": 6.94}
    >>> round(knock_on_cross_section(200.0, **lithium), 1)
    28.0
    """
    displacement = _positive("displacement_energy_ev", displacement_energy_ev)
    charge = _positive("atomic_number", atomic_number)
    beta = velocity_ratio(beam_energy_kev)
    # Below the threshold nothing is transferred that suffices: t = 1 gives 0.
    t = np.maximum(max_transferred_energy(beam_energy_kev, mass_u) / displacement, 1.0)
    mott = np.pi * charge * FINE_STRUCTURE * beta * (2 * np.sqrt(t) - 2 - np.log(t))
    section: Real = (
        np.pi
        * (charge * CLASSICAL_RADIUS_A) ** 2
        * (1 - beta**2)
        / beta**4
        # At the threshold, rounding would leave it below 0.
        * np.maximum(t - 1 - beta**2 * np.log(t) + mott, 0.0)
        / BARN_A2
    )
    return _plain(section)


def displacement_dose(displacements_per_atom: Real, *, cross_section_barn: float) -> Real:
    """Return the dose that displaces a number of times per atom.

    Parameters
    ----------
    displacements_per_atom
        Displacements per atom, 0.01 for 1 %.
    cross_section_barn
        Cross-section, as from `knock_on_cross_section` [barn].

    Returns
    -------
    float or ndarray
        Fluence [e/Å²].

    Examples
    --------
    >>> round(displacement_dose(0.01, cross_section_barn=28.0))
    35714
    """
    if not np.all((np.asarray(displacements_per_atom) >= 0) & np.isfinite(displacements_per_atom)):
        raise ParameterError(
            f"displacements_per_atom is {displacements_per_atom!r}: expected a finite number, at "
            "least 0"
        )
    return displacements_per_atom / (_positive("cross_section_barn", cross_section_barn) * BARN_A2)


def collision_stopping_power(
    beam_energy_kev: Real, *, charge_per_mass_mol_g: float, mean_excitation_ev: float
) -> Real:
    r"""Return the energy an electron loses to the electrons of matter, per mass thickness.

    Without the density correction, which is below 1 % under 300 keV.

    Parameters
    ----------
    beam_energy_kev
        Beam energy [keV].
    charge_per_mass_mol_g
        Z/A of the material [mol/g], 0.5551 for water.
    mean_excitation_ev
        Mean excitation energy I [eV], 75 for water.

    Returns
    -------
    float or ndarray
        S/ρ [MeV cm²/g].

    Notes
    -----
    :math:`\frac{S}{\rho} = \frac{2\pi N_A r_e^2 mc^2}{\beta^2}\frac{Z}{A}
    \{\ln(E/I)^2 + \ln(1+\tau/2) + F\}` with
    :math:`F = (1-\beta^2)[1 + \tau^2/8 - (2\tau+1)\ln 2]` [1]_.

    References
    ----------
    .. [1] M. J. Berger and S. M. Seltzer, in ICRU Report 37 (1984), the formula of NIST ESTAR

    Examples
    --------
    >>> water = {"charge_per_mass_mol_g": 0.5551, "mean_excitation_ev": 75.0}
    >>> round(collision_stopping_power(100.0, **water), 3)
    4.115
    """
    tau = checked_energy(beam_energy_kev) / REST_ENERGY_KEV
    beta2 = velocity_ratio(beam_energy_kev) ** 2
    if not 10 <= mean_excitation_ev <= 1200:
        raise ParameterError(
            f"mean_excitation_ev is {mean_excitation_ev!r} eV: expected 10 to 1200 (hydrogen has "
            "19, uranium 890)"
        )
    excitation_kev = mean_excitation_ev / 1e3
    f = (1 - beta2) * (1 + tau**2 / 8 - (2 * tau + 1) * np.log(2))
    power: Real = (
        BETHE_CONSTANT_MEV_CM2_PER_MOL
        / 2
        * _positive("charge_per_mass_mol_g", charge_per_mass_mol_g)
        / beta2
        * (2 * np.log(beam_energy_kev / excitation_kev) + np.log(1 + tau / 2) + f)
    )
    return _plain(power)


def absorbed_dose(dose_e_per_a2: Real, *, stopping_power_mev_cm2_g: float) -> Real:
    """Return the energy deposited per mass by a fluence, if no secondary escapes.

    Parameters
    ----------
    dose_e_per_a2
        Electron fluence [e/Å²].
    stopping_power_mev_cm2_g
        Collision stopping power [MeV cm²/g].

    Returns
    -------
    float or ndarray
        Absorbed dose [MGy].

    Examples
    --------
    >>> round(absorbed_dose(1.0, stopping_power_mev_cm2_g=4.115), 2)
    6.59
    """
    joule_per_mev = ELEMENTARY_CHARGE_C * 1e6
    gray = dose_e_per_a2 * 1e16 * stopping_power_mev_cm2_g * joule_per_mev * 1e3
    return gray / 1e6


def coulomb_per_cm2_from_dose(dose_e_per_a2: Real) -> Real:
    """Return a fluence in the unit of the older literature.

    Parameters
    ----------
    dose_e_per_a2
        Fluence [e/Å²].

    Returns
    -------
    float or ndarray
        Charge per area [C/cm²].

    Examples
    --------
    >>> round(1e3 * coulomb_per_cm2_from_dose(1.0), 3)
    1.602
    """
    return dose_e_per_a2 * (1e16 * ELEMENTARY_CHARGE_C)


def dose_from_coulomb_per_cm2(charge_c_per_cm2: Real) -> Real:
    """Return a fluence from charge per area.

    Parameters
    ----------
    charge_c_per_cm2
        Charge per area [C/cm²].

    Returns
    -------
    float or ndarray
        Fluence [e/Å²].

    Examples
    --------
    >>> round(dose_from_coulomb_per_cm2(1.0), 1)
    624.2
    """
    return charge_c_per_cm2 / (1e16 * ELEMENTARY_CHARGE_C)


def dose_from_e_per_m2(fluence_e_per_m2: Real) -> Real:
    """Return a fluence from electrons per square metre, the unit of some file headers.

    Parameters
    ----------
    fluence_e_per_m2
        Fluence [e/m²].

    Returns
    -------
    float or ndarray
        Fluence [e/Å²].

    Examples
    --------
    >>> round(dose_from_e_per_m2(4.117e21), 2)
    41.17
    """
    return fluence_e_per_m2 * 1e-20


def dose_from_electrons_per_pixel(electrons_per_pixel: Real, *, pixel_size_a: float) -> Real:
    """Return the fluence of an image from electrons per pixel.

    Parameters
    ----------
    electrons_per_pixel
        Electrons incident on the area of one pixel.
    pixel_size_a
        Pixel size at the specimen [Å].

    Returns
    -------
    float or ndarray
        Fluence [e/Å²].

    Examples
    --------
    >>> round(dose_from_electrons_per_pixel(4.249, pixel_size_a=0.41501), 2)
    24.67
    """
    return electrons_per_pixel / _positive("pixel_size_a", pixel_size_a) ** 2


def dose_from_current(*, current_pa: float, dwell_time_s: float, pixel_area_a2: float) -> float:
    """Return the mean fluence of a scan from the probe current.

    It is the mean over the scanned area; a probe smaller than its step exposes parts of the
    area to more.

    Parameters
    ----------
    current_pa
        Probe current [pA].
    dwell_time_s
        Time per position, flyback not counted [s].
    pixel_area_a2
        Area per position [Å²].

    Returns
    -------
    float
        Fluence [e/Å²].

    Examples
    --------
    >>> round(dose_from_current(current_pa=10, dwell_time_s=1e-5, pixel_area_a2=1.0), 1)
    624.2
    """
    if not (0 <= current_pa < float("inf") and 0 <= dwell_time_s < float("inf")):
        raise ParameterError(
            f"current_pa is {current_pa!r} and dwell_time_s is {dwell_time_s!r}: expected both "
            "finite and not negative"
        )
    electrons = current_pa * 1e-12 * dwell_time_s / ELEMENTARY_CHARGE_C
    return electrons / _positive("pixel_area_a2", pixel_area_a2)


def _positive(name: str, value: float) -> float:
    if not 0 < value < float("inf"):
        raise ParameterError(f"{name} is {value!r}: expected a finite number above 0")
    return value


def _plain(value: Real) -> Real:
    """Return a NumPy scalar as a Python float, an array as it is."""
    return value if isinstance(value, np.ndarray) else float(value)

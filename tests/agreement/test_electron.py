"""Published and independently computed numbers of electron optics."""

import numpy as np
import pytest

from interphase import electron

OPTICS = {
    60: (0.048661, 1.11742, 0.44622, 0.19912, 11.3569),
    80: (0.041757, 1.15656, 0.50240, 0.25240, 10.0871),
    100: (0.037014, 1.19570, 0.54822, 0.30055, 9.2440),
    120: (0.033492, 1.23483, 0.58667, 0.34418, 8.6381),
    200: (0.025079, 1.39139, 0.69531, 0.48346, 7.2884),
    300: (0.019687, 1.58709, 0.77653, 0.60299, 6.5262),
}
"""Beam energy [keV] → λ [Å], γ, β, β², 10³ σ [rad/(V nm)], from CODATA constants."""

TRANSFERRED = {
    1.00794: (138.1, 187.6, 238.7, 291.5, 519.8, 843.4),
    6.94: (20.08, 27.27, 34.70, 42.38, 75.58, 122.65),
    12.011: (11.60, 15.76, 20.05, 24.49, 43.68, 70.89),
    14.007: (9.95, 13.51, 17.20, 21.00, 37.46, 60.79),
    15.999: (8.71, 11.83, 15.06, 18.39, 32.80, 53.22),
    18.998: (7.34, 9.96, 12.68, 15.49, 27.62, 44.82),
    22.990: (6.06, 8.23, 10.48, 12.80, 22.82, 37.04),
    30.974: (4.50, 6.11, 7.78, 9.50, 16.94, 27.49),
    32.06: (4.35, 5.90, 7.51, 9.18, 16.37, 26.56),
    35.45: (3.93, 5.34, 6.80, 8.30, 14.80, 24.02),
    63.546: (2.19, 2.98, 3.79, 4.63, 8.26, 13.40),
    138.905: (1.00, 1.36, 1.73, 2.12, 3.78, 6.13),
}
"""Mass [u] → most energy transferred [eV] at the energies of `OPTICS`."""


@pytest.mark.parametrize("energy", OPTICS)
def test_relativistic_optics(energy):
    wavelength, gamma, beta, beta2, sigma = OPTICS[energy]
    assert f"{electron.wavelength_from_energy(float(energy)):.6f}" == f"{wavelength:.6f}"
    assert f"{electron.lorentz_factor(float(energy)):.5f}" == f"{gamma:.5f}"
    assert f"{electron.velocity_ratio(float(energy)):.5f}" == f"{beta:.5f}"
    assert f"{electron.velocity_ratio(float(energy)) ** 2:.5f}" == f"{beta2:.5f}"
    assert f"{electron.interaction_parameter(float(energy)) * 1e4:.4f}" == f"{sigma:.4f}"


@pytest.mark.parametrize("mass", TRANSFERRED)
def test_transferred_energy(mass):
    computed = electron.max_transferred_energy(np.array([*OPTICS], dtype=float), mass)
    # One unit of the last printed figure: several standard masses are ranges.
    assert computed == pytest.approx(TRANSFERRED[mass], abs=0.051 if mass < 2 else 0.0201)


@pytest.mark.parametrize(
    ("mass", "displacement", "threshold"),
    [
        (6.94, 1.66, 5.2),
        (6.94, 5, 15.6),
        (6.94, 10, 30.7),
        (6.94, 15, 45.4),
        (6.94, 20, 59.8),
        (12.011, 17, 85.9),
        (12.011, 22, 108.8),
        (28.085, 13, 145.6),
        (28.085, 22, 229.9),
        (63.546, 19, 396.5),
    ],
)
def test_displacement_thresholds(mass, displacement, threshold):
    assert electron.knock_on_threshold(float(displacement), mass) == pytest.approx(
        threshold, abs=0.06
    )


def test_thresholds_of_silicon_span_the_published_range():
    """Published: 145 to 220 keV."""
    assert electron.knock_on_threshold(13.0, 28.085) == pytest.approx(145, abs=1)
    assert electron.knock_on_threshold(21.0, 28.085) == pytest.approx(220, abs=2)


@pytest.mark.parametrize(
    ("displacement", "number", "mass", "barns"),
    [
        (10, 3, 6.94, ("39.1", "36.8", "28.0", "24.2")),
        (5, 3, 6.94, ("107", "94", "64", "54")),
        (17, 6, 12.011, ("0.0", "9.1", "22.6", "23.3")),
        (10, 8, 15.999, ("26", "48", "62", "60")),
        (10, 9, 18.998, ("0", "31", "59", "59")),
    ],
)
def test_knock_on_cross_sections(displacement, number, mass, barns):
    """McKinley and Feshbach at 80, 100, 200 and 300 keV, to every printed digit."""
    computed = electron.knock_on_cross_section(
        np.array([80.0, 100.0, 200.0, 300.0]),
        displacement_energy_ev=displacement,
        atomic_number=number,
        mass_u=mass,
    )
    for value, printed in zip(computed, barns, strict=True):
        assert f"{value:.{len(printed.partition('.')[2])}f}" == printed


def test_doses_that_displace_one_lithium_atom_in_a_hundred():
    """3.6 and 4.1 times 10⁴ e/Å² at 200 and 300 keV; 1.6 to 6 for 5 to 15 eV at 200 keV."""
    for energy, displacement, printed in (
        (200.0, 10, "3.6"),
        (300.0, 10, "4.1"),
        (200.0, 5, "1.6"),
        (200.0, 15, "6.1"),
    ):
        section = electron.knock_on_cross_section(
            energy, displacement_energy_ev=displacement, atomic_number=3, mass_u=6.94
        )
        dose = electron.displacement_dose(0.01, cross_section_barn=section)
        assert f"{dose / 1e4:.1f}" == printed


MATERIALS = {
    "carbon": (0.49954, 81.0, (5.87, 3.99, 3.36)),
    "water": (0.55508, 75.0, (6.59, 4.47, 3.77)),
    "LiF": (0.46262, 94.0, (5.32, 3.62, 3.06)),
}
"""Z/A [mol/g], mean excitation energy [eV], MGy per e/Å² at 100, 200 and 300 keV."""


@pytest.mark.parametrize("material", MATERIALS)
def test_absorbed_dose_per_fluence(material):
    ratio, excitation, expected = MATERIALS[material]
    power = electron.collision_stopping_power(
        np.array([100.0, 200.0, 300.0]),
        charge_per_mass_mol_g=ratio,
        mean_excitation_ev=excitation,
    )
    dose = [electron.absorbed_dose(1.0, stopping_power_mev_cm2_g=float(p)) for p in power]
    assert dose == pytest.approx(expected, abs=0.006)


def test_stopping_power_of_water_is_that_of_nist():
    """NIST ESTAR: 4.115 and 2.355 MeV cm²/g."""
    water = {"charge_per_mass_mol_g": 0.55508, "mean_excitation_ev": 75.0}
    assert electron.collision_stopping_power(100.0, **water) == pytest.approx(4.115, abs=1e-3)
    assert electron.collision_stopping_power(300.0, **water) == pytest.approx(2.355, abs=1e-3)


@pytest.mark.parametrize(
    ("energy", "cs", "unit", "optimum", "resolution"),
    [
        (300.0, 2.7, 729.1, 874.9, 2.425),
        (300.0, 1.2, 486.1, 583.3, 1.980),
        (200.0, 1.2, 548.6, 658.3, 2.374),
        (200.0, 0.5, 354.1, 424.9, 1.907),
    ],
)
def test_scherzer_conditions(energy, cs, unit, optimum, resolution):
    lens = {"beam_energy_kev": energy, "spherical_aberration_mm": cs}
    assert electron.scherzer_defocus(factor=1.0, **lens) == pytest.approx(unit, abs=0.06)
    assert electron.scherzer_defocus(**lens) == pytest.approx(optimum, abs=0.06)
    assert electron.point_resolution(**lens) == pytest.approx(resolution, abs=6e-4)


@pytest.mark.parametrize(("energy", "cs", "zero"), [(300.0, 2.7, 0.4089), (200.0, 1.2, 0.4177)])
def test_first_zero_of_the_transfer_at_scherzer_defocus(energy, cs, zero):
    lens = {"beam_energy_kev": energy, "spherical_aberration_mm": cs}
    defocus = electron.scherzer_defocus(**lens)
    k = np.linspace(0.2, 0.6, 400001)
    transfer = electron.contrast_transfer(k, defocus_a=defocus, **lens)
    first = k[np.flatnonzero(np.diff(np.sign(transfer)))[0]]
    assert first == pytest.approx(zero, abs=6e-5)


@pytest.mark.parametrize(("defocus", "shift"), [(1000.0, 7.4), (5000.0, 37.0)])
def test_delocalisation_of_oxide_fringes(defocus, shift):
    computed = electron.delocalisation(1 / 2.66, beam_energy_kev=300.0, defocus_a=defocus)
    assert computed == pytest.approx(shift, abs=0.06)


def test_phase_shift_is_abtems():
    """CTF of abTEM 1.0.11, whose C10 is minus the defocus."""
    transfer = pytest.importorskip("abtem.transfer")
    lens = {"defocus": 850.0, "Cs": 1.2e7}
    kernel = transfer.CTF(energy=200e3, **lens)
    k = np.linspace(0.01, 0.6, 40)
    theirs = kernel._evaluate_from_angular_grid(
        k * electron.wavelength_from_energy(200.0), np.zeros_like(k)
    )
    chi = electron.aberration_phase(
        k, beam_energy_kev=200.0, defocus_a=850.0, spherical_aberration_mm=1.2
    )
    assert np.asarray(theirs) == pytest.approx(np.exp(-1j * chi), abs=2e-3)


def test_dose_units():
    assert electron.coulomb_per_cm2_from_dose(1.0) * 1e3 == pytest.approx(1.602, abs=6e-4)
    assert electron.dose_from_coulomb_per_cm2(1.0) == pytest.approx(624.2, abs=0.06)

"""Formulas of the fast electron."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interphase import electron
from interphase.errors import ParameterError

ENERGY = st.floats(10.0, 1000.0)


@settings(deadline=None)
@given(ENERGY, ENERGY)
def test_faster_electrons_have_shorter_waves_and_interact_less(one, other):
    slow, fast = sorted([one, other])
    for falling in (electron.wavelength_from_energy, electron.interaction_parameter):
        assert falling(slow) >= falling(fast)
    assert electron.velocity_ratio(slow) <= electron.velocity_ratio(fast) < 1


@settings(deadline=None)
@given(ENERGY, st.floats(1.0, 240.0))
def test_knock_on_threshold_inverts_the_transferred_energy(energy, mass):
    transferred = electron.max_transferred_energy(energy, mass)
    assert electron.knock_on_threshold(transferred, mass) == pytest.approx(energy, rel=1e-9)


@settings(deadline=None)
@given(st.floats(2.0, 60.0), st.integers(1, 30))
def test_knock_on_begins_at_its_threshold(displacement, number):
    mass = 2.1 * number
    atom = {"displacement_energy_ev": displacement, "atomic_number": number, "mass_u": mass}
    threshold = electron.knock_on_threshold(displacement, mass)
    around = np.clip(threshold * np.array([0.99, 1.0, 1.01]), 1.0, 3000.0)
    below, at, above = electron.knock_on_cross_section(around, **atom)
    assert below == 0
    assert 0 <= at <= above


def test_knock_on_by_integration_of_its_differential_cross_section():
    from scipy.integrate import quad

    energy, z, mass, displacement = 300.0, 8, 15.999, 20.0
    beta = electron.velocity_ratio(energy)
    most = electron.max_transferred_energy(energy, mass)

    def differential(transferred):
        share = transferred / most
        mott = (
            1
            - beta**2 * share
            + np.pi * z * electron.FINE_STRUCTURE * beta * np.sqrt(share) * (1 - np.sqrt(share))
        )
        return most / transferred**2 * mott

    rutherford = np.pi * (z * electron.CLASSICAL_RADIUS_A) ** 2 * (1 - beta**2) / beta**4
    expected = rutherford * quad(differential, displacement, most)[0] / electron.BARN_A2
    assert electron.knock_on_cross_section(
        energy, displacement_energy_ev=displacement, atomic_number=z, mass_u=mass
    ) == pytest.approx(expected, rel=1e-9)


@settings(deadline=None)
@given(st.floats(1e-6, 1e6))
def test_dose_units_round_trip(dose):
    charge = electron.coulomb_per_cm2_from_dose(dose)
    assert electron.dose_from_coulomb_per_cm2(charge) == pytest.approx(dose)


@settings(deadline=None)
@given(st.floats(0.01, 1.0), st.floats(-2e4, 2e4), st.floats(0.0, 5.0))
def test_delocalisation_is_the_slope_of_the_phase(k, defocus, cs):
    lens = {"beam_energy_kev": 300.0, "defocus_a": defocus, "spherical_aberration_mm": cs}
    step = 1e-5
    slope = (
        electron.aberration_phase(k + step, **lens) - electron.aberration_phase(k - step, **lens)
    ) / (2 * step)
    expected = electron.delocalisation(k, **lens)
    assert abs(slope) / (2 * np.pi) == pytest.approx(expected, rel=1e-4, abs=1e-2)


def test_underfocus_turns_the_phase_back():
    assert electron.aberration_phase(0.1, beam_energy_kev=300.0, defocus_a=1000.0) < 0


def test_transfer_without_aberrations_is_the_amplitude_contrast():
    lens = {"beam_energy_kev": 300.0, "defocus_a": 0.0}
    assert electron.contrast_transfer(0.3, **lens) == 0
    assert electron.contrast_transfer(0.3, amplitude_contrast=0.1, **lens) == pytest.approx(0.1)


def test_phase_and_amplitude_contrast_add_up_at_underfocus():
    lens = {"beam_energy_kev": 300.0, "defocus_a": 5000.0, "spherical_aberration_mm": 1.2}
    # Images of exp[e cos(2 pi k x) (i sqrt(1 - Q^2) - Q)] by multislice software, Q = 0.1.
    for k, expected in ((0.0156, 0.175), (0.0312, 0.391)):
        assert electron.contrast_transfer(k, amplitude_contrast=0.1, **lens) == pytest.approx(
            expected, abs=0.005
        )


def test_envelopes_damp_high_frequencies_only():
    k = np.linspace(0, 0.8, 50)
    temporal = electron.temporal_envelope(k, beam_energy_kev=300.0, focal_spread_a=60.0)
    spatial = electron.spatial_envelope(
        k, beam_energy_kev=300.0, defocus_a=5000.0, semi_convergence_angle_mrad=0.3
    )
    for envelope in (temporal, spatial):
        assert envelope[0] == 1
        assert np.all(np.diff(envelope) < 0)
    # Half a radian of phase spread at k: exp(-1/2 (pi lambda delta k²)²) by hand.
    wavelength = electron.wavelength_from_energy(300.0)
    at = electron.temporal_envelope(0.5, beam_energy_kev=300.0, focal_spread_a=60.0)
    assert at == pytest.approx(np.exp(-0.5 * (np.pi * wavelength * 60 * 0.25) ** 2))


def test_transfer_is_damped_by_both_envelopes():
    lens = {"beam_energy_kev": 300.0, "defocus_a": 800.0, "spherical_aberration_mm": 2.7}
    k = np.linspace(0.05, 0.6, 30)
    damped = electron.contrast_transfer(
        k, focal_spread_a=40.0, semi_convergence_angle_mrad=0.2, **lens
    )
    product = (
        electron.contrast_transfer(k, **lens)
        * electron.temporal_envelope(k, beam_energy_kev=300.0, focal_spread_a=40.0)
        * electron.spatial_envelope(k, semi_convergence_angle_mrad=0.2, **lens)
    )
    assert damped == pytest.approx(product)


def test_focal_spread_adds_its_causes_in_squares():
    spread = electron.focal_spread(
        chromatic_aberration_mm=2.0,
        beam_energy_kev=200.0,
        energy_spread_ev=0.6,
        lens_current_ripple=2e-6,
    )
    assert spread == pytest.approx(2e7 * np.hypot(3e-6, 4e-6))


def test_scan_dose_is_charge_over_area():
    assert electron.dose_from_current(
        current_pa=50.0, dwell_time_s=2e-6, pixel_area_a2=0.25
    ) == pytest.approx(50e-12 * 2e-6 / 1.602176634e-19 / 0.25)


def test_arrays_keep_their_shape():
    energies = np.array([[80.0, 200.0, 300.0]])
    for formula in (electron.wavelength_from_energy, electron.interaction_parameter):
        assert formula(energies).shape == (1, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: electron.wavelength_from_energy(0.0), r"beam_energy_kev is 0\.0"),
        (lambda: electron.wavelength_from_energy(np.array([1, np.nan])), "beam_energy_kev is"),
        (lambda: electron.wavelength_from_energy(300e3), "1 to 3000; did you give eV"),
        (lambda: electron.velocity_ratio(np.array([300.0, 2e5])), "did you give eV"),
        (lambda: electron.lorentz_factor("300"), "beam_energy_kev is '300': expected keV"),
        (lambda: electron.max_transferred_energy(300.0, -1.0), r"mass_u is -1\.0"),
        (lambda: electron.knock_on_threshold(0.0, 7.0), r"displacement_energy_ev is 0\.0"),
        (
            lambda: electron.knock_on_cross_section(
                300.0, displacement_energy_ev=-1.0, atomic_number=3, mass_u=7.0
            ),
            r"displacement_energy_ev is -1\.0",
        ),
        (
            lambda: electron.displacement_dose(np.array([0.01, -0.01]), cross_section_barn=28.0),
            "displacements_per_atom is .*at least 0",
        ),
        (
            lambda: electron.collision_stopping_power(
                100.0, charge_per_mass_mol_g=0.0, mean_excitation_ev=75.0
            ),
            r"charge_per_mass_mol_g is 0\.0: expected a finite number above 0",
        ),
        (
            lambda: electron.displacement_dose(0.01, cross_section_barn=0.0),
            r"cross_section_barn is 0\.0",
        ),
        (
            lambda: electron.dose_from_current(
                current_pa=-1.0, dwell_time_s=1.0, pixel_area_a2=1.0
            ),
            r"current_pa is -1\.0",
        ),
        (
            lambda: electron.dose_from_electrons_per_pixel(1.0, pixel_size_a=0.0),
            r"pixel_size_a is 0\.0",
        ),
        (
            lambda: electron.contrast_transfer(
                0.1, beam_energy_kev=300.0, defocus_a=0.0, amplitude_contrast=1.2
            ),
            r"amplitude_contrast is 1\.2",
        ),
    ],
)
def test_impossible_values_are_refused_by_name(call, message):
    with pytest.raises(ParameterError, match=message):
        call()

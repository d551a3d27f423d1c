"""t/λ of simulated films and of closed forms; mean free paths of the published formulas."""

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interphase.assessment import Assessment
from interphase.eels import (
    absolute_thickness,
    find_valley,
    find_zero_loss,
    lithium_warning,
    mean_free_path,
    measure_thickness,
    plural_share,
)
from interphase.errors import MissingValueError, ParameterError
from interphase.phases import load_phase
from interphase.simulation import (
    EnergyAxis,
    Spectrometer,
    record_spectra,
    spectrum_image,
    spectrum_truth,
)

OPTICS = Spectrometer(
    beam_energy_kev=300,
    collection_semi_angle_mrad=10,
    convergence_semi_angle_mrad=10,
    resolution_fwhm_ev=0.8,
)
AXIS = EnergyAxis(first_ev=-10, dispersion_ev=0.25, channels=640)


@pytest.fixture(scope="module")
def films():
    """Spectra expected of Li2O films of 5 to 150 nm and their t/λ, shifted at random."""
    thickness = {"Li2O": np.tile(np.geomspace(50, 1500, 6), (100, 1))}
    rng = np.random.default_rng(5)
    share = spectrum_image(
        thickness, axis=AXIS, spectrometer=OPTICS, energy_shift_ev=rng.uniform(-1, 1, (100, 6))
    )
    return share, spectrum_truth(thickness, spectrometer=OPTICS).relative_thickness


@pytest.mark.parametrize("electrons", [3000.0, 1e5])
def test_the_error_of_films_is_the_stated_one(films, electrons, rng):
    share, truth = films
    counts = record_spectra(share, electrons_per_pixel=electrons, rng=rng)
    found = find_zero_loss(counts, AXIS.energies_ev)
    thickness = measure_thickness(counts, AXIS.energies_ev, found)
    assert thickness.assessment is Assessment.OK
    error = thickness.relative - truth
    assert np.abs(error.mean(axis=0)).max() < 0.01 + thickness.systematic
    pull = (error - error.mean(axis=0)) / thickness.relative_error
    assert np.mean(np.abs(pull) < 1) == pytest.approx(0.683, abs=0.05)
    assert np.mean(np.abs(pull) < 1.96) == pytest.approx(0.95, abs=0.025)


@settings(deadline=None, max_examples=20)
@given(x=st.floats(0.01, 3))
def test_the_logarithm_of_a_poisson_share_is_the_thickness(x):
    energy = np.arange(-10, 150, 0.5)
    peak = np.exp(-2 * energy**2)
    loss = np.exp(-(((energy - 22) / 3) ** 2))
    counts = 1e6 * (peak / peak.sum() + np.expm1(x) * loss / loss.sum())
    found = find_zero_loss(counts, energy)
    thickness = measure_thickness(counts, energy, found)
    assert thickness.relative == pytest.approx(x, rel=2e-3)


def test_read_noise_widens_the_error(rng):
    energy = np.arange(-10, 100, 0.25)
    expected = 400 * np.exp(-2 * energy**2) + 5 * np.exp(-(((energy - 20) / 6) ** 2))
    counts = 5 * rng.poisson(np.tile(expected, (500, 1))) + rng.normal(0, 12, (500, len(energy)))
    found = find_zero_loss(counts, energy, gain=5, read_noise=12)
    thickness = measure_thickness(counts, energy, found, gain=5, read_noise=12)
    assert np.std(thickness.relative) == pytest.approx(
        np.median(thickness.relative_error), rel=0.12
    )


def test_vacuum_lies_below_the_detection_limit_and_a_film_at_the_limit_is_seen(rng):
    energy = np.arange(-10, 60, 0.25)
    peak, loss = np.exp(-2 * energy**2), np.exp(-(((energy - 20) / 6) ** 2))
    shares = [0.0, 9e-4, 36e-4]
    seen = []
    for share in shares:
        expected = 1e4 * (peak / peak.sum() + share * loss / loss.sum())
        counts = rng.poisson(np.tile(expected, (400, 1))).astype(float)
        thickness = measure_thickness(counts, energy, find_zero_loss(counts, energy), cut_ev=4.0)
        assert thickness.smallest == pytest.approx(9e-4, rel=0.02)
        seen.append(float(np.mean(thickness.relative > thickness.smallest)))
    assert seen[0] == 0
    assert seen[1] == pytest.approx(0.5, abs=0.1)
    assert seen[2] > 0.99


def test_losses_beyond_the_axis_are_counted_by_a_power_law():
    energy = np.arange(-10, 400, 0.5)
    tail = np.where(energy > 15, 2e5 * np.maximum(energy, 1.0) ** -2.5, 0)
    counts = 1e4 * np.exp(-2 * energy**2) + tail
    found = find_zero_loss(counts, energy)
    whole = measure_thickness(counts, energy, found)
    short = energy < 150
    cut = measure_thickness(counts[short], energy[short], found)
    assert cut.relative == pytest.approx(float(whole.relative), abs=2e-3)
    assert cut.beyond_share > 2 * whole.beyond_share


def test_dark_thick_and_offset_spectra_get_a_sentence(rng):
    energy = np.arange(-10, 100, 0.25)
    peak, loss = np.exp(-2 * energy**2), np.exp(-(((energy - 20) / 6) ** 2))
    expected = np.tile(300 * peak + loss, (20, 1))
    expected[3] /= 1000
    counts = rng.poisson(expected).astype(float)
    thickness = measure_thickness(counts, energy, find_zero_loss(counts, energy))
    assert np.isnan(thickness.relative[3])
    assert "the electrons do not suffice" in thickness.sentence
    thick = 300 * peak + 1e3 * loss
    with_loss = measure_thickness(thick, energy, find_zero_loss(thick, energy))
    assert with_loss.assessment is Assessment.AMBIGUOUS
    assert "so thick" in with_loss.sentence
    raised = 300 * peak + loss + 2
    with_offset = measure_thickness(raised, energy, find_zero_loss(raised, energy))
    assert with_offset.assessment is Assessment.AMBIGUOUS
    assert "subtract the readout's offset" in with_offset.sentence
    core = np.exp(-energy / 50)
    with pytest.raises(MissingValueError, match="t/λ cannot be measured: no zero-loss"):
        measure_thickness(core, energy, find_zero_loss(core, energy))
    with pytest.raises(ParameterError, match="expected that of the spectra"):
        measure_thickness(counts, energy, find_zero_loss(thick, energy))


@pytest.mark.parametrize(
    ("phase", "iakoubovskii_nm", "malis_nm"),
    [("Li", 247, 198), ("Li2O", 179, 170), ("LiF", 168, 157), ("Li2CO3", 177, 159)],
)
def test_mean_free_paths_are_those_of_the_two_papers(phase, iakoubovskii_nm, malis_nm):
    cell = load_phase(phase)
    path = mean_free_path(
        density_g_per_cm3=cell.density_g_cm3,
        composition=cell.atoms_per_cell,
        beam_energy_kev=200,
        collection_mrad=10,
        convergence_mrad=10,
    )
    assert path.malis_a is not None
    # Published numbers are rounded, and densities differ by 0.3 % with the temperature of the cell.
    assert path.iakoubovskii_a / 10 == pytest.approx(iakoubovskii_nm, abs=0.6)
    assert path.malis_a / 10 == pytest.approx(malis_nm, abs=0.6)
    disagreement = path.iakoubovskii_a - path.malis_a
    assert path.error_a == pytest.approx(max(disagreement, 0.2 * path.path_a))


def test_chunks_do_not_change_a_thickness(films, rng):
    counts = record_spectra(films[0][:6], electrons_per_pixel=1e4, rng=rng)
    found = find_zero_loss(counts, AXIS.energies_ev)
    whole = measure_thickness(counts, AXIS.energies_ev, found)
    lazy = measure_thickness(da.from_array(counts, chunks=(4, 3, -1)), AXIS.energies_ev, found)
    assert lazy.relative == pytest.approx(whole.relative, rel=1e-12)


def test_a_formula_is_not_used_where_it_does_not_hold():
    options = {"density_g_per_cm3": 2.0, "beam_energy_kev": 200, "convergence_mrad": 30}
    wide = mean_free_path(composition={"Li": 1, "F": 1}, collection_mrad=33, **options)
    assert wide.malis_a is None
    assert "does not hold at 33 mrad" in wide.sentence
    bare = mean_free_path(collection_mrad=10, **options)
    assert bare.error_a == pytest.approx(0.2 * bare.path_a)
    assert "needs a composition" in bare.sentence
    with pytest.raises(ParameterError, match="density"):
        mean_free_path(collection_mrad=10, **{**options, "density_g_per_cm3": 0})


def test_the_absolute_thickness_carries_both_errors(films, rng):
    share, _ = films
    counts = record_spectra(share, electrons_per_pixel=1e5, rng=rng)
    thickness = measure_thickness(
        counts, AXIS.energies_ev, find_zero_loss(counts, AXIS.energies_ev)
    )
    path = mean_free_path(
        density_g_per_cm3=2.02, beam_energy_kev=300, collection_mrad=10, convergence_mrad=10
    )
    value, error = absolute_thickness(thickness, path)
    assert np.median(value, axis=0) == pytest.approx(np.geomspace(50, 1500, 6), rel=0.06)
    assert (error >= 0.2 * value).all()


@given(x=st.floats(0.001, 5))
def test_plural_scattering_is_what_poisson_says(x):
    assert float(plural_share(x)) == pytest.approx(
        1 - x * np.exp(-x) / (1 - np.exp(-x)), rel=1e-6, abs=1e-9
    )


def test_lithium_is_warned_of_where_plasmons_pile_up():
    assert lithium_warning(np.array([0.1, np.nan, 0.2])) is None
    assert lithium_warning(np.array([np.nan])) is None
    assert "convolve" in str(lithium_warning(0.4))
    assert "fourier_log" in str(lithium_warning(0.9))
    # A tenth of a map is enough.
    assert lithium_warning(np.array([0.1] * 9 + [0.9])) is not None


def test_the_valley_is_before_the_first_loss():
    energy = np.arange(-5, 60, 0.1)
    spectrum = 1e4 * np.exp(-0.5 * (energy / 0.4) ** 2) + 50 * np.exp(
        -0.5 * ((energy - 7.3) / 1.5) ** 2
    )
    assert 1.5 < find_valley(spectrum, energy, 0.94) < 3.5

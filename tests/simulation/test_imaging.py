"""Waves and images agree with abTEM, with closed forms, and with the lattice put in."""

import abtem
import numpy as np
import pytest
from ase import Atoms

from interphase.errors import ParameterError
from interphase.phases import load_phase
from interphase.simulation import (
    ExitWave,
    Optics,
    Scene,
    crystallite,
    diffraction_intensity,
    diffraction_pattern,
    exit_wave,
    image_from_exit_wave,
    memory_estimate_gb,
    resample,
    zone_axis_orientation,
)

WAVELENGTH_300_KV_A = 0.0196875


def scene_of(atoms, size=(64.0, 64.0), thickness=40.0):
    atoms.set_cell([size[1], size[0], thickness])
    atoms.pbc = True
    return Scene(atoms=atoms, size_a=size, thickness_a=thickness, matrix="vacuum")


@pytest.fixture(scope="module")
def crystal_wave():
    """Li2O along [001], a turned sphere of 40 Å in vacuum."""
    phase = load_phase("Li2O")
    orientation = zone_axis_orientation(phase, (0, 0, 1), in_plane_deg=17.0)
    atoms = crystallite(phase, 38.0, orientation=orientation)
    atoms.positions += (32.0, 32.0, 20.0)
    return exit_wave(scene_of(atoms), beam_energy_kev=300.0, sampling_a=0.25)


def test_rows_are_y_and_columns_are_x():
    atoms = Atoms("Au", positions=[[10.0, 30.0, 4.0]])
    wave = exit_wave(
        scene_of(atoms, size=(48.0, 32.0), thickness=8.0), beam_energy_kev=300.0, sampling_a=0.25
    )
    assert wave.array.shape == (192, 128)
    optics = Optics(defocus_a=100.0)
    image = image_from_exit_wave(wave, optics)
    for array in (np.abs(np.angle(wave.array)), np.abs(image - 1)):
        row, column = np.unravel_index(array.argmax(), array.shape)
        assert row * wave.pixel_size_a[0] == pytest.approx(30.0, abs=0.26)
        assert column * wave.pixel_size_a[1] == pytest.approx(10.0, abs=0.26)


def test_exit_wave_is_that_of_plain_abtem(rng):
    atoms = Atoms("C200Au5", positions=rng.uniform(0, 16, (205, 3)))
    scene = scene_of(atoms, size=(20.0, 16.0), thickness=16.0)
    wave = exit_wave(scene, beam_energy_kev=200.0, sampling_a=0.2, slice_thickness_a=2.0)
    with abtem.config.set({"precision": "float32", "diagnostics.progress_bar": False}):
        potential = abtem.Potential(atoms, sampling=0.2, slice_thickness=2.0, projection="infinite")
        plain = abtem.PlaneWave(energy=200e3).multislice(potential).compute().array
    np.testing.assert_allclose(wave.array, plain.T, atol=1e-6)


def test_image_is_that_of_plain_abtem(crystal_wave):
    optics = Optics(
        defocus_a=300.0, spherical_aberration_mm=0.7, focal_spread_a=30.0, semi_convergence_mrad=0.3
    )
    with abtem.config.set({"precision": "float32", "diagnostics.progress_bar": False}):
        waves = abtem.Waves(crystal_wave.array.T, energy=300e3, sampling=0.25)
        plain = waves.apply_ctf(
            abtem.CTF(
                C10=-300.0, C30=0.7e7, focal_spread=30.0 * 2**0.5, angular_spread=0.3, energy=300e3
            )
        )
        expected = plain.intensity().array
    np.testing.assert_allclose(image_from_exit_wave(crystal_wave, optics), expected.T, atol=1e-6)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    "optics",
    [
        Optics(defocus_a=150.0),
        Optics(defocus_a=-400.0),
        Optics(defocus_a=500.0, spherical_aberration_mm=1.2),
        Optics(defocus_a=500.0, spherical_aberration_mm=1.2, focal_spread_a=40.0),
        Optics(defocus_a=500.0, spherical_aberration_mm=1.2, semi_convergence_mrad=0.5),
    ],
)
def test_weak_phase_grating_is_seen_as_the_sine_of_chi(optics, axis):
    # An electron phase of 2ε cos(2πkx) makes the intensity 1 + 4ε sin χ · envelope · cos(2πkx).
    epsilon, size, cycles = 1e-3, 256, 26
    k = cycles / (size * 0.25)
    x = np.arange(size)
    fringes = np.broadcast_to(np.cos(2 * np.pi * cycles * x / size), (size, size))
    if axis == 0:
        fringes = fringes.T
    wave = ExitWave(
        array=np.exp(2j * epsilon * fringes).astype(np.complex64),
        pixel_size_a=(0.25, 0.25),
        beam_energy_kev=300.0,
    )
    image = image_from_exit_wave(wave, optics)

    lam, cs = WAVELENGTH_300_KV_A, optics.spherical_aberration_mm * 1e7
    chi = -np.pi * lam * optics.defocus_a * k**2 + np.pi / 2 * cs * lam**3 * k**4
    temporal = np.exp(-0.5 * (np.pi * lam * optics.focal_spread_a * k**2) ** 2)
    slope = cs * lam**3 * k**3 - optics.defocus_a * lam * k
    spatial = np.exp(-((np.pi * optics.semi_convergence_mrad * 1e-3 / lam * slope) ** 2))
    measured = 2 * ((image - 1) * fringes).mean()
    assert measured == pytest.approx(4 * epsilon * np.sin(chi) * temporal * spatial, abs=4e-5)


def test_atoms_are_dark_at_small_underfocus():
    atoms = Atoms("C", positions=[[8.0, 8.0, 2.0]])
    wave = exit_wave(
        scene_of(atoms, size=(16.0, 16.0), thickness=4.0), beam_energy_kev=300.0, sampling_a=0.25
    )
    image = image_from_exit_wave(wave, Optics(defocus_a=100.0))
    assert image[32, 32] < 1 < image_from_exit_wave(wave, Optics(defocus_a=-100.0))[32, 32]


def test_vacuum_has_intensity_one(crystal_wave):
    image = image_from_exit_wave(crystal_wave, Optics(defocus_a=0.0, focal_spread_a=30.0))
    assert image[:20, :20].mean() == pytest.approx(1, abs=0.01)
    assert image.mean() == pytest.approx(1, abs=0.02)


def peak_near(power, k_per_a, extent_a):
    """Centre of mass of the strongest spot near (ky, kx) [1/Å]."""
    middle = len(power) // 2
    row, column = (middle + round(k * extent_a) for k in k_per_a)
    window = power[row - 3 : row + 4, column - 3 : column + 4]
    offset = np.arange(-3, 4)
    weight = window.sum()
    dy, dx = (window.sum(axis=1) @ offset / weight, window.sum(axis=0) @ offset / weight)
    return np.hypot(row + dy - middle, column + dx - middle) / extent_a


@pytest.mark.parametrize("hkl", [(2, 2, 0), (2, -2, 0), (0, 4, 0)])
def test_li2o_spots_stand_at_their_spacings(crystal_wave, hkl):
    phase = load_phase("Li2O")
    orientation = zone_axis_orientation(phase, (0, 0, 1), in_plane_deg=17.0)
    kx, ky, kz = orientation.matrix @ (np.array(hkl) @ phase.reciprocal_vectors)
    assert abs(kz) < 1e-9
    d = 4.6114 / np.linalg.norm(hkl)

    image = image_from_exit_wave(crystal_wave, Optics(defocus_a=90.0))
    power = np.abs(np.fft.fftshift(np.fft.fft2(image - image.mean()))) ** 2
    assert peak_near(power, (ky, kx), 64.0) == pytest.approx(1 / d, rel=0.01)

    pattern, step = diffraction_intensity(crystal_wave, aperture_diameter_a=60.0)
    assert step == pytest.approx(1 / 64)
    assert peak_near(pattern, (ky, kx), 64.0) == pytest.approx(1 / d, rel=0.01)


def test_pattern_sums_to_one_and_is_strongest_undiffracted(crystal_wave):
    pattern, _ = diffraction_intensity(crystal_wave, aperture_diameter_a=50.0)
    assert pattern.sum() == pytest.approx(1)
    assert np.unravel_index(pattern.argmax(), pattern.shape) == (128, 128)


def test_recorded_pattern_counts_the_electrons_beside_the_beam_stop(crystal_wave, rng):
    pattern, step = diffraction_pattern(
        crystal_wave, aperture_diameter_a=50.0, dose_e_per_a2=100.0, beam_stop_per_a=0.1, rng=rng
    )
    k = (np.arange(256) - 128) * step
    inside = np.hypot(k[:, None], k) < 0.1
    share, _ = diffraction_intensity(crystal_wave, aperture_diameter_a=50.0)
    # The amplitude is 1 to a radius of 20 Å and falls evenly to 0 at 25 Å; electrons pass with
    # its square.
    open_area = np.pi * 20**2 + 2 * np.pi * (25 * 5**3 / 3 - 5**4 / 4) / 5**2
    expected = share[~inside].sum() * 100 * open_area
    assert pattern[inside].sum() == 0
    assert pattern.sum() == pytest.approx(expected, abs=5 * np.sqrt(expected))


def test_patterns_that_cannot_be_are_refused(crystal_wave):
    with pytest.raises(ParameterError, match=r"at most the field of 64\.0 Å"):
        diffraction_intensity(crystal_wave, aperture_diameter_a=70.0)
    oblong = ExitWave(
        array=crystal_wave.array[:100], pixel_size_a=(0.25, 0.25), beam_energy_kev=300.0
    )
    with pytest.raises(ParameterError, match="give a square field"):
        diffraction_intensity(oblong, aperture_diameter_a=20.0)


def test_resampling_keeps_every_frequency_that_fits(rng):
    spectrum = np.zeros((90, 60), dtype=complex)
    for row, column in ((3, 5), (-7, 2), (19, -14), (0, 0)):
        spectrum[row, column] = rng.normal() + 1j * rng.normal()
    y, x = np.mgrid[:90, :60]

    def field(y, x):
        rows, columns = np.nonzero(spectrum)
        waves = [
            spectrum[r, c]
            * np.exp(
                2j * np.pi * (np.fft.fftfreq(90, 1 / 90)[r] * y + np.fft.fftfreq(60, 1 / 60)[c] * x)
            )
            for r, c in zip(rows, columns, strict=True)
        ]
        return np.real(sum(waves))

    coarse = resample(field(y / 90, x / 60), (45, 40))
    y, x = np.mgrid[:45, :40]
    np.testing.assert_allclose(coarse, field(y / 45, x / 40), atol=1e-5)
    with pytest.raises(ParameterError, match="give at most as many"):
        resample(coarse, (46, 40))


def test_size_is_known_before_it_is_paid():
    scene = scene_of(Atoms("C", positions=[[1.0, 1.0, 1.0]]), size=(4000.0, 4000.0))
    assert memory_estimate_gb(scene, sampling_a=0.1) > 100
    with pytest.raises(ParameterError, match=r"needs about 153\.6 GB.*a sampling of 0\.44 Å"):
        exit_wave(scene, beam_energy_kev=300.0, sampling_a=0.1)


@pytest.mark.parametrize("name", ["beam_energy_kev", "sampling_a", "slice_thickness_a"])
def test_numbers_that_mean_nothing_are_refused(name):
    numbers = {"beam_energy_kev": 300.0, "sampling_a": 0.4, "slice_thickness_a": 4.0}
    with pytest.raises(ParameterError, match=f"{name} is -1"):
        exit_wave(scene_of(Atoms("C")), **(numbers | {name: -1.0}))

"""Images agree with abTEM, with closed forms, and with the lattice put in."""

from dataclasses import replace

import abtem
import numpy as np
import pytest
from ase import Atoms

from interphase.errors import ParameterError
from interphase.phases import load_phase
from interphase.simulation import (
    ExitWave,
    Multislice,
    Optics,
    Scene,
    crystallite,
    exit_wave,
    image_from_exit_wave,
    images_from_exit_wave,
    resample,
    sample_window,
    zone_axis_orientation,
)

WAVELENGTH_300_KV_A = 0.0196875
FINE = Multislice(sampling_a=0.25)


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
    return exit_wave(scene_of(atoms), beam_energy_kev=300.0, settings=FINE)


def test_rows_are_y_and_columns_are_x():
    atoms = Atoms("Au", positions=[[10.0, 30.0, 4.0]])
    wave = exit_wave(
        scene_of(atoms, size=(48.0, 32.0), thickness=8.0), beam_energy_kev=300.0, settings=FINE
    )
    assert wave.array.shape == (192, 128)
    optics = Optics(defocus_a=100.0)
    image = image_from_exit_wave(wave, optics)
    for array in (np.abs(np.angle(wave.array)), np.abs(image - 1)):
        row, column = np.unravel_index(array.argmax(), array.shape)
        assert row * wave.pixel_size_a[0] == pytest.approx(30.0, abs=0.26)
        assert column * wave.pixel_size_a[1] == pytest.approx(10.0, abs=0.26)


EVERYTHING = Optics(
    defocus_a=300.0,
    spherical_aberration_mm=0.7,
    astigmatism_a=25.0,
    astigmatism_deg=20.0,
    coma_a=600.0,
    coma_deg=70.0,
    trefoil_a=400.0,
    trefoil_deg=-10.0,
    focal_spread_a=30.0,
    semi_convergence_mrad=0.3,
    aperture_mrad=15.0,
)


def test_image_is_that_of_plain_abtem(crystal_wave):
    with abtem.config.set({"precision": "float32", "diagnostics.progress_bar": False}):
        waves = abtem.Waves(crystal_wave.array.T, energy=300e3, sampling=0.25)
        aberrations = {
            "C10": -300.0,
            "C30": 0.7e7,
            "C12": 25.0,
            "phi12": np.deg2rad(20.0),
            "C21": 600.0,
            "phi21": np.deg2rad(70.0),
            "C23": 400.0,
            "phi23": np.deg2rad(-10.0),
        }
        plain = waves.apply_ctf(
            abtem.CTF(
                aberration_coefficients=aberrations,
                focal_spread=30.0 * 2**0.5,
                angular_spread=0.3,
                semiangle_cutoff=15.0,
                energy=300e3,
            )
        )
        expected = plain.intensity().array
    image = image_from_exit_wave(crystal_wave, EVERYTHING)
    np.testing.assert_allclose(image, expected.T, atol=1e-6)


def test_series_holds_the_images_one_by_one(crystal_wave):
    series = [replace(EVERYTHING, defocus_a=value) for value in (-200.0, 0.0, 700.0)]
    images = images_from_exit_wave(crystal_wave, series)
    for image, optics in zip(images, series, strict=True):
        np.testing.assert_array_equal(image, image_from_exit_wave(crystal_wave, optics))


def test_image_of_frozen_phonons_is_the_mean_of_their_images(crystal_wave):
    one = crystal_wave.array
    two = np.roll(one, (3, 5), axis=(0, 1))
    both = image_from_exit_wave(replace(crystal_wave, array=np.stack([one, two])), EVERYTHING)
    single = image_from_exit_wave(crystal_wave, EVERYTHING)
    expected = (single + np.roll(single, (3, 5), axis=(0, 1))) / 2
    np.testing.assert_allclose(both, expected, atol=2e-6)


def grating(axis, *, epsilon=1e-3, size=256, cycles=26):
    """Wave behind an electron phase of 2ε cos(2πkx), its k and its fringes."""
    x = np.arange(size)
    fringes = np.broadcast_to(np.cos(2 * np.pi * cycles * x / size), (size, size))
    if axis == 0:
        fringes = fringes.T
    wave = ExitWave(
        array=np.exp(2j * epsilon * fringes).astype(np.complex64),
        pixel_size_a=(0.25, 0.25),
        beam_energy_kev=300.0,
    )
    return wave, cycles / (size * 0.25), fringes


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
    # It makes the intensity 1 + 4ε sin χ · envelope · cos(2πkx).
    epsilon = 1e-3
    wave, k, fringes = grating(axis, epsilon=epsilon)
    image = image_from_exit_wave(wave, optics)

    lam, cs = WAVELENGTH_300_KV_A, optics.spherical_aberration_mm * 1e7
    chi = -np.pi * lam * optics.defocus_a * k**2 + np.pi / 2 * cs * lam**3 * k**4
    temporal = np.exp(-0.5 * (np.pi * lam * optics.focal_spread_a * k**2) ** 2)
    slope = cs * lam**3 * k**3 - optics.defocus_a * lam * k
    spatial = np.exp(-((np.pi * optics.semi_convergence_mrad * 1e-3 / lam * slope) ** 2))
    measured = 2 * ((image - 1) * fringes).mean()
    assert measured == pytest.approx(4 * epsilon * np.sin(chi) * temporal * spatial, abs=4e-5)


@pytest.mark.parametrize(("axis", "azimuth", "sign"), [(1, 0, -1), (1, 90, 1), (0, 90, -1)])
def test_astigmatism_takes_underfocus_along_its_azimuth(axis, azimuth, sign):
    wave, _, fringes = grating(axis)
    tilted = Optics(defocus_a=150.0, astigmatism_a=80.0, astigmatism_deg=azimuth)
    same = Optics(defocus_a=150.0 + sign * 80.0)
    images = images_from_exit_wave(wave, [tilted, same, Optics(defocus_a=150.0)])
    seen, expected, without = ((2 * (image - 1) * fringes).mean() for image in images)
    assert seen == pytest.approx(expected, abs=2e-6)
    assert abs(expected - without) > 1e-3


@pytest.mark.parametrize("name", ["coma", "trefoil"])
@pytest.mark.parametrize("azimuth", [0.0, 20.0, 180.0])
def test_odd_aberrations_move_fringes(name, azimuth):
    # The odd part o of χ turns cos(2πkx) into cos(2πkx - o).
    wave, k, _ = grating(1)
    optics = {f"{name}_a": 3000.0, f"{name}_deg": azimuth}
    plain, moved = images_from_exit_wave(
        wave, [Optics(defocus_a=150.0), Optics(defocus_a=150.0, **optics)]
    )
    first, second = (np.fft.fft2(image)[0, 26] for image in (plain, moved))
    fold = {"coma": 1, "trefoil": 3}[name]
    odd = 2 * np.pi / 3 * WAVELENGTH_300_KV_A**2 * k**3 * 3000
    odd *= np.cos(fold * np.deg2rad(azimuth))
    assert np.angle(second / first) == pytest.approx(-odd, abs=2e-3)
    assert abs(second) == pytest.approx(abs(first), rel=2e-3)


def test_focal_spread_is_the_mean_over_foci_where_scattering_is_weak():
    wave, _, _ = grating(1)
    at, weight = np.polynomial.hermite_e.hermegauss(15)
    optics = Optics(defocus_a=200.0, spherical_aberration_mm=0.5)
    foci = [replace(optics, defocus_a=200.0 + 100.0 * x) for x in at]
    mean = np.tensordot(weight / weight.sum(), images_from_exit_wave(wave, foci), axes=1)
    envelope = image_from_exit_wave(wave, replace(optics, focal_spread_a=100.0))
    # What is left are the second orders, ε² = 1e-6 each.
    np.testing.assert_allclose(envelope, mean, atol=8e-6)
    assert np.ptp(image_from_exit_wave(wave, optics) - mean) > 1e-3


def test_optics_without_aperture_and_envelopes_keep_the_electrons(crystal_wave):
    optics = replace(EVERYTHING, focal_spread_a=0.0, semi_convergence_mrad=0.0, aperture_mrad=None)
    image = image_from_exit_wave(crystal_wave, optics)
    there = np.mean(np.abs(crystal_wave.array) ** 2)
    assert image.mean(dtype=float) == pytest.approx(there, rel=1e-5)


def test_aperture_stops_what_lies_beyond(crystal_wave):
    wave, k, _ = grating(0, epsilon=0.1)
    angle = 1e3 * WAVELENGTH_300_KV_A * k
    inside, outside = images_from_exit_wave(
        wave, [Optics(defocus_a=150.0, aperture_mrad=angle * share) for share in (1.1, 0.9)]
    )
    assert np.ptp(inside) > 0.1
    assert np.ptp(outside) < 1e-5


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"defocus_a": np.nan}, "defocus_a is nan: expected a finite number"),
        ({"focal_spread_a": -1.0}, "focal_spread_a is -1.0: expected a finite number >= 0"),
        ({"coma_a": -1.0}, "coma_a is -1.0: expected a finite number >= 0"),
        ({"aperture_mrad": 0.0}, "expected a semi-angle above 0 mrad, or None"),
    ],
)
def test_optics_that_cannot_be_are_refused(values, match):
    with pytest.raises(ParameterError, match=match):
        Optics(**({"defocus_a": 0.0} | values))


def test_atoms_are_dark_at_small_underfocus():
    atoms = Atoms("C", positions=[[8.0, 8.0, 2.0]])
    wave = exit_wave(
        scene_of(atoms, size=(16.0, 16.0), thickness=4.0), beam_energy_kev=300.0, settings=FINE
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
    with pytest.raises(ParameterError, match="shape is"):
        resample(coarse, (0, 40))


def test_window_lies_where_it_is_said_to(rng):
    # Unequal pixels, a fractional origin, and points beyond the edge, where the image repeats.
    def field(y, x):
        return (
            1
            + np.cos(2 * np.pi * (3 * y / 24 - 2 * x / 30) + 0.4)
            + 0.3 * np.sin(2 * np.pi * x / 6)
        )

    image = field(np.arange(48)[:, None] * 0.5, np.arange(75) * 0.4)
    window = sample_window(
        image, (24.0, 30.0), origin_a=(2.3, 17.1), pixel_size_a=(0.7, 1.1), shape=(20, 30)
    )
    expected = field(2.3 + np.arange(20)[:, None] * 0.7, 17.1 + np.arange(30) * 1.1)
    np.testing.assert_allclose(window, expected, atol=1e-5)


def test_images_are_the_same_on_any_number_of_threads(rng):
    from threadpoolctl import threadpool_limits

    image = rng.random((384, 400), dtype=np.float32)
    windows = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            windows.append(resample(image, (320, 300)))
    np.testing.assert_array_equal(*windows)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"pixel_size_a": 0.0}, "pixel_size_a is 0.0: expected a finite number > 0"),
        ({"pixel_size_a": (0.5, np.nan)}, "expected finite numbers > 0"),
        ({"size_a": (-6.0, 6.0)}, "size_a is"),
        ({"origin_a": (np.inf, 0.0)}, "origin_a is"),
        ({"shape": (2.5, 3)}, "shape is .* expected whole numbers, at least 1"),
        ({"shape": (0, 3)}, "shape is"),
    ],
)
def test_windows_that_cannot_be_are_refused(given, said):
    window = {"size_a": (6.0, 6.0), "origin_a": (0.0, 0.0), "pixel_size_a": 0.5, "shape": (2, 3)}
    with pytest.raises(ParameterError, match=said):
        sample_window(np.ones((12, 12)), **(window | given))


def test_frequencies_that_pixels_cannot_show_are_left_out():
    x = np.arange(60)
    image = np.broadcast_to(1 + np.cos(2 * np.pi * x / 4), (60, 60))
    np.testing.assert_allclose(resample(image, (60, 30)), 1.0, atol=1e-6)
    np.testing.assert_allclose(resample(image, (60, 28)), 1.0, atol=1e-6)
    assert np.ptp(resample(image, (60, 32))) > 1.9

"""Selected-area patterns hold the electrons that passed, at the lattice put in."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given, settings
from hypothesis import strategies as st

from interphase.errors import ParameterError
from interphase.phases import load_phase, reflections
from interphase.simulation import (
    BeamStop,
    Detector,
    ExitWave,
    Multislice,
    Scene,
    Transfer,
    crystallite,
    diffraction_intensity,
    diffraction_pattern,
    exit_wave,
    zone_axis_orientation,
)

TURN_DEG = 17.0


@pytest.fixture(scope="module")
def crystal_wave():
    """Li2O along [001], turned, a ball of 38 Å in vacuum and a field of unequal sides."""
    phase = load_phase("Li2O")
    orientation = zone_axis_orientation(phase, (0, 0, 1), in_plane_deg=TURN_DEG)
    atoms = crystallite(phase, 38.0, orientation=orientation)
    atoms.positions += (40.0, 32.0, 20.0)
    atoms.set_cell([80.0, 64.0, 40.0])
    atoms.pbc = True
    scene = Scene(atoms=atoms, size_a=(64.0, 80.0), thickness_a=40.0, matrix="vacuum")
    return exit_wave(scene, beam_energy_kev=300.0, settings=Multislice(sampling_a=0.3))


def noise_wave(rng, shape, pixel):
    array = 1 + 0.3 * (rng.normal(size=shape) + 1j * rng.normal(size=shape))
    return ExitWave(array=array.astype(np.complex64), pixel_size_a=pixel, beam_energy_kev=200.0)


def spot_near(pattern, step, k_per_a):
    """Centre of mass of the spot near (ky, kx) [1/Å]."""
    k = (np.arange(len(pattern)) - len(pattern) // 2) * step
    weight = pattern * (np.hypot(k[:, None] - k_per_a[0], k - k_per_a[1]) < 0.06)
    return np.array([(weight * k[:, None]).sum(), (weight * k).sum()]) / weight.sum()


@pytest.mark.parametrize("hkl", [(2, 2, 0), (2, -2, 0), (0, 4, 0)])
def test_spots_stand_where_the_lattice_puts_them(crystal_wave, hkl):
    phase = load_phase("Li2O")
    orientation = zone_axis_orientation(phase, (0, 0, 1), in_plane_deg=TURN_DEG)
    kx, ky, _ = orientation.matrix @ (np.array(hkl) @ phase.reciprocal_vectors)
    pattern, step = diffraction_intensity(crystal_wave, aperture_diameter_a=60.0)
    assert step == pytest.approx(1 / 80)
    # Sampled by one over each side of the field they would be off by the ratio of the sides.
    np.testing.assert_allclose(spot_near(pattern, step, (ky, kx)), (ky, kx), atol=0.006)


def test_square_field_gives_its_fourier_transform(rng):
    wave = noise_wave(rng, (90, 90), (0.3, 0.3))
    pattern, step = diffraction_intensity(wave, aperture_diameter_a=20.0)
    at = (np.arange(90) - 45) * 0.3
    amplitude = np.clip((10 - np.hypot(at[:, None], at)) / 2, 0, 1)
    expected = np.abs(np.fft.fftshift(np.fft.fft2(wave.array * amplitude))) ** 2
    np.testing.assert_allclose(pattern, expected / expected.sum(), atol=1e-8)
    assert step == pytest.approx(1 / 27)


@settings(max_examples=15, deadline=None)
@given(
    rows=st.integers(40, 70),
    columns=st.integers(40, 70),
    oversampling=st.floats(1.0, 2.5),
    seed=st.integers(0, 99),
)
def test_every_electron_arrives_if_the_camera_shows_all_frequencies(
    rows, columns, oversampling, seed
):
    wave = noise_wave(np.random.default_rng(seed), (rows, columns), (0.5, 0.5))
    # Pixels that divide the band: a sum over one period is then exactly the integral.
    pixels = int(np.ceil(oversampling * max(rows, columns)))
    pattern, _ = diffraction_intensity(
        wave,
        aperture_diameter_a=18.0,
        pixels=pixels,
        reciprocal_pixel_size_per_a=1 / (0.5 * pixels),
    )
    assert pattern.shape == (pixels, pixels)
    assert pattern.sum() == pytest.approx(1, abs=1e-5)


def test_smaller_pixels_show_the_same_pattern_more_finely(crystal_wave):
    coarse, step = diffraction_intensity(crystal_wave, aperture_diameter_a=40.0, pixels=100)
    fine, _ = diffraction_intensity(
        crystal_wave, aperture_diameter_a=40.0, pixels=300, reciprocal_pixel_size_per_a=step / 3
    )
    np.testing.assert_allclose(9 * fine[::3, ::3], coarse, rtol=1e-4, atol=1e-10)


def test_pattern_of_frozen_phonons_is_that_of_all_their_electrons(rng):
    waves = [noise_wave(rng, (60, 60), (0.4, 0.4)) for _ in range(2)]
    both = replace(waves[0], array=np.stack([w.array for w in waves]))
    single = [diffraction_intensity(w, aperture_diameter_a=20.0)[0] for w in waves]
    at = (np.arange(60) - 30) * 0.4
    amplitude = np.clip((10 - np.hypot(at[:, None], at)) / 2, 0, 1)
    passed = [np.sum(np.abs(w.array * amplitude) ** 2) for w in waves]
    expected = (single[0] * passed[0] + single[1] * passed[1]) / sum(passed)
    pattern, _ = diffraction_intensity(both, aperture_diameter_a=20.0)
    np.testing.assert_allclose(pattern, expected, rtol=1e-4)


def test_one_cell_diffracts_by_its_structure_factors():
    # So thin, LiF is kinematic: the ratio of spots is that of |F|² in the table of reflections.
    phase = load_phase("LiF")
    a = phase.lattice[0]
    cell = Atoms(
        symbols=list(phase.species), scaled_positions=phase.fractional, cell=[a, a, a], pbc=True
    )
    scene = Scene(
        atoms=cell.repeat((8, 8, 1)), size_a=(8 * a, 8 * a), thickness_a=a, matrix="vacuum"
    )
    wave = exit_wave(
        scene,
        beam_energy_kev=300.0,
        settings=Multislice(sampling_a=0.1, slice_thickness_a=1.1),
    )
    # Every eighth frequency of eight cells is a reflection.
    spots = np.abs(np.fft.fft2(wave.array)) ** 2
    table = reflections(phase, d_min_a=0.9)
    tabled = {
        tuple(hkl): value for hkl, value in zip(table.hkl.tolist(), table.intensity, strict=True)
    }
    for h, k in ((2, 2), (4, 0), (2, 4)):
        measured = spots[8 * h, 8 * k] / spots[0, 16]
        assert measured == pytest.approx(tabled[h, k, 0] / tabled[0, 2, 0], rel=0.03)


def test_ideal_counter_counts_all_that_pass_beside_the_beam_stop(crystal_wave, rng):
    stop = BeamStop(radius_per_a=0.1, arm_width_per_a=0.05, arm_deg=135.0)
    share, step = diffraction_intensity(crystal_wave, aperture_diameter_a=50.0)
    counts, _ = diffraction_pattern(
        crystal_wave, aperture_diameter_a=50.0, dose_e_per_a2=100.0, beam_stop=stop, rng=rng
    )
    k = (np.arange(len(share)) - len(share) // 2) * step
    shaded = stop.blocks(*np.meshgrid(k, k, indexing="ij"))
    assert counts[shaded].sum() == 0
    # The amplitude is 1 to a radius of 20 Å and falls evenly to 0 at 25 Å; electrons pass with
    # its square, and the wave there is 1 to a percent.
    open_area = np.pi * 20**2 + 2 * np.pi * (25 * 5**3 / 3 - 5**4 / 4) / 5**2
    everything, _ = diffraction_pattern(
        crystal_wave, aperture_diameter_a=50.0, dose_e_per_a2=100.0, rng=rng
    )
    assert everything.sum() == pytest.approx(100 * open_area, rel=0.02)
    expected = everything.sum() * share[~shaded].sum() / share.sum()
    assert counts.sum() == pytest.approx(expected, abs=6 * np.sqrt(2 * expected))


def test_arm_reaches_the_edge_on_its_side_only():
    stop = BeamStop(radius_per_a=0.1, arm_width_per_a=0.2, arm_deg=0.0)
    k = np.linspace(-1, 1, 201)
    blocked = stop.blocks(*np.meshgrid(k, k, indexing="ij"))
    assert blocked[100, 100:].all()
    assert not blocked[100, :90].any()
    assert blocked[:, 200].sum() * 0.01 == pytest.approx(0.2, abs=0.011)
    assert blocked.mean() * 4 == pytest.approx(0.2 + np.pi * 0.1**2 / 2, rel=0.05)


def test_camera_blurs_spots(crystal_wave, rng):
    camera = Detector(mtf=Transfer(at_half_nyquist=0.5, at_nyquist=0.1))
    options = {"aperture_diameter_a": 50.0, "dose_e_per_a2": 3000.0}
    sharp, _ = diffraction_pattern(crystal_wave, **options, rng=rng)
    blurred, _ = diffraction_pattern(crystal_wave, **options, detector=camera, rng=rng)
    middle = len(sharp) // 2
    assert blurred[middle, middle] < 0.7 * sharp[middle, middle]
    assert blurred.sum() == pytest.approx(sharp.sum(), rel=2e-3)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"aperture_diameter_a": 70.0}, r"at most the field of 64\.0 Å"),
        (
            {"aperture_diameter_a": 50.0, "reciprocal_pixel_size_per_a": 0.03},
            r"at most 0\.020000 1/Å for an aperture of 50",
        ),
        ({"aperture_diameter_a": 50.0, "pixels": 5000}, "give at most 2"),
    ],
)
def test_patterns_that_cannot_be_are_refused(crystal_wave, options, match):
    with pytest.raises(ParameterError, match=match):
        diffraction_intensity(crystal_wave, **options)


def test_beam_stop_and_dose_are_checked(crystal_wave, rng):
    with pytest.raises(ParameterError, match="radius_per_a is -1"):
        BeamStop(radius_per_a=-1.0)
    with pytest.raises(ParameterError, match="dose_e_per_a2 is -1"):
        diffraction_pattern(crystal_wave, aperture_diameter_a=9.0, dose_e_per_a2=-1.0, rng=rng)

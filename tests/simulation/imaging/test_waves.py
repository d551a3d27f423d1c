"""Exit waves obey optics and symmetry, and what cannot be is refused."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from ase import Atoms

from interphase.electron import wavelength_from_energy
from interphase.errors import ParameterError
from interphase.simulation import (
    ExitWave,
    Multislice,
    Scene,
    Vibrations,
    exit_wave,
    propagated,
)

COARSE = Multislice(sampling_a=0.25)
BY_ABTEM = Multislice(sampling_a=0.25, projection="infinite")


def scene_of(atoms, size=(20.0, 16.0), thickness=12.0):
    return Scene(atoms=atoms, size_a=size, thickness_a=thickness, matrix="vacuum")


@pytest.fixture
def film(rng):
    """300 atoms anywhere in a box of 20 × 16 × 12 Å (y, x, z)."""
    symbols = rng.choice(["C", "O", "Li"], 300)
    return Atoms(list(symbols), positions=rng.uniform(0, (16.0, 20.0, 12.0), (300, 3)))


def test_rows_are_y_columns_are_x_and_the_box_is_the_scenes():
    atoms = Atoms("Au", positions=[[10.0, 30.0, 4.0]], cell=[1.0, 1.0, 1.0])
    scene = scene_of(atoms, size=(48.0, 32.0), thickness=8.0)
    wave = exit_wave(scene, beam_energy_kev=300.0, settings=COARSE)
    assert wave.array.shape == (192, 128)
    assert wave.pixel_size_a == (0.25, 0.25)
    shift = np.abs(np.angle(wave.array))
    assert np.unravel_index(shift.argmax(), shift.shape) == (120, 40)
    assert atoms.cell.lengths().tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("settings", [COARSE, BY_ABTEM])
def test_vacuum_is_one(settings):
    wave = exit_wave(scene_of(Atoms()), beam_energy_kev=200.0, settings=settings)
    np.testing.assert_allclose(wave.array, 1, atol=2e-6)


def test_a_shifted_specimen_shifts_the_wave(film):
    # By less than a pixel, too: nothing depends on where the pixels lie but what aliases.
    shift = (0.8, 0.33)
    plain = exit_wave(scene_of(film), beam_energy_kev=300.0, settings=COARSE).array
    film.positions[:, :2] += shift[::-1]
    moved = exit_wave(scene_of(film), beam_energy_kev=300.0, settings=COARSE).array
    ky, kx = np.fft.fftfreq(80, 0.25)[:, None], np.fft.fftfreq(64, 0.25)
    expected = np.fft.fft2(plain) * np.exp(-2j * np.pi * (ky * shift[0] + kx * shift[1]))
    held = np.hypot(ky, kx) < 1.0
    difference = (np.fft.fft2(moved) - expected)[held]
    assert np.linalg.norm(difference) < 0.01 * np.linalg.norm(expected[held][1:])


def test_electrons_are_lost_only_out_of_the_band(film):
    lost = [
        1 - (np.abs(exit_wave(scene_of(film), beam_energy_kev=300.0, settings=s).array) ** 2).mean()
        for s in (Multislice(sampling_a=0.1), COARSE, BY_ABTEM)
    ]
    assert -1e-6 < lost[0] < 1e-4
    assert lost[0] < lost[1] < lost[2] < 1e-3


def test_a_tilted_beam_moves_what_it_sees():
    # Two atoms above one another, 20 Å apart: seen 20 Å · tan(50 mrad) apart.
    def phase(atoms, tilt):
        wave = exit_wave(
            scene_of(atoms, size=(24.0, 24.0), thickness=24.0),
            beam_energy_kev=300.0,
            settings=Multislice(sampling_a=0.2, slice_thickness_a=2.0),
            beam_tilt_mrad=tilt,
        )
        return np.angle(propagated(wave, -2.0, beam_tilt_mrad=tilt).array)

    upper = phase(Atoms("C", positions=[[12.0, 12.0, 2.0]]), (50.0, 0.0))
    lower = phase(Atoms("C", positions=[[12.0, 12.0, 22.0]]), (50.0, 0.0))
    y = np.arange(120)[:, None] * 0.2
    weight = [
        np.clip(image, 0.2 * image.max(), None) - 0.2 * image.max() for image in (upper, lower)
    ]
    centres = [(image * y).sum() / image.sum() for image in weight]
    assert centres[0] - centres[1] == pytest.approx(20 * np.tan(0.05), abs=0.1)


@pytest.mark.parametrize("axis", [0, 1])
def test_propagation_turns_every_frequency_by_its_phase(axis, rng):
    size, pixel, distance, tilt = (60, 48), (0.2, 0.25), 35.0, (3.0, -7.0)
    frequency = np.fft.fftfreq(size[axis], pixel[axis])[7]
    along = np.arange(size[axis]) * pixel[axis]
    fringe = np.exp(2j * np.pi * frequency * along)
    array = np.broadcast_to(fringe[:, None] if axis == 0 else fringe, size)
    wave = ExitWave(array=array, pixel_size_a=pixel, beam_energy_kev=200.0)
    wavelength = wavelength_from_energy(200.0)
    phase = np.pi * wavelength * distance * frequency**2
    phase += 2 * np.pi * distance * frequency * np.tan(tilt[axis] * 1e-3)
    there = propagated(wave, distance, beam_tilt_mrad=tilt)
    np.testing.assert_allclose(there.array, array * np.exp(-1j * phase), atol=1e-12)
    np.testing.assert_allclose(
        propagated(there, -distance, beam_tilt_mrad=tilt).array, array, atol=1e-12
    )


def test_phonons_are_one_wave_each_and_come_again_with_their_seed(film):
    vibrations = Vibrations(rms_a={"C": 0.1, "O": 0.1, "Li": 0.2, "H": 0.3}, configurations=3)

    def waves(seed, vibrations=vibrations):
        return exit_wave(
            scene_of(film),
            beam_energy_kev=300.0,
            settings=COARSE,
            vibrations=vibrations,
            rng=np.random.default_rng(seed),
        ).array

    first = waves(5)
    assert first.shape == (3, 80, 64)
    np.testing.assert_array_equal(first, waves(5))
    assert np.abs(first - waves(6)).max() > 0.01
    assert np.abs(first[0] - first[1]).max() > 0.01
    still = Vibrations(rms_a={"C": 0.0, "O": 0.0, "Li": 0.0}, configurations=1)
    at_rest = exit_wave(scene_of(film), beam_energy_kev=300.0, settings=COARSE).array
    np.testing.assert_allclose(waves(5, still), at_rest[None], atol=1e-6)


def test_threads_do_not_mix_their_settings(film):
    def wave(settings):
        return exit_wave(scene_of(film), beam_energy_kev=300.0, settings=settings).array

    alone = [wave(settings) for settings in (COARSE, BY_ABTEM)]
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(wave, [COARSE, BY_ABTEM] * 4))
    for index, array in enumerate(together):
        np.testing.assert_allclose(array, alone[index % 2], atol=1e-6)


def test_memory_is_known_before_it_is_paid():
    scene = scene_of(Atoms("C", positions=[[1.0, 1.0, 1.0]]), size=(4000.0, 4000.0))
    fine = Multislice(sampling_a=0.1)
    with pytest.raises(ParameterError, match=r"4000 × 4000 Å at 0\.1 Å needs about 179\.2 GB"):
        exit_wave(scene, beam_energy_kev=300.0, settings=fine, memory_limit_gb=8.0)
    with pytest.raises(ParameterError, match=r"in 8 configurations needs about 537\.6 GB"):
        exit_wave(
            scene,
            beam_energy_kev=300.0,
            settings=fine,
            memory_limit_gb=8.0,
            vibrations=Vibrations(rms_a={"C": 0.1}),
        )


def test_spacings_beyond_the_band_are_refused(film):
    scene = scene_of(film)
    with pytest.raises(ParameterError, match=r"spacings of 0\.4 Å are lost: give 0\.2 Å or less"):
        exit_wave(scene, beam_energy_kev=300.0, settings=COARSE, d_min_a=0.4)
    with pytest.raises(ParameterError, match=r"spacings of 0\.6 Å are lost: give 0\.2 Å or less"):
        exit_wave(scene, beam_energy_kev=300.0, settings=BY_ABTEM, d_min_a=0.6)
    exit_wave(scene, beam_energy_kev=300.0, settings=COARSE, d_min_a=0.5)
    assert exit_wave(scene, beam_energy_kev=300.0, d_min_a=0.25).pixel_size_a[0] <= 0.125


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"beam_energy_kev": -1.0}, r"beam_energy_kev is -1\.0: expected"),
        ({"beam_energy_kev": float("nan")}, "beam_energy_kev is nan"),
        ({"beam_energy_kev": 300e3}, "did you give eV"),
        ({"memory_limit_gb": float("nan")}, "memory_limit_gb is nan: expected GB"),
        ({"beam_tilt_mrad": (0.0, 150.0)}, r"up to 100 mrad; turn the specimen"),
        ({"beam_tilt_mrad": (float("nan"), 0.0)}, "beam_tilt_mrad is"),
        ({"device": "tpu"}, "device is 'tpu': give 'cpu' or 'gpu'"),
        ({"d_min_a": -1.0}, "d_min_a is -1.0: expected a spacing"),
        ({"vibrations": Vibrations(rms_a={"C": 0.1})}, "give `rng`"),
        (
            {"vibrations": Vibrations(rms_a={"C": 0.1}), "rng": np.random.default_rng(0)},
            "no displacement for Li, O: give one",
        ),
    ],
)
def test_numbers_that_mean_nothing_are_refused(film, given, words):
    with pytest.raises(ParameterError, match=words):
        exit_wave(scene_of(film), **({"beam_energy_kev": 300.0, "settings": COARSE} | given))


def test_atoms_that_are_nowhere_are_refused(film):
    film.positions[[3, 7], 1] = np.nan, np.inf
    with pytest.raises(ParameterError, match="2 of 300 atoms have no finite position"):
        exit_wave(scene_of(film), beam_energy_kev=300.0, settings=COARSE)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"array": np.ones((4, 4))}, r"array is float64 of shape \(4, 4\): expected complex"),
        ({"array": np.ones(4, dtype=complex)}, r"of shape \(4,\)"),
        ({"pixel_size_a": (0.2, 0.0)}, "expected finite numbers > 0"),
        ({"pixel_size_a": 0.2}, "expected two"),
        ({"beam_energy_kev": 2e5}, "did you give eV"),
    ],
)
def test_waves_that_cannot_be_are_refused(given, said):
    wave = {"array": np.ones((4, 4), complex), "pixel_size_a": (0.2, 0.2), "beam_energy_kev": 300.0}
    with pytest.raises(ParameterError, match=said):
        ExitWave(**(wave | given))


def test_a_way_that_is_no_number_is_refused():
    wave = ExitWave(array=np.ones((4, 4), complex), pixel_size_a=(0.2, 0.2), beam_energy_kev=300.0)
    with pytest.raises(ParameterError, match="distance_a is nan"):
        propagated(wave, float("nan"))


def test_a_gpu_without_cupy_is_refused(film, monkeypatch):
    monkeypatch.setattr("abtem.core.backend.cp", None)
    with pytest.raises(ParameterError, match=r"CuPy is not installed: .* or give device='cpu'"):
        exit_wave(scene_of(film), beam_energy_kev=300.0, settings=COARSE, device="gpu")

"""Movies share a dose, drift, and show crystals fade as they are told to."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interphase.errors import ParameterError, PhaseError
from interphase.phases import load_phase
from interphase.simulation import (
    Body,
    Detector,
    ExitWave,
    Grain,
    Multislice,
    Optics,
    bragg_waves,
    exit_wave,
    fading_images,
    film_scene,
    image_from_exit_wave,
    movie,
    record_counts,
    zone_axis_orientation,
)
from interphase.simulation.models.scene import scene_from_bodies
from interphase.simulation.models.shapes import Box, Sphere

OPTICS = Optics(defocus_a=60.0)
FRESH = (0.0, 1e-9)


# Movies


def test_movie_shares_the_dose_and_drifts(rng):
    y, x = np.mgrid[:64, :64]
    blob = 1 + np.exp(-((y - 20) ** 2 + (x - 30) ** 2) / 18)
    frames = movie(
        blob, dose_e_per_a2=4e7, frames=5, pixel_size_a=0.5, drift_a=(1.5, -1.0), rng=rng
    )
    assert frames.shape == (5, 64, 64)
    assert frames.sum() == pytest.approx(blob.sum() * 4e7 * 0.25, rel=1e-4)
    for i, frame in enumerate(frames):
        weight = frame / frame.max() - frame.min() / frame.max()
        weight[weight < 0.3] = 0
        assert (weight * y).sum() / weight.sum() == pytest.approx(20 + 3 * i, abs=0.05)
        assert (weight * x).sum() / weight.sum() == pytest.approx(30 - 2 * i, abs=0.05)


def test_movie_takes_a_path_of_its_own(rng):
    path = np.array([[0.0, 0.0], [0.0, 4.0], [2.0, 4.0]])
    image = np.ones((32, 32))
    image[10, 10] = 3
    kwargs = {"dose_e_per_a2": 3e6, "frames": 3, "pixel_size_a": 1.0, "rng": rng}
    places = [np.argwhere(f == f.max())[0] for f in movie(image, drift_a=path, **kwargs)]
    np.testing.assert_array_equal(places, [[10, 10], [10, 14], [12, 14]])
    with pytest.raises(ParameterError, match=r"expected \(2,\) .* or \(3, 2\)"):
        movie(image, drift_a=path[:2], **kwargs)
    for frames in (0, 2.5, True):
        with pytest.raises(ParameterError, match="expected a whole number, at least 1"):
            movie(image, **(kwargs | {"frames": frames}))
    with pytest.raises(ParameterError, match="drift_a is"):
        movie(image, drift_a=(np.nan, 0.0), **kwargs)
    with pytest.raises(ParameterError, match="1024 are negative: give finite intensities >= 0"):
        movie(-image, **kwargs)
    with pytest.raises(ParameterError, match="intensity has 2 frames and frames is 3"):
        movie(np.stack([image, image]), **kwargs)


def test_a_sharp_pixel_drifts_without_making_electrons(rng):
    image = np.ones((64, 64))
    image[20, 30] = 20
    frames = movie(
        image, dose_e_per_a2=4e6, frames=4, pixel_size_a=1.0, drift_a=(0.5, 0.37), rng=rng
    )
    # It rings to -2; where that is cut off, 0.6 % more electrons would be counted.
    expected = 1e6 * image.sum()
    np.testing.assert_allclose(frames.sum(axis=(1, 2), dtype=float), expected, rtol=1e-4)


def test_sum_of_frames_is_an_exposure_when_nothing_moves(rng):
    image = 1 + 0.5 * np.cos(np.arange(128) / 3) * np.ones((128, 1))
    frames = movie(image, dose_e_per_a2=40.0, frames=8, pixel_size_a=1.0, rng=rng)
    whole = record_counts(image, dose_e_per_a2=40.0, pixel_size_a=1.0, rng=rng)
    for counts in (frames.sum(axis=0), whole):
        over = (counts - 40 * image) / np.sqrt(40 * image)
        assert over.mean() == pytest.approx(0, abs=5 / 128)
        assert over.var() == pytest.approx(1, abs=5 * np.sqrt(2 / 128**2))


def test_frames_of_a_changing_specimen_come_in_order(rng):
    images = np.arange(1.0, 5.0)[:, None, None] * np.ones((4, 32, 32))
    frames = movie(images, dose_e_per_a2=4000.0, frames=4, pixel_size_a=1.0, rng=rng)
    np.testing.assert_allclose(
        frames.mean(axis=(1, 2)), 1000 * np.arange(1, 5), atol=5 * np.sqrt(4000) / 32
    )


def test_movie_loses_counts_by_the_rate_of_its_frames(rng):
    camera = Detector(coincidence_px=3, frame_rate_hz=400.0)
    kwargs = {"dose_e_per_a2": 80.0, "pixel_size_a": 1.0, "detector": camera, "rng": rng}
    one = record_counts(np.ones((200, 200)), exposure_time_s=10.0, **kwargs)
    frames = movie(np.ones((200, 200)), frames=5, exposure_time_s=10.0, **kwargs)
    # 8 e/px/s are 0.02 per pixel and frame, 0.18 per square of nine.
    expected = 80 * -np.expm1(-0.18) / 0.18
    for counts in (one, frames.sum(axis=0)):
        assert counts.mean(dtype=float) == pytest.approx(expected, abs=5 * np.sqrt(80) / 200)


# Fading: closed forms


def plane_waves(*amplitudes_and_cycles, size=64):
    x = np.arange(size) / size
    shape = (size, size)
    return [
        ExitWave(
            array=np.broadcast_to(c * np.exp(2j * np.pi * n * x), shape).astype(np.complex64),
            pixel_size_a=(0.5, 0.5),
            beam_energy_kev=300.0,
        )
        for c, n in amplitudes_and_cycles
    ]


@settings(deadline=None, max_examples=30)
@given(dose=st.floats(0, 200), critical=st.floats(1, 500))
def test_fringes_of_one_beam_fade_by_half_the_exponent_and_electrons_stay(dose, critical):
    undiffracted, beam = plane_waves((1.0, 0), (0.2, 9))
    wave = replace(beam, array=undiffracted.array + beam.array)
    (image,) = fading_images(
        wave,
        Optics(defocus_a=0.0),
        bragg={"Li2O": beam},
        critical_dose_e_per_a2={"Li2O": critical},
        accumulated_e_per_a2=[dose, dose],
    )
    fringes = np.cos(2 * np.pi * 9 * np.arange(64) / 64)
    expected = 1 + 0.04 + 2 * 0.2 * np.exp(-dose / (2 * critical)) * fringes
    np.testing.assert_allclose(image, np.broadcast_to(expected, (64, 64)), atol=3e-6)


def test_two_phases_fade_each_by_its_own_dose_and_third_not_at_all():
    beams = dict(zip(["A", "B", "C"], plane_waves((0.2, 9), (0.1, 14), (0.15, 23)), strict=True))
    total = 1 + sum(beam.array for beam in beams.values())
    doses = np.array([0.0, 10.0, 30.0, 90.0])
    images = fading_images(
        replace(beams["A"], array=total),
        Optics(defocus_a=0.0),
        bragg=beams,
        critical_dose_e_per_a2={"A": 20.0, "B": 60.0, "Li2CO3": 1.0},
        accumulated_e_per_a2=doses,
    )
    spectrum = 2 * np.abs(np.fft.rfft(images.mean(axis=1), axis=-1)) / 64

    def mean(rate):
        return -np.diff(np.exp(-rate * doses)) / (rate * np.diff(doses))

    a, b = 1 / 40, 1 / 120
    np.testing.assert_allclose(spectrum[:, 9], 2 * 0.2 * mean(a) + 2 * 0.1 * 0.15 * mean(b), 1e-4)
    np.testing.assert_allclose(spectrum[:, 5], 2 * 0.2 * 0.1 * mean(a + b), rtol=1e-4)
    np.testing.assert_allclose(spectrum[:, 14], 2 * (0.1 * mean(b) + 0.2 * 0.15 * mean(a)), 1e-4)
    np.testing.assert_allclose(spectrum[:, 23], 2 * 0.15, rtol=1e-4)


# Fading: a specimen


@pytest.fixture(scope="module")
def specimen():
    """Balls of Li2O and LiF on zone axes, apart in a film, and their exit wave."""
    grains = [
        Grain(
            phase=load_phase(name),
            diameter_a=26.0,
            centre_a=centre,
            orientation=zone_axis_orientation(load_phase(name), (0, 1, 1), in_plane_deg=17.0),
        )
        for name, centre in (("Li2O", (20.0, 20.0, 20.0)), ("LiF", (52.0, 48.0, 20.0)))
    ]
    scene = film_scene((72.0, 68.0), 40.0, grains, seed=1)
    return scene, exit_wave(scene, beam_energy_kev=300.0, settings=Multislice(sampling_a=0.35))


@pytest.fixture(scope="module")
def beams(specimen):
    scene, wave = specimen
    return bragg_waves(wave, scene)


def distance_from(wave, truth):
    rows, columns = wave.array.shape
    y = np.arange(rows)[:, None] * wave.pixel_size_a[0] - truth.centre_a[0]
    return np.hypot(y, np.arange(columns) * wave.pixel_size_a[1] - truth.centre_a[1])


def spot_power(image, wave, truth, families):
    """Power of the spots of a crystallite in the image's spectrum around it."""
    window = np.clip((18 - distance_from(wave, truth)) / 6, 0, 1)
    power = np.abs(np.fft.fft2((image - 1) * window)) ** 2
    frequencies = (
        np.fft.fftfreq(n, p) for n, p in zip(image.shape, wave.pixel_size_a, strict=True)
    )
    ky, kx = np.meshgrid(*frequencies, indexing="ij")
    g = np.array(families) @ load_phase(truth.phase).reciprocal_vectors
    spots = g @ np.asarray(truth.orientation).T
    return sum(power[np.hypot(kx - x, ky - y) < 0.04].sum() for x, y, _ in spots)


LI2O_SPOTS = [(1, 1, -1), (-1, 1, -1)]
LIF_SPOTS = [(2, 0, 0), (0, 2, -2)]


def faded(specimen, beams, critical, doses):
    return fading_images(
        specimen[1],
        OPTICS,
        bragg=beams,
        critical_dose_e_per_a2=critical,
        accumulated_e_per_a2=doses,
    )


def test_fresh_specimen_is_the_plain_image(specimen, beams):
    (image,) = faded(specimen, beams, {"Li2O": 20.0, "LiF": 100.0}, FRESH)
    np.testing.assert_allclose(image, image_from_exit_wave(specimen[1], OPTICS), atol=3e-6)


def test_beams_come_from_their_crystals(specimen, beams):
    scene, wave = specimen
    assert set(beams) == {"Li2O", "LiF"}
    for truth in scene.truths:
        power = np.abs(beams[truth.phase].array) ** 2
        near = distance_from(wave, truth) < 18
        assert power[near].sum() > 0.95 * power.sum()
    # Of a film alone the same places and frequencies hold little.
    film = film_scene(scene.size_a, 40.0, seed=1)
    settings = Multislice(sampling_a=0.35)
    alone = exit_wave(film, beam_energy_kev=300.0, settings=settings)
    chance = bragg_waves(alone, scene)
    for name, limit in (("Li2O", 0.08), ("LiF", 0.08)):
        share = np.sum(np.abs(chance[name].array) ** 2) / np.sum(np.abs(beams[name].array) ** 2)
        assert share < limit


def test_spots_fade_as_stated_and_what_else_is_there_does_not(specimen, beams):
    scene, wave = specimen
    li2o, lif = scene.truths
    fresh = image_from_exit_wave(wave, OPTICS)
    for dose in (5.0, 10.0, 20.0, 40.0):
        (image,) = faded(specimen, beams, {"Li2O": 20.0}, [dose, dose])
        left = spot_power(image, wave, li2o, LI2O_SPOTS) / spot_power(fresh, wave, li2o, LI2O_SPOTS)
        # What the film scatters into the spots by chance, up to a few percent, stays.
        assert left == pytest.approx(np.exp(-dose / 20), abs=0.05)
        other = spot_power(image, wave, lif, LIF_SPOTS) / spot_power(fresh, wave, lif, LIF_SPOTS)
        assert other == pytest.approx(1, abs=0.01)
        film = (distance_from(wave, li2o) > 24) & (distance_from(wave, lif) > 24)
        assert (image - fresh)[film].std() < 0.02 * fresh[film].std()
        assert image.mean(dtype=float) == pytest.approx(fresh.mean(dtype=float), rel=5e-5)


def test_frames_of_equal_dose_average_to_their_whole(specimen, beams):
    critical = {"Li2O": 20.0, "LiF": 100.0}
    frames = faded(specimen, beams, critical, np.linspace(10, 90, 6))
    (whole,) = faded(specimen, beams, critical, [10, 90])
    np.testing.assert_allclose(frames.mean(axis=0), whole, atol=3e-6)


def test_frozen_phonons_fade_as_the_mean_of_their_images(specimen, beams):
    scene, wave = specimen
    both = replace(wave, array=np.stack([wave.array, wave.array * 1j]))
    critical, doses = {"Li2O": 20.0}, [0.0, 40.0]
    images = fading_images(
        both,
        OPTICS,
        bragg=bragg_waves(both, scene),
        critical_dose_e_per_a2=critical,
        accumulated_e_per_a2=doses,
    )
    np.testing.assert_allclose(images, faded(specimen, beams, critical, doses), atol=3e-6)


def test_strained_crystal_of_a_labelled_scene_is_found():
    phase = load_phase("LiF")
    ball = Body(
        material="LiF",
        shape=Sphere(centre_a=(20.0, 22.0, 14.0), diameter_a=24.0),
        phase=phase,
        orientation=zone_axis_orientation(phase, (0, 0, 1), in_plane_deg=10.0),
        strain=0.06 * np.diag([1.0, -1.0, 0.0]),
    )
    film = Body(material="LEDC", shape=Box(low_a=(0.0, 0.0, 0.0), high_a=(44.0, 44.0, 28.0)))
    scene = scene_from_bodies([ball, film], size_a=(44.0, 44.0), thickness_a=28.0, seed=3)
    wave = exit_wave(scene, beam_energy_kev=300.0, settings=Multislice(sampling_a=0.35))
    relaxed = replace(scene, bodies=(replace(ball, strain=None), film))
    power = [np.sum(np.abs(bragg_waves(wave, s)["LiF"].array) ** 2) for s in (scene, relaxed)]
    assert power[0] > 1.1 * power[1]


def test_scene_and_doses_are_checked(specimen, beams):
    _, wave = specimen
    with pytest.raises(ParameterError, match="give the scene it was made from"):
        bragg_waves(wave, film_scene((40.0, 40.0), 20.0, seed=0))
    with pytest.raises(ParameterError, match=r"critical_dose_e_per_a2\['Li2O'\] is 0\.0: expected"):
        faded(specimen, beams, {"Li2O": 0.0}, FRESH)
    with pytest.raises(PhaseError, match="'Lif' is not a phase"):
        faded(specimen, beams, {"Lif": 9.0}, FRESH)
    with pytest.raises(ParameterError, match="accumulated_e_per_a2 is"):
        faded(specimen, beams, {"Li2O": 9.0}, [0.0, np.inf])
    smaller = replace(wave, array=wave.array[:100])
    with pytest.raises(ParameterError, match="the Bragg wave of Li2O has shape"):
        faded(specimen, {"Li2O": smaller}, {"Li2O": 9.0}, FRESH)
    for doses in ([0.0], [5.0, 1.0], [-1.0, 2.0]):
        with pytest.raises(ParameterError, match="at least two values that rise"):
            faded(specimen, beams, {"Li2O": 9.0}, doses)

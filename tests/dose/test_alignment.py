"""Drift of whole frames at doses at which no frame shows it."""

import subprocess
import sys

import numpy as np
import pytest

from interphase.assessment import Assessment
from interphase.dose.alignment import align_movie, read_spectra
from interphase.dose.motion import climb, fit
from interphase.dose.weighting import aligned_sum
from interphase.errors import ParameterError

PIXEL_A, WAVELENGTH_A = 0.5, 0.0197


def specimen(side, rng, *, contrast=0.05, fringes=0.05):
    """Contrast of an amorphous film behind a lens, 50 nm under focus, with a few crystallites."""
    k = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)) / PIXEL_A
    chi = np.pi * WAVELENGTH_A * 500 * k**2 - np.pi / 2 * 1.2e7 * WAVELENGTH_A**3 * k**4
    passed = np.sin(chi + 0.08) * np.exp(-((k / 0.45) ** 2)) / (1 + (k / 0.3) ** 2)
    film = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(side, side))) * passed, s=(side, side))
    image = contrast * film / film.std()
    y, x = np.indices((side, side))
    for _ in range(side // 100):
        (row, column), radius = rng.uniform(0, side, 2), rng.uniform(20, 60)
        angle, spacing = rng.uniform(0, np.pi), rng.choice([2.66, 2.32, 2.01]) / PIXEL_A
        wave = np.cos(2 * np.pi * (y * np.sin(angle) + x * np.cos(angle)) / spacing)
        image += fringes * wave * (np.hypot(y - row, x - column) < radius)
    return image


def drift(frames, rng, far_px):
    """A burst that dies away, a steady creep and a little unrest, mean 0."""
    t = np.arange(frames)
    ways = rng.normal(size=(2, 2))
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    path = 0.6 * np.outer(1 - np.exp(-t / 3), ways[0]) + 0.4 * np.outer(t / frames, ways[1])
    unrest = 0.01 * rng.normal(size=(frames, 2)).cumsum(axis=0).cumsum(axis=0)
    return far_px * (path - path.mean(axis=0)) + unrest - unrest.mean(axis=0)


def camera(side, rng, *, gain):
    """A gain reference that is wrong by pixels and columns, and some hot pixels."""
    pattern = 1 + gain * rng.normal(size=(side, side))
    pattern[:, rng.choice(side, 3, replace=False)] *= 1.5
    pattern.flat[rng.choice(side**2, 20, replace=False)] *= 30
    return pattern


def movie(rng, *, frames=40, side=512, counts=0.3, far_px=20.0, gain=0.03, **kind):
    """Return frames of a camera and where the specimen was, which is larger than the field."""
    margin = 64
    whole = np.fft.rfft2(specimen(side + 2 * margin, rng, **kind))
    truth = drift(frames, rng, far_px)
    pattern = camera(side, rng, gain=gain)
    field = slice(margin, margin + side)
    ky, kx = (f(side + 2 * margin) for f in (np.fft.fftfreq, np.fft.rfftfreq))
    recorded = np.empty((frames, side, side), dtype=np.float32)
    for f, (y, x) in enumerate(truth):
        moved = np.fft.irfft2(whole * np.exp(-2j * np.pi * (ky[:, None] * y + kx * x)))
        seen = np.maximum(1 + moved[field, field], 0)
        recorded[f] = rng.poisson(counts * seen) * pattern
    return recorded, truth


def residual_px(found, truth):
    error = found.shifts_px - truth
    error -= error.mean(axis=0)
    return float(np.sqrt(np.square(error).sum(axis=1).mean())), error


@pytest.mark.parametrize(
    ("counts", "side", "seed"),
    [(0.3, 512, 1), (0.3, 512, 2), (0.5, 512, 3), (1, 256, 4), (5, 256, 5)],
)
def test_residuals_are_below_a_third_of_a_pixel_down_to_03_electrons(counts, side, seed):
    frames, truth = movie(np.random.default_rng(seed), counts=counts, side=side)
    found = align_movie(frames)
    assert found.assessment is Assessment.OK
    rms, _ = residual_px(found, truth)
    assert rms < 0.3 if counts < 5 else rms < 0.1
    assert found.drift_px == pytest.approx(
        np.hypot(*(truth[:, None] - truth).reshape(-1, 2).T).max(), abs=2.0
    )
    assert found.significance > 8
    assert abs(found.shifts_px.mean(axis=0)).max() < 1e-6


def test_uncertainties_hold():
    inside, chi = [], []
    for seed in range(7):
        frames, truth = movie(np.random.default_rng(100 + seed), frames=24, side=256, counts=1.0)
        found = align_movie(frames)
        assert found.assessment is Assessment.OK
        _, error = residual_px(found, truth)
        inside.append(np.mean(np.abs(error) < 1.96 * found.sigma_px))
        chi.append(np.mean(np.square(error / found.sigma_px)))
    # Errors of neighbouring frames go together: seven movies are some 100 independent ones.
    assert 0.87 < np.mean(inside) < 0.99
    assert 0.5 < np.mean(chi) < 1.6


def test_a_pattern_on_the_camera_attracts_nothing():
    results = []
    for gain in (0.0, 0.08):
        rng = np.random.default_rng(7)
        frames, truth = movie(rng, frames=24, side=256, counts=2.0, gain=gain, far_px=6.0)
        results.append(residual_px(align_movie(frames), truth)[0])
    assert results[1] < 1.5 * results[0] + 0.02


def test_fringes_do_not_slip_by_a_spacing():
    frames, truth = movie(
        np.random.default_rng(3), frames=24, side=256, counts=3.0, fringes=0.25, contrast=0.05
    )
    rms, error = residual_px(align_movie(frames), truth)
    assert rms < 0.15
    assert np.abs(error).max() < 1.0


@pytest.mark.parametrize(("gain", "far_px"), [(0.0, 10.0), (0.1, 10.0), (0.1, 0.0)])
def test_a_movie_without_a_specimen_is_not_aligned(gain, far_px):
    rng = np.random.default_rng(11)
    frames, _ = movie(
        rng, frames=16, side=128, gain=gain, far_px=far_px, contrast=1e-6, fringes=1e-6
    )
    found = align_movie(frames)
    assert found.assessment is Assessment.TOO_FEW_ELECTRONS
    assert found.shifts_px is None
    assert found.sigma_px is None
    assert found.drift_px is None
    assert "to be aligned" in found.sentence


def test_too_few_electrons_are_too_few():
    frames, _ = movie(np.random.default_rng(12), frames=16, side=128, counts=0.1)
    assert align_movie(frames).assessment is Assessment.TOO_FEW_ELECTRONS


@pytest.fixture(scope="module")
def small():
    frames, truth = movie(np.random.default_rng(21), frames=16, side=192, counts=2.0, far_px=8.0)
    return frames, truth, align_movie(frames)


def test_shifts_turn_with_the_frames_and_run_back_with_time(small):
    frames, _, found = small
    turned = align_movie(frames.transpose(0, 2, 1))
    back = align_movie(frames[::-1])
    upside_down = align_movie(frames[:, ::-1])
    for other, expected in (
        (turned.shifts_px[:, ::-1], found.shifts_px),
        (back.shifts_px[::-1], found.shifts_px),
        (upside_down.shifts_px * (-1, 1), found.shifts_px),
    ):
        assert (np.abs(other - expected) < 2 * found.sigma_px).all()


def test_units_of_counts_do_not_matter(small):
    frames, _, found = small
    scaled = align_movie(frames * 250.0)
    np.testing.assert_allclose(scaled.shifts_px, found.shifts_px, atol=1e-2)


def test_any_kind_of_stack_gives_the_same_and_stays_as_it_was(small):
    import dask.array

    frames, _, found = small
    kept = frames.copy()
    for other in (dask.array.from_array(frames, chunks=(5, 96, 192)), list(frames)):
        np.testing.assert_array_equal(align_movie(other).shifts_px, found.shifts_px)
    np.testing.assert_array_equal(frames, kept)


def test_the_aligned_sum_shows_what_the_blurred_one_does_not():
    rng = np.random.default_rng(5)
    frames, truth = movie(rng, frames=24, side=256, counts=3.0, gain=0.0)
    found = align_movie(frames)
    powers = []
    for shifts in (None, found.shifts_px, truth):
        image = aligned_sum(frames, shifts_px=shifts)[32:-32, 32:-32]
        power = np.abs(np.fft.rfft2(image - image.mean())) ** 2
        k = np.hypot(np.fft.fftfreq(192)[:, None], np.fft.rfftfreq(192))
        powers.append(power[(k > 0.08) & (k < 0.16)].mean() / power[k > 0.4].mean() - 1)
    assert powers[1] > 0.95 * powers[2]
    assert powers[1] > 2 * powers[0]


def test_frames_that_hold_nothing_follow_from_the_others(small):
    frames, truth, found = small
    damaged = frames.copy()
    damaged[4] = np.nan
    damaged[9] = 3.0
    damaged[12, 5, 7] = np.inf
    other = align_movie(damaged)
    assert other.assessment is Assessment.OK
    assert other.unused == (4, 9)
    assert "2 of 16 frames hold nothing" in other.sentence
    assert (other.sigma_px[[4, 9]] > 1.2 * found.sigma_px[[4, 9]]).all()
    assert residual_px(other, truth)[0] < 0.4


def test_frames_of_unlike_dose_are_weighed_by_it(small):
    frames, truth, _ = small
    rng = np.random.default_rng(6)
    uneven = frames.copy()
    uneven[10:] = rng.binomial(np.rint(uneven[10:]).astype(int), 0.3)
    found = align_movie(uneven)
    assert residual_px(found, truth)[0] < 0.4
    assert found.sigma_px[11:].mean() > found.sigma_px[2:10].mean()


def test_the_slope_of_the_likelihood_is_its_derivative(small):
    frames, truth, _ = small
    spectra, _ = read_spectra(frames)
    every = range(len(frames))
    part = spectra.part(np.arange(0, len(spectra.ring), 37))
    model = fit(part, every, truth)
    u, v, noise = (
        power[part.ring] for power in (model.specimen_ratio, model.pattern_ratio, model.noise)
    )

    def likelihood(shifts):
        """Of complex normal variables, with the powers held."""
        phase = np.exp(-2j * np.pi * shifts @ part.k.astype(float))
        total = 0.0
        for n in range(len(u)):
            both = part.gain[:, None] * np.stack([phase[:, n], np.ones(len(phase))], axis=1)
            both = both * np.sqrt([u[n], v[n]])
            covariance = noise[n] * (np.eye(len(phase)) + both @ both.conj().T)
            y = part.values[:, n]
            total -= (y.conj() @ np.linalg.solve(covariance, y)).real
            total -= np.linalg.slogdet(covariance)[1]
        return total

    slope = model.slope()
    step = 1e-3
    for frame, axis in ((0, 0), (3, 1), (15, 0)):
        moved = [truth.copy(), truth.copy()]
        moved[0][frame, axis] += step
        moved[1][frame, axis] -= step
        numeric = (likelihood(moved[0]) - likelihood(moved[1])) / (2 * step)
        assert slope[frame, axis] == pytest.approx(numeric, rel=1e-3, abs=1e-3)


def test_pairs_of_frames_keep_what_frames_say_together(small):
    frames, _, _ = small
    spectra, _ = read_spectra(frames[:7])
    pairs = spectra.in_pairs()
    assert len(pairs.values) == 4
    np.testing.assert_allclose((pairs.gain**2).sum(), (spectra.gain**2).sum(), rtol=1e-5)
    np.testing.assert_allclose(
        pairs.gain @ pairs.values, spectra.gain @ spectra.values, rtol=1e-3, atol=1e-3
    )
    np.testing.assert_array_equal(spectra.values, read_spectra(frames[:7])[0].values)


def test_many_frames_of_few_electrons_are_aligned_by_way_of_pairs():
    frames, truth = movie(np.random.default_rng(8), frames=80, side=256, counts=0.4, far_px=10.0)
    found = align_movie(frames)
    assert found.assessment is Assessment.OK
    assert residual_px(found, truth)[0] < 0.3


def test_two_frames_are_aligned_where_they_show_enough():
    rng = np.random.default_rng(9)
    image = rng.gamma(10.0, 2.0, (160, 160))
    frames = [rng.poisson(image[16 - s : 144 - s, 16 + s : 144 + s]) for s in (0, 3)]
    found = align_movie(frames)
    assert found.assessment is Assessment.OK
    np.testing.assert_allclose(found.shifts_px[1] - found.shifts_px[0], (3, -3), atol=0.1)


def test_a_track_that_starts_at_the_truth_stays_there(small):
    frames, truth, _ = small
    spectra, _ = read_spectra(frames)
    track = climb(spectra, range(len(frames)), truth, steps=20, still_px=1e-3)
    assert np.abs((track.shifts_px - truth) / track.sigma_px).max() < 5


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        (np.ones((1, 64, 64)), "a single image has nothing to be aligned with"),
        (np.ones((64, 64)), r"frames has the shape \(64, 64\)"),
        ([np.ones((64, 64)), np.ones((64, 65))], "expected one shape"),
        (np.ones((3, 64, 64), dtype=complex), "expected real numbers"),
        ((frame for frame in np.ones((3, 64, 64))), "make a list"),
    ],
)
def test_what_is_no_movie_is_refused(frames, said):
    with pytest.raises(ParameterError, match=said):
        align_movie(frames)


@pytest.mark.parametrize(
    ("frames", "said"),
    [
        (np.full((4, 64, 64), np.nan), "4 of 4 frames are empty, constant or not finite"),
        (np.full((4, 64, 64), 7), "4 of 4 frames are empty"),
        (np.zeros((4, 64, 64), dtype=np.uint8), "4 of 4 frames are empty"),
        (np.random.default_rng(0).poisson(1.0, (4, 32, 64)), "at least 64 along each side"),
    ],
)
def test_what_holds_nothing_says_so(frames, said):
    found = align_movie(frames)
    assert found.assessment is Assessment.UNUSABLE
    assert said in found.sentence
    assert found.shifts_px is None


def test_memory_is_that_of_the_band_and_not_of_the_movie():
    """130 MB of frames, lazily, in 60 MB above what the program takes anyway."""
    code = """
import resource
import dask
import dask.array
import numpy as np
from interphase.dose import alignment
def frames(number, side):
    def block(block_info=None):
        rng = np.random.default_rng(block_info[None]["chunk-location"][0])
        return rng.poisson(1.0, (2, side, side)).astype(float)
    chunks = ((2,) * (number // 2), (side,), (side,))
    return dask.array.map_blocks(block, chunks=chunks, dtype=float)
alignment.LARGEST_SPECTRA = 2**23
with dask.config.set(scheduler="synchronous"):
    alignment.align_movie(frames(4, 128))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    alignment.align_movie(frames(64, 512))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 60

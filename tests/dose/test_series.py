"""What is followed through movies and series of patterns."""

import dask.array as da
import numpy as np
import pytest

from interphase.assessment import Assessment
from interphase.dose import (
    Law,
    estimate_fading,
    follow_crystallinity,
    follow_fringes,
    follow_pattern_spots,
    follow_rings,
    mean_fading,
)
from interphase.dose.series import frames_of
from interphase.errors import ParameterError

EDGES = np.linspace(0.0, 60.0, 21)
DOSES = {"before_e_per_a2": EDGES[:-1], "after_e_per_a2": EDGES[1:]}
SPOTS = {"Li2O": np.array([[0.0, 0.3125], [0.25, 0.125]]), "LiF": np.array([[0.4, -0.2]])}
PIXEL = 0.5


def fringes(spots, contrast, size=128):
    y, x = np.indices((size, size)) * PIXEL
    return contrast * sum(np.cos(2 * np.pi * (ky * y + kx * x)) for ky, kx in spots)


def images(critical, *, contrast=0.06, counts=3.0, size=128):
    """Expected counts of images in which each phase fades in its own dose."""
    total = np.ones((20, size, size))
    for name, dose in critical.items():
        amplitude = mean_fading(EDGES[:-1], EDGES[1:], critical_dose_e_per_a2=2 * dose)
        total += amplitude[:, None, None] * fringes(SPOTS[name], contrast, size)
    return counts * total


def test_each_phase_fades_by_its_own_dose():
    rng = np.random.default_rng(1)
    expected = images({"Li2O": 20.0, "LiF": 60.0})
    held = {"Li2O": [], "LiF": []}
    for _ in range(25):
        series = follow_fringes(
            rng.poisson(expected), spots_per_a=SPOTS, pixel_size_a=PIXEL, **DOSES
        )
        for name, truth in (("Li2O", 20.0), ("LiF", 60.0)):
            fit = estimate_fading(series[name])
            held[name].append((fit.low_e_per_a2 or 0) <= truth <= (fit.high_e_per_a2 or np.inf))
    assert min(map(sum, held.values())) >= 21


def test_power_over_the_floor_is_that_of_theory():
    rng = np.random.default_rng(2)
    flat = np.full((20, 128, 128), 3.0)
    flat += 3.0 * fringes(SPOTS["Li2O"], 0.05)
    powers = np.array(
        [
            follow_fringes(rng.poisson(flat), spots_per_a=SPOTS, pixel_size_a=PIXEL, **DOSES)
            for _ in range(10)
        ]
    )
    oxide = np.array([found["Li2O"].net for found in powers]).ravel()
    nothing = np.array([found["LiF"].signal for found in powers]).ravel()
    # η C² N A / 4 with η = 4/9 for a Hann window, and counts for the dose.
    theory = 4 / 9 * 0.05**2 * 3.0 * 128**2 / 4
    assert oxide.mean() == pytest.approx(theory, rel=0.05)
    # Two spots averaged: variance (1 + 2 s) / 2; noise alone is exponential.
    assert oxide.var() == pytest.approx((1 + 2 * theory) / 2, rel=0.25)
    assert nothing.mean() == pytest.approx(1.0, abs=0.2)
    assert nothing.var() == pytest.approx(1.0, abs=0.45)


def test_drift_does_not_change_the_power_of_fringes_nor_does_the_chunking():
    rng = np.random.default_rng(3)
    still = rng.poisson(images({"Li2O": 30.0})).astype(np.float32)
    moved = np.stack([np.roll(frame, (2 * n, -n), (0, 1)) for n, frame in enumerate(still)])
    where = {"spots_per_a": SPOTS, "pixel_size_a": PIXEL, "window_a": 40.0, **DOSES}
    drift = np.arange(20)[:, None] * [2, -1]
    centre = {"centres_px": {"Li2O": (45.0, 75.0)}}
    first = follow_fringes(still, **where, **centre)["Li2O"].signal
    followed = follow_fringes(moved, **where, **centre, drift_px=drift)["Li2O"].signal
    assert followed == pytest.approx(first, rel=1e-6)
    for chunks in ((1, 128, 128), (7, 64, 128), (20, 128, 30)):
        lazy = follow_fringes(da.from_array(still, chunks), **where, **centre)["Li2O"].signal
        assert lazy == pytest.approx(first, rel=1e-12)
    # Without following, the power is that of other electrons of the same crystal.
    unfollowed = follow_fringes(moved, **where, **centre)["Li2O"]
    fits = [estimate_fading(one) for one in (unfollowed, follow_fringes(still, **where)["Li2O"])]
    assert all((fit.low_e_per_a2 or 0) < 30 < (fit.high_e_per_a2 or np.inf) for fit in fits)


def test_a_lazy_stack_is_computed_a_block_at_a_time():
    computed = []

    def block(block_info):
        computed.append(block_info[None]["chunk-location"])
        return np.ones(block_info[None]["chunk-shape"])

    chunks = ((2,) * 5, (8,), (8,))
    stack = da.map_blocks(block, chunks=chunks, dtype=float, meta=np.empty((0, 0, 0)))
    frames = frames_of(stack)
    next(frames)
    assert len(computed) == 1
    assert len(list(frames)) == 9
    assert len(computed) == 5


def test_a_simulated_movie_gives_back_the_critical_dose_that_was_put_in():
    from interphase.simulation import ExitWave, Optics, fading_images, movie

    rng = np.random.default_rng(4)
    y, x = np.indices((128, 128)) * PIXEL
    crystal = 0.12 * np.exp(-((x - 32) ** 2 + (y - 32) ** 2) / (2 * 14**2))
    waves = sum(np.exp(2j * np.pi * (ky * y + kx * x)) for ky, kx in SPOTS["Li2O"])
    conditions = {"pixel_size_a": (PIXEL, PIXEL), "beam_energy_kev": 300.0}
    beams = ExitWave(array=(crystal * waves).astype(np.complex64), **conditions)
    fading = fading_images(
        ExitWave(array=1 + beams.array, **conditions),
        Optics(defocus_a=0.0),
        bragg={"Li2O": beams},
        critical_dose_e_per_a2={"Li2O": 25.0},
        accumulated_e_per_a2=EDGES,
    )
    drift = (0.3, -0.2)
    fits, shares = [], []
    for _ in range(12):
        frames = movie(
            fading, dose_e_per_a2=60.0, frames=20, pixel_size_a=PIXEL, drift_a=drift, rng=rng
        )
        series = follow_fringes(
            frames,
            spots_per_a={"Li2O": SPOTS["Li2O"]},
            pixel_size_a=PIXEL,
            window_a=48.0,
            drift_px=np.arange(20)[:, None] * np.array(drift) / PIXEL,
            **DOSES,
        )["Li2O"]
        fits.append(estimate_fading(series))
        shares.append(
            estimate_fading(follow_crystallinity(frames, pixel_size_a=PIXEL, **DOSES).series)
        )
    for kind in (fits, shares):
        held = [(f.low_e_per_a2 or 0) <= 25 <= (f.high_e_per_a2 or np.inf) for f in kind]
        assert sum(held) >= 10
        assert np.median([f.critical_dose_e_per_a2 for f in kind]) == pytest.approx(25, rel=0.12)
    assert fits[0].series.law is Law.POWER
    assert fits[0].as_damage_fact(source="simulated").phase == "Li2O"


def test_crystallinity_is_a_share_of_power():
    rng = np.random.default_rng(5)
    expected = images({"Li2O": 20.0, "LiF": 20.0})
    found = follow_crystallinity(rng.poisson(expected), pixel_size_a=PIXEL, **DOSES)
    assert np.all(np.diff(found.share[::5]) < 0)
    assert 0 < found.share[0] < 1
    assert np.all(found.share_error > 0)
    fit = estimate_fading(found.series)
    assert (fit.low_e_per_a2 or 0) <= 20 <= (fit.high_e_per_a2 or np.inf)
    # Fringes of contrast C hold η-free C² N / 4 each, over all power of counts in the band.
    k = np.hypot(np.fft.fftfreq(128, PIXEL)[:, None], np.fft.fftfreq(128, PIXEL))
    band = np.sum((k >= 0.2) & (k <= 1.0)) / 2
    signal = 3 * 0.06**2 * 3.0 * 128**2 / 4 * np.exp(-3 / 40)
    assert found.share[0] == pytest.approx(signal / (band + signal), rel=0.25)


def test_noise_and_a_film_have_no_crystallinity():
    rng = np.random.default_rng(6)
    noise = rng.poisson(3.0, (20, 128, 128))
    film = np.fft.ifft2(np.fft.fft2(rng.normal(size=(128, 128))) * 8.0).real
    film = 3.0 * np.exp(0.1 * film / film.std())
    for stack in (noise, rng.poisson(np.broadcast_to(film, (20, 128, 128)))):
        found = follow_crystallinity(stack, pixel_size_a=PIXEL, **DOSES)
        assert found.share[0] < 0.01
        assert estimate_fading(found.series).assessment is not Assessment.OK


def pattern(spots, rings, size=96, centre=(47.3, 48.1), sampling=0.02):
    """Expected electrons of a fresh pattern: spots, rings, and a halo under both."""
    ky = (np.arange(size)[:, None] - centre[0]) * sampling
    kx = (np.arange(size)[None, :] - centre[1]) * sampling
    k = np.hypot(ky, kx)
    crystal = sum(
        30 * np.exp(-((ky - y) ** 2 + (kx - x) ** 2) / (2 * 0.015**2)) for y, x in spots
    ) + sum(3 * np.exp(-((k - ring) ** 2) / (2 * 0.015**2)) for ring in rings)
    return np.asarray(crystal), 10 * np.exp(-k / 0.6)


def test_spots_and_rings_of_patterns_fade_by_the_dose_that_was_put_in():
    rng = np.random.default_rng(7)
    spots = np.array([[0.4, 0.1], [-0.2, 0.35], [0.1, -0.42]])
    where = {"centre_px": (47.3, 48.1), "reciprocal_pixel_size_per_a": 0.02, **DOSES}
    decay = mean_fading(EDGES[:-1], EDGES[1:], critical_dose_e_per_a2=25.0)[:, None, None]
    held, nets = [], []
    for _ in range(15):
        crystal, halo = pattern(spots, [])
        found = follow_pattern_spots(
            rng.poisson(decay * crystal + halo),
            spots_per_a={"LiF": spots},
            radius_per_a=0.05,
            **where,
        )["LiF"]
        fit = estimate_fading(found)
        held.append(fit.low_e_per_a2 <= 25 <= fit.high_e_per_a2)
        nets.append(found.net[0])
        crystal, halo = pattern([], [0.43, 0.7])
        ring = follow_rings(
            rng.poisson(decay * crystal + halo),
            rings_per_a={"LiF": [0.43, 0.7]},
            width_per_a=0.08,
            **where,
        )["LiF"]
        fit = estimate_fading(ring, fit_rest=True)
        held.append((fit.low_e_per_a2 or 0) <= 25 <= (fit.high_e_per_a2 or np.inf))
    assert sum(held) >= 26
    inside = pattern(spots, [])[0].sum() * decay[0, 0, 0]
    assert np.mean(nets) == pytest.approx(inside, rel=0.08)


def test_the_gain_of_the_camera_is_taken_off_and_shadows_are_left_out():
    rng = np.random.default_rng(8)
    spots = np.array([[0.4, 0.1], [-0.2, 0.35]])
    crystal, halo = pattern(spots, [])
    counts = rng.poisson(np.broadcast_to(crystal + halo, (20, 96, 96)))
    where = {
        "spots_per_a": {"LiF": spots},
        "radius_per_a": 0.05,
        "centre_px": (47.3, 48.1),
        "reciprocal_pixel_size_per_a": 0.02,
        **DOSES,
    }
    plain = follow_pattern_spots(counts, **where)["LiF"]
    gained = follow_pattern_spots(counts * 7.0, counts_per_electron=7.0, **where)["LiF"]
    assert gained.signal == pytest.approx(plain.signal)
    valid = np.ones((96, 96), dtype=bool)
    valid[60:] = False
    shadowed = follow_pattern_spots(np.where(valid, counts, 10**6), valid=valid, **where)["LiF"]
    assert shadowed.signal.max() < plain.signal.min()
    with pytest.raises(ParameterError, match="no pixel is left for the signal of LiF"):
        follow_pattern_spots(counts, valid=np.zeros((96, 96), dtype=bool), **where)
    with pytest.raises(ParameterError, match=r"valid has shape \(3, 3\)"):
        follow_pattern_spots(counts, valid=np.ones((3, 3), dtype=bool), **where)


STACK = np.ones((20, 64, 64))
IMAGES = {"spots_per_a": SPOTS, "pixel_size_a": PIXEL, **DOSES}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"images": np.ones((64, 64))}, "an image alone is no series"),
        ({"after_e_per_a2": EDGES}, r"after_e_per_a2 has shape \(21,\) and the stack 20"),
        ({"pixel_size_a": 0.0}, r"pixel_size_a is 0\.0"),
        ({"window_a": 2.0}, "window_a is 2.0 Å, 4 px"),
        ({"window_a": 200.0}, "400 px: expected 16 px to the image's 64 px"),
        ({"drift_px": np.zeros((3, 2))}, r"drift_px has shape \(3, 2\)"),
        ({"spots_per_a": {"LiF": np.array([[0.0, 1.2]])}}, r"LiF is at 1\.2 1/Å"),
        ({"spots_per_a": {"LiF": np.array([0.0, 0.2])}}, r"spots of LiF have shape \(2,\)"),
        ({"images": np.zeros((20, 64, 64))}, "image 1 has 0 counts in the window of Li2O"),
        ({"images": np.full((20, 64, 64), np.nan)}, "empty|nan"),
    ],
)
def test_a_series_of_images_that_cannot_be_followed_is_refused(given, said):
    call = {"images": STACK, **IMAGES, **given}
    with pytest.raises(ParameterError, match=said):
        follow_fringes(call.pop("images"), **call)


def test_spots_that_crowd_out_their_own_floor_are_named():
    step = 1 / (64 * PIXEL)
    around = 0.4 + step * np.stack(np.meshgrid(*[np.arange(-8, 9, 3)] * 2), axis=-1).reshape(-1, 2)
    with pytest.raises(ParameterError, match="no floor about it that is clear"):
        follow_fringes(STACK, **{**IMAGES, "spots_per_a": {"LiF": around}})


def test_what_crystallinity_needs_is_said():
    with pytest.raises(ParameterError, match="must have the same"):
        follow_crystallinity(
            STACK,
            pixel_size_a=PIXEL,
            before_e_per_a2=EDGES[:-1] ** 2,
            after_e_per_a2=EDGES[1:] ** 2,
        )
    with pytest.raises(ParameterError, match="no frequency in that range"):
        follow_crystallinity(STACK, pixel_size_a=PIXEL, d_range_a=(0.1, 0.2), **DOSES)


def test_the_centre_of_a_pattern_is_two_numbers():
    given = {"rings_per_a": {"LiF": [0.4]}, "width_per_a": 0.1, **DOSES}
    with pytest.raises(ParameterError, match=r"centre_px is 3\.0"):
        follow_rings(STACK, centre_px=3.0, reciprocal_pixel_size_per_a=0.02, **given)
    with pytest.raises(ParameterError, match=r"reciprocal_pixel_size_per_a is -1"):
        follow_rings(STACK, centre_px=(32, 32), reciprocal_pixel_size_per_a=-1, **given)
    with pytest.raises(ParameterError, match="expected frames, rows and columns"):
        follow_rings(STACK[0], centre_px=(32, 32), reciprocal_pixel_size_per_a=0.02, **given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"images": np.full_like(STACK, np.nan, dtype=float)}, "image 1 has nan counts"),
        ({"images": STACK - 2.0 * STACK.mean()}, "image 1 has -.* nothing subtracted"),
        ({"window_a": np.nan}, "window_a is nan"),
        ({"centres_px": {"Lif": (3, 3)}}, "centres_px has 'Lif', which spots_per_a has not"),
        ({"centres_px": {"LiF": (1e4, 3)}}, "the centre of LiF is outside of image 1"),
        ({"centres_px": {"LiF": (np.nan, 3)}}, "the centre of LiF is outside of image 1"),
        (
            {"drift_px": np.linspace(0, 1e3, len(STACK))[:, None] * [1, 0]},
            "the centre of Li2O is outside of image [2-9]: what leaves the image seems to fade",
        ),
        ({"spots_per_a": None}, "spots_per_a is None"),
    ],
)
def test_images_that_would_seem_to_fade_are_refused(given, said):
    call = {"images": STACK, **IMAGES, **given}
    with pytest.raises(ParameterError, match=said):
        follow_fringes(call.pop("images"), **call)


def test_an_empty_image_among_others_is_named():
    stack = STACK.copy()
    stack[2] = 0
    with pytest.raises(ParameterError, match="image 3 has 0 counts in the window of Li2O"):
        follow_fringes(stack, **IMAGES)


@pytest.mark.parametrize("fill", [0.0, 4.0, np.nan])
def test_images_without_a_spectrum_have_no_crystallinity(fill):
    with pytest.raises(ParameterError, match="empty, or hold what is no number"):
        follow_crystallinity(np.full((20, 32, 32), fill), pixel_size_a=PIXEL, **DOSES)


@pytest.mark.parametrize("d_range_a", ["ab", (1.0,), (0.0, 5.0), (np.nan, 5.0)])
def test_a_range_is_two_spacings(d_range_a):
    with pytest.raises(ParameterError, match="d_range_a is"):
        follow_crystallinity(STACK, pixel_size_a=PIXEL, d_range_a=d_range_a, **DOSES)


@pytest.mark.parametrize("rings", [{}, {"a": []}, {"a": 0.2}, {"a": [-0.2]}, None])
def test_rings_are_radii(rings):
    with pytest.raises(ParameterError, match="expected"):
        follow_rings(
            STACK,
            rings_per_a=rings,
            width_per_a=0.1,
            centre_px=(32, 32),
            reciprocal_pixel_size_per_a=0.02,
            **DOSES,
        )

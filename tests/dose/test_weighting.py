"""Frames added up by what the beam has left of the specimen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from interphase.dose.exposure import Moment
from interphase.dose.weighting import (
    OPTIMAL_EXPOSURE,
    DoseWeighting,
    aligned_sum,
    common_field,
    dose_weights,
    grant_grigorieff_dose,
)
from interphase.errors import ParameterError

PIXEL_A = 0.5


def protein(k_per_a):
    return grant_grigorieff_dose(k_per_a, beam_energy_kev=300)


@pytest.mark.parametrize(
    ("k", "dose"), [(0.1, 14.139), (0.2, 6.386), (0.25, 5.277), (1 / 3, 4.340), (0.5, 3.591)]
)
def test_critical_doses_of_protein_are_those_published(k, dose):
    at_300 = float(protein(k))
    assert round(at_300, 3) == dose
    assert float(grant_grigorieff_dose(k, beam_energy_kev=200)) == pytest.approx(0.8 * at_300)


@pytest.mark.parametrize(
    ("k", "left"), [(0.1, 0.4930), (0.25, 0.1503), (1 / 3, 0.0998), (0.5, 0.0617)]
)
def test_amplitudes_after_20_electrons_are_those_published(k, left):
    weight = dose_weights([20.0], protein(np.array([k])), at=Moment.END)
    assert round(float(weight[0, 0]), 4) == left


def test_the_optimal_exposure_is_where_a_plain_sum_has_the_best_ratio():
    root = brentq(lambda x: np.exp(x / 2) - 1 - x, 1, 4, xtol=1e-15)
    assert root == pytest.approx(OPTIMAL_EXPOSURE, rel=1e-14)
    assert round(OPTIMAL_EXPOSURE, 5) == 2.51286
    # Signal over noise of a plain sum up to x: ∫ exp(-x/2) / √x.
    x = np.linspace(0.01, 6, 200_000)
    ratio = (1 - np.exp(-x / 2)) / np.sqrt(x)
    assert x[ratio.argmax()] == pytest.approx(OPTIMAL_EXPOSURE, abs=1e-4)


@pytest.mark.parametrize(("at", "dose"), [("start", 5.0), ("middle", 6.0), ("end", 7.0)])
def test_a_moment_stands_for_a_frame_where_one_is_asked_for(at, dose):
    weight = dose_weights([3.0, 2.0], 4.0, pre_exposure_e_per_a2=2.0, at=Moment(at))
    assert weight[1] == pytest.approx(np.exp(-dose / 8))


@settings(deadline=None, max_examples=30)
@given(st.floats(0.01, 50), st.floats(0.5, 500), st.floats(0, 100), st.integers(2, 9))
def test_splitting_a_frame_leaves_the_mean_of_what_it_recorded(dose, critical, before, parts):
    whole = dose_weights([dose], critical, pre_exposure_e_per_a2=before)[0]
    split = dose_weights(np.full(parts, dose / parts), critical, pre_exposure_e_per_a2=before)
    assert whole == pytest.approx(split.mean(), rel=1e-9)
    assert (np.diff(split) < 0).all()


def test_weights_beat_every_truncation_and_the_plain_sum_at_every_frequency():
    rng = np.random.default_rng(1)
    dose = rng.uniform(0.2, 3.0, 40)
    k = np.linspace(0.01, 0.9, 60)
    q = dose_weights(dose, protein(k))
    signal, noise = dose[:, None] * q, dose[:, None]
    weighted = (q * signal).sum(axis=0) / np.sqrt((q**2 * noise).sum(axis=0))
    truncated = np.cumsum(signal, axis=0) / np.sqrt(np.cumsum(noise, axis=0))
    assert (weighted >= truncated.max(axis=0) * (1 - 1e-12)).all()
    # With most of the dose beyond the optimum the gain over the plain sum is large.
    assert weighted[-1] > 2 * truncated[-1, -1]


def fading_movie(rng, frames, dose, side=128):
    """Counts of a noise-like specimen that fades as protein, and its spectrum when fresh."""
    k = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)) / PIXEL_A
    fresh = np.fft.rfft2(0.25 * rng.normal(size=(side, side)))
    left = dose_weights(np.full(frames, dose), np.minimum(protein(k), 1e9))
    clean = np.fft.irfft2(fresh * left, s=(side, side))
    return rng.poisson(dose * PIXEL_A**2 * np.maximum(1 + clean, 0)), fresh, k


def test_a_measured_weighted_sum_has_the_best_ratio_in_every_ring():
    rng = np.random.default_rng(2)
    frames, dose = 24, 2.0
    weighting = DoseWeighting(
        frame_dose_e_per_a2=np.full(frames, dose),
        pixel_size_a=PIXEL_A,
        critical_dose_e_per_a2=protein,
    )
    rings = np.linspace(0.05, 1.0, 9)
    ratio = np.zeros((4, 8))
    for _ in range(12):
        counts, fresh, k = fading_movie(rng, frames, dose)
        sums = [counts[:n].sum(axis=0) for n in (4, 10, frames)]
        sums.append(aligned_sum(counts, weighting=weighting))
        ring = np.digitize(k, rings) - 1
        for which, image in enumerate(sums):
            spectrum = np.fft.rfft2(image)
            for r in range(8):
                here = (ring == r) & (k > 0)
                # Projection on the truth over the scatter of all.
                cross = (spectrum[here] * fresh[here].conj()).real.mean()
                power = (np.abs(spectrum[here]) ** 2).mean() * (np.abs(fresh[here]) ** 2).mean()
                ratio[which, r] += cross / np.sqrt(power) / 12
    assert (ratio[3] > ratio[:3] - 0.005).all()
    assert ratio[3, -1] > 1.5 * ratio[2, -1]


@pytest.mark.parametrize("critical", [20.0, protein])
def test_counting_noise_stays_white_and_keeps_its_power_and_the_mean(critical, rng):
    frames = rng.poisson(0.5, (30, 128, 128))
    weighting = DoseWeighting(
        frame_dose_e_per_a2=np.full(30, 2.0), pixel_size_a=PIXEL_A, critical_dose_e_per_a2=critical
    )
    plain, weighted = frames.sum(axis=0), aligned_sum(frames, weighting=weighting)
    assert weighted.mean() == pytest.approx(plain.mean(), rel=1e-6)
    power = np.abs(np.fft.rfft2(weighted)) ** 2 / (15 * 128**2)
    k = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.rfftfreq(128))
    for low in np.arange(0.05, 0.5, 0.05):
        ring = (k > low) & (k <= low + 0.05)
        assert power[ring].mean() == pytest.approx(1.0, abs=4 / np.sqrt(ring.sum()))


def test_where_nothing_fades_the_weighted_sum_is_the_plain_one(rng):
    frames = rng.poisson(1.0, (5, 32, 48))
    weighting = DoseWeighting(
        frame_dose_e_per_a2=np.full(5, 4.0), pixel_size_a=PIXEL_A, critical_dose_e_per_a2=np.inf
    )
    np.testing.assert_allclose(
        aligned_sum(frames, weighting=weighting), frames.sum(axis=0), atol=1e-4
    )


def test_a_pre_exposure_changes_weights_but_no_sum(rng):
    frames = rng.poisson(1.0, (5, 32, 32))
    fresh, late = (
        DoseWeighting(
            frame_dose_e_per_a2=np.full(5, 4.0),
            pixel_size_a=PIXEL_A,
            critical_dose_e_per_a2=7.0,
            pre_exposure_e_per_a2=before,
        )
        for before in (0.0, 2000.0)
    )
    k = np.array([0.0, 0.3])
    np.testing.assert_allclose(
        late.weights(k)[:, 1], fresh.weights(k)[:, 1] * np.exp(-2000 / 14), rtol=1e-9
    )
    assert (late.weights(k)[:, 0] == 1).all()
    np.testing.assert_array_equal(
        aligned_sum(frames, weighting=fresh), aligned_sum(frames, weighting=late)
    )


def test_frames_beyond_the_optimum_can_be_left_out():
    doses = np.full(10, 4.0)
    q = dose_weights(doses, np.array([4.0, 1e6]), stop_at_optimum=True)
    assert (q[:, 0] > 0).tolist() == [True] * 3 + [False] * 7
    assert (q[:, 1] > 0).all()
    weighting = DoseWeighting(
        frame_dose_e_per_a2=doses,
        pixel_size_a=1.0,
        critical_dose_e_per_a2=4.0,
        stop_at_optimum=True,
    )
    assert (weighting.weights(np.array([0.2]))[:, 0] > 0).tolist() == (q[:, 0] > 0).tolist()


def test_shifts_bring_frames_back_and_arguments_stay_as_they_were(rng):
    image = rng.normal(size=(64, 64))
    shifts = np.array([[0, 0], [3, -5], [-7, 2]])
    frames = np.stack([np.roll(image, s, axis=(0, 1)) for s in shifts])
    kept = frames.copy()
    for array in (frames, shifts):
        array.setflags(write=False)
    np.testing.assert_allclose(aligned_sum(frames, shifts_px=shifts), 3 * image, atol=1e-4)
    np.testing.assert_array_equal(frames, kept)
    rows, columns = common_field(shifts, (64, 64))
    assert (rows, columns) == (slice(7, 61), slice(5, 62))


def test_chunks_and_lists_give_what_an_array_gives(rng):
    import dask.array

    frames = rng.poisson(1.0, (7, 32, 32)).astype(np.uint8)
    weighting = DoseWeighting(
        frame_dose_e_per_a2=np.full(7, 1.0), pixel_size_a=PIXEL_A, critical_dose_e_per_a2=5.0
    )
    options = {"shifts_px": rng.normal(size=(7, 2)), "weighting": weighting}
    expected = aligned_sum(frames, **options)
    for other in (dask.array.from_array(frames, chunks=(3, 16, 32)), list(frames)):
        np.testing.assert_array_equal(aligned_sum(other, **options), expected)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"frame_dose_e_per_a2": [0.0, 1.0]}, "a 0 in a header means that the dose is not known"),
        ({"frame_dose_e_per_a2": [np.nan, 1.0]}, "expected a finite dose above 0"),
        ({"pixel_size_a": 0.0}, "pixel_size_a is 0.0"),
        ({"critical_dose_e_per_a2": -1.0}, "critical_dose_e_per_a2 is -1.0"),
        ({"pre_exposure_e_per_a2": -3.0}, "pre_exposure_e_per_a2 is -3.0"),
    ],
)
def test_what_cannot_be_is_refused(change, said):
    given_ = {"frame_dose_e_per_a2": [1.0, 1.0], "pixel_size_a": 1.0, "critical_dose_e_per_a2": 1.0}
    with pytest.raises(ParameterError, match=said):
        DoseWeighting(**(given_ | change))


def test_sums_refuse_what_does_not_fit(rng):
    frames = rng.poisson(1.0, (3, 32, 32)).astype(float)
    short = DoseWeighting(
        frame_dose_e_per_a2=[1.0, 1.0], pixel_size_a=1.0, critical_dose_e_per_a2=1.0
    )
    wrong = DoseWeighting(
        frame_dose_e_per_a2=[1.0] * 3, pixel_size_a=1.0, critical_dose_e_per_a2=lambda k: -k
    )
    with pytest.raises(ParameterError, match="doses of 2 frames and there are 3"):
        aligned_sum(frames, weighting=short)
    with pytest.raises(ParameterError, match="gives no dose above 0"):
        aligned_sum(frames, weighting=wrong)
    with pytest.raises(ParameterError, match="a movie that could not be aligned has none"):
        aligned_sum(frames, shifts_px=np.full((3, 2), np.nan))
    frames[1, 3, 3] = np.nan
    with pytest.raises(ParameterError, match="frame 1 holds values that are not finite"):
        aligned_sum(frames)
    with pytest.raises(ParameterError, match="the law is known at 200 and 300 keV"):
        grant_grigorieff_dose(0.1, beam_energy_kev=80)
    with pytest.raises(ParameterError, match="no pixel was seen by all"):
        common_field(np.array([[-20.0, 0], [20, 0]]), (32, 32))

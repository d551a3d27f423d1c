"""Profiles: distances, widths with the blur taken out, order and gradients."""

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter1d
from scipy.special import ndtr
from scipy.stats import kstest

from interphase.assessment import Assessment
from interphase.eels import (
    ElementOptions,
    Profile,
    distance_along_line,
    distance_from_interface,
    find_zero_loss,
    fit_elements,
    fit_transition,
    measure_gradient,
    measure_profile,
    measure_thickness,
    order_along,
    sum_steps,
)
from interphase.errors import ParameterError
from interphase.simulation import EnergyAxis, Spectrometer, record_spectra, spectrum_image
from interphase.simulation.imaging.spectra import probe_maps, spectrum_truth

X = np.arange(-60.0, 61.0, 2.0)
FWHM = 2.3548200450309493
BLUR = 6.0


def profile(value, error=0.03, x=X, step=1e-3):
    return Profile(
        distance_a=x, value=value, standard_error=np.full(len(x), float(error)), step_a=step
    )


def drawn(rng, sigma, error, *, blur=BLUR, place=3.0):
    """A transition of a known width, blurred and noisy."""
    total = max(np.hypot(sigma, blur), 1e-9)
    return profile(2 + ndtr((X - place) / total) + error * rng.standard_normal(len(X)), error)


def fitted(shown, **options):
    return fit_transition(shown, blur_fwhm_a=FWHM * BLUR, **options)


@given(sigma=st.floats(6, 15), blur=st.floats(0, 10), place=st.floats(-10, 10))
def test_widths_without_noise_are_those_of_the_specimen(sigma, blur, place):
    value = 5 - 2 * ndtr((X - place) / np.hypot(sigma, blur))
    found = fit_transition(profile(value, 1e-3), blur_fwhm_a=FWHM * blur)
    assert found.width_a == pytest.approx(2.5631 * sigma, rel=0.02)
    assert found.place_a == pytest.approx(place, abs=0.1)
    assert (found.before, found.after) == (pytest.approx(5, abs=0.01), pytest.approx(3, abs=0.01))


@pytest.mark.parametrize(("sigma", "error"), [(8.0, 0.03), (8.0, 0.08), (2.0, 0.03), (0.0, 0.03)])
def test_intervals_and_bounds_hold_the_truth(rng, sigma, error):
    found = [fitted(drawn(rng, sigma, error)) for _ in range(200)]
    held = [f.low_a <= 2.5631 * sigma <= f.high_a for f in found]
    # The standard error of 200 is 1.5 %.
    assert 0.905 <= np.mean(held) <= 0.995
    off = np.array([(f.place_a - 3) / f.place_error_a for f in found])
    assert np.mean(np.abs(off) < 1.96) == pytest.approx(0.95, abs=0.05)
    if sigma == 8:
        widths = [f.width_a for f in found if f.width_a is not None]
        assert np.mean(widths) == pytest.approx(2.5631 * sigma, rel=0.05)


def test_a_sharp_transition_gets_a_bound_and_no_width(rng):
    found = [fitted(drawn(rng, 0.0, 0.03)) for _ in range(100)]
    with_width = [f for f in found if f.width_a is not None]
    assert len(with_width) <= 9
    bound = next(f for f in found if f.width_a is None)
    assert bound.assessment is Assessment.TOO_COARSE
    assert "do not tell it from a sharp one" in bound.sentence
    # Fewer counts allow less: the bound rises.
    assert np.median([f.high_a for f in found]) < np.median(
        [fitted(drawn(rng, 0.0, 0.09)).high_a for _ in range(40)]
    )


def test_an_uncertain_blur_widens_the_interval(rng):
    held, widths = [], []
    for _ in range(120):
        blur = BLUR + 1.0 * rng.standard_normal()
        found = fitted(drawn(rng, 8.0, 0.03, blur=blur), blur_error_a=FWHM)
        held.append(found.low_a <= 2.5631 * 8 <= found.high_a)
        widths.append(found.high_a - found.low_a)
    known = fitted(drawn(rng, 8.0, 0.03))
    assert np.mean(held) == pytest.approx(0.95, abs=0.06)
    assert np.median(widths) > known.high_a - known.low_a


def test_noise_alone_has_no_transition(rng):
    found = [fitted(profile(1 + 0.05 * rng.standard_normal(len(X)), 0.05)) for _ in range(150)]
    none = [f for f in found if f.place_a is None]
    assert len(none) >= 147
    assert none[0].assessment is Assessment.TOO_FEW_ELECTRONS
    assert none[0].width_a is None


def test_what_is_no_error_function_says_so():
    two = ndtr((X + 30) / 7) + ndtr((X - 30) / 7)
    assert fitted(profile(two, 0.02)).assessment is Assessment.AMBIGUOUS


def test_the_width_of_the_steps_is_taken_out():
    x = np.arange(-60.0, 61.0, 0.25)
    value = ndtr(x / np.hypot(8, BLUR))
    binned = value[: 480 // 40 * 40].reshape(-1, 40).mean(axis=1)
    places = x[:480].reshape(-1, 40).mean(axis=1)
    found = fitted(profile(binned, 1e-3, x=places, step=10.0))
    assert found.width_a == pytest.approx(2.5631 * 8, rel=0.02)


def test_distances_along_a_line():
    line = distance_along_line(
        (9, 9), start_px=(1, 1), end_px=(7, 7), pixel_size_a=2.0, width_a=3.0
    )
    assert line[4, 4] == pytest.approx(6 * np.sqrt(2))
    assert np.isnan(line[0, 8])
    assert np.isfinite(line).sum() == 19


def test_distances_from_an_interface_follow_its_normal():
    rows, columns = np.indices((40, 40))
    electrode = columns + rows < 30
    distance = distance_from_interface(electrode, pixel_size_a=2.0)
    assert (distance[electrode] < 0).all()
    assert (distance[~electrode] > 0).all()
    assert distance[25, 25] == pytest.approx(2 * (20.5 / np.sqrt(2) - 0.5), abs=1.1)


def test_means_of_steps_have_the_errors_they_state(rng):
    distance = distance_from_interface(np.indices((60, 60))[1] < 20, pixel_size_a=1.0)
    off = []
    for _ in range(60):
        counts = rng.poisson(7.0, (60, 60)).astype(float)
        found = measure_profile(
            counts, variance=np.full((60, 60), 7.0), distance_a=distance, step_a=3.0
        )
        off.append((found.value - 7) / found.standard_error)
    assert kstest(np.ravel(off), "norm").pvalue > 1e-3
    assert np.std(off) == pytest.approx(1, abs=0.06)


def test_pixels_that_are_missing_are_left_out():
    values = np.ones((4, 6))
    values[0, 0] = np.nan
    distance = np.tile(np.arange(6.0), (4, 1))
    found = measure_profile(values, variance=np.ones((4, 6)), distance_a=distance, step_a=2.0)
    assert found.standard_error == pytest.approx([7**-0.5, 8**-0.5, 8**-0.5])


def test_the_probability_of_an_order_is_its_frequency(rng):
    """Of two layers that overlap, the first is said to be first as often as stated."""
    stated, right = [], []
    for _ in range(400):
        gap = rng.uniform(-25, 25)
        layers = {
            "a": profile(np.exp(-(((X + gap / 2) / 12) ** 2)) + 0.1 * rng.standard_normal(61), 0.1),
            "b": profile(np.exp(-(((X - gap / 2) / 12) ** 2)) + 0.1 * rng.standard_normal(61), 0.1),
        }
        found = order_along(layers)
        stated.append(found.probability[0])
        right.append((found.names == ("a", "b")) == (gap > 0))
    assert np.mean(right) == pytest.approx(np.mean(stated), abs=0.06)


def test_order_names_what_it_cannot_tell():
    found = order_along(
        {
            "LiF": profile(np.exp(-(((X - 1) / 9) ** 2)), 0.1),
            "Li2O": profile(np.exp(-((X / 9) ** 2)), 0.1),
            "Li": profile(np.exp(-(((X + 40) / 9) ** 2)), 0.1),
            "ice": profile(0 * X, 0.1),
        }
    )
    assert found.names == ("Li", "Li2O", "LiF")
    assert found.left_out == ("ice",)
    assert found.assessment is Assessment.AMBIGUOUS
    assert "cannot tell which comes first: Li2O and LiF" in found.sentence
    alone = order_along({"ice": profile(0 * X)})
    assert alone.assessment is Assessment.TOO_FEW_ELECTRONS


def test_gradients_survive_the_blur(rng):
    x = np.arange(0.0, 400.0, 4.0)
    blurred = gaussian_filter1d(0.01 * x, 5, mode="nearest")
    off = [
        (g.per_a - 0.01) / g.standard_error
        for _ in range(200)
        for g in [
            measure_gradient(
                profile(blurred + 0.2 * rng.standard_normal(100), 0.2, x=x), from_a=80, to_a=320
            )
        ]
    ]
    assert np.mean(off) == pytest.approx(0, abs=0.2)
    assert np.std(off) == pytest.approx(1, abs=0.15)
    flat = measure_gradient(profile(rng.standard_normal(61), 1.0), from_a=-60, to_a=60)
    assert flat.p_value > 1e-3
    bent = measure_gradient(profile((X / 20) ** 2, 0.1), from_a=-60, to_a=60)
    assert bent.straightness < 1e-6


OPTICS = Spectrometer(
    beam_energy_kev=300,
    collection_semi_angle_mrad=10,
    convergence_semi_angle_mrad=0,
    resolution_fwhm_ev=1.0,
)
LOW = EnergyAxis(first_ev=-15, dispersion_ev=0.5, channels=400)


def test_widths_in_a_simulated_film_have_the_errors_they_state(rng):
    """LiF passes into Li2O: counts, sums along the normal, elements, profiles, widths."""
    core = EnergyAxis(first_ev=480, dispersion_ev=1.0, channels=400)
    oxide = np.tile(ndtr((2.0 * (np.arange(200) - 2) - 200) / 20), (10, 1))
    film = probe_maps(
        {"LiF": 200 * (1 - oxide), "Li2O": 200 * oxide},
        pixel_size_a=2.0,
        probe_fwhm_a=25.0,
        binning=5,
    )
    line = distance_along_line(
        (2, 40), start_px=(0.5, 0), end_px=(0.5, 39), pixel_size_a=10.0, width_a=200.0
    )
    options = {"spectrometer": OPTICS, "near_edge": False}
    shares = [spectrum_image(film, axis=axis, **options) for axis in (core, LOW)]
    truth = spectrum_truth(film, spectrometer=OPTICS)
    held, widths, off = [], [], []
    for _ in range(200):
        steps, low = (
            sum_steps(
                record_spectra(share, electrons_per_pixel=electrons, rng=rng),
                distance_a=line,
                step_a=10.0,
            )
            for share, electrons in zip(shares, (4e6, 4e4), strict=True)
        )
        maps = fit_elements(
            steps.spectra,
            energy_ev=core.energies_ev,
            elements=["O", "F"],
            low_loss=low.spectra,
            low_loss_energy_ev=LOW.energies_ev,
            exposure_ratio=100.0,
            options=ElementOptions(table="hydrogenic"),
            beam_energy_kev=300.0,
            collection_mrad=10.0,
            convergence_mrad=0.0,
        )
        profiles = {
            element: steps.profile(
                maps.areal_density_per_nm2[:, k], standard_error=maps.standard_error_per_nm2[:, k]
            )
            for k, element in enumerate(maps.elements)
        }
        for element, seen in profiles.items():
            found = fit_transition(seen, blur_fwhm_a=25.0)
            held.append(found.low_a <= 2.5631 * 20 <= found.high_a)
            widths.append(found.width_a)
            there = truth.areal_density_per_nm2(element).mean(axis=0)
            there = np.interp(seen.distance_a, steps.distance_a, there)
            off.extend((seen.value - there) / seen.standard_error)
        order = order_along(profiles)
        assert (order.names, order.assessment) == (("F", "O"), Assessment.OK)
    # The standard error of 400 is 1.1 %.
    assert np.mean(held) == pytest.approx(0.95, abs=0.03)
    assert np.mean(widths) == pytest.approx(2.5631 * 20, rel=0.02)
    assert np.mean(off) == pytest.approx(0, abs=0.06)
    assert np.std(off) == pytest.approx(1, abs=0.05)


def test_a_thickness_gradient_has_the_error_it_states(rng):
    thickness = np.tile(np.linspace(200, 800, 30), (6, 1))
    share = spectrum_image({"Li2O": thickness}, axis=LOW, spectrometer=OPTICS)
    energy = LOW.energies_ev
    exact = measure_thickness(1e9 * share, energy, find_zero_loss(1e9 * share, energy)).relative[0]
    line = np.tile(10.0 * np.arange(30), (6, 1))
    true = (exact[-1] - exact[0]) / 290
    off = []
    for _ in range(40):
        counts = record_spectra(share, electrons_per_pixel=2000, rng=rng)
        found = measure_thickness(counts, LOW.energies_ev, find_zero_loss(counts, LOW.energies_ev))
        seen = measure_profile(
            found.relative, variance=found.relative_error**2, distance_a=line, step_a=10.0
        )
        slope = measure_gradient(seen, from_a=0, to_a=290)
        off.append((slope.per_a - true) / slope.standard_error)
    # The standard errors of 40 are 0.11 and 0.16.
    assert np.std(off) == pytest.approx(1, abs=0.33)
    assert np.mean(off) == pytest.approx(0, abs=0.48)


def test_spectra_are_summed_by_their_steps(rng):
    counts = rng.poisson(5, (6, 9, 11)).astype(float)
    distance = distance_along_line(
        (6, 9), start_px=(0, 0), end_px=(0, 8), pixel_size_a=2.0, width_a=100.0
    )
    counts[2, 4, 3], distance[0, 0] = np.nan, np.nan
    steps = sum_steps(da.from_array(counts, chunks=(2, 4, 11)), distance_a=distance, step_a=2.0)
    assert steps.pixels.tolist() == [5, 6, 6, 6, 5, 6, 6, 6, 6]
    assert steps.spectra[1] == pytest.approx(counts[:, 1].sum(axis=0))
    assert steps.spectra[4] == pytest.approx(np.delete(counts[:, 4], 2, axis=0).sum(axis=0))
    assert np.isnan(distance).sum() == 1
    counts[:, 4] = np.nan
    without = sum_steps(counts, distance_a=distance, step_a=2.0)
    assert without.distance_a.tolist() == [0, 2, 4, 6, 10, 12, 14, 16]
    assert without.spectra[4] == pytest.approx(counts[:, 5].sum(axis=0))
    value = np.where(np.arange(8) == 2, np.nan, 1.0)
    shown = without.profile(value, standard_error=np.ones(8))
    assert shown.distance_a.tolist() == [0, 2, 6, 10, 12, 14, 16]


def test_distances_that_differ_by_rounding_fall_into_the_same_step():
    distance = np.tile([0.1 * 3, 0.3, 0.6, 0.1 * 6, 0.9, 1.2], (4, 1))
    seen = measure_profile(
        np.ones((4, 6)), variance=np.ones((4, 6)), distance_a=distance, step_a=0.3
    )
    assert seen.standard_error == pytest.approx([8**-0.5, 8**-0.5, 0.5, 0.5])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: sum_steps(np.ones((2, 4, 5)), distance_a=np.ones((2, 3)), step_a=1.0),
            "spectra have shape",
        ),
        (lambda: profile(X * np.nan), "what are no numbers"),
        (lambda: profile(X, error=0), "standard errors that are not above 0"),
        (lambda: profile(X, x=X[::-1]), "distances that do not rise"),
        (lambda: fit_transition(profile(X), blur_fwhm_a=-1), "blur_fwhm_a is -1 Å"),
        (lambda: fit_transition(profile(X[:5], x=X[:5]), blur_fwhm_a=1), "has 5 steps"),
        (lambda: measure_gradient(profile(X), from_a=0, to_a=1), "1 steps lie between"),
        (lambda: order_along({}), "profiles are empty"),
        (
            lambda: distance_along_line(
                (3, 3), start_px=(1, 1), end_px=(1, 1), pixel_size_a=1.0, width_a=1.0
            ),
            "expected two different",
        ),
        (lambda: distance_from_interface(np.ones((3, 3), bool), pixel_size_a=1.0), "both kinds"),
        (
            lambda: measure_profile(
                np.ones((2, 4)), variance=-np.ones((2, 4)), distance_a=np.ones((2, 4)), step_a=1.0
            ),
            "variance goes down to -1",
        ),
        (
            lambda: measure_profile(
                np.ones((2, 4)), variance=np.ones((2, 4)), distance_a=np.ones((2, 4)), step_a=1.0
            ),
            "8 pixels fall into 1 steps",
        ),
    ],
)
def test_misuse_is_named(call, words):
    with pytest.raises(ParameterError, match=words):
        call()

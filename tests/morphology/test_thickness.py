"""Thickness and roughness along a surface: closed forms, and intervals that hold the truth."""

import numpy as np
import pytest

from interphase.assessment import Assessment
from interphase.errors import ParameterError
from interphase.morphology import (
    Interface,
    find_interface,
    measure_thickness_along,
    smear,
    tilted_thickness,
)

STEP = 6.0


def interface_of(surface, outer, *, inner_draws=None, outer_draws=None, **fields):
    """An interface of one surface, with draws that are all alike unless given."""
    none = np.zeros((1, len(surface))), np.zeros((1, len(outer)))
    return Interface(
        **{"assessment": Assessment.OK, "sentence": "", "how": "mask", "pixel_size_a": 1.0}
        | fields,
        surface=(np.asarray(surface, dtype=float),),
        outer=(np.asarray(outer, dtype=float),),
        surface_draws_a=(none[0] if inner_draws is None else inner_draws,),
        outer_draws_a=(none[1] if outer_draws is None else outer_draws,),
    )


def line(x, count=50):
    y = np.arange(count) * STEP
    return np.stack([y, np.broadcast_to(x, y.shape)], axis=1)


def rough(rng, rms, xi, hurst, count=50):
    """Heights of a self-affine line."""
    apart = np.abs(np.subtract.outer(np.arange(count), np.arange(count))) * STEP
    cov = rms**2 * np.exp(-((apart / xi) ** (2 * hurst))) + 1e-9 * np.eye(count)
    return np.linalg.cholesky(cov) @ rng.standard_normal(count)


def test_two_parallel_lines_are_as_far_apart_as_they_are(rng):
    turned = np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
    found = measure_thickness_along(
        interface_of(line(40.0) @ turned, line(120.0) @ turned), tilt_error_deg=0.0, rng=rng
    )
    assert found.assessment is Assessment.OK
    seen = np.isfinite(found.local_a)
    assert found.local_a[seen] == pytest.approx(80.0)
    assert found.mean_a.value == pytest.approx(80.0)
    assert found.std_a.high < 0.1
    assert found.quantiles_a[0.5] == pytest.approx(80.0)
    assert found.surface_roughness.rms_a.high < 0.1


def test_the_shell_of_a_disc_is_as_thick_as_its_radii_differ(rng):
    angle = np.linspace(0, 2 * np.pi, 73)
    circle = np.stack([np.sin(angle), np.cos(angle)], axis=1)
    circle[-1] = circle[0]
    for inner, outer in ((circle, circle), (circle[::-1], circle), (circle, circle[::-1])):
        found = measure_thickness_along(
            interface_of(60 * inner, 95 * outer), tilt_error_deg=0.0, rng=rng
        )
        assert found.mean_a.value == pytest.approx(35.0, abs=0.15)
        assert found.in_view == 1.0
        assert found.outer_roughness.rms_a.high < 0.5


def test_a_wedge_has_the_spread_of_a_wedge(rng):
    y = np.arange(50) * STEP
    found = measure_thickness_along(
        interface_of(line(40.0), line(100.0 + 0.1 * y)), tilt_error_deg=0.0, rng=rng
    )
    assert found.local_a == pytest.approx(60.0 + 0.1 * y, abs=1e-6)
    assert found.quantiles_a[0.75] - found.quantiles_a[0.25] == pytest.approx(
        0.05 * y[-1], rel=0.05
    )
    # What changes over all of the view is not bounded by it.
    assert np.isinf(found.correlation_length_a.high)


def test_a_sine_has_its_roughness(rng):
    y = np.arange(100) * 3.0
    wave = np.stack([y, 40 + 4 * np.sin(2 * np.pi * y / 60)], axis=1)
    shifted = interface_of(wave, wave + np.array([0, 70]))
    found = measure_thickness_along(shifted, tilt_error_deg=0.0, rng=rng)
    surface = found.surface_roughness
    assert surface.rms_a.low < 4 / np.sqrt(2) < surface.rms_a.high
    assert surface.rms_a.value == pytest.approx(4 / np.sqrt(2), rel=0.35)
    # Along normals that do not follow the waves the lines are 70 Å apart everywhere.
    assert found.mean_a.value == pytest.approx(70, abs=0.5)


def test_intervals_hold_the_truth(rng):
    held = []
    for i in range(100):
        count = 36
        xi, hurst, rms = ((20.0, 0.5, 6.0), (30.0, 0.9, 6.0), (25.0, 0.75, 3.0))[i % 3]
        s, t = 50 + rough(rng, 2.0, 25.0, 0.75, count), 90 + rough(rng, rms, xi, hurst, count)
        seen = [a + rng.standard_normal(count) + 2 * rng.standard_normal() for a in (s, s + t)]
        draws = [
            rng.standard_normal((60, count)) + 2 * rng.standard_normal((60, 1)) for _ in range(2)
        ]
        found = measure_thickness_along(
            interface_of(
                *(line(a, count) for a in seen), inner_draws=draws[0], outer_draws=draws[1]
            ),
            tilt_error_deg=0.0,
            foil_thickness_a=100.0,
            rng=rng,
        )
        truth = (
            (found.mean_a, 90.0),
            (found.mean_in_view_a, t.mean()),
            (found.std_a, rms),
            (found.correlation_length_a, xi),
            (found.surface_roughness.rms_a, 2.0),
            (found.surface_roughness.correlation_length_a, 25.0),
        )
        held.append([one.low <= value <= one.high for one, value in truth])
    share = np.mean(held, axis=0)
    assert share.min() >= 0.9, share
    assert share[:2].max() <= 0.99, share


def test_the_tilt_makes_the_layer_look_thicker_and_its_interval_wider(rng):
    flat = interface_of(line(40.0), line(140.0))
    upright, tilted, smeared = (
        measure_thickness_along(flat, rng=rng, tilt_error_deg=0.0, **options)
        for options in (
            {},
            {"tilt_deg": 10.0},
            {"tilt_deg": 10.0, "foil_thickness_a": 200.0},
        )
    )
    assert upright.mean_a.value == pytest.approx(100.0)
    assert tilted.mean_a.value == pytest.approx(100.0 * np.cos(np.deg2rad(10)))
    assert "give `foil_thickness_a`" in tilted.sentence
    assert smeared.smear_a == pytest.approx(200 * np.tan(np.deg2rad(10)))
    # The difference of two even draws is triangular: 95 % lie within 0.7764 of its half base.
    half = (smeared.mean_a.high - smeared.mean_a.low) / 2
    expected = 0.7764 * smeared.smear_a * np.cos(np.deg2rad(10))
    assert half == pytest.approx(expected, rel=0.06)


def test_the_smear_is_that_of_the_study_of_tilted_layers():
    # simulations/tilted_layers/README.md: from a tenth to nine tenths, measured.
    measured = {(100, 10): 14.1, (200, 5): 14.4, (200, 10): 27.7, (400, 5): 27.9, (400, 10): 55.5}
    for (foil, tilt), width in measured.items():
        assert 0.8 * float(smear(foil, tilt)) == pytest.approx(width, abs=1.2)


def test_a_layer_thinner_than_its_smear_is_not_measured(rng):
    found = measure_thickness_along(
        interface_of(line(40.0), line(70.0)),
        tilt_deg=10.0,
        tilt_error_deg=1.0,
        foil_thickness_a=400.0,
        rng=rng,
    )
    assert found.assessment is Assessment.AMBIGUOUS
    assert "smears its boundaries over more than it is thick" in found.sentence


def test_an_unknown_tilt_is_told(rng):
    found = measure_thickness_along(interface_of(line(40.0), line(70.0)), rng=rng)
    assert "holds if the interface is tilted by 0°" in found.sentence
    assert float(tilted_thickness(30.0, 0.0)) == 30.0


def test_what_leaves_the_view_is_left_out_and_told(rng):
    found = measure_thickness_along(
        interface_of(line(40.0), line(100.0)[:30]), tilt_error_deg=0.0, rng=rng
    )
    assert found.in_view == pytest.approx(0.6, abs=0.02)
    assert "in view over 60 %" in found.sentence
    assert np.isnan(found.local_a[-1])
    assert found.mean_a.value == pytest.approx(60.0)


def test_no_end_in_view_is_no_thickness(rng):
    found = measure_thickness_along(
        interface_of(line(40.0), np.zeros((0, 2)), outer_draws=np.zeros((1, 0))), rng=rng
    )
    assert found.assessment is Assessment.UNUSABLE
    assert np.isnan(found.mean_a.value)


def test_doubts_about_the_interface_are_carried_on(rng):
    doubtful = interface_of(
        line(40.0), line(100.0), assessment=Assessment.AMBIGUOUS, sentence="It is not sure."
    )
    found = measure_thickness_along(doubtful, rng=rng)
    assert found.assessment is Assessment.AMBIGUOUS
    assert found.sentence.endswith("It is not sure.")


def test_the_thickness_of_an_image_is_that_which_was_drawn(rng):
    from scipy.ndimage import gaussian_filter

    y, x = np.indices((300, 360)) * 0.5
    inner = 50 + 3 * np.sin(2 * np.pi * y / 75)
    glass = gaussian_filter(rng.standard_normal(x.shape), 1.5)
    glass *= 0.25 / glass.std()
    bright = 1 + 0.3 * np.cos(2 * np.pi * x / 2.5) * (x < inner)
    bright += glass * ((x >= inner) & (x < inner + 70))
    counts = rng.poisson(60 * np.maximum(bright, 0))
    interface = find_interface(counts, pixel_size_a=0.5, electrode="left", rng=rng)
    found = measure_thickness_along(interface, tilt_error_deg=0.0, rng=rng)
    assert found.assessment is Assessment.OK
    assert found.mean_a.low < 70 < found.mean_a.high
    assert found.mean_a.value == pytest.approx(70, abs=7)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tilt_deg": 80.0}, "tilt_deg is 80"),
        ({"tilt_error_deg": -1.0}, "tilt_error_deg is -1"),
        ({"foil_thickness_a": 0.0}, "foil_thickness_a is 0"),
    ],
)
def test_misuse_is_told(rng, options, words):
    with pytest.raises(ParameterError, match=words):
        measure_thickness_along(interface_of(line(40.0), line(70.0)), rng=rng, **options)
    with pytest.raises(ParameterError, match="expected what find_interface returns"):
        measure_thickness_along("interface", rng=rng)

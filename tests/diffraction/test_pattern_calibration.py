"""The camera from a standard: unbiased, with errors that hold, and warnings."""

import numpy as np
import pytest

from interphase.assessment import Assessment
from interphase.diffraction import calibrate_pattern
from interphase.diffraction.distortion import fit_shape
from interphase.diffraction.rings import Frame
from interphase.errors import ParameterError

STEP = 0.0075
GOLD = np.array([0.42472, 0.49041, 0.69358])


def test_error_bars_hold_the_truth_nineteen_times_in_twenty(rng, draw_rings):
    pulls = []
    for _ in range(110):
        centre = tuple(80 + rng.uniform(-3, 3, 2))
        stretch = tuple(0.01 * rng.standard_normal(2))
        pattern = draw_rings(
            rng,
            [(k, 1.0) for k in GOLD],
            size=160,
            centre=centre,
            stretch=stretch,
            counts=float(np.exp(rng.uniform(1, 4))),
        )
        true_scale = 1 + 0.005 * rng.standard_normal()
        shape = fit_shape(
            pattern,
            Frame(centre=(centre[0] + 0.7, centre[1] - 0.5)),
            np.zeros(pattern.shape, dtype=bool),
            GOLD / STEP / true_scale,
            1.2,
            rigid=True,
        )
        found = [*shape.frame.centre, *shape.frame.stretch, np.log(shape.scale)]
        truth = [*centre, *stretch, np.log(true_scale)]
        pulls.append(np.subtract(found, truth) / np.sqrt(np.diag(shape.covariance)))
    pulls = np.array(pulls)
    inside = (abs(pulls) < 1.96).mean()
    assert 0.9 < inside < 0.98
    # The mean of 110 pulls scatters by 0.1.
    assert np.abs(pulls.mean(axis=0)).max() < 0.4


def test_a_camera_is_measured_from_a_rough_guess(rng, draw_rings, powder_lines):
    truth, stretch, centre = 0.0072, (0.012, -0.008), (101.3, 98.2)
    pattern = draw_rings(
        rng,
        powder_lines("Al"),
        step=truth,
        stretch=stretch,
        centre=centre,
        counts=40.0,
        stop=10.0,
    )
    found = calibrate_pattern(pattern, standard="Al", reciprocal_pixel_size_per_a=STEP)
    assert found.assessment is Assessment.OK
    assert abs(found.reciprocal_pixel_size_per_a - truth) < 4 * found.standard_error_per_a
    assert found.standard_error_per_a < 1e-3 * truth
    assert np.abs(np.subtract(found.centre_px, centre) / found.centre_error_px).max() < 4
    assert np.abs(np.subtract(found.stretch, stretch) / found.stretch_error).max() < 4
    size = np.hypot(*stretch)
    assert found.ellipticity == pytest.approx((1 + size) / (1 - size), abs=0.003)
    # Longest along the azimuth at which c cos 2φ + s sin 2φ is greatest.
    assert found.axis_deg == pytest.approx(np.degrees(np.arctan2(-0.008, 0.012)) / 2 + 180, abs=4)
    assert "rings of Al" in found.sentence


@pytest.mark.parametrize(("standard", "impostor"), [("Au", "LiH"), ("Al", "LiF")])
def test_a_standard_with_the_rings_of_a_candidate_is_warned_of(standard, impostor):
    found = calibrate_pattern(
        np.full((64, 64), 3.0), standard=standard, reciprocal_pixel_size_per_a=STEP
    )
    assert found.assessment is Assessment.UNUSABLE
    assert any(f"rings of {impostor} within 0." in warning for warning in found.warnings)


def test_rings_of_something_else_calibrate_nothing(rng, draw_rings):
    pattern = draw_rings(rng, [(0.3, 1.0), (0.47, 1.0), (0.55, 1.0), (0.62, 1.0)], counts=30.0)
    found = calibrate_pattern(pattern, standard="Au", reciprocal_pixel_size_per_a=STEP)
    assert found.assessment is Assessment.NO_PERIODICITY
    assert found.reciprocal_pixel_size_per_a is None


def test_halos_calibrate_nothing(rng, draw_rings):
    pattern = draw_rings(rng, halos=[(0.27, 0.026, 1.0), (0.465, 0.045, 0.5)], halo=100.0)
    found = calibrate_pattern(pattern, standard="Au", reciprocal_pixel_size_per_a=STEP)
    assert found.assessment is Assessment.NO_PERIODICITY


@pytest.mark.parametrize("step", [0.0, -1.0, np.nan])
def test_a_sampling_that_is_no_number_is_an_error(step):
    with pytest.raises(ParameterError, match=r"reciprocal_pixel_size_per_a is .* expected"):
        calibrate_pattern(np.ones((64, 64)), standard="Au", reciprocal_pixel_size_per_a=step)

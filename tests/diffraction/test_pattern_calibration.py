"""The camera from a standard: unbiased, with errors that hold, and warnings."""

import re

import numpy as np
import pytest

from interphase.assessment import Assessment
from interphase.diffraction import calibrate_pattern
from interphase.diffraction.distortion import fit_shape
from interphase.diffraction.matching import CELL_SIGMA
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
    assert abs(found.reciprocal_pixel_size_per_a - truth) < 4 * found.ring_error_per_a
    assert found.ring_error_per_a < 1e-3 * truth
    # What the cell of the standard is not known to, no number of electrons makes known.
    whole = np.hypot(found.ring_error_per_a, CELL_SIGMA * found.reciprocal_pixel_size_per_a)
    assert found.standard_error_per_a == pytest.approx(whole)
    assert f"± {found.standard_error_per_a:.6f} 1/Å" in found.sentence
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


# Lines of gold: 111, 200, 220 and 311.
LINES = [(0.42472, 1.0), (0.49041, 0.5), (0.69358, 0.4), (0.8133, 0.4)]


@pytest.mark.parametrize("seed", range(4))
def test_one_ring_carries_no_scale(draw_rings, seed):
    # With rings so wide only one stands alone, and that taken for its neighbour is 15 % off.
    step = 0.01232
    pattern = draw_rings(
        np.random.default_rng(seed),
        LINES,
        size=128,
        step=step,
        centre=(64, 64),
        sigma_per_a=0.0152,
        counts=100.0,
    )
    found = calibrate_pattern(pattern, standard="Au", reciprocal_pixel_size_per_a=0.95 * step)
    assert found.assessment is Assessment.AMBIGUOUS
    assert found.reciprocal_pixel_size_per_a is None
    assert "2 are needed, since one ring fits any sampling" in found.sentence


def test_rings_in_other_ratios_than_the_standards_calibrate_nothing(rng, draw_rings):
    lines = [(0.4672, 1.0), (0.5502, 1.0)]
    found = calibrate_pattern(
        draw_rings(rng, lines, counts=40.0), standard="Au", reciprocal_pixel_size_per_a=STEP
    )
    # 1.1777 in place of 1.1547, the ratio of √4 to √3.
    assert found.assessment is Assessment.UNKNOWN_PHASE
    assert found.reciprocal_pixel_size_per_a is None
    assert "differ from its ratios by 2.0 %" in found.sentence


def test_the_scale_is_off_by_what_is_stated(rng, draw_rings):
    pulls = []
    for _ in range(12):
        pattern = draw_rings(
            rng, [(k, 1.0) for k in GOLD], size=160, centre=(80, 79), counts=rng.uniform(20, 200)
        )
        found = calibrate_pattern(
            pattern, standard="Au", reciprocal_pixel_size_per_a=STEP * rng.uniform(0.95, 1.05)
        )
        if found.reciprocal_pixel_size_per_a is not None:
            pulls.append((found.reciprocal_pixel_size_per_a - STEP) / found.ring_error_per_a)
    assert len(pulls) >= 8
    assert np.abs(pulls).max() < 3.5
    assert np.mean(np.abs(pulls) < 2) > 0.7


@pytest.mark.parametrize(
    ("side", "step", "assessment", "words"),
    [
        (16, STEP, Assessment.UNUSABLE, "16 × 16 pixels; 32 × 32 are needed"),
        (64, STEP, Assessment.TOO_COARSE, "0 rings of Au lie between 10 pixels from"),
        (64, 0.0085, Assessment.TOO_COARSE, "1 rings? of Au lie"),
        (64, 1.0, Assessment.TOO_COARSE, "0 rings of Au lie"),
        (64, 1e-8, Assessment.TOO_COARSE, "0 rings of Au lie"),
        (64, 0.02, Assessment.NO_PERIODICITY, "rings are seen"),
    ],
)
def test_frames_without_two_rings_of_the_standard_say_so(
    rng, draw_rings, side, step, assessment, words
):
    pattern = draw_rings(rng, size=side, centre=(side / 2, side / 2))
    found = calibrate_pattern(pattern, standard="Au", reciprocal_pixel_size_per_a=step)
    assert found.assessment is assessment
    assert re.search(words, found.sentence)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        *(
            ({"reciprocal_pixel_size_per_a": step}, r"reciprocal_pixel_size_per_a is .* expected")
            for step in (0.0, -1.0, np.nan, 1e-300, "0.1", [0.1], True)
        ),
        ({"reciprocal_pixel_size_per_a": None}, "reciprocal_pixel_size_per_a is missing: give"),
        ({"centre": 32}, r"centre is 32: expected \(row, column\) of the direct beam"),
        ({"centre": (1e6, 32)}, "expected a place in the frame of 64 × 64 pixels; leave it out"),
        ({"standard": None}, "standard is None: expected a phase, such as"),
        ({"pattern": np.ones(64)}, r"the array has 1 axes .* expected \(row, column\)"),
    ],
)
def test_misuse_is_named(change, words):
    with pytest.raises(ParameterError, match=words):
        calibrate_pattern(
            **{
                "pattern": np.ones((64, 64)),
                "standard": "Au",
                "reciprocal_pixel_size_per_a": STEP,
                **change,
            }
        )

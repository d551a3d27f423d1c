"""Multislice images with known truth: what is said of an interface without a doubt is so."""

from pathlib import Path

import numpy as np
import pytest

import interphase
from interphase.assessment import Assessment
from interphase.morphology import find_interface, measure_thickness_along
from interphase.simulation import load_truth

IMAGES = Path(__file__).resolve().parents[2] / "simulations" / "interphase_reference" / "images"


@pytest.mark.parametrize(
    ("structure", "sure"),
    # A layer of crystals whose fringes are not seen, and crystallites of which few are.
    [("amorphous", True), ("mosaic", True), ("layered", False), ("layered_mosaic", False)],
)
def test_surface_and_thickness_are_those_that_were_built(rng, structure, sure):
    path = IMAGES / f"{structure}.hspy"
    truth = load_truth(path).truth
    depth = truth.depth_a.astype(float)
    side = "left" if depth[:, :5].mean() < depth[:, -5:].mean() else "right"
    found = find_interface(
        interphase.load(path).data, pixel_size_a=truth.pixel_size_a, electrode=side, rng=rng
    )
    assert (found.assessment is Assessment.OK) == sure
    near = np.abs(found.depth_a) < 10
    assert abs(np.mean((depth - found.depth_a)[near])) < 8
    if sure:
        thickness = measure_thickness_along(found, tilt_error_deg=0.0, rng=rng).mean_a
        assert thickness.low < truth.thickness_a < thickness.high
        assert thickness.value == pytest.approx(truth.thickness_a, abs=10)


@pytest.mark.parametrize("structure", ["amorphous", "mosaic", "layered", "layered_mosaic"])
def test_the_side_is_right_or_not_told(rng, structure):
    path = IMAGES / f"{structure}.hspy"
    truth = load_truth(path).truth
    depth = truth.depth_a
    side = "left" if depth[:, :5].mean() < depth[:, -5:].mean() else "right"
    found = find_interface(interphase.load(path).data, pixel_size_a=truth.pixel_size_a, rng=rng)
    if found.how:
        assert found.how == f"{side} edge by local statistics"
    else:
        assert "Cannot tell which side" in found.sentence

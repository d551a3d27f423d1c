"""Slices of potential hold every atom once, where it is."""

from itertools import pairwise

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st

from interphase.phases import load_phase
from interphase.simulation.imaging.projection import SplineProjection, spread_points


def test_spread_points_are_points_times_the_splines_transform(rng):
    shape, points, weights = (48, 40), rng.uniform(-5, 60, (7, 2)), rng.uniform(0.5, 2, 7)
    spread = spread_points(points, weights, shape)
    assert spread.sum() == pytest.approx(weights.sum())
    ky, kx = np.fft.fftfreq(48)[:, None], np.fft.fftfreq(40)
    exact = sum(
        w * np.exp(-2j * np.pi * (ky * y + kx * x))
        for w, (y, x) in zip(weights, points, strict=True)
    )
    measured = np.fft.fft2(spread) / (np.sinc(ky) * np.sinc(kx)) ** 4
    # What aliases from frequency 1 - k to k is weaker by (k / (1 - k))⁴.
    fold = np.maximum(np.abs(ky), np.abs(kx))
    bound = 4 * weights.sum() * (fold / (1 - fold)) ** 4 + 1e-9
    assert (np.abs(measured - exact) <= bound).all()
    assert np.abs(measured - exact).max() > 0.1


@given(
    height=st.floats(0, 12, exclude_max=True),
    slices=st.integers(1, 9),
)
def test_slices_share_an_atom_and_keep_its_height(height, slices):
    thickness = 12.0 / slices
    projection = SplineProjection(slice_thickness_a=thickness, thickness_a=12.0)
    edges = np.linspace(0, 12, slices + 1)
    shares = np.array([projection._share(np.array([height]), a, b)[0] for a, b in pairwise(edges)])
    assert shares.sum() == pytest.approx(1)
    assert (shares > 1e-12).sum() <= 2
    middle = shares @ (edges[:-1] + thickness / 2)
    assert middle == pytest.approx(np.clip(height, thickness / 2, 12 - thickness / 2))
    reach = projection.cutoff("C")
    for share, (a, b) in zip(shares, pairwise(edges), strict=True):
        assert share < 1e-12 or a - reach - 1e-9 <= height <= b + reach + 1e-9


def test_images_above_and_below_the_box_do_not_count():
    projection = SplineProjection(slice_thickness_a=4.0, thickness_a=12.0)
    assert projection._share(np.array([-0.1, 12.0]), 0.0, 4.0).tolist() == [0, 0]


def test_mean_potential_is_that_of_the_atoms():
    phase = load_phase("LiF")
    atoms = Atoms("LiF", positions=[[1.0, 1.3, 2.0], [2.9, 2.1, 1.0]])
    projection = SplineProjection(slice_thickness_a=4.0, thickness_a=4.0)
    potential = projection.integrate_on_grid(atoms, 0.0, 4.0, (25, 20), (0.16, 0.2))
    assert potential.shape == (25, 20)
    assert potential.dtype == np.float32
    # Four formula units in the cell of the crystal, 15.0 V on average; one here, in 4³ Å³.
    volts = potential.mean() / 4.0
    assert volts == pytest.approx(15.0 * phase.volume_a3 / 4 / 4**3, rel=0.01)

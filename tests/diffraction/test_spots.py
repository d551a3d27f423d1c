"""Maxima of spectra."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interphase.diffraction.spectra import (
    above_floor,
    frequencies,
    image_floor,
    power_rows,
    window_grid,
)
from interphase.diffraction.spots import _vertex, find_spots

PIXEL = 0.5
SIZE = 100
FREQ = frequencies(SIZE, pixel_size_a=PIXEL, k_min=1 / 6, k_max=1 / 1.2)


def spots_of(image: np.ndarray, threshold: float = 9.0):
    grid = window_grid(image.shape, size=SIZE, overlap=4)
    image = image.astype(np.float32)
    shared = image_floor(image, grid, FREQ)
    (power, *_) = power_rows(image, grid)
    return find_spots(above_floor(power, shared, FREQ), FREQ, threshold=threshold)


@given(
    top=st.floats(-0.5, 0.5),
    curvature=st.floats(0.05, 10),
    height=st.floats(-10, 10),
)
def test_the_vertex_of_a_parabola_is_where_it_was_put(top, curvature, height):
    before, centre, after = (height - curvature * (x - top) ** 2 for x in (-1, 0, 1))
    assert _vertex(np.array(before), np.array(centre), np.array(after)) == pytest.approx(
        top, abs=1e-6
    )


@pytest.mark.parametrize("values", [(1.0, 1.0, 1.0), (2.0, 1.0, 2.0), (0.0, 1.0, 2.0)])
def test_three_values_without_a_maximum_have_no_vertex(values):
    assert _vertex(*(np.array(v) for v in values)) == 0


def test_the_vertex_stays_within_half_a_pixel():
    assert _vertex(np.array(0.0), np.array(1.0), np.array(1.9)) == 0.5
    assert _vertex(np.array(1.9), np.array(1.0), np.array(0.0)) == -0.5


@settings(max_examples=25, deadline=None)
@given(
    k=st.floats(0.2, 0.78),
    angle=st.one_of(st.floats(-1.4, -0.15), st.floats(0.15, 1.4)),
    phase=st.floats(0, 2 * np.pi),
    seed=st.integers(0, 99),
)
def test_a_sinusoid_is_one_spot_in_its_place(k, angle, phase, seed):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: 2 * SIZE, : 2 * SIZE] * PIXEL
    ky, kx = k * np.sin(angle), k * np.cos(angle)
    wave = np.cos(2 * np.pi * (ky * y + kx * x) + phase)
    table = spots_of(wave + rng.standard_normal(wave.shape))
    strong = table.strength > 0.1 * table.strength.max()
    for window in range(5):
        own = table.k_per_a[strong & (table.window == window)]
        assert len(own) == 1
        miss = min(np.linalg.norm(own[0] - (ky, kx)), np.linalg.norm(own[0] + (ky, kx)))
        assert miss < 0.15 * FREQ.pixel


def test_the_strength_of_a_sinusoid_is_its_power_over_noise(rng):
    y, x = np.mgrid[: 2 * SIZE, : 2 * SIZE]
    strengths = []
    for _ in range(10):
        wave = 0.3 * np.cos(2 * np.pi * (20 * y + 10 * x) / SIZE)
        table = spots_of(wave + rng.standard_normal(wave.shape))
        strengths.append(table.strength.max())
    # A² N² / 4 · 4 / 9 = 100, and one of the noise.
    assert np.mean(strengths) == pytest.approx(101, rel=0.2)


def test_a_spot_on_the_axis_kx_zero_is_found_once(rng):
    y, _ = np.mgrid[: 2 * SIZE, : 2 * SIZE]
    table = spots_of(np.cos(2 * np.pi * 20.3 * y / SIZE) + rng.standard_normal((200, 200)))
    own = table.k_per_a[(table.window == 2) & (table.strength > 50)]
    assert len(own) == 1
    assert own[0] == pytest.approx([20.3 / 50, 0], abs=0.15 * FREQ.pixel)


def test_noise_exceeds_the_threshold_as_often_as_stated(rng):
    threshold, number, windows = 6.0, 0, 0
    for _ in range(6):
        image = rng.standard_normal((2 * SIZE, 8 * SIZE)).astype(np.float32)
        grid = window_grid(image.shape, size=SIZE, overlap=1)
        shared = image_floor(image, grid, FREQ)
        for power in power_rows(image, grid):
            table = find_spots(above_floor(power, shared, FREQ), FREQ, threshold=threshold)
            number += len(table)
            windows += len(power)
    most = windows * FREQ.searched.sum() * np.exp(-threshold)
    # Neighbouring frequencies share a maximum, so at most that many, and not far fewer.
    assert 0.4 * most < number < most + 3 * np.sqrt(most)


def test_a_streak_is_no_row_of_spots(rng):
    log = np.log(rng.exponential(size=(40, SIZE, SIZE // 2 + 1)))
    streak = log.copy()
    streak[:, 8:30, 15:19] += np.log(8)
    ky, kx = FREQ.ky[8:30, 0], FREQ.kx[0, 15:19]

    def on_streak(table):
        k = table.k_per_a
        inside = (k[:, 0] > ky[0]) & (k[:, 0] < ky[-1]) & (k[:, 1] > kx[0]) & (k[:, 1] < kx[-1])
        return int(inside.sum())

    found = on_streak(find_spots(streak, FREQ, threshold=9.0))
    # Without the second look at the surroundings a third of these maxima would be listed.
    naive = int((streak[:, 8:30, 15:19] > np.log(9)).sum())
    assert naive > 1000
    assert found < naive / 4


def test_no_spot_is_listed_where_nothing_exceeds_the_threshold():
    table = find_spots(np.zeros((2, SIZE, SIZE // 2 + 1)), FREQ, threshold=9.0)
    assert len(table) == 0
    assert table.k_per_a.shape == (0, 2)

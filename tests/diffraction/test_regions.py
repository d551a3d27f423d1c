"""From spots of windows to places."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from interphase.diffraction.regions import (
    MOST_SPOTS,
    NEAR,
    Place,
    _on_lattice,
    find_places,
    merge_places,
    noise_probability,
)
from interphase.diffraction.spectra import WindowGrid, frequencies
from interphase.diffraction.spots import THRESHOLD, SpotTable

GRID = WindowGrid(size=100, step=25, rows=12, columns=16)
FREQ = frequencies(100, pixel_size_a=0.5, k_min=1 / 6, k_max=1 / 1.2)
FIRST = np.array([[0.3, 0.1], [-0.1, 0.3], [0.2, 0.4]])
SECOND = np.array([[0.25, 0.33], [0.41, -0.2]])


def table(*crystals, jitter: float = 0.0, rng=None) -> SpotTable:
    """Return spots of crystals, each (positions, rows, columns, strength)."""
    window, k, strength = [], [], []
    for positions, rows, columns, power in crystals:
        for row in rows:
            for column in columns:
                for n, position in enumerate(positions):
                    window.append(row * GRID.columns + column)
                    k.append(position + (rng.normal(0, jitter, 2) if rng else 0))
                    strength.append(power / (n + 1))
    return SpotTable(
        window=np.array(window, dtype=int), k_per_a=np.array(k), strength=np.array(strength)
    )


def centre(row: float, column: float) -> tuple[float, float]:
    """Return the middle of a window [Å]."""
    return (0.5 * (49.5 + 25 * row), 0.5 * (49.5 + 25 * column))


def place(k, at, *, p_value=1e-9, window_a=50.0, strength=60.0) -> Place:
    """Return a place with some spots of falling strength."""
    return Place(
        k_per_a=np.array(k),
        strength=strength / np.arange(1, len(k) + 1),
        p_value=p_value,
        windows=np.array([0]),
        window_a=window_a,
        centre_a=at,
    )


def test_views_of_one_crystal_by_windows_of_two_sizes_are_one_place():
    large = place(FIRST, (100.0, 100.0), window_a=80.0, p_value=1e-12)
    small = place(FIRST[1:] + 0.003, (110.0, 95.0), window_a=32.0)
    other = place(SECOND, (110.0, 95.0), window_a=32.0)
    away = place(FIRST, (300.0, 100.0), window_a=32.0)
    merged = merge_places([small, other, away, large], lambda k: 0 * k)
    assert len(merged) == 3
    assert merged[0] is large


def test_fringes_displaced_along_their_own_direction_belong_to_their_crystal():
    crystal = place(FIRST, (100.0, 100.0), p_value=1e-12)
    along = FIRST[0] / np.linalg.norm(FIRST[0])
    across = np.array([along[1], -along[0]])
    ghost = place(FIRST[:1], tuple(100 + 90 * along))
    beside = place(FIRST[:1], tuple(100 + 90 * across))
    assert len(merge_places([crystal, ghost], lambda k: 25 + 0 * k)) == 1
    assert len(merge_places([crystal, ghost], lambda k: 5 + 0 * k)) == 2
    assert len(merge_places([crystal, beside], lambda k: 25 + 0 * k)) == 2


def test_a_displaced_reflection_of_the_lattice_adds_its_spot():
    crystal = place(FIRST[:2], (100.0, 100.0), p_value=1e-12)
    ghost = place(FIRST[2:], (100.0, 160.0), strength=20.0)
    (merged,) = merge_places([crystal, ghost], lambda k: 40 + 0 * k)
    assert sorted(merged.strength) == pytest.approx([20, 30, 60])


def test_one_spot_has_the_closed_form():
    p = noise_probability(
        np.array([3]), np.array([15.0]), n_windows=5, frequencies=1000.0, places=4.0
    )
    assert p[3] == pytest.approx(-np.expm1(-MOST_SPOTS * 4 * 1000 * np.exp(-15)))
    assert p[[0, 1, 2, 4]].tolist() == [1.0] * 4


def test_three_weak_spots_together_are_rarer_than_one():
    strength = np.full(3, 12.0)

    def p(number):
        return noise_probability(
            np.zeros(number, int), strength[:number], n_windows=1, frequencies=1e3, places=10
        )[0]

    assert p(3) < p(2) < p(1)
    # The sum of three, each above the threshold by an exponential variable.
    sets = (1e3 * np.exp(-THRESHOLD)) ** 3 / 6 * stats.gamma.sf(36 - 3 * THRESHOLD, 3)
    assert p(3) == pytest.approx(10 * MOST_SPOTS * sets, rel=1e-3)


def test_spots_of_uneven_strength_count_by_their_sum():
    def p(*strength):
        return noise_probability(
            np.zeros(2, int), np.array(strength), n_windows=1, frequencies=1e3, places=10
        )[0]

    assert p(16.0, 12.0) == pytest.approx(p(14.0, 14.0), rel=1e-9)
    assert p(24.0, 7.0) < p(14.0, 14.0)


def test_noise_makes_a_place_at_most_as_often_as_stated(rng):
    frequencies_searched, windows, trials, alpha = 4000, 10, 4000, 0.1
    count = rng.poisson(frequencies_searched * np.exp(-THRESHOLD), (trials, windows))
    alarms = 0
    for row in count:
        window = np.repeat(np.arange(windows), row)
        strength = THRESHOLD + rng.exponential(size=len(window))
        p = noise_probability(
            window, strength, n_windows=windows, frequencies=frequencies_searched, places=windows
        )
        alarms += p.min() <= alpha
    error = 3 * np.sqrt(alpha / trials)
    # Several numbers of spots are tried, and paid for; the answer is not more cautious than that.
    assert alpha / MOST_SPOTS - error < alarms / trials < alpha + error


@settings(max_examples=25, deadline=None)
@given(
    strength=st.lists(st.floats(THRESHOLD, 40), min_size=1, max_size=12),
    more=st.floats(0.01, 5),
    seed=st.integers(0, 99),
)
def test_stronger_spots_and_fewer_places_are_less_probable_by_chance(strength, more, seed):
    z = np.array(strength)
    window = np.random.default_rng(seed).integers(0, 4, len(z))

    def p(z, places):
        return noise_probability(window, z, n_windows=4, frequencies=500.0, places=places)

    assert (p(z + more, 4.0) <= p(z, 4.0)).all()
    assert (p(z, 2.0) <= p(z, 4.0)).all()
    order = np.random.default_rng(seed + 1).permutation(len(z))
    shuffled = noise_probability(window[order], z[order], n_windows=4, frequencies=500.0, places=4)
    assert shuffled == pytest.approx(p(z, 4.0))


def test_a_crystal_is_one_place_where_it_is(rng):
    spots = table((FIRST, range(3, 6), range(4, 9), 60.0), jitter=0.001, rng=rng)
    (place,) = find_places(spots, GRID, FREQ, false_alarm=0.01)
    assert place.p_value < 1e-6
    assert place.centre_a == pytest.approx(centre(4, 6))
    rows, columns = np.divmod(place.windows, GRID.columns)
    assert sorted(set(rows)) == [3, 4, 5]
    assert sorted(set(columns)) == [4, 5, 6, 7, 8]
    assert place.k_per_a == pytest.approx(FIRST, abs=0.002)
    assert place.strength == pytest.approx([60, 30, 20])


@pytest.mark.parametrize("length", [2 * NEAR, 5 * NEAR])
def test_a_crystal_is_one_place_however_far_it_reaches(length):
    grid = WindowGrid(size=100, step=25, rows=3, columns=5 * NEAR)
    row = np.repeat(grid.columns + np.arange(length), len(FIRST))
    spots = SpotTable(
        window=row,
        k_per_a=np.tile(FIRST, (length, 1)),
        strength=np.tile([60.0, 30.0, 20.0], length),
    )
    (place,) = find_places(spots, grid, FREQ, false_alarm=0.01)
    assert place.windows.tolist() == list(range(grid.columns, grid.columns + length))


def test_friedel_mates_are_the_same_spot():
    spots = table((FIRST, [3], [4], 60.0), (-FIRST, [3], [5], 50.0))
    (place,) = find_places(spots, GRID, FREQ, false_alarm=0.01)
    assert place.k_per_a == pytest.approx(FIRST)
    assert len(place.windows) == 2


def test_two_crystals_apart_are_two_places():
    spots = table((FIRST, [2, 3], [2, 3], 60.0), (SECOND, [8, 9], [10, 11], 40.0))
    first, second = find_places(spots, GRID, FREQ, false_alarm=0.01)
    assert first.centre_a == pytest.approx(centre(2.5, 2.5))
    assert second.centre_a == pytest.approx(centre(8.5, 10.5))
    assert not set(first.windows) & set(second.windows)


def test_two_crystals_side_by_side_keep_their_own_spots():
    spots = table((FIRST, [2, 3], [2, 3, 4], 60.0), (SECOND, [2, 3], [5, 6, 7], 40.0))
    places = find_places(spots, GRID, FREQ, false_alarm=0.01)
    assert [len(p.k_per_a) for p in places] == [3, 2]
    assert places[1].k_per_a == pytest.approx(SECOND)


def test_weak_spots_are_no_place():
    spots = table((FIRST[:1], [2], [2], 12.0))
    assert find_places(spots, GRID, FREQ, false_alarm=0.01) == []


def test_no_spots_are_no_place():
    empty = SpotTable(window=np.zeros(0, int), k_per_a=np.zeros((0, 2)), strength=np.zeros(0))
    assert find_places(empty, GRID, FREQ, false_alarm=0.01) == []


def test_multiples_and_sums_of_two_spots_are_on_their_lattice():
    a, b = np.array([0.3, 0.1]), np.array([-0.1, 0.3])
    inside = np.array([a, 2 * a, a + b, a - 2 * b, -b])
    outside = np.array([1.5 * a, a + 0.4 * b, 5 * a])
    assert _on_lattice(inside, np.array([a, b]), 0.03).all()
    assert not _on_lattice(outside, np.array([a, b]), 0.03).any()
    in_line = _on_lattice(np.array([2 * a, b, a + b]), np.array([a]), 0.03)
    assert in_line.tolist() == [True, False, False]

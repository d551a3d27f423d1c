"""Maps of elements: squares as fine as the electrons allow, and zero losses in one channel."""

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm

from interphase.eels import (
    ElementMap,
    ElementOptions,
    ZeroLoss,
    align_map,
    bin_pixels,
    edge_cross_section,
    find_zero_loss,
    fit_elements,
    map_elements,
    mapping,
)
from interphase.errors import ParameterError

OPTICS = {"beam_energy_kev": 300.0, "collection_mrad": 10.0, "convergence_mrad": 0.0}
ENERGY = np.arange(240.0, 440.0, 2.0)
PLAIN = ElementOptions(table="hydrogenic", background_terms=2)
ATOMS = 2000.0
"""Carbon [1/nm²]."""
# Nitrogen K begins at 401 eV and lies within the range: the element that is absent.
NAMED = ("C", "N")


def mean_per_electron(atoms: float = ATOMS) -> np.ndarray:
    """Counts per channel and electron of a tail and of carbon."""
    edge = edge_cross_section("C_K", ENERGY, table="hydrogenic", **OPTICS).per_channel_nm2
    return 8e-5 * (ENERGY / 240) ** -3 + atoms * edge


def counted(electrons: float, shape: tuple[int, int], *, seed: int = 0, atoms: float = ATOMS):
    """Counts of a uniform film."""
    mean = electrons * mean_per_electron(atoms)
    return np.random.default_rng(seed).poisson(mean, (*shape, len(mean))).astype(np.float32)


def mapped(counts: object, **given: object) -> dict[str, ElementMap]:
    keywords = {"energy_ev": ENERGY, "elements": NAMED, "options": PLAIN, **OPTICS}
    return map_elements(counts, **(keywords | given))


# --- binning that is chosen -----------------------------------------------------------------------


@pytest.mark.parametrize("side", [1, 2, 4, 8])
def test_squares_are_as_small_as_counting_allows(side: int) -> None:
    # A square of this side has its limit at the mean: 0.97 of the atoms are in squares that show
    # them, and half of them in squares of half the side, where the limit is twice the mean.
    in_square = 1e6
    for _ in range(6):
        one = fit_elements(
            in_square * mean_per_electron(), energy_ev=ENERGY, elements=NAMED,
            electrons=in_square, options=PLAIN, **OPTICS,
        )  # fmt: skip
        in_square *= (one.detection_limit_per_nm2[0] / ATOMS) ** 2
    electrons = in_square / side**2
    found = mapped(counted(electrons, (32, 32)), electrons=electrons)["C"]
    assert found.binning == side
    assert found.resolved
    assert found.areal_density_per_nm2.shape == (32 // side, 32 // side)
    assert np.median(found.detection_limit_per_nm2) == pytest.approx(ATOMS, rel=0.1)
    # An amount at the limit is detected at least as often as stated, this one as it lies beside.
    beside = (ATOMS - found.detection_limit_per_nm2) / found.standard_error_per_nm2
    often = norm.cdf(norm.ppf(PLAIN.detection) + np.median(beside))
    assert found.detected.sum() >= binom.ppf(0.001, found.detected.size, often)
    total_error = found.standard_error_per_nm2.mean() * side / 32
    assert found.mean_per_nm2 == pytest.approx(ATOMS, abs=4 * total_error)


def test_an_element_that_no_square_shows_keeps_the_coarsest_map_and_says_so() -> None:
    electrons = 200.0
    found = mapped(counted(electrons, (64, 64)), electrons=electrons)["C"]
    assert not found.resolved
    assert found.binning == 16
    assert 0 < found.mean_per_nm2 < np.median(found.detection_limit_per_nm2)
    assert "the electrons do not suffice for a map" in found.sentence


def test_an_absent_element_has_the_lowest_limit_and_no_mean() -> None:
    found = mapped(counted(1e7, (32, 32)), electrons=1e7)
    assert found["C"].binning == 1
    absent = found["N"]
    assert absent.binning == 8
    assert not absent.resolved
    assert np.isnan(absent.mean_per_nm2)
    assert "the sum of all spectra does not show it" in absent.sentence
    finest = mapped(counted(1e7, (32, 32)), electrons=1e7, binning=1)["N"]
    ratio = np.median(finest.detection_limit_per_nm2) / np.median(absent.detection_limit_per_nm2)
    assert ratio == pytest.approx(8, rel=0.1)


def test_a_map_of_one_place_that_holds_it_is_resolved_there() -> None:
    # Half of the map holds nothing: its limit is the lower one, and the mean is half.
    electrons = 1e7
    counts = counted(electrons, (32, 32), atoms=0.0)
    counts[:, 16:] = counted(electrons, (32, 16))
    found = mapped(counts, electrons=electrons)["C"]
    side = found.binning
    assert found.resolved
    assert found.detected[:, 16 // side :].all()
    assert found.detected[:, : 16 // side].mean() < 0.05
    assert found.mean_per_nm2 == pytest.approx(ATOMS / 2, rel=0.02)


# --- counting statistics --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def squares() -> dict[str, ElementMap]:
    """Maps in squares of 3 × 3 of 2304 × 9 pixels."""
    return mapped(counted(4e5, (144, 144), seed=3), electrons=4e5, binning=3)


def test_an_absent_element_is_detected_as_often_as_stated(squares: dict[str, ElementMap]) -> None:
    false = squares["N"].detected
    low, high = binom.interval(0.999, false.size, PLAIN.false_alarm)
    assert low <= false.sum() <= high


def test_errors_in_squares_cover_and_values_have_no_bias(squares: dict[str, ElementMap]) -> None:
    for element, truth in (("C", ATOMS), ("N", 0.0)):
        one = squares[element]
        pull = (one.areal_density_per_nm2 - truth) / one.standard_error_per_nm2
        assert np.isfinite(pull).all()
        for inside, width in ((0.6827, 1.0), (0.9545, 2.0)):
            low, high = binom.interval(0.999, pull.size, inside)
            assert low <= (np.abs(pull) < width).sum() <= high
        assert abs(pull.mean()) < 3.3 / np.sqrt(pull.size)


# --- the same by two ways -------------------------------------------------------------------------


def same(one: dict[str, ElementMap], other: dict[str, ElementMap], rtol: float) -> None:
    assert list(one) == list(other)
    for element, first in one.items():
        second = other[element]
        assert (first.binning, first.resolved) == (second.binning, second.resolved)
        scale = np.nanmedian(first.standard_error_per_nm2)
        for name in ("areal_density_per_nm2", "standard_error_per_nm2", "detection_limit_per_nm2"):
            np.testing.assert_allclose(
                getattr(first, name), getattr(second, name), rtol=rtol, atol=rtol * scale
            )


@pytest.mark.parametrize("shared", [True, False])
def test_electrons_and_low_losses_that_hold_them_give_the_same(shared: bool) -> None:
    electrons, ratio = 1e6, 20.0
    counts = counted(electrons, (16, 16))
    # Nothing is lost: all electrons are in one channel, those of the shorter exposure.
    low_energy = np.arange(-20.0, 100.0, 2.0)
    low = np.where(low_energy == 0, electrons / ratio, 0.0)
    low = low if shared else np.broadcast_to(low, (16, 16, len(low)))
    dual = {"low_loss": low, "low_loss_energy_ev": low_energy, "exposure_ratio": ratio}
    # The shapes are the same but for the convolution, which here does nothing.
    same(mapped(counts, electrons=electrons), mapped(counts, **dual), rtol=2e-3)


def test_lazy_maps_are_the_same() -> None:
    counts = counted(2e6, (18, 21))
    lazy = da.from_array(counts, chunks=(5, 7, 60))
    # Sums of neighbours, which make the first guess, are those in the order of reading.
    same(mapped(counts, electrons=2e6), mapped(lazy, electrons=2e6), rtol=0.05)


def test_read_noise_grows_with_the_root_of_the_pixels() -> None:
    electrons = 1e6
    noisy = counted(electrons, (16, 16))
    noisy += np.random.default_rng(4).normal(0, 6.0, noisy.shape).astype(np.float32)
    binned = mapped(noisy, electrons=electrons, read_noise=6.0, binning=4)["C"]
    direct = fit_elements(
        bin_pixels(noisy, 4), energy_ev=ENERGY, elements=NAMED, electrons=16 * electrons,
        read_noise=24.0, options=PLAIN, **OPTICS,
    )  # fmt: skip
    np.testing.assert_allclose(
        binned.standard_error_per_nm2, direct.standard_error_per_nm2[..., 0], rtol=1e-9
    )
    quiet = mapped(counted(electrons, (16, 16)), electrons=electrons, binning=4)["C"]
    assert binned.standard_error_per_nm2.mean() > 1.1 * quiet.standard_error_per_nm2.mean()


# --- what is asked, and what cannot be ------------------------------------------------------------


@pytest.mark.parametrize("side", [1, 3, 5, 16])
def test_the_binning_that_is_given_is_used(side: int) -> None:
    for one in mapped(counted(1e6, (10, 16)), electrons=1e6, binning=side).values():
        assert one.binning == side
        assert one.detected.shape == (max(10 // side, 1), 16 // side)


@pytest.mark.parametrize("binning", [0, -2, 17, 2.5, float("nan")])
def test_a_side_that_cannot_be_is_named(binning: float) -> None:
    with pytest.raises(ParameterError, match=r"binning is .*: expected a whole number .* 1 to 16"):
        mapped(counted(1e6, (10, 16)), electrons=1e6, binning=binning)


def test_spectra_that_are_no_map_or_lack_electrons_are_refused() -> None:
    counts = counted(1e6, (4, 4))
    with pytest.raises(ParameterError, match="expected \\(rows, columns, channels\\)"):
        mapped(counts[0], electrons=1e6)
    with pytest.raises(ParameterError, match="give low_loss, or electrons"):
        mapped(counts)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (1, 40), (40, 1), (3, 50)])
def test_maps_of_any_shape_have_as_many_squares_as_fit(shape: tuple[int, int]) -> None:
    one = mapped(counted(1e5, shape), electrons=1e5)["N"]
    side = one.binning
    assert one.detected.shape == tuple(max(n // side, 1) for n in shape)
    assert one.detected.size >= min(16, np.prod(shape))


def test_a_pixel_without_numbers_spoils_its_square_alone() -> None:
    counts = counted(1e6, (16, 16))
    counts[5, 6, 7] = np.nan
    one = mapped(counts, electrons=1e6, binning=4)["C"]
    spoilt = np.zeros((4, 4), dtype=bool)
    spoilt[1, 1] = True
    np.testing.assert_array_equal(np.isnan(one.areal_density_per_nm2), spoilt)
    # The mean is that of the sum of the others, per pixel.
    assert one.mean_per_nm2 == pytest.approx(ATOMS, rel=0.05)


def test_a_map_of_bad_pixels_alone_says_so() -> None:
    one = mapped(np.full((8, 8, len(ENERGY)), np.nan), electrons=1e6)["C"]
    assert not one.detected.any()
    assert not one.resolved
    assert "cannot be mapped" in one.sentence


# --- sums of squares ------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_squares_are_summed_alike_in_memory_and_lazily(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.integers(1, 11)) for _ in range(2))
    side = data.draw(st.integers(1, max(shape)))
    kind = data.draw(st.sampled_from([np.uint8, np.uint16, np.int32, np.float32, np.float64]))
    chunks = tuple(data.draw(st.integers(1, n)) for n in shape)
    counts = np.random.default_rng(sum(shape)).integers(0, 256, (*shape, 3)).astype(kind)
    high, wide = (min(side, n) for n in shape)
    expected = np.array(
        [
            [
                counts[i * high : (i + 1) * high, j * wide : (j + 1) * wide].sum(axis=(0, 1))
                for j in range(shape[1] // wide)
            ]
            for i in range(shape[0] // high)
        ],
        dtype=float,
    )
    np.testing.assert_array_equal(bin_pixels(counts, side), expected)
    lazy = bin_pixels(da.from_array(counts, chunks=(*chunks, 2)), side)
    assert hasattr(lazy, "dask")
    assert lazy.shape == expected.shape
    assert all(n > 0 for sizes in lazy.chunks for n in sizes)
    np.testing.assert_array_equal(lazy.compute(), expected)


def test_squares_of_squares_are_larger_squares(rng: np.random.Generator) -> None:
    counts = rng.poisson(3.0, (13, 9, 4))
    np.testing.assert_array_equal(bin_pixels(bin_pixels(counts, 2), 2), bin_pixels(counts, 4))


# --- zero losses ----------------------------------------------------------------------------------


def places(position_ev: np.ndarray) -> ZeroLoss:
    """Zero losses at these places, as if they had been measured."""
    energy = np.arange(-10.0, 10.0)
    one = find_zero_loss(np.exp(-(energy**2) / 2) * 1e4, energy)
    return replace(one, position_ev=position_ev)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_spectra_are_moved_alike_and_no_count_is_made(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.integers(1, 5)) for _ in range(2))
    step = data.draw(st.sampled_from([0.25, 1.0]))
    channels = 80
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    kind = data.draw(st.sampled_from([np.uint16, np.float32, np.float64]))
    counts = rng.poisson(20.0, (*shape, channels)).astype(kind)
    energy = 100 + step * np.arange(channels)
    off = rng.integers(-2, 3, shape)
    zero = places(step * off.astype(float))
    moved, kept = align_map(counts, energy, zero)
    by = np.round(np.median(off) - off).astype(int)
    assert moved.shape[-1] == kept.stop - kept.start
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mapping, "_MOST_HELD_BYTES", 0)
        chunks = tuple(data.draw(st.integers(1, n)) for n in shape)
        lazy, lazy_kept = align_map(da.from_array(counts, chunks=(*chunks, 33)), energy, zero)
        from_array, _ = align_map(counts, energy, zero)
    assert lazy_kept == kept
    np.testing.assert_array_equal(np.asarray(lazy), moved)
    np.testing.assert_array_equal(np.asarray(from_array), moved)
    # Every spectrum is a part of what was recorded, count by count, and the crop is no larger
    # than the moves are.
    assert kept == slice(max(by.max(), 0), channels + min(by.min(), 0))
    for (i, j), shift in np.ndenumerate(by):
        recorded = counts[i, j, kept.start - shift : kept.stop - shift]
        np.testing.assert_array_equal(moved[i, j], recorded)


def test_dual_spectra_move_with_the_zero_losses_of_the_low_ones(rng: np.random.Generator) -> None:
    off = rng.uniform(-3, 3, (6, 7))
    low_energy, energy = -20 + 0.25 * np.arange(200), 200 + 0.5 * np.arange(300)
    low = rng.poisson(1e4 * np.exp(-(((low_energy - off[..., None]) / 0.5) ** 2)))
    line = 260 + off[..., None]
    core = rng.poisson(1e4 * np.exp(-(((energy - line) / 2) ** 2)))
    zero = find_zero_loss(low, low_energy)
    moved, channels = align_map(core, energy, zero)
    kept = energy[channels]
    where = (moved * kept).sum(axis=-1) / moved.sum(axis=-1)
    # Whole channels: half of one is what stays, beside the noise of the line's own place.
    assert np.abs(where - 260 - np.median(off)).max() < 0.25 + 0.06
    assert np.ptp((core * energy).sum(axis=-1) / core.sum(axis=-1)) > 4


def test_spectra_without_a_zero_loss_stay_and_those_far_off_are_left_out() -> None:
    counts = np.random.default_rng(0).poisson(50.0, (1, 5, 100))
    zero = places(np.array([[1.0, np.nan, 1.0, 30.0, 2.0]]))
    # The median is 1.5 of 1, 1, 2 and 30; moves of half a channel are rounded to even.
    moved, channels = align_map(counts, np.arange(100.0), zero)
    assert channels == slice(0, 100)
    for column in (0, 1, 2, 4):
        np.testing.assert_array_equal(moved[0, column], counts[0, column])
    assert np.isnan(moved[0, 3]).all()


def test_aligned_spectra_are_returned_as_they_are() -> None:
    counts = np.ones((2, 3, 50))
    same_counts, channels = align_map(counts, np.arange(50.0), places(np.full((2, 3), 7.0)))
    assert same_counts is counts
    assert channels == slice(0, 50)


def test_zero_losses_of_another_map_are_refused() -> None:
    with pytest.raises(ParameterError, match=r"expected that of the map, \(2, 3\)"):
        align_map(np.ones((2, 3, 50)), np.arange(50.0), places(np.zeros((3, 2))))

"""Regions of a map: what differs by more than noise, with a gap between."""

import dask.array as da
import numpy as np
import pytest
from scipy.special import ndtr

from interphase.assessment import Assessment
from interphase.eels import find_regions, regions
from interphase.errors import ParameterError

ENERGY = np.linspace(280.0, 700.0, 120)
CARBON = (ENERGY / 300) ** -3
OXYGEN = np.where(ENERGY > 532, (ENERGY / 532) ** -4, 0.0) / 2
FLUORINE = np.where(ENERGY > 640, 0.08, 0.0)
SHAPE = (48, 60)
ROWS, COLUMNS = np.indices(SHAPE)
DISC = (ROWS - 22) ** 2 + (COLUMNS - 24) ** 2 < 12**2
WEDGE = (0.3 + 1.2 * COLUMNS / SHAPE[1])[..., None]


regions_blocks = regions.blocks


def low_loss(depth, plasmon_ev=15.0):
    """Spectra of sum 1 through a specimen of any t/λ, plural scattering in them."""
    energy = np.arange(0, 80, 0.5)
    plasmon = energy / ((energy**2 - plasmon_ev**2) ** 2 + (4 * energy) ** 2)
    peak = np.exp(-((energy - 5) ** 2) / 0.5)
    single, zero = (np.fft.rfft(s / s.sum(), 320) for s in (plasmon, peak))
    return np.fft.irfft(zero * np.exp(np.multiply.outer(depth, single - 1)))[..., :160].clip(0)


def agreement(labels, truth):
    return np.mean(labels == truth)


def test_noise_is_one_region(rng):
    found = [
        find_regions(rng.poisson(level * WEDGE * CARBON), rng=rng)
        for level in (2.0, 20.0, 500.0)
        for _ in range(20)
    ]
    assert sum(f.number > 1 for f in found) <= 3
    assert found[0].sentence.startswith("No difference is told pixel by pixel")
    assert found[0].assessment is Assessment.OK
    assert (found[0].labels == 0).all()


@pytest.mark.parametrize("level", [1.0, 10.0, 1000.0])
def test_two_phases_are_two_where_the_difference_is_seen(rng, level):
    expected = level * WEDGE * np.where(DISC[..., None], CARBON + OXYGEN, CARBON)
    counts = rng.poisson(expected)
    found = find_regions(counts, rng=rng)
    assert found.number == 2
    assert agreement(found.labels, DISC) > (0.98 if level == 1 else 0.998)
    assert found.pixels.tolist() == np.bincount(found.labels.ravel()).tolist()
    assert found.spectra[1] == pytest.approx(counts[found.labels == 1].sum(axis=0))
    assert "2 regions" in found.sentence


def test_below_the_dose_where_it_is_seen_there_is_one(rng):
    expected = 0.2 * WEDGE * np.where(DISC[..., None], CARBON + OXYGEN, CARBON)
    assert [find_regions(rng.poisson(expected), rng=rng).number for _ in range(5)] == [1] * 5


def test_a_layer_that_only_its_sum_tells_is_not_called_uniform(rng):
    """4 of 64 columns: by a known mask it is there, pixel by pixel it is not."""
    layer = (np.arange(64) // 4 == 7)[None, :, None] & np.ones((64, 1, 1), bool)
    counts = rng.poisson(np.where(layer, CARBON + OXYGEN / 3, CARBON))
    inside, total = counts[:, 28:32].sum(axis=(0, 1)), counts.sum(axis=(0, 1))
    share = inside.sum() / total.sum()
    assert ((inside - share * total) ** 2 / (share * (1 - share) * total)).sum() > 400
    found = find_regions(counts, rng=rng)
    assert (found.number, found.components) == (1, 0)
    assert "a layer too faint or too narrow for that may be there: sum along it" in found.sentence


def test_three_phases_in_several_places_are_three(rng):
    truth = np.where(COLUMNS > 48, 2, np.where(DISC | (ROWS > 40), 1, 0))
    spectra = np.stack([CARBON, CARBON + OXYGEN, CARBON + FLUORINE])
    found = find_regions(rng.poisson(20 * WEDGE * spectra[truth]), rng=rng)
    assert found.number == 3
    assert agreement(found.labels, truth) > 0.99
    two = find_regions(rng.poisson(20 * WEDGE * spectra[truth]), rng=rng, most=2)
    assert two.number == 2


@pytest.mark.parametrize("level", [30.0, 1e3, 1e5])
def test_gradual_changes_are_not_cut(rng, level):
    gradient = CARBON + (COLUMNS / SHAPE[1])[..., None] * OXYGEN
    wedge = 10 * low_loss(0.2 + 1.5 * COLUMNS / SHAPE[1])
    for expected in (gradient, wedge):
        found = find_regions(rng.poisson(level * expected), rng=rng)
        assert found.number == 1
        assert found.components >= 1
        assert found.assessment is Assessment.AMBIGUOUS
        assert "there is no gap between them" in found.sentence


@pytest.mark.parametrize("level", [30.0, 1e3])
def test_a_phase_in_a_wedge_is_found_and_the_wedge_not_cut(rng, level):
    depth = 0.4 + 0.2 * COLUMNS / SHAPE[1]
    expected = np.where(DISC[..., None], low_loss(depth, 22.0), low_loss(depth))
    found = find_regions(rng.poisson(10 * level * expected), rng=rng)
    assert found.number == 2
    assert agreement(found.labels, DISC) > 0.98


def test_the_border_of_a_blurred_interface_is_its_middle(rng):
    expected = 30 * (CARBON + ndtr((COLUMNS - 29.5) / 3)[..., None] * OXYGEN)
    found = find_regions(rng.poisson(expected), rng=rng)
    assert found.number == 2
    left = found.labels == found.labels[0, 0]
    assert left.sum() / SHAPE[0] == pytest.approx(30, abs=1)


def test_gain_and_read_noise_make_no_regions(rng):
    expected = 20 * WEDGE * np.where(DISC[..., None], CARBON + OXYGEN, CARBON)
    for truth, number in ((20 * WEDGE * CARBON, 1), (expected, 2)):
        counts = 3 * rng.poisson(truth) + 4 * rng.standard_normal(truth.shape)
        found = find_regions(counts, rng=rng, gain=3.0, read_noise=4.0)
        assert (found.number, found.assessment) == (number, Assessment.OK)
    assert find_regions(counts, rng=rng, read_noise=4.0).assessment is Assessment.UNCALIBRATED


def test_chunks_give_the_same_and_bound_what_is_read(monkeypatch):
    counts = np.random.default_rng(1).poisson(
        20 * WEDGE * np.where(DISC[..., None], CARBON + OXYGEN, CARBON)
    )
    whole = find_regions(counts, rng=np.random.default_rng(0))
    lazy = find_regions(da.from_array(counts, chunks=(7, 60, 120)), rng=np.random.default_rng(0))
    assert (lazy.labels == whole.labels).all()
    assert lazy.spectra == pytest.approx(whole.spectra)
    largest = []
    monkeypatch.setattr(
        regions,
        "blocks",
        lambda data: (
            (where, largest.append(block.size) or block)
            for where, block in regions_blocks(data, most_bytes=2**16)
        ),
    )
    small = find_regions(counts, rng=np.random.default_rng(0))
    assert max(largest) * 8 <= 2**16
    assert small.spectra == pytest.approx(whole.spectra)


def test_what_are_no_counts_belong_to_no_region(rng):
    counts = rng.poisson(20 * np.where(DISC[..., None], CARBON + OXYGEN, CARBON)).astype(float)
    counts[0, :5], counts[30, 30, 7], counts[20, 20] = np.nan, -5, 0
    found = find_regions(counts, rng=rng)
    assert np.argwhere(found.labels < 0).tolist() == [[0, i] for i in range(5)] + [
        [20, 20],
        [30, 30],
    ]
    assert found.pixels.sum() == counts[..., 0].size - 7
    nothing = find_regions(np.full((8, 8, 9), np.nan), rng=rng)
    assert (nothing.number, nothing.assessment) == (0, Assessment.UNUSABLE)
    assert nothing.spectra.shape == (0, 9)
    few = find_regions(rng.poisson(0.01 * WEDGE * CARBON), rng=rng)
    assert few.assessment is Assessment.TOO_FEW_ELECTRONS
    assert "bin pixels or channels" in few.sentence


def test_a_few_odd_pixels_are_no_region(rng):
    expected = np.broadcast_to(50 * CARBON, (*SHAPE, 120)).copy()
    expected[10, 10:13] += 200 * OXYGEN
    assert find_regions(rng.poisson(expected), rng=rng).number == 1


@pytest.mark.parametrize("least_pixels", [1, 12, 10_000])
def test_small_maps_have_an_answer(rng, least_pixels):
    expected = np.where(np.indices((6, 7))[1][..., None] < 3, 200 * CARBON, 200 * OXYGEN + 20)
    for shape in ((3, 3), (6, 7)):
        found = find_regions(
            rng.poisson(expected[: shape[0], : shape[1]]), rng=rng, least_pixels=least_pixels
        )
        assert found.number in (1, 2)
        assert found.pixels.sum() == shape[0] * shape[1]


def test_maps_tell_regions_as_well(rng):
    counts = rng.poisson(WEDGE * CARBON)
    error = 0.5 / np.sqrt(WEDGE) * np.ones((*SHAPE, 2))
    level = np.stack([np.where(DISC, 1.0, 0.2), np.ones(SHAPE)], axis=-1)
    noise = error * rng.standard_normal(error.shape)
    found = find_regions(counts, rng=rng, features=level + noise, feature_errors=error)
    assert (found.number, found.components) == (2, 1)
    assert agreement(found.labels, DISC) > 0.97
    assert found.spectra.sum() == counts.sum()
    same = find_regions(counts, rng=rng, features=noise, feature_errors=error)
    assert (same.number, same.components) == (1, 0)
    level[5, 5] = np.nan
    exact = find_regions(counts, rng=rng, features=level, feature_errors=error)
    assert exact.labels[5, 5] == -1
    assert agreement(exact.labels, DISC) > 0.999


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"counts": np.ones((9, 9))}, "expected a map"),
        ({"counts": np.ones((9, 2, 9))}, "at least 3 rows and columns"),
        ({"most": 0}, "most is 0"),
        ({"least_pixels": 2.5}, "least_pixels is 2.5"),
        ({"gain": 0}, "gain is 0"),
        ({"features": np.ones((9, 9, 1))}, "belong together"),
        ({"features": np.ones((9, 8, 1)), "feature_errors": np.ones((9, 8, 1))}, "have shapes"),
        ({"features": np.ones((9, 9, 1)), "feature_errors": np.zeros((9, 9, 1))}, "go down to 0"),
    ],
)
def test_misuse_is_named(rng, options, words):
    with pytest.raises(ParameterError, match=words):
        find_regions(**({"counts": np.ones((9, 9, 9)), "rng": rng} | options))

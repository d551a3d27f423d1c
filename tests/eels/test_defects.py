"""Spikes, dead channels, and faults that forbid a measurement."""

import dask.array as da
import numpy as np
import pytest

from interphase.assessment import Assessment
from interphase.eels import find_defects, find_fault
from interphase.errors import ParameterError

CHANNELS = np.arange(600.0)
LINE = 20 * np.exp(-4 * np.log(2) * ((CHANNELS - 300) / 4) ** 2)
MEAN = 3 * np.exp(-CHANNELS / 300) + 0.5 / (1 + np.exp(-(CHANNELS - 400) / 1.5)) + LINE
ENERGY = 200 + CHANNELS


def test_nothing_is_found_where_there_is_nothing():
    spikes = dead = 0
    for seed in range(30):
        counts = np.random.default_rng(seed).poisson(MEAN, (40, 600)).astype(float)
        found = find_defects(counts, resolution_channels=4)
        spikes += found.spikes.sum()
        dead += found.dead.sum()
        spikes += find_defects(100 * counts[0], gain=100, resolution_channels=4).spikes.sum()
    assert spikes <= 2
    assert dead <= 2


@pytest.mark.parametrize(("gain", "read_noise"), [(1.0, 0.0), (10.0, 20.0)])
def test_spikes_and_dead_channels_are_found(gain, read_noise, rng):
    level = 10 if read_noise else 1
    counts = gain * rng.poisson(level * MEAN, (40, 600)) + rng.normal(0, read_noise, (40, 600))
    places = [(3, 50), (20, 500), (39, 598)]
    for place in places:
        counts[place] += 40 * gain * level
    counts[:, 120] = 0
    counts[:, 450] += 6 * gain * level
    found = find_defects(counts, gain=gain, read_noise=read_noise, resolution_channels=4)
    assert [tuple(place) for place in np.argwhere(found.spikes)] == places
    assert np.flatnonzero(found.dead).tolist() == [120, 450]
    assert "3 spikes" in found.sentence
    assert "2 of 600 channels dead" in found.sentence


def test_lazy_spectra_have_the_same_defects_once_they_are_computed(rng):
    counts = rng.poisson(MEAN, (6, 7, 600)).astype(float)
    counts[2, 3, 50] += 40
    counts[..., 120] = 0
    counts[1, 1, 5] = np.nan
    lazy = find_defects(da.from_array(counts, chunks=(4, 3, 200)), resolution_channels=4)
    eager = find_defects(counts, resolution_channels=4)
    assert hasattr(lazy.spikes, "dask")
    assert np.argwhere(lazy.spikes.compute()).tolist() == [[2, 3, 50]]
    assert np.array_equal(lazy.spikes.compute(), eager.spikes)
    assert lazy.dead.tolist() == eager.dead.tolist()
    assert "not yet counted" in lazy.sentence


def test_a_single_spectrum_shows_spikes_but_no_white_line_is_one(rng):
    counts = rng.poisson(100 * MEAN).astype(float)
    counts[70] += 1500
    found = find_defects(counts, resolution_channels=4)
    assert np.flatnonzero(found.spikes).tolist() == [70]
    assert not found.dead.any()


def test_good_spectra_have_no_fault(rng):
    edge = MEAN + 30 / (1 + np.exp(-(CHANNELS - 350) / 1.0))
    for level in (0.1, 10.0, 1e4):
        counts = rng.poisson(level * edge, (50, 600)).astype(float)
        assert find_fault(counts, ENERGY) is None
    dark = rng.poisson(edge, (50, 600)) + rng.normal(0, 10, (50, 600))
    assert find_fault(dark, ENERGY, read_noise=10) is None


@pytest.mark.parametrize(
    ("spoil", "assessment", "words"),
    [
        (lambda c: c * np.nan, Assessment.UNUSABLE, "no spectrum is free of NaN"),
        (lambda c: c * 0 + 7, Assessment.UNUSABLE, "every channel holds the same 7 counts"),
        (lambda c: np.minimum(c * 100, 30_000), Assessment.UNUSABLE, "saturated in 50 of 50"),
        (lambda c: c - 400, Assessment.UNUSABLE, "negative beyond noise"),
        (lambda c: c * np.where(CHANNELS < 256, 1, 1.3), Assessment.UNCALIBRATED, "456.0 eV"),
        (lambda c: c * np.where(CHANNELS < 256, 1, 0.8), Assessment.UNCALIBRATED, "step within"),
        (lambda c: np.where(np.arange(50)[:, None] == 9, np.nan, c), Assessment.OK, "1 of 50"),
    ],
)
def test_each_fault_gets_its_sentence(spoil, assessment, words, rng):
    counts = rng.poisson(200 * MEAN, (50, 600)).astype(float)
    fault = find_fault(spoil(counts), ENERGY)
    assert fault is not None
    assert fault.assessment is assessment
    assert words in fault.sentence


def test_wrong_units_and_shapes_are_refused():
    counts = np.ones((4, 600))
    with pytest.raises(ParameterError, match="keV"):
        find_fault(counts, ENERGY / 1000)
    with pytest.raises(ParameterError, match="one energy for each"):
        find_fault(counts.T, ENERGY)
    with pytest.raises(ParameterError, match="real numbers"):
        find_fault(counts * 1j, ENERGY)
    with pytest.raises(ParameterError, match="resolution_channels is 0"):
        find_defects(counts, resolution_channels=0)


def test_a_ceiling_of_few_counts_is_seen_in_a_map(rng: np.random.Generator) -> None:
    energy = np.arange(-10.0, 40.0, 0.25)
    mean = 3000 * np.exp(-((energy / 0.5) ** 2)) + 20 * np.exp(-(((energy - 20) / 5) ** 2))
    counts = rng.poisson(mean, (6, 8, len(energy)))
    assert find_fault(counts, energy) is None
    fault = find_fault(np.minimum(counts, 127), energy)
    assert fault is not None
    assert fault.assessment is Assessment.UNUSABLE
    assert "largest" in fault.sentence or "saturat" in fault.sentence
    # Flat spectra of few counts have equal numbers side by side, but no ceiling.
    assert find_fault(rng.poisson(30.0, (200, len(energy))), energy) is None

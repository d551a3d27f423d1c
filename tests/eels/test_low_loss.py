"""Plasmons of simulated materials and band gaps: unbiased within their errors at low dose."""

from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
from scipy.stats import norm

from interphase.assessment import Assessment
from interphase.eels import find_band_gap, find_zero_loss, map_plasmon
from interphase.errors import MissingValueError, ParameterError
from interphase.simulation import (
    EnergyAxis,
    Spectrometer,
    loss_material,
    record_spectra,
    spectrum_image,
)

OPTICS = Spectrometer(
    beam_energy_kev=300,
    collection_semi_angle_mrad=10,
    convergence_semi_angle_mrad=10,
    resolution_fwhm_ev=0.8,
)
AXIS = EnergyAxis(first_ev=-10, dispersion_ev=0.25, channels=280)
ENERGY = AXIS.energies_ev
ANGLES = {"beam_energy_kev": 300.0, "collection_mrad": 10.0}


def film(material, electrons, rng, *, thickness_a=200.0, pixels=120, axis=AXIS, optics=OPTICS):
    share = spectrum_image({material: np.full((1, 1), thickness_a)}, axis=axis, spectrometer=optics)
    tiled = np.broadcast_to(share[0], (pixels, axis.channels))[None]
    return record_spectra(tiled, electrons_per_pixel=electrons, rng=rng)[0]


@pytest.mark.parametrize("material", ["Li", "Li2O", "LiF", "Li2CO3", "LiH", "carbon", "Al"])
def test_a_square_nanometre_at_100_electrons_per_square_angstrom_shows_its_plasmon(material, rng):
    counts = film(material, 1e4, rng)
    found = map_plasmon(counts, ENERGY, find_zero_loss(counts, ENERGY), **ANGLES)
    assert found.assessment is Assessment.OK
    truth = loss_material(material)
    pull = (found.energy_ev - truth.plasmon_ev) / found.energy_error_ev
    assert np.isfinite(pull).all()
    assert abs(pull.mean()) < 0.35
    assert np.mean(np.abs(pull) < 1) == pytest.approx(0.683, abs=0.11)
    assert np.mean(np.abs(pull) < 1.96) == pytest.approx(0.95, abs=0.05)
    width = (found.width_ev - truth.plasmon_fwhm_ev) / found.width_error_ev
    assert abs(width.mean()) < 0.4
    assert np.median(found.energy_error_ev) < 0.35
    assert np.median(found.misfit) == pytest.approx(1, abs=0.35)


def test_thick_films_show_the_same_plasmon(rng):
    for thickness in (200.0, 2000.0):
        counts = film("Li2O", 1e5, rng, thickness_a=thickness, pixels=30)
        found = map_plasmon(counts, ENERGY, find_zero_loss(counts, ENERGY), **ANGLES)
        error = np.median(found.energy_error_ev) / np.sqrt(30)
        assert np.mean(found.energy_ev) == pytest.approx(18.5, abs=4 * error + 0.02)


def test_the_peak_alone_needs_more_electrons_and_says_so(rng):
    few, many = (film("Li2O", electrons, rng) for electrons in (1e4, 1e6))
    poor = map_plasmon(few, ENERGY, find_zero_loss(few, ENERGY), model="peak", **ANGLES)
    assert poor.assessment is Assessment.TOO_FEW_ELECTRONS
    rich = map_plasmon(many, ENERGY, find_zero_loss(many, ENERGY), model="peak", **ANGLES)
    pull = (rich.energy_ev - 18.5) / rich.energy_error_ev
    assert abs(pull.mean()) < 0.35
    assert np.std(pull) == pytest.approx(1, abs=0.2)


def test_a_second_plasmon_shows_in_the_misfit(rng):
    lithium, fluoride = (film(name, 5e5, rng, pixels=20) for name in ("Li", "LiF"))
    both = lithium + fluoride
    found = map_plasmon(both, ENERGY, find_zero_loss(both, ENERGY), **ANGLES)
    assert found.assessment is Assessment.AMBIGUOUS
    assert "more than one plasmon" in found.sentence
    assert np.median(found.misfit) > 2


def test_read_noise_widens_the_error(rng):
    counts = 8 * film("Li2O", 3e4, rng) + rng.normal(0, 15, (120, AXIS.channels))
    zero = find_zero_loss(counts, ENERGY, gain=8, read_noise=15)
    found = map_plasmon(counts, ENERGY, zero, gain=8, read_noise=15, **ANGLES)
    pull = (found.energy_ev - 18.5) / found.energy_error_ev
    assert abs(pull.mean()) < 0.35
    assert np.std(pull) == pytest.approx(1, abs=0.2)


def test_vacuum_has_no_plasmon(rng):
    peak = 1e4 * norm.pdf(ENERGY, 0, 0.34) * 0.25
    counts = rng.poisson(np.tile(peak, (60, 1))).astype(float)
    counts[5] = np.nan
    found = map_plasmon(counts, ENERGY, find_zero_loss(counts, ENERGY))
    assert np.isnan(found.energy_ev).mean() > 0.95
    assert found.assessment is Assessment.TOO_FEW_ELECTRONS


@pytest.mark.parametrize(
    ("resolution_ev", "dispersion_ev", "channels"),
    [(0.8, 0.6, 120), (0.8, 0.02, 3500), (0.1, 0.05, 1400), (1.6, 0.25, 280)],
)
def test_the_narrowest_plasmon_keeps_its_place_and_width_whatever_the_channels(
    resolution_ev, dispersion_ev, channels, rng
):
    axis = EnergyAxis(first_ev=-10, dispersion_ev=dispersion_ev, channels=channels)
    optics = replace(OPTICS, resolution_fwhm_ev=resolution_ev)
    counts = film("Al", 1e4, rng, axis=axis, optics=optics, pixels=150)
    zero = find_zero_loss(counts, axis.energies_ev)
    found = map_plasmon(counts, axis.energies_ev, zero, **ANGLES)
    truth = loss_material("Al")
    place = (found.energy_ev - truth.plasmon_ev) / found.energy_error_ev
    assert abs(place.mean()) < 0.3
    pull = (found.width_ev - truth.plasmon_fwhm_ev) / found.width_error_ev
    # A mean of 150 has an error of 0.08, and the common width of the zero-loss peak one of its own.
    assert abs(pull.mean()) < 0.35
    assert np.mean(np.abs(pull) < 1) == pytest.approx(0.683, abs=0.11)
    assert np.mean(np.abs(pull) < 1.96) == pytest.approx(0.95, abs=0.05)


@pytest.mark.parametrize("model", ["losses", "peak"])
def test_neither_chunks_nor_neighbours_nor_threads_change_a_spectrum(model, rng, monkeypatch):
    counts = film("Li2O", 3e5, rng, pixels=300).reshape(15, 20, -1)
    zero = find_zero_loss(counts, ENERGY)
    whole = map_plasmon(counts, ENERGY, zero, model=model)
    assert np.isfinite(whole.energy_ev).mean() > 0.8
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    lazy = da.from_array(counts.astype(np.float32), chunks=(11, 20, 100))
    for part in (map_plasmon(counts, ENERGY, zero, model=model),
                 map_plasmon(lazy, ENERGY, zero, model=model)):  # fmt: skip
        for name in ("energy_ev", "energy_error_ev", "width_ev", "significance"):
            expected = getattr(whole, name)
            assert getattr(part, name) == pytest.approx(expected, rel=1e-9, nan_ok=True)


def test_wrong_calls_are_refused(rng):
    counts = film("Li2O", 1e4, rng, pixels=3)
    zero = find_zero_loss(counts, ENERGY)
    with pytest.raises(ParameterError, match="give both or neither"):
        map_plasmon(counts, ENERGY, zero, beam_energy_kev=300)
    with pytest.raises(ParameterError, match="expected 'losses' or 'peak'"):
        map_plasmon(counts, ENERGY, zero, model="drude")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="expected that of the spectra"):
        map_plasmon(counts[:2], ENERGY, zero)
    nowhere = find_zero_loss(np.ones((3, AXIS.channels)), ENERGY)
    with pytest.raises(MissingValueError, match="losses have no origin"):
        map_plasmon(counts, ENERGY, nowhere)


FINE = np.arange(-5, 30, 0.005)
GAP_ENERGY = np.arange(-5, 29.9, 0.1) + 0.0475


def insulator(electrons, gap, power=0.5):
    """Counts of a zero-loss peak with a tail and losses above a gap, resolution 0.59 eV."""
    spectrum = norm.pdf(FINE, 0, 0.25) + 0.01 * np.exp(-np.abs(FINE) / 0.6)
    onset = 0.002 * np.maximum(FINE - gap, 0) ** power
    bell = norm.pdf(np.arange(-1.5, 1.505, 0.005), 0, 0.25)
    spectrum += np.convolve(onset, bell / bell.sum(), "same")
    return electrons * 0.1 * spectrum[: 349 * 20].reshape(349, 20).mean(axis=1)


@pytest.mark.parametrize(("electrons", "error_ev"), [(1e4, 0.4), (1e5, 0.1)])
def test_the_gap_is_where_it_was_put(electrons, error_ev):
    results = []
    for seed in range(8):
        counts = np.random.default_rng(seed).poisson(insulator(electrons, 6.0)).astype(float)
        zero = find_zero_loss(counts, GAP_ENERGY)
        results.append(find_band_gap(counts, GAP_ENERGY, zero, search_ev=(2.5, 10)))
    error = np.array([result.energy_ev - 6 for result in results])
    stated = np.array([result.error_ev for result in results])
    assert abs(error.mean()) < 3 * np.median(stated) / np.sqrt(8)
    assert np.sqrt(np.mean(error**2)) < error_ev
    assert np.median(stated) < error_ev
    covered = [low <= 6 <= high for low, high in (result.interval_ev for result in results)]
    assert sum(covered) >= 6


def test_what_can_fill_or_hide_a_gap_is_said(rng):
    counts = rng.poisson(insulator(1e5, 6.0)).astype(float)
    zero = find_zero_loss(counts, GAP_ENERGY)
    below = find_band_gap(counts, GAP_ENERGY, zero, search_ev=(2.5, 5))
    assert below.assessment is Assessment.TOO_FEW_ELECTRONS
    assert np.isnan(below.energy_ev)
    assert "no onset rises" in below.sentence
    glowing = find_band_gap(
        counts, GAP_ENERGY, zero, search_ev=(2.5, 10), refractive_index=1.7, beam_energy_kev=300
    )
    assert glowing.assessment is Assessment.AMBIGUOUS
    assert "above an index of 1.29" in glowing.sentence
    with pytest.raises(ParameterError, match="expected at least 12 channels"):
        find_band_gap(counts, GAP_ENERGY, zero, search_ev=(2.5, 3))
    with pytest.raises(ParameterError, match="expected 'direct' or 'indirect'"):
        find_band_gap(
            counts,
            GAP_ENERGY,
            zero,
            search_ev=(2.5, 9),
            transition="forbidden",  # type: ignore[arg-type]
        )

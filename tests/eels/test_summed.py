"""Sums of spectra on one zero loss."""

import numpy as np
import pytest

from interphase.eels import SummedSpectrum
from interphase.errors import ParameterError

ENERGY = np.arange(-15.0, 60.0, 0.5)


def low_losses(places: np.ndarray, electrons: float = 1e5, lost: float = 0.3) -> np.ndarray:
    """Expected counts of spectra whose zero losses are at these places."""
    loss = ENERGY - np.asarray(places)[:, np.newaxis]
    peak, plasmon = np.exp(-((loss / 0.8) ** 2)), np.exp(-(((loss - 22) / 5) ** 2))
    parts = [part / part.sum(axis=1, keepdims=True) for part in (peak, plasmon)]
    return electrons * ((1 - lost) * parts[0] + lost * parts[1])


def test_spectra_are_added_on_one_zero_loss(rng: np.random.Generator) -> None:
    places = rng.uniform(-1.0, 4.0, 24)
    counts = rng.poisson(low_losses(places))
    total = SummedSpectrum.of(counts, ENERGY, read_noise=2.0)
    assert total.number == 24
    assert total.read_noise == pytest.approx(2 * np.sqrt(24))
    assert total.noise == {"gain": 1.0, "read_noise": total.read_noise}
    assert total.zero_loss_ev == pytest.approx(np.median(places), abs=0.02)
    peak = np.abs(total.energy_ev) < 4
    centre = total.energy_ev[peak] @ total.counts[peak] / total.counts[peak].sum()
    assert centre == pytest.approx(0.0, abs=0.02)
    # As narrow as one of them, where the plain sum is as wide as the places are apart.
    width = np.sqrt(total.energy_ev[peak] ** 2 @ total.counts[peak] / total.counts[peak].sum())
    assert width == pytest.approx(0.8 / np.sqrt(2), rel=0.15)
    assert total.counts.sum() == pytest.approx(counts.sum(), rel=0.01)
    assert 0 < total.axis_error_ev < 0.1


def test_the_axis_error_is_that_of_the_sum(rng: np.random.Generator) -> None:
    pulls = []
    for _ in range(40):
        counts = rng.poisson(low_losses(np.full(5, 1.0), electrons=300))
        total = SummedSpectrum.of(counts, ENERGY)
        pulls.append((total.zero_loss_ev - 1.0) / total.axis_error_ev)
    assert np.mean(np.abs(pulls) < 2.5) > 0.9


def test_thickness_is_that_of_the_spectra(rng: np.random.Generator) -> None:
    counts = rng.poisson(low_losses(np.linspace(0, 2, 6)))
    total = SummedSpectrum.of(counts, ENERGY)
    mean, scatter = total.relative_thickness(counts)
    assert mean == pytest.approx(-np.log(0.7), abs=0.02)
    assert scatter < 0.02
    one = SummedSpectrum.of(counts[0], ENERGY)
    mean, error = one.relative_thickness(counts[0])
    assert mean == pytest.approx(-np.log(0.7), abs=5 * error)
    assert error > 0


def test_without_a_zero_loss_spectra_are_added_as_they_are(rng: np.random.Generator) -> None:
    energy = np.arange(240.0, 400.0, 0.5)
    counts = rng.poisson(1e4 * (energy / 240) ** -3, (2, 3, 320)).astype(float)
    counts[1, 1, 5] = np.nan
    total = SummedSpectrum.of(counts, energy, gain=3.0, read_noise=1.0)
    assert total.number == 5
    assert np.array_equal(total.energy_ev, energy)
    kept = np.delete(counts.reshape(6, -1), 4, axis=0)
    assert total.counts == pytest.approx(kept.sum(axis=0))
    assert (total.zero, total.zero_loss_ev, total.axis_error_ev) == (None, None, None)
    assert total.relative_thickness(counts) is None
    assert total.read_noise == pytest.approx(np.sqrt(5))


def test_the_axis_has_to_fit() -> None:
    with pytest.raises(ParameterError, match="energy_ev has shape"):
        SummedSpectrum.of(np.ones((2, 150)), ENERGY[:-1])

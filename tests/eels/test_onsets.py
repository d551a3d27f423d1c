"""Edges that rise by themselves over a power law."""

import numpy as np
import pytest

from interphase.core_loss import import_exspy
from interphase.eels import (
    KNOWN_EDGES,
    check_on_known_edges,
    edge_onsets,
    net_edge,
    rises,
    seen_edges,
    usual_elements,
)
from interphase.errors import ParameterError


def mean_counts(energy: np.ndarray, per_channel: float, edge: float) -> np.ndarray:
    """A background of so many counts at 284 eV, and a step there."""
    return per_channel * (energy / 284) ** -3 + np.where(energy >= 284, edge, 0.0)


def drawn(rng: np.random.Generator, mean, number: int, gain: float, read_noise: float):
    shape = (number, len(mean))
    return gain * rng.poisson(mean, shape) + rng.normal(0, 1, shape) * read_noise


def test_the_net_of_many_counts_is_the_edge_channel_by_channel() -> None:
    energy = np.arange(220.0, 340.0, 0.5)
    counts = mean_counts(energy, 1e8, 1e7)
    edge = net_edge(counts, energy, onset_ev=284.0, after_ev=40.0)
    assert edge.energy_ev[[0, -1]].tolist() == [254.0, 324.0]
    assert np.array_equal(energy[edge.channels], edge.energy_ev)
    assert edge.net == pytest.approx(np.where(edge.energy_ev >= 284, 1e7, 0.0), abs=1.0)
    found = edge.total(284.0, 323.5)
    assert float(found.net) == pytest.approx(80 * 1e7, rel=1e-6)
    assert found.low < found.net < found.high
    # Of so many electrons the limits are at even distances.
    error = np.sqrt(found.variance)
    assert (found.high - found.low) / (2 * 1.96 * error) == pytest.approx(1.0, abs=1e-4)


def test_counts_per_electron_scale_all_that_is_in_counts(rng: np.random.Generator) -> None:
    energy = np.arange(220.0, 340.0, 0.5)
    counts = rng.poisson(mean_counts(energy, 20, 10), (7, len(energy)))
    one = net_edge(counts, energy, onset_ev=284.0, after_ev=40.0, read_noise=0.5)
    many = net_edge(20 * counts, energy, onset_ev=284.0, after_ev=40.0, gain=20, read_noise=10)
    assert many.net == pytest.approx(20 * one.net)
    assert many.variance == pytest.approx(400 * one.variance)
    for name in ("net", "low", "high", "background"):
        found = [getattr(edge.total(284, 320), name) for edge in (many, one)]
        assert found[0] == pytest.approx(20 * found[1])


@pytest.mark.parametrize(("step", "noise"), [(0.25, (1, 0)), (0.5, (20, 10)), (1.0, (1, 0))])
@pytest.mark.parametrize("per_channel", [5, 10, 100])
@pytest.mark.parametrize("share", [0.0, 1.0])
def test_95_of_100_intervals_hold_the_edge(
    rng: np.random.Generator, step: float, noise: tuple, per_channel: float, share: float
) -> None:
    energy = np.arange(250.0, 330.0, step)
    mean = mean_counts(energy, per_channel, share * per_channel)
    counts = drawn(rng, mean, 2500, *noise)
    edge = net_edge(
        counts, energy, onset_ev=284.0, after_ev=40.0, gain=noise[0], read_noise=noise[1]
    )
    found = edge.total(284.0, 324.0)
    truth = noise[0] * share * per_channel * np.sum((energy >= 284) & (energy <= 324))
    # The standard error of 2500 is 0.4 %.
    assert 0.93 < np.mean((found.low <= truth) & (truth <= found.high)) < 0.97


@pytest.mark.parametrize("per_channel", [1, 3, 10, 30, 100])
def test_the_net_of_few_counts_is_right_in_the_mean(
    rng: np.random.Generator, per_channel: float
) -> None:
    energy = np.arange(250.0, 330.0, 0.5)
    mean = mean_counts(energy, per_channel, 0.5 * per_channel)
    edge = net_edge(rng.poisson(mean, (8000, 160)), energy, onset_ev=284.0, after_ev=40.0)
    net = edge.total(284.0, 324.0).net
    # Its own standard error is 0.011 standard deviations.
    assert net.mean() - 81 * 0.5 * per_channel == pytest.approx(0.0, abs=0.04 * net.std())


def test_pixels_without_electrons_have_no_net_and_no_edge(rng: np.random.Generator) -> None:
    energy = np.arange(250.0, 330.0, 0.5)
    counts = rng.poisson(mean_counts(energy, 50, 50), (2, 3, 160))
    counts[0, 1] = 0
    found = net_edge(counts, energy, onset_ev=284.0, after_ev=40.0).total(284.0, 324.0)
    assert np.isnan(found.net).tolist() == [[False, True, False], [False, False, False]]
    there = rises(counts, energy, onset_ev=284.0)
    assert there.tolist() == [[True, False, True], [True, True, True]]


def test_an_axis_that_begins_at_the_edge_or_ends_there_tells_nothing() -> None:
    energy = np.arange(280.0, 400.0, 0.5)
    counts = mean_counts(energy, 1e6, 1e6)
    assert net_edge(counts, energy, onset_ev=284.0, after_ev=40.0) is None
    assert not rises(counts, energy, onset_ev=284.0)
    assert not rises(np.stack([counts, counts]), energy, onset_ev=401.0).any()


def test_neither_noise_nor_a_white_line_nor_a_bent_background_is_an_edge(
    rng: np.random.Generator,
) -> None:
    energy = np.arange(250.0, 330.0, 0.5)
    for per_channel in (2, 20, 2000):
        smooth = rng.poisson(mean_counts(energy, per_channel, 0.0), (4000, 160))
        assert not rises(smooth, energy, onset_ev=284.0).any()
    line = mean_counts(energy, 1e5, 0.0) + 1e6 * np.exp(-((energy - 285) ** 2))
    assert not rises(line, energy, onset_ev=284.0)
    bent = mean_counts(energy, 1e8, 0.0) * np.exp(np.log(energy / 265) ** 2)
    assert not rises(bent, energy, onset_ev=284.0)
    assert rises(mean_counts(energy, 200, 100), energy, onset_ev=284.0)


def test_known_onsets_are_those_of_tables_within_2_ev() -> None:
    for name, edge in KNOWN_EDGES.items():
        element, shell = name.split("_")
        entry = import_exspy().material.elements[element].Atomic_properties.Binding_energies
        onset = entry["K" if shell == "K" else "L3"]["onset_energy (eV)"]
        if element == "C":
            # Between carbon and carbonate, and as uncertain as that.
            assert edge.onset_ev - edge.error_ev <= onset
            assert edge.onset_ev + edge.error_ev > 289
            continue
        moved = element in ("Ti", "O", "F")
        assert abs(edge.onset_ev - onset) <= (2 if moved else 0)


def core_loss(rng: np.random.Generator, onsets: list[float]) -> tuple[np.ndarray, np.ndarray]:
    energy = np.arange(240.0, 720.0, 0.5)
    edges = sum((0.3 * (1 + np.tanh(energy - onset)) for onset in onsets), np.zeros(960))
    mean = 1e5 * (energy / 240) ** -3 * (1 + edges)
    return rng.poisson(mean), energy


def test_edges_that_agree_correct_the_axis_and_the_odd_one_is_not_believed(
    rng: np.random.Generator,
) -> None:
    # Carbon, oxygen and manganese on an axis 4 eV high; what rises 5 eV low is no nitrogen.
    counts, energy = core_loss(rng, [288.0, 396.0, 535.0, 644.0])
    seen = seen_edges(counts, energy)
    assert {"C_K", "N_K", "O_K", "Mn_L"} <= set(seen)
    check = check_on_known_edges(counts, energy, ["C_K", "N_K", "O_K", "Mn_L"])
    assert check.edges == ("C_K", "O_K", "Mn_L")
    assert check.correction_ev == pytest.approx(-3.8, abs=0.3)
    assert check.needed
    assert "C_K at 288.0 instead of 286.5" in check.sentence
    right, _ = core_loss(rng, [284.0, 531.0])
    check = check_on_known_edges(right, energy, ["C_K", "O_K"])
    assert not check.needed
    assert check.edges == ("C_K", "O_K")


def test_without_an_edge_the_axis_stays_unchecked(rng: np.random.Generator) -> None:
    counts, energy = core_loss(rng, [])
    assert seen_edges(counts, energy) == []
    for names in ([], ["C_K", "O_K"]):
        check = check_on_known_edges(counts, energy, names)
        assert check.edges == ()
        assert np.isnan(check.correction_ev)
        assert not check.needed
        assert "stays unchecked" in check.sentence


def test_elements_that_would_share_a_window_with_a_seen_one_are_not_looked_for() -> None:
    assert usual_elements([]) == ["Li", "C", "O", "F"]
    assert usual_elements(["Ti_L", "O_K"]) == ["Li", "C", "O", "F", "Ti"]
    # Fluorine begins 23 eV before iron.
    assert edge_onsets("Fe")["Fe_L"] - edge_onsets("F")["F_K"] < 30
    assert usual_elements(["Fe_L"]) == ["Li", "C", "O", "Fe"]
    assert usual_elements(["F_K", "Fe_L"]) == ["Li", "C", "O", "F", "Fe"]


ENERGY = np.arange(250.0, 330.0, 0.5)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"onset_ev": -4.0}, "onset_ev is -4.0 eV"),
        ({"after_ev": 0.0}, "after_ev is 0.0 eV"),
        ({"gain": 0.0}, "gain is 0.0"),
        ({"read_noise": -1.0}, "read_noise is -1.0"),
        ({"energy_ev": ENERGY[:-1]}, "energy_ev has shape"),
    ],
)
def test_misuse_is_named(given: dict, words: str) -> None:
    call = {"energy_ev": ENERGY, "onset_ev": 284.0, "after_ev": 40.0, **given}
    with pytest.raises(ParameterError, match=words):
        net_edge(mean_counts(ENERGY, 10, 10), call.pop("energy_ev"), **call)


def test_windows_beyond_the_channels_and_unknown_edges_are_refused() -> None:
    edge = net_edge(mean_counts(ENERGY, 10, 10), ENERGY, onset_ev=284.0, after_ev=30.0)
    with pytest.raises(ParameterError, match="within 254 to 314 eV; give a larger after_ev"):
        edge.total(284.0, 324.0)
    with pytest.raises(ParameterError, match="'Xx_K' is not a known edge"):
        check_on_known_edges(mean_counts(ENERGY, 10, 10), ENERGY, ["C_K", "Xx_K"])

"""Species by fingerprints: the table, calibration on drawn spectra, and what is never claimed."""

import csv
import re
from importlib.resources import files

import dask.array as da
import numpy as np
import pytest
from scipy.special import log_ndtr, logsumexp

from interphase.assessment import Assessment
from interphase.core_loss import cross_section, known_edges
from interphase.eels import fingerprint_table, identify_species, species_evidence
from interphase.eels.shapes import weigh
from interphase.eels.species_atoms import AMOUNTS_WRONG, atoms_evidence
from interphase.errors import ParameterError
from interphase.phases import known_phases, load_phase
from interphase.simulation.imaging.edges import with_near_edge
from interphase.simulation.imaging.materials import loss_material

TABLE = fingerprint_table()
ENERGY = np.arange(44.0, 96.0, 0.25)
CARBON_ENERGY = np.arange(270.0, 320.0, 0.25)
RESOLUTION = 0.8
OPTICS = {"beam_energy_kev": 300, "collection_semi_angle_mrad": 20}
# Lithium species that the Li K edge alone may tell.
LITHIUM = ("Li", "LiF", "Li2O", "LiOH", "Li2O2", "LiH", "Li2S")


def drawn_edge(rng, species, edge="Li_K", energy=ENERGY):
    """A spectrum that the table allows, of sum 1; written without the code it tests."""
    total, taken = np.zeros(len(energy)), 0.0
    rises = TABLE.onset_ev[edge] + rng.uniform(-0.5, 5)
    for feature in TABLE.species[species].of(edge):
        place = rng.uniform(feature.low_ev, feature.high_ev)
        place += TABLE.uncertainty_ev[feature.grade] * rng.standard_normal()
        if feature.kind == "onset":
            rises = place
            continue
        width = np.hypot(rng.uniform(*TABLE.width_ev[feature.kind]), RESOLUTION) / 2.3548
        share = rng.uniform(*TABLE.share[feature.kind])
        peak = np.exp(-(((energy - place) / width) ** 2) / 2)
        total += share * peak / peak.sum()
        taken += share
    tail = np.where(energy > rises, (energy / rises) ** -3.0, 0.0)
    total += max(1 - taken, 0.1) * tail / tail[energy < TABLE.onset_ev[edge] + 30].sum()
    return total


def simulated_edge(material, edge, energy):
    """The edge of a material of the simulation, with the resolution of the spectrometer."""
    peaks = tuple(peak for peak in loss_material(material).near_edge if peak.edge == edge)
    onset = known_edges(edge.split("_")[0])[edge]
    fine = np.arange(energy[0] - 5, energy[-1] + 5, 0.05)
    section = with_near_edge(cross_section(edge, **OPTICS), onset, peaks)(fine)
    kernel = np.exp(-((np.arange(-60, 61) * 0.05 / (RESOLUTION / 2.3548)) ** 2) / 2)
    spectrum = np.interp(energy, fine, np.convolve(section, kernel / kernel.sum(), mode="same"))
    return spectrum / spectrum[energy < onset + 30].sum()


def recorded(rng, spectra, counts, background=0.5):
    """Poisson counts on a known background, less it; and their variance."""
    expected = counts * np.asarray(spectra)
    level = background * counts / expected.shape[-1]
    return rng.poisson(expected + level) - level, expected + level


def look(net, variance, energy=ENERGY, **options):
    given = {"energy_ev": energy, "axis_error_ev": 0.2, "resolution_ev": RESOLUTION, **options}
    return identify_species(net, variance=variance, **given)


# The table


def test_the_table_says_where_everything_comes_from():
    for identifier, species in TABLE.species.items():
        assert species.features, identifier
        assert not species.lithium or identifier in known_phases()
        for feature in species.features:
            assert feature.grade in ("A", "B", "C")
            assert len(feature.source) > 5
            assert feature.edge == "low_loss" or feature.edge in TABLE.onset_ev
    missing = {name for name, species in TABLE.species.items() if species.missing}
    assert {"Li2O2", "carbonate", "alkyl", "ice", "Li2S", "Li"} <= missing


def test_what_is_missing_is_not_filled_in():
    for name in ("Li2O2", "ice", "alkyl", "carbonate"):
        assert not TABLE.species[name].of("low_loss")
    assert not TABLE.species["Li2S"].of("O_K")


def test_the_peaks_of_the_simulation_lie_in_the_ranges_of_the_table():
    named = {"LEDC": "carbonate", "graphite": "carbon", "vitreous-ice": "ice"}
    text = files("interphase.simulation").joinpath("data/near_edge.csv").read_text("utf-8")
    compared = 0
    for row in csv.DictReader(text.splitlines()):
        species = TABLE.species.get(named.get(row["material"], row["material"]))
        if species is None or row["material"] == "LEDC":
            continue
        if row["edge"] == "C_K" and species.carbon_as:
            species = TABLE.species[species.carbon_as]
        reach = [
            f.low_ev - 0.5 <= float(row["peak_ev"]) <= f.high_ev + 0.5
            for f in species.of(row["edge"])
        ]
        assert any(reach), row
        compared += 1
    assert compared >= 25


# Calibration: the table's own vagueness, drawn independently


@pytest.mark.parametrize("counts", [400, 4000, 40000])
def test_what_is_claimed_is_right_nine_times_in_ten(counts):
    rng = np.random.default_rng(counts)
    truth = np.repeat(LITHIUM, 30)
    net, variance = recorded(rng, [drawn_edge(rng, name) for name in truth], counts)
    found = look(net, variance, candidates=LITHIUM)
    claimed = found.claimed
    right = truth[:, None] == np.array(found.species)
    assert claimed.sum() >= (3 if counts == 400 else 15)
    # Of 15 to 40 claims, one in ten and two standard errors may be wrong.
    assert np.mean(right[claimed]) >= 0.8
    # What is called improbable is seldom there.
    doubted = np.nan_to_num(found.probability, nan=0.5) < 0.1
    assert np.mean(right[doubted]) < 0.06
    # Probabilities in between are no bolder than the truth.
    between = (found.probability > 0.3) & (found.probability < 0.7)
    assert np.mean(right[between]) >= np.mean(found.probability[between]) - 0.15


def test_mixtures_are_not_taken_for_one_species(rng):
    net, variance = recorded(
        rng, [0.5 * drawn_edge(rng, "LiF") + 0.5 * drawn_edge(rng, "Li") for _ in range(60)], 8000
    )
    found = look(net, variance, candidates=LITHIUM)
    wrong = found.claimed & ~np.isin(found.species, ("LiF", "Li"))
    assert wrong.any(axis=1).mean() <= 0.1
    assert np.mean(found.of("Li") + found.of("LiF")) > 0.7


def test_the_simulated_edges_of_lithium_are_not_misnamed(rng):
    names = ("LiF", "Li2O", "LiOH", "Li2O2", "LiH", "Li2S", "Li")
    shapes = [simulated_edge(name, "Li_K", ENERGY) for name in names]
    claims = wrong = 0
    for name, shape in zip(names, shapes, strict=True):
        found = look(*recorded(rng, [shape] * 12, 5000), candidates=LITHIUM)
        claims += found.claimed.sum()
        wrong += (found.claimed & (np.array(found.species) != name)).sum()
        assert np.mean(found.of(name)) > 0.1, name
    assert claims >= 12
    assert wrong <= 0.1 * claims


def test_counts_of_an_edge_have_the_errors_they_state(rng):
    shapes = [drawn_edge(rng, "LiF") for _ in range(150)]
    found = look(*recorded(rng, shapes, 3000))
    counts = 3000 * np.array([s[(ENERGY >= 49) & (ENERGY <= 85)].sum() for s in shapes])
    off = (found.edge_counts[:, 0] - counts) / found.edge_error[:, 0]
    # Tails that a constant takes for its own make counts low, by no more than the error says.
    assert abs(np.mean(off)) < 1.2
    assert np.mean(np.abs(off) < 2) > 0.9
    assert np.mean(np.abs(off) < 3) > 0.97


def test_shapes_are_weighed_as_by_least_squares(rng):
    energy = np.arange(50.0, 80.0, 0.5)
    shapes = np.exp(
        -(((energy - rng.uniform(55, 70, (2, 6, 1))) / rng.uniform(2, 6, (2, 6, 1))) ** 2)
    )
    variance = rng.uniform(50, 150, (3, energy.size))
    for amount in (-300.0, 30.0, 3000.0, 1e6):
        net = amount * shapes[0, 0] + 5 + 0.3 * energy
        net = net + np.sqrt(variance) * rng.standard_normal(variance.shape)
        log, values = weigh(net, variance, shapes.swapaxes(1, 2), energy, alike=3)
        for row in range(3):
            weight = 1 / np.sqrt(variance[row])
            fits = []
            for shape in shapes.reshape(12, -1):
                design = np.column_stack([shape, np.ones_like(energy), energy]) * weight[:, None]
                found, misfit = np.linalg.lstsq(design, net[row] * weight, rcond=None)[:2]
                error = np.sqrt(np.linalg.inv(design.T @ design)[0, 0])
                fits.append((found[0], error, misfit[0]))
            counts, error, misfit = np.array(fits).T
            none = np.where(counts > 0, misfit, misfit + (counts / error) ** 2)
            lowest = np.sort(none)
            freedom = energy.size - 3
            scale = max(lowest[0] / freedom, (lowest[3] - lowest[0]) / 2, 1)
            each = -misfit / scale / 2 + np.log(error * np.sqrt(scale))
            each += log_ndtr(counts / error / np.sqrt(scale))
            expected = logsumexp(each.reshape(2, 6), axis=1)
            assert log[row] - log[row, 0] == pytest.approx(expected - expected[0], abs=5e-3)
            weights = np.exp(each - logsumexp(each))
            mean = weights @ counts
            assert values[row, 0] == pytest.approx(mean, rel=1e-3, abs=0.5)
            assert values[row, 2] == pytest.approx(lowest[0] / freedom, rel=1e-3)


# The axis is one


def two_edges(rng, name, energy, shift):
    """Li K and O K of a species on an axis that is off."""
    return sum(drawn_edge(rng, name, edge, energy - shift) for edge in ("Li_K", "O_K"))


def test_edges_have_the_shift_of_the_axis_in_common(monkeypatch):
    rng = np.random.default_rng(5)
    names, energy = ("LiOH", "Li2O", "Li2O2"), np.arange(44.0, 600.0, 0.5)
    truth = rng.choice(names, 150)
    spectra = [two_edges(rng, name, energy, 2 * rng.standard_normal()) for name in truth]
    net, variance = recorded(rng, spectra, 8000, background=2)
    right = truth[:, None] == np.array(names)

    def score():
        found = look(net, variance, energy, candidates=names, axis_error_ev=2.0).probability
        found = np.where(np.isfinite(found), found, 0.5)
        return np.mean(np.log(np.where(right, found, 1 - found)))

    shared = score()
    monkeypatch.setattr(species_evidence, "SHIFTS", 1)
    assert shared > score() + 0.02


def test_one_edge_says_the_same_for_any_number_of_shifts(rng, monkeypatch):
    """Beside an edge of which nothing is seen, whose evidence is even."""
    energy = np.arange(44.0, 600.0, 0.5)
    spectra = [drawn_edge(rng, "LiF", "Li_K", energy) for _ in range(5)]
    net, variance = recorded(rng, spectra, 8000, background=0.5)
    found = look(net, variance, energy, axis_error_ev=1.0)
    assert len(found.edges) == 3
    monkeypatch.setattr(species_evidence, "SHIFTS", 1)
    same = look(net, variance, energy, axis_error_ev=1.0)
    assert found.probability == pytest.approx(same.probability, abs=1e-4, nan_ok=True)
    assert found.edge_counts == pytest.approx(same.edge_counts, rel=1e-3, abs=1)


# Nature is not the table


def odd_edge(rng, species, edge, energy, beyond):
    """An edge whose features lie outside the table's ranges, by so many halves of their widths.

    Its peaks lean to one side, its step is wide and it ripples, as none of the table does.
    """
    total, taken = np.zeros(len(energy)), 0.0
    rises = TABLE.onset_ev[edge] + rng.uniform(-1.5, 7)
    for feature in TABLE.species[species].of(edge):
        half = max((feature.high_ev - feature.low_ev) / 2, TABLE.uncertainty_ev[feature.grade])
        place = (feature.low_ev + feature.high_ev) / 2
        place += rng.choice([-1, 1]) * half * (1 + rng.uniform(*beyond))
        if feature.kind == "onset":
            rises = place
            continue
        low, high = np.log(TABLE.width_ev[feature.kind])
        width = np.hypot(np.exp(rng.uniform(low - 0.35, high + 0.35)), RESOLUTION) / 2.3548
        low, high = np.log(TABLE.share[feature.kind])
        share = np.exp(rng.uniform(low - 0.5, high + 0.5))
        width = width * np.where(energy > place, rng.uniform(1, 1.8), 1.0)
        peak = np.exp(-(((energy - place) / width) ** 2) / 2)
        total += share * peak / peak.sum()
        taken += share
    step = 0.5 + np.arctan((energy - rises) / rng.uniform(0.3, 1.5)) / np.pi
    step *= np.maximum(energy / rises, 1) ** -rng.uniform(1, 5.5) * (energy > rises - 4)
    step *= 1 + 0.15 * rng.random() * np.sin((energy - rises) / rng.uniform(1.5, 4))
    total += max(1 - taken, 0.1) * step / step[energy < TABLE.onset_ev[edge] + 30].sum()
    return total / total[energy < TABLE.onset_ev[edge] + 30].sum()


def odd_spectra(rng, number, beyond):
    """Probabilities of species, and whether each is there, of pure edges and mixtures."""
    for edge, names, energy in (
        ("Li_K", LITHIUM, ENERGY),
        ("C_K", ("carbonate", "alkyl", "carbon"), CARBON_ENERGY),
    ):
        truth = [rng.choice(names, rng.integers(1, 3), replace=False) for _ in range(number)]
        spectra = []
        for some in truth:
            share = rng.uniform(0.2, 0.8) if len(some) == 2 else 1.0
            each = [odd_edge(rng, name, edge, energy, beyond) for name in some]
            spectra.append(share * each[0] + (1 - share) * each[-1])
        counts = np.repeat([400, 4000, 40000], -(-number // 3))[:number, None]
        found = look(*recorded(rng, spectra * counts, 1, background=2000), energy, candidates=names)
        right = np.array([np.isin(found.species, some) for some in truth])
        known = np.isfinite(found.probability)
        yield found.probability[known], right[known]


def test_probabilities_hold_a_little_outside_the_table(rng):
    """Places off by 1 to 2 halves of a range, and what else is odd."""
    each = list(odd_spectra(rng, 600, (0, 1)))
    probability, right = (np.concatenate(part) for part in zip(*each, strict=True))
    claimed = probability >= 0.9
    assert claimed.sum() >= 8
    assert np.mean(right[claimed]) >= 0.9
    likely = (probability >= 0.5) & ~claimed
    assert np.mean(right[likely]) >= np.mean(probability[likely]) - 0.05
    assert np.mean(right[probability < 0.1]) < 0.1


def test_far_outside_the_table_little_is_claimed(rng):
    """Places off by 2 to 3 halves of a range, some of them in the range of another species."""
    each = list(odd_spectra(rng, 600, (1, 2)))
    probability, right = (np.concatenate(part) for part in zip(*each, strict=True))
    claimed = probability >= 0.9
    # Of 1200 spectra.
    assert (claimed & ~right).sum() <= 8
    likely = (probability >= 0.5) & ~claimed
    assert np.mean(right[likely]) >= np.mean(probability[likely]) - 0.25


# Atoms that compounds need


def test_atoms_that_are_missing_speak_by_a_closed_form():
    """The likelihood ratio of a compound and of one that needs nothing."""
    sets = [(TABLE.species[name],) for name in ("Li", "LiF", "Li2O", "Li2CO3")]
    lithium, fluorine = 100.0, np.array([-20.0, 0.0, 60.0, 100.0, 1000.0])
    atoms = {
        "Li": (np.full(5, lithium), np.full(5, 5.0)),
        "F": (fluorine, np.full(5, 10.0)),
    }
    log = atoms_evidence(sets, atoms, {"Li": 0.1, "F": 0.2})
    held = np.maximum(fluorine, 0)
    error = np.sqrt(10**2 + 5**2 + (0.1**2 + 0.2**2) * lithium * held)
    short = np.minimum((held - lithium) / error, 0)
    likelihood = AMOUNTS_WRONG + (1 - AMOUNTS_WRONG) * np.exp(-(short**2) / 2)
    assert np.exp(log[:, 1]) == pytest.approx(likelihood)
    assert log[:, [0, 2, 3]] == pytest.approx(0)
    # Half of lithium carbonate's lithium has a carbon, and oxygen has more to do.
    more = {
        **atoms,
        "C": (np.full(5, 50.0), np.full(5, 1.0)),
        "O": (np.full(5, 50.0), np.full(5, 1.0)),
    }
    exact = {"Li": 0.0, "F": 0.0, "C": 0.0, "O": 0.1}
    log = atoms_evidence(sets, more, exact)
    assert log[:, 2] == pytest.approx(0)
    short = 100 / np.sqrt(1 + 2.25 * 25 + 0.01 * 50 * 150)
    expected = AMOUNTS_WRONG + (1 - AMOUNTS_WRONG) * np.exp(-(short**2) / 2)
    assert np.exp(log[:, 3]) == pytest.approx(expected)


def test_noise_of_what_is_not_there_never_favours_what_needs_it(rng):
    """Li 1000 and F -60 ± 20 made LiF three times likelier than Li2O."""
    sets = [(TABLE.species[name],) for name in ("Li", "Li2O", "LiF")]
    lithium, fluorine = rng.normal(300, 400, 500), rng.normal(0, 100, 500)
    lithium[0], fluorine[0] = 1000, -60
    atoms = {"Li": (lithium, np.full(500, 30.0)), "F": (fluorine, np.full(500, 20.0))}
    none, oxide, fluoride = atoms_evidence(sets, atoms, {"Li": 0.2, "F": 0.2}).T
    assert (none == 0).all()
    assert (oxide == 0).all()
    assert (fluoride <= 0).all()
    assert fluoride[0] == pytest.approx(np.log(AMOUNTS_WRONG))


@pytest.mark.parametrize("relative", [0.05, 0.2, 0.5])
def test_no_error_of_a_cross_section_makes_fluorine_of_none(relative):
    """None, known to half a percent of the lithium, speaks as loud as amounts may."""
    sets = [(TABLE.species["LiF"],)]
    atoms = {"Li": (np.array([100.0]), np.ones(1)), "F": (np.zeros(1), np.full(1, 0.5))}
    log = atoms_evidence(sets, atoms, {"Li": relative, "F": relative})
    assert log == pytest.approx(np.log(AMOUNTS_WRONG), abs=1e-6)


def test_a_wrong_cross_section_is_a_factor():
    """Of numbers that are counted well, the logarithm of their ratio is off by the error of it."""
    share = np.linspace(0.4, 0.95, 12)
    atoms = {"Li": (np.full(12, 1e3), np.full(12, 1e-3)), "F": (1e3 * share, np.full(12, 1e-3))}
    log = atoms_evidence([(TABLE.species["LiF"],)], atoms, {"Li": 0.4, "F": 0.3})[:, 0]
    likelihood = (np.exp(log) - AMOUNTS_WRONG) / (1 - AMOUNTS_WRONG)
    assert np.sqrt(-2 * np.log(likelihood)) == pytest.approx(-np.log(share) / 0.5, rel=0.05)


def test_an_atom_that_is_not_known_says_nothing():
    sets = [(TABLE.species["Li"],), (TABLE.species["LiF"],)]
    unknown = {"Li": (np.array([100.0]), np.array([5.0])), "F": (np.full(1, np.nan), np.ones(1))}
    assert atoms_evidence(sets, unknown, {"Li": 0.1, "F": 0.1}) == pytest.approx(0)


def test_two_compounds_share_the_lithium():
    """Fluorine for half of the lithium is too little for LiF alone, not for LiF with Li."""
    sets = [tuple(TABLE.species[n] for n in names) for names in (("LiF",), ("Li", "LiF"))]
    atoms = {"Li": (np.array([100.0]), np.array([2.0])), "F": (np.array([50.0]), np.array([2.0]))}
    alone, together = atoms_evidence(sets, atoms, {"Li": 0.05, "F": 0.05})[0]
    assert alone == pytest.approx(np.log(AMOUNTS_WRONG), abs=0.1)
    assert together > np.log(0.5)


def test_compounds_hold_the_atoms_of_their_formulas():
    for name, species in TABLE.species.items():
        if species.lithium:
            terms = re.findall(r"([A-Z][a-z]?)([0-9]*)", load_phase(name).formula)
            assert species.atoms == {element: int(n or 1) for element, n in terms}


def test_without_fluorine_there_is_no_fluoride_and_more_of_it_says_nothing(rng):
    net, variance = recorded(rng, [drawn_edge(rng, "LiF") for _ in range(40)], 4000)
    options = {
        "candidates": LITHIUM,
        "atoms_relative_error": {"Li": 0.15, "F": 0.15, "O": 0.15},
    }

    def with_amounts(**amounts):
        atoms = {e: (np.full(40, n), np.full(40, 5.0)) for e, n in amounts.items()}
        return look(net, variance, atoms=atoms, **options)

    alone = look(net, variance, candidates=LITHIUM).of("LiF").mean()
    none = with_amounts(Li=100.0, F=0.0, O=100.0).of("LiF").mean()
    enough = with_amounts(Li=100.0, F=100.0, O=0.0)
    plenty = with_amounts(Li=100.0, F=900.0, O=0.0)
    assert none < alone < enough.of("LiF").mean()
    assert none < 0.2
    assert plenty.of("LiF") == pytest.approx(enough.of("LiF"), abs=1e-6)
    assert enough.of("Li2O").mean() < 0.1


def test_probabilities_with_atoms_are_calibrated(rng):
    """Amounts with wrong cross-sections, with atoms of something else, some of them lost."""
    truth = rng.choice(LITHIUM, 350)
    net, variance = recorded(rng, [drawn_edge(rng, name) for name in truth], 4000)
    found = {"Li": np.full(350, 100.0)}
    for element in ("O", "F"):
        held = np.array([TABLE.species[n].atoms for n in truth])
        held = np.array([100 * one.get(element, 0) / one["Li"] for one in held])
        held += rng.exponential(60, 350) * (rng.random(350) < 0.4)
        found[element] = held * np.where(rng.random(350) < 0.05, 0.3, 1.0)
    atoms = {
        element: (n * np.exp(0.15 * rng.standard_normal(350)) + 6 * rng.standard_normal(350), 6.0)
        for element, n in found.items()
    }
    atoms = {element: (n, np.full(350, error)) for element, (n, error) in atoms.items()}
    options = {"candidates": LITHIUM, "atoms_relative_error": dict.fromkeys(found, 0.15)}
    with_atoms = look(net, variance, atoms=atoms, **options).probability
    without = look(net, variance, candidates=LITHIUM).probability
    right = truth[:, None] == np.array(LITHIUM)
    likely = with_atoms >= 0.5
    assert np.mean(right[likely]) >= np.mean(with_atoms[likely]) - 0.05
    assert np.mean(right[with_atoms < 0.02]) < 0.02
    assert (with_atoms < 0.02).sum() > 1.5 * (without < 0.02).sum()

    def score(probability):
        return np.mean(np.log(np.where(right, probability, 1 - probability)))

    assert score(with_atoms) > score(without) + 0.02


@pytest.mark.parametrize(
    ("atoms", "relative", "words"),
    [
        ({"Li": (1.0, 1.0), "F": (1.0, 1.0)}, None, "need `atoms_relative_error`"),
        ({"Li": (1.0, 1.0), "F": (1.0, 1.0)}, {"Li": 0.1}, "need `atoms_relative_error`"),
        ({"O": (1.0, 1.0), "F": (1.0, 1.0)}, {"O": 0.1, "F": 0.1}, "expected Li or C"),
        ({"Li": (np.ones(2), 1.0), "F": (1.0, 1.0)}, {"Li": 0.1, "F": 0.1}, "of the spectra"),
        ({"Li": (1.0, 0.0), "F": (1.0, 1.0)}, {"Li": 0.1, "F": 0.1}, "errors down to 0"),
        ({"Li": (1.0, 1.0), "F": (1.0, 1.0)}, {"Li": 0.1, "F": 15}, "relative error of 15"),
    ],
)
def test_atoms_that_do_not_fit_are_named(atoms, relative, words):
    with pytest.raises(ParameterError, match=words):
        look(np.ones(208), np.ones(208), atoms=atoms, atoms_relative_error=relative)


# Carbon, and what is never claimed


def test_carbonate_needs_its_peak(rng):
    energy = CARBON_ENERGY
    carbonate = simulated_edge("Li2CO3", "C_K", energy)
    carbon = simulated_edge("carbon", "C_K", energy)
    shown = look(*recorded(rng, [carbonate] * 20, 5000), energy)
    assert np.median(shown.carbonate_peak) > 5
    assert np.mean(shown.claimed[:, shown.species.index("carbonate")]) > 0.5
    for counts in (500, 5000, 500000):
        other = look(*recorded(rng, [carbon] * 40, counts), energy)
        assert not other.claimed[:, other.species.index("carbonate")].any()
        assert not other.claimed[:, other.species.index("Li2CO3")].any()
    # The table's shapes of carbon do not fit so many counts, and it is not called certain.
    assert (other.of("carbon") > 0.8).all()
    # Without lithium in the range nothing is said of lithium carbonate, however clear the carbon.
    assert np.isnan(shown.of("Li2CO3")).all()


def test_carbonate_without_its_peak_is_never_claimed_whatever_else_fits(rng):
    """Li K and O K of Li2CO3, and C K of carbon."""
    energy = np.arange(44.0, 600.0, 0.5)
    spectrum = sum(
        weight * simulated_edge(material, edge, energy)
        for material, edge, weight in (
            ("Li2CO3", "Li_K", 1.0),
            ("Li2CO3", "O_K", 0.5),
            ("carbon", "C_K", 0.5),
        )
    )
    absent = look(*recorded(rng, [spectrum] * 10, 20000, background=5), energy)
    assert not absent.claimed[:, absent.species.index("Li2CO3")].any()
    with_peak = spectrum + 0.5 * (
        simulated_edge("Li2CO3", "C_K", energy) - simulated_edge("carbon", "C_K", energy)
    )
    present = look(*recorded(rng, [with_peak] * 10, 20000, background=5), energy)
    assert np.median(present.of("Li2CO3")) > 0.5
    assert np.nanmax(np.nan_to_num(absent.of("Li2CO3"))) < np.median(present.of("Li2CO3"))


@pytest.mark.parametrize("bend", [-3.0, 3.0])
def test_what_a_background_leaves_is_no_lithium(rng, bend):
    x = (ENERGY - 70) / 26
    smooth = np.abs(bend) + bend * x**2
    variance = np.full((20, len(ENERGY)), 1000.0)
    net = 300 * smooth + np.sqrt(variance) * rng.standard_normal(variance.shape)
    found = look(net, variance)
    assert not found.claimed.any()


def test_noise_is_no_edge(rng):
    found = look(rng.standard_normal((300, len(ENERGY))), np.ones((300, len(ENERGY))))
    assert np.mean(np.isfinite(found.probability).any(axis=1)) < 0.02
    one = look(rng.standard_normal(len(ENERGY)), np.ones(len(ENERGY)))
    assert one.assessment is Assessment.TOO_FEW_ELECTRONS
    assert np.isnan(one.probability).all()
    assert np.isfinite(one.detection_limit).all()


def test_edges_under_lithium_forbid_to_claim_it(rng):
    net, variance = recorded(rng, drawn_edge(rng, "LiF"), 20000)
    free = look(net, variance)
    assert np.isfinite(free.of("LiF"))
    under = look(net, variance, elements=("Ti", "O"))
    assert np.isnan(under.of("LiF"))
    assert "edges of Ti lie under Li K" in under.sentence
    assert "give `elements`" in free.sentence
    assert "give `elements`" not in look(net, variance, elements=("O",)).sentence


# What is claimed by memory, and where


def test_the_sentence_says_when_only_remembered_energies_decide(rng):
    net, variance = recorded(rng, [drawn_edge(rng, "Li") for _ in range(8)], 40000)
    by_edge = look(net, variance, candidates=LITHIUM)
    here = by_edge.claimed[:, 0]
    assert here.sum() >= 4
    assert by_edge.remembered[:, 0].all()
    words = f"Found on remembered energies (grade C): Li (in {here.sum()} of 8 spectra)."
    assert words in by_edge.sentence
    assert "Found:" not in by_edge.sentence
    # The exciton of LiF is of grade B, and so is the plasmon of lithium, where there is one.
    assert not by_edge.remembered[:, LITHIUM.index("LiF")].any()
    plasmon = np.where(np.arange(8) < 4, 7.3, np.nan)
    both = look(net, variance, candidates=LITHIUM, plasmon_ev=plasmon, plasmon_error_ev=0.1)
    assert both.remembered[:, 0].tolist() == [False] * 4 + [True] * 4
    assert "Found: Li (in 4 of 8 spectra). Found on remembered" in both.sentence
    one = look(net[np.argmax(here)], variance[np.argmax(here)], candidates=LITHIUM)
    assert re.search(r"^Found on remembered energies \(grade C\): Li \(0\.9\d\)\.", one.sentence)


def test_carbonate_is_claimed_by_more_than_memory(rng):
    found = look(
        *recorded(rng, simulated_edge("Li2CO3", "C_K", CARBON_ENERGY), 5000), CARBON_ENERGY
    )
    assert not found.remembered[found.species.index("carbonate")]
    assert found.remembered[found.species.index("alkyl")]


def test_it_is_said_in_how_many_spectra_an_edge_is_not_seen(rng):
    """A particle in vacuum, of a salt that Li K alone does not tell."""
    spectra = [drawn_edge(rng, "Li2O") * (i < 5) for i in range(8)]
    found = look(*recorded(rng, spectra, 2000, background=0.5), candidates=("Li2O", "LiH", "Li2S"))
    assert not found.claimed.any()
    assert found.barred["Li2O"] == "the Li K edge is not seen (in 3 of 8 spectra)"
    assert "Nothing is said of Li2O, LiH, Li2S: the Li K edge is not seen (in 3 of 8" in (
        found.sentence
    )
    nowhere = look(
        *recorded(rng, drawn_edge(rng, "carbon", "C_K", CARBON_ENERGY), 2000), CARBON_ENERGY
    )
    assert nowhere.barred["LiF"] == "the Li K edge is not seen"
    # Carbon everywhere, of carbonate in some.
    carbon = [simulated_edge("carbon", "C_K", CARBON_ENERGY) * (i < 6) for i in range(8)]
    mixed = look(*recorded(rng, carbon, 5000), CARBON_ENERGY)
    assert "not seen (in 2 of 8 spectra)" in mixed.barred["carbonate"]


# Peaks, plasmons, dose


def test_plasmons_tell_lithium_and_nothing_of_other_lithium():
    found = identify_species(
        plasmon_ev=np.array([7.3, 18.5, np.nan]),
        plasmon_error_ev=np.array([0.05, 0.2, 0.2]),
        axis_error_ev=0.1,
        resolution_ev=0.8,
    )
    assert found.of("Li")[0] > 0.9
    assert np.isnan(found.of("Li2O")).all()
    assert np.isnan(found.of("Li")[1:]).all()


def test_the_plasmon_adds_to_what_the_edge_says(rng):
    net, variance = recorded(rng, [drawn_edge(rng, "LiF") for _ in range(30)], 4000)
    alone = look(net, variance, candidates=LITHIUM)
    error = np.full(30, 0.2)
    right = look(net, variance, candidates=LITHIUM, plasmon_ev=error + 24.8, plasmon_error_ev=error)
    wrong = look(net, variance, candidates=LITHIUM, plasmon_ev=error + 13.8, plasmon_error_ev=error)
    assert wrong.of("LiF").mean() < alone.of("LiF").mean() < right.of("LiF").mean()


def test_measured_peaks_are_evidence():
    given = {"axis_error_ev": 0.1, "resolution_ev": 0.8}
    one = identify_species(peaks={"C_K": (np.array([285.1]), np.array([0.1]))}, **given)
    assert one.of("carbon") > 0.7
    assert not one.claimed[one.species.index("carbonate")]
    two = identify_species(
        peaks={"C_K": (np.array([290.25, 299.5]), np.array([0.1, 0.5]))}, **given
    )
    assert two.of("carbonate") > 0.7


def test_the_beam_is_offered_as_an_explanation(rng):
    net, variance = recorded(rng, drawn_edge(rng, "Li2O"), 20000)
    options = {"candidates": ("Li2O", "LiF"), "own": ()}
    burnt = look(net, variance, dose_e_per_a2=1000.0, **options)
    assert any("Li2O may be what the beam made of Li2CO3" in words for words in burnt.damage)
    assert any("1000 e/Å²" in words for words in burnt.damage)
    fresh = look(net, variance, dose_e_per_a2=50.0, **options)
    assert not any("of Li2CO3" in words for words in fresh.damage)
    assert look(net, variance, **options).damage == ()
    fluoride = look(*recorded(rng, drawn_edge(rng, "LiF"), 20000), dose_e_per_a2=1000.0, **options)
    assert any("loss of fluorine makes Li of LiF" in words for words in fluoride.damage)


# Maps, poor data, misuse


def test_any_chunks_give_the_same(rng):
    net, variance = recorded(rng, [[drawn_edge(rng, "LiF")] * 3] * 4, 3000)
    whole = look(net, variance)
    lazy = look(da.from_array(net, chunks=(2, 2, 50)), da.from_array(variance, chunks=(4, 3, 9)))
    assert whole.probability.shape == (4, 3, len(TABLE.species))
    assert lazy.probability == pytest.approx(whole.probability, nan_ok=True)


def test_spectra_that_are_no_numbers_are_left_out(rng):
    net, variance = recorded(rng, [drawn_edge(rng, "Li")] * 2, 5000)
    net[0, 3] = np.nan
    found = look(net, variance)
    assert np.isnan(found.probability[0]).all()
    assert found.of("Li")[1] > 0.5
    assert look(net[:1], variance[:1]).assessment is Assessment.UNUSABLE


def test_an_axis_that_is_not_known_says_so(rng):
    net, variance = recorded(rng, drawn_edge(rng, "LiF"), 5000)
    found = look(net, variance, axis_error_ev=4.0)
    assert found.assessment is Assessment.UNCALIBRATED
    assert np.isnan(found.probability).all()


def test_an_axis_without_edges_says_so():
    energy = np.arange(100.0, 150.0, 0.5)
    found = look(np.ones(100), np.ones(100), energy)
    assert found.assessment is Assessment.UNUSABLE
    assert "covers no edge" in found.sentence


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"net": None}, "nothing to identify"),
        ({"variance": None}, "net needs `energy_ev`"),
        ({"variance": np.ones(3)}, r"variance has shape \(3,\)"),
        ({"variance": np.zeros(208)}, "variance goes down to 0"),
        ({"energy_ev": ENERGY / 1e3}, "are these keV"),
        ({"energy_ev": ENERGY[:-2]}, r"energy_ev has shape \(206,\)"),
        ({"axis_error_ev": -1.0}, "axis_error_ev is -1"),
        ({"candidates": ("Li3N",)}, "candidates are"),
        ({"plasmon_ev": 20.0}, "plasmon_ev needs plasmon_error_ev"),
        ({"plasmon_ev": 2000.0, "plasmon_error_ev": 1.0}, "expected energies near 18 eV"),
        ({"peaks": {"Xx_K": (np.ones(1), np.ones(1))}}, "peaks are given of 'Xx_K'"),
        ({"peaks": {"C_K": (np.array([285.0]), np.zeros(1))}}, "not above 0"),
        ({"dose_e_per_a2": -1.0}, "dose_e_per_a2 is -1"),
    ],
)
def test_misuse_is_named(change, words):
    given = {
        "net": np.ones(208),
        "variance": np.ones(208),
        "energy_ev": ENERGY,
        "axis_error_ev": 0.2,
        "resolution_ev": RESOLUTION,
        **change,
    }
    with pytest.raises(ParameterError, match=words):
        identify_species(given.pop("net"), **given)


def test_species_that_were_not_looked_for_are_named(rng):
    found = look(*recorded(rng, drawn_edge(rng, "Li"), 500), candidates=("Li",))
    with pytest.raises(ParameterError, match="'LiF' was not looked for"):
        found.of("LiF")


# Real files


@pytest.fixture
def read(shared_data):
    from interphase.io import load

    def read(name):
        path = shared_data / "eels" / name
        if not path.is_file():
            pytest.skip(f"{name} is not among the real files")
        signal = load(path)
        axis = signal.axes_manager[-1]
        return np.asarray(signal.data, dtype=float), axis.offset + axis.scale * np.arange(axis.size)

    return read


def without_background(counts, energy, window):
    """A power law fitted ahead of the edge is taken away."""
    inside = (energy > window[0]) & (energy < window[1])
    law = np.polyfit(np.log(energy[inside]), np.log(counts[inside]), 1)
    return counts - np.exp(np.polyval(law, np.log(energy)))


def test_real_carbon_is_no_carbonate(read):
    counts, energy = read("08_carbon.dm3")
    for axis_error in (0.1, 0.5, 1.5):
        found = look(
            without_background(counts, energy, (245, 278)), counts, energy, axis_error_ev=axis_error
        )
        assert not found.claimed[[found.species.index(n) for n in ("carbonate", "Li2CO3")]].any()
        assert not np.any([found.of(n) > 0.1 for n in ("carbonate", "Li2CO3")])
        assert "no peak of carbonate at 290 eV" in found.sentence


@pytest.mark.parametrize(("name", "window"), [("EELS_STO.dm3", (490, 522)), ("hl.msa", (490, 520))])
def test_real_titanates_hold_no_lithium(read, name, window):
    counts, energy = read(name)
    for axis_error in (0.3, 2.0):
        found = look(
            without_background(counts, energy, window), counts, energy, axis_error_ev=axis_error
        )
        assert not found.claimed.any()
        assert np.isnan([found.of(n) for n in TABLE.species if TABLE.species[n].lithium]).all()


@pytest.mark.parametrize("name", ["lowloss_spectrum.msa", "ll.msa"])
def test_real_edges_of_manganese_and_titanium_are_no_lithium(read, name):
    counts, energy = read(name)
    energy = energy - energy[np.argmax(counts)]
    counts, energy = counts[energy > 30], energy[energy > 30]
    for window in ((42, 52), (46, 53), (48, 54)):
        net = without_background(np.maximum(counts, 0.5), energy, window)
        variance = np.maximum(counts, 1) + np.abs(counts - net)
        found = look(net, variance, energy, resolution_ev=1.2)
        assert not found.claimed.any()
        if np.nansum(found.of("Li")) > 0.1:
            assert "Mn" in found.sentence
            assert "give `elements`" in found.sentence


@pytest.mark.parametrize(
    ("name", "window"),
    [
        ("eelsdb_YAG_O_K.msa", (512, 526)),
        ("coreloss_spectrum.msa", (490, 522)),
        ("EELS_STO.dm3", (640, 675)),
        ("08_carbon.dm3", (245, 278)),
    ],
)
def test_real_edges_of_what_is_not_in_the_table_are_not_claimed(read, name, window):
    """Oxygen of a garnet and of manganese oxide, titanate where fluorine would be, carbon."""
    counts, energy = read(name)
    for axis_error in (0.2, 0.5, 2.0):
        net = without_background(counts, energy, window)
        found = look(net, counts, energy, axis_error_ev=axis_error, resolution_ev=1.2)
        assert not found.claimed.any()
        assert np.isnan([found.of(n) for n in TABLE.species if TABLE.species[n].lithium]).all()


def test_a_real_plasmon_of_aluminium_is_no_lithium(read):
    """15 eV is where the table has LiH and Li2S, and twice the plasmon of lithium."""
    counts, energy = read("AL-DFoffset0.00.dm3")
    inside = (energy > 5) & (energy < 30)
    place = energy[inside][np.argmax(counts[inside])] - energy[np.argmax(counts)]
    found = identify_species(
        plasmon_ev=place, plasmon_error_ev=0.1, axis_error_ev=0.1, resolution_ev=0.3
    )
    assert not found.claimed.any()
    assert np.isnan([found.of(n) for n in TABLE.species if TABLE.species[n].lithium]).all()
